"""vgpu: a virtual function that becomes a vGPU without an mdev, by NVIDIA's vendor VFIO interface.

Reads  nvidia/{creatable_vgpu_types,current_vgpu_type,vgpu_params,placement_id,gpu_instance_id},
       and creatable_vgpu_types of the other functions of the card
ABI    none in the kernel; NVIDIA vGPU software user guide, "Creating an NVIDIA vGPU on a Linux
       with KVM Hypervisor Host that Uses a Vendor-Specific VFIO Framework"
"""

from __future__ import annotations

import errno
import re
from collections.abc import Iterator

import msgspec
from msgspec.structs import replace

from nodedevd.errors import NodeGone
from nodedevd.host.faults import SHORTAGE
from nodedevd.host.job import Unanswered
from nodedevd.host.lines import lines_of
from nodedevd.host.node import Node, parse_number
from nodedevd.host.sysroot import Sysroot
from nodedevd.kinds.base import Capability, DeviceLike, HeldType, Kind, TreeLike, VolatileOf
from nodedevd.kinds.pci.sriov import sharing_functions
from nodedevd.kinds.shared.vgpu_types import TypeFacts, type_facts, write_facts
from nodedevd.xml_writer import Out

DIRECTORY = "nvidia"
CURRENT = f"{DIRECTORY}/current_vgpu_type"
CREATABLE = f"{DIRECTORY}/creatable_vgpu_types"

_NONE_YET = (errno.ENXIO,)
"""What the driver answers for what only a vGPU has, until the function is one: driver 580 in MIG
mode, https://github.com/bigstack-oss/cubecos/issues/312; earlier releases give empty text."""

_LINE = re.compile(r"[ \t]*([0-9]{1,9})[ \t]*:[ \t]*([^ \t].*?)[ \t]*")
_HEADER = re.compile(r"[ \t]*ID[ \t]*:.*", re.IGNORECASE)


class VgpuType(msgspec.Struct, frozen=True, gc=False):
    """A profile; the driver gives neither a description nor a count."""

    id: str = msgspec.field(name="type")
    """the decimal number to write to current_vgpu_type"""
    name: str | None = msgspec.field(name="type_name")
    """None if no function of the card lists it"""
    facts: TypeFacts | None
    """facts in the name"""


class Vgpu(Capability, frozen=True, gc=False, tag="vgpu"):
    """A function that becomes a vGPU when a profile is set on it; a vGPU has no UUID."""

    current: VgpuType | None
    """the profile that is set; None if none is set, or if there is an error for the attribute"""
    creatable: tuple[VgpuType, ...] | None
    """profiles that can be set on this function now; None is unknown"""
    params: str | None
    """vgpu_params: options of the plugin, if any"""
    placement_id: str | None
    """placement_id: its place on a card with vGPUs of several sizes; None if not reported"""
    gpu_instance_id: str | None
    """gpu_instance_id: the MIG instance behind it, if any"""


def read(node: Node) -> Vgpu | None:
    """Read a function that has the interface; None for others."""
    if DIRECTORY not in node.entries or "current_vgpu_type" not in node.names(DIRECTORY):
        return None
    creatable = _read_creatable(node)
    return Vgpu(
        current=_read_current(node, creatable or ()),
        creatable=creatable,
        params=node.read(f"{DIRECTORY}/vgpu_params", absent=_NONE_YET) or None,
        placement_id=node.read(f"{DIRECTORY}/placement_id", absent=_NONE_YET) or None,
        gpu_instance_id=node.read(f"{DIRECTORY}/gpu_instance_id", absent=_NONE_YET) or None,
    )


def _read_creatable(node: Node) -> tuple[VgpuType, ...] | None:
    text = node.read(CREATABLE, promised=True)
    if text is None:
        return None
    found, odd = parse_types(text)
    if odd is not None:
        node.fault(CREATABLE, "malformed", odd[:80])
    # The driver gives each id one name, whatever the card.
    node.sysroot.remembered.update({(DIRECTORY, one.id): one for one in found})
    return found


def parse_types(text: str) -> tuple[tuple[VgpuType, ...], str | None]:
    """Parse lines `1148  : NVIDIA L40S-2Q` below a heading; also return the first odd line."""
    found = []
    odd = None
    for line in lines_of(text):
        match = _LINE.fullmatch(line)
        if match is not None:
            found.append(VgpuType(match[1], match[2], type_facts(match[2], None)))
        elif line.strip() and not _HEADER.fullmatch(line):
            odd = odd or line
    return tuple(found), odd


def _read_current(node: Node, creatable: tuple[VgpuType, ...]) -> VgpuType | None:
    text = node.read(CURRENT, promised=True)
    if text is None:
        return None
    number = parse_number(text.strip())
    if number is None:
        node.fault(CURRENT, "malformed", text[:80])
    if not number:
        return None
    wanted = str(number)
    for one in creatable:
        if one.id == wanted:
            return one
    # A function with a profile may list no profiles, and on a full card none does.
    known: VgpuType | None = node.sysroot.remembered.get((DIRECTORY, wanted))
    if known is not None:
        return known
    for one in _listed_by_others(node):
        if one.id == wanted:
            return one
    return VgpuType(wanted, None, None)


def _listed_by_others(node: Node) -> tuple[VgpuType, ...]:
    """Return the profiles that the other functions of the card list, each once."""
    physfn = node.link("physfn")
    if physfn is None:
        return ()
    try:
        card = Node(node.sysroot, physfn, subsystem="pci")
    except NodeGone:
        return ()
    except OSError as error:
        node.faults.add("physfn", error)
        return ()
    found: dict[str, VgpuType] = {}
    texts = set()
    for name in sorted(card.entries):
        function = card.link(name) if name.startswith("virtfn") else None
        if function is None or function == node.path:
            continue
        try:
            with node.sysroot.job.besides(f"{function}/{CREATABLE}", owner=function):
                texts.add(node.sysroot.read(f"{function}/{CREATABLE}").decode())
        except (Unanswered, UnicodeDecodeError):
            continue  # a fault of that function, which reports it
        except OSError as error:
            if error.errno in SHORTAGE:
                node.faults.add(f"physfn/{name}/{CREATABLE}", error)
    node.faults.take(card.faults, "physfn")
    for text in sorted(texts):
        found.update({one.id: one for one in parse_types(text)[0]})
    return tuple(found.values())


def recall(cap: Vgpu, before: Vgpu) -> Vgpu:
    """Keep the name of the profile that is set, if no function lists it any more."""
    current, known = cap.current, before.current
    if current is None or current.name is not None or known is None or known.id != current.id:
        return cap
    return replace(cap, current=known)


def outdated(sysroot: Sysroot, path: str, cap: Vgpu) -> bool:
    """Return whether another profile is set now; a read that fails reports nothing."""
    try:
        text = sysroot.read(f"{path}/{CURRENT}").strip()
    except OSError:
        return False
    return text != (b"0" if cap.current is None else cap.current.id.encode())


def reread_volatile(sysroot: Sysroot, path: str, cap: Vgpu) -> Vgpu | None:
    """Read the capability again: the kernel sends no event when a profile is set."""
    try:
        node = Node(sysroot, path, subsystem="pci")
        found = read(node)
    except NodeGone:
        return None
    if found is None or node.faults:
        return None
    return cap if found == cap else found


def dependents(cap: Vgpu, device: DeviceLike, tree: TreeLike) -> Iterator[VolatileOf]:
    """Return the functions of the card: a profile that is set on one leaves less for the others."""
    return map(VolatileOf, sharing_functions(device, tree))


def held_type(cap: Vgpu) -> HeldType | None:
    """Return the profile that is set."""
    return None if cap.current is None else HeldType(cap.current.id, cap.current.name)


def write(cap: Vgpu, out: Out) -> None:
    """Write the profile that is set, and those that can be set."""
    if cap.current is not None:
        _write_type("current", cap.current, out)
    elif CURRENT in out.unknown:
        out.empty("current", state="unknown")
    if cap.creatable is None:
        out.empty("creatable", state="unknown")
    elif cap.creatable:
        with out.begin("creatable"):
            for one in cap.creatable:
                _write_type("type", one, out)
    out.value("params", cap.params, f"{DIRECTORY}/vgpu_params")
    out.value("placement_id", cap.placement_id, f"{DIRECTORY}/placement_id")
    out.value("gpu_instance_id", cap.gpu_instance_id, f"{DIRECTORY}/gpu_instance_id")


def _write_type(tag: str, one: VgpuType, out: Out) -> None:
    if one.name is None:
        out.empty(tag, id=one.id)
        return
    with out.begin(tag, id=one.id):
        out.text("name", one.name)
        write_facts(one.facts, out)


KIND = Kind(
    capability=Vgpu,
    read=read,
    write=write,
    subsystems=frozenset({"pci"}),
    recall=recall,
    reread_volatile=reread_volatile,
    outdated=outdated,
    dependents=dependents,
    held_type=held_type,
)
