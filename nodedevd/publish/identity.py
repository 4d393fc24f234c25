"""Identity: that one publisher writes for a host, and who it was before.

Publishers of one machine exclude each other by a lock. The name of the last one is kept in a file,
so that the next one takes over at once what the last one has written, also after a kill. Any other
publisher of the same host is another machine's: it is found by compare-and-set, and refused.
"""

from __future__ import annotations

import fcntl
import os
import re
import secrets
from contextlib import suppress
from typing import Final

from nodedevd.errors import NodedevError

_NAME: Final = re.compile(r"[0-9a-f]{16}")


class AlreadyPublishing(NodedevError):
    """Another publisher of this machine has the state directory."""

    code = "already-publishing"
    path: str

    def __str__(self) -> str:
        return (
            f"another nodedevd-publish has {self.path}; stop it, or give this one a"
            " state_directory of its own"
        )


class Identity:
    """The name of this publisher, and of the one before. Raises AlreadyPublishing, OSError."""

    def __init__(self, directory: str, host: str) -> None:
        os.makedirs(directory, mode=0o700, exist_ok=True)
        self._path = os.path.join(directory, f"{host}.publisher")
        self._lock = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(self._lock)
            raise AlreadyPublishing(self._path) from None
        kept = os.pread(self._lock, 64, 0).decode(errors="replace").strip()
        self.before = kept if _NAME.fullmatch(kept) else None
        """the publisher before; None if there was none, or it is not known"""
        self.name = secrets.token_hex(8)

    def keep(self) -> None:
        """Note that this publisher is the host's now. Raises OSError."""
        self.before = None
        os.pwrite(self._lock, f"{self.name}\n".encode(), 0)
        os.fsync(self._lock)

    def close(self) -> None:
        """Let another one begin."""
        with suppress(OSError):
            os.close(self._lock)
