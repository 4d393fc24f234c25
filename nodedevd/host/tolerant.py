"""TolerantReads: reads in which what cannot be read counts as absent, and is not forgotten.

For facts about a host that are asked for once: whoever asks decides by `faults` what is unknown.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from typing import TypeVar

from nodedevd.host.faults import Faults
from nodedevd.host.sysroot import Sysroot, is_absence

T = TypeVar("T")


class TolerantReads:
    """The reads of one host.

    Attributes:
        faults: of what could not be read, by path.
    """

    def __init__(self, sysroot: Sysroot) -> None:
        self.sysroot = sysroot
        self.faults = Faults()

    def names(self, directory: str, *, recorded: bool = False) -> list[str]:
        """List a directory, sorted; `recorded`: for its names, which a recording has to keep."""
        read = self.sysroot.names if recorded else self.sysroot.listdir
        return sorted(self._try(directory, read) or ())

    def exists(self, path: str) -> bool:
        """Return whether a path exists."""
        return self._try(path, self.sysroot.exists) or False

    def is_directory(self, path: str) -> bool:
        """Return whether a path is a directory, and no link to one."""
        return self._try(path, self.sysroot.is_directory) or False

    def mode(self, path: str) -> int | None:
        """Return the permissions of what a path leads to."""
        return self._try(path, self.sysroot.mode)

    def data(self, path: str) -> bytes | None:
        """Return the content of a file."""
        return self._try(path, self.sysroot.read)

    def text(self, path: str) -> str | None:
        r"""Return the content of a file; bytes that are not UTF-8 become `\xNN`."""
        data = self.data(path)
        return None if data is None else data.decode("utf-8", "backslashreplace")

    def target(self, link: str) -> str | None:
        """Return the path that a link leads to."""
        return self._try(link, self.sysroot.target)

    def target_name(self, link: str) -> str | None:
        """Return the last part of the path that a link leads to."""
        return self._try(link, self.sysroot.target_name)

    def check(self) -> None:
        """Raise OSError if something is missing for want of descriptors or memory."""
        if self.faults.shortage is not None:
            detail = self.faults.shortage.detail
            number = getattr(errno, detail.partition(":")[0], 0)
            raise OSError(number, os.strerror(number), self.faults.shortage.attribute)

    def _try(self, path: str, read: Callable[[str], T]) -> T | None:
        try:
            return read(path)
        except OSError as error:
            if not is_absence(error) and error.errno != errno.EINVAL:  # EINVAL: it is no link
                self.faults.add(path, error, own=True)
            return None
