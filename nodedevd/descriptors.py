"""descriptors: how many file descriptors this process may have open, and what they are for.

Clients are given what the scan, the monitors and reads that hang leave over, so that no number of
clients can keep the daemon from reading the host.

Source: getrlimit(2), RLIMIT_NOFILE; systemd.exec(5), LimitNOFILE=.
"""

from __future__ import annotations

import os
import resource
from typing import Final, NamedTuple

LIMIT_AT_MOST: Final = 65_536
"""The soft limit is raised to the hard limit, but not beyond this number."""
RESERVED: Final = 32
"""Held back for listening sockets, monitors, the scan and looks at processes and nodes: each of
the four threads that read has at most three files open."""
LOOKS: Final = 4
"""Looks at what a scan does not read: processes, assignment facts, device nodes, host facts."""
HANGING_AT_MOST: Final = 512
"""Reads of a scan that may hang in drivers at once; each keeps a thread and a descriptor."""
WRITES: Final = 192
"""Connections to the control service, if clients of libvirt may change devices."""
CLIENTS_AT_MOST: Final = 1024
"""Clients of all listening sockets, if there are descriptors for so many."""


class Descriptors(NamedTuple):
    """The limit on open files, and how many of them are for what."""

    limit: int
    """the soft limit of RLIMIT_NOFILE"""
    hanging: int
    """for reads of a scan that hang"""
    hanging_of_look: int
    """for reads of each other look that hang"""
    clients: int
    """for clients, those of all listening sockets together; below 1, none can be served"""


def raise_limit() -> int:
    """Raise the soft limit on open files to the hard limit, within reason; return it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    soft, wanted = (LIMIT_AT_MOST if one == resource.RLIM_INFINITY else one for one in (soft, hard))
    wanted = min(wanted, LIMIT_AT_MOST)
    if soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    return max(soft, wanted)


def share_out(limit: int, already_open: int | None = None, *, writes: bool = False) -> Descriptors:
    """Share out the descriptors below a limit; those that are already open are in use.

    `writes` is whether clients of libvirt may change devices.
    """
    if already_open is None:
        already_open = len(os.listdir("/proc/self/fd"))
    hanging = min(HANGING_AT_MOST, limit // 8)
    of_look = max(1, hanging // 16)
    reserved = already_open + RESERVED + hanging + LOOKS * of_look + WRITES * writes
    return Descriptors(limit, hanging, of_look, min(CLIENTS_AT_MOST, limit - reserved))
