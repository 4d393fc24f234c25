"""trust: whether another user than root could have changed a file, or may swap what is below it."""

from __future__ import annotations

import os
import stat


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
