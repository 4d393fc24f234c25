"""A host whose system calls fail as a test asks: by their number, or by what they are about."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from typing import Any

from nodedevd.host.sysroot import Sysroot

ERRNOS = (
    errno.EMFILE,
    errno.ENFILE,
    errno.ENOMEM,
    errno.EIO,
    errno.EACCES,
    errno.EPERM,
    errno.EAGAIN,
    errno.EINTR,
    errno.ESTALE,
    errno.EOVERFLOW,
    errno.ETIMEDOUT,
    errno.ELOOP,
    errno.EBUSY,
)
"""What a call can fail with, and what says nothing about what is there."""

Fails = Callable[[int, str, str], int | None]
"""Returns the errno with which a call fails, for its number from 0, its name and its path."""


class FailingSysroot(Sysroot):
    """A sysroot whose four calls fail as a test asks.

    Attributes:
        calls: name and path of the calls, in order, since `begin`.
    """

    def __init__(self, root: str) -> None:
        super().__init__(root)
        self.calls: list[tuple[str, str]] = []
        self._fails: Fails = lambda number, name, path: None
        for name in ("_listdir", "_readlink", "_lstat", "_read"):
            setattr(self, name, self._wrapped(name, getattr(self, name)))

    def begin(self, fails: Fails | None = None) -> None:
        """Count calls from 0 again, and have them fail so; None: no longer."""
        self.calls.clear()
        self._fails = fails or (lambda number, name, path: None)

    def _wrapped(self, name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        def wrapped(path: str, *rest: object) -> Any:
            number = self._fails(len(self.calls), name, path)
            self.calls.append((name, path))
            if number is not None:
                raise OSError(number, os.strerror(number), path)
            return call(path, *rest)

        return wrapped


def at(index: int, number: int) -> Fails:
    """Have one call fail."""
    return lambda count, name, path: number if count == index else None


def since(index: int, number: int) -> Fails:
    """Have this call and all later ones fail."""
    return lambda count, name, path: number if count >= index else None
