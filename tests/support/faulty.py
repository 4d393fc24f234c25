"""A host whose kernel answers reads with errors, or removes a device while it is read."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Mapping

import pytest

from nodedevd.host.sysroot import Sysroot

ANSWERS = pytest.mark.parametrize(
    ("number", "code", "detail"),
    [
        (errno.EACCES, "refused", "EACCES"),
        (errno.EPERM, "refused", "EPERM"),
        (errno.EIO, "unreadable", "EIO: Input/output error"),
        (errno.EINVAL, "unreadable", "EINVAL: Invalid argument"),
        (errno.EOPNOTSUPP, "unreadable", "EOPNOTSUPP: Operation not supported"),
        (errno.EAGAIN, "unreadable", "EAGAIN: Resource temporarily unavailable"),
        (errno.ENODEV, "unreadable", "ENODEV: No such device"),
        (errno.ENXIO, "unreadable", "ENXIO: No such device or address"),
    ],
)
"""What drivers answer with, and the code and detail of the fault that it leaves."""


class FaultySysroot(Sysroot):
    """A sysroot whose reads fail as a test asks.

    Attributes:
        reads: the paths that were read, listed or followed, in order.
    """

    def __init__(
        self,
        *root: str,
        errors: Mapping[str, int] | None = None,
        vanishing: str | None = None,
        at: int = 1,
    ) -> None:
        """Open a sysroot.

        Args:
            root: As for Sysroot.
            errors: The errno that each of these paths answers with.
            vanishing: A directory that is removed, with all it holds, when something in
                it, or itself, is read.
            at: The number of that read, from 1.
        """
        super().__init__(*root)
        self.reads: list[str] = []
        self._errors = dict(errors or {})
        self._vanishing = vanishing
        self._left = [at]  # shared by the copies that jobs use

    def listdir(self, path: str) -> list[str]:
        self._meet(path)
        return super().listdir(path)

    def read(self, path: str, size: int | None = None) -> bytes:
        self._meet(path)
        return super().read(path, size)

    def read_link(self, path: str) -> str:
        self._meet(path)
        return super().read_link(path)

    def _meet(self, path: str) -> None:
        self.reads.append(path)
        if self._vanishing is not None and f"{path}/".startswith(f"{self._vanishing}/"):
            self._left[0] -= 1
            if self._left[0] == 0:
                shutil.rmtree(f"{self.root.rstrip('/')}{self._vanishing}")
        number = self._errors.get(path)
        if number is not None:
            raise OSError(number, os.strerror(number), path)
