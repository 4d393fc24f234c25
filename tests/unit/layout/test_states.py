"""States: how the cards that layout files name compare with them, as a part of the tree."""

from __future__ import annotations

import errno
from pathlib import Path

import msgspec
import pytest

from nodedevd.host.processes import Process
from nodedevd.host.sysroot import Sysroot
from nodedevd.layout.directories import DIRECTORIES
from nodedevd.layout.facts import LayoutFacts
from nodedevd.layout.states import NOTHING, REASONS_AT_MOST, follow_layout, with_facts
from nodedevd.model.changes import Changed, Update
from nodedevd.model.layout import NO_LAYOUT, CardLayout, LayoutState
from nodedevd.model.snapshot import Snapshot
from nodedevd.model.status import LayoutCounts, count_layout
from nodedevd.questions.in_use import Use
from nodedevd.tree.read import rescan, scan
from tests.support.faulty import FaultySysroot
from tests.support.trees import Tree

CARD, OTHER = "0000:01:00.0", "0000:02:00.0"
VFS = ["0000:01:00.4", "0000:01:00.5"]
ETC, _, LIB = DIRECTORIES
FILE = f"{ETC}/10-network.toml"


class Host:
    """A host with two cards, of which the first can have virtual functions."""

    def __init__(self, root: Path) -> None:
        self.tree = Tree(root)
        for address in (CARD, OTHER):
            self.tree.pci(address, vendor=0x8086, device=0x1572, class_=0x020000, driver="i40e")
        self.functions(())
        self.compared = NOTHING
        self.snapshot = Snapshot()

    def functions(self, addresses: tuple[str, ...]) -> None:
        """Give the first card these virtual functions."""
        for address in addresses:
            self.tree.pci(address, vendor=0x8086, device=0x154C, class_=0x020000)
        self.tree.sriov(CARD, addresses, total=64)

    def wants(self, number: int, *more: str, card: str = CARD, file: str = FILE) -> None:
        """Write a file that wants this number of functions of a card."""
        lines = (f'address = "{card}"', f"virtual_functions = {number}", *more)
        self.tree.file(file, "[[card]]\n" + "\n".join(lines) + "\n")

    def read(self, errors: dict[str, int] | None = None, *, files: bool = True) -> Update:
        """Read the host anew, with these errors of paths."""
        update = rescan(Sysroot(self.tree.root), self.snapshot)
        sysroot = FaultySysroot(self.tree.root, errors=errors) if files else None
        update, self.compared = follow_layout(sysroot, update, self.compared)
        self.snapshot = update.snapshot
        return update

    def layout(self, card: str = CARD) -> CardLayout | None:
        """Return how a card compares in the tree."""
        return self.snapshot.lookup(card).layout

    def state(self, card: str = CARD) -> LayoutState | None:
        """Return the state of a card in the tree."""
        layout = self.layout(card)
        return None if layout is None else layout.state


@pytest.fixture
def host(tmp_path: Path) -> Host:
    """Return a host without layout files."""
    return Host(tmp_path)


def test_host_without_layout_files_is_left_as_it_was_read(host: Host) -> None:
    """Nothing is compared, and the update is the same object."""
    update = rescan(Sysroot(host.tree.root), Snapshot())
    followed, compared = follow_layout(Sysroot(host.tree.root), update, NOTHING)
    assert followed is update
    assert compared is NOTHING
    assert followed.snapshot.layout is NO_LAYOUT


def test_card_that_a_file_names_has_a_state_and_no_other_device(host: Host) -> None:
    """It says what is to do, and which file wants that."""
    host.wants(2)
    host.read()
    layout = host.layout()
    assert layout is not None
    assert (layout.state, layout.file) == ("drifted", FILE)
    assert layout.reasons == ("to do: set 2 virtual functions on pci_0000_01_00_0",)
    assert [one.name for one in host.snapshot if one.layout is not None] == ["pci_0000_01_00_0"]
    assert count_layout(host.snapshot) == LayoutCounts(0, 1, 0, 0)


def test_another_state_is_one_change_of_the_card_after_what_led_to_it(host: Host) -> None:
    """A watcher that sees `in-sync` has seen the functions before."""
    host.wants(2)
    host.read()
    host.functions((VFS[0], VFS[1]))
    before = host.snapshot
    update = host.read(files=False)
    assert host.state() == "in-sync"
    assert host.layout() == CardLayout("in-sync", (), FILE)
    last = update.changes[-1]
    assert isinstance(last, Changed)
    assert (last.device.sysname, last.parts) == (CARD, ("layout",))
    assert len([one for one in update.changes if one.device.sysname == CARD]) == 2
    assert host.snapshot.generation == before.generation + len(update.changes)


def test_same_state_is_no_change(host: Host) -> None:
    """What a scan finds again is the same object."""
    host.wants(2)
    host.read()
    before = host.snapshot
    for files in (True, False):
        update = host.read(files=files)
        assert update.changes == ()
        assert list(host.snapshot) == list(before)
        assert host.snapshot.lookup(CARD) is before.lookup(CARD)


def test_change_elsewhere_leaves_the_state(host: Host) -> None:
    """A device is read without its state, and keeps it."""
    host.wants(2)
    host.read()
    host.tree.attributes(host.tree.resolve(CARD), {"numa_node": 1})
    update = host.read(files=False)
    assert [one.parts for one in update.changes if isinstance(one, Changed)] == [("pci",)]
    assert host.state() == "drifted"


@pytest.mark.parametrize("masked", [False, True], ids=["removed", "masked"])
def test_file_that_is_gone_takes_the_state_along(host: Host, masked: bool) -> None:
    """That alone is a change of the card."""
    host.wants(2, file=f"{LIB}/10-network.toml")
    host.read()
    if masked:
        host.tree.link(FILE, "/dev/null")
    else:
        host.tree.remove(f"{LIB}/10-network.toml")
    update = host.read()
    assert host.state() is None
    assert [one.parts for one in update.changes if isinstance(one, Changed)] == [("layout",)]
    assert host.snapshot.layout is NO_LAYOUT


def test_card_that_the_host_does_not_have_is_awaited(host: Host) -> None:
    """It is pending, and has its state as soon as it is there; a card that goes is awaited."""
    host.wants(0, card=OTHER)
    host.tree.remove(host.tree.resolve(OTHER))
    host.tree.remove(f"/sys/bus/pci/devices/{OTHER}")
    host.read()
    assert len(host.snapshot.layout.awaited) == 1
    awaited = host.snapshot.layout.awaited[0]
    assert (awaited.card, awaited.file, awaited.line) == (OTHER, FILE, 1)
    assert count_layout(host.snapshot) == LayoutCounts(0, 0, 0, 1)
    host.tree.pci(OTHER, vendor=0x8086, device=0x1572, class_=0x020000, driver="i40e")
    host.read(files=False)
    assert host.state(OTHER) == "in-sync"
    assert not host.snapshot.layout.awaited
    host.tree.remove(host.tree.resolve(OTHER))
    host.tree.remove(f"/sys/bus/pci/devices/{OTHER}")
    host.read(files=False)
    assert [one.card for one in host.snapshot.layout.awaited] == [OTHER]
    assert host.snapshot.layout.cards == frozenset()


def test_wrong_file_is_a_problem_and_costs_its_own_cards_alone(host: Host) -> None:
    """The problem says where it is, and what to write instead."""
    host.wants(2)
    host.wants(0, "drivr = 1", card=OTHER, file=f"{ETC}/20-other.toml")
    host.read()
    assert (host.state(), host.state(OTHER)) == ("drifted", None)
    (problem,) = host.snapshot.layout.problems
    assert (problem.file, problem.line, problem.key) == (f"{ETC}/20-other.toml", 4, "drivr")
    assert problem.code == "unknown-key"
    assert problem.message
    assert problem.instead
    assert host.snapshot.errors == ()


@pytest.mark.parametrize("number", [errno.EACCES, errno.EIO, errno.EMFILE])
@pytest.mark.parametrize("unread", [ETC, FILE])
def test_what_cannot_be_read_is_not_absent(host: Host, unread: str, number: int) -> None:
    """The card keeps its file's wishes, the problem is shown, and the directory is read again."""
    host.wants(2)
    host.wants(3, file=f"{LIB}/10-network.toml")  # not in force while the other cannot be read
    host.read()
    update = host.read({unread: number})
    assert host.layout() == CardLayout(
        "drifted", ("to do: set 2 virtual functions on pci_0000_01_00_0",), FILE
    )
    assert [(one.file, one.code) for one in host.snapshot.layout.problems] == [
        (unread, "unreadable")
    ]
    assert update.unread == {ETC}
    host.functions((VFS[0], VFS[1]))
    host.read({unread: number})
    assert host.state() == "in-sync"
    update = host.read()
    assert (host.snapshot.layout.problems, update.unread) == ((), frozenset())


def test_directory_that_cannot_be_read_at_first_is_read_again(host: Host) -> None:
    """No card has a state until then."""
    host.wants(2)
    update = host.read({ETC: errno.EACCES})
    assert host.state() is None
    assert update.unread == {ETC}
    host.read()
    assert host.state() == "drifted"


def test_reasons_of_a_card_are_bounded(host: Host) -> None:
    """The last one says how many there are besides."""
    vfs = tuple(f"0000:01:{slot:02x}.{function}" for slot in range(2, 6) for function in range(8))
    host.functions(vfs)
    host.wants(len(vfs), 'driver = "vfio-pci"')
    host.read()
    layout = host.layout()
    assert layout is not None
    assert len(layout.reasons) == REASONS_AT_MOST
    assert layout.reasons[-1] == f"and {len(vfs) - REASONS_AT_MOST + 1} more"


def test_layout_is_a_part_of_the_json_of_a_device(host: Host) -> None:
    """Null for others."""
    host.wants(2)
    host.read()
    shown = msgspec.to_builtins(host.snapshot.lookup(CARD))
    assert shown["layout"]["state"] == "drifted"
    assert msgspec.to_builtins(host.snapshot.lookup(OTHER))["layout"] is None


def test_tree_of_a_plain_scan_has_no_states(host: Host) -> None:
    """The files are not a part of what `tree` reads."""
    host.wants(2)
    assert scan(Sysroot(host.tree.root)).lookup(CARD).layout is None


def test_facts_of_usage_make_a_drifted_card_blocked(host: Host) -> None:
    """With the process that has a function open."""
    host.functions((VFS[0], VFS[1]))
    host.wants(1)
    host.read()
    assert host.state() == "drifted"

    class InUseByQemu:
        """Every device is open."""

        def use(self, name: str, path: str | None) -> Use:
            """Return that it is."""
            return Use(name, path, "yes", (Process(7, "qemu"),), None)

    facts = LayoutFacts(usage=InUseByQemu())
    layout = with_facts(host.snapshot, host.compared.declared, facts).lookup(CARD).layout
    assert layout is not None
    assert layout.state == "blocked"
    assert "qemu (process 7)" in layout.reasons[0]
