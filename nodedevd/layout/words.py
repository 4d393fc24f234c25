"""words: what differs from a layout, as sentences for people."""

from __future__ import annotations

from collections.abc import Iterator

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
from nodedevd.layout.wanted import WantedCard, WantedMdev, WantedVgpus


def step_words(one: AnyDifference) -> str:
    """Return what puts a difference right: `set the profile …`."""
    match one:
        case SetFunctions():
            before = f" ({one.before} now)" if one.before else ""
            return f"set {one.number} virtual functions on {one.card}{before}"
        case BindFunction():
            return f"bind {one.function} to {one.driver} (now {one.before or 'without a driver'})"
        case DefineMdev():
            return f"define the mdev {one.uuid} of type {one.type} on {one.parent}"
        case ModifyMdev():
            what = "the definition of " if one.definition else ""
            also = " and the mdev that runs" if one.definition and one.live else ""
            return f"change {what}the mdev {one.uuid} on {one.parent}{also}"
        case StartMdev():
            return f"start the mdev {one.uuid} on {one.parent}"
        case CreateVgpus():
            name = one.type if one.type_name is None else f"{one.type} ({one.type_name})"
            uuid = "" if one.uuid is None else f" with the UUID {one.uuid}"
            at = "" if one.placement is None else f" at placement {one.placement}"
            return f"create {one.count} x {name} on {one.function}{uuid}{at}"
        case RemoveVgpu():
            name = one.type_name or one.type or "of an unknown type"
            return f"remove the vGPU {one.name} ({name})"


def vgpus_words(one: WantedVgpus, count: int | None = None) -> str:
    """Return what creates vGPUs that are wanted."""
    return f"create {one.count if count is None else count} x {one.type}"


def mdev_words(one: WantedMdev) -> str:
    """Return what makes an mdev that is wanted."""
    verbs = ["define"] * one.define + ["start"] * one.active
    return f"{' and '.join(verbs)} the mdev {one.uuid} of type {one.type}"


def all_words(card: WantedCard, *, driver: bool) -> Iterator[str]:
    """Yield what is to do on a card that has nothing of what an entry wants.

    Args:
        card: The entry.
        driver: Whether the driver of the functions is a part of it.
    """
    if driver and card.driver is not None:
        spare = f", all but the last {card.spare}" if card.spare else ""
        yield f"bind the virtual functions{spare} to {card.driver}"
    yield from map(mdev_words, card.mdevs)
    yield from map(vgpus_words, card.vgpus)
