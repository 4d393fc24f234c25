"""compare: what differs on a host from what a layout wants. A pure function of the devices.

What is found can be done in its order, and when it is done, the host is compared again: virtual
functions have to be there before they can be bound, or hold anything.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from nodedevd.layout.card import Card, devices_meant, holder_of
from nodedevd.layout.check import why_never
from nodedevd.layout.difference import AnyDifference, BindFunction, Difference, SetFunctions, State
from nodedevd.layout.facts import LayoutFacts
from nodedevd.layout.vgpus import VgpuComparison, removal
from nodedevd.layout.wanted import Layout, WantedCard
from nodedevd.layout.words import all_words
from nodedevd.model.device import Device
from nodedevd.model.snapshot import Snapshot
from nodedevd.questions.vgpus import type_of
from nodedevd.text import abbreviated

NO_FACTS = LayoutFacts()


def compare_layout(
    layout: Layout, snapshot: Snapshot, facts: LayoutFacts = NO_FACTS
) -> tuple[Difference, ...]:
    """Return how a host differs from a layout: one answer for each card that is meant or missing.

    A card that two entries mean is left as it is, and blocked for both.
    """
    return wanted_once([one for card in layout.cards for one in compare(card, snapshot, facts)])


def wanted_once(found: Sequence[Difference]) -> tuple[Difference, ...]:
    """Return the answers of all entries; a card that two entries mean is blocked for both."""
    times = Counter(one.card for one in found if one.card is not None)
    answers = []
    for one in found:
        if one.card is not None and times[one.card] > 1:
            others = [
                f"{other.file}:{other.line}"
                for other in found
                if other.card == one.card and other is not one
            ]
            reason = f"{abbreviated(others)} wants {one.card}, too; name each card in one entry"
            one = _answer_of(one, "blocked", reason)
        answers.append(one)
    return tuple(answers)


def compare(
    card: WantedCard,
    snapshot: Snapshot,
    facts: LayoutFacts = NO_FACTS,
    known: Mapping[str, Difference] | None = None,
) -> tuple[Difference, ...]:
    """Return how each card that an entry means differs; one answer without a card if none is there.

    Args:
        card: The entry.
        snapshot: The devices of the host.
        facts: Who uses them, as far as it is known.
        known: Answers of before that still hold, by the names of the cards.
    """
    known = known or {}
    devices = devices_meant(card.match, snapshot)
    if not devices:
        reason = f"there is no device {card.match}"
        return (Difference(card.file, card.line, card.match, None, "pending", (reason,)),)
    return tuple(
        [
            known.get(one.name) or _Comparison(card, Card(one, snapshot), facts).answer()
            for one in devices
        ]
    )


def _answer_of(one: Difference, state: State, reason: str) -> Difference:
    return Difference(one.file, one.line, one.match, one.card, state, (reason,))


class _Comparison:
    """One card, and what was found so far."""

    def __init__(self, wanted: WantedCard, card: Card, facts: LayoutFacts) -> None:
        self._wanted = wanted
        self._card = card
        self._facts = facts
        self._differences: list[AnyDifference] = []
        self._blocked: list[str] = []
        self._pending: list[str] = []
        self._later: list[str] = []

    def answer(self) -> Difference:
        """Return how the card differs."""
        self._blocked += why_never(self._wanted, self._card, is_prepared=False)
        if not self._blocked and self._functions() and self._drivers():
            vgpus = VgpuComparison(self._wanted, self._card, self._facts)
            self._differences += vgpus.differences
            self._blocked += vgpus.blocked
            self._pending += vgpus.pending
            self._later += vgpus.later
        state: State = "in-sync"
        if self._differences:
            state = "drifted"
        elif self._blocked:
            state = "blocked"
        elif self._pending:
            state = "pending"
        return Difference(
            file=self._wanted.file,
            line=self._wanted.line,
            match=self._wanted.match,
            card=self._card.name,
            state=state,
            reasons=tuple(dict.fromkeys([*self._blocked, *self._pending])),
            differences=tuple(self._differences),
            later=tuple(self._later) if self._differences else (),
        )

    # -- virtual functions ------------------------------------------------------------------

    def _functions(self) -> bool:
        """Compare the number of virtual functions; return whether what is on them can be, too."""
        wanted = self._wanted.virtual_functions
        if wanted is None:
            return True
        card, sriov = self._card.device, self._card.sriov
        if sriov is None and not wanted:
            return True
        if sriov is None or (wanted == "all" and sriov.maximum is None):
            self._pending.append("its sriov_totalvfs cannot be read")
            return False
        number = (sriov.maximum or 0) if wanted == "all" else wanted
        if len(sriov.addresses) == number:
            missing = self._card.functions.count(None)
            if missing:
                self._pending.append(f"{missing} of its virtual functions are not in the tree yet")
            return not missing
        if card.driver is None:
            self._pending.append("no driver is bound to it")
            return False
        self._set_functions(number, len(sriov.addresses))
        return False

    def _set_functions(self, number: int, before: int) -> None:
        functions = [one for one in self._card.functions if one is not None]
        held = [one for one in self._card.held if one.name != self._card.name]
        held = [one for one in held if not self._is_on_card(one)]
        if any(map(self._is_left_alone, held)):
            names = abbreviated([one.name for one in held])
            self._blocked.append(
                f"its {before} virtual functions hold {names}, and are all taken away before there"
                f" can be {number}"
            )
            return
        never = why_never(self._wanted, self._card, is_prepared=True) if held else ()
        if never:
            self._blocked += never
            return
        why = self._facts.why_kept([*held, *functions])
        if why is not None:
            self._blocked.append(f"its virtual functions cannot be taken away: {why}")
            return
        self._differences += [removal(one) for one in held]
        self._differences.append(SetFunctions(self._card.name, number, before))
        self._later += all_words(self._wanted, driver=True)

    def _is_left_alone(self, vgpu: Device) -> bool:
        """Return whether the entry does not let a vGPU be removed, whatever else changes."""
        return (
            not self._wanted.remove_unnamed
            or type_of(vgpu) is None
            or holder_of(vgpu) in self._card.spare_names(self._wanted.spare)
            or vgpu.sysname in [one.uuid for one in self._wanted.mdevs if not one.active]
        )

    def _is_on_card(self, vgpu: Device) -> bool:
        """Return whether a vGPU is on the physical function itself."""
        return (vgpu.path or "").rpartition("/")[0] == self._card.device.path

    # -- drivers ------------------------------------------------------------------------------

    def _drivers(self) -> bool:
        """Compare the drivers; return whether what the functions hold can be compared, too."""
        driver = self._wanted.driver
        if driver is None:
            return True
        complete = True
        for one in self._to_bind():
            if one.driver == driver:
                continue
            complete = False
            why = self._facts.why_kept([one])
            holds = [vgpu.name for vgpu in self._card.held if self._is_of(vgpu, one)]
            if holds:
                why = f"it holds {abbreviated(holds)}"
            elif one is self._card.device and self._card.functions:
                why = f"its {len(self._card.functions)} virtual functions would go with its driver"
            if why is not None:
                self._blocked.append(f"{one.name} cannot be bound to {driver}: {why}")
            else:
                self._differences.append(BindFunction(one.name, driver, one.driver))
        if not complete:
            self._later += all_words(self._wanted, driver=False)
        return complete

    def _to_bind(self) -> list[Device]:
        if self._wanted.virtual_functions is None:
            return [self._card.device]
        spare = self._card.spare_names(self._wanted.spare)
        return [one for one in self._card.functions if one is not None and one.name not in spare]

    @staticmethod
    def _is_of(vgpu: Device, function: Device) -> bool:
        path = vgpu.path or ""
        return path == function.path or path.rpartition("/")[0] == function.path
