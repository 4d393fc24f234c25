"""drivers: what bind and unbind have in common: which function may leave its driver, and how.

ABI    Documentation/ABI/testing/sysfs-bus-pci
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from msgspec.structs import replace

from nodedevd.actions.facts import ActionFacts
from nodedevd.actions.functions import (
    BUS,
    Function,
    check_binding,
    functions_at,
    is_for_guests,
    override_of,
)
from nodedevd.actions.host_use import notes_on_open, refuse_if_open_by_anyone, refuse_if_used
from nodedevd.actions.ownership import Claim
from nodedevd.actions.plan import BindDriver, OverrideDriver, Step, UnbindDriver
from nodedevd.errors import NotPossible
from nodedevd.model.snapshot import Snapshot
from nodedevd.questions.hostdev.losses import loses
from nodedevd.questions.vgpus import card_of
from nodedevd.text import abbreviated


def check_claims(functions: Sequence[Function], facts: ActionFacts, claim: Claim) -> None:
    """Refuse to change functions that were bound to a driver, or reserved, for somebody else.

    Raises NotPossible, OwnedByOther, MadeByOther, Changed.
    """
    for position, function in enumerate(functions):
        # A generation is that of the device that was asked for.
        own = claim if position == 0 else replace(claim, generation=None)
        check_binding(function, facts, own)


def check_can_leave(
    snapshot: Snapshot, functions: Sequence[Function], facts: ActionFacts, claim: Claim
) -> None:
    """Refuse to take functions away from drivers that others depend on, or that are in use.

    Raises NotPossible, DeviceInUse.
    """
    for function in functions:
        _check_hardware(function)
    refuse_if_used(snapshot, [one.device for one in functions], facts, claim)


def check_group_is_closed(
    snapshot: Snapshot, function: Function, facts: ActionFacts, claim: Claim
) -> None:
    """Refuse a driver of the host while a guest has another member of the IOMMU group.

    Raises DeviceInUse.
    """
    for member in members_of(snapshot, function):
        refuse_if_open_by_anyone(member.device, facts, claim)


def members_of(snapshot: Snapshot, function: Function) -> Iterator[Function]:
    """Yield the PCI functions of an IOMMU group that VFIO does not ignore, this one included."""
    group = function.pci.iommu_group
    addresses = () if group is None else group.devices
    for member in functions_at(snapshot, addresses):
        if member.pci.bridge is None:
            yield member


def rebind(function: Function, driver: str | None, facts: ActionFacts) -> Iterator[Step]:
    """Yield the steps that bind a function to a driver; None is any that matches."""
    override, now = override_of(function, facts), function.device.driver
    if override != driver:
        yield OverrideDriver(function.path, driver, override)
    if now is not None:
        yield UnbindDriver(function.path, BUS, now, override)
    not_driver = now if driver is None and is_for_guests(now) else None
    yield BindDriver(function.path, BUS, driver, not_driver)


def cards_of(functions: Iterable[Function]) -> tuple[str, ...]:
    """Return the names of the cards of functions."""
    return tuple(sorted({card_of(one.device) for one in functions}))


def losses(snapshot: Snapshot, functions: Sequence[Function], facts: ActionFacts) -> Iterator[str]:
    """Yield notes on what the host loses when functions leave their drivers, and on guests."""
    for function in functions:
        driver = function.device.driver
        names = [] if driver is None else loses(snapshot, function.device, facts.assignment)
        if names:
            yield (
                f"without the driver {driver} of {function.name}, the host loses"
                f" {abbreviated(names)}"
            )
    yield from notes_on_open(snapshot, [one.device for one in functions], facts)


def _check_hardware(function: Function) -> None:
    if function.pci.bridge is not None:
        detail = "it is a bridge, whose driver serves the devices behind it; name one of these"
        raise NotPossible(function.name, "bridge", detail)
    functions = function.pci.virtual_functions
    if functions is not None and functions.addresses:
        detail = (
            f"it has virtual functions, {abbreviated(functions.addresses)}, which depend on its"
            f" driver; disable them first: nodedevctl vfs {function.name} 0"
        )
        raise NotPossible(function.name, "vfs-enabled", detail)
