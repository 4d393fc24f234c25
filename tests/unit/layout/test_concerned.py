"""concerned: a card that no change concerns has the answer that a new comparison has."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nodedevd.host.events.uevent import Uevent
from nodedevd.host.sysroot import Sysroot
from nodedevd.layout import states
from nodedevd.layout.compare import compare, compare_layout
from nodedevd.layout.concerned import Concerned
from nodedevd.layout.difference import Difference
from nodedevd.layout.directories import DIRECTORIES
from nodedevd.layout.states import NOTHING, follow_layout
from nodedevd.layout.wanted import Match, WantedCard, WantedMdev
from nodedevd.model.changes import Changed, Update
from nodedevd.model.snapshot import Snapshot
from nodedevd.tree.read import rescan
from tests.support.search import examples
from tests.support.trees import Tree
from tests.unit.follow.test_live_properties import CHANGES, FUNCTIONS, UUIDS
from tests.unit.follow.test_live_properties import Host as LiveHost

CARDS = ("0000:01:00.0", "0000:02:00.0")
LAYOUT = f"""\
[[card]]
address = "{FUNCTIONS[0]}"
virtual_functions = 2
driver = "nvidia"
vgpus = [{{ type = "type-0", count = 1 }}]

[[card]]
address = "{FUNCTIONS[2]}"
driver = "vfio-pci"

[[card]]
vendor = "0x10de"
product = "0x0001"
vgpus = [{{ type = "type-0", count = 1 }}]

[[card]]
address = "{FUNCTIONS[1]}"
mdevs = [{{ uuid = "{UUIDS[0]}", type = "type-0", define = false }}]

[[card]]
parent = "mtty"
vgpus = [{{ type = "type-1", count = 1 }}]
mdevs = [{{ uuid = "{UUIDS[1]}", type = "type-0" }}]
"""


class Host(LiveHost):
    """A host of which the first function can have the others as virtual functions."""

    def divide(self, number: int) -> list[Uevent]:
        """Make those functions that exist virtual ones, or no longer."""
        if not self.there(self.path(FUNCTIONS[0])):
            return []
        for one in FUNCTIONS[1:]:
            Path(self.tree.at(f"{self.path(one)}/physfn")).unlink(missing_ok=True)
        for place in range(2):
            link = Path(self.tree.at(f"{self.path(FUNCTIONS[0])}/virtfn{place}"))
            link.unlink(missing_ok=True)
        functions = [one for one in FUNCTIONS[1:] if self.there(self.path(one))][: number % 3]
        self.tree.sriov(FUNCTIONS[0], functions, total=2)
        return []

    def bind(self, number: int) -> list[Uevent]:
        """Bind a function to another driver."""
        path = self.path(FUNCTIONS[number % 3])
        if self.there(path):
            driver = ("vfio-pci", "nvidia")[number % 2]
            self.tree.kernel_link(f"{path}/driver", f"/sys/bus/pci/drivers/{driver}")
        return []

    def define(self, number: int) -> list[Uevent]:
        """Define an mdev, or take its definition away."""
        parent = (*FUNCTIONS, "mtty")[number % 4]
        path = self.tree.definition(parent, UUIDS[number % 3], "type-0")
        if number > 5:
            self.tree.remove(path)
        return []


FIRST = [
    *[(Host.plug, number) for number in (0, 1, 2)],
    *[(Host.register, number) for number in (0, 1, 2, 3)],
    *[(Host.bind, number) for number in (1, 3, 5)],
    (Host.divide, 2),
]
"""All devices are present: random changes alone seldom get there."""
ALL = [*CHANGES, Host.divide, Host.divide, Host.bind, Host.bind, Host.define, Host.define]


@pytest.mark.exhaustive
@settings(derandomize=True, deadline=None, max_examples=examples(0.15))
@given(st.lists(st.tuples(st.sampled_from(ALL), st.integers(0, 11)), max_size=12))
def test_kept_answers_equal_new_ones_whatever_happens(
    steps: list[tuple[Callable[..., list[Uevent]], int]],
) -> None:
    """After each change of a host, the state of each card is that of a comparison of all."""
    with tempfile.TemporaryDirectory() as root:
        host = Host(root)
        host.tree.file(f"{DIRECTORIES[0]}/all.toml", LAYOUT)
        snapshot, compared = Snapshot(), NOTHING
        for change, argument in FIRST:
            change(host, argument)
        for number, (change, argument) in enumerate(((Host.complete, 0), *steps)):
            change(host, argument)
            update = rescan(Sysroot(root), snapshot)
            files = None if number else Sysroot(root)
            update, compared = follow_layout(files, update, compared)
            snapshot = update.snapshot
            assert compared.declared.problems == ()
            fresh = compare_layout(compared.declared.layout, snapshot)
            shown = {
                one.name: (one.layout.state, one.layout.file)
                for one in snapshot
                if one.layout is not None
            }
            assert shown == {one.card: (one.state, one.file) for one in fresh if one.card}
            assert tuple(one for entry in compared.answers for one in entry) == tuple(
                one for card in compared.declared.layout.cards for one in compare(card, snapshot)
            )


def test_only_the_cards_that_a_change_concerns_are_compared(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A function that comes concerns its card, and a network interface none."""
    tree = Tree(tmp_path)
    for card in CARDS:
        tree.pci(card, vendor=0x8086, device=0x1572, class_=0x020000, driver="i40e")
        tree.sriov(card, total=8)
    entries = [f'[[card]]\naddress = "{card}"\nvirtual_functions = 1\n' for card in CARDS]
    tree.file(f"{DIRECTORIES[0]}/all.toml", "\n".join(entries))
    names: list[str] = []

    def noted(card: WantedCard, snapshot: Snapshot, **known: Any) -> tuple[Difference, ...]:
        names.append(str(card.match))
        return compare(card, snapshot, **known)

    monkeypatch.setattr(states, "compare", noted)
    update, compared = follow_layout(
        Sysroot(tree.root), rescan(Sysroot(tree.root), Snapshot()), NOTHING
    )
    assert names == list(CARDS)

    def after_change() -> Update:
        nonlocal update, compared
        names.clear()
        new = rescan(Sysroot(tree.root), update.snapshot)
        assert new.changes
        update, compared = follow_layout(None, new, compared)
        return update

    tree.device(f"{tree.resolve(CARDS[1])}/net/eth0", class_="net")
    after_change()
    assert names == []
    tree.pci("0000:02:00.1", vendor=0x8086, device=0x154C, class_=0x020000, physfn=CARDS[1])
    tree.sriov(CARDS[1], ["0000:02:00.1"], total=8)
    after_change()
    assert names == [CARDS[1]]
    assert update.snapshot.lookup(CARDS[1]).layout is not None


def test_mdev_concerns_the_card_of_its_parent_and_who_wants_its_uuid(tmp_path: Path) -> None:
    """Its parent can be a virtual function; a UUID can be active on another card."""
    tree = Tree(tmp_path)
    words: dict[str, Any] = {"vendor": 0x10DE, "device": 1, "class_": 0x030200}
    vf = "0000:01:00.4"
    tree.pci(CARDS[0], **words)
    tree.pci(vf, **words, physfn=CARDS[0])
    tree.pci(CARDS[1], **words)
    tree.sriov(CARDS[0], [vf], total=8)
    tree.mdev_type(vf, "type-0")
    tree.mdev_parent(vf)
    tree.mdev(vf, UUIDS[0], "type-0")
    snapshot = rescan(Sysroot(tree.root), Snapshot()).snapshot
    mdev = snapshot.lookup(UUIDS[0])
    concerned = Concerned([Changed(mdev, mdev)], snapshot)

    def answers(address: str, *uuids: str) -> bool:
        mdevs = tuple(WantedMdev(uuid, "type-0") for uuid in uuids)
        card = WantedCard("a.toml", 1, Match(address=address), mdevs=mdevs)
        return concerned.entry(card, compare(card, snapshot))

    assert answers(CARDS[0])
    assert not answers(CARDS[1])
    assert not answers(CARDS[1], UUIDS[1])
    assert answers(CARDS[1], UUIDS[0])
