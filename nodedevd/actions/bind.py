"""bind: binds a PCI function to a driver, and for a guest the rest of its IOMMU group, too.

driver_override is set first: from then on no other driver takes the function. VFIO hands out a
group as a whole, so the other members may not keep drivers of the host; it ignores bridges.

ABI    Documentation/ABI/testing/sysfs-bus-pci, Documentation/driver-api/vfio.rst
"""

from __future__ import annotations

from collections.abc import Iterator

from nodedevd.actions.drivers import (
    cards_of,
    check_can_leave,
    check_claims,
    check_group_is_closed,
    losses,
    rebind,
)
from nodedevd.actions.facts import ActionFacts
from nodedevd.actions.functions import (
    UNSAFE_NOIOMMU,
    Function,
    function_named,
    function_of,
    is_for_guests,
    record_of,
)
from nodedevd.actions.plan import Expected, Plan
from nodedevd.actions.requests import Bind
from nodedevd.errors import NotPossible
from nodedevd.kinds.shared.vfio import is_vfio_driver
from nodedevd.model.snapshot import Snapshot
from nodedevd.questions.hostdev.group import Group


def plan(snapshot: Snapshot, facts: ActionFacts, request: Bind) -> Plan:
    """Return how a function, or its whole IOMMU group, is bound to a driver.

    Raises NoSuchDevice, NotPossible, DeviceInUse, OwnedByOther, MadeByOther, Changed.
    """
    function = function_named(snapshot, request.name)
    driver, claim = request.driver, facts.claim(request)
    for_guest = is_vfio_driver(driver)
    group = Group.of(snapshot, function.device, function.pci)
    others = list(_others(group)) if for_guest else []
    moved = [function] if function.device.driver != driver else []
    if moved and others and not request.group:
        raise NotPossible(function.name, "group", _needs_consent(group, others, driver))
    moved += others if request.group else []
    if moved:
        _check_driver(function, driver, facts)
        if for_guest:
            _check_iommu(function, facts)
        check_claims(moved, facts, claim)
        check_can_leave(snapshot, moved, facts, claim)
        if not for_guest:
            check_group_is_closed(snapshot, function, facts, claim)
    devices = [function, *(one for one in moved if one is not function)]
    return Plan(
        action=request.action,
        cards=cards_of(devices),
        steps=tuple(step for one in moved for step in rebind(one, driver, facts)),
        expected=tuple(Expected(path=one.path, active=True, driver=driver) for one in devices),
        records=tuple(record_of(one, driver, facts, claim) for one in moved),
        forced=claim.force,
        notes=(*losses(snapshot, moved, facts), *(_strangers(group) if for_guest else ())),
    )


def _others(group: Group) -> Iterator[Function]:
    """Yield the other members of a group that have a driver of the host."""
    for device in group.leaving:
        member = function_of(device)
        if member is not None and device is not group.device and not is_for_guests(device.driver):
            yield member


def _needs_consent(group: Group, others: list[Function], driver: str) -> str:
    number = None if group.pci.iommu_group is None else group.pci.iommu_group.number
    members = ", ".join(f"{one.name} ({one.device.driver})" for one in others)
    return (
        f"its IOMMU group {number} also has {members}, and a guest gets a group as a whole;"
        f" give group, --group, to bind all of them to {driver}"
    )


def _strangers(group: Group) -> Iterator[str]:
    """Yield notes on members of a group that are no PCI functions, or not in the tree."""
    names = [*group.strangers, *(one.name for one in group.others if function_of(one) is None)]
    if names:
        yield (
            f"its IOMMU group also has {', '.join(names)}, which cannot be bound here: a guest gets"
            " the group only if none of them has a driver of the host"
        )


def _check_driver(function: Function, driver: str, facts: ActionFacts) -> None:
    if driver not in facts.drivers:
        detail = (
            f"no driver {driver} of the PCI bus is loaded, and none is loaded for a client;"
            f" load its module first, as a rule: modprobe {driver}"
        )
        raise NotPossible(function.name, "driver-not-loaded", detail)


def _check_iommu(function: Function, facts: ActionFacts) -> None:
    """Refuse VFIO without an IOMMU, unless it runs in its mode for that."""
    if function.pci.iommu_group is not None or function.device.is_unknown("iommu_group"):
        return
    if facts.attributes.get(UNSAFE_NOIOMMU, "").strip() not in ("Y", "1"):
        detail = (
            "it is in no IOMMU group, without which VFIO does not take it; enable VT-d or AMD-Vi in"
            " the firmware, and boot Intel hosts with intel_iommu=on"
        )
        raise NotPossible(function.name, "no-iommu-group", detail)
