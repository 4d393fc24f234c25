"""trust: whether another user than root could have changed a file, or may swap what is below it."""

from __future__ import annotations

import os
import stat
from typing import Final

from nodedevd.host.sysroot import LinksInCircle, Sysroot

_LINK_LIMIT: Final = 40  # as path_resolution(7)


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


def why_changeable(sysroot: Sysroot, path: str) -> str | None:
    """Return what lets another user than root change or swap a file, None if nothing does.

    The file is looked at, and each directory on the way to it and to what links lead to, from the
    root down. So no link is followed before it is known that only root can have made it, and what
    is read afterwards is what was looked at, unless root has changed it. Raises OSError.
    """
    todo = path.split("/")[::-1]
    done = ""  # a directory that root alone may change, and has no links in its path
    links = 0
    while todo:
        part = todo.pop()
        if part in ("", "."):
            continue
        if part == "..":
            done = done.rpartition("/")[0]
            continue
        here = f"{done}/{part}"
        status = sysroot.status(here)
        if stat.S_ISLNK(status.st_mode):
            links += 1
            if links > _LINK_LIMIT:
                raise LinksInCircle(path)
            text = sysroot.read_link(here)
            if text.startswith("/"):
                done = ""
            todo.extend(text.split("/")[::-1])
            continue
        reason = why_untrusted(status)
        if reason is not None:
            return f"{here}: {reason}"
        done = here
    return None
