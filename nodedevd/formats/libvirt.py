"""libvirt's format: a device as libvirt 11.3's nodedev driver shows it.

A list of differences from the native format, over the same model: which devices there are,
what they are called, which elements of a capability libvirt has and in what order. Content
comes from each kind's own `write`. What is told differently from libvirt on purpose is in
`docs/formats.md`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from itertools import chain
from typing import Any, Final

from msgspec.structs import replace

from nodedevd.formats import native
from nodedevd.kinds import KIND_OF
from nodedevd.kinds.base import Capability
from nodedevd.kinds.mdev_child import MdevChild
from nodedevd.kinds.mdev_parent import MdevParent
from nodedevd.kinds.pci import Pci, address_of
from nodedevd.kinds.scsi_host import ScsiHost
from nodedevd.kinds.scsi_target import ScsiTarget
from nodedevd.kinds.storage import Storage
from nodedevd.kinds.system import System
from nodedevd.model.device import Device
from nodedevd.model.snapshot import Snapshot
from nodedevd.names import device_name
from nodedevd.xml_writer import Out

_MDEV_TYPES = "mdev_types"
_NO_UUID = "00000000-0000-0000-0000-000000000000"


@dataclass(frozen=True, slots=True)
class _Form:
    """How libvirt shows a capability.

    Attributes:
        type: libvirt's name of the kind.
        elements: its elements in its order, nested capabilities with their type; all others
            are left out.
        shown: whether libvirt takes the device for one.
        adapted: the capability with what libvirt says in place of what it has not.
        write: fills the element; None: the kind's own `write` does.
    """

    type: str
    elements: tuple[str, ...]
    shown: Callable[[Any, Device], bool] = lambda cap, device: True
    adapted: Callable[[Any], Any] = lambda cap: cap
    write: Callable[[Any, Out], None] | None = None


def _system(cap: System) -> System:
    # The uuid is the one element that is never left out; of a host without DMI it is all zeros.
    hardware = cap.hardware
    uuid = (hardware.uuid or _NO_UUID).lower()
    return replace(cap, hardware=replace(hardware, uuid=uuid))


def _pci(cap: Pci) -> Pci:
    group = cap.iommu_group
    if group is not None:
        pci = tuple([name for name in group.devices if address_of(name) is not None])
        group = replace(group, devices=pci)
    functions = cap.virtual_functions
    if functions is not None and functions.maximum == 0:
        functions = replace(functions, maximum=None)
    return replace(cap, iommu_group=group, virtual_functions=functions)


def _scsi_host(cap: ScsiHost) -> ScsiHost:
    fc_host, vport_ops = cap.fc_host, cap.vport_ops
    whole = (fc_host is None or None not in (fc_host.wwnn, fc_host.wwpn)) and (
        vport_ops is None or None not in (vport_ops.max_vports, vport_ops.vports)
    )
    return cap if whole else replace(cap, fc_host=None, vport_ops=None)


def _scsi_target(cap: ScsiTarget) -> ScsiTarget:
    whole = cap.fc_remote_port is None or cap.fc_remote_port.wwpn is not None
    return cap if whole else replace(cap, fc_remote_port=None)


def _storage(cap: Storage) -> Storage:
    if cap.removable is None or cap.removable.media_available is not None:
        return cap
    # A medium that udev has not seen is none.
    empty = replace(cap.removable, media_available=False)
    return replace(cap, removable=empty, size_bytes=0, logical_block_size=None)


def _write_mdev(cap: MdevChild, out: Out) -> None:
    out.empty("type", id="" if cap.mdev_type is None else cap.mdev_type.id)
    out.text("uuid", cap.uuid)
    out.text("parent_addr", cap.parent_addr)
    if cap.iommu_group is not None:
        out.empty("iommuGroup", number=str(cap.iommu_group))
    for one in cap.attributes:
        out.empty("attr", name=one.name, value=one.value)


def _write_mdev_types(cap: MdevParent, out: Out) -> None:
    """Write the types that are whole; libvirt gives up on a device with one that is not."""
    types = [
        (one, one.device_api, one.available_instances)
        for one in cap.types
        if one.device_api is not None and one.available_instances is not None
    ]
    if not types:
        return
    with out.begin("capability", type=_MDEV_TYPES):
        for one, device_api, available_instances in types:
            with out.begin("type", id=one.id):
                if one.name:
                    out.text("name", one.name)
                out.text("deviceAPI", device_api)
                out.text("availableInstances", available_instances)


_CCW_ADDRESS = ("cssid", "ssid", "devno")
_TYPES = f"capability {_MDEV_TYPES}"

_FORMS: Mapping[str, _Form] = {
    "system": _Form("system", ("product", "hardware", "firmware"), adapted=_system),
    "pci": _Form(
        "pci",
        (
            *("class", "domain", "bus", "slot", "function", "product", "vendor"),
            *("capability", _TYPES, "capability vpd", "iommuGroup", "numa", "pci-express"),
        ),
        shown=lambda cap, _: None not in (cap.address, cap.class_code, cap.product, cap.vendor),
        adapted=_pci,
    ),
    "mdev_child": _Form(
        "mdev",
        ("type", "uuid", "parent_addr", "iommuGroup", "attr"),
        # Of an active one it waits a second for either, then gives up.
        shown=lambda cap, _: (
            cap.mdev_type is not None and (cap.iommu_group is not None or cap.state == "inactive")
        ),
        write=_write_mdev,
    ),
    "usb_device": _Form(
        "usb_device",
        ("bus", "device", "product", "vendor"),
        shown=lambda cap, _: None not in (cap.bus, cap.device, cap.product, cap.vendor),
    ),
    "usb": _Form("usb", ("number", "class", "subclass", "protocol")),
    "net": _Form(
        "net",
        ("interface", "address", "link", "feature", "capability"),
        shown=lambda cap, _: cap.devtype in (None, "wlan") and cap.link.state is not None,
    ),
    "scsi_host": _Form("scsi_host", ("host", "unique_id", "capability"), adapted=_scsi_host),
    "scsi_target": _Form("scsi_target", ("target", "capability"), adapted=_scsi_target),
    "scsi": _Form("scsi", ("host", "bus", "target", "lun", "type")),
    "scsi_generic": _Form("scsi_generic", ("char",)),
    "storage": _Form(
        "storage",
        (
            *("block", "bus", "drive_type", "model", "vendor", "serial"),
            *("size", "logical_block_size", "num_blocks", "capability"),
        ),
        # Of a DASD the uid is the serial number, and every one has it.
        shown=lambda cap, _: (
            cap.drive_type is not None and (cap.drive_type != "dasd" or cap.serial is not None)
        ),
        adapted=_storage,
    ),
    "drm": _Form("drm", ("type",)),
    "ccw": _Form(
        "ccw",
        ("state", *_CCW_ADDRESS, "capability"),
        shown=lambda cap, _: cap.address is not None,
    ),
    "css": _Form(
        "css",
        (*_CCW_ADDRESS, "channel_dev_addr", _TYPES),
        shown=lambda cap, device: (
            cap.address is not None and device.driver in ("io_subchannel", "vfio_ccw")
        ),
    ),
    "ccwgroup": _Form(
        "ccwgroup",
        ("state", *_CCW_ADDRESS, "members", "capability"),
        shown=lambda cap, _: None not in (cap.address, cap.qeth) and len(cap.members) > 0,
    ),
    "vdpa": _Form("vdpa", ("chardev",)),
    "ap_card": _Form("ap_card", ("ap-adapter",)),
    "ap_queue": _Form("ap_queue", ("ap-adapter", "ap-domain")),
    "ap_matrix": _Form("ap_matrix", (_TYPES,)),
    # A parent that is nothing else: libvirt knows mtty alone, and nests the types twice.
    "mdev_parent": _Form(_MDEV_TYPES, (_TYPES,), write=_write_mdev_types),
}
"""The kinds that libvirt has, by our names; the first one of a device is what the device is."""

KINDS = frozenset(_FORMS)
"""The names of these kinds."""


_ELEMENT: Final = re.compile(r" {4}<([^ />]+)(?: type='([^']*)')?")
"""The start of an element of a capability."""


class _Arranged(Out):
    """Puts the elements of a capability into another order, and leaves some out."""

    __slots__ = ()

    def arrange(self, elements: tuple[str, ...]) -> None:
        """Keep these elements of the capability that is being written, in this order."""
        places = _places(elements)
        first = len(self._lines)
        while first and self._lines[first - 1].startswith("    "):
            first -= 1
        kept: list[list[str]] = [[] for _ in places]
        left_out: list[str] = []
        into = left_out
        for line in self._lines[first:]:
            element = _ELEMENT.match(line)
            if element is not None:
                place = places.get(f"{element[1]} {element[2]}", places.get(element[1]))
                into = left_out if place is None else kept[place]
            into.append(line)
        self._lines[first:] = chain.from_iterable(kept)


@cache
def _places(elements: tuple[str, ...]) -> Mapping[str, int]:
    return {element: place for place, element in enumerate(elements)}


def _main(device: Device) -> Capability | None:
    """Return the capability that the device is to libvirt, which knows just one."""
    parent = None
    for capability in device.capabilities:
        if isinstance(capability, MdevParent):
            parent = capability
        elif _tag(capability) in _FORMS:
            return capability
    return parent


def _tag(capability: Capability) -> str:
    return str(capability.__struct_config__.tag)


def shows(device: Device) -> bool:
    """Tell whether libvirt knows this device."""
    capability = _main(device)
    return capability is not None and _FORMS[_tag(capability)].shown(capability, device)


def placed(device: Device, snapshot: Snapshot) -> Device:
    """Return a device with libvirt's name of it, below the nearest device libvirt shows."""
    above = snapshot.get(device.parent or "")
    while above is not None and not shows(above):
        above = snapshot.get(above.parent or "")
    name, parent = _name(device), None if above is None else _name(above)
    mdev = device.capability(MdevChild)
    if mdev is not None and mdev.state == "inactive":
        return replace(device, name=name, parent=parent, path=None)
    if (name, parent) == (device.name, device.parent):
        return device
    return replace(device, name=name, parent=parent)


def _name(device: Device) -> str:
    mdev = device.capability(MdevChild)
    # Since 7.7: one uuid can be defined below two parents.
    return device.name if mdev is None else device_name("mdev", mdev.uuid, mdev.parent_addr)


def written(device: Device) -> Out:
    """Return the document of one device that is `placed`."""
    capability = _main(device)
    assert capability is not None, f"libvirt does not show {device.name}"
    form = _FORMS[_tag(capability)]
    parent = device.capability(MdevParent)
    out = _Arranged()
    with out.begin("device"):
        native.write_head(device, out)
        with out.begin("capability", type=form.type):
            (form.write or KIND_OF[type(capability)].write)(form.adapted(capability), out)
            if parent is not None and parent is not capability:
                _write_mdev_types(parent, out)
            out.arrange(form.elements)
    return out


def device_xml(device: Device) -> str:
    """Return the XML of one device that is `placed`."""
    return str(written(device))
