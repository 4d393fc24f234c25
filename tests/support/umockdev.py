"""A host of files on which a daemon follows uevents by the real libudev.

umockdev's preload library leads a process to `$UMOCKDEV_DIR/sys` when it opens `/sys`, and
gives libudev a Unix socket `$UMOCKDEV_DIR/event<N>` for its netlink one. What udevd would send
is sent there. umockdev's own sender needs the device's directory, which is gone at `remove`,
and knows no further variables, as MDEV_STATE; so the messages are made here, as
src/libsystemd/sd-device/device-monitor.c of systemd has them.
"""

from __future__ import annotations

import ctypes
import ctypes.util
import itertools
import socket
import struct
from pathlib import Path

from tests.support.trees import Tree

_PRELOAD = "libumockdev-preload.so.0"
_MAGIC = 0xFEEDCAFE
# prefix, then magic, header size, properties' offset and length, and hashes for filters:
# those that are compared in the kernel are in network order
_HEADER = struct.Struct("=8s4sIII16s")


def is_installed() -> bool:
    """Return whether the preload library is there."""
    try:
        ctypes.CDLL(_PRELOAD)
    except OSError:
        return False
    return True


class Testbed:
    """A host below a directory.

    Attributes:
        tree: builds the host.
        environment: the variables that lead a process to the host.
    """

    __test__ = False

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._numbers = itertools.count(1)
        self.tree = Tree(directory)
        self.tree.directory("/sys")
        self.tree.directory("/dev")
        self.environment = {"LD_PRELOAD": _PRELOAD, "UMOCKDEV_DIR": str(directory)}

    def uevent(self, action: str, path: str, subsystem: str, **properties: str) -> None:
        """Send the message that udevd sends when it has processed a uevent."""
        self.send(self.message(action, path, subsystem, **properties))

    def message(self, action: str, path: str, subsystem: str, **properties: str) -> bytes:
        """Return such a message."""
        return udev_message(action, path, subsystem, next(self._numbers), **properties)

    def send(self, message: bytes) -> None:
        """Send a message to every process that listens."""
        for listener in self._directory.glob("event*"):
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
                sender.connect(str(listener))
                sender.send(message)


def udev_message(action: str, path: str, subsystem: str, number: int, **properties: str) -> bytes:
    """Return the message of udevd for the uevent with this sequence number."""
    values = {
        "ACTION": action,
        "DEVPATH": path.removeprefix("/sys"),
        "SUBSYSTEM": subsystem,
        "SEQNUM": str(number),
        **properties,
    }
    data = b"".join(f"{key}={value}".encode() + b"\0" for key, value in values.items())
    magic = _MAGIC.to_bytes(4, "big")
    size = _HEADER.size
    return _HEADER.pack(b"libudev\0", magic, size, size, len(data), bytes(16)) + data
