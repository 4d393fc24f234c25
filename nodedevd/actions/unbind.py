"""unbind: gives a PCI function back to the host: to whatever driver matches it.

driver_override is cleared, the driver for guests is unbound, and the function is probed. With no
driver loaded that matches, the function has none afterwards. One that has a driver of the host
keeps it, and one that nobody has reserved stays without.

ABI    Documentation/ABI/testing/sysfs-bus-pci
"""

from __future__ import annotations

from collections.abc import Iterator

from nodedevd.actions.drivers import (
    cards_of,
    check_can_leave,
    check_claims,
    check_group_is_closed,
    losses,
    members_of,
    rebind,
)
from nodedevd.actions.facts import ActionFacts
from nodedevd.actions.functions import Function, function_named, is_for_guests, override_of
from nodedevd.actions.plan import Expected, OverrideDriver, Plan, Step
from nodedevd.actions.requests import Unbind
from nodedevd.model.snapshot import Snapshot


def plan(snapshot: Snapshot, facts: ActionFacts, request: Unbind) -> Plan:
    """Return how a function, or its whole IOMMU group, goes back to the host.

    Raises NoSuchDevice, NotPossible, DeviceInUse, OwnedByOther, MadeByOther, Changed.
    """
    function = function_named(snapshot, request.name)
    claim = facts.claim(request)
    named = [function]
    if request.group:
        named += [one for one in members_of(snapshot, function) if one.path != function.path]
    returned = [one for one in named if _is_kept_from_host(one, facts)]
    check_claims(named, facts, claim)
    if returned:
        check_can_leave(snapshot, returned, facts, claim)
        check_group_is_closed(snapshot, function, facts, claim)
    steps = [step for one in named for step in _steps(one, facts)]
    return Plan(
        action=request.action,
        cards=cards_of(named),
        steps=tuple(steps),
        expected=tuple(_expected(one) for one in named),
        forgotten=tuple(one.path for one in named if one.path in facts.records),
        forced=claim.force,
        notes=(*losses(snapshot, returned, facts), *_notes(returned)),
    )


def _is_kept_from_host(function: Function, facts: ActionFacts) -> bool:
    driver = function.device.driver
    return is_for_guests(driver) or (driver is None and override_of(function, facts) is not None)


def _steps(function: Function, facts: ActionFacts) -> Iterator[Step]:
    if _is_kept_from_host(function, facts):
        yield from rebind(function, None, facts)
        return
    override = override_of(function, facts)
    if override is not None:
        yield OverrideDriver(function.path, None, override)


def _expected(function: Function) -> Expected:
    """Return what is known beforehand: which driver comes is for the kernel to say."""
    not_driver = function.device.driver if is_for_guests(function.device.driver) else None
    return Expected(path=function.path, active=True, not_driver=not_driver)


def _notes(returned: list[Function]) -> Iterator[str]:
    if returned:
        names = ", ".join(one.name for one in returned)
        yield f"{names}: gets the loaded driver that matches; without one it has none afterwards"
