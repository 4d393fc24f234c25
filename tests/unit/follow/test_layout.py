"""Layout files of a host that is followed: what they declare is compared with every change."""

from __future__ import annotations

from pathlib import Path

import pytest

from nodedevd.layout import states
from nodedevd.layout.directories import DIRECTORIES
from nodedevd.model.layout import LayoutState
from tests.support.fake_monitor import eventually
from tests.support.faulty import FaultySysroot
from tests.support.stuck import StuckAttribute
from tests.unit.follow.test_follower import CARD, STUCK_SECONDS, VFS, Live, following

FILES = [f"{directory}/card.toml" for directory in DIRECTORIES]


def wants(live: Live, number: int, file: str = FILES[0]) -> None:
    """Write a file that wants this number of functions of the card."""
    live.tree.file(file, f'[[card]]\naddress = "{CARD}"\nvirtual_functions = {number}\n')


def card(live: Live) -> None:
    """A card without virtual functions."""
    live.pci(CARD, driver="nvidia")
    live.tree.sriov(CARD, total=2)


def enabled(live: Live) -> None:
    """Enable the functions of the card."""
    for address in VFS:
        live.monitor.uevent("add", live.pci(address, driver="nvidia"))
    live.tree.sriov(CARD, VFS)
    live.monitor.uevent("change", live.tree.resolve(CARD))


def state(live: Live) -> LayoutState | None:
    """Return the state of the card."""
    layout = live.get(CARD).layout
    return None if layout is None else layout.state


@pytest.mark.parametrize("file", FILES)
async def test_file_that_comes_changes_and_goes_is_followed(tmp_path: Path, file: str) -> None:
    """In each of the directories, which need not exist at the start; inotify reports them."""
    async with following(tmp_path, card) as live:
        assert state(live) is None
        wants(live, 2, file)
        await eventually(lambda: state(live) == "drifted")
        wants(live, 0, file)
        await eventually(lambda: state(live) == "in-sync")
        live.tree.remove(file)
        await eventually(lambda: state(live) is None)
        assert live.follower.followed.missed_changes == 0


async def test_state_follows_the_uevents_of_the_host(tmp_path: Path) -> None:
    """The functions come, and one of them goes: the change of state is a change by itself."""

    def build(live: Live) -> None:
        card(live)
        wants(live, 2)

    async with following(tmp_path, build) as live:
        assert state(live) == "drifted"
        enabled(live)
        await eventually(lambda: state(live) == "in-sync")
        generation = live.store.snapshot.generation
        number, change = live.store.after(generation - 1) or (0, None)
        assert number == generation
        assert change is not None
        assert change.device.sysname == CARD


async def test_wrong_file_is_shown_until_it_is_corrected(tmp_path: Path) -> None:
    """Its card has no state as long; the host's own errors are others."""
    async with following(tmp_path, card) as live:
        live.tree.file(FILES[0], "[[card]]\naddress = 5\n")
        await eventually(lambda: bool(live.store.snapshot.layout.problems))
        (problem,) = live.store.snapshot.layout.problems
        assert (problem.file, problem.line, problem.key) == (FILES[0], 2, "address")
        assert live.store.snapshot.errors == ()
        wants(live, 2)
        await eventually(lambda: state(live) == "drifted")
        assert live.store.snapshot.layout.problems == ()


async def test_directory_that_cannot_be_read_is_read_again_until_it_can(tmp_path: Path) -> None:
    """Without an event, and without a scan of the host; meanwhile the file counts."""
    errors: dict[str, int] = {}
    sysroot = FaultySysroot(str(tmp_path))
    sysroot._errors = errors

    def build(live: Live) -> None:
        card(live)
        wants(live, 2)

    async with following(tmp_path, build, sysroot=sysroot) as live:
        errors[DIRECTORIES[0]] = 24
        live.follower.pending.touch({DIRECTORIES[0]})
        await eventually(lambda: bool(live.store.snapshot.layout.problems))
        assert state(live) == "drifted"
        rescans = live.follower.followed.rescans
        errors.clear()
        await eventually(lambda: not live.store.snapshot.layout.problems)
        assert state(live) == "drifted"
        assert live.follower.followed.rescans == rescans


async def test_host_without_layout_files_compares_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An event then costs what it did, and reads none of the directories."""

    def compared(*arguments: object) -> None:
        raise AssertionError("nothing is to be compared")

    monkeypatch.setattr(states, "compare", compared)
    sysroot = FaultySysroot(str(tmp_path))
    async with following(tmp_path, card, sysroot=sysroot) as live:
        sysroot.reads.clear()
        enabled(live)
        await eventually(lambda: live.has(live.tree.resolve(VFS[1])))
        await live.until_true_to_the_host()
        assert [one for one in sysroot.reads if "layout.d" in one] == []


async def test_reconcile_that_finds_another_state_has_missed_nothing(tmp_path: Path) -> None:
    """A layout file that is a link to another one changes without an event."""

    def build(live: Live) -> None:
        card(live)
        live.tree.file("/srv/card.toml", f'[[card]]\naddress = "{CARD}"\nvirtual_functions = 0\n')
        live.tree.link(FILES[0], "/srv/card.toml")

    async with following(tmp_path, build) as live:
        assert state(live) == "in-sync"
        wants(live, 2, "/srv/card.toml")
        live.reconcile()
        await eventually(lambda: state(live) == "drifted")
        assert not live.follower.missed


@pytest.mark.slow
async def test_read_of_a_file_that_hangs_leaves_the_rest(tmp_path: Path) -> None:
    """The card keeps its state, the host is followed, and the file is read when it answers."""

    def build(live: Live) -> None:
        card(live)
        wants(live, 2)

    async with following(tmp_path, build, stuck_seconds=STUCK_SECONDS) as live:
        stuck = StuckAttribute(live.tree.at(FILES[0]))
        await eventually(lambda: bool(live.store.snapshot.layout.problems))
        assert state(live) == "drifted"
        assert [one.path for one in live.follower.followed.unanswered_reads] == [FILES[0]]
        enabled(live)
        await eventually(lambda: state(live) == "in-sync")
        stuck.free()
        await eventually(lambda: not live.store.snapshot.layout.problems)
        assert state(live) == "in-sync"
        assert live.follower.followed.unanswered_reads == ()
