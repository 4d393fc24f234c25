"""What every capability kind is made of: a value, a reader, a writer, and its words."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Generic, TypeAlias, TypeVar

import msgspec

from nodedevd.host.node import Node
from nodedevd.host.sysroot import Sysroot
from nodedevd.xml_writer import Out


class Capability(msgspec.Struct, frozen=True, gc=False, tag_field="type"):
    """What a device can do: a frozen value, told apart by its `type` (the struct's tag)."""


class HardwareId(msgspec.Struct, frozen=True, gc=False):
    """A 16-bit id of a vendor or a product, with its name."""

    id: str
    """0x and four hex digits"""
    name: str | None = None
    """as a database of such ids has it, or else the hardware itself"""


def write_id(tag: str, value: HardwareId | None, attribute: str, out: Out) -> None:
    """Write an id as libvirt does: the name is the text of the element."""
    if value is None:
        out.value(tag, None, attribute)
    elif value.name is None:
        out.empty(tag, id=value.id)
    else:
        out.text(tag, value.name, id=value.id)


C = TypeVar("C", bound=Capability)

NameOf: TypeAlias = Callable[[str], str | None]
"""Gives the name of the device at a sysfs path, None if that is no device of the tree."""


@dataclass(frozen=True, slots=True)
class Kind(Generic[C]):
    """One capability kind; see `docs/adding-a-capability.md`.

    Attributes:
        capability: the struct.
        read: reads it from a device's directory; None: this device is not one.
        write: fills `<capability type='…'>`; content only, escaping is the `Out`'s work.
        subsystems: which devices are asked; None: all of them.
        words: further words for it in a filter (libvirt's).
        nested: filter words for parts that such a capability may have, each with its test.
        identifying: attributes that tell this very machine from another of its model, such as
            serial numbers; a recording replaces their content.
        suffix: what libvirt's name of such a device has behind the kernel's; None: nothing.
        link: puts in what is only known with the whole tree at hand: names of other devices.
        recount: reads what changes without an event, and nothing else; the same object if nothing
            is different, None if the device has to be read as a whole.
        tree_path: the sysfs path such a device has, or would have, if its own path is none.
    """

    capability: type[C]
    read: Callable[[Node], C | None]
    write: Callable[[C, Out], None]
    subsystems: frozenset[str] | None = None
    words: tuple[str, ...] = ()
    nested: Mapping[str, Callable[[C], bool]] = field(default_factory=dict)
    identifying: frozenset[str] = frozenset()
    suffix: Callable[[C], str | None] | None = None
    link: Callable[[C, NameOf], C] | None = None
    recount: Callable[[Sysroot, str, C], C | None] | None = None
    tree_path: Callable[[C], str | None] | None = None

    @property
    def name(self) -> str:
        """The capability's type, as in XML and JSON."""
        return str(self.capability.__struct_config__.tag)
