"""places: the functions on which a request has vGPUs created."""

from __future__ import annotations

from collections.abc import Iterable, Sequence, Set

from nodedevd.actions.named import parent_named
from nodedevd.actions.requests import Create
from nodedevd.errors import NoRoom, NoSuchDevice, NotPossible
from nodedevd.kinds.mdev_child import MdevChild
from nodedevd.model.device import Device
from nodedevd.model.snapshot import Snapshot
from nodedevd.questions.cards_without_vgpus import cards_without_vgpus
from nodedevd.questions.fits import CardType, Place
from nodedevd.questions.vgpus import vgpu_functions, vgpu_related
from nodedevd.questions.why_not import why_no_vgpus, why_not
from nodedevd.text import abbreviated


def devices_named(snapshot: Snapshot, names: Iterable[str]) -> list[Device]:
    """Return the device of each name. Raises NoSuchDevice."""
    found = []
    for name in names:
        device = parent_named(snapshot, name)
        if device is None:
            raise NoSuchDevice(name, snapshot.nearest(name))
        found.append(device)
    return found


def functions_meant(snapshot: Snapshot, devices: Iterable[Device]) -> frozenset[str]:
    """Return the names of the functions that devices stand for: each itself, or all of a card.

    Raises NotPossible for a device that can have no vGPU.
    """
    functions = list(vgpu_functions(vgpu_related(snapshot)))
    chosen: set[str] = set()
    for device in devices:
        meant = [one.device for one in functions if device.name in (one.device, one.card)]
        if not meant:
            raise _not_capable(snapshot, device)
        chosen.update(meant)
    return frozenset(chosen)


def _not_capable(snapshot: Snapshot, device: Device) -> NotPossible:
    mdev = device.capability(MdevChild)
    if mdev is not None:
        detail = f"it is an mdev; name its parent instead: {mdev.parent or mdev.parent_addr}"
        return NotPossible(device.name, "no-parent", detail)
    for card in cards_without_vgpus(vgpu_related(snapshot)):
        if device.name == card.card or device.name in card.functions:
            return NotPossible(device.name, card.reason, why_no_vgpus(card.reason, card.driver))
    detail = (
        "it creates no vGPUs: it is neither an mdev parent, nor a function with vendor VFIO, nor"
        f" a card with such functions{_driver_of(device)}; `nodedevctl types` lists those that are"
    )
    return NotPossible(device.name, "no-parent", detail)


def _driver_of(device: Device) -> str:
    if device.driver is None:
        return ""
    return f", and its driver {device.driver} has not registered it as one"


def choose_places(
    cards: Sequence[CardType], chosen: Set[str] | None, count: int, *, mdevs_only: bool
) -> list[Place]:
    """Return where each vGPU is made, at most `count` of them; what surely fits comes first.

    Args:
        cards: The cards in the order in which they are filled, those of `fits`.
        chosen: Names of the functions that may be used; None is all.
        count: Number of vGPUs.
        mdevs_only: Whether functions with vendor VFIO are left out.
    """
    free = [free_places(card, chosen, count, mdevs_only=mdevs_only) for card in cards]
    sure = [places[: card.sure] for card, places in zip(cards, free, strict=True)]
    rest = [places[card.sure : card.available] for card, places in zip(cards, free, strict=True)]
    return [place for places in (*sure, *rest) for place in places][:count]


def free_places(
    card: CardType, chosen: Set[str] | None, count: int, *, mdevs_only: bool
) -> list[Place]:
    """Return the places on a card, each as often as it may take one; unknown counts are tried."""
    free: list[Place] = []
    for place in card.functions:
        if chosen is not None and place.name not in chosen:
            continue
        vendor_vfio = place.framework == "vendor-vfio"
        if vendor_vfio and (mdevs_only or place.active):
            continue
        untold = 1 if vendor_vfio else count
        free += [place] * min(count, untold if place.available is None else place.available)
    return free


def no_room(
    request: Create, cards: Sequence[CardType], chosen: Set[str] | None, most: int
) -> NotPossible | NoRoom:
    """Return the error of a request of which `most` vGPUs can be created, with the reasons."""
    meant = [
        card
        for card in cards
        if chosen is None or not card.functions or any(one.name in chosen for one in card.functions)
    ]
    if request.uuid is not None and any(card.framework == "vendor-vfio" for card in meant):
        without = choose_places(cards, chosen, 1, mdevs_only=False)
        if without:
            detail = "a function with vendor VFIO has no UUID; ask for one without a UUID"
            return NotPossible(without[0].name, "no-uuid", detail)
    if most:
        return NoRoom(request.type, f"{request.count} are asked for, and {most} can be created")
    offering = [card for card in meant if card.reason not in (None, "not-offered")] or meant
    reasons = [f"{card.card}: {why_not(card)}" for card in offering]
    if all(card.reason is None for card in offering):  # another function of the card has room
        reasons = [f"none on {abbreviated(sorted(chosen or ()))}"]
    return NoRoom(request.type, "; ".join(reasons[:3]) + (" ..." if len(reasons) > 3 else ""))
