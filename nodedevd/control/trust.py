"""trust: whether another user than root could have changed a file, or may swap what is below it."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator


def why_untrusted(status: os.stat_result) -> str | None:
    """Return why the owner and permissions of a file are no good, None if they are.

    This process's own user is trusted as root is.
    """
    if status.st_uid not in (0, os.geteuid()):
        return f"it belongs to the user {status.st_uid}, not to root"
    mode = stat.S_IMODE(status.st_mode)
    if mode & stat.S_IWOTH:
        return f"every user may change it (mode {mode:04o})"
    if mode & stat.S_IWGRP and status.st_gid != 0:
        return f"the group {status.st_gid} may change it (mode {mode:04o})"
    return None


def why_changeable(root: str, path: str) -> str | None:
    """Return what lets another user than root change or swap a file, None if nothing does.

    The file, what its links lead to, and all directories above these are looked at, up to the root
    of the host, `root`. Raises OSError.
    """
    target = os.path.realpath(path)
    for part in sorted({*_with_all_above(root, path), *_with_all_above(root, target)}):
        reason = why_untrusted(os.stat(part))
        if reason is not None:
            return f"{part}: {reason}"
    return None


def _with_all_above(root: str, path: str) -> Iterator[str]:
    while path != root and path != "/":
        yield path
        path = os.path.dirname(path)
