"""libvirt's format: a device as libvirt 11.3's nodedev driver shows it.

A list of differences from the native format, over the same model: which devices there are,
what they are called, which elements of a capability libvirt has and in what order. Content
comes from each kind's own `write`. What is told differently from libvirt on purpose is in
`docs/dialects.md`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from nodedevd.addresses import parse_pci
from nodedevd.capabilities import KIND_OF
from nodedevd.capabilities.base import Capability
from nodedevd.capabilities.mdev_child import MdevChild
from nodedevd.capabilities.mdev_parent import MdevParent
from nodedevd.capabilities.net import Net
from nodedevd.capabilities.pci import Pci
from nodedevd.capabilities.system import System
from nodedevd.dialects import native
from nodedevd.model import Device, Snapshot
from nodedevd.naming import sanitise
from nodedevd.xmltext import Out

_MDEV_TYPES = "mdev_types"
_NO_UUID = "00000000-0000-0000-0000-000000000000"


@dataclass(frozen=True, slots=True)
class _Form:
    """How libvirt shows a capability.

    Attributes:
        type: libvirt's name of the kind.
        elements: its elements, in its order; all others are left out.
        shown: whether libvirt takes the device for one.
        adapted: the capability with what libvirt says in place of what it has not.
        write: fills the element; None: the kind's own `write` does.
    """

    type: str
    elements: tuple[str, ...]
    shown: Callable[[Any], bool] = lambda cap: True
    adapted: Callable[[Any], Any] = lambda cap: cap
    write: Callable[[Any, Out], None] | None = None


def _system(cap: System) -> System:
    # The uuid is the one element that is never left out; of a host without DMI it is all zeros.
    hardware = cap.hardware
    uuid = (hardware.uuid or _NO_UUID).lower()
    return msgspec.structs.replace(cap, hardware=msgspec.structs.replace(hardware, uuid=uuid))


def _pci(cap: Pci) -> Pci:
    group = cap.iommu_group
    if group is not None:
        pci = tuple([name for name in group.devices if parse_pci(name) is not None])
        group = msgspec.structs.replace(group, devices=pci)
    functions = cap.virtual_functions
    if functions is not None and functions.maximum == 0:
        functions = msgspec.structs.replace(functions, maximum=None)
    return msgspec.structs.replace(cap, iommu_group=group, virtual_functions=functions)


def _is_pci(cap: Pci) -> bool:
    return None not in (cap.address, cap.class_code, cap.vendor, cap.product)


def _write_mdev(cap: MdevChild, out: Out) -> None:
    out.empty("type", id=cap.mdev_type.id if cap.mdev_type is not None else "")
    out.text("uuid", cap.uuid)
    out.text("parent_addr", cap.parent_addr)
    out.empty("iommuGroup", number=str(cap.iommu_group))


def _write_mdev_types(cap: MdevParent, out: Out) -> None:
    """Write the types that are whole; libvirt gives up on a device with one that is not."""
    types = [
        one
        for one in cap.types
        if one.device_api is not None and one.available_instances is not None
    ]
    if not types:
        return
    with out.begin("capability", type=_MDEV_TYPES):
        for one in types:
            with out.begin("type", id=one.id):
                if one.name:
                    out.text("name", one.name)
                out.text("deviceAPI", one.device_api or "")
                out.text("availableInstances", one.available_instances or 0)


_FORMS: Mapping[type[Capability], _Form] = {
    System: _Form("system", ("product", "hardware", "firmware"), adapted=_system),
    Pci: _Form(
        "pci",
        (
            *("class", "domain", "bus", "slot", "function", "product", "vendor", "capability"),
            *("iommuGroup", "numa", "pci-express"),
        ),
        shown=_is_pci,
        adapted=_pci,
    ),
    Net: _Form(
        "net",
        ("interface", "address", "link", "feature", "capability"),
        shown=lambda cap: cap.devtype in (None, "wlan") and cap.link.state is not None,
    ),
    MdevChild: _Form(
        "mdev",
        ("type", "uuid", "parent_addr", "iommuGroup", "attr"),
        # It waits a second for either, then gives up.
        shown=lambda cap: None not in (cap.mdev_type, cap.iommu_group),
        write=_write_mdev,
    ),
    # A parent that is nothing else: libvirt knows mtty alone, and nests the types twice.
    MdevParent: _Form(_MDEV_TYPES, ("capability",), write=_write_mdev_types),
}
"""Kinds that libvirt has, the first one of a device is what the device is."""


class _Arranged(Out):
    """Puts the elements of a capability into another order, and leaves some out."""

    __slots__ = ("_starts",)

    def __init__(self, depth: int) -> None:
        super().__init__(depth=depth)
        self._starts: list[tuple[str, int]] = []

    def begin(self, tag: str, **attributes: str) -> Out:
        self._note(tag)
        return super().begin(tag, **attributes)

    def empty(self, tag: str, **attributes: str) -> None:
        self._note(tag)
        super().empty(tag, **attributes)

    def text(self, tag: str, text: str | int, **attributes: str) -> None:
        self._note(tag)
        super().text(tag, text, **attributes)

    def _note(self, tag: str) -> None:
        if self._open == ["device", "capability"]:
            self._starts.append((tag, len(self._lines)))

    def arrange(self, tags: tuple[str, ...]) -> None:
        """Keep the elements of these tags, in the order of the tags, while in a capability."""
        starts = [start for _, start in self._starts]
        parts = [
            (tags.index(tag), self._lines[start:end])
            for (tag, start), end in zip(self._starts, [*starts[1:], len(self._lines)], strict=True)
            if tag in tags
        ]
        del self._lines[min(starts, default=len(self._lines)) :]
        for _, lines in sorted(parts, key=lambda part: part[0]):
            self._lines += lines


def _main(device: Device) -> Capability | None:
    """Return the capability that the device is to libvirt, which knows just one."""
    parent = None
    for capability in device.capabilities:
        if isinstance(capability, MdevParent):
            parent = capability
        elif type(capability) in _FORMS:
            return capability
    return parent


def shows(device: Device) -> bool:
    """Tell whether libvirt knows this device."""
    capability = _main(device)
    return capability is not None and _FORMS[type(capability)].shown(capability)


def placed(device: Device, snapshot: Snapshot) -> Device:
    """Return a device with libvirt's name of it, below the nearest device libvirt shows."""
    above = snapshot.get(device.parent or "")
    while above is not None and not shows(above):
        above = snapshot.get(above.parent or "")
    name, parent = _name(device), None if above is None else _name(above)
    if (name, parent) == (device.name, device.parent):
        return device
    return msgspec.structs.replace(device, name=name, parent=parent)


def _name(device: Device) -> str:
    mdev = device.capability(MdevChild)
    # Since 7.7: the same uuid could be defined below two parents.
    return device.name if mdev is None else f"{device.name}_{sanitise(mdev.parent_addr)}"


def device_xml(device: Device, *, depth: int = 0) -> str:
    """Return the XML of one device that is `placed`; `depth` is the levels it stands in."""
    capability = _main(device)
    assert capability is not None, f"libvirt does not show {device.name}"
    form = _FORMS[type(capability)]
    parent = device.capability(MdevParent)
    out = _Arranged(depth)
    with out.begin("device"):
        native.write_head(device, out)
        with out.begin("capability", type=form.type):
            (form.write or KIND_OF[type(capability)].write)(form.adapted(capability), out)
            if parent is not None and parent is not capability:
                _write_mdev_types(parent, out)
            out.arrange(form.elements)
    return str(out)
