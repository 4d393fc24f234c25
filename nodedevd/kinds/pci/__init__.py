"""pci: a PCI function, with its SR-IOV, IOMMU group, NUMA node and PCI Express link.

Reads  uevent (else class, vendor, device, subsystem_*), config, physfn, virtfn<N>,
       sriov_totalvfs, iommu_group, /sys/kernel/iommu_groups/<N>/devices, numa_node, vpd,
       vfio-dev/vfio<N>/dev, and the host's pci.ids
ABI    Documentation/ABI/testing/sysfs-bus-pci, sysfs-kernel-iommu_groups
"""

from __future__ import annotations

import errno
import re
import sys
from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import Literal, NamedTuple

import msgspec
from msgspec.structs import replace

from nodedevd.host.node import Node, parse_number
from nodedevd.host.pci_ids import PciIds
from nodedevd.host.sysroot import is_absence
from nodedevd.kinds.base import (
    Capability,
    DeviceLike,
    HardwareId,
    Kind,
    LibvirtForm,
    TreeLike,
    write_id,
)
from nodedevd.kinds.pci.config import CONFIG_SIZE, PciConfig, PciExpress, write_express
from nodedevd.kinds.pci.vpd import VPD_SIZE, Vpd, parse_vpd, write_vpd
from nodedevd.kinds.shared.vfio import VfioDevice, read_vfio_device, write_vfio_device
from nodedevd.names import PciAddress, device_name, parse_pci
from nodedevd.text import printable_path
from nodedevd.xml_writer import Out, escape_attribute

VPD = "vpd"
_ID_DIGITS = 6
_ID = re.compile(f"[0-9A-Fa-f]{{1,{_ID_DIGITS}}}")
_NO_NAMES = PciIds(b"")
_VIRTFN = re.compile(r"virtfn([0-9]+)")


class VirtualFunctions(msgspec.Struct, frozen=True, gc=False):
    """The SR-IOV side of a physical function."""

    maximum: int | None
    """sriov_totalvfs"""
    addresses: tuple[str, ...]
    """the targets of virtfn0, virtfn1, …, in that order"""


class IommuGroup(msgspec.Struct, frozen=True, gc=False):
    """The devices that can only be assigned together."""

    number: int = msgspec.field(name="iommu_group")
    devices: tuple[str, ...] = msgspec.field(name="sysnames")
    """kernel names, including this device's own, sorted"""


class Pci(Capability, frozen=True, gc=False, tag="pci"):
    """A PCI function. An id that is unknown is None."""

    address: str | None
    """domain:bus:slot.function; None if the kernel's name is not a PCI address"""
    class_code: str | None
    """0x and six hex digits: class, subclass, programming interface"""
    vendor: HardwareId | None
    product: HardwareId | None
    subsystem_vendor: HardwareId | None
    subsystem_product: HardwareId | None
    revision: str | None
    """0x and two hex digits"""
    physical_function: str | None
    """address of the PF, on a VF"""
    virtual_functions: VirtualFunctions | None
    """on a PF; None without SR-IOV"""
    bridge: Literal["pci-bridge", "cardbus-bridge"] | None
    """from the header type in config space"""
    vpd: Vpd | None
    """Vital Product Data; None if the board has none"""
    iommu_group: IommuGroup | None = msgspec.field(name="iommu")
    numa_node: int | None
    """numa_node; None if there is none"""
    pci_express: PciExpress | None
    """None on conventional PCI, and if config space cannot be read far enough"""
    vfio_device: VfioDevice | None
    """None unless a VFIO driver is bound: vfio-pci, or a vendor's own"""


def read(node: Node) -> Pci:
    """Read a PCI function; each device of the bus is one, even with a malformed name."""
    if parse_pci(node.sysname) is None:
        node.fault("", "malformed", "the name of a PCI function is its address")
        address = None
    else:
        address = node.sysname
    vendor_text, device_text = _ids(node, "PCI_ID")
    subvendor_text, subdevice_text = _ids(node, "PCI_SUBSYS_ID")
    vendor = _read_id(node, "vendor", vendor_text, 4)
    device = _read_id(node, "device", device_text, 4)
    # Functions without subsystem ids, mostly bridges, have 0000:0000.
    subvendor = _read_id(node, "subsystem_vendor", subvendor_text, 4) or None
    subdevice = subvendor and _read_id(node, "subsystem_device", subdevice_text, 4)
    ids = _hardware_ids(_names(node), vendor, device, subvendor, subdevice)
    config = _config(node.read_bytes("config", size=CONFIG_SIZE) or b"")
    if config.problem is not None:
        node.fault("config", *config.problem)
    revision = config.revision
    if revision is None:
        revision = _read_id(node, "revision", None, 2)
    return Pci(
        address=address,
        class_code=_hex(_read_id(node, "class", node.uevent.get("PCI_CLASS"), 6), 6),
        vendor=ids.vendor,
        product=ids.product,
        subsystem_vendor=ids.subsystem_vendor,
        subsystem_product=ids.subsystem_product,
        revision=_hex(revision, 2),
        physical_function=_read_physical_function(node),
        virtual_functions=_read_virtual_functions(node),
        bridge=config.bridge,
        vpd=_read_vpd(node),
        iommu_group=_read_iommu_group(node),
        numa_node=_read_numa_node(node),
        pci_express=config.express,
        vfio_device=read_vfio_device(node),
    )


def _names(node: Node) -> PciIds:
    try:
        return node.sysroot.pci_ids
    except OSError as error:
        node.faults.add("pci.ids", error)
        return _NO_NAMES


def _ids(node: Node, variable: str) -> tuple[str | None, str | None]:
    """Return a pair of ids from a variable in `uevent`, VVVV:DDDD."""
    vendor, colon, device = node.uevent.get(variable, "").partition(":")
    return (vendor, device) if colon else (None, None)


def _read_id(node: Node, attribute: str, text: str | None, digits: int) -> int | None:
    """Return an id from the uevent, or else from its own attribute."""
    number = None if text is None else _number(text)
    if number is not None:
        return number
    promised = attribute in ("class", "vendor", "device")
    text = node.read(attribute, promised=promised)
    if text is None:
        return None
    number = parse_number(text, 16)
    if number is None or number >= 16**digits or not text.startswith("0x"):
        node.fault(attribute, "malformed", text[:80])
        return None
    return number


@lru_cache(maxsize=128)
def _config(data: bytes) -> PciConfig:
    """Parse configuration space, which virtual functions of a model have in common."""
    return PciConfig(data)


def _number(text: str) -> int | None:
    """Return an id in a uevent as a number; None if it is none."""
    return _hex_number(text) if len(text) <= _ID_DIGITS else None


@lru_cache(maxsize=1024)
def _hex_number(text: str) -> int | None:
    return int(text, 16) if _ID.fullmatch(text) else None


def _read_physical_function(node: Node) -> str | None:
    address = node.link_name("physfn")
    return None if address is None else sys.intern(address)  # that of many virtual functions


def _read_virtual_functions(node: Node) -> VirtualFunctions | None:
    maximum = node.read_number("sriov_totalvfs")
    if not maximum and "virtfn" not in "/".join(node.entries):  # as of nearly all functions
        return None
    links = [name for name in node.entries if name.startswith("virtfn")]
    indices = sorted(int(match[1]) for match in map(_VIRTFN.fullmatch, links) if match is not None)
    if not indices and not maximum:
        return None
    addresses = [node.link_name(f"virtfn{index}") for index in indices]
    return VirtualFunctions(
        maximum=maximum,
        addresses=tuple([address for address in addresses if address is not None]),
    )


def public(cap: Pci) -> tuple[Pci, tuple[str, ...]]:
    """Leave out the Vital Product Data, whose file has mode 0600."""
    return (cap, ()) if cap.vpd is None else (replace(cap, vpd=None), (VPD,))


def _read_vpd(node: Node) -> Vpd | None:
    # The kernel found no VPD with an end tag; EIO before Linux 5.15.
    data = node.read_bytes(VPD, size=VPD_SIZE, absent=(errno.ENODEV, errno.EIO))
    if not data:
        return None
    try:
        return parse_vpd(data)
    except ValueError as error:
        node.fault(VPD, "malformed", str(error))
        return None


def _read_iommu_group(node: Node) -> IommuGroup | None:
    target = node.link("iommu_group")
    if target is None:
        return None
    name = printable_path(target.rpartition("/")[2])
    number = parse_number(name)
    if number is None:
        node.fault("iommu_group", "malformed", name)
        return None
    try:
        devices = tuple(sorted(map(printable_path, node.sysroot.names(f"{target}/devices"))))
    except OSError as error:
        devices = ()
        if is_absence(error):
            node.fault("iommu_group/devices", "absent", "dangling")
        else:
            node.faults.add("iommu_group/devices", error)
    alone = (node.sysname,)  # as most functions are
    return IommuGroup(number=number, devices=alone if devices == alone else devices)


def _read_numa_node(node: Node) -> int | None:
    text = node.read("numa_node")
    if text is None or text == "-1":  # no node
        return None
    number = parse_number(text)
    if number is None:
        node.fault("numa_node", "malformed", text[:80])
    return number


class _HardwareIds(NamedTuple):
    vendor: HardwareId | None
    product: HardwareId | None
    subsystem_vendor: HardwareId | None
    subsystem_product: HardwareId | None


@lru_cache(maxsize=1024)
def _hardware_ids(
    names: PciIds,
    vendor: int | None,
    device: int | None,
    subvendor: int | None,
    subdevice: int | None,
) -> _HardwareIds:
    """Return ids with names; functions of a card, and cards of a model, share the result."""
    return _HardwareIds(
        _named(names.vendor, vendor),
        _named(names.device, vendor, device),
        _named(names.vendor, subvendor),
        _named(names.subsystem, vendor, device, subvendor, subdevice),
    )


def _named(name_of: Callable[..., str | None], *ids: int | None) -> HardwareId | None:
    """Return the last of these ids with its name, which depends on all of them."""
    if ids[-1] is None:
        return None
    return HardwareId(f"0x{ids[-1]:04x}", None if None in ids else name_of(*ids))


@lru_cache(maxsize=1024)
def _hex(number: int | None, digits: int) -> str | None:
    return None if number is None else f"0x{number:0{digits}x}"


def neighbours(cap: Pci, device: DeviceLike, tree: TreeLike) -> Iterator[str]:
    """Return the physical function of a virtual one, and the members of the IOMMU group."""
    addresses = [] if cap.physical_function is None else [cap.physical_function]
    if cap.iommu_group is not None:
        addresses += [one for one in cap.iommu_group.devices if one != cap.address]
    for address in addresses:
        found = find_function(address, tree)
        if found is not None and found.path is not None:
            yield found.path


def find_function(address: str | None, tree: TreeLike) -> DeviceLike | None:
    """Return the PCI function of this address, None if the tree has no such device."""
    return None if address is None else tree.get(device_name("pci", address))


@lru_cache(maxsize=1024)
def address_of(name: str) -> PciAddress | None:
    """Parse the kernel's name of a device; None if it is not a PCI address.

    Cached, since one address is written in several places: not for text from clients.
    """
    return parse_pci(name)


def write(cap: Pci, out: Out) -> None:
    """Write what libvirt shows, then the other fields."""
    _write_function(cap, out)
    _write_surroundings(cap, out)
    out.once(_write_board, (cap.revision, cap.subsystem_product, cap.subsystem_vendor))
    write_vfio_device(cap.vfio_device, out)


def _write_class(code: str | None, out: Out) -> None:
    out.value("class", code, "class")


def _write_board(board: tuple[str | None, HardwareId | None, HardwareId | None], out: Out) -> None:
    revision, product, vendor = board
    out.value("revision", revision, "revision")
    write_id("subsystem_product", product, "subsystem_device", out)
    write_id("subsystem_vendor", vendor, "subsystem_vendor", out)


def _write_model(model: tuple[HardwareId | None, HardwareId | None], out: Out) -> None:
    product, vendor = model
    write_id("product", product, "device", out)
    write_id("vendor", vendor, "vendor", out)


def _write_function(cap: Pci, out: Out) -> None:
    """Write the elements that libvirt has before the mdev types."""
    out.once(_write_class, cap.class_code)
    address = None if cap.address is None else address_of(cap.address)
    if address is not None:
        out.lines(
            f"<domain>{address.domain}</domain>",
            f"<bus>{address.bus}</bus>",
            f"<slot>{address.slot}</slot>",
            f"<function>{address.function}</function>",
        )
    out.once(_write_model, (cap.product, cap.vendor))
    if cap.physical_function is not None:
        out.once(_write_physical_function, cap.physical_function)
    if cap.virtual_functions is not None:
        attributes = {"type": "virt_functions"}
        if cap.virtual_functions.maximum is not None:
            attributes["maxCount"] = str(cap.virtual_functions.maximum)
        if cap.virtual_functions.addresses:
            with out.begin("capability", **attributes):
                out.lines(*map(_address_element, cap.virtual_functions.addresses))
        else:
            out.empty("capability", **attributes)
    if cap.bridge is not None:
        out.empty("capability", type=cap.bridge)


def _write_physical_function(address: str, out: Out) -> None:
    with out.begin("capability", type="phys_function"):
        out.lines(_address_element(address))


def _write_surroundings(cap: Pci, out: Out) -> None:
    """Write the elements that libvirt has after the mdev types."""
    if cap.vpd is not None:
        write_vpd(cap.vpd, out)
    elif VPD in out.unknown:
        out.empty("capability", type="vpd", state="unknown")
    if cap.iommu_group is not None:
        members = [f"  {_address_element(one)}" for one in cap.iommu_group.devices]
        out.lines(f"<iommuGroup number='{cap.iommu_group.number}'>", *members, "</iommuGroup>")
    elif "iommu_group" in out.unknown:
        out.empty("iommuGroup", state="unknown")
    if cap.numa_node is not None:
        out.lines(f"<numa node='{cap.numa_node}'/>")
    elif "numa_node" in out.unknown:
        out.empty("numa", state="unknown")
    if cap.pci_express is not None:
        out.once(write_express, cap.pci_express)
    elif "config" in out.unknown:
        out.empty("pci-express", state="unknown")


def _address_element(text: str) -> str:
    """Return `<address …/>`; for a device not on PCI, `<device …/>` with its kernel name."""
    address = address_of(text)
    if address is None:
        return f"<device name='{escape_attribute(text)}'/>"
    domain, bus, slot, function = address
    return (
        f"<address domain='0x{domain:04x}' bus='0x{bus:02x}' slot='0x{slot:02x}'"
        f" function='0x{function:d}'/>"
    )


def write_as_libvirt(cap: Pci, out: Out) -> None:
    """Write the function without a `maxCount` of 0."""
    functions = cap.virtual_functions
    if functions is not None and functions.maximum == 0:
        cap = replace(cap, virtual_functions=replace(functions, maximum=None))
    _write_function(cap, out)


def _write_rest_as_libvirt(cap: Pci, out: Out) -> None:
    """Write the rest without those members of the IOMMU group that are not on PCI."""
    group = cap.iommu_group
    if group is not None and None in map(address_of, group.devices):
        members = [name for name in group.devices if address_of(name) is not None]
        cap = replace(cap, iommu_group=replace(group, devices=tuple(members)))
    _write_surroundings(cap, out)


def _shown_by_libvirt(cap: Pci, device: DeviceLike) -> bool:
    return None not in (cap.address, cap.class_code, cap.product, cap.vendor)


KIND = Kind(
    capability=Pci,
    read=read,
    write=write,
    subsystems=frozenset({"pci"}),
    identifying=frozenset({VPD}),
    nested={"vpd": lambda cap: cap.vpd is not None},
    public=public,
    neighbours=neighbours,
    libvirt=LibvirtForm(
        "pci",
        bit=1,
        write=write_as_libvirt,
        write_rest=_write_rest_as_libvirt,
        shown=_shown_by_libvirt,
        nested_bits={"vpd": 21},
    ),
)
