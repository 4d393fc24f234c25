"""examined: what all checks look at, and what several of them ask of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from nodedevd.host.facts import HostFacts
from nodedevd.kinds.base import Capability
from nodedevd.kinds.mdev_child import MdevChild
from nodedevd.kinds.mdev_parent import MdevParent
from nodedevd.kinds.pci import Pci
from nodedevd.kinds.vgpu import Vgpu
from nodedevd.model.device import Device
from nodedevd.model.snapshot import Snapshot
from nodedevd.model.status import UnansweredRead
from nodedevd.questions.cards_without_vgpus import CardWithoutVgpus
from nodedevd.questions.doctor.daemon_view import DaemonView
from nodedevd.questions.doctor.finding import Code, Finding, Severity
from nodedevd.questions.vgpus import card_of
from nodedevd.steps import STEP_ITEMS, Steps

C = TypeVar("C", bound=Capability)

NVIDIA, INTEL = "0x10de", "0x8086"
_GRAPHICS = "0x03"


@dataclass(frozen=True, slots=True)
class Examined:
    """A host as the checks see it."""

    snapshot: Snapshot
    facts: HostFacts
    hanging: tuple[UnansweredRead, ...]
    daemon: DaemonView | None
    without_vgpus: tuple[CardWithoutVgpus, ...]
    """cards that should offer vGPUs, and offer none"""
    by_kind: Mapping[type[Capability], Sequence[Device]]
    """the devices with a capability of a kind, by `by_kind_in_steps`"""

    def having(self, kind: type[C]) -> Iterator[tuple[Device, C]]:
        """Yield the devices with a capability of a kind, and that, in the order of their names."""
        for device in self.by_kind.get(kind, ()):
            capability = device.capability(kind)
            assert capability is not None
            yield device, capability

    def finding(
        self,
        severity: Severity,
        code: Code,
        device: Device,
        text: str,
        advice: str,
        *mend: str,
    ) -> Finding:
        """Return a finding about a device."""
        return Finding(severity, code, device.name, self.card(device), text, advice, mend)

    def card(self, device: Device) -> str | None:
        """Return the name of a device's card; of an mdev, that of its parent, if it has one."""
        if device.capability(MdevChild) is None:
            return card_of(device)
        parent = self.snapshot.get(device.parent or "")
        return None if parent is None or parent.parent is None else card_of(parent)

    def graphics(self, vendor: str) -> Iterator[Device]:
        """Yield the graphics functions of a vendor, physical and virtual."""
        for device, _ in self.having(Pci):
            if is_graphics(device, vendor):
                yield device


def by_kind_in_steps(snapshot: Snapshot) -> Steps[dict[type[Capability], list[Device]]]:
    """Return the devices of a host by the kinds of their capabilities, in steps."""
    found: dict[type[Capability], list[Device]] = {}
    for group in snapshot.in_groups(STEP_ITEMS):
        for device in group:
            for one in device.capabilities:
                found.setdefault(type(one), []).append(device)
        yield
    return found


def host_finding(severity: Severity, code: Code, text: str, advice: str, *mend: str) -> Finding:
    """Return a finding about the host or the daemon."""
    return Finding(severity, code, None, None, text, advice, mend)


def is_graphics(device: Device, vendor: str) -> bool:
    """Return whether a device is a graphics function of a vendor."""
    pci = device.capability(Pci)
    return (
        pci is not None
        and pci.vendor is not None
        and pci.vendor.id == vendor
        and (pci.class_code or "").startswith(_GRAPHICS)
    )


def takes_vgpus(device: Device) -> bool:
    """Return whether a function has an interface for vGPUs, by either framework."""
    return device.capability(MdevParent) is not None or device.capability(Vgpu) is not None


def bound(device: Device) -> str:
    """Return `bound to DRIVER`, for texts."""
    return "bound to no driver" if device.driver is None else f"bound to {device.driver}"
