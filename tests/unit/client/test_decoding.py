"""Decoding: what happens while msgspec prepares a type."""

from __future__ import annotations

import os
import select
import signal
import threading
import typing
from typing import Literal

import msgspec
import pytest

from nodedevd.client.decoding import decode
from tests.support.running import PATIENCE_SECONDS


class Answer(msgspec.Struct):
    """A type that msgspec has not seen yet; it hashes the Literal."""

    word: Literal["yes", "no"]


def test_ctrl_c_while_a_type_is_prepared_is_not_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    """The exception is raised although msgspec ignores those of a hash.

    Another thread can receive the signal, and Python calls the handler in the main thread even so.
    """
    literal = type(Literal["yes", "no"])
    hashed = literal.__hash__
    interrupted: list[object] = []
    arrived, wakes = os.pipe2(os.O_NONBLOCK)  # written to by whichever thread receives a signal

    def interrupted_hash(this: typing.Any) -> int:
        if not interrupted:
            interrupted.append(this)
            os.kill(os.getpid(), signal.SIGINT)
            assert select.select([arrived], [], [], PATIENCE_SECONDS)[0]
        return hashed(this)

    monkeypatch.setattr(literal, "__hash__", interrupted_hash)
    ends = threading.Event()
    other = threading.Thread(target=ends.wait)
    other.start()
    before = signal.set_wakeup_fd(wakes)
    try:
        with pytest.raises(KeyboardInterrupt):
            decode(msgspec.Raw(b'{"word":"yes"}'), Answer)
    finally:
        signal.set_wakeup_fd(before)
        os.close(arrived)
        os.close(wakes)
        ends.set()
        other.join()
    assert interrupted
