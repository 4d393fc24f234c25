"""facts: reads what a plan is made from besides the tree. Blocking.

Reads  /proc (who has devices open); what the host uses of disks and interfaces; mdevctl's
       definitions and scripts; driver_override, sriov_numvfs; whether sriov-manage is installed
"""

from __future__ import annotations

import logging
import os
import uuid
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Final

from msgspec.structs import replace

from nodedevd.actions.facts import ActionFacts
from nodedevd.actions.functions import DRIVERS, attributes_for, functions_leaving
from nodedevd.actions.open_nodes import devices_with_nodes
from nodedevd.actions.ownership import Origin, Record
from nodedevd.actions.requests import (
    Bind,
    Create,
    Define,
    Modify,
    Remove,
    Request,
    SetVirtualFunctions,
    Stop,
    Unbind,
)
from nodedevd.control.callouts import DIRECTORIES as SCRIPTS
from nodedevd.control.definitions import read_definitions
from nodedevd.follow.in_time import in_time, read_in_time
from nodedevd.follow.shared_look import look_in_time, unanswered
from nodedevd.host.assignment import AssignmentFacts, read_assignment_facts
from nodedevd.host.listing import names_in
from nodedevd.host.node import parse_number
from nodedevd.host.processes import ProcessScan, scan_processes
from nodedevd.host.sysroot import Sysroot, is_absence
from nodedevd.kinds.mdev_child import MdevChild
from nodedevd.kinds.shared.mdevctl import (
    DIRECTORY,
    MOST_BYTES,
    definition_path,
    is_parent_name,
)
from nodedevd.layout.facts import LayoutFacts, Usage
from nodedevd.model.snapshot import Snapshot
from nodedevd.names import is_uuid, parse_mdev_name
from nodedevd.questions.in_use import Use, VfioUsage

_log: Final = logging.getLogger(__name__)

SRIOV_MANAGE: Final = "/usr/lib/nvidia/sriov-manage"
_SCRIPT_KINDS: Final = ("callouts", "notifiers")

_OF_OPEN_DEVICES: Final = (Remove, Stop, Modify, SetVirtualFunctions, Bind, Unbind)
"""Requests that are refused for a device that is open."""
_MAKERS: Final[Mapping[Origin, str]] = {
    "client": "a client",
    "domain": "the domain",
    "definition": "a start of mdevctl's definition",
}
_OF_HOST_USE: Final = (SetVirtualFunctions, Bind, Unbind)
"""Requests that take a device from the host."""


_NOTHING_OPEN: Final = ProcessScan((), unseen=0, hidden=False)


def read_facts(
    root: str,
    snapshot: Snapshot,
    request: Request,
    records: Mapping[str, Record],
    uid: int,
    origin: Origin = "client",
    *,
    public: bool = False,
    ask_who_has_open: bool = True,
) -> ActionFacts:
    """Read what the plan of a request is made from; what it does not need is left out.

    Args:
        root: The sysroot.
        snapshot: The tree.
        request: The request.
        records: Of the devices that were made here.
        uid: The user who asks.
        origin: As whom: a client, or the layout of the host.
        public: Whether others than that user see what comes of it.
        ask_who_has_open: Look at all processes for who has devices open, if the plan needs that,
            which takes long; else the plan is made as if nobody had.

    Raises OSError: what cannot be looked at is never taken for absent.
    """
    sysroot = Sysroot(root)
    usage, assignment = unanswered(), AssignmentFacts()
    open_nodes = None if ask_who_has_open else _NOTHING_OPEN
    if isinstance(request, _OF_OPEN_DEVICES):
        usage = _usage(sysroot) if ask_who_has_open else VfioUsage(processes=_NOTHING_OPEN)
    if isinstance(request, _OF_HOST_USE):
        assignment, _ = read_in_time(sysroot, read_assignment_facts)
        leaving = functions_leaving(snapshot, request)
        if sysroot.live and leaving and ask_who_has_open:
            open_nodes = _open_nodes(sysroot, devices_with_nodes(snapshot, leaving, assignment))
    attributes = {}
    for path in attributes_for(snapshot, request):
        text = _text(sysroot, path)
        if text is not None:
            attributes[path] = text.removesuffix("\n")
    return ActionFacts(
        usage=usage,
        assignment=assignment,
        records=records,
        definitions=dict(
            found
            for one in set(_uuids(snapshot, request))
            for found in _definitions(sysroot, one).items()
        ),
        attributes=attributes,
        open_nodes=open_nodes,
        uid=uid,
        names_processes=uid == 0 and not public,
        origin=origin,
        now=datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        new_uuids=tuple(str(uuid.uuid4()) for _ in range(_new_uuids(request))),
        callouts=_has_scripts(sysroot),
        drivers=frozenset(names_in(sysroot, DRIVERS)),
        sriov_manage=SRIOV_MANAGE if sysroot.exists(SRIOV_MANAGE) else None,
    )


def read_layout_facts(
    root: str, records: Mapping[str, Record], uid: int, *, public: bool = False
) -> LayoutFacts:
    """Read what a comparison with the layout needs besides the tree.

    The arguments are those of `read_facts`. Raises OSError.
    """
    sysroot = Sysroot(root)
    assignment, _ = read_in_time(sysroot, read_assignment_facts)
    usage: Usage = _usage(sysroot)
    if uid != 0 or public:
        usage = _WithoutHolders(usage)
    return LayoutFacts(usage=usage, assignment=assignment, claimed=claimed_by(records))


class _WithoutHolders:
    """What users other than root may know of processes: whether a device is open."""

    def __init__(self, usage: Usage) -> None:
        self._usage = usage

    def use(self, name: str, path: str | None) -> Use:
        """Return whether a device is open, and not by whom."""
        return replace(self._usage.use(name, path), holders=())


def claimed_by(records: Mapping[str, Record]) -> dict[str, str]:
    """Return whose the devices are that a layout leaves alone, in words, by their subjects."""
    return {
        one.subject: f"{_MAKERS[one.origin]}{'' if one.owner is None else f' {one.owner!r}'}"
        for one in records.values()
        if one.origin in _MAKERS
    }


def _usage(sysroot: Sysroot) -> VfioUsage:
    """Look at the processes; what cannot be looked at is refused as it may be in use."""
    try:
        return look_in_time(sysroot)
    except OSError as error:
        _log.warning("whether devices are open cannot be told: %s", error)
        return unanswered()


def _new_uuids(request: Request) -> int:
    if isinstance(request, Create):
        return (request.count or 1) if request.uuid is None else 0
    return int(isinstance(request, Define) and request.uuid is None)


def _uuids(snapshot: Snapshot, request: Request) -> Iterator[str]:
    """Yield the uuids of mdevs that a request may be about."""
    given = getattr(request, "uuid", None)
    if given is not None:
        yield given
    name = getattr(request, "name", None)
    if name is None:
        return
    device = snapshot.find(name)
    mdev = None if device is None else device.capability(MdevChild)
    parsed = parse_mdev_name(name)
    if mdev is not None:
        yield mdev.uuid
    elif is_uuid(name):
        yield name.lower()
    elif parsed is not None:
        yield parsed.uuid


def _open_nodes(sysroot: Sysroot, devices: tuple[list[str], list[str]]) -> ProcessScan:
    """Return which processes have the nodes of devices open, each node by its sysfs path."""
    characters, blocks = (
        {path: number for path in paths if (number := _number(sysroot, path)) is not None}
        for paths in devices
    )
    if not characters and not blocks:
        return ProcessScan((), unseen=0, hidden=False)
    scan, _ = in_time(lambda job: scan_processes(characters, blocks=blocks, job=job))
    return scan


def _number(sysroot: Sysroot, path: str) -> int | None:
    text = _text(sysroot, f"{path}/dev") or ""
    major, colon, minor = text.strip().partition(":")
    if not colon or parse_number(major) is None or parse_number(minor) is None:
        return None
    return os.makedev(int(major), int(minor))


def _definitions(sysroot: Sysroot, uuid: str) -> dict[tuple[str, str], str]:
    """Return the texts of all definitions of a UUID."""
    if not os.path.isfile(sysroot.root):
        return read_definitions(os.path.join(sysroot.root, DIRECTORY.lstrip("/")), uuid)
    # In a recording nobody writes, and only plans are made.
    texts = {
        (parent, uuid): _text(sysroot, definition_path(parent, uuid), MOST_BYTES)
        for parent in filter(is_parent_name, names_in(sysroot, DIRECTORY))
    }
    return {key: text for key, text in texts.items() if text is not None}


def _text(sysroot: Sysroot, path: str, size: int | None = None) -> str | None:
    """Return an attribute, or the beginning of a file, None if it is absent."""
    try:
        return sysroot.read(path, size).decode(errors="replace")
    except OSError as error:
        if is_absence(error):
            return None
        raise


def _has_scripts(sysroot: Sysroot) -> bool:
    return any(
        names_in(sysroot, f"{directory}/{kind}") for directory in SCRIPTS for kind in _SCRIPT_KINDS
    )
