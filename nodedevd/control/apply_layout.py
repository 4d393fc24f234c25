"""apply_layout: makes all cards of a host as its layout declares them, several at a time."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Final, NamedTuple, Protocol, TypeAlias

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
from nodedevd.layout.problem import Problem
from nodedevd.layout.wanted import WantedCard
from nodedevd.model.snapshot import Snapshot

CARDS_AT_ONCE: Final = 8
SETTLE_SECONDS: Final = 0.2
"""How long nothing is looked at after a change: they come in bursts."""


_Key: TypeAlias = tuple[str, int, str, str | None]
"""File and line of an entry, how it names its card, and the card: one line may have two entries."""


class _Made(NamedTuple):
    """What came of a card."""

    entry: WantedCard
    answer: LayoutCard


class Changing(Protocol):
    """The tree of the host; see `View`."""

    def snapshot(self) -> Snapshot:
        """Return the tree of this moment. Raises NodedevError, OSError."""

    def wait_for_change(self, generation: int, seconds: float) -> None:
        """Wait until there is a newer tree than that, at most so many seconds."""


def apply_layout(
    host: LayoutHost,
    view: Changing,
    request: ApplyLayout,
    waiting: Callable[[], AbstractContextManager[object]] = nullcontext,
) -> LayoutOutcome:
    """Make cards as their entries declare them.

    Blocks. It waits for cards that are pending as long as the request says, and makes each as soon
    as it is there; `waiting` is entered for as long as nothing is done. The files are read at each
    look. Raises NoSuchDevice if no entry means the card that is named, and NodedevError, OSError
    for a tree that cannot be read.
    """
    until = time.monotonic() + (request.wait_seconds or 0)
    found: dict[_Key, _Made] = {}
    while True:
        snapshot = view.snapshot()
        entries, problems = read_declared(host.context.sysroot.root)
        try:
            cards = cards_of(entries, snapshot, host.facts(snapshot), request.card)
        except NoSuchDevice:
            if not found:
                raise
            cards = []  # it, or its entry, has gone since the last look
        made = _made(host, cards, found)
        found = {**_missed(entries, problems, made, found), **made}
        left = until - time.monotonic()
        if left <= 0 or not any(one.answer.state == "pending" for one in found.values()):
            break
        with waiting():
            view.wait_for_change(snapshot.generation, left)
            time.sleep(min(SETTLE_SECONDS, max(0.0, until - time.monotonic())))
    return LayoutOutcome(
        generation=snapshot.generation,
        dry_run=False,
        cards=tuple([one.answer for one in found.values()]),
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


def _key(card: Difference) -> _Key:
    return card.file, card.line, str(card.match), card.card


def _missed(
    entries: Iterable[WantedCard],
    problems: Sequence[Problem],
    made: Iterable[_Key],
    found: Mapping[_Key, _Made],
) -> dict[_Key, _Made]:
    """Return what was found before and is not there now, for a moment perhaps.

    A file is wrong, or the name of the request means no card. Entries that are gone are left out.
    """
    there = {key[:3] for key in made}
    declared = {(one.file, one.line, str(one.match)) for one in entries}
    return {
        key: one
        for key, one in found.items()
        if key[:3] not in there and (problems or key[:3] in declared)
    }


def _made(
    host: LayoutHost,
    cards: Sequence[tuple[WantedCard, Difference]],
    found: Mapping[_Key, _Made],
) -> dict[_Key, _Made]:
    """Make those cards that were not found at the last look; return what came of all of them.

    Found are those whose entry is the same, and that could be finished.
    """
    made = {key: found.get(key) for key in (_key(one) for _, one in cards)}
    to_do = [
        (entry, one)
        for entry, one in cards
        if (before := made[_key(one)]) is None
        or before.entry != entry
        or before.answer.state == "pending"
    ]
    for (entry, one), answer in zip(to_do, apply_cards(host, to_do), strict=True):
        before = made[_key(one)]
        if before is not None:
            answer = replace(
                answer,
                steps=before.answer.steps + answer.steps,
                refusals=before.answer.refusals + answer.refusals,
            )
        made[_key(one)] = _Made(entry, answer)
    return {key: one for key, one in made.items() if one is not None}
