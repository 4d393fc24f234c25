"""journal: what is being changed, written before each step, for whoever starts after a crash.

An entry is one file, replaced as a whole: after any interruption there is either what was before
the step or what was after it. The next start works off what is left; see `recovery`.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Final, Literal, TypeAlias

import msgspec
from msgspec.structs import replace

from nodedevd.actions.ownership import Record
from nodedevd.actions.plan import Plan
from nodedevd.control.directory import Directory
from nodedevd.undecodable import UNDECODABLE

Phase: TypeAlias = Literal["doing", "confirming", "undoing", "left"]
"""doing: the step at the index is being done, those before it are; confirming: all are done, and
the tree has to show it; undoing: the step at the index is being undone, those after it are; left:
what is in `left` could not be undone."""

NO_CARD: Final = "no-card"
_END: Final = ".json"


class Asked(msgspec.Struct, frozen=True):
    """Who has asked for a change."""

    uid: int
    pid: int
    command: str
    """name of its program"""
    speaker: str = ""
    """the process that asks for it; empty if it asks itself"""


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """A change, and how far it is."""

    number: int = 0
    """the name of its file, whatever is in it"""
    plan: Plan
    asked: Asked
    since: str
    """time in UTC, ISO 8601"""
    phase: Phase = "doing"
    index: int = 0
    count: int = 0
    """how many steps it has done, or begun, when they began to be undone"""
    over: tuple[int, ...] = msgspec.field(default=(), name="already")
    """indices of steps that are not, or no longer, for it to undo: somebody else did them first,
    they are undone, or what they made has gone, or is a later change's"""
    left: tuple[str, ...] = ()
    """what could not be undone, in words, with why"""
    replaced: tuple[Record, ...] = ()
    """the records that its own replace: they come back with what they are of"""

    @property
    def locks(self) -> tuple[str, ...]:
        """The cards that it has locked."""
        return locks_of(self.plan)


# Prepared here, since msgspec crashes if two threads prepare a type at once.
_DECODER: Final = msgspec.json.Decoder(Entry)


class Unreadable(msgspec.Struct, frozen=True):
    """A file in the journal that is no entry, of another version, for example."""

    number: int
    detail: str


class Journal:
    """The entries."""

    def __init__(self, directory: Directory) -> None:
        self._directory = directory

    def open(self, plan: Plan, asked: Asked, replaced: tuple[Record, ...] = ()) -> Entry:
        """Write a new entry, under a number that no other has. Raises OSError."""
        entry = Entry(plan=plan, asked=asked, since=now(), replaced=replaced)
        data = msgspec.json.encode(entry)
        number = max(self.numbers(), default=0)
        while True:
            number += 1
            try:
                self._directory.create(f"{number}{_END}", data)
            except FileExistsError:  # another process was faster
                continue
            return replace(entry, number=number)

    def write(self, entry: Entry) -> None:
        """Write an entry in place of what it was. Raises OSError."""
        self._directory.replace(f"{entry.number}{_END}", msgspec.json.encode(entry))

    def remove(self, number: int) -> None:
        """Remove an entry: its change has ended. Raises OSError."""
        self._directory.remove(f"{number}{_END}")

    def read(self, number: int) -> Entry | Unreadable | None:
        """Return one entry; None if it has ended. Raises OSError."""
        data = self._directory.read(f"{number}{_END}")
        if data is None:
            return None
        try:
            return replace(_DECODER.decode(data), number=number)
        except UNDECODABLE as error:
            return Unreadable(number, str(error))

    def numbers(self) -> list[int]:
        """Return the numbers of all entries, oldest first. Raises OSError."""
        names = [name.removesuffix(_END) for name in self._directory.names()]
        return sorted(int(name) for name in names if name.isdecimal())

    def entries(self) -> Iterator[Entry | Unreadable]:
        """Yield all entries, oldest first. Raises OSError."""
        for number in self.numbers():
            entry = self.read(number)
            if entry is not None:
                yield entry


def locks_of(plan: Plan) -> tuple[str, ...]:
    """Return the cards that a plan locks; one that concerns no card has a lock, too."""
    return plan.cards or (NO_CARD,)


def now() -> str:
    """Return the time in UTC, ISO 8601, in whole seconds."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
