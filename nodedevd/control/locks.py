"""locks: one writer for each card, whichever process it is in.

A lock is a flock(2) of a file in a directory that is root's alone: the service and nodedevctl, as
root without the service, wait for each other. It ends with the last descriptor of it: a writer
that hangs in a driver has one, so its card stays locked although the service is killed.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from typing import Final

import msgspec

from nodedevd.control.directory import Directory
from nodedevd.errors import CardBusy
from nodedevd.undecodable import UNDECODABLE

INTERVAL_SECONDS: Final = 0.02
"""Between two looks whether a card is free; flock(2) itself cannot wait for a limited time."""
TURN_SECONDS: Final = 0.05
"""Between two looks whether it is the turn of a change that others of this process are before."""
_NAME_LENGTH = 200


class Holder(msgspec.Struct, frozen=True):
    """Who has a card, for people: it is written into the file of the lock."""

    pid: int
    text: str
    """what it is doing"""
    since: float
    """seconds on CLOCK_BOOTTIME"""

    @property
    def seconds(self) -> float:
        """Seconds since it began with that."""
        return max(0.0, _now() - self.since)


# Prepared here, since msgspec crashes if two threads prepare a type at once.
_DECODER: Final = msgspec.json.Decoder(Holder)


class Locked:
    """The locks of some cards, until `release`."""

    def __init__(self, descriptors: dict[str, int]) -> None:
        self._descriptors = descriptors

    @property
    def cards(self) -> tuple[str, ...]:
        """The cards, sorted."""
        return tuple(sorted(self._descriptors))

    @property
    def descriptors(self) -> Sequence[int]:
        """What a process has to have open to keep the cards locked."""
        return tuple(self._descriptors.values())

    def note(self, text: str) -> None:
        """Say what is being done, for those that wait."""
        data = msgspec.json.encode(Holder(os.getpid(), text, _now()))
        for descriptor in self._descriptors.values():
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, data, 0)

    def release(self) -> None:
        """Give the cards up; a writer that still writes keeps them locked."""
        while self._descriptors:
            os.close(self._descriptors.popitem()[1])


class Locks:
    """The locks of a host's cards."""

    def __init__(self, directory: Directory, pause: Callable[[float], None] = time.sleep) -> None:
        self._directory = directory
        self._pause = pause
        # Those that wait for a card, in order: whoever comes later would else get it earlier.
        self._turns: dict[str, deque[object]] = {}

    def take(self, cards: Iterable[str], seconds: float) -> Locked:
        """Lock cards; wait for others at most so many seconds.

        Cards are locked in the order of their names, so that no two wait for each other. Those of
        this process that wait for a card get it in the order in which they came.
        Raises CardBusy, OSError.
        """
        until = time.monotonic() + seconds
        taken: dict[str, int] = {}
        try:
            for card in sorted(set(cards)):
                taken[card] = self._take(card, until)
        except BaseException:
            Locked(taken).release()
            raise
        return Locked(taken)

    def holder(self, card: str) -> Holder | None:
        """Return who has a card, None if nobody has noted it. Raises OSError."""
        with suppress(*UNDECODABLE):
            return _DECODER.decode(self._directory.read(_name(card)) or b"")
        return None

    def is_taken(self, card: str) -> bool:
        """Return whether somebody has a card now. Raises OSError."""
        descriptor = self._directory.open(_name(card), os.O_RDWR | os.O_CREAT)
        try:
            return not _try(descriptor)
        finally:
            os.close(descriptor)

    def _take(self, card: str, until: float) -> int:
        descriptor = self._directory.open(_name(card), os.O_RDWR | os.O_CREAT)
        turns, turn = self._turns.setdefault(card, deque()), object()
        turns.append(turn)
        try:
            while not (first := turns[0] is turn) or not _try(descriptor):
                if time.monotonic() >= until:
                    raise self._busy(card)
                self._pause(INTERVAL_SECONDS if first else TURN_SECONDS)
        except BaseException:
            os.close(descriptor)
            raise
        finally:
            turns.remove(turn)
        return descriptor

    def _busy(self, card: str) -> CardBusy:
        holder = self.holder(card)
        if holder is None:
            return CardBusy(card, "another process has its lock", 0.0)
        return CardBusy(card, f"process {holder.pid}: {holder.text}", holder.seconds)


def _name(card: str) -> str:
    return card if len(card) <= _NAME_LENGTH else hashlib.sha256(card.encode()).hexdigest()


def _try(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _now() -> float:
    return time.clock_gettime(time.CLOCK_BOOTTIME)
