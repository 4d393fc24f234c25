"""hostdev: the domain XML that assigns a device to a guest, libvirt's `<hostdev>`.

The XML names an mdev by its UUID, with the device_api of its type as the model, and a PCI
function by its address. The rules for options are libvirt's: its schema `domain.rng`, "Host
device assignment" in https://libvirt.org/formatdomain.html, and the checks of its QEMU driver.
"""

from __future__ import annotations

from collections.abc import Sequence
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
"""A device_api that libvirt has a model for."""
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
"""Why a device cannot be assigned; `docs/protocol.md` explains each."""

BOOT_ORDER_LIMIT = 2**31 - 1
"""QEMU's bootindex is a signed 32-bit number."""
_CSSID_LIMIT = 0xFE  # libvirt and QEMU refuse 0xff
_NAMES_SHOWN = 3
"""of a long list in a message"""


class HostDevRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A device to assign, with options; None stands for the default."""

    name: str
    """any name of a device; with `not_created`, a UUID"""
    model: Model | None = None
    """mdevs: the expected device_api"""
    managed: bool | None = None
    """PCI functions: whether libvirt binds the function to vfio-pci, and back afterwards"""
    display: bool | None = None
    ramfb: bool | None = None
    boot_order: Annotated[int, msgspec.Meta(ge=1, le=BOOT_ORDER_LIMIT)] | None = None
    address: str | None = None
    """in the guest, for example pci:0000:05:00.0 or ccw:fe.0.0001"""
    not_created: bool | None = None
    """whether `name` is the UUID of an mdev that does not exist yet"""
    type: str | None = None
    """with `not_created`: id or name of the mdev's type"""
    arch: str | None = None
    """with `not_created`: architecture of the host, as uname(2) names it; None is this host's"""


class HostDev(msgspec.Struct, frozen=True):
    """The `<hostdev>` of one device, at one generation of the tree."""

    generation: int
    type: Literal["mdev", "pci"] = msgspec.field(name="subsystem")
    model: Model | None
    """None for a PCI function"""
    xml: str
    notes: tuple[str, ...]
    """sentences: guesses, and what else the guest needs"""


class _Options(NamedTuple):
    """The options that libvirt accepts for a model."""

    display: bool
    address: Literal["pci", "ccw"] | None
    boot: bool


# domain.rng accepts nearly everything. libvirt checks the address when a domain is defined; only
# its QEMU driver checks display and boot order (qemuValidateDomainMdevDef).
_ACCEPTED: dict[Model | None, _Options] = {
    "vfio-pci": _Options(display=True, address="pci", boot=False),
    "vfio-ccw": _Options(display=False, address="ccw", boot=True),
    "vfio-ap": _Options(display=False, address=None, boot=False),
    None: _Options(display=False, address="pci", boot=True),
}
# The id of a type begins with the name of its driver.
_API_OF_DRIVER: dict[str, Model] = {
    "vfio_ap": "vfio-ap",
    "vfio_ccw": "vfio-ccw",
    "nvidia": "vfio-pci",
    "i915": "vfio-pci",
}


class _Assignment(NamedTuple):
    """The device to assign: an mdev with a model, or a PCI function without one."""

    name: str
    source: str | PciAddress
    model: Model | None
    managed: bool


def hostdev(snapshot: Snapshot, request: HostDevRequest, *, machine: str) -> HostDev:
    """Return the XML that assigns a device, if it can be assigned with these options.

    Args:
        snapshot: The devices of the host.
        request: The device and the options.
        machine: The architecture of this host, as uname(2) names it.

    Raises NoSuchDevice, NotAssignable, DoesNotFit, InvalidParameter.
    """
    address = None if request.address is None else parse_address(request.address)
    notes: list[str] = []
    if request.not_created:
        assigned = _new_mdev(snapshot, request, machine, notes)
    else:
        for parameter in ("type", "arch"):
            if getattr(request, parameter) is not None:
                raise InvalidParameter(parameter, "needs not_created")
        assigned = _existing_device(snapshot, request, notes)
    _check_options(request, assigned, address)
    _note_domain(request, assigned, notes)
    return HostDev(
        generation=snapshot.generation,
        type="pci" if assigned.model is None else "mdev",
        model=assigned.model,
        xml=_xml(request, assigned, address),
        notes=tuple(notes),
    )


def parse_address(text: str) -> PciAddress | CcwAddress:
    """Parse an address in the guest: `pci:dddd:bb:ss.f` or `ccw:cssid.ssid.devno`.

    Raises InvalidParameter.
    """
    bus, _, rest = text.partition(":")
    pci = parse_pci(rest) if bus == "pci" else None
    if pci is not None:
        if pci[:3] == (0, 0, 0):
            # libvirt takes this for "no address", for any function number.
            raise InvalidParameter(
                "address", f"{text!r}: slot 0 of bus 0 is the guest's host bridge; choose another"
            )
        return pci
    ccw = parse_ccw(rest.lower()) if bus == "ccw" else None
    if ccw is not None and ccw.cssid <= _CSSID_LIMIT:
        return ccw
    raise InvalidParameter(
        "address", f"{text!r} is no address; give one like pci:0000:05:00.0 or ccw:fe.0.0001"
    )


def parse_new_mdev(name: str) -> str:
    """Return the UUID in the name of an mdev that does not exist yet. Raises InvalidParameter."""
    if is_uuid(name):
        return name.lower()
    mdev = parse_mdev_name(name)
    if mdev is None or mdev.parent is not None:
        raise InvalidParameter(
            "name", f"{name!r} is no UUID; give the UUID that the mdev will be created with"
        )
    return mdev.uuid


# -- devices that exist ------------------------------------------------------------------


def _existing_device(snapshot: Snapshot, request: HostDevRequest, notes: list[str]) -> _Assignment:
    device = snapshot.lookup(request.name)
    child = device.capability(MdevChild)
    if child is not None:
        _check_mdev(device, child)
        return _Assignment(
            device.name, child.uuid, _mdev_model(device, child, request, notes), False
        )
    pci = device.capability(Pci)
    if pci is None:
        raise _not_assignable(device.name, "kind", _why_not(snapshot, device))
    address = _check_pci(snapshot, device, pci)
    _note_pci(snapshot, device, pci, notes)
    vgpu = device.capability(Vgpu)
    if vgpu is None:
        managed = request.managed is not False
        _note_driver(snapshot, device, managed, notes)
        return _Assignment(device.name, address, None, managed)
    _check_vgpu(device, address, vgpu, notes)
    if request.managed:
        detail = (
            f"the vGPU must stay with its driver {device.driver}, and cannot be bound to vfio-pci;"
            " omit --managed, or use --managed no"
        )
        raise DoesNotFit(device.name, "managed", detail)
    return _Assignment(device.name, address, None, managed=False)


def _check_mdev(device: Device, child: MdevChild) -> None:
    name = device.name
    if not is_uuid(child.uuid):
        detail = f"libvirt identifies an mdev by its UUID, and its name {child.uuid!r} is no UUID"
        raise _not_assignable(name, "no-address", detail)
    match child.state:
        case "inactive":
            raise _not_assignable(name, "inactive", _how_to_start(child))
        case "incomplete":
            detail = (
                "the kernel has not finished creating it; wait for it:"
                f" nodedevctl wait --device {name} --timeout 10"
            )
            raise _not_assignable(name, "incomplete", detail)
        case "removing":
            raise _not_assignable(name, "removing", "the kernel is removing it; create another one")
    if device.driver is None:
        detail = "no driver is bound to it; remove it and create it again"
        raise _not_assignable(name, "no-driver", detail)


def _how_to_start(child: MdevChild) -> str:
    missing: dict[Missing, str] = {
        "parent": f" (the parent {child.parent_addr} must be present first, and be an mdev parent)",
        "registration": f" (the parent {child.parent_addr} must be an mdev parent first)",
        "type": f" (the parent {child.parent_addr} must offer its type first)",
        "capacity": f" (the parent {child.parent_addr} needs a free instance of its type first)",
    }
    return (
        "it is defined but not started; start it: "
        f"mdevctl start -u {child.uuid} -p {child.parent_addr}"
        + ("" if child.waits_for is None else missing[child.waits_for])
        + "; --not-created prints the XML without starting it"
    )


def _mdev_model(
    device: Device, child: MdevChild, request: HostDevRequest, notes: list[str]
) -> Model:
    if _unknown(device, "iommu_group"):
        notes.append("its VFIO group cannot be read")
    elif child.iommu_group is None:
        notes.append(
            "it is in no VFIO group, but libvirt needs one to start the guest: "
            "use a kernel that is built with CONFIG_VFIO_GROUP"
        )
    api = None if child.mdev_type is None else child.mdev_type.device_api
    if api is None:
        if request.model is None:
            detail = "its device_api cannot be read; give it with --model"
            raise _not_assignable(device.name, "api-unknown", detail)
        notes.append(f"its device_api cannot be read: the model {request.model} is not checked")
        return request.model
    return _checked_model(device.name, api, request.model)


def _checked_model(name: str, api: str, asked: Model | None) -> Model:
    """Return the model for a device_api. Raises NotAssignable, DoesNotFit."""
    for model in MODELS:
        if model == api:
            if asked not in (None, model):
                raise DoesNotFit(name, "model", f"its device_api is {api}; omit the model")
            return model
    detail = f"its device_api is {api!r}, but libvirt supports only {', '.join(MODELS)}"
    raise _not_assignable(name, "api-unsupported", detail)


def _check_pci(snapshot: Snapshot, device: Device, pci: Pci) -> PciAddress:
    name = device.name
    address = None if pci.address is None else parse_pci(pci.address)
    if address is None:
        raise _not_assignable(
            name, "no-address", f"its kernel name {device.sysname!r} is no PCI address"
        )
    if pci.bridge is not None or (pci.class_code or "").startswith("0x06"):
        detail = "it is a bridge; assign the devices behind it instead"
        raise _not_assignable(name, "bridge", detail)
    if pci.virtual_functions is not None and pci.virtual_functions.addresses:
        detail = (
            f"it has virtual functions, {_abbreviated(pci.virtual_functions.addresses)}, which"
            " need its driver; assign one of these, or disable them first:"
            f" echo 0 > /sys/bus/pci/devices/{pci.address}/sriov_numvfs"
        )
        raise _not_assignable(name, "vfs-enabled", detail)
    parent = device.capability(MdevParent)
    if parent is not None and parent.children:
        detail = (
            f"it is the parent of the mdevs {_abbreviated(parent.children)}; assign one of these,"
            f" or remove them first: mdevctl stop -u {parent.children[0]}"
        )
        raise _not_assignable(name, "mdevs-active", detail)
    if pci.iommu_group is None and not _unknown(device, "iommu_group"):
        raise _not_assignable(name, "no-iommu-group", _no_iommu(snapshot))
    return address


def _check_vgpu(device: Device, address: PciAddress, vgpu: Vgpu, notes: list[str]) -> None:
    if vgpu.current is not None:
        return
    if _unknown(device, CURRENT):
        notes.append("its vGPU profile cannot be read: whether one is set is not checked")
        return
    detail = (
        f"no vGPU profile is set; write the id of one to /sys/bus/pci/devices/{address}/{CURRENT}"
    )
    if vgpu.creatable:
        one = vgpu.creatable[0]
        detail += f", for example {one.id} for {one.name}"
    elif vgpu.creatable is not None:
        detail += " as soon as the card has room: no profile fits now"
    raise _not_assignable(device.name, "no-profile", detail)


def _no_iommu(snapshot: Snapshot) -> str:
    if any(pci.iommu_group is not None for pci in map(_pci, snapshot) if pci is not None):
        return "it is in no IOMMU group, although other devices are: the IOMMU does not cover it"
    return (
        "it is in no IOMMU group, because the IOMMU is off; enable VT-d or AMD-Vi in the firmware,"
        " boot Intel hosts with intel_iommu=on, and check that /sys/kernel/iommu_groups has groups"
    )


def _note_pci(snapshot: Snapshot, device: Device, pci: Pci, notes: list[str]) -> None:
    if pci.class_code is None:
        notes.append("its class cannot be read: whether it is a bridge is not checked")
    if pci.iommu_group is None:
        notes.append("its IOMMU group cannot be read: other devices of the group are unknown")
    else:
        _note_group(snapshot, device, pci.iommu_group, notes)
    if device.capability(MdevParent) is not None:
        notes.append(
            "it is an mdev parent: while a guest has it, this host cannot create mdevs on it"
        )


def _note_driver(snapshot: Snapshot, device: Device, managed: bool, notes: list[str]) -> None:
    """Note which devices the host loses when the function leaves its driver."""
    if device.driver is not None and not is_vfio_driver(device.driver):
        children = () if device.path is None else snapshot.below(device.path)
        names = [child.name for child in map(snapshot.at, children) if child is not None]
        loss = f"; the host loses {_abbreviated(names)}" if names else ""
        if managed:
            notes.append(f"libvirt unbinds it from its driver {device.driver}{loss}")
        else:
            notes.append(
                f"unbind it from its driver {device.driver} before the guest starts:"
                f" virsh nodedev-detach {device.name}{loss}"
            )


def _note_group(snapshot: Snapshot, device: Device, group: IommuGroup, notes: list[str]) -> None:
    """Note the other devices of its IOMMU group, except bridges, which VFIO ignores."""
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
            f"IOMMU group {group.number} also has {', '.join(others)}: bind each of them to"
            " vfio-pci, or to no driver, before the guest starts"
        )


def _why_not(snapshot: Snapshot, device: Device) -> str:
    """Return why a device of another kind cannot be assigned, and which one can."""
    text = "it is neither a PCI function nor an mdev"
    parent = device.capability(MdevParent)
    if parent is not None:
        offers = parent.types[0].id if parent.types else "TYPE"
        return (
            f"{text}, but an mdev parent; create an mdev, and assign that:"
            f" mdevctl start -u $(uuidgen) -p {device.sysname} -t {offers}"
        )
    above = device
    while above.parent is not None:
        above = snapshot.lookup(above.parent)
        if _pci(above) is not None:
            return f"{text}; the PCI device behind it is {above.name}"
    return text


# -- mdevs that do not exist yet ---------------------------------------------------------


def _new_mdev(
    snapshot: Snapshot, request: HostDevRequest, machine: str, notes: list[str]
) -> _Assignment:
    uuid = parse_new_mdev(request.name)
    type_ = request.type
    with suppress(NoSuchDevice):
        device = snapshot.lookup(uuid)
        child = device.capability(MdevChild)
        if child is not None and child.state != "inactive":
            detail = "it already exists; omit --not-created, or choose another UUID"
            raise _not_assignable(device.name, "exists", detail)
        if child is not None:
            defined = None if child.mdev_type is None else child.mdev_type.id
            of_type = "" if defined is None else f", of type {defined}"
            notes.append(f"mdevctl has a definition of it{of_type} on {child.parent_addr}")
            type_ = type_ or defined
    return _Assignment(
        uuid, uuid, _model_of_new_mdev(snapshot, request, uuid, type_, machine, notes), False
    )


def _model_of_new_mdev(
    snapshot: Snapshot,
    request: HostDevRequest,
    uuid: str,
    type_: str | None,
    machine: str,
    notes: list[str],
) -> Model:
    """Return the model: from a parent that offers the type, the driver, or the architecture."""
    apis: list[str] = []
    if type_ is not None:
        apis = _offered_apis(snapshot, type_, notes)
        if len(apis) == 1:
            return _checked_model(uuid, apis[0], request.model)
    if request.model is not None:
        if apis and request.model not in apis:
            detail = f"this host offers the type {type_!r} as {', '.join(apis)}"
            raise DoesNotFit(uuid, "model", detail)
        return request.model
    if apis:
        detail = f"this host offers the type {type_!r} as {', '.join(apis)}; choose with --model"
        raise _not_assignable(uuid, "api-unknown", detail)
    driver = (type_ or "").partition("-")[0]
    if driver in _API_OF_DRIVER:
        model = _API_OF_DRIVER[driver]
        notes.append(f"the model {model} is a guess from the type's driver, {driver}")
        return model
    arch = request.arch or machine
    guess: Model = "vfio-ccw" if arch.lower().startswith("s390") else "vfio-pci"
    of_host = "" if request.arch else " of this host"
    notes.append(
        f"the model {guess} is a guess from the architecture {arch}{of_host};"
        " give --type or --model to be sure"
    )
    return guess


def _offered_apis(snapshot: Snapshot, type_: str, notes: list[str]) -> list[str]:
    """Return the device APIs with which the parents of this host offer a type."""
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
            f"this host creates {type_!r} without an mdev, as a profile of a virtual function:"
            f" {_abbreviated(vendors)}"
        )
    elif not apis:
        notes.append(f"no parent on this host offers the type {type_!r} with a known device_api")
    return sorted(apis)


# -- options and XML ---------------------------------------------------------------------


def _check_options(
    request: HostDevRequest, assigned: _Assignment, address: PciAddress | CcwAddress | None
) -> None:
    accepted = _ACCEPTED[assigned.model]
    what = "a PCI function" if assigned.model is None else f"an mdev of {assigned.model}"

    def refuse(parameter: str, detail: str) -> None:
        raise DoesNotFit(assigned.name, parameter, detail)

    if assigned.model is None and request.model is not None:
        refuse("model", f"it is {what}, and only mdevs have a model; omit it")
    if assigned.model is not None and request.managed is not None:
        refuse("managed", "libvirt binds PCI functions to vfio-pci, but not mdevs; omit it")
    if not accepted.display and request.display is not None:
        refuse("display", f"it is {what}, and only mdevs of vfio-pci have a display; omit it")
    if request.ramfb and not accepted.display:
        refuse("ramfb", f"it is {what}, and only mdevs of vfio-pci have a display; omit it")
    if request.ramfb and not request.display:
        refuse("ramfb", "ramfb needs the display; add --display on")
    if not accepted.boot and request.boot_order is not None:
        refuse("boot_order", f"it is {what}, and libvirt cannot boot from it; omit it")
    if address is not None:
        bus = "pci" if isinstance(address, PciAddress) else "ccw"
        if bus != accepted.address:
            if accepted.address is None:
                refuse("address", f"it is {what}, which has no address in a guest; omit it")
            refuse("address", f"it is {what}; give an address {accepted.address}:…")


def _note_domain(request: HostDevRequest, assigned: _Assignment, notes: list[str]) -> None:
    """Note what the rest of the domain must have."""
    if assigned.model == "vfio-ap":
        notes.append("a domain takes no more than one vfio-ap device")
    if request.display:
        notes.append("the domain needs a <graphics> device for the display")
    if request.ramfb:
        notes.append("a domain takes no more than one device with ramfb")
    if request.boot_order is not None:
        notes.append("with a boot order the domain must have no <boot dev='…'/> in <os>")


def _xml(
    request: HostDevRequest, assigned: _Assignment, address: PciAddress | CcwAddress | None
) -> str:
    attributes = {"mode": "subsystem"}
    if assigned.model is None:
        attributes |= {"type": "pci", "managed": "yes" if assigned.managed else "no"}
    else:
        attributes |= {"type": "mdev", "model": assigned.model}
    if request.display is not None:
        attributes["display"] = "on" if request.display else "off"
    if request.ramfb:
        attributes["ramfb"] = "on"
    out = Out()
    with out.begin("hostdev", **attributes):
        with out.begin("source"):
            if isinstance(assigned.source, PciAddress):
                out.empty("address", **assigned.source.attributes)
            else:
                out.empty("address", uuid=assigned.source)
        if request.boot_order is not None:
            out.empty("boot", order=str(request.boot_order))
        if isinstance(address, PciAddress):
            out.empty("address", type="pci", **address.attributes)
        elif address is not None:
            out.empty("address", type="ccw", **address.attributes)
    return str(out)


def _not_assignable(name: str, reason: NotAssignableReason, detail: str) -> NotAssignable:
    return NotAssignable(name, reason, detail)


def _pci(device: Device) -> Pci | None:
    return device.capability(Pci)


def _unknown(device: Device, attribute: str) -> bool:
    return any(fault.attribute == attribute for fault in device.errors)


def _abbreviated(names: Sequence[str]) -> str:
    """Return the first names, separated by commas, and the number of the others."""
    others = len(names) - _NAMES_SHOWN
    more = f" and {others} more" if others > 0 else ""
    return ", ".join(names[:_NAMES_SHOWN]) + more
