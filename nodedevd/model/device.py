"""Device: a node device, as a frozen value."""

from __future__ import annotations

from collections.abc import Iterable, Set
from typing import Any, TypeVar

import msgspec

from nodedevd.errors import InvalidParameter
from nodedevd.host.faults import Fault
from nodedevd.kinds import KIND_OF, WORDS, AnyCapability
from nodedevd.kinds.base import Capability
from nodedevd.model.brief import State
from nodedevd.model.layout import CardLayout

C = TypeVar("C", bound=Capability)


def is_active(path: str | None) -> bool:
    """Return whether a device of this path is active, and not only defined."""
    return path is None or path.startswith("/sys/")


class Device(msgspec.Struct, frozen=True, gc=False):
    """One node device."""

    name: str
    """name by libvirt's rule, unique in a snapshot"""
    path: str | None
    """sysfs path; of an inactive mdev its definition; None for `computer`"""
    parent: str | None
    """name of the nearest ancestor in the tree; None for `computer`"""
    subsystem: str | None
    """the kernel's bus or class"""
    sysname: str | None
    """kernel name, the last part of the path"""
    driver: str | None
    """name of the bound driver"""
    capabilities: tuple[AnyCapability, ...]
    errors: tuple[Fault, ...]
    """attributes that could not be read; a null without an error is a value that is absent"""
    devnode: str | None
    """device node below /dev"""
    devlinks: tuple[str, ...]
    """udev's symbolic links to the device node, sorted"""
    state: State = "active"  # whatever is given: it follows from path and capabilities
    layout: CardLayout | None = None
    """how the card compares with its layout file; None if no file names it"""

    def __post_init__(self) -> None:
        state = _state(self.path, self.capabilities)
        if state != self.state:
            msgspec.structs.force_setattr(self, "state", state)

    def capability(self, kind: type[C]) -> C | None:
        """Return the device's capability of a kind."""
        for capability in self.capabilities:
            if isinstance(capability, kind):
                return capability
        return None

    @property
    def types(self) -> tuple[str, ...]:
        """The types of the device's capabilities."""
        return tuple([_TYPES[type(cap)] for cap in self.capabilities])

    @property
    def active(self) -> bool:
        """Whether the device is present; False if it is only defined."""
        return is_active(self.path)

    def is_unknown(self, attribute: str) -> bool:
        """Return whether an attribute could not be read."""
        return any(error.attribute == attribute for error in self.errors)

    @property
    def is_volatile(self) -> bool:
        """Whether it has values that are read again on request, such as available_instances."""
        for capability in self.capabilities:
            volatile = _VOLATILE.get(type(capability))
            if volatile is not None and volatile(capability):
                return self.active
        return False

    @property
    def words(self) -> frozenset[str]:
        """The words by which a filter selects the device: its types, and parts of them."""
        nested = [
            word
            for capability in self.capabilities
            for word, has in _NESTED.get(type(capability), ())
            if has(capability)
        ]
        return frozenset((*self.types, *nested))

    def passes(self, wanted: Set[str]) -> bool:
        """Whether the device has one of these words; the same as with `words`, in less time."""
        for capability in self.capabilities:
            kind = type(capability)
            if _TYPES[kind] in wanted:
                return True
            for word, has in _NESTED.get(kind, ()):
                if word in wanted and has(capability):
                    return True
        return False


def replaced(device: Device, capabilities: tuple[Capability, ...], driver: str | None) -> Device:
    """Return a device with other capabilities and driver, from which its state follows."""
    after = msgspec.structs.replace(device, capabilities=capabilities, driver=driver)
    after.__post_init__()  # replace calls it since msgspec 0.20
    return after


def public(device: Device) -> Device:
    """Return a device as a user who is not root reads it in sysfs.

    What only root can read is unknown, and `errors` has the refusal. A device without such values
    is returned as it is.
    """
    capabilities = []
    refused: list[str] = []
    for capability in device.capabilities:
        shown, attributes = _PUBLIC.get(type(capability), _all_of)(capability)
        capabilities.append(shown)
        refused += attributes
    if not refused:
        return device
    errors = [Fault(attribute, "refused", "EACCES") for attribute in refused]
    return msgspec.structs.replace(
        device, capabilities=tuple(capabilities), errors=(*device.errors, *errors)
    )


def _all_of(capability: Any) -> tuple[Any, tuple[str, ...]]:
    return capability, ()


def _always(capability: Any) -> bool:
    return True


_PUBLIC = {one: kind.public for one, kind in KIND_OF.items() if kind.public is not None}


_TYPES = {capability: kind.name for capability, kind in KIND_OF.items()}


_NESTED = {one: tuple(kind.nested.items()) for one, kind in KIND_OF.items() if kind.nested}


_REMOVING = {one: kind.removing for one, kind in KIND_OF.items() if kind.removing is not None}


def _state(path: str | None, capabilities: Iterable[AnyCapability]) -> State:
    if not is_active(path):
        return "inactive"
    for capability in capabilities:
        removing = _REMOVING.get(type(capability))
        if removing is not None and removing(capability):
            return "removing"
    return "active"


_VOLATILE = {
    one: kind.volatile or _always
    for one, kind in KIND_OF.items()
    if kind.reread_volatile is not None
}


def filter_words(words: Iterable[str]) -> frozenset[str]:
    """Return the kinds and parts that words of a filter stand for, for `Device.passes`.

    Raises InvalidParameter.
    """
    wanted = set()
    for word in words:
        if word not in WORDS:
            raise InvalidParameter(
                "capabilities", f"unknown capability {word!r}; known: {', '.join(WORDS)}"
            )
        wanted.add(WORDS[word])
    return frozenset(wanted)
