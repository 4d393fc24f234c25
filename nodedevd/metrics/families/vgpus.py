"""vgpus: the vGPUs of each type that a card has, and may still take."""

from __future__ import annotations

from collections.abc import Iterator

from nodedevd.metrics.family import Family, Sample
from nodedevd.metrics.reading import Reading
from nodedevd.questions.fits import CardType

_COUNTS = {
    "available": "Largest number of vGPUs of a type that a card may still take; absent if unknown.",
    "sure": "Number of vGPUs of a type that fit on a card for sure, if no others are created.",
    "active": "vGPUs of a type on a card.",
    "ceiling": "vGPUs of a type that an otherwise empty card takes; absent if unknown.",
}


def count(reading: Reading) -> Iterator[Family]:
    """Yield the counts of `nodedevctl types`, and the size of each type."""
    offered = [one for one in reading.types.types if one.type is not None]
    labels = [_labels(one) for one in offered]
    for name, text in _COUNTS.items():
        samples = [
            Sample(label, value)
            for one, label in zip(offered, labels, strict=True)
            if (value := getattr(one, name)) is not None
        ]
        yield Family(f"nodedev_vgpu_{name}", "gauge", text, tuple(samples))
    yield _framebuffers(offered)


def _labels(one: CardType) -> dict[str, str]:
    framework = one.framework or ""
    return {"card": one.card, **_type_labels(one), "framework": framework}


def _type_labels(one: CardType) -> dict[str, str]:
    return {"type": one.type or "", "type_name": one.type_name or ""}


def _framebuffers(offered: list[CardType]) -> Family:
    """Return the sizes; a type of which two cards report different sizes has none."""
    sizes: dict[tuple[str, ...], set[int]] = {}
    for one in offered:
        if one.facts is not None and one.facts.framebuffer_bytes is not None:
            key = tuple(_type_labels(one).values())
            sizes.setdefault(key, set()).add(one.facts.framebuffer_bytes)
    samples = [
        Sample({"type": type_id, "type_name": name}, min(found))
        for (type_id, name), found in sizes.items()
        if len(found) == 1
    ]
    text = "Memory of a guest with a vGPU of the type; absent if unknown, or different by card."
    return Family("nodedev_vgpu_framebuffer_bytes", "gauge", text, tuple(samples))
