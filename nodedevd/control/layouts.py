"""layouts: makes cards as the layout declares them, once each time they or their drivers appear.

A card has appeared if it, its driver, or its registration as a parent of mdevs was not there at
the last look: their directories and links in sysfs have other inodes then. A driver that the entry
itself declares does not count, since to change it is what somebody may do. What was seen of a card
that was as declared outlives the service in a directory below /run. So what somebody changes later
stays as it is, until the card appears again; unless its entry says `keep`.

An entry that comes to the layout of a card that is there already does nothing by itself either: the
service keeps, too, which entries there were, and only the first look of a boot acts on all. A file
that cannot be used for a while is not forgotten.

Nothing is done unless that directory exists: nodedevd-layout.service makes it, and so says that the
administrator wants this.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final, TypeAlias

import msgspec

from nodedevd.actions.answers import LayoutCard, NotApplied
from nodedevd.control.apply_layout import SETTLE_SECONDS, Changing, cards_of
from nodedevd.control.declared import read_declared
from nodedevd.control.seen import Seen
from nodedevd.errors import NodedevError
from nodedevd.host.mdev_paths import MDEV_TYPES
from nodedevd.kinds.mdev_parent import MdevParent
from nodedevd.layout.card import Card
from nodedevd.layout.difference import AnyDifference, Difference
from nodedevd.layout.facts import LayoutFacts
from nodedevd.layout.problem import Problem
from nodedevd.layout.wanted import WantedCard
from nodedevd.model.snapshot import Snapshot

PAUSES: Final = (1.0, 2.0, 5.0, 10.0, 20.0, 40.0, 60.0, 60.0, 60.0, 60.0)
"""Seconds before each further attempt; after the last it is given up, until something changes.

With `keep` it is not: what a VM has open is free some day, and the tree does not show that. Nor is
a look at the host that fails.
"""
LOOK_SECONDS: Final = 60.0
"""How long nothing is looked at if no change is seen."""
KEEP_SECONDS: Final = 5.0
"""How long a card that was put right is left alone, whoever changes it again."""
_UNWANTED_SECONDS: Final = 2.0
"""How long it is not looked whether the directory is there."""
_RUNNING_SECONDS: Final = 1.0
"""How long nothing is looked at while cards are being put right."""
_FILE: Final = "cards"
_log: Final = logging.getLogger(__name__)

Key: TypeAlias = str
"""The card of an entry: its name, or else how the entry names what is missing."""
Inodes: TypeAlias = dict[str, int]
"""What has appeared of a card, by sysfs path."""


class _Kept(msgspec.Struct):
    """What outlives the service."""

    cards: dict[Key, Inodes]
    """what there was of each card when it was as declared, or when its entry came"""
    entries: list[str] | None = None
    """how the entries name their cards; None before files could be read"""


@dataclass
class _Try:
    """A card that is not as declared, and what came of putting it right."""

    entry: WantedCard
    difference: Difference
    is_wanted: bool
    """whether it is put right without being asked"""
    inodes: Inodes = field(default_factory=dict)
    due: float = 0.0
    """on the monotonic clock"""
    tries: int = 0
    detail: str = ""
    is_busy: bool = False

    @property
    def given_up(self) -> bool:
        """Whether it is not tried again unless something changes."""
        return self.tries > len(PAUSES) and not self.entry.keep

    @property
    def waits(self) -> bool:
        """Whether it will be put right as soon as that is possible."""
        return self.is_wanted and not self.given_up


class Layouts:
    """Follows the layout of one host; each card is put right in a thread of its own."""

    def __init__(
        self,
        view: Changing,
        apply: Callable[[WantedCard, Difference], LayoutCard],
        facts: Callable[[Snapshot], LayoutFacts],
        root: str,
        directory: str,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Look at nothing yet.

        Args:
            view: The tree.
            apply: Puts a card right, as far as it can; raises NodedevError, OSError.
            facts: Returns whose the devices are.
            root: The sysroot.
            directory: Where it is kept what was seen; nothing is done unless it exists.
            clock: Seconds, for tests.
        """
        self._view = view
        self._apply = apply
        self._facts = facts
        self._root = root
        self._file = Seen(directory, _FILE, _Kept)
        self._clock = clock
        self._lock = threading.Lock()
        self._stopped = threading.Event()
        self._seen: dict[Key, Inodes] = {}
        self._entries: list[str] | None = None
        """as in `_Kept`"""
        self._tries: dict[Key, _Try] = {}
        self._put_right: dict[Key, float] = {}
        """when each card was put right, on the monotonic clock"""
        self._keeps = False
        self._has_looked = True  # nothing is to be looked at before `run`
        self._problems: tuple[Problem, ...] = ()

    def run(self) -> None:
        """Look, put right, and wait for changes, until `stop`. Blocks."""
        self._has_looked = False
        failures = 0
        while not self._stopped.is_set():
            try:
                with self._lock:
                    is_wanted = self._is_wanted()
                if not is_wanted:
                    self._has_looked = True
                    self._stopped.wait(_UNWANTED_SECONDS)
                    continue
                snapshot = self._view.snapshot()
                seconds = self.look(snapshot)
                for key in self.due():
                    threading.Thread(
                        target=self.put_right, args=(key,), name="layout", daemon=True
                    ).start()
            except (NodedevError, OSError) as error:
                _log.warning("cannot compare the host with its layout: %s", error)
            except Exception:
                _log.exception("cannot compare the host with its layout")
            else:
                failures, self._has_looked = 0, True
                self._view.wait_for_change(snapshot.generation, seconds)
                self._stopped.wait(SETTLE_SECONDS)
                continue
            self._stopped.wait(PAUSES[min(failures, len(PAUSES) - 1)])
            failures += 1

    def stop(self) -> None:
        """Have `run` end with its next look."""
        self._stopped.set()

    @property
    def busy(self) -> bool:
        """Whether the service has to stay: it has yet to look; or a card is put right, or kept.

        What waits for a card or driver does not count: its uevent starts the service.
        """
        with self._lock:
            waits = any(one.is_busy or (one.waits and one.tries) for one in self._tries.values())
            return waits or self._keeps or not self._has_looked

    def not_applied(self) -> tuple[NotApplied, ...]:
        """Return the cards that are not as declared, in the order of their names."""
        with self._lock:
            return tuple(
                NotApplied(
                    entry=str(one.difference.match),
                    card=one.difference.card,
                    state=one.difference.state,
                    detail=one.detail,
                    tries=one.tries,
                    waits=one.waits,
                )
                for _, one in sorted(self._tries.items())
            )

    def look(self, snapshot: Snapshot) -> float:
        """Note which cards have appeared, and which are to be put right.

        Returns the seconds until the next attempt is due. Raises OSError, UnsafePath.
        """
        with self._lock:
            if not self._is_wanted():
                return LOOK_SECONDS
        entries, problems = read_declared(self._root)
        self._report(problems)
        cards = cards_of(entries, snapshot, self._facts(snapshot))
        found = {
            one.card or str(one.match): (entry, one, dict(self._inodes(snapshot, entry, one)))
            for entry, one in cards
        }
        with self._lock:
            # With a problem, an entry that says `keep` may only be out of sight.
            self._keeps = any(entry.keep for entry in entries) or (self._keeps and bool(problems))
            before = (dict(self._seen), self._entries)
            if not problems:  # else what is not found may be in a file that cannot be used now
                self._seen = {key: inodes for key, inodes in self._seen.items() if key in found}
            self._tries = {key: one for key, one in self._tries.items() if key in found}
            for key, (entry, difference, inodes) in found.items():
                self._note(key, entry, difference, inodes)
            self._note_entries(entries, problems)
            if (self._seen, self._entries) != before:
                self._write()
            return self._seconds()

    def due(self) -> list[Key]:
        """Return the cards to put right now. Each has to be given to `put_right`."""
        with self._lock:
            found = [key for key, one in sorted(self._tries.items()) if self._is_due(one)]
            for key in found:
                self._tries[key].is_busy = True
            return found

    def put_right(self, key: Key) -> None:
        """Put a card right, and note what came of it."""
        with self._lock:
            one = self._tries.get(key)
        if one is None:  # the card has gone meanwhile
            return
        detail = self._try(one)
        with self._lock:
            one.is_busy = False
            self._put_right[key] = self._clock()
            if detail is None:
                if self._tries.get(key) is one:
                    del self._tries[key]
                    self._seen[key] = one.inodes
                    self._write()
                return
            one.tries += 1
            one.detail = detail
            if one.given_up:
                _log.error("gave up making %s as its layout declares it: %s", key, detail)
            else:
                one.due = self._clock() + PAUSES[min(one.tries, len(PAUSES)) - 1]

    def _note(self, key: Key, entry: WantedCard, difference: Difference, inodes: Inodes) -> None:
        """Note how a card differs now."""
        known = self._tries.get(key)
        if difference.state == "in-sync":
            if known is None or not known.is_busy:
                self._seen[key] = inodes
                self._tries.pop(key, None)
            return
        seen = self._seen.get(key)
        if seen is None and self._is_new(entry) and difference.state != "pending":
            seen = self._seen[key] = inodes
        appeared = seen is None or any(seen.get(path) != one for path, one in inodes.items())
        is_wanted = entry.keep or appeared
        if known is None:
            known = self._tries[key] = _Try(entry, difference, is_wanted)
            known.due = self._clock()
            if not appeared and key in self._put_right:
                known.due = self._put_right[key] + KEEP_SECONDS
        elif _obstacle(known.difference) != _obstacle(difference) and not known.is_busy:
            known.due, known.tries = self._clock(), 0
        known.entry, known.difference, known.is_wanted = entry, difference, is_wanted
        known.inodes = inodes
        if not known.tries:
            known.detail = "; ".join(difference.reasons) or _detail(known)

    def _is_new(self, entry: WantedCard) -> bool:
        """Return whether an entry was not there at the last look; at the first one, none is."""
        return self._entries is not None and str(entry.match) not in self._entries

    def _note_entries(self, entries: Sequence[WantedCard], problems: Sequence[Problem]) -> None:
        """Note which entries there are, with those that were in a file that has a problem now."""
        if self._entries is None and any(one.code == "unreadable" for one in problems):
            return  # the next look is the first one of what could not be read
        before = (self._entries or ()) if problems else ()
        self._entries = sorted({*before, *[str(one.match) for one in entries]})

    def _is_due(self, one: _Try) -> bool:
        is_free = one.waits and not one.is_busy and bool(one.difference.differences)
        return is_free and one.due <= self._clock()

    def _seconds(self) -> float:
        """Return the seconds until the next attempt, at most `LOOK_SECONDS`."""
        if any(one.is_busy for one in self._tries.values()):
            return _RUNNING_SECONDS
        times = [
            one.due - self._clock()
            for one in self._tries.values()
            if one.waits and one.difference.differences
        ]
        return max(0.0, min([LOOK_SECONDS, *times]))

    def _try(self, one: _Try) -> str | None:
        """Put a card right; return why that is not possible, None if it is as declared."""
        try:
            card = self._apply(one.entry, one.difference)
        except (NodedevError, OSError) as error:
            return str(error)
        except Exception as error:
            _log.exception("cannot make %s as its layout declares it", one.difference.card)
            return f"a defect: {error}"
        if card.state == "in-sync":
            return None
        why = [f"{refusal.change}: {refusal.detail}" for refusal in card.refusals]
        return "; ".join([*card.reasons, *why]) or f"it is {card.state}"

    def _inodes(
        self, snapshot: Snapshot, entry: WantedCard, difference: Difference
    ) -> Iterator[tuple[str, int]]:
        """Yield what has appeared of a card: itself, its driver, its registrations as a parent."""
        device = snapshot.get(difference.card or "")
        if device is None or device.path is None:
            return
        card = Card(device, snapshot)
        paths = [device.path]
        if entry.driver is None or entry.virtual_functions is not None:
            paths.append(f"{device.path}/driver")
        paths += [
            f"{one.path}/{MDEV_TYPES}"
            for one in (device, *card.functions)
            if one is not None and one.capability(MdevParent) is not None
        ]
        for path in paths:
            with suppress(FileNotFoundError, NotADirectoryError):  # it has just gone
                yield path, os.lstat(f"{self._root.rstrip('/')}{path}").st_ino

    def _report(self, problems: tuple[Problem, ...]) -> None:
        """Log what is wrong with the files, once."""
        for one in problems:
            if one not in self._problems:
                _log.warning("%s", one)
        self._problems = problems

    def _is_wanted(self) -> bool:
        """Return whether cards are put right at all; take up what was seen before."""
        if self._file.look():
            kept = self._file.before
            self._seen = {} if kept is None else kept.cards
            self._entries = None if kept is None else kept.entries
            self._tries, self._keeps = {}, False
        return self._file.is_wanted

    def _write(self) -> None:
        self._file.write(_Kept(cards=self._seen, entries=self._entries))


def _obstacle(difference: Difference) -> tuple[str, tuple[str, ...], tuple[AnyDifference, ...]]:
    """Return what has to change before a card that was given up is tried again."""
    return difference.state, difference.reasons, difference.differences


def _detail(one: _Try) -> str:
    if one.is_wanted:
        return "it is about to be put right"
    return "it, or its entry, was changed later; nodedevctl layout apply makes it as declared"
