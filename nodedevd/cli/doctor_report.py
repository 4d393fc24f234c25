"""doctor_report: has a host and its daemon examined, for `nodedevctl doctor`."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable

from nodedevd.client import Client
from nodedevd.errors import NoDaemon, NodedevError
from nodedevd.follow.in_time import read_in_time, scan_in_time
from nodedevd.host.assignment import read_assignment_facts
from nodedevd.host.facts import read_host
from nodedevd.host.sysroot import Progress, Sysroot
from nodedevd.layout.facts import LayoutFacts
from nodedevd.layout.files import read_layout
from nodedevd.layout.states import with_facts
from nodedevd.model.snapshot import Snapshot
from nodedevd.model.status import Status
from nodedevd.questions.doctor import DaemonView, Report, diagnose, differences
from nodedevd.socket_paths import candidate_socket_paths

_ANSWER_SECONDS = 10.0


def examine(
    root: str | None, socket: str | None, *, progress: Progress | None
) -> tuple[Report, Snapshot]:
    """Scan a host and return the report, and the devices that it is about.

    Args:
        root: Its sysroot; None for this host, with its daemon.
        socket: The daemon's socket; None for those that clients try.
        progress: Progress callback of the scan.

    Raises NotASysroot, BadArchive, TooManyHang, OSError.
    """
    sysroot = Sysroot(root or "/")
    snapshot, hanging = scan_in_time(sysroot, progress=progress)
    daemon = _ask(socket, sysroot, snapshot) if root is None else None
    if sysroot.live and os.geteuid() == 0:
        snapshot = _with_usage(sysroot, snapshot)
    facts, besides = read_in_time(sysroot, read_host)
    hanging = tuple({read.path: read for read in (*besides, *hanging)}.values())
    findings = diagnose(snapshot, facts, hanging=hanging, daemon=daemon)
    return Report(sysroot.root, facts.container, len(snapshot), findings), snapshot


def _with_usage(sysroot: Sysroot, snapshot: Snapshot) -> Snapshot:
    """Return the tree; cards that could be changed, but for what is open or in use, are blocked."""
    if not any(one.layout is not None and one.layout.state == "drifted" for one in snapshot):
        return snapshot
    from nodedevd.follow.shared_look import look_in_time  # asyncio is slow to import

    declared, _ = read_in_time(sysroot, read_layout)
    assignment, _ = read_in_time(sysroot, read_assignment_facts)
    facts = LayoutFacts(usage=look_in_time(sysroot), assignment=assignment)
    return with_facts(snapshot, declared, facts)


def _ask(path: str | None, sysroot: Sysroot, fresh: Snapshot) -> DaemonView:
    """Ask the daemon for its status, and compare its devices with a scan of this host."""
    paths = [path] if path is not None else candidate_socket_paths()
    try:
        with Client(path, timeout_seconds=_ANSWER_SECONDS) as client:
            status = client.status()
            found: tuple[tuple[str, str], ...] = ()
            if status.sysroot == "/":
                found = _lasting_differences(client, sysroot, fresh)
            return DaemonView(
                tuple(paths),
                status,
                others=tuple(_others(paths, client.path, status)),
                differences=found,
            )
    except NoDaemon as error:
        refused = any(map(_is_refused, paths))
        return DaemonView(tuple(paths), reason=error.reason, refused=refused)
    except NodedevError as error:
        return DaemonView(tuple(paths), reason=str(error))


def _lasting_differences(
    client: Client, sysroot: Sysroot, fresh: Snapshot
) -> tuple[tuple[str, str], ...]:
    """Return the differences that two comparisons in a row find.

    A single comparison also finds devices that change between the scan and the call.
    """
    first = differences(fresh, Snapshot(client.snapshot().devices))
    if not first:
        return ()
    again, _ = scan_in_time(sysroot)
    second = differences(again, Snapshot(client.snapshot().devices))
    return tuple([one for one in second if one in first])


def _others(paths: Iterable[str], asked: str | None, status: Status) -> Iterable[str]:
    """Yield the sockets on which another process than the asked daemon answers."""
    for path in paths:
        if path != asked:
            try:
                with Client(path, timeout_seconds=_ANSWER_SECONDS) as client:
                    if client.status().pid != status.pid:
                        yield path
            except NodedevError:
                continue


def _is_refused(path: str) -> bool:
    """Return whether there is a socket that this user may not connect to."""
    try:
        is_socket = stat.S_ISSOCK(os.stat(path).st_mode)
    except PermissionError:
        return True
    except OSError:
        return False
    return is_socket and not os.access(path, os.W_OK)
