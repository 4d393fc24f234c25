"""What played drivers share out among the vGPUs of a card: slots, or the memory of a card."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from tests.support.played_card import Held, PlayedCard, PlayedType


class Pool(Protocol):
    """The vGPUs of a card, each with a name, and the room for more.

    `function` is the number of the function; a parent that is a card of its own has number 0.
    """

    def room(self, function: int, type_id: str) -> int:
        """Return how many more of a type the function would create now."""

    def take(self, function: int, type_id: str, name: str) -> bool:
        """Create one; return whether there was room."""

    def release(self, name: str) -> None:
        """Free what this one has taken."""


@dataclass
class Slots:
    """One pool of slots for all types, as mtty, mdpy and mbochs have."""

    total: int
    costs: Mapping[str, int]
    """slots that one of each type takes"""
    taken: dict[str, int] = field(default_factory=dict)

    def room(self, function: int, type_id: str) -> int:
        """Return how many more fit."""
        return (self.total - sum(self.taken.values())) // self.costs[type_id]

    def take(self, function: int, type_id: str, name: str) -> bool:
        """Take the slots of one."""
        if not self.room(function, type_id):
            return False
        self.taken[name] = self.costs[type_id]
        return True

    def release(self, name: str) -> None:
        """Free its slots."""
        del self.taken[name]


@dataclass
class CardMemory:
    """A played card of NVIDIA, whose functions share its memory."""

    card: PlayedCard
    ids: Mapping[str, PlayedType]
    """its types by id"""
    _held: dict[str, Held] = field(default_factory=dict)

    def room(self, function: int, type_id: str) -> int:
        """Return how many more the function would create now."""
        return min(self.card.room(self.ids[type_id]), self.card.free(function))

    def take(self, function: int, type_id: str, name: str) -> bool:
        """Create one, at the first place that is free."""
        if not self.card.create(self.ids[type_id], function, lambda places: places[0]):
            return False
        self._held[name] = self.card.held[-1]
        return True

    def release(self, name: str) -> None:
        """Free its place."""
        held = self._held.pop(name)
        self.card.held = [one for one in self.card.held if one is not held]
