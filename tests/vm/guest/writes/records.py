"""What a client asks, what comes of it, and how that is kept."""

from __future__ import annotations

import json
from pathlib import Path
from typing import NamedTuple

DIED = "the daemon has ended"
"""What is astray after a call that the daemon did not survive."""
HANGS = "the daemon hangs"
"""What is astray after a call that leaves the daemon without an answer to any list."""


class Call(NamedTuple):
    """One call, in virsh's words.

    Attributes:
        verb: The command, without `nodedev-`.
        device: The name of the device, for most.
        document: XML, for those that take a file.
        options: Such as `--live`.
        read_only: Whether the connection is a read-only one.
    """

    verb: str
    device: str | None = None
    document: str | None = None
    options: tuple[str, ...] = ()
    read_only: bool = False


class Answer(NamedTuple):
    """What a client made of a call: its exit status and what it printed."""

    status: int
    out: str
    err: str


class Noted(NamedTuple):
    """What came of one call.

    Attributes:
        call: As text: the section, the client's words, the document.
        answer: What the client returned.
        events: In their order: what happened, and the name.
        files: mdevctl's definitions that have changed: their text, or nothing.
        active: The mdevs of the kernel that came (+) and went (-).
        astray: What the daemon shows for good that is not so, and what it does not show.
    """

    call: str
    answer: Answer
    events: list[tuple[str, str]]
    files: dict[str, str | None]
    active: list[str]
    astray: list[str]


def described(section: str, call: Call) -> str:
    """Return a call as a line of text."""
    words = [f"{section}: {call.verb}", call.device, *call.options, call.document]
    return " ".join(
        [word for word in words if word is not None] + (["read-only"] if call.read_only else [])
    )


def keep(noted: list[Noted], path: Path) -> None:
    """Write what was noted to a file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps([one._asdict() for one in noted], indent=1))


def kept(path: Path) -> list[Noted]:
    """Read what was noted."""
    return [
        Noted(
            one["call"],
            Answer(*one["answer"]),
            [(event, name) for event, name in one["events"]],
            one["files"],
            one["active"],
            one["astray"],
        )
        for one in json.loads(path.read_text())
    ]
