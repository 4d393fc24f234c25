"""Any sequence of changes of functions and drivers, crashes and guests: nothing is half, or lost.

A client has what it was told it has, also after starts of the service; what could not be undone is
undone when nobody uses it any more; and whoever had it before has it again.
"""

from __future__ import annotations

import errno
import os
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TypeAlias

import hypothesis.strategies as st
import pytest
from hypothesis import given, settings

from nodedevd.actions.answers import Outcome
from nodedevd.actions.changed import changed_by
from nodedevd.actions.requests import Bind, SetVirtualFunctions, Unbind
from nodedevd.errors import NodedevError, NotConfirmed
from tests.support.acting_host import ActingHost, Killed
from tests.support.left_behind import use
from tests.support.pci_host import NVME, PF, PciRequest
from tests.support.search import examples

DISK = "0000:02:00.0"
OF_HOST = ("nvme", "other")
POINTS = (
    *(f"{point}:{index}" for point in ("doing", "done", "undoing", "undone") for index in range(3)),
    *("journal:1", "journal:2", "confirming", "confirmed", "records", "left", "ended"),
)

State: TypeAlias = tuple[str | None, str | None]
"""A number of functions, or a driver; and whose it is."""


@dataclass(frozen=True)
class Ask:
    """A client asks for a change, and something happens during it."""

    request: PciRequest
    killed_at: str | None = None
    used_at: str | None = None
    """when a guest opens what the change is about"""
    refusals: tuple[int | None, ...] = ()
    blind: bool = False


OWNERS = st.sampled_from(["a", "b"])
REQUESTS = st.one_of(
    st.builds(
        SetVirtualFunctions, name=st.just(PF), number=st.sampled_from([0, 2, 3]), owner=OWNERS
    ),
    st.builds(
        Bind, name=st.just(DISK), driver=st.sampled_from(["vfio-pci", "other"]), owner=OWNERS
    ),
    st.builds(Unbind, name=st.just(DISK), owner=OWNERS),
)
SELDOM = st.one_of(st.none(), st.none(), st.sampled_from(POINTS))
ASKS = st.builds(
    Ask,
    request=REQUESTS,
    killed_at=SELDOM,
    used_at=SELDOM,
    refusals=st.lists(
        st.sampled_from([None, None, errno.EIO, errno.EBUSY, errno.ENODEV]), max_size=6
    ).map(tuple),
    blind=st.booleans(),
)
COMMANDS = st.lists(
    st.one_of(ASKS, ASKS, ASKS, st.sampled_from(["starts", "guests-end"])), min_size=3, max_size=8
)


def as_asked(request: PciRequest, before: State) -> set[State]:
    """Return what may come of a change that works."""
    if isinstance(request, SetVirtualFunctions):
        return {(str(request.number), request.owner if request.number else None)}
    if isinstance(request, Bind):
        return {(request.driver, request.owner)}
    if before[0] in OF_HOST:  # it keeps that
        return {(before[0], None)}
    return {(driver, None) for driver in OF_HOST}


class Host:
    """A card with virtual functions and a disk, their clients, and guests.

    Attributes:
        known: what either may be like, by sysfs path: as it was answered, or before that.
    """

    def __init__(self, directory: Path) -> None:
        self.host = ActingHost(directory)
        self.card = self.host.pci.card()
        self.host.pci.driver("other", NVME)
        self.disk = self.host.pci.function(DISK, driver="nvme", group=5)
        self.known = {path: {self.see(path)} for path in (self.card, self.disk)}

    def do(self, command: Ask | str) -> None:
        """Do one thing, and check that everything agrees."""
        if isinstance(command, Ask):
            self.ask(command)
        elif command == "starts":
            self.host.restart()
        else:
            self.guests_end()
        self.agree()

    def end(self) -> None:
        """All guests end and the service starts twice more: then the journal is empty."""
        self.guests_end()
        for _ in range(2):
            self.host.restart()
        assert self.host.entries() == [], "the journal is empty in the end"
        self.agree()

    def ask(self, ask: Ask) -> None:
        """Make a change in spite of some trouble; after a crash the service starts again."""
        host, request = self.host, ask.request
        path = self.card if isinstance(request, SetVirtualFunctions) else self.disk
        before = self.see(path)
        asked = as_asked(request, before)
        if ask.used_at is not None:
            host.on(ask.used_at, partial(self.use, path))
        if ask.killed_at is not None and ask.killed_at != ask.used_at:
            host.kill_at(ask.killed_at)
        host.refusals, host.view.blind = list(ask.refusals), ask.blind
        answer: Outcome | NodedevError | Killed
        try:
            answer = host.act(request)
        except (NodedevError, Killed) as error:
            answer = error
        host.refusals, host.view.blind = [], False
        host.clear()
        if isinstance(answer, Outcome):
            found = self.see(path)
            assert found[0] in [shown for shown, _ in asked], "what was answered is so"
            assert found in asked or not answer.steps, "and the client's, if it has made it"
            assert not self.is_left(path), "no start undoes what was answered"
            self.known[path] = {found}
        elif isinstance(answer, Killed):
            self.known[path] |= asked
            host.restart()
        elif getattr(answer, "left", ()):
            self.known[path] |= asked
        elif not isinstance(answer, NotConfirmed) or not self.is_left(path):
            assert self.see(path) == before, f"{answer}, and it is as before"

    def agree(self) -> None:
        """What no entry of the journal is about is as it was answered, or before that."""
        for path, known in self.known.items():
            if not self.is_left(path):
                found = self.see(path)
                assert found in known, f"{path} is {found}, and may be {known}"
                self.known[path] = {found}
        for entry in self.host.entries():
            assert entry.phase == "left", f"{entry} belongs to nobody"

    def see(self, path: str) -> State:
        """Return what the host shows, and whose that is."""
        pci, record = self.host.pci, self.host.context.records.all().get(path)
        if path == self.disk:
            shown, recorded = pci.driver_of(path), pci.driver_of(path)
        else:
            shown = pci.text(f"{path}/sriov_numvfs")
            recorded = f"{shown} virtual functions"
        return shown, None if record is None or record.type != recorded else record.owner

    def is_left(self, path: str) -> bool:
        """Return whether an entry of the journal is about it."""
        steps = [step for entry in self.host.entries() for step in entry.plan.steps]
        return any(changed_by(step).subject == path for step in steps)

    def use(self, path: str) -> None:
        """Have a guest open the disk, or one of the functions, if it can."""
        if path == self.disk:
            if self.host.pci.driver_of(path) == "vfio-pci" and not self.host.kernel.is_open(path):
                self.host.kernel.open(path)
            return
        for function in self.host.pci.functions(path)[:1]:
            if not self.host.kernel.is_open(function):
                use(self.host, function)

    def guests_end(self) -> None:
        """End all guests."""
        for path in [self.disk, *self.host.pci.functions(self.card)]:
            if self.host.kernel.is_open(path):
                self.host.kernel.close(path)


@pytest.mark.exhaustive
@settings(max_examples=examples(1), deadline=None)
@given(commands=COMMANDS)
def test_any_sequence_leaves_nothing_half(commands: list[Ask | str]) -> None:
    """Whatever happens in which order."""
    with TemporaryDirectory(dir="/dev/shm" if os.path.isdir("/dev/shm") else None) as directory:
        host = Host(Path(directory))
        for command in commands:
            host.do(command)
        host.end()
