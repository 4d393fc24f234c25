"""What a layout declares is made, card by card; what is open or somebody else's is left alone."""

from __future__ import annotations

import errno
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from nodedevd.actions.answers import LayoutCard, LayoutOutcome
from nodedevd.actions.requests import ApplyLayout, Bind, Create, Remove
from nodedevd.control import apply_card
from nodedevd.control.apply_layout import plan_layout
from nodedevd.control.facts import read_layout_facts
from nodedevd.errors import MadeByOther, NoSuchDevice
from nodedevd.host.listing import names_in
from nodedevd.host.sysroot import Sysroot
from nodedevd.layout import files
from nodedevd.layout.compare import compare
from nodedevd.layout.wanted import WantedCard
from nodedevd.questions.in_use import VfioUsage
from tests.support.acting_host import ActingHost, Killed, ScannedView
from tests.support.carried import uuids
from tests.support.pci_host import PF
from tests.support.played_kernel import mdpy_parent, mtty_parent, small_card, vendor_card
from tests.support.running import PATIENCE_SECONDS

UUID, OTHER = uuids(2, 700)
CARD = "0000:41:00.0"
MTTY = """
[[card]]
parent = "mtty"
vgpus = [{ type = "mtty-1", count = 2 }]
"""
NONE = """
[[card]]
parent = "mtty"
vgpus = []
"""
NAMED = f"""
[[card]]
parent = "mtty"
mdevs = [{{ uuid = "{UUID}", type = "mtty-2", autostart = true }}]
"""
PROFILES = f"""
[[card]]
address = "{CARD}"
vgpus = [{{ type = "X1-12Q", count = 2 }}]
"""
NVME = f"""
[[card]]
address = "{PF}"
virtual_functions = 2
driver = "vfio-pci"
"""


@pytest.fixture
def host(tmp_path: Path) -> ActingHost:
    """Return a host with mtty, a card with vendor VFIO, and a disk with SR-IOV."""
    host = ActingHost(tmp_path)
    host.context.lock_seconds = 10
    host.kernel.tree.directory("/etc")
    mtty_parent(host.kernel, 4)
    vendor_card(host.kernel, small_card())
    host.pci.driver("vfio-pci")
    host.pci.card()
    return host


def profiles(host: ActingHost) -> list[str]:
    """Return the profiles of the functions."""
    return [one.current for one in host.kernel.vendor.functions.values()]


def origins(host: ActingHost) -> set[str]:
    """Return the origins of what was made here."""
    return {one.origin for one in host.context.records.all().values()}


def by_entry(outcome: LayoutOutcome) -> dict[str, LayoutCard]:
    """Return what came of each entry, by how it names its card."""
    return {one.entry: one for one in outcome.cards}


@pytest.mark.slow
def test_host_ends_as_declared_and_a_second_time_nothing_is_done(host: ActingHost) -> None:
    """Mdevs, a definition, profiles, functions and their driver; all of it is the layout's."""
    outcome = host.apply_layout(
        NAMED.replace("mdevs", "vgpus = [{type='mtty-1', count=1}]\nmdevs") + PROFILES + NVME
    )
    assert [(one.state, one.refusals) for one in outcome.cards] == [("in-sync", ())] * 3
    assert sorted(host.kernel.mdev.types.values()) == ["mtty-1", "mtty-2"]
    assert profiles(host) == ["2", "2", "0", "0"]
    card = host.kernel.tree.resolve(PF)
    assert [host.pci.driver_of(one) for one in host.pci.functions(card)] == ["vfio-pci"] * 2
    assert origins(host) == {"layout"}
    assert os.path.exists(host.kernel.tree.at(f"/etc/mdevctl.d/mtty/{UUID}"))
    written = list(host.kernel.written)
    again = host.apply_layout()
    assert [(one.state, one.steps) for one in again.cards] == [("in-sync", ())] * 3
    assert host.kernel.written == written
    assert host.entries() == []


def test_functions_that_are_made_anew_are_nobodys(host: ActingHost) -> None:
    """A client had bound one of the same address, which is gone, and the record of it as well."""
    card = host.kernel.tree.resolve(PF)
    host.kernel.write(f"{card}/sriov_numvfs", "2")
    first = os.path.basename(host.pci.functions(card)[0])
    host.act(Bind(name=first, driver="vfio-pci", owner="vm-1"))
    host.kernel.write(f"{card}/sriov_numvfs", "0")
    assert origins(host) == {"client"}
    (made,) = host.apply_layout(NVME).cards
    assert (made.state, made.reasons, made.refusals) == ("in-sync", (), ())
    assert [host.pci.driver_of(one) for one in host.pci.functions(card)] == ["vfio-pci"] * 2
    assert origins(host) == {"layout"}


def test_dry_run_has_the_steps_and_what_follows_them(host: ActingHost) -> None:
    """Nothing is written; a name that no entry has is an error."""
    host.kernel.tree.file("/etc/nodedevd/layout.d/10-test.toml", MTTY + NVME)
    written = list(host.kernel.written)

    def planned(card: str | None = None) -> LayoutOutcome:
        layout, snapshot = host.layout_host(), host.view.snapshot()
        return plan_layout(
            host.kernel.tree.root,
            snapshot,
            layout.facts(snapshot),
            layout.plan,
            ApplyLayout(card=card, dry_run=True),
        )

    outcome = planned()
    mtty, nvme = outcome.cards
    assert outcome.dry_run
    assert (mtty.state, len(mtty.steps), mtty.later) == ("drifted", 2, ())
    assert (nvme.state, nvme.steps) == (
        "drifted",
        (f"write 2 to {host.kernel.tree.resolve(PF)}/sriov_numvfs",),
    )
    assert any("vfio-pci" in one for one in nvme.later)
    assert [one.entry for one in planned(PF).cards] == [PF]
    with pytest.raises(NoSuchDevice):
        planned("0000:09:00.0")
    assert host.kernel.written == written


@pytest.mark.slow
def test_card_that_fails_does_not_keep_the_others_back(host: ActingHost) -> None:
    """Its change is undone, and reported; the next attempt goes on where it was."""
    host.kernel.refuse(f"{host.kernel.tree.resolve(PF)}/sriov_numvfs", errno.EIO)
    found = by_entry(host.apply_layout(NVME + MTTY + PROFILES))
    failed = found.pop(PF)
    assert failed.state == "drifted"
    [refusal] = failed.refusals
    assert refusal.code == "step-failed"
    assert "EIO" in refusal.detail
    assert {one.state for one in found.values()} == {"in-sync"}
    assert {one.state for one in host.apply_layout().cards} == {"in-sync"}


def test_card_that_can_never_be_as_declared_is_left_alone_and_the_others_are_made(
    host: ActingHost,
) -> None:
    """Where it is wrong is said; nothing of it is made, also not the functions that it can have."""
    wrong = f"""
[[card]]
address = "{PF}"
virtual_functions = "all"
vgpus = [
  {{ type = "X1-12Q", count = 5 }},
]
"""
    found = by_entry(host.apply_layout(wrong + MTTY))
    nvme = found.pop(PF)
    assert (nvme.state, nvme.steps, nvme.refusals) == ("blocked", (), ())
    [reason] = nvme.reasons
    assert reason == (
        "/etc/nodedevd/layout.d/10-test.toml:6: vgpus[0].count: 5 x X1-12Q do not fit: 4 of 4"
        " functions are left; write 4, or less"
    )
    assert {one.state for one in found.values()} == {"in-sync"}
    assert host.pci.functions(host.kernel.tree.resolve(PF)) == []
    assert len(host.kernel.mdev.types) == 2


def test_what_is_open_is_left_alone_and_who_has_it_is_told(host: ActingHost) -> None:
    """It is removed when it has been closed; the rest is done meanwhile."""
    host.apply_layout(MTTY)
    [first, second] = sorted(host.kernel.mdev.types)
    host.kernel.open(first)
    host.kernel.open(second)
    fewer = NONE + "remove_unnamed = true\n"
    [card] = host.apply_layout(fewer).cards
    assert card.state == "blocked"
    assert "qemu-system-x86" in " ".join(card.reasons)
    assert sorted(host.kernel.mdev.types) == [first, second]
    host.kernel.close(first)
    [card] = host.apply_layout().cards
    assert (card.state, list(host.kernel.mdev.types)) == ("blocked", [second])
    host.kernel.close(second)
    [card] = host.apply_layout().cards
    assert (card.state, host.kernel.mdev.types) == ("in-sync", {})


def test_what_is_opened_meanwhile_is_left_alone(host: ActingHost) -> None:
    """Between the comparison and the step."""
    host.apply_layout(MTTY)
    victim = sorted(host.kernel.mdev.types)[0]
    host.on("doing:0", lambda: host.kernel.open(victim))
    fewer = NONE + "remove_unnamed = true\n"
    [card] = host.apply_layout(fewer).cards
    assert card.state == "blocked"
    assert {one.code for one in card.refusals} == {"device-in-use"}
    assert list(host.kernel.mdev.types) == [victim]


def test_what_is_not_named_stays_unless_the_entry_says_so(host: ActingHost) -> None:
    """Whoever made it; what a client or a domain has stays in any case."""
    host.act(Create(type="mtty-1", names=["mtty"], uuid=UUID, owner="nova"))
    create = "/sys/devices/virtual/mtty/mtty/mdev_supported_types/mtty-1/create"
    host.kernel.write(create, OTHER)
    [card] = host.apply_layout(NONE).cards
    assert (card.state, card.steps) == ("in-sync", ())
    assert len(host.kernel.mdev.types) == 2
    wanted = MTTY.replace('"mtty-1", count = 2', '"mtty-2", count = 1')
    [card] = host.apply_layout(wanted + "remove_unnamed = true\n").cards
    assert card.state == "blocked"
    assert "'nova'" in " ".join(card.reasons)
    assert sorted(host.kernel.mdev.types.values()) == ["mtty-1", "mtty-2"]
    removed = f"remove the mdev {OTHER} of /sys/devices/virtual/mtty/mtty"
    assert card.steps[-1] == removed, "what should be is made first"


def test_what_the_layout_made_is_nobody_elses(host: ActingHost) -> None:
    """A client removes it by force alone."""
    host.apply_layout(NAMED)
    with pytest.raises(MadeByOther):
        host.act(Remove(name=UUID))
    host.act(Remove(name=UUID, force=True))
    assert host.kernel.mdev.types == {}
    host.apply_layout()
    assert list(host.kernel.mdev.types.values()) == ["mtty-2"]


def test_file_that_others_may_change_is_not_used(host: ActingHost) -> None:
    """It is a problem that names the file, or the directory above it; other files are used."""
    tree = host.kernel.tree
    tree.file("/etc/nodedevd/layout.d/20-other.toml", PROFILES)
    for path, mode in (("10-test.toml", 0o646), ("", 0o777)):
        where = tree.at(f"/etc/nodedevd/layout.d/{path}")
        tree.file("/etc/nodedevd/layout.d/10-test.toml", MTTY)
        before = os.stat(where).st_mode
        os.chmod(where, mode)
        outcome = host.apply_layout()
        assert {one.code for one in outcome.problems} == {"untrusted"}
        assert "mtty" not in by_entry(outcome)
        assert host.kernel.mdev.types == {}
        os.chmod(where, before)
    assert host.apply_layout().problems == ()
    assert host.kernel.mdev.types


def test_nothing_is_done_if_it_is_not_known_which_files_count(
    host: ActingHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file of /etc may mask that of a package."""
    create = "/sys/devices/virtual/mtty/mtty/mdev_supported_types/mtty-1/create"
    host.kernel.write(create, OTHER)
    package = "/usr/lib/nodedevd/layout.d/10-test.toml"
    host.kernel.tree.file(package, NONE + "remove_unnamed = true\n")
    assert host.apply_layout("").cards == ()

    def failing(sysroot: Sysroot, directory: str) -> Sequence[str]:
        if directory.startswith("/etc"):
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
        return names_in(sysroot, directory)

    monkeypatch.setattr(files, "names_in", failing)
    outcome = host.apply_layout()
    assert outcome.cards == ()
    assert [(one.code, one.file) for one in outcome.problems] == [
        ("unreadable", "/etc/nodedevd/layout.d")
    ]
    assert len(host.kernel.mdev.types) == 1


@pytest.mark.slow
def test_card_that_is_not_there_is_waited_for(host: ActingHost) -> None:
    """As long as the request says; what is there is not kept waiting."""
    text = MTTY.replace("mtty", "mdpy").replace("mdpy-1", "mdpy-hd") + PROFILES
    absent = by_entry(host.apply_layout(text))
    assert (absent["mdpy"].state, absent["mdpy"].card) == ("pending", None)
    assert absent[CARD].state == "in-sync"

    def comes(view: ScannedView) -> None:
        assert host.kernel.mdev.types == {}
        mdpy_parent(host.kernel)

    host.view.when_waited_for = comes
    found = by_entry(host.apply_layout(wait_seconds=600))
    assert (found["mdpy"].state, len(found["mdpy"].steps)) == ("in-sync", 2)
    assert len(found) == 2


@pytest.mark.slow
def test_files_count_as_they_are_when_a_card_comes(host: ActingHost) -> None:
    """What they no longer want is not made, what they want now is; a wrong one is waited for."""
    absent = '[[card]]\nparent = "mbochs"\n'
    file = "/etc/nodedevd/layout.d/10-test.toml"
    looks: list[str] = []

    def changes(view: ScannedView) -> None:
        looks.append("look")
        text = {
            1: MTTY + absent,
            2: "[[card]]\n",
            3: MTTY.replace("count = 2", "count = 3") + absent,
            4: MTTY,
        }[len(looks)]
        host.kernel.tree.file(file, text)

    host.view.when_waited_for = changes
    assert len(host.kernel.mdev.types) == 0
    outcome = host.apply_layout(PROFILES + absent, wait_seconds=600)
    assert len(looks) == 4
    [card] = outcome.cards
    assert (card.entry, card.state, len(card.steps)) == ("mtty", "in-sync", 3)
    assert outcome.problems == ()
    assert profiles(host)[:2] == ["2", "2"]


@pytest.mark.slow
def test_card_that_is_named_and_goes_is_waited_for(host: ActingHost) -> None:
    """As long as its entry is there."""
    path = "/sys/devices/virtual/mtty/mtty"

    def goes() -> None:
        host.kernel.mdev.unregister(path)
        host.kernel.tree.remove("/sys/class/mtty/mtty")
        host.kernel.tree.remove(path)

    def comes(view: ScannedView) -> None:
        looks.append("look")
        if len(looks) == 2:
            mtty_parent(host.kernel, 4)

    looks: list[str] = []
    host.on("ended", goes)
    host.view.when_waited_for = comes
    [card] = host.apply_layout(MTTY, card="mtty_mtty", wait_seconds=600).cards
    assert (card.state, len(card.steps), len(looks)) == ("in-sync", 4, 2)


def test_card_that_goes_while_it_is_made_is_pending(host: ActingHost) -> None:
    """What was done for it is in the answer, and so are the other cards."""
    path = "/sys/devices/virtual/mtty/mtty"

    def goes() -> None:
        host.kernel.mdev.unregister(path)
        host.kernel.tree.remove("/sys/class/mtty/mtty")
        host.kernel.tree.remove(path)

    host.on("ended", goes)
    found = by_entry(host.apply_layout(MTTY))
    assert (found["mtty"].state, len(found["mtty"].steps)) == ("pending", 2)
    assert found["mtty"].reasons == ("mtty_mtty has gone",)


def test_one_card_alone_is_made(host: ActingHost) -> None:
    """By its address, its name in the tree, or the words of its entry."""
    host.apply_layout(MTTY + PROFILES, card="pci_0000_41_00_0")
    assert (host.kernel.mdev.types, profiles(host)[:2]) == ({}, ["2", "2"])
    host.apply_layout(card="mtty")
    assert len(host.kernel.mdev.types) == 2


def test_two_entries_on_one_line_are_two(host: ActingHost) -> None:
    """Whether their cards are there or not."""
    entry = '{ parent = "mtty", vgpus = [{ type = "mtty-1" }] }'
    cards = [entry, entry.replace("mtty", "mdpy"), entry.replace("mtty", "mbochs")]
    found = by_entry(host.apply_layout(f"card = [{', '.join(cards)}]\n"))
    assert {name: one.state for name, one in found.items()} == {
        "mtty": "in-sync",
        "mdpy": "pending",
        "mbochs": "pending",
    }


def test_two_entries_of_one_card_leave_it_alone(host: ActingHost) -> None:
    """By different words, so that no file is wrong by itself."""
    by_product = 'vendor = "0x10de"\nproduct = "0x26b9"'
    both = PROFILES + PROFILES.replace(f'address = "{CARD}"', by_product)
    outcome = host.apply_layout(both)
    assert {one.state for one in outcome.cards} == {"blocked"}
    assert profiles(host) == ["0"] * 4


def test_full_card_whose_types_have_no_names_any_more_is_as_declared(host: ActingHost) -> None:
    """Its functions list no types. The names are known from before; else nothing is removed."""
    full = PROFILES.replace("count = 2", "count = 4") + "remove_unnamed = true\n"
    assert by_entry(host.apply_layout(full))[CARD].state == "in-sync"
    host.restart()
    [card] = host.apply_layout().cards
    assert (card.state, card.steps) == ("in-sync", ())
    os.unlink(os.path.join(host.context.directory, "type-names"))
    [card] = host.apply_layout().cards
    assert (card.state, card.steps) == ("blocked", ())
    assert "write the ID" in " ".join(card.reasons)
    assert profiles(host) == ["2"] * 4
    host.apply_layout(full.replace("X1-12Q", "2"))
    assert host.apply_layout().cards[0].state == "in-sync"


KILLED = {
    "mdevs": MTTY,
    "definition": NAMED,
    "profiles": PROFILES,
    "functions": NVME,
}


@pytest.mark.slow
@pytest.mark.parametrize("name", KILLED)
def test_killed_at_any_point_the_next_attempt_ends_as_declared(name: str, tmp_path: Path) -> None:
    """Nothing is there twice, nothing is left in the journal, and all of it is the layout's."""

    def prepared(directory: str) -> ActingHost:
        host = ActingHost(tmp_path / directory)
        host.kernel.tree.directory("/etc")
        if name in ("mdevs", "definition"):
            mtty_parent(host.kernel, 4)
        elif name == "profiles":
            vendor_card(host.kernel, small_card(2))
        else:
            host.pci.driver("vfio-pci")
            host.pci.card()
        return host

    def state(host: ActingHost) -> object:
        functions = [
            [host.pci.driver_of(one) for one in card.functions]
            for card in host.kernel.pci.sriov.values()
        ]
        return sorted(host.kernel.mdev.types.values()), profiles(host), functions

    whole = prepared("whole")
    whole.apply_layout(KILLED[name])
    passed: dict[str, int] = {}
    for point in whole.points:
        passed[point] = passed.get(point, 0) + 1
    for point, times in passed.items():
        for number in range(times):
            host = prepared(f"{point}-{number}")
            host.kill_at(point, after=number)
            with pytest.raises(Killed):
                host.apply_layout(KILLED[name])
            host.restart()
            [card] = host.apply_layout().cards
            assert (card.state, card.refusals) == ("in-sync", ()), (point, card)
            assert state(host) == state(whole), point
            assert host.entries() == [], point
            assert origins(host) == {"layout"}, point


def test_card_that_is_busy_is_waited_for_a_few_times(host: ActingHost) -> None:
    """Cards of NVIDIA have their functions enabled one after the other; a driver may hang."""
    host.context.lock_seconds = 0
    busy = host.context.locks.take(["pci_0000_41_00_0"], 0)
    found = by_entry(host.apply_layout(PROFILES + MTTY))
    assert [one.code for one in found[CARD].refusals] == ["card-busy"]
    assert found["mtty"].state == "in-sync"
    pauses = 0

    def pause(seconds: float) -> None:
        nonlocal pauses
        pauses += 1
        if pauses == 2:
            busy.release()

    host.context.locks = type(host.context.locks)(host.context.locks._directory, pause)
    host.context.lock_seconds = PATIENCE_SECONDS
    assert by_entry(host.apply_layout())[CARD].state == "in-sync"


def test_card_that_cannot_be_looked_at_does_not_keep_the_others_back(
    host: ActingHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The error is in the answer of that card."""

    def failing(entry: WantedCard, *given: Any) -> Any:
        if entry.match.parent == "mtty":
            raise OSError(errno.EIO, "gone")
        return compare(entry, *given)

    monkeypatch.setattr(apply_card, "compare", failing)
    found = by_entry(host.apply_layout(MTTY + PROFILES))
    assert [one.code for one in found["mtty"].refusals] == ["unreadable"]
    assert found["mtty"].state == "drifted"
    assert found[CARD].state == "in-sync"


def test_processes_are_named_to_root_alone(host: ActingHost) -> None:
    """Members of the groups learn that a device is open."""
    root = host.kernel.tree.root
    for uid, public, named in ((0, False, True), (1000, False, False), (0, True, False)):
        usage = read_layout_facts(root, {}, uid, public=public).usage
        assert usage is not None
        assert isinstance(usage, VfioUsage) == named
        assert usage.use("a", "/sys/a").holders == ()
