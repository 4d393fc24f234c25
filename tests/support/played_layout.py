"""A played card on which the differences from a layout are put right, one after the other.

The model is the host's side of a layout: virtual functions come and go all at once, a driver is
bound, a vGPU takes memory that the functions of the card share, a definition stays. It refuses
what a kernel or driver refuses, and fails the test if something is touched that must not be.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any, Literal

from nodedevd.kinds.base import HardwareId
from nodedevd.kinds.mdev_child import MdevChild, MdevChildType
from nodedevd.kinds.mdev_parent import MdevParent, MdevType
from nodedevd.kinds.pci import Pci, VirtualFunctions
from nodedevd.kinds.shared.mdevctl import Definition, MdevAttribute, definition_path
from nodedevd.kinds.shared.vgpu_types import TypeFacts
from nodedevd.kinds.vgpu import Vgpu, VgpuType
from nodedevd.layout.difference import (
    AnyDifference,
    BindFunction,
    CreateVgpus,
    DefineMdev,
    ModifyMdev,
    RemoveVgpu,
    SetFunctions,
    StartMdev,
)
from nodedevd.layout.facts import LayoutFacts
from nodedevd.model.device import Device
from nodedevd.model.snapshot import Snapshot
from nodedevd.names import device_name, distinct_name
from nodedevd.questions.in_use import Use
from tests.support.played_card import filled

CARD = "0000:3b:00.0"
HOST_DRIVER = "played"
"""The driver of a new virtual function."""


class Refused(Exception):
    """What a driver answers if it has no room."""


@dataclass(frozen=True)
class Held:
    """A vGPU."""

    type: int
    """number of its type"""
    uuid: str | None = None
    open: bool = False
    claimed: bool = False
    """whether it belongs to a client"""
    placement: int | None = None


@dataclass(frozen=True)
class Defined:
    """A definition of mdevctl."""

    type: int
    autostart: bool = False
    attributes: tuple[MdevAttribute, ...] = ()


@dataclass
class PlayedHost:
    """A host with one card."""

    framework: Literal["mdev", "vendor-vfio", "none"]
    maximum: int
    """most virtual functions; 0: no SR-IOV, and the card itself is the parent"""
    sizes: list[int]
    """memory of each type"""
    memory: int
    equal_sizes: bool = False
    counted: bool = False
    """whether the driver says how many vGPUs of each type there may be, and how big they are"""
    each: int = 8
    """vGPUs that the card itself takes, without SR-IOV"""
    functions: list[str | None] = field(default_factory=list)
    """drivers of the enabled virtual functions"""
    held: dict[int | None, list[Held]] = field(default_factory=dict)
    """vGPUs by the number of the function, None is the card"""
    definitions: dict[tuple[int | None, str], Defined] = field(default_factory=dict)
    """by the number of the function and the UUID: one UUID may be defined on several"""
    new_uuids: int = 0

    # -- what can be created --------------------------------------------------------------------

    def every(self) -> list[Held]:
        """Return all vGPUs."""
        return [one for held in self.held.values() for one in held]

    def has_room(self, function: int | None, kind: int) -> bool:
        """Return whether the driver would create a vGPU."""
        held = self.held.get(function, [])
        if len(held) >= (self.each if function is None else 1):
            return False
        sizes = [self.sizes[one.type] for one in self.every()]
        if self.equal_sizes and any(one != self.sizes[kind] for one in sizes):
            return False
        return sum(sizes) + self.sizes[kind] <= self.memory

    def _left(self, function: int | None, kind: int) -> int:
        if not self.has_room(function, kind):
            return 0
        left = (self.memory - sum(self.sizes[one.type] for one in self.every())) // self.sizes[kind]
        return min(left, self.each - len(self.held.get(None, []))) if function is None else 1

    def type_id(self, kind: int) -> str:
        """Return the id of a type."""
        return f"{100 + kind}" if self.framework == "vendor-vfio" else f"played-{kind}"

    # -- the tree ---------------------------------------------------------------------------------

    def snapshot(self) -> Snapshot:
        """Return the tree of the host."""
        addresses = tuple(map(_address, range(len(self.functions))))
        sriov = VirtualFunctions(self.maximum, addresses) if self.maximum else None
        pci = filled(
            Pci,
            address=CARD,
            vendor=HardwareId("0x1234", None),
            product=HardwareId("0x5678", None),
            virtual_functions=sriov,
        )
        on_card = [] if self.maximum else self._holder(None)
        devices = [_device(CARD, HOST_DRIVER, pci, *on_card), *self._mdevs(None)]
        for number, driver in enumerate(self.functions):
            function = filled(Pci, address=addresses[number], physical_function=CARD)
            holds = self._holder(number) if driver == HOST_DRIVER else []
            devices.append(_device(addresses[number], driver, function, *holds))
            devices += self._mdevs(number) if holds else []
        return Snapshot(devices)

    def _holder(self, function: int | None) -> list[Any]:
        if self.framework == "none":
            return []
        held = self.held.get(function, [])
        if self.framework == "vendor-vfio":
            return [self._vgpu(function, held)]
        types = [
            filled(
                MdevType,
                id=self.type_id(kind),
                device_api="vfio-pci",
                available_instances=self._left(function, kind),
                facts=self._facts(kind),
                devices=tuple(sorted(one.uuid or "" for one in held if one.type == kind)),
            )
            for kind in range(len(self.sizes))
        ]
        children = tuple(sorted(one.uuid or "" for one in held))
        return [filled(MdevParent, types=tuple(types), children=children)]

    def _facts(self, kind: int) -> TypeFacts | None:
        size = self.sizes[kind]
        if not self.counted:
            return None
        return TypeFacts(framebuffer_bytes=size, max_instances=self.memory // size)

    def _vgpu(self, function: int | None, held: list[Held]) -> Vgpu:
        kinds = [kind for kind in range(len(self.sizes)) if self.has_room(function, kind)]
        placement = held[0].placement if held else None
        return filled(
            Vgpu,
            current=VgpuType(self.type_id(held[0].type), None, None) if held else None,
            creatable=tuple(VgpuType(self.type_id(kind), None, None) for kind in kinds),
            placement_id=None if placement is None else str(placement),
        )

    def _mdevs(self, function: int | None) -> list[Device]:
        if self.framework != "mdev":
            return []
        active = {one.uuid: one for one in self.held.get(function, [])}
        defined = {uuid: one for (at, uuid), one in self.definitions.items() if at == function}
        return [
            self._mdev(uuid, function, active.get(uuid), defined.get(uuid))
            for uuid in (*active, *(one for one in defined if one not in active))
            if uuid is not None
        ]

    def _mdev(
        self, uuid: str, function: int | None, active: Held | None, defined: Defined | None
    ) -> Device:
        parent = _address(function)
        kind = active.type if active is not None else defined.type if defined is not None else 0
        definition = None
        if defined is not None:
            definition = Definition(
                self.type_id(defined.type), defined.autostart, defined.attributes
            )
        mdev = filled(
            MdevChild,
            uuid=uuid,
            mdev_type=MdevChildType(self.type_id(kind), None, "vfio-pci"),
            parent=device_name("pci", parent),
            parent_addr=parent,
            state="inactive" if active is None else "complete",
            attributes=(),
            defined=defined is not None,
            definition=definition,
        )
        path = definition_path(parent, uuid) if active is None else f"{_path(parent)}/{uuid}"
        name = device_name("mdev", uuid)
        others = [one for at, one in self.definitions if one == uuid and at != function]
        others += [one.uuid for one in self.every() if one.uuid == uuid]
        if active is None and others:
            name = distinct_name(name, path)
        return filled(
            Device,
            name=name,
            path=path,
            parent=device_name("pci", parent),
            subsystem="mdev",
            sysname=uuid,
            capabilities=(mdev,),
            errors=(),
            devlinks=(),
        )

    def facts(self) -> LayoutFacts:
        """Return which vGPUs are open, and which belong to a client."""
        opened, claimed = set(), {}
        for function, held in self.held.items():
            for one in held:
                name = device_name("pci", _address(function))
                name = name if one.uuid is None else device_name("mdev", one.uuid)
                if one.open:
                    opened.add(name)
                if one.claimed:
                    claimed[one.uuid or _path(_address(function))] = "a client"
        return LayoutFacts(usage=_Opened(frozenset(opened)), claimed=claimed)

    # -- putting it right -------------------------------------------------------------------------

    def do(self, one: AnyDifference) -> None:
        """Put one difference right. Raises Refused."""
        match one:
            case SetFunctions():
                assert one.before == len(self.functions)
                assert 0 <= one.number <= self.maximum
                assert not self.every()
                self.functions = [HOST_DRIVER] * one.number
            case BindFunction():
                number = self._number(one.function)
                assert number is not None
                assert self.functions[number] == one.before
                assert not self.held.get(number)
                self.functions[number] = one.driver
            case DefineMdev():
                key = self._number(one.parent), one.uuid
                assert key not in self.definitions
                self.definitions[key] = Defined(self._kind(one.type), one.autostart, one.attributes)
            case ModifyMdev():
                key = self._number(one.parent), one.uuid
                assert one.definition
                assert key in self.definitions
                self.definitions[key] = Defined(self._kind(one.type), one.autostart, one.attributes)
            case StartMdev():
                number = self._number(one.parent)
                self._create(number, Held(self.definitions[number, one.uuid].type, one.uuid))
            case CreateVgpus():
                number = self._number(one.function)
                for _ in range(one.count):
                    held = Held(self._kind(one.type), one.uuid, placement=one.placement)
                    if self.framework == "mdev" and one.uuid is None:
                        self.new_uuids += 1
                        held = replace(held, uuid=f"ffffffff-0000-4000-8000-{self.new_uuids:012}")
                    self._create(number, held)
            case RemoveVgpu():
                self._remove(one)

    def _create(self, function: int | None, held: Held) -> None:
        assert held.uuid is None or held.uuid not in [one.uuid for one in self.every()]
        if not self.has_room(function, held.type):
            raise Refused
        self.held.setdefault(function, []).append(held)

    def _remove(self, one: RemoveVgpu) -> None:
        for function, held in self.held.items():
            for vgpu in held:
                name = device_name("pci", _address(function))
                if one.name == (name if vgpu.uuid is None else device_name("mdev", vgpu.uuid)):
                    assert not vgpu.open, "it is open"
                    assert not vgpu.claimed, "it belongs to a client"
                    held.remove(vgpu)
                    return
        raise AssertionError(f"there is no {one.name}")

    def _number(self, name: str) -> int | None:
        names = [device_name("pci", _address(number)) for number in range(len(self.functions))]
        return None if name == device_name("pci", CARD) else names.index(name)

    def _kind(self, type_id: str) -> int:
        return [self.type_id(kind) for kind in range(len(self.sizes))].index(type_id)


class _Opened:
    def __init__(self, names: frozenset[str]) -> None:
        self._names = names

    def use(self, name: str, path: str | None) -> Use:
        """Return whether a device is open."""
        is_open: Literal["yes", "no"] = "yes" if name in self._names else "no"
        return Use(name, path, is_open, (), None)


def _address(number: int | None) -> str:
    return CARD if number is None else f"0000:3b:{1 + number // 8:02x}.{number % 8}"


def _path(address: str) -> str:
    return f"/sys/devices/pci0000:3a/{address}"


def _device(address: str, driver: str | None, *capabilities: Any) -> Device:
    return filled(
        Device,
        name=device_name("pci", address),
        path=_path(address),
        parent="computer",
        subsystem="pci",
        sysname=address,
        driver=driver,
        capabilities=capabilities,
        errors=(),
        devlinks=(),
    )
