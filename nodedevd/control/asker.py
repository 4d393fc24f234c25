"""Asker: who asks for a change, as the kernel says of the process that has connected.

Reads  SO_PEERCRED, SO_PEERGROUPS and SO_PEERPIDFD of unix(7); /proc/<pid>/comm and stat

The credentials are those of the moment of connect(2). A pid may belong to another process by the
time it is looked up; where the kernel gives a pidfd (Linux 6.5), that is noticed.
"""

from __future__ import annotations

import array
import ctypes
import errno
import os
import select
import socket
import struct
from contextlib import suppress
from typing import Final

from msgspec.structs import replace

from nodedevd.server.conversation import Peer

_UCRED: Final = struct.Struct("iII")  # pid, uid, gid
_SO_PEERGROUPS: Final = 59  # include/uapi/asm-generic/socket.h
_SO_PEERPIDFD: Final = 77
_GROUPS_AT_ONCE: Final = 256  # Python asks for 1024 bytes at the most
_GROUPS_AT_MOST: Final = 65536  # NGROUPS_MAX
_PROC: Final = "/proc"


class Asker(Peer, frozen=True, gc=False):
    """A process that asks for changes."""

    gid: int
    groups: frozenset[int]
    """of the process besides `gid`"""
    command: str
    """the name of its program, comm of proc(5); empty if the process has ended"""
    started: int | None
    """when the process started, in clock ticks since the boot; None if it has ended"""
    speaker: str = ""
    """the process that asks for it, as `command[pid]`; empty if it asks itself"""

    def through(self, speaker: Asker) -> Asker:
        """Return the same, asked for by another process."""
        return replace(self, speaker=f"{speaker.command or 'process'}[{speaker.pid}]")


def asker_of(sock: socket.socket) -> Asker:
    """Return who has connected."""
    pid, uid, gid = _UCRED.unpack(sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
    try:
        command, started = _look_up(pid, _pidfd(sock))
    except ProcessLookupError:
        command, started = "", None
    return Asker(pid, uid, gid, _groups(sock), command, started)


def this_process() -> Asker:
    """Return this process, which asks for what it does itself."""
    command, started = _look_up(os.getpid(), None)
    groups = frozenset(os.getgroups())
    return Asker(os.getpid(), os.geteuid(), os.getegid(), groups, command, started)


def _groups(sock: socket.socket) -> frozenset[int]:
    """Return the supplementary groups; none if the kernel does not tell them."""
    try:
        found = sock.getsockopt(socket.SOL_SOCKET, _SO_PEERGROUPS, 4 * _GROUPS_AT_ONCE)
    except OSError as error:
        return _many_groups(sock) if error.errno == errno.ERANGE else frozenset()
    return frozenset(array.array("I", found))


def _many_groups(sock: socket.socket) -> frozenset[int]:
    groups = (ctypes.c_uint32 * _GROUPS_AT_MOST)()
    size = ctypes.c_uint32(ctypes.sizeof(groups))
    getsockopt = ctypes.CDLL(None, use_errno=True).getsockopt
    failed = getsockopt(
        sock.fileno(), socket.SOL_SOCKET, _SO_PEERGROUPS, groups, ctypes.byref(size)
    )
    return frozenset() if failed else frozenset(groups[: size.value // 4])


def _pidfd(sock: socket.socket) -> int | None:
    """Return a descriptor of the process, None if this kernel has none.

    Raises ProcessLookupError if the process has ended, and somebody has waited for it.
    """
    try:
        data = sock.getsockopt(socket.SOL_SOCKET, _SO_PEERPIDFD, 4)
    except OSError as error:
        if error.errno == errno.ENOPROTOOPT:
            return None
        raise ProcessLookupError(errno.ESRCH, os.strerror(errno.ESRCH)) from error
    descriptor: int = struct.unpack("i", data)[0]
    return descriptor


def _look_up(pid: int, pidfd: int | None) -> tuple[str, int | None]:
    """Return the name of a process and when it started; nothing if it has ended.

    Neither of the two files makes the kernel read the memory of the process, as `cmdline` does,
    which its owner can keep from being read.
    """
    try:
        command, started = "", None
        with suppress(OSError, ValueError, IndexError):
            with open(f"{_PROC}/{pid}/stat", "rb") as file:
                fields = file.read(4096)
            name, _, rest = fields.partition(b"(")[2].rpartition(b")")
            command, started = name.decode(errors="replace"), int(rest.strip().split(b" ")[19])
        if pidfd is not None and _has_ended(pidfd):
            return "", None  # The pid may be another process's by now.
        return command, started
    finally:
        if pidfd is not None:
            os.close(pidfd)


def _has_ended(pidfd: int) -> bool:
    poll = select.poll()
    poll.register(pidfd, select.POLLIN)
    return bool(poll.poll(0))
