"""Generations: numbers the trees of one daemon after the other, so that none has another's number.

A daemon that is started again counts from the beginning. The generation by which a client names
what was made for it must not be, by chance, that of a later device at the same place: the path of
a function is used again.
"""

from __future__ import annotations

import logging
import time
from contextlib import closing
from typing import Final

import msgspec

from nodedevd.control.directory import Directory
from nodedevd.undecodable import UNDECODABLE

_FILE: Final = "daemon"
_log: Final = logging.getLogger(__name__)


class _Kept(msgspec.Struct, frozen=True):
    instance: str
    offset: int


# Prepared here, since msgspec crashes if two threads prepare a type at once.
_DECODER: Final = msgspec.json.Decoder(_Kept)


class Generations:
    """What is added to the generations of a daemon, kept in a file for as long as the host runs."""

    def __init__(self, directory: str) -> None:
        """Keep it in this directory, which is root's alone."""
        self._directory = directory

    def offset(self, instance: str) -> int:
        """Return what is added to the generations of an instance of the daemon.

        It is 0 for the first one, so that its generations are those of its own clients, and for
        each later one the time in microseconds, as of `Scans`. Raises OSError, UnsafePath.
        """
        with closing(Directory(self._directory)) as directory:
            data = directory.read(_FILE)
            kept = None
            if data is not None:
                try:
                    kept = _DECODER.decode(data)
                except UNDECODABLE as error:
                    _log.warning("%s/%s is malformed: %s", self._directory, _FILE, error)
            if kept is not None and kept.instance == instance:
                return kept.offset
            offset = 0 if data is None else time.time_ns() // 1000
            directory.replace(_FILE, msgspec.json.encode(_Kept(instance, offset)))
            return offset
