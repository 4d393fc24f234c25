"""hostdev: the domain XML by which a device is handed to a guest, libvirt's `<hostdev>`.

An mdev is named by its uuid, and the model is its type's device_api; a PCI function is named
by its address. What may stand with what is libvirt's: its schema `domain.rng`, "Host device
assignment" in https://libvirt.org/formatdomain.html, and the checks of its QEMU driver.
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from typing import Annotated, Literal, NamedTuple, TypeAlias, get_args

import msgspec

from nodedevd.errors import DoesNotFit, InvalidParameter, NoSuchDevice, NotAssignable
from nodedevd.kinds.mdev_child import MdevChild, Missing
from nodedevd.kinds.mdev_parent import MdevParent
from nodedevd.kinds.pci import IommuGroup, Pci
from nodedevd.kinds.shared.ccw import CcwAddress, parse_ccw
from nodedevd.kinds.shared.vfio import is_vfio_driver
from nodedevd.kinds.shared.vgpu_types import type_matches
from nodedevd.kinds.vgpu import CURRENT, Vgpu
from nodedevd.model.device import Device
from nodedevd.model.snapshot import Snapshot
from nodedevd.names import PciAddress, is_uuid, parse_mdev_name, parse_pci
from nodedevd.questions.vgpus import vgpu_functions
from nodedevd.xml_writer import Out

Model: TypeAlias = Literal["vfio-pci", "vfio-ccw", "vfio-ap"]
"""The device APIs that libvirt has a model for."""
MODELS: tuple[Model, ...] = get_args(Model)

NotAssignableReason: TypeAlias = Literal[
    "kind",
    "no-address",
    "inactive",
    "incomplete",
    "removing",
    "exists",
    "no-driver",
    "api-unknown",
    "api-unsupported",
    "bridge",
    "vfs-enabled",
    "mdevs-active",
    "no-iommu-group",
    "no-profile",
]
"""Why a device cannot be handed over; see `docs/protocol.md`."""

BOOT_ORDER_LIMIT = 2**31 - 1
"""QEMU's bootindex is a signed number of 32 bits."""
_CSSID_LIMIT = 0xFE  # 0xff is none in libvirt, nor in QEMU
_NAMED = 3  # so many of a long list are named


class HostDevRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What is to be handed over, and how; None is left out, or found out."""

    name: str
    """any name of a device; with `not_created` a uuid"""
    model: Model | None = None
    managed: bool | None = None
    """of a PCI function: whether libvirt binds it to vfio-pci and back"""
    display: bool | None = None
    ramfb: bool | None = None
    boot_order: Annotated[int, msgspec.Meta(ge=1, le=BOOT_ORDER_LIMIT)] | None = None
    address: str | None = None
    """in the guest: pci:0000:05:00.0 or ccw:fe.0.0001"""
    not_created: bool | None = None
    """it is the uuid of an mdev that will be created later"""
    type: str | None = None
    """id or name of that mdev's type"""
    arch: str | None = None
    """architecture of the host it will be on; None is this one's"""


class HostDev(msgspec.Struct, frozen=True):
    """The XML of one device, at one generation."""

    generation: int
    type: Literal["mdev", "pci"]
    model: Model | None
    """None for a PCI function"""
    xml: str
    notes: tuple[str, ...]
    """what was guessed, and what else the guest needs: sentences"""


class _Fits(NamedTuple):
    display: bool
    address: Literal["pci", "ccw"] | None
    boot: bool


# domain.rng takes nearly everything; the address is checked when a domain is defined, display
# and boot order by the QEMU driver alone (qemuValidateDomainMdevDef).
_FITS: dict[Model | None, _Fits] = {
    "vfio-pci": _Fits(display=True, address="pci", boot=False),
    "vfio-ccw": _Fits(display=False, address="ccw", boot=True),
    "vfio-ap": _Fits(display=False, address=None, boot=False),
    None: _Fits(display=False, address="pci", boot=True),
}
# A type's id begins with the name of its driver.
_API_OF_DRIVER: dict[str, Model] = {
    "vfio_ap": "vfio-ap",
    "vfio_ccw": "vfio-ccw",
    "nvidia": "vfio-pci",
    "i915": "vfio-pci",
}


class _Handed(NamedTuple):
    """What is handed over: an mdev with a model, or a PCI function."""

    name: str
    source: str | PciAddress
    model: Model | None
    managed: bool


def hostdev(snapshot: Snapshot, request: HostDevRequest, *, machine: str) -> HostDev:
    """Return the XML for a device, once it is clear that it can be handed over that way.

    Args:
        snapshot: The host.
        request: What is to be handed over.
        machine: The architecture of this host, as uname(2) names it.

    Raises NoSuchDevice, NotAssignable, DoesNotFit, InvalidParameter.
    """
    address = None if request.address is None else parse_address(request.address)
    notes: list[str] = []
    if request.not_created:
        handed = _planned(snapshot, request, machine, notes)
    else:
        for parameter in ("type", "arch"):
            if getattr(request, parameter) is not None:
                raise InvalidParameter(parameter, "is for an mdev that is not created yet")
        handed = _existing(snapshot, request, notes)
    _check_options(request, handed, address)
    _note_domain(request, handed, notes)
    return HostDev(
        generation=snapshot.generation,
        type="pci" if handed.model is None else "mdev",
        model=handed.model,
        xml=_xml(request, handed, address),
        notes=tuple(notes),
    )


def parse_address(text: str) -> PciAddress | CcwAddress:
    """Read an address in the guest, `pci:dddd:bb:ss.f` or `ccw:cssid.ssid.devno`.

    Raises InvalidParameter.
    """
    bus, _, rest = text.partition(":")
    pci = parse_pci(rest) if bus == "pci" else None
    if pci is not None:
        if pci[:3] == (0, 0, 0):
            # libvirt takes it for "any", whatever the function.
            raise InvalidParameter("address", "slot 0 of bus 0 is the guest's host bridge")
        return pci
    ccw = parse_ccw(rest.lower()) if bus == "ccw" else None
    if ccw is not None and ccw.cssid <= _CSSID_LIMIT:
        return ccw
    raise InvalidParameter("address", "it is pci:0000:05:00.0 or ccw:fe.0.0001, say")


def parse_planned(name: str) -> str:
    """Return the uuid of an mdev that is not created yet. Raises InvalidParameter."""
    if is_uuid(name):
        return name.lower()
    mdev = parse_mdev_name(name)
    if mdev is None or mdev.parent is not None:
        raise InvalidParameter("name", "an mdev that is not created yet is named by its uuid")
    return mdev.uuid


# -- what is there -----------------------------------------------------------------------


def _existing(snapshot: Snapshot, request: HostDevRequest, notes: list[str]) -> _Handed:
    device = snapshot.lookup(request.name)
    child = device.capability(MdevChild)
    if child is not None:
        _check_mdev(device, child)
        return _Handed(device.name, child.uuid, _mdev_model(device, child, request, notes), False)
    pci = device.capability(Pci)
    if pci is None:
        raise _refused(device.name, "kind", _why_not(snapshot, device))
    address = _check_pci(snapshot, device, pci)
    _note_pci(snapshot, device, pci, notes)
    vgpu = device.capability(Vgpu)
    if vgpu is None:
        managed = request.managed is not False
        _note_driver(snapshot, device, managed, notes)
        return _Handed(device.name, address, None, managed)
    _check_vgpu(device, address, vgpu, notes)
    if request.managed:
        detail = (
            f"it is a vGPU, which its driver {device.driver} gives to VFIO, and vfio-pci cannot;"
            " leave it out, or say no"
        )
        raise DoesNotFit(device.name, "managed", detail)
    return _Handed(device.name, address, None, managed=False)


def _check_mdev(device: Device, child: MdevChild) -> None:
    name = device.name
    if not is_uuid(child.uuid):
        raise _refused(name, "no-address", "libvirt names an mdev by its UUID, and it has none")
    match child.state:
        case "inactive":
            raise _refused(name, "inactive", _how_to_start(child))
        case "incomplete":
            detail = f"it is half-made; wait: nodedevctl wait --device {name} --timeout 10"
            raise _refused(name, "incomplete", detail)
        case "removing":
            raise _refused(name, "removing", "it is being removed; create another one")
    if device.driver is None:
        detail = "no driver is bound to it; remove and create it anew"
        raise _refused(name, "no-driver", detail)


def _how_to_start(child: MdevChild) -> str:
    missing: dict[Missing, str] = {
        "parent": f"; before that {child.parent_addr} has to be there, as an mdev parent",
        "type": f"; before that {child.parent_addr} has to offer its type",
        "capacity": f"; before that {child.parent_addr} needs a free instance of its type",
    }
    return (
        "it is defined, but not there; start it: "
        f"mdevctl start -u {child.uuid} -p {child.parent_addr}"
        + ("" if child.waits_for is None else missing[child.waits_for])
        + ", or have the XML before that, with --not-created"
    )


def _mdev_model(
    device: Device, child: MdevChild, request: HostDevRequest, notes: list[str]
) -> Model:
    if _unknown(device, "iommu_group"):
        notes.append("its VFIO group cannot be read")
    elif child.iommu_group is None:
        notes.append(
            "it is in no VFIO group, and libvirt asks for one when the guest starts: "
            "the kernel has to be built with CONFIG_VFIO_GROUP"
        )
    api = None if child.mdev_type is None else child.mdev_type.device_api
    if api is None:
        if request.model is None:
            detail = "its device_api cannot be read; if you know it, say so with --model"
            raise _refused(device.name, "api-unknown", detail)
        notes.append(f"its device_api cannot be read: that it is {request.model} is not checked")
        return request.model
    return _supported(device.name, api, request.model)


def _supported(name: str, api: str, asked: Model | None) -> Model:
    """Return a device_api as the model it is. Raises NotAssignable, DoesNotFit."""
    for model in MODELS:
        if model == api:
            if asked not in (None, model):
                raise DoesNotFit(name, "model", f"its device_api is {api}; leave the model out")
            return model
    detail = f"its device_api is {api!r}, and libvirt knows {', '.join(MODELS)} alone"
    raise _refused(name, "api-unsupported", detail)


def _check_pci(snapshot: Snapshot, device: Device, pci: Pci) -> PciAddress:
    name = device.name
    address = None if pci.address is None else parse_pci(pci.address)
    if address is None:
        raise _refused(name, "no-address", "its kernel name is no PCI address")
    if pci.bridge is not None or (pci.class_code or "").startswith("0x06"):
        detail = "it is a bridge; hand over the devices behind it"
        raise _refused(name, "bridge", detail)
    if pci.virtual_functions is not None and pci.virtual_functions.addresses:
        detail = (
            f"its virtual functions {_some(pci.virtual_functions.addresses)} would go with its"
            " driver; hand over one of these, or disable them first:"
            f" echo 0 > /sys/bus/pci/devices/{pci.address}/sriov_numvfs"
        )
        raise _refused(name, "vfs-enabled", detail)
    parent = device.capability(MdevParent)
    if parent is not None and parent.children:
        detail = (
            f"it is the parent of mdevs: {_some(parent.children)}; hand over one of these, or"
            f" remove them first: mdevctl stop -u {parent.children[0]}"
        )
        raise _refused(name, "mdevs-active", detail)
    if pci.iommu_group is None and not _unknown(device, "iommu_group"):
        raise _refused(name, "no-iommu-group", _no_iommu(snapshot))
    return address


def _check_vgpu(device: Device, address: PciAddress, vgpu: Vgpu, notes: list[str]) -> None:
    if vgpu.current is not None:
        return
    if _unknown(device, CURRENT):
        notes.append("its vGPU profile cannot be read: that one is set is not checked")
        return
    detail = (
        f"no vGPU profile is set; write the id of one to /sys/bus/pci/devices/{address}/{CURRENT}"
    )
    if vgpu.creatable:
        one = vgpu.creatable[0]
        detail += f", {one.id} for {one.name}, say"
    elif vgpu.creatable is not None:
        detail += ", once there is room on the card: none fits now"
    raise _refused(device.name, "no-profile", detail)


def _no_iommu(snapshot: Snapshot) -> str:
    if any(pci.iommu_group is not None for pci in map(_pci, snapshot) if pci is not None):
        return "it is in no IOMMU group, though other devices are: the IOMMU does not reach it"
    return (
        "it is in no IOMMU group, since the IOMMU is off; switch it on in the firmware (VT-d,"
        " AMD-Vi), boot with intel_iommu=on where the CPU is Intel's, and look for groups in"
        " /sys/kernel/iommu_groups"
    )


def _note_pci(snapshot: Snapshot, device: Device, pci: Pci, notes: list[str]) -> None:
    if pci.class_code is None:
        notes.append("its class cannot be read: that it is no bridge is not checked")
    if pci.iommu_group is None:
        notes.append("its IOMMU group cannot be read: what has to go with it is unknown")
    else:
        _note_group(snapshot, device, pci.iommu_group, notes)
    if device.capability(MdevParent) is not None:
        notes.append("it is an mdev parent: in a guest it offers no types to this host")


def _note_driver(snapshot: Snapshot, device: Device, managed: bool, notes: list[str]) -> None:
    """Say what the host loses, whoever takes the function from its driver."""
    if device.driver is not None and not is_vfio_driver(device.driver):
        children = () if device.path is None else snapshot.below(device.path)
        names = [child.name for child in map(snapshot.at, children) if child is not None]
        loses = f": the host loses {_some(names)}" if names else ""
        if managed:
            notes.append(f"libvirt takes it from its driver {device.driver}{loses}")
        else:
            notes.append(
                f"take it from its driver {device.driver} before the guest starts:"
                f" virsh nodedev-detach {device.name}{loses}"
            )


def _note_group(snapshot: Snapshot, device: Device, group: IommuGroup, notes: list[str]) -> None:
    """Name those that go with it: all of its group but the bridges, which VFIO lets alone."""
    others = []
    for sysname in group.devices:
        try:
            other = snapshot.lookup(sysname)
        except NoSuchDevice:
            others.append(sysname)
            continue
        pci = _pci(other)
        if other is not device and (pci is None or pci.bridge is None):
            others.append(f"{other.name} ({other.driver or 'no driver'})")
    if others:
        notes.append(
            f"IOMMU group {group.number} has {_some(others, len(others))}, too: each has to be"
            " bound to vfio-pci, or to no driver, before the guest starts"
        )


def _why_not(snapshot: Snapshot, device: Device) -> str:
    text = "it is neither a PCI function nor an mdev"
    parent = device.capability(MdevParent)
    if parent is not None:
        offers = parent.types[0].id if parent.types else "TYPE"
        return (
            f"{text}, but an mdev parent; create an mdev, and hand that over:"
            f" mdevctl start -u $(uuidgen) -p {device.sysname} -t {offers}"
        )
    above = device
    while above.parent is not None:
        above = snapshot.lookup(above.parent)
        if _pci(above) is not None:
            return f"{text}; the PCI device behind it is {above.name}"
    return text


# -- what will be there ------------------------------------------------------------------


def _planned(
    snapshot: Snapshot, request: HostDevRequest, machine: str, notes: list[str]
) -> _Handed:
    uuid = parse_planned(request.name)
    type_ = request.type
    with suppress(NoSuchDevice):
        device = snapshot.lookup(uuid)
        child = device.capability(MdevChild)
        if child is not None and child.state != "inactive":
            detail = "it is there already; leave out --not-created, or take another UUID"
            raise _refused(device.name, "exists", detail)
        if child is not None:
            defined = None if child.mdev_type is None else child.mdev_type.id
            of = "" if defined is None else f" of type {defined}"
            notes.append(f"mdevctl has a definition of it,{of} on {child.parent_addr}")
            type_ = type_ or defined
    return _Handed(
        uuid, uuid, _planned_model(snapshot, request, uuid, type_, machine, notes), False
    )


def _planned_model(
    snapshot: Snapshot,
    request: HostDevRequest,
    uuid: str,
    type_: str | None,
    machine: str,
    notes: list[str],
) -> Model:
    """Find the model: as the type is offered here, by its driver, or by the architecture."""
    apis: list[str] = []
    if type_ is not None:
        apis = _offered(snapshot, type_, notes)
        if len(apis) == 1:
            return _supported(uuid, apis[0], request.model)
    if request.model is not None:
        if apis and request.model not in apis:
            detail = f"the type {type_!r} is offered here as {', '.join(apis)}"
            raise DoesNotFit(uuid, "model", detail)
        return request.model
    if apis:
        detail = f"the type {type_!r} is offered here as {', '.join(apis)}; choose with --model"
        raise _refused(uuid, "api-unknown", detail)
    driver = (type_ or "").partition("-")[0]
    if driver in _API_OF_DRIVER:
        model = _API_OF_DRIVER[driver]
        notes.append(f"the model {model} is a guess from the type's driver, {driver}")
        return model
    arch = request.arch or machine
    guess: Model = "vfio-ccw" if arch.lower().startswith("s390") else "vfio-pci"
    whose = "" if request.arch else ", this machine's"
    notes.append(
        f"the model {guess} is a guess from the architecture {arch}{whose};"
        " --type or --model would tell"
    )
    return guess


def _offered(snapshot: Snapshot, type_: str, notes: list[str]) -> list[str]:
    """Return the device APIs with which parents here offer a type, by id or name."""
    apis = set()
    vendors = []
    for function in vgpu_functions(snapshot):
        for one in function.offers:
            if not type_matches(type_, one.id, one.name):
                continue
            if function.framework == "vendor-vfio":
                vendors.append(function.device)
            elif one.device_api is not None:
                apis.add(one.device_api)
    if not apis and vendors:
        notes.append(
            f"here {type_!r} is made without an mdev, as the profile of a function:"
            f" {_some(vendors)}"
        )
    elif not apis:
        notes.append(f"no parent here offers the type {type_!r} with a known device_api")
    return sorted(apis)


# -- how it is handed over ---------------------------------------------------------------


def _check_options(
    request: HostDevRequest, handed: _Handed, address: PciAddress | CcwAddress | None
) -> None:
    fits = _FITS[handed.model]
    what = f"it is {'a PCI function' if handed.model is None else handed.model}"

    def refuse(parameter: str, detail: str) -> None:
        raise DoesNotFit(handed.name, parameter, detail)

    if handed.model is None and request.model is not None:
        refuse("model", f"{what}, and mdevs alone have a model; leave it out")
    if handed.model is not None and request.managed is not None:
        refuse("managed", "it says nothing for an mdev, which has its driver; leave it out")
    if not fits.display and request.display is not None:
        refuse("display", f"{what}, and mdevs of vfio-pci alone have one; leave it out")
    if request.ramfb and not fits.display:
        refuse("ramfb", f"{what}, and mdevs of vfio-pci alone have one; leave it out")
    if request.ramfb and not request.display:
        refuse("ramfb", "it shows on the display; add --display on")
    if not fits.boot and request.boot_order is not None:
        refuse("boot_order", f"{what}, and libvirt boots from no such mdev; leave it out")
    if address is not None:
        bus = "pci" if isinstance(address, PciAddress) else "ccw"
        if bus != fits.address:
            takes = f"its address is {fits.address}:…" if fits.address else "it has no address"
            refuse("address", f"{what}, and in a guest {takes}")


def _note_domain(request: HostDevRequest, handed: _Handed, notes: list[str]) -> None:
    """Say what the rest of the domain has to be like."""
    if handed.model == "vfio-ap":
        notes.append("a domain takes no more than one vfio-ap device")
    if request.display:
        notes.append("the domain needs a <graphics> device for the display")
    if request.ramfb:
        notes.append("a domain takes no more than one device with ramfb")
    if request.boot_order is not None:
        notes.append("with a boot order the domain must have no <boot dev='…'/> in <os>")


def _xml(request: HostDevRequest, handed: _Handed, address: PciAddress | CcwAddress | None) -> str:
    attributes = {"mode": "subsystem"}
    if handed.model is None:
        attributes |= {"type": "pci", "managed": "yes" if handed.managed else "no"}
    else:
        attributes |= {"type": "mdev", "model": handed.model}
    if request.display is not None:
        attributes["display"] = "on" if request.display else "off"
    if request.ramfb:
        attributes["ramfb"] = "on"
    out = Out()
    with out.begin("hostdev", **attributes):
        with out.begin("source"):
            if isinstance(handed.source, PciAddress):
                out.empty("address", **handed.source.attributes)
            else:
                out.empty("address", uuid=handed.source)
        if request.boot_order is not None:
            out.empty("boot", order=str(request.boot_order))
        if isinstance(address, PciAddress):
            out.empty("address", type="pci", **address.attributes)
        elif address is not None:
            out.empty("address", type="ccw", **address.attributes)
    return str(out)


def _refused(name: str, reason: NotAssignableReason, detail: str) -> NotAssignable:
    return NotAssignable(name, reason, detail)


def _pci(device: Device) -> Pci | None:
    return device.capability(Pci)


def _unknown(device: Device, attribute: str) -> bool:
    return any(fault.attribute == attribute for fault in device.errors)


def _some(names: Iterable[str], limit: int = _NAMED) -> str:
    """Return some of the names as a sentence has them, and how many more there are."""
    names = list(names)
    more = f" and {len(names) - limit} more" if len(names) > limit else ""
    return ", ".join(names[:limit]) + more
