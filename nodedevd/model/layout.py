"""layout: what layout files say of the cards of a host, and how the cards compare with it.

Values only: `nodedevd/layout` reads the files and compares.
"""

from __future__ import annotations

from typing import Final, Literal, TypeAlias

import msgspec

LayoutState: TypeAlias = Literal["in-sync", "drifted", "blocked", "pending"]
"""in-sync: the card is as its file says; drifted: it differs, and can be changed; blocked: it
differs, and what would have to go is in use or was made by others; pending: the card, its driver or
its functions are not present yet"""

LAYOUT_STATES: Final[tuple[LayoutState, ...]] = ("in-sync", "drifted", "blocked", "pending")


class CardLayout(msgspec.Struct, frozen=True, gc=False):
    """How a card compares with the layout file that names it."""

    state: LayoutState
    """in-sync: as its file says; drifted: it differs, and can be changed; blocked: it differs, and
    cannot be changed now; pending: it, its driver or its functions are not present yet"""
    reasons: tuple[str, ...]
    """in words, why it is not in sync; empty if it is"""
    file: str
    """path of the layout file"""


class AwaitedCard(msgspec.Struct, frozen=True, gc=False):
    """A card that a layout file names, and the host does not have."""

    card: str
    """the card as the file names it, in words"""
    file: str
    """path of the layout file"""
    line: int
    """line of the card in the file, from 1"""


Code: TypeAlias = Literal[
    "unreadable",
    "untrusted",
    "too-large",
    "too-many",
    "malformed",
    "unknown-key",
    "missing-key",
    "bad-value",
    "no-match",
    "several-matches",
    "contradiction",
    "claimed-twice",
    "no-such-card",
    "unknown-type",
    "not-capable",
    "does-not-fit",
]
"""unreadable, too-large, too-many, malformed: of a file as a whole; untrusted: others than root can
change it, so that nothing is done for it; no-match, several-matches: the entry does not say in
exactly one way which card it means; claimed-twice: two entries mean one card, or one UUID;
no-such-card, unknown-type, not-capable, does-not-fit: on this host"""


class Problem(msgspec.Struct, frozen=True):
    """One thing that is wrong, where, and what to write instead."""

    file: str
    """path of the file"""
    line: int | None
    """line in it, from 1; None for the file as a whole"""
    key: str | None
    """the key in its entry, as vgpus[0].type; None for the entry or file as a whole"""
    code: Code
    message: str
    """what is wrong"""
    instead: str
    """what to write, or to do"""

    def __str__(self) -> str:
        line = "" if self.line is None else f":{self.line}"
        key = "" if self.key is None else f" {self.key}:"
        return f"{self.file}{line}:{key} {self.message}; {self.instead}"


class HostLayout(msgspec.Struct, frozen=True, gc=False):
    """What the layout files of a host come to, besides the state of each card."""

    cards: frozenset[str] = frozenset()
    """sysfs paths of the devices that have a `CardLayout`"""
    awaited: tuple[AwaitedCard, ...] = ()
    problems: tuple[Problem, ...] = ()


NO_LAYOUT: Final = HostLayout()
"""That of a host without layout files."""
