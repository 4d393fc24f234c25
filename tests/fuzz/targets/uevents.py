"""Uevents on the socket of a monitor: what udevd sends, or whoever is root in the namespace."""

from __future__ import annotations

import ctypes
import os
import select
import socket
import struct
from functools import cache

from nodedevd.host.events.lost import EventsLost
from nodedevd.host.events.udev import Monitor
from nodedevd.host.events.uevent import Uevent
from nodedevd.model.snapshot import Snapshot
from nodedevd.tree.touched import touched_paths
from tests.fuzz.target import Cutter, Target

_UDEV_GROUP = 2
_CLONE_NEWNET = 0x40000000
_HEADER = struct.Struct("=8sIIIIIIII")
_LAST = b"ACTION=add\0DEVPATH=/devices/last\0SUBSYSTEM=net\0SEQNUM=9\0"
_EMPTY = Snapshot()


@cache
def _sockets() -> tuple[Monitor, socket.socket]:
    """Return a monitor in a network namespace of its own, which this thread then is in."""
    if ctypes.CDLL(None, use_errno=True).unshare(_CLONE_NEWNET):
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    monitor = Monitor("udev", buffer_bytes=1 << 20)
    sender = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 15)  # NETLINK_KOBJECT_UEVENT
    return monitor, sender


def _message(properties: bytes, length: int | None = None) -> bytes:
    """Return properties behind the header of libudev, systemd's sd-device/device-monitor.c."""
    size = len(properties) if length is None else length
    head = _HEADER.pack(
        b"libudev\0", socket.htonl(0xFEEDCAFE), _HEADER.size, _HEADER.size, size, 0, 0, 0, 0
    )
    return head + properties


def check(data: bytes) -> None:
    """A message is at most one event, or lost events are reported; the next one arrives.

    The first byte decides whether the rest has a header.
    """
    cutter = Cutter(data)
    headed = cutter.byte() & 1
    content = cutter.rest()
    monitor, sender = _sockets()
    sender.sendto(_message(content) if headed else content or b"\0", (0, _UDEV_GROUP))
    sender.sendto(_message(_LAST), (0, _UDEV_GROUP))
    found: list[Uevent] = []
    # libudev ignores some messages, which ends a drain; the descriptor stays readable.
    while select.select([monitor.fileno()], [], [], 0)[0]:
        try:
            found += monitor.drain()
        except EventsLost as error:
            assert error.usable
            assert not error.overflow
    assert 1 <= len(found) <= 2
    assert found[-1].path == "/sys/devices/last"
    for uevent in found:
        assert uevent.path.startswith("/sys/")
        for text in (uevent.action, uevent.path, uevent.subsystem or "", uevent.old_path or ""):
            text.encode()
            assert len(text) <= len(content) + 40
    paths = touched_paths(found, _EMPTY)
    assert len(paths) <= 4 * len(found)


TARGET = Target(
    "uevents",
    check,
    reads=("nodedevd/host/events/udev.py", "nodedevd/tree/touched.py"),
    words=(
        b"\1ACTION=add\0DEVPATH=/devices/a\0SUBSYSTEM=net\0SEQNUM=1\0",
        b"\1ACTION=move\0DEVPATH=/devices/a\0SUBSYSTEM=vfio-dev\0DEVPATH_OLD=/devices/b\0SEQNUM=2\0",
        b"ACTION=remove\0",
        b"SUBSYSTEM=mdev\0",
        b"DEVPATH=/devices/../..",
        b"DEVPATH_OLD=",
        b"DEVTYPE=",
        b"DEVNAME=/dev/",
        b"MAJOR=8\0MINOR=0\0",
        b"add@/devices/a\0",
        b"\xff",
        b"\n",
    ),
    most_bytes=512,
    steps=(3000, 100),
    share=0.5,
    needs=("root",),
)
