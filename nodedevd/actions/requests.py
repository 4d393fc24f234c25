"""Requests: what a client asks for, one struct an action.

They are the parameters of the methods of org.nodedevd.Control, and as good as checked: a request
that exists has bounded texts, UUIDs in lower case, and no path that leads out of a directory.
Whether its names mean anything on a host is for the plan to say.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, ClassVar, Final, TypeAlias

import msgspec
from msgspec.structs import force_setattr

from nodedevd.actions.ownership import Claim
from nodedevd.actions.plan import Action
from nodedevd.errors import InvalidParameter
from nodedevd.names import is_uuid

OWNER_BYTES = 256
NAME_LENGTH = 4096
"""A device may be named by its sysfs path."""
NAMES_AT_MOST = 256
TYPE_LENGTH = 256
DRIVER_LENGTH = 255
ATTRIBUTES_AT_MOST = 256
ATTRIBUTE_LENGTH = 255
VALUE_BYTES = 4095
"""What the kernel hands to an attribute at once: a page, without its last byte."""
CREATED_AT_ONCE = 1024
FUNCTIONS_AT_MOST = 0xFFFF
"""NumVFs has 16 bits."""
LONGEST_WAIT_SECONDS = 3600

Name: TypeAlias = Annotated[str, msgspec.Meta(min_length=1, max_length=NAME_LENGTH)]
TypeName: TypeAlias = Annotated[str, msgspec.Meta(min_length=1, max_length=TYPE_LENGTH)]


class Attribute(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A vendor attribute that is written when the mdev starts. Raises InvalidParameter."""

    name: Annotated[str, msgspec.Meta(min_length=1, max_length=ATTRIBUTE_LENGTH)]
    """path of the attribute below the device"""
    value: str

    def __post_init__(self) -> None:
        if not self.name.isprintable():
            raise InvalidParameter("attributes", f"{self.name!r} is not printable")
        if {"", ".", ".."} & set(self.name.split("/")):
            raise InvalidParameter(
                "attributes", f"{self.name!r} is no path below the device, such as power/control"
            )
        if "\0" in self.value or _bytes("attributes", self.value) > VALUE_BYTES:
            raise InvalidParameter(
                "attributes", f"{self.name}: a value has at most {VALUE_BYTES} bytes, and no NUL"
            )


Attributes: TypeAlias = Annotated[list[Attribute], msgspec.Meta(max_length=ATTRIBUTES_AT_MOST)]


class Request(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What all requests have; None stands for the default. Raises InvalidParameter."""

    action: ClassVar[Action]

    owner: str | None = None
    """kept with what is made; a change of it later has to give the same"""
    generation: int | None = None
    """that of the answer to Create: the device must still be that one"""
    force: bool | None = None
    """whether to change what is in use, or belongs to others"""
    dry_run: bool | None = None
    """whether to answer the steps without taking them"""

    def __post_init__(self) -> None:
        if self.owner is not None and not (
            self.owner.isprintable() and 0 < _bytes("owner", self.owner) <= OWNER_BYTES
        ):
            raise InvalidParameter("owner", f"give 1 to {OWNER_BYTES} bytes of printable text")
        if self.generation is not None and self.generation < 0:
            raise InvalidParameter("generation", f"{self.generation} is below 0")
        for field in ("name", "parent", "type"):
            _check_text(field, getattr(self, field, None))
        uuid = getattr(self, "uuid", None)
        if uuid is not None:
            if not is_uuid(uuid):
                raise InvalidParameter("uuid", f"{uuid!r} is no UUID")
            force_setattr(self, "uuid", uuid.lower())


class ForDomain(Request, frozen=True, kw_only=True):
    """What a hook asks for a domain of libvirt, too. Raises InvalidParameter."""

    domain: str | None = None
    """uuid of the domain: it is the owner, and the origin is `domain`; for root alone"""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.domain is None:
            return
        if not is_uuid(self.domain):
            raise InvalidParameter("domain", f"{self.domain!r} is no UUID")
        if self.owner is not None:
            raise InvalidParameter("domain", "the domain is the owner; leave `owner` out")
        force_setattr(self, "domain", self.domain.lower())


class Create(ForDomain, frozen=True, kw_only=True):
    """Create mdevs, or set the profile of functions with vendor VFIO."""

    action = "create"

    type: TypeName
    """id or name, in any form that `fits` takes"""
    names: Annotated[list[Name], msgspec.Meta(max_length=NAMES_AT_MOST)] | None = None
    """parents, functions or cards; None: anywhere"""
    uuid: str | None = None
    """of the mdev; None: a new one"""
    count: Annotated[int, msgspec.Meta(ge=1, le=CREATED_AT_ONCE)] | None = None
    attributes: Attributes | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in self.names or ():
            _check_text("names", name)
        if self.uuid is not None and (self.count or 1) != 1:
            raise InvalidParameter("uuid", f"one UUID is not enough for {self.count} devices")


class Remove(ForDomain, frozen=True, kw_only=True):
    """Remove an mdev, or take away the profile of a function."""

    action = "remove"

    name: Name


class Define(Request, frozen=True, kw_only=True):
    """Write a definition of an mdev, as mdevctl does."""

    action = "define"

    type: TypeName
    parent: Name
    """any name of the parent, or its kernel name if there is no such device"""
    uuid: str | None = None
    """None: a new one"""
    autostart: bool | None = None
    attributes: Attributes | None = None


class Undefine(Request, frozen=True, kw_only=True):
    """Remove the definition of an mdev, which goes on if it is active."""

    action = "undefine"

    name: Name
    parent: Name | None = None
    """tells definitions of one UUID apart"""


class Start(ForDomain, frozen=True, kw_only=True):
    """Create the mdev of a definition."""

    action = "start"

    name: Name
    parent: Name | None = None
    """tells definitions of one UUID apart"""


class Stop(ForDomain, frozen=True, kw_only=True):
    """Remove an mdev that has a definition, which stays."""

    action = "stop"

    name: Name


class Modify(Request, frozen=True, kw_only=True):
    """Change the definition of an mdev; what is None stays as it is."""

    action = "modify"

    name: Name
    parent: Name | None = None
    """tells definitions of one UUID apart"""
    type: TypeName | None = None
    autostart: bool | None = None
    attributes: Attributes | None = None
    """in place of all it has"""
    live: bool | None = None
    """whether the active mdev is changed, too"""
    live_only: bool | None = None
    """whether the active mdev alone is changed, and its definition stays as it is"""


class SetAutostart(Request, frozen=True, kw_only=True):
    """Set whether the mdev of a definition is started along with its parent."""

    action = "set-autostart"

    name: Name
    parent: Name | None = None
    """tells definitions of one UUID apart"""
    autostart: bool


class SetVirtualFunctions(Request, frozen=True, kw_only=True):
    """Set the number of virtual functions of a physical one."""

    action = "set-virtual-functions"

    name: Name
    number: Annotated[int, msgspec.Meta(ge=0, le=FUNCTIONS_AT_MOST)]


class Bind(Request, frozen=True, kw_only=True):
    """Bind a device to a driver."""

    action = "bind"

    name: Name
    driver: Annotated[str, msgspec.Meta(min_length=1, max_length=DRIVER_LENGTH)]
    group: bool | None = None
    """whether all devices of its IOMMU group are bound"""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.driver.isprintable() or "/" in self.driver or self.driver in (".", ".."):
            raise InvalidParameter("driver", f"{self.driver!r} is no name of a driver")


class Unbind(Request, frozen=True, kw_only=True):
    """Give a PCI function back to the host: to the driver that matches it."""

    action = "unbind"

    name: Name
    group: bool | None = None
    """whether all devices of its IOMMU group that a VFIO driver has are given back"""


class ApplyLayout(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Make the host offer what its layout declares: several changes, each a `Request`.

    Raises InvalidParameter.
    """

    action: ClassVar[str] = "apply-layout"

    card: Name | None = None
    """any name of one card, as the tree or a file of the layout has it; None: all cards"""
    wait_seconds: Annotated[float, msgspec.Meta(ge=0, le=LONGEST_WAIT_SECONDS)] | None = None
    """how long to wait for cards, drivers and functions that are not there yet"""
    dry_run: bool | None = None
    """whether to answer the steps without taking them"""

    def __post_init__(self) -> None:
        _check_text("card", self.card)


REQUESTS: Final[Mapping[str, type[Request]]] = {
    kind.__name__: kind
    for kind in (
        *(Create, Remove, Define, Undefine, Start, Stop, Modify, SetAutostart),
        *(SetVirtualFunctions, Bind, Unbind),
    )
}
"""All requests, by the name of their method in org.nodedevd.Control."""

METHODS: Final[Mapping[str, type[msgspec.Struct]]] = {**REQUESTS, "ApplyLayout": ApplyLayout}
"""The parameters of all methods that may change the host."""


def domain_of(request: Request) -> str | None:
    """Return the uuid of the domain for which a hook asks, None if it asks for none."""
    return request.domain if isinstance(request, ForDomain) else None


def owner_of(request: Request) -> str | None:
    """Return whose the device is that a request makes, or changes."""
    return domain_of(request) or request.owner


def claim_of(request: Request) -> Claim:
    """Return as whom a client asks."""
    return Claim(
        origin="client" if domain_of(request) is None else "domain",
        owner=owner_of(request),
        generation=request.generation,
        force=bool(request.force),
    )


def _check_text(field: str, text: str | None) -> None:
    if text is not None and ("\0" in text or "\n" in text):
        raise InvalidParameter(field, f"{text!r} has a line break or a NUL")


def _bytes(field: str, text: str) -> int:
    try:
        return len(text.encode())
    except UnicodeEncodeError as error:
        raise InvalidParameter(field, f"{text!r} is not Unicode") from error
