"""The Varlink interfaces, and the sockets that services serve them on and clients try."""

from __future__ import annotations

import os

INTERFACE = "org.nodedevd.Devices"
"""The name of the interface, of its sockets, and of its description's file."""

CONTROL_SOCKET_PATH = "/run/nodedevd/org.nodedevd.Control"
"""The socket of the service that changes the host; systemd makes it."""

CONTROL_SOCKET_VARIABLE = "NODEDEVD_CONTROL_SOCKET"
"""The environment variable that names another socket of that service."""


def default_socket_path() -> str:
    """Return the path that the daemon serves on unless it is given another."""
    if os.geteuid() == 0:
        return f"/run/nodedevd/{INTERFACE}"
    return f"{_user_directory()}/nodedevd/{INTERFACE}"


def candidate_socket_paths() -> list[str]:
    """Return the paths that a client tries, in order.

    That is $NODEDEVD_SOCKET alone if it is set, else the sockets of root's daemon and of the
    user's own.
    """
    chosen = os.environ.get("NODEDEVD_SOCKET")
    if chosen:
        return [chosen]
    return list(dict.fromkeys([f"/run/nodedevd/{INTERFACE}", default_socket_path()]))


def control_socket_path() -> str:
    """Return the path where clients look for the control service, $NODEDEVD_CONTROL_SOCKET."""
    return os.environ.get(CONTROL_SOCKET_VARIABLE) or CONTROL_SOCKET_PATH


def _user_directory() -> str:
    return os.environ.get("XDG_RUNTIME_DIR") or f"/run/user/{os.geteuid()}"
