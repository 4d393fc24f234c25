"""problem: what is wrong with a file of a layout, by itself or on a host."""

from __future__ import annotations

from typing import Literal, TypeAlias

import msgspec

from nodedevd.layout.wanted import KeyPath

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


def key_text(path: KeyPath) -> str:
    """Return a place in an entry as text: vgpus[0].type."""
    text = ""
    for part in path:
        if isinstance(part, int):
            text += f"[{part}]"
        else:
            text += f".{part}" if text else part
    return text
