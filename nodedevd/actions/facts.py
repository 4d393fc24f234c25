"""Facts: what an action is planned from, besides the tree and the request."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec
from msgspec.structs import replace

from nodedevd.actions.ownership import Claim, Origin, Record
from nodedevd.actions.requests import Request, claim_of
from nodedevd.host.assignment import AssignmentFacts
from nodedevd.host.processes import ProcessScan
from nodedevd.questions.in_use import VfioUsage


class ActionFacts(msgspec.Struct, frozen=True):
    """What is known about a host at the moment of a request."""

    usage: VfioUsage
    """which processes have devices open"""
    assignment: AssignmentFacts
    """what the host itself uses of its disks and interfaces"""
    records: Mapping[str, Record] = {}
    """of devices made here, by subject"""
    definitions: Mapping[tuple[str, str], str] = {}
    """the text of mdevctl's definitions that the request may concern, by the kernel name of the
    parent and the uuid"""
    attributes: Mapping[str, str] = {}
    """what attributes that a plan replaces have now, by sysfs path: driver_override; one that is
    not there has no entry"""
    uid: int = 0
    """user who asks"""
    names_processes: bool = True
    """whether texts may name processes: those for root alone may"""
    origin: Origin = "client"
    """as whom a request without a domain is asked: a client, or the layout of the host"""
    now: str = ""
    """time in UTC, ISO 8601"""
    new_uuids: tuple[str, ...] = ()
    """random ones, for mdevs that the request gives none; as many as it may need"""
    callouts: bool = True
    """whether mdevctl has scripts to run; False only if it is known that it has none"""
    open_nodes: ProcessScan | None = None
    """which processes have the nodes of devices open that a request takes from the host; each node
    is given by the sysfs path of its device; None: that is unknown"""
    drivers: frozenset[str] = frozenset()
    """names of the drivers of the PCI bus that are loaded"""
    sriov_manage: str | None = None
    """path of NVIDIA's sriov-manage, if it is installed"""

    def claim(self, request: Request) -> Claim:
        """Return as whom a request asks for a change of a device."""
        claim = claim_of(request)
        return claim if claim.origin == "domain" else replace(claim, origin=self.origin)

    def record(self, subject: str, origin: Origin, request: Request, type_id: str) -> Record:
        """Return what is kept of a device that an action makes, from whoever asks for it.

        `origin` is that of a device which a client makes for itself.
        """
        claim = self.claim(request)
        return Record(
            subject=subject,
            origin=origin if claim.origin == "client" else claim.origin,
            owner=claim.owner,
            uid=self.uid,
            type=type_id,
            generation=0,
            made=self.now,
        )
