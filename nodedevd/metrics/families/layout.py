"""layout: whether the cards that layout files name are as the files say."""

from __future__ import annotations

from collections.abc import Iterator

from nodedevd.metrics.families.cards import card_label
from nodedevd.metrics.family import Family, Sample
from nodedevd.metrics.reading import Reading
from nodedevd.model.layout import LAYOUT_STATES
from nodedevd.names import device_name, parse_pci


def count(reading: Reading) -> Iterator[Family]:
    """Yield 1 for the state that each card is in, and 0 for the others.

    A card that the host does not have is pending, under the name that it would have.
    """
    states = {
        card_label(reading.snapshot, device): device.layout.state
        for device in reading.snapshot
        if device.layout is not None
    }
    for awaited in () if reading.status.layout is None else reading.status.layout.awaited:
        address = parse_pci(awaited.card)
        name = awaited.card if address is None else device_name("pci", str(address))
        states.setdefault(name, "pending")
    samples = tuple(
        [
            Sample({"card": card, "state": state}, int(states[card] == state))
            for card in sorted(states)
            for state in LAYOUT_STATES
        ]
    )
    text = "Whether a card that a layout file names is in this state: 1 for one of them, else 0."
    yield Family("nodedev_layout_state", "gauge", text, samples)
