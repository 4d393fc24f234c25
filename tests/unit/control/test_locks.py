"""The locks of cards: who waits gets one in turn."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest

from nodedevd.control.directory import Directory
from nodedevd.control.locks import Locks
from nodedevd.errors import CardBusy

CARD, WAITING, PATIENCE_SECONDS = "0000:3b:00.0", 12, 60.0


def test_those_that_wait_get_a_card_in_turn(tmp_path: Path) -> None:
    """In the order in which they came, however long each has waited before."""
    waiting: set[int] = set()
    another = threading.Condition()

    def pause(seconds: float) -> None:
        with another:
            waiting.add(threading.get_ident())
            another.notify_all()
        time.sleep(seconds)

    locks = Locks(Directory(str(tmp_path)), pause)
    order: list[int] = []

    def take(number: int) -> None:
        locked = locks.take([CARD], PATIENCE_SECONDS)
        order.append(number)
        locked.release()

    held = locks.take([CARD], 0)
    threads = []
    for number in range(WAITING):
        threads.append(threading.Thread(target=take, args=[number]))
        threads[-1].start()
        with another:
            assert another.wait_for(lambda: len(waiting) == len(threads), PATIENCE_SECONDS)
    held.release()
    for thread in threads:
        thread.join()
    assert order == list(range(WAITING))


def test_one_that_gives_up_holds_nobody_up(tmp_path: Path) -> None:
    """Its turn ends with it; other cards are never waited for."""
    locks = Locks(Directory(str(tmp_path)))
    held = locks.take([CARD], 0)
    with pytest.raises(CardBusy):
        locks.take([CARD], 0.01)
    locks.take(["0000:3c:00.0"], 0).release()
    held.release()
    locks.take([CARD], 0).release()
