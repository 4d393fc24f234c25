"""systemd: sockets handed over, notifications and the watchdog of a service.

Source: sd_listen_fds(3), sd_notify(3), sd_watchdog_enabled(3).
"""

from __future__ import annotations

import logging
import os
import socket

log = logging.getLogger(__name__)

_FIRST_DESCRIPTOR = 3  # SD_LISTEN_FDS_START


def listen_sockets() -> list[tuple[str, socket.socket]]:
    """Return the sockets that socket activation hands over, each with its name.

    Clears the environment, so that a child process does not use them. Sockets for another
    process, and descriptors that are not sockets, stay open and are left out.
    """
    process = os.environ.pop("LISTEN_PID", "")
    count = os.environ.pop("LISTEN_FDS", "")
    names = os.environ.pop("LISTEN_FDNAMES", "").split(":")
    if process != str(os.getpid()) or not count.isdecimal():
        return []
    sockets = []
    for number in range(int(count)):
        descriptor = _FIRST_DESCRIPTOR + number
        try:
            os.set_inheritable(descriptor, False)
            sock = socket.socket(fileno=descriptor)
        except OSError as error:
            log.warning("descriptor %d from systemd is no socket: %s; ignored", descriptor, error)
            continue
        sockets.append((names[number] if number < len(names) else "", sock))
    return sockets


def notify(state: str) -> None:
    """Send an assignment, such as READY=1, to the service manager; a no-op without one."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address:
        return
    if address.startswith("@"):
        address = "\0" + address[1:]
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sock:
            sock.setblocking(False)
            sock.connect(address)
            sock.sendall(state.encode())
    except OSError as error:
        log.debug("cannot notify %s: %s", address, error)


def watchdog_interval() -> float | None:
    """Return the seconds within which WATCHDOG=1 has to be sent, None without a watchdog."""
    process = os.environ.get("WATCHDOG_PID", "")
    microseconds = os.environ.get("WATCHDOG_USEC", "")
    if process and process != str(os.getpid()):
        return None
    if not microseconds.isdecimal() or int(microseconds) == 0:
        return None
    return int(microseconds) / 1_000_000
