"""context: what changes of a host share, whoever asks for them: files, processes, limits, hooks."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Literal, Protocol, TypeAlias

from nodedevd.actions.plan import Expected, Step
from nodedevd.control.directory import Directory
from nodedevd.control.journal import Asked, Entry, Journal
from nodedevd.control.locks import Locks
from nodedevd.control.records import Records
from nodedevd.control.steps.base import Ran
from nodedevd.host.sysroot import Sysroot
from nodedevd.model.snapshot import Snapshot

Result: TypeAlias = Literal["done", "already", "refused", "unknown", "undone", "left"]
"""What came of a step. already: somebody else did it first; unknown: the process that wrote ended
before the driver answered; left: it could not be undone."""


class View(Protocol):
    """The tree of the host, as the reader shows it."""

    def snapshot(self) -> Snapshot:
        """Return a tree that was read after this call began. Raises NodedevError, OSError."""

    def known(self) -> Snapshot:
        """Return the tree that is at hand, which may be late. Raises NodedevError, OSError."""

    def wait(self, expected: tuple[Expected, ...], seconds: float) -> Snapshot | None:
        """Return the first tree that shows all of it, None if that takes too long."""


class Write(Protocol):
    """Writes to one attribute; see `Writers.write`."""

    def __call__(self, card: str, path: str, value: str, locks: Sequence[int]) -> None:
        """Write, and wait for the answer, which may never come."""


class RunLocked(Protocol):
    """Runs a program; see `programs.run`."""

    def __call__(
        self, argv: Sequence[str], *, stdin: bytes, timeout: float | None, locks: Sequence[int]
    ) -> Ran:
        """Run it to its end."""


@dataclass
class Context:
    """What changes of one host share."""

    sysroot: Sysroot
    view: View
    directory: str
    """where journal, records and locks are, such as /run/nodedevd/control"""
    write: Write
    run: RunLocked
    kept_closed: Callable[[str], AbstractContextManager[None]]
    write_seconds: float = 30.0
    """how long a driver may take for a step until it counts as hanging"""
    look_seconds: float = 60.0
    """how long a look at the host may take before anything is changed"""
    confirm_seconds: float = 10.0
    """how long the tree may take to show a change"""
    lock_seconds: float = 10.0
    """how long a change waits for another one of the same card"""
    at: Callable[[str], None] = lambda point: None
    """called with the name of each point at which a crash makes a difference; see `Change`"""
    told: Callable[[Entry, Step, Result, str], None] = lambda entry, step, result, detail: None
    """called with what came of each step, and why"""
    ended_late: Callable[[Asked, object], None] = lambda asked, result: None
    """called with the Outcome or error of a change whose client has been answered before"""
    pause: Callable[[float], None] = time.sleep
    journal: Journal = field(init=False)
    records: Records = field(init=False)
    locks: Locks = field(init=False)

    def __post_init__(self) -> None:
        """Open the directories. Raises OSError, UnsafePath."""
        Directory(self.directory).close()
        self.journal = Journal(Directory(os.path.join(self.directory, "journal")))
        records = Directory(os.path.join(self.directory, "records"))
        self.records = Records(records, self.sysroot.root)
        self.locks = Locks(Directory(os.path.join(self.directory, "locks")), self.pause)
