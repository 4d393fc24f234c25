"""Any layout on any host: it ends as declared or says why not, and takes nothing from anybody.

On the played cards: mdevs of samples and of a GPU, vendor VFIO, and a disk with SR-IOV. The process
may be killed at any point of any change, the drivers may refuse any write, and a VM may open what
there is.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Literal

import hypothesis.strategies as st
import pytest
from hypothesis import given, settings

from nodedevd.actions.answers import LayoutOutcome
from nodedevd.actions.requests import Create, SetVirtualFunctions
from nodedevd.control import apply_layout
from nodedevd.errors import NodedevError
from nodedevd.host.sysroot import Sysroot
from nodedevd.layout.compare import compare_layout
from nodedevd.layout.files import read_layout
from tests.support.acting_host import ActingHost, Killed
from tests.support.carried import uuids
from tests.support.pci_host import PF
from tests.support.played_card import PlayedType, TimeSliced
from tests.support.played_kernel import mdev_card, mtty_parent, vendor_card
from tests.support.search import examples

UUIDS = uuids(3, 800)
VENDOR, MDEV = "0000:41:00.0", "0000:08:00.0"
POINTS = (
    *("doing:0", "done:0", "journal:1", "doing:1", "done:1", "confirming"),
    *("confirmed", "records", "undoing:0", "undone:0", "ended"),
)
REFUSALS = st.lists(
    st.sampled_from([None, None, errno.EIO, errno.ENOSPC, errno.EBUSY, errno.EPERM]), max_size=4
)
GPU_TYPES = st.sampled_from(["X1-4Q", "X1-12Q", "X1-24Q"])


@dataclass(frozen=True)
class Entry:
    """What an entry wants of a card."""

    match: str
    vgpus: tuple[tuple[str, int], ...] = ()
    mdevs: tuple[tuple[str, str], ...] = ()
    functions: int | None = None
    driver: str | None = None
    remove: bool = False

    def text(self) -> str:
        """Return it as a file has it."""
        lines = ["[[card]]", self.match]
        if self.functions is not None:
            lines.append(f"virtual_functions = {self.functions}")
        if self.driver is not None and self.functions != 0:
            lines.append(f'driver = "{self.driver}"')
        if self.vgpus:
            inner = ", ".join(f'{{ type = "{one}", count = {count} }}' for one, count in self.vgpus)
            lines.append(f"vgpus = [{inner}]")
        if self.mdevs:
            inner = ", ".join(f'{{ uuid = "{one}", type = "{of}" }}' for one, of in self.mdevs)
            lines.append(f"mdevs = [{inner}]")
        if self.remove:
            lines.append("remove_unnamed = true")
        return "\n".join(lines) + "\n"


def some(
    types: st.SearchStrategy[str], most: int
) -> st.SearchStrategy[tuple[tuple[str, int], ...]]:
    """Return vGPUs of different types."""
    one = st.tuples(types, st.integers(1, most))
    return st.lists(one, max_size=2, unique_by=lambda pair: pair[0]).map(tuple)


def named(
    types: st.SearchStrategy[str], among: tuple[str, ...]
) -> st.SearchStrategy[tuple[tuple[str, str], ...]]:
    """Return mdevs with a UUID."""
    one = st.tuples(st.sampled_from(among), types)
    return st.lists(one, max_size=2, unique_by=lambda pair: pair[0]).map(tuple)


MTTY_TYPES = st.sampled_from(["mtty-1", "mtty-2"])
ENTRIES = (
    st.builds(
        Entry,
        match=st.just('parent = "mtty"'),
        vgpus=some(MTTY_TYPES, 3),
        mdevs=named(MTTY_TYPES, UUIDS[:2]),
        remove=st.booleans(),
    ),
    st.builds(
        Entry,
        match=st.just(f'address = "{MDEV}"'),
        vgpus=some(GPU_TYPES, 2),
        mdevs=named(GPU_TYPES, UUIDS[2:]),
        remove=st.booleans(),
    ),
    st.builds(
        Entry,
        match=st.just(f'address = "{VENDOR}"'),
        vgpus=some(GPU_TYPES, 3),
        remove=st.booleans(),
    ),
    st.builds(
        Entry,
        match=st.just(f'address = "{PF}"'),
        functions=st.integers(0, 4),
        driver=st.sampled_from([None, "vfio-pci", "nvme"]),
    ),
)


@dataclass(frozen=True)
class Before:
    """What there is already: how many of each, by whom, and which of them are open."""

    mdevs: tuple[tuple[str, Literal["nova", "other"]], ...] = ()
    profiles: tuple[tuple[str, Literal["nova", "other"]], ...] = ()
    functions: int = 0
    theirs: bool = False
    """whether a client has made the functions"""
    opened: tuple[int, ...] = ()


WHO = st.sampled_from(["nova", "other"])
BEFORE = st.builds(
    Before,
    mdevs=st.lists(st.tuples(MTTY_TYPES, WHO), max_size=3).map(tuple),
    profiles=st.lists(st.tuples(st.sampled_from(["1", "2"]), WHO), max_size=2).map(tuple),
    functions=st.sampled_from([0, 0, 1, 2]),
    theirs=st.booleans(),
    opened=st.lists(st.integers(0, 10), max_size=2).map(tuple),
)


@dataclass(frozen=True)
class Trouble:
    """What happens while the layout is applied."""

    killed: tuple[tuple[str, int], ...] = ()
    """at which points, after how many passes; one for each attempt"""
    refusals: tuple[int | None, ...] = ()


TROUBLE = st.builds(
    Trouble,
    killed=st.lists(st.tuples(st.sampled_from(POINTS), st.integers(0, 3)), max_size=2).map(tuple),
    refusals=REFUSALS.map(tuple),
)


@dataclass
class Host:
    """A host with four cards, and what of it nobody may take away."""

    acting: ActingHost
    kept: dict[str, str] = field(default_factory=dict)
    """what is open, or a client's: type of a vGPU, or driver of a function of the disk, by path"""
    there: tuple[str, ...] = ()
    """functions of the disk that a client has made, whoever has them bound to what"""

    @classmethod
    def made(cls, directory: Path, before: Before, *, mixed: bool) -> Host:
        """Return a host with what there is already."""
        host = ActingHost(directory)
        host.context.lock_seconds = 10
        kernel = host.kernel
        kernel.tree.directory("/etc")
        types = [PlayedType(f"{size}Q", size, 48 // size) for size in (4, 12, 24)]
        parent = mtty_parent(kernel, 4)
        mdev_card(kernel, TimeSliced(types, 2, 2, memory=48, mixed=mixed))
        functions = vendor_card(kernel, TimeSliced(types, 3, 1, memory=48, mixed=mixed))
        host.pci.driver("vfio-pci")
        disk = host.pci.card()
        theirs: list[str] = []
        there: list[str] = []
        for number, (type_id, who) in enumerate(before.mdevs):
            uuid = uuids(1, 900 + number)[0]
            try:
                if who == "nova":
                    host.act(Create(type=type_id, names=["mtty"], uuid=uuid, owner="nova"))
                    theirs.append(f"{parent}/{uuid}")
                else:
                    kernel.write(f"{parent}/mdev_supported_types/{type_id}/create", uuid)
            except (OSError, NodedevError):
                pass
        for path, (type_id, who) in zip(functions, before.profiles, strict=False):
            try:
                if who == "nova":
                    host.act(Create(type=type_id, names=[path], owner="nova"))
                    theirs.append(path)
                else:
                    kernel.write(f"{path}/nvidia/current_vgpu_type", type_id)
            except (OSError, NodedevError):
                pass
        if before.functions and before.theirs:
            host.act(SetVirtualFunctions(name=PF, number=before.functions, owner="nova"))
            there += host.pci.functions(disk)
        elif before.functions:
            kernel.write(f"{disk}/sriov_numvfs", str(before.functions))
        found = cls(host)
        present = [one for one, held in sorted(found.state().items()) if "driver" not in held]
        for number in before.opened:
            if present:
                kernel.open(present[number % len(present)])
        found.there = tuple(there)
        found.kept = {
            path: one
            for path, one in found.state().items()
            if path in theirs or kernel.is_open(path)
        }
        return found

    def state(self) -> dict[str, str]:
        """Return the type of each vGPU, and the driver of each function of the disk, by path."""
        kernel = self.acting.kernel
        disk = kernel.tree.resolve(PF)
        return {
            **kernel.mdev.types,
            **{
                one.path: one.current
                for one in kernel.vendor.functions.values()
                if one.current != "0"
            },
            **{one: f"driver {kernel.pci.bound(one)}" for one in self.acting.pci.functions(disk)},
        }

    def apply(
        self, killed: tuple[str, int] | None, refusals: tuple[int | None, ...]
    ) -> LayoutOutcome | None:
        """Apply the layout; None if the process was killed: then the service starts anew."""
        if killed is not None:
            self.acting.kill_at(*killed)
        self.acting.refusals = list(refusals)
        try:
            return self.acting.apply_layout()
        except Killed:
            self.acting.refusals = []
            self.acting.restart()
            return None
        finally:
            self.acting.refusals = []
            self.acting.clear()
            self.nothing_was_taken()

    def nothing_was_taken(self) -> None:
        """What is open, or a client's, is there, and as it was."""
        state = self.state()
        assert {path: state.get(path) for path in self.kept} == self.kept
        assert state.keys() >= set(self.there)


@contextmanager
def one_card_at_a_time() -> Iterator[None]:
    """Have the same happen each time."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(apply_layout, "CARDS_AT_ONCE", 1)
        yield


@pytest.mark.exhaustive
@settings(max_examples=examples(0.2), deadline=None)
@given(
    entries=st.tuples(*ENTRIES),
    before=BEFORE,
    trouble=TROUBLE,
    mixed=st.booleans(),
)
def test_any_layout_ends_as_declared_or_says_why_not(
    entries: tuple[Entry, ...], before: Before, trouble: Trouble, mixed: bool
) -> None:
    """And a second time nothing is done; what is not named stays, unless the entry says so."""
    with (
        one_card_at_a_time(),
        TemporaryDirectory(dir="/dev/shm" if os.path.isdir("/dev/shm") else None) as directory,
    ):
        host = Host.made(Path(directory), before, mixed=mixed)
        kernel = host.acting.kernel
        text = "".join(one.text() for one in entries)
        kernel.tree.file("/etc/nodedevd/layout.d/10-test.toml", text)
        first = host.state()
        for killed in trouble.killed:
            host.apply(killed, trouble.refusals)
        outcome = host.apply(None, ())
        assert outcome is not None
        assert outcome.problems == ()
        for card in outcome.cards:
            why = [*card.reasons, *(one.detail for one in card.refusals)]
            assert (card.state == "in-sync") == (not why), card
        # What a driver did not let be undone is reported, and tried once more by the next start.
        assert {one.phase for one in host.acting.entries()} <= {"left"}
        assert trouble.refusals or host.acting.entries() == []
        unnamed = {
            path
            for path in first
            if not any(one.remove for one in entries) and not first[path].startswith("driver")
        }
        assert unnamed <= host.state().keys(), "what is not named stays"
        states = {(one.entry, one.state) for one in outcome.cards}
        written = list(kernel.written)
        again = host.apply(None, ())
        assert again is not None
        assert {(one.entry, one.state) for one in again.cards} == states
        assert [one.steps for one in again.cards] == [()] * len(entries), "a second time"
        assert kernel.written == written
        declared = read_layout(Sysroot(kernel.tree.root)).layout
        snapshot = host.acting.view.snapshot()
        facts = host.acting.layout_facts(snapshot)
        for one in compare_layout(declared, snapshot, facts):
            if (str(one.match), "in-sync") in states:
                assert one.differences == ()
