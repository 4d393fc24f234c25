"""seen: what was seen of the host, in a file that outlives the service and not the boot.

The directory of the file, below /run, is made by a unit, and so says that the administrator wants
what needs the file. Without it, nothing is read or written.
"""

from __future__ import annotations

import logging
import os
from contextlib import closing
from typing import Final, Generic, TypeVar

import msgspec

from nodedevd.control.directory import Directory
from nodedevd.undecodable import UNDECODABLE

T = TypeVar("T")

_log: Final = logging.getLogger(__name__)


class Seen(Generic[T]):
    """The file, of one user at a time."""

    def __init__(self, directory: str, name: str, kind: type[T]) -> None:
        """Read nothing yet."""
        self._directory = directory
        self._name = name
        # Prepared here, since msgspec crashes if two threads prepare a type at once.
        self._decoder = msgspec.json.Decoder(kind)
        self._inode: int | None = None
        self.before: T | None = None
        """what the file had when the directory was found; None if it had nothing of use"""

    @property
    def is_wanted(self) -> bool:
        """Whether the directory was there at the last `look`."""
        return self._inode is not None

    def look(self) -> bool:
        """Look for the directory; return whether it has come, gone, or been made anew.

        Raises OSError, UnsafePath; the next look tells it again then.
        """
        try:
            inode = os.stat(self._directory).st_ino
        except FileNotFoundError:
            inode = None
        if inode == self._inode:
            return False
        self.before = None if inode is None else self._read()
        self._inode = inode
        return True

    def write(self, value: T) -> None:
        """Replace the file. A failure is logged: what was seen is known until the service ends."""
        try:
            with closing(Directory(self._directory, make=False)) as directory:
                directory.replace(self._name, msgspec.json.encode(value))
        except FileNotFoundError:
            pass  # nobody wants it any more
        except OSError as error:
            _log.warning("cannot write %s/%s: %s", self._directory, self._name, error)

    def _read(self) -> T | None:
        with closing(Directory(self._directory, make=False)) as directory:
            data = directory.read(self._name)
        if data is not None:
            try:
                return self._decoder.decode(data)
            except UNDECODABLE as error:
                _log.warning("%s/%s is malformed: %s", self._directory, self._name, error)
        return None
