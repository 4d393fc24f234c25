"""apply_layout: makes all cards of a host as its layout declares them, several at a time."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final, Protocol, TypeAlias

from msgspec.structs import replace

from nodedevd.actions.answers import LayoutCard, LayoutOutcome
from nodedevd.actions.plan import Plan
from nodedevd.actions.requests import ApplyLayout, Request
from nodedevd.control.apply_card import LayoutHost, applied, planned
from nodedevd.control.declared import read_declared
from nodedevd.errors import NoSuchDevice
from nodedevd.layout.compare import compare, wanted_once
from nodedevd.layout.difference import Difference
from nodedevd.layout.facts import LayoutFacts
from nodedevd.layout.wanted import WantedCard
from nodedevd.model.snapshot import Snapshot

CARDS_AT_ONCE: Final = 8
SETTLE_SECONDS: Final = 0.2
"""How long nothing is looked at after a change: they come in bursts."""


_Key: TypeAlias = tuple[str, int, str, str | None]
"""File and line of an entry, how it names its card, and the card: one line may have two entries."""


class Changing(Protocol):
    """The tree of the host; see `View`."""

    def snapshot(self) -> Snapshot:
        """Return the tree of this moment. Raises NodedevError, OSError."""

    def wait_for_change(self, generation: int, seconds: float) -> None:
        """Wait until there is a newer tree than that, at most so many seconds."""


def apply_layout(host: LayoutHost, view: Changing, request: ApplyLayout) -> LayoutOutcome:
    """Make cards as their entries declare them.

    Blocks. It waits for cards that are pending as long as the request says, and makes each as soon
    as it is there. Raises NoSuchDevice if no entry means the card that is named, and NodedevError,
    OSError for a tree that cannot be read.
    """
    until = time.monotonic() + (request.wait_seconds or 0)
    entries, problems = read_declared(host.context.sysroot.root)
    found: dict[_Key, LayoutCard] = {}
    while True:
        snapshot = view.snapshot()
        cards = cards_of(entries, snapshot, host.facts(snapshot), request.card)
        answers = apply_cards(host, [one for one in cards if _is_to_do(one[1], found)])
        new = {_key(one): _with_before(one, found) for one in answers}
        found = {key: new.get(key) or found[key] for key in (_key(one) for _, one in cards)}
        left = until - time.monotonic()
        if left <= 0 or not any(one.state == "pending" for one in found.values()):
            break
        view.wait_for_change(snapshot.generation, left)
        time.sleep(min(SETTLE_SECONDS, max(0.0, until - time.monotonic())))
    return LayoutOutcome(
        generation=snapshot.generation,
        dry_run=False,
        cards=tuple(found.values()),
        problems=problems,
    )


def plan_layout(
    root: str,
    snapshot: Snapshot,
    facts: LayoutFacts,
    plan: Callable[[Snapshot, Request], Plan],
    request: ApplyLayout,
) -> LayoutOutcome:
    """Return what would be done for the layout of a host.

    Args:
        root: The sysroot, whose files declare it.
        snapshot: The tree.
        facts: What a comparison needs besides.
        plan: Plans a request of the layout.
        request: Says for which card.

    Raises NoSuchDevice.
    """
    entries, problems = read_declared(root)
    cards = cards_of(entries, snapshot, facts, request.card)
    return LayoutOutcome(
        generation=snapshot.generation,
        dry_run=True,
        cards=tuple([planned(plan, one, snapshot) for _, one in cards]),
        problems=problems,
    )


def cards_of(
    entries: Iterable[WantedCard], snapshot: Snapshot, facts: LayoutFacts, name: str | None = None
) -> list[tuple[WantedCard, Difference]]:
    """Return the cards that the entries mean, and how they differ; of an absent one, that it is.

    With `name`, only the card of this name in the tree or in the entry. Raises NoSuchDevice.
    """
    pairs = [(entry, one) for entry in entries for one in compare(entry, snapshot, facts)]
    answers = wanted_once([one for _, one in pairs])
    found = [(entry, one) for (entry, _), one in zip(pairs, answers, strict=True)]
    if name is None:
        return found
    device = snapshot.find(name)
    names = {name} if device is None else {name, device.name}
    named = [one for one in found if not names.isdisjoint((one[1].card, str(one[1].match)))]
    if not named:
        raise NoSuchDevice(name, snapshot.nearest(name))
    return named


def apply_cards(
    host: LayoutHost, cards: Sequence[tuple[WantedCard, Difference]]
) -> list[LayoutCard]:
    """Make cards as their entries declare them; return what came of each, in their order.

    One that fails, or whose driver hangs, does not keep the others back.
    """
    found: dict[int, LayoutCard] = {}
    waiting = deque(enumerate(cards))
    raised: list[BaseException] = []

    def work() -> None:
        while waiting:
            try:
                number, card = waiting.popleft()
            except IndexError:  # another thread was faster
                return
            try:
                found[number] = applied(host, *card)
            except BaseException as error:
                raised.append(error)

    threads = [
        threading.Thread(target=work, name="layout", daemon=True)
        for _ in range(min(CARDS_AT_ONCE, len(cards)))
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for error in raised:
        raise error
    return [found[number] for number in range(len(cards))]


def _key(card: LayoutCard | Difference) -> _Key:
    entry = card.entry if isinstance(card, LayoutCard) else str(card.match)
    return card.file, card.line, entry, card.card


def _is_to_do(difference: Difference, found: Mapping[_Key, LayoutCard]) -> bool:
    """Return whether a card was not there at the last look, or could not be finished."""
    before = found.get(_key(difference))
    return before is None or before.state == "pending"


def _with_before(card: LayoutCard, found: Mapping[_Key, LayoutCard]) -> LayoutCard:
    """Return what came of a card, with what was done for it before it had to be waited for."""
    before = found.get(_key(card))
    if before is None:
        return card
    return replace(card, steps=before.steps + card.steps, refusals=before.refusals + card.refusals)
