"""capacity: how many more vGPUs of a type a card can hold, and how many it holds for sure.

docs/capacity.md explains the rules, with an example for each framework and mode.

The functions of a card share what a vGPU takes: memory, or GPU instances. The counts of several
functions cannot be added up, since each of sixteen may report 1 when two vGPUs fit. So there
are two numbers: `available`, which is never less than what can be created, and `sure`, which is
never more.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from nodedevd.questions.vgpus import Offer, VgpuFunction


class Room(NamedTuple):
    """The room of a card for vGPUs of a type."""

    available: int | None
    """the largest number that may still be created; None if it is unknown"""
    sure: int
    """the number that can be created for sure, if no other vGPU is created first"""


def room(functions: Sequence[VgpuFunction], offers: Sequence[tuple[VgpuFunction, Offer]]) -> Room:
    """Return the room of a card.

    Args:
        functions: All functions of the card.
        offers: The functions that offer the type, or hold a vGPU of it, each with its offer.
    """
    counted = sum(offer.available or 0 for _, offer in offers)
    unknown = any(not function.known for function in functions if function.framework != "mdev")
    unknown = unknown or any(offer.available is None for _, offer in offers)
    if len(functions) == 1:
        return Room(None if unknown else counted, counted)
    limit = limit_by_sharing(functions, offers)
    if counted:
        # One always fits where the driver reports an available instance.
        limit = limit if limit is None else max(1, limit)
        sure = min(counted, _sure(functions, offers))
    else:
        sure = 0
    if limit is not None and counted >= limit:
        return Room(limit, sure)
    return Room(None if unknown else counted, sure)


def ceiling(offers: Sequence[tuple[VgpuFunction, Offer]]) -> int | None:
    """Return how many vGPUs of the type an otherwise empty card holds, by the driver's word."""
    known = (one.facts.max_instances for _, one in offers if one.facts is not None)
    return next((most for most in known if most is not None), None)


# -- never less than can be created --------------------------------------------------------


def limit_by_sharing(
    functions: Sequence[VgpuFunction], offers: Sequence[tuple[VgpuFunction, Offer]]
) -> int | None:
    """Return a limit by what the functions of a card share; None if nothing is known of it.

    The arguments are those of `room`. What the functions report as available is not used, so that
    a card can be asked about that holds other vGPUs than it does.
    """
    most = ceiling(offers)
    if most is None:
        return None
    offer = offers[0][1]
    taken = _taken(functions)
    if _slices(offer) is not None:
        return _limit_by_gpu_instances(functions, offer, most, taken)
    size = _size(offer)
    if size is None:
        return max(0, most - sum(count for one, count in taken if one.id == offer.id))
    alike = sum(count for one, count in taken if _size(one) == size and _slices(one) is None)
    used = sum((_size(one) or 0) * count for one, count in taken)
    return max(0, min(most - alike, (_memory(functions) - used) // size))


def _limit_by_gpu_instances(
    functions: Sequence[VgpuFunction], offer: Offer, most: int, taken: Sequence[tuple[Offer, int]]
) -> int:
    """Return how many vGPUs of a MIG-backed type the GPU can still be divided into.

    Each takes a GPU instance of its own, or shares one with others of its type.
    """
    slices = _slices(offer) or 1
    total = max(
        max(own, own * (one.facts.max_instances or 0))
        for function in functions
        for one in function.offers
        if (own := _slices(one)) is not None and one.facts is not None
    )
    sharing = _sharing(offer, total)
    alike = sum(count for one, count in taken if one.id == offer.id)
    elsewhere = 0
    for one, count in taken:
        own, others_sharing = _slices(one), _sharing(one, total)
        may_share = own == slices and max(sharing, others_sharing) > 1
        if own is not None and one.id != offer.id and not may_share:
            elsewhere += own * -(-count // others_sharing)
    left = max(0, total - elsewhere) // slices
    return max(0, min(most, left * sharing) - alike)


def _sharing(offer: Offer, total: int) -> int:
    """Return how many vGPUs of a MIG-backed type share a GPU instance, usually 1."""
    most = None if offer.facts is None else offer.facts.max_instances
    instances = max(1, total // (_slices(offer) or 1))
    return 1 if most is None else max(1, -(-most // instances))


def _memory(functions: Sequence[VgpuFunction]) -> int:
    """Return an upper bound of the bytes that the card has for vGPUs, from its types.

    The type that fills the card best bounds it: one more of it would not fit.
    """
    sizes = [
        (size * one.facts.max_instances, size)
        for function in functions
        for one in function.offers
        if one.facts is not None
        and one.facts.max_instances is not None
        and (size := _size(one)) is not None
        and _slices(one) is None
    ]
    filled = max(sizes)[0] if sizes else 0
    return filled + min([size for total, size in sizes if total == filled], default=1) - 1


# -- never more than can be created ---------------------------------------------------------


def _sure(functions: Sequence[VgpuFunction], offers: Sequence[tuple[VgpuFunction, Offer]]) -> int:
    """Return how many vGPUs fit for sure on a card on which a function reports that one fits."""
    most = ceiling(offers)
    offer = offers[0][1]
    size = _size(offer)
    taken = _taken(functions)
    if most is None or size is None or _slices(offer) is not None:
        return 1
    if any(_size(one) != size for one, _ in taken) or any(one.untyped for one in functions):
        return 1  # the free memory may be fragmented
    if not taken or not _equal_sizes_only(offers):
        # In mixed-size mode fewer fit: NVIDIA's tables have the largest power of two.
        most = 1 << (most.bit_length() - 1) if most > 0 else 0
    return max(1, most - sum(count for _, count in taken))


def _equal_sizes_only(offers: Sequence[tuple[VgpuFunction, Offer]]) -> bool:
    """Return whether a card with vGPUs proves to be in equal-size mode.

    Where one more fits, so do smaller ones of the same series, unless the sizes must be equal.
    """
    for function, offer in offers:
        size = _size(offer)
        if not offer.available or size is None:
            continue
        smaller = [
            one.available
            for one in function.offers
            if (_size(one) or size) < size
            and _slices(one) is None
            and _series(one) == _series(offer)
        ]
        if smaller and not any(count != 0 for count in smaller):
            return True
    return False


def _taken(functions: Sequence[VgpuFunction]) -> list[tuple[Offer, int]]:
    """Return the types of the vGPUs on the card, and the number of each."""
    found: dict[str, tuple[Offer, int]] = {}
    for function in functions:
        for one in function.offers:
            if one.active:
                found[one.id] = one, one.active + found.get(one.id, (one, 0))[1]
    return list(found.values())


def _size(one: Offer) -> int | None:
    facts = one.facts
    return None if facts is None else facts.framebuffer_bytes or facts.nominal_bytes or None


def _slices(one: Offer) -> int | None:
    return None if one.facts is None else one.facts.gpu_instance_slices


def _series(one: Offer) -> bool | None:
    """Return what decides with which series a vGPU shares a GPU: C keeps to itself."""
    letter = None if one.facts is None else one.facts.class_letter
    return None if letter is None else letter == "C"
