"""Where the daemon's socket is, for the daemon and for those that look for it."""

from __future__ import annotations

import os

NAME = "org.nodedevd.Devices"


def default_socket_path() -> str:
    """Return where the daemon serves when it is told nothing else."""
    if os.geteuid() == 0:
        return f"/run/nodedevd/{NAME}"
    return f"{_user_directory()}/nodedevd/{NAME}"


def candidate_socket_paths() -> list[str]:
    """Return where a client looks for a daemon, in order."""
    chosen = os.environ.get("NODEDEVD_SOCKET")
    if chosen:
        return [chosen]
    return list(dict.fromkeys([f"/run/nodedevd/{NAME}", default_socket_path()]))


def _user_directory() -> str:
    return os.environ.get("XDG_RUNTIME_DIR") or f"/run/user/{os.geteuid()}"
