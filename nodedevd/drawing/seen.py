"""seen: whether devices are open and by whom, and what was found about them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from operator import attrgetter

import msgspec

from nodedevd.drawing.model import Slot, SlotState
from nodedevd.drawing.words import plural, shown
from nodedevd.host.processes import Process
from nodedevd.kinds.mdev_child import MdevChild
from nodedevd.kinds.shared.vfio import is_vfio_driver
from nodedevd.model.device import Device
from nodedevd.model.snapshot import Snapshot
from nodedevd.questions.doctor.finding import SEVERITIES, Finding, Severity
from nodedevd.questions.in_use import VfioUsage

STATES: Mapping[SlotState, str] = {
    "open": "open",
    "idle": "not open",
    "unknown": "use unknown",
    "defined": "defined only",
    "broken": "broken",
    "room": "room",
    "none": "no room",
    "host": "host driver",
}
"""Each state in a word or two, the worst or most important one first in a card."""

_FIRST: Sequence[SlotState] = ("broken", "open", "unknown", "idle", "defined")


class Host(msgspec.Struct, frozen=True):
    """What a picture is made of."""

    title: str
    """name of the host"""
    snapshot: Snapshot
    usage: VfioUsage = VfioUsage(reason="other-host")
    """which devices are open"""
    findings: tuple[Finding, ...] = ()
    """problems of the host, the most severe first"""
    show_holders: bool = True
    """whether to name who has a device open"""


class Seen:
    """Uses and findings, by device."""

    def __init__(self, host: Host) -> None:
        self._usage = host.usage
        self._show_holders = host.show_holders
        self._marks: dict[str, Severity] = {}
        self._card_marks: dict[str, Severity] = {}
        for one in reversed(host.findings):  # the most severe comes last, and stays
            if one.device is not None:
                self._marks[one.device] = one.severity
            if one.card is not None:
                self._card_marks[one.card] = one.severity

    def mark(self, name: str) -> Severity | None:
        """Return the most severe finding about a device."""
        return self._marks.get(name)

    def mark_of_card(self, name: str) -> Severity | None:
        """Return the most severe finding about a card or anything on it."""
        return self._card_marks.get(name)

    def vgpu(self, device: Device) -> tuple[SlotState, str]:
        """Return the state of an mdev or a function with a profile, and who has it open."""
        mdev = device.capability(MdevChild)
        if mdev is not None and mdev.state == "inactive":
            return "defined", ""
        state, holder = self._use(device)
        if mdev is not None and mdev.state != "complete":
            return "broken", holder
        return state, holder

    def function(self, device: Device | None) -> tuple[SlotState, str]:
        """Return the state of a function that cannot hold vGPUs: assigned, the host's, or idle."""
        if device is None or device.driver is None:
            return "none", ""
        return self._use(device) if is_vfio_driver(device.driver) else ("host", "")

    def _use(self, device: Device) -> tuple[SlotState, str]:
        use = self._usage.use(device.name, device.path)
        if use.open == "yes":
            return "open", _holders(use.holders) if self._show_holders else ""
        return ("idle" if use.open == "no" else "unknown"), ""


def _holders(processes: Sequence[Process]) -> str:
    """Return the first of the processes, and the number of the others."""
    if not processes:
        return ""
    vm = processes[0].vm
    name = None if vm is None else vm.name or vm.uuid
    first = shown(name, 40) if name else f"{shown(processes[0].process, 24)} {processes[0].pid}"
    more = len(processes) - 1
    return first if not more else f"{first} and {plural(more, 'other')}"


def strongest(states: Iterable[SlotState]) -> SlotState | None:
    """Return the state that a function shows which has several vGPUs; None without any."""
    found = set(states)
    return next((state for state in _FIRST if state in found), None)


def worst(marks: Iterable[Severity | None]) -> Severity | None:
    """Return the most severe mark; None without any."""
    found = set(marks)
    return next((one for one in SEVERITIES if one in found), None)


def counted(slots: Iterable[Slot]) -> dict[SlotState, int]:
    """Return how many slots are in each state that occurs, in the order of STATES."""
    found = Counter(map(attrgetter("state"), slots))
    return {state: found[state] for state in STATES if found[state]}
