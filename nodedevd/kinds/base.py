"""What a kind is made of: the struct of its capability, and what is done with such a capability."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Generic, NamedTuple, Protocol, TypeAlias, TypeVar

import msgspec

from nodedevd.host.faults import Faults
from nodedevd.host.node import Node
from nodedevd.host.sysroot import Sysroot
from nodedevd.xml_writer import Out


class Capability(msgspec.Struct, frozen=True, gc=False, tag_field="type"):
    """What a device can do: a frozen value; `type`, the tag of the struct, is its kind."""


class HardwareId(msgspec.Struct, frozen=True, gc=False):
    """A 16-bit id of a vendor or a product, with its name."""

    id: str
    """0x and four hex digits"""
    name: str | None = None
    """from a database of such ids, or else from the hardware itself"""


class HeldType(NamedTuple):
    """The mdev type, or the vGPU profile, that a device is of."""

    id: str
    name: str | None


def write_id(tag: str, value: HardwareId | None, attribute: str, out: Out) -> None:
    """Write an id in libvirt's form: the name is the text of the element."""
    if value is None:
        out.value(tag, None, attribute)
    elif value.name is None:
        out.empty(tag, id=value.id)
    else:
        out.text(tag, value.name, id=value.id)


C = TypeVar("C", bound=Capability)
Other = TypeVar("Other", bound=Capability)


class DeviceLike(Protocol):
    """What a kind may ask about a device; `model.device.Device` has it."""

    @property
    def path(self) -> str | None:
        """The sysfs path."""

    @property
    def parent(self) -> str | None:
        """The name of the parent."""

    @property
    def driver(self) -> str | None:
        """The name of the bound driver."""

    @property
    def capabilities(self) -> tuple[Any, ...]:
        """All capabilities of the device."""

    def capability(self, kind: type[Other]) -> Other | None:
        """Return the capability of a kind."""

    @property
    def active(self) -> bool:
        """Whether the device is present, and not only defined."""

    @property
    def is_volatile(self) -> bool:
        """Whether it has values that change without an event."""


class TreeLike(Protocol):
    """What a kind may ask about the other devices; `model.snapshot.Snapshot` has it."""

    def get(self, name: str) -> DeviceLike | None:
        """Return the device of this name."""

    def at(self, path: str | None) -> DeviceLike | None:
        """Return the device at this path."""

    def below(self, path: str) -> Sequence[str]:
        """Return the paths of all devices below a path."""


NameOf: TypeAlias = Callable[[str], str | None]
"""Returns the name of the device at a sysfs path, None if the tree has no such device."""


class VolatileOf(NamedTuple):
    """The volatile values of the device at a path, and nothing else of it."""

    path: str


Related: TypeAlias = Callable[[C, DeviceLike, TreeLike], Iterable[str | VolatileOf]]
"""Returns the paths of other devices, for a capability and the device that has it."""


class LibvirtForm(msgspec.Struct, Generic[C], frozen=True):
    """How libvirt shows a kind; `docs/formats.md` describes the format.

    Attributes:
        type: libvirt's name of the kind.
        bit: the number of its bit in filters, VIR_CONNECT_LIST_NODE_DEVICES_CAP_….
        write: writes the elements of `<capability>` that libvirt has, in libvirt's order.
        write_rest: writes those elements that libvirt has after the device's mdev types.
        shown: whether libvirt lists a device with this capability.
        suffix: what libvirt's name of the device ends with, where it is not the name used here.
        nested_bits: the bits of those parts in `Kind.nested` that libvirt's filters know.
        within_others: whether the elements are a part of the device's other capability, if any.
    """

    type: str
    bit: int
    write: Callable[[C, Out], None]
    write_rest: Callable[[C, Out], None] | None = None
    shown: Callable[[C, DeviceLike], bool] = lambda capability, device: True
    suffix: Callable[[C], str] | None = None
    nested_bits: Mapping[str, int] = msgspec.field(default_factory=dict)
    within_others: bool = False


class Definable(msgspec.Struct, Generic[C], frozen=True):
    """What a kind has besides if mdevctl can define its devices, and start them later.

    Attributes:
        read: reads an inactive device from its definition, the file at a path; None: the file is
            missing, or the device is active.
        defined: whether a device has a definition.
        autostart: whether mdevctl starts it along with its parent.
        inactive: the capability of an active device as its definition describes it.
        tree_path: the sysfs path that it has when it is active; None: its parent is missing.
    """

    read: Callable[[Sysroot, str, Faults], C | None]
    defined: Callable[[C], bool]
    autostart: Callable[[C], bool]
    inactive: Callable[[C], C]
    tree_path: Callable[[C], str | None]


class Kind(msgspec.Struct, Generic[C], frozen=True):
    """One kind of capability; `docs/adding-a-capability.md` shows how to add one.

    Attributes:
        capability: the struct.
        read: reads it from a device's directory; None: the device has no such capability.
        write: writes the elements of `<capability type='…'>`; `Out` escapes them.
        subsystems: the buses and classes whose devices are read; None: all.
        libvirt: how libvirt shows it; None: libvirt has no such kind.
        nested: parts that such a capability can have, by their word in filters, with a test.
        identifying: attributes that identify this one machine, such as serial numbers; a
            recording replaces their content.
        public: returns the capability without what sysfs shows to root alone, and the attributes
            that have it; those that the device does not have are not among them.
        suffix: what the device's name ends with, after the kernel's name.
        link: returns the capability with the names of other devices filled in.
        recall: returns the capability with what only the reading before it could still see.
        removing: whether the kernel is removing the device and has not finished.
        reread_volatile: reads only the values that change without an event; returns the same
            object if they are the same, None if the whole device has to be read.
        volatile: whether a capability has values that are read again when a client requests
            them; None: each has, if the kind has `reread_volatile`.
        outdated: whether one cheap read shows that a value changed, of which clients expect an
            event and the kernel sends none. The daemon calls it every few seconds.
        neighbours: the devices whose description changes when such a device comes or goes.
        dependents: the devices whose description changes when this capability does.
        follows_children: whether the description of such a device changes when a device below
            it comes or goes, without an event of its own. A CCW device that is set online gets its
            disk, an adapter its interface, and `online` sends no event.
        definable: for a kind that mdevctl defines, whose devices can be inactive.
        held_type: the mdev type, or the vGPU profile, of the device, for lists; None is unknown.
    """

    capability: type[C]
    read: Callable[[Node], C | None]
    write: Callable[[C, Out], None]
    subsystems: frozenset[str] | None = None
    libvirt: LibvirtForm[C] | None = None
    nested: Mapping[str, Callable[[C], bool]] = msgspec.field(default_factory=dict)
    identifying: frozenset[str] = frozenset()
    public: Callable[[C], tuple[C, tuple[str, ...]]] | None = None
    suffix: Callable[[C], str | None] | None = None
    link: Callable[[C, NameOf], C] | None = None
    recall: Callable[[C, C], C] | None = None
    removing: Callable[[C], bool] | None = None
    reread_volatile: Callable[[Sysroot, str, C], C | None] | None = None
    volatile: Callable[[C], bool] | None = None
    outdated: Callable[[Sysroot, str, C], bool] | None = None
    neighbours: Related[C] | None = None
    dependents: Related[C] | None = None
    follows_children: bool = False
    definable: Definable[C] | None = None
    held_type: Callable[[C], HeldType | None] | None = None

    @property
    def name(self) -> str:
        """The type of the capability, as in XML and JSON."""
        return str(self.capability.__struct_config__.tag)

    @property
    def words(self) -> tuple[str, ...]:
        """The names of the kind in a filter: its own, and libvirt's if that differs."""
        if self.libvirt is None or self.libvirt.type == self.name:
            return (self.name,)
        return (self.name, self.libvirt.type)
