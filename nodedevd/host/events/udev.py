"""udev: the monitor of uevents. The only importer of pyudev."""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Iterator
from typing import Literal

import pyudev
from pyudev._ctypeslib import utils as _loader

from nodedevd.errors import NodedevError
from nodedevd.host.events.uevent import Uevent

# ctypes looks for a library by running ldconfig, or even gcc; the daemon runs nothing.
_loader.find_library = {"udev": "libudev.so.1", "c": "libc.so.6"}.get

UDEV_CONTROL = "/run/udev/control"
"""udevd's socket: it is there while udevd runs."""

RECEIVE_BUFFER_BYTES = 128 << 20
"""What is asked for; room for some 200,000 events of udevd, not taken before it is used."""

Source = Literal["udev", "kernel"]


class EventsLost(NodedevError):
    """The monitor's socket reported an error: events may be missing from now on."""

    code = "events-lost"

    def __init__(self, reason: str, *, overflow: bool, usable: bool) -> None:
        super().__init__(reason)
        self.reason = reason
        self.overflow = overflow
        self.usable = usable
        """whether the monitor goes on; if not, it has to be opened anew"""

    def __str__(self) -> str:
        return self.reason


def running() -> bool:
    """Tell whether udevd runs, as libudev does."""
    return os.path.exists(UDEV_CONTROL)


class Monitor:
    """A netlink socket on which uevents arrive, before or after udevd's rules.

    Raises OSError when the kernel gives no such socket.
    """

    def __init__(self, source: Source, buffer_bytes: int = RECEIVE_BUFFER_BYTES) -> None:
        self.source: Source = source
        self._monitor = pyudev.Monitor.from_netlink(pyudev.Context(), source=source)
        self.buffer_bytes = _grow(self._monitor, buffer_bytes)
        """what the kernel granted"""
        self._monitor.start()

    def fileno(self) -> int:
        """Return the descriptor, for an event loop to watch."""
        return int(self._monitor.fileno())

    def drain(self, most: int) -> Iterator[Uevent]:
        """Yield what has arrived, at most so many events.

        Raises EventsLost; what arrived besides can then still be drained.
        """
        for _ in range(most):
            try:
                device = self._monitor.poll(timeout=0)
            except OSError as error:
                raise self._lost(error) from error
            if device is None:
                return
            try:
                uevent = _uevent(device)
            except UnicodeDecodeError as error:
                raise EventsLost("a name that is not UTF-8", overflow=False, usable=True) from error
            yield uevent

    def close(self) -> None:
        """Give the socket back."""
        # pyudev has no way to close a monitor: libudev does when the object is forgotten.
        del self._monitor

    def _lost(self, error: OSError) -> EventsLost:
        # The error stays on the socket, and every later poll fails, until it is taken off.
        number = 0
        usable = True
        try:
            with socket.socket(fileno=os.dup(self.fileno())) as duplicate:
                number = duplicate.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        except OSError:
            usable = False
        number = number or error.errno or 0
        reason = errno.errorcode.get(number, str(error))
        return EventsLost(reason, overflow=number == errno.ENOBUFS, usable=usable)


def _grow(monitor: pyudev.Monitor, wanted: int) -> int:
    with socket.socket(fileno=os.dup(monitor.fileno())) as duplicate:
        try:
            duplicate.setsockopt(socket.SOL_SOCKET, 33, wanted)  # SO_RCVBUFFORCE, for root
        except PermissionError:
            duplicate.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, wanted)
        # The kernel counts its own bookkeeping, too, and says twice what was asked for.
        return duplicate.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF) // 2


def _uevent(device: pyudev.Device) -> Uevent:
    old = device.properties.get("DEVPATH_OLD") if device.action == "move" else None
    return Uevent(
        action=device.action or "",
        path=device.sys_path,
        subsystem=device.subsystem,
        old_path=None if old is None else f"/sys{old}",
    )
