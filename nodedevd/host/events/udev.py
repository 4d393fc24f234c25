"""udev: receives uevents from udevd or from the kernel. The only importer of pyudev."""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Iterator
from types import ModuleType
from typing import Any, Literal

from nodedevd.host.events.lost import EventsLost
from nodedevd.host.events.uevent import Uevent
from nodedevd.substituted import substituted

# ctypes finds a library by running ldconfig or gcc, and the daemon starts no process. What it has
# for that takes longer to import than pyudev.
_FINDER: Any = ModuleType("ctypes.util")
_FINDER.find_library = {"udev": "libudev.so.1", "c": "libc.so.6"}.get
with substituted("ctypes.util", _FINDER):
    import pyudev
    from pyudev._ctypeslib import utils as _loader
_loader.find_library = _FINDER.find_library

UDEV_CONTROL = "/run/udev/control"
"""udevd's socket; it exists while udevd runs."""

RECEIVE_BUFFER_BYTES = 128 << 20
"""Size of the receive buffer that is requested: room for some 200,000 events of udevd.

The kernel takes the memory only as events fill it.
"""

EventSource = Literal["udev", "kernel"]
"""Who sends the uevents: udevd after its rules, or the kernel before them."""

_SO_RCVBUFFORCE = 33

# pyudev raises these in place of OSError for three errnos: that of a record that cannot be parsed,
# and that of a kernel without memory, are among them.
_ERRNOS = {ValueError: errno.EINVAL, MemoryError: errno.ENOMEM, OverflowError: errno.EOVERFLOW}
_FAILED = (OSError, *_ERRNOS)


def running() -> bool:
    """Return whether udevd runs, by the same sign as libudev."""
    return os.path.exists(UDEV_CONTROL)


class Monitor:
    """A netlink socket that receives uevents.

    Raises OSError when the kernel refuses the socket.

    Attributes:
        buffer_bytes: size of the receive buffer that the kernel granted.
    """

    def __init__(self, source: EventSource, buffer_bytes: int = RECEIVE_BUFFER_BYTES) -> None:
        try:
            self._monitor = pyudev.Monitor.from_netlink(pyudev.Context(), source=source)
            self.buffer_bytes = _grow(self._monitor, buffer_bytes)
            self._monitor.start()
        except _FAILED as error:
            raise _os_error(error) from error

    def fileno(self) -> int:
        """Return the descriptor, for an event loop to watch."""
        return int(self._monitor.fileno())

    def drain(self) -> Iterator[Uevent]:
        """Yield the uevents that have arrived; does not block.

        Raises EventsLost; later events can still be drained if the monitor is usable.
        """
        while True:
            try:
                device = self._monitor.poll(timeout=0)
            except _FAILED as error:
                raise self._lost(_os_error(error)) from error
            if device is None:
                return
            try:
                uevent = _uevent(device)
            except UnicodeDecodeError as error:
                raise EventsLost("a name that is not UTF-8", overflow=False, usable=True) from error
            yield uevent

    def close(self) -> None:
        """Close the socket."""
        # pyudev cannot close a monitor: libudev does when the last reference goes.
        del self._monitor

    def _lost(self, error: OSError) -> EventsLost:
        # The error stays on the socket, and every later poll fails, until SO_ERROR is read.
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
            duplicate.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, wanted)  # as root
        except PermissionError:
            duplicate.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, wanted)
        # socket(7): the kernel doubles the value, for its own bookkeeping.
        return duplicate.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF) // 2


def _os_error(error: Exception) -> OSError:
    if isinstance(error, OSError):
        return error
    number = _ERRNOS.get(type(error), errno.EINVAL)
    return OSError(number, os.strerror(number))


def _uevent(device: pyudev.Device) -> Uevent:
    old = device.properties.get("DEVPATH_OLD") if device.action == "move" else None
    return Uevent(
        action=device.action or "",
        path=device.sys_path,
        subsystem=device.subsystem,
        old_path=None if old is None else f"/sys{old}",
    )
