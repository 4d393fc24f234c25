"""picture: what is drawn of a host, before it has a size or a colour."""

from __future__ import annotations

from collections import Counter

import msgspec
import pytest

from nodedevd.drawing.model import Card, Picture, Slot
from nodedevd.drawing.picture import picture_in_steps
from nodedevd.drawing.seen import Host
from nodedevd.errors import NoSuchDevice
from nodedevd.host.processes import OpenFiles, Process, ProcessScan, Vm
from nodedevd.model.snapshot import Snapshot
from nodedevd.questions.doctor.finding import Finding
from nodedevd.questions.fits import types
from nodedevd.questions.in_use import VfioUsage
from nodedevd.steps import finish
from tests.support.drawn import card, gpu_host, sample
from tests.support.hosts import HOSTS, snapshot_of
from tests.support.search import cases


def picture(host: Host, of: str | None = None) -> Picture:
    """Return what is drawn."""
    return finish(picture_in_steps(host, of))


def states(slots: tuple[Slot, ...]) -> str:
    """Return the first letter of each state."""
    return "".join([slot.state[0] for slot in slots])


@pytest.mark.parametrize("host", cases(HOSTS))
def test_room_is_what_fits_says(host: str) -> None:
    """For every card, each type once, with the same numbers."""
    rows = types(snapshot_of(host)).types
    for card_ in picture(sample(host)).cards:
        expected: Counter[tuple[int, int | None]] = Counter(
            (row.sure, row.available)
            for row in rows
            if row.card == card_.device and row.type is not None and row.available != 0
        )
        found: Counter[tuple[int, int | None]] = Counter()
        for room in card_.rooms:
            found[room.sure, room.available] += len(room.types)
        assert found == expected


@pytest.mark.parametrize("host", cases(HOSTS))
def test_every_vgpu_is_drawn_once(host: str) -> None:
    """In a bar, below it, in a matrix or as a subchannel; or its parent is missing."""
    drawn = picture(sample(host))
    slots = [slot for one in drawn.cards if one.bar is not None for slot in one.bar.slots]
    names = [slot.device for slot in slots if slot.device is not None]
    assert len(names) == len(set(names))
    left_out = sum(len(one.left_out) for one in drawn.cards)
    mdevs = snapshot_of(host).select(["mdev_child"])
    placed = {mdev.name for mdev in mdevs} & set(names)
    assert len(placed) + left_out <= len(mdevs) or not mdevs


def test_memory_has_a_slice_for_each_vgpu_and_for_what_is_free() -> None:
    """Two vGPUs, a definition that fits, and the rest; another definition does not fit."""
    [one] = picture(sample("vgpu-sriov")).cards
    assert (one.title, one.address) == ("NVIDIA A2 / A16", "0000:08:00.0")
    assert one.place == "NUMA 0 · root 0000:00 · 8 of 16 GT/s ×8 · nvidia"
    assert one.bar is not None
    assert states(one.bar.slots) == "uudr"
    assert [slot.title for slot in one.bar.slots] == ["4Q", "4Q", "4Q", "4 GB"]
    gib = 1 << 30
    assert (one.bar.total_bytes, one.bar.taken_bytes) == (16 * gib, 8 * gib)
    assert sum(slot.size_bytes or 0 for slot in one.bar.slots) == one.bar.total_bytes
    assert one.left_out == ("8Q on 00.6: defined, no room for 8 GB",)
    assert one.grid is not None
    assert states(one.grid.slots) == "uddrrrrrrrrurrrr"
    assert one.mark == "warning"


def test_memory_that_a_card_does_not_report_is_unknown() -> None:
    """By vendor VFIO; a profile that no function lists has no size."""
    first, second = picture(sample("vgpu-vendor-vfio")).cards
    assert first.bar is not None
    assert first.bar.total_bytes is None
    assert not first.bar.all_known
    assert [slot.title for slot in first.bar.slots] == ["2Q", "4Q", "profile 1155", "16 GB"]
    assert second.bar is None
    assert second.problem == "no virtual function is enabled"
    assert not second.is_full


def test_full_card_says_so() -> None:
    """GVT-g: types without sizes, of which none is left."""
    [one] = picture(sample("igpu-gvtg")).cards
    assert one.bar is not None
    assert not one.bar.sized
    assert (one.problem, one.is_full, one.rooms) == ("no type has room", True, ())


def test_vm_that_has_a_vgpu_open_is_named_to_those_who_may_know() -> None:
    """By the name of the VM, else by the process; others see that it is open."""
    host = gpu_host(2, 4)
    slots = picture(host).cards[1].bar
    assert slots is not None
    assert (slots.slots[0].state, slots.slots[0].holder) == ("open", "guest-1-0")
    assert "by guest-1-0" in slots.slots[0].label
    hidden = picture(msgspec.structs.replace(host, show_holders=False)).cards[1].bar
    assert hidden is not None
    assert (hidden.slots[0].state, hidden.slots[0].holder) == ("open", "")
    assert "guest" not in str(msgspec.json.encode(picture(host).cards[0]))


@pytest.mark.parametrize(
    ("processes", "expected"),
    [
        ([Process(7, "qemu")], "qemu 7"),
        ([Process(7, "qemu", Vm(None, "5d4d1f0c-6d5b-45d5-9a64-3c6f0a3d1e01"))], "5d4d1f0c"),
        ([Process(7, "qemu", Vm("db", None)), Process(8, "x")], "db and 1 other"),
    ],
)
def test_holder_is_named_in_a_few_words(processes: list[Process], expected: str) -> None:
    """A process without a VM has its name and number."""
    [_, function] = devices = card(0x10, 1, [0])
    files = [OpenFiles(one, frozenset({"/dev/vfio/1"}), frozenset(), 0) for one in processes]
    usage = VfioUsage({"/dev/vfio/1": [function.path or ""]}, ProcessScan(tuple(files), 0, False))
    [one] = picture(Host(title="x", snapshot=Snapshot(devices), usage=usage)).cards
    assert one.bar is not None
    assert one.bar.slots[0].holder.startswith(expected)


def test_queues_of_ap_mdevs_are_cells_of_a_matrix() -> None:
    """A queue of an mdev, one that is free for guests, and one of the host."""
    matrix = picture(sample("s390x-ap-ccw")).matrix
    assert matrix is not None
    [row] = matrix.rows
    assert matrix.domains == ("0004", "0047", "00ab")
    cells = [(slot.state, slot.title) for slot in row.slots if slot is not None]
    assert cells == [("unknown", "M1"), ("room", ""), ("unknown", "M1")]
    assert [slot.title for slot in matrix.mdevs] == ["M1", "M2"]
    assert "05.0004 05.00ab" in matrix.mdevs[0].detail
    host = picture(sample("s390x-full")).matrix
    assert host is not None
    assert [states(tuple(one for one in row.slots if one)) for row in host.rows] == ["rr", "hh"]


def test_host_without_vgpus_shows_what_it_has_instead() -> None:
    """SR-IOV cards, interfaces and disks, by their place."""
    drawn = picture(sample("vdpa-smartnic"))
    assert [one.title for one in drawn.cards] == ["Mellanox ConnectX-6 Dx"]
    assert drawn.cards[0].bar is None
    assert [group.title for group in drawn.groups] == ["Network interfaces", "vDPA devices"]
    [place] = drawn.groups[0].places
    assert place.title == "NUMA 0 · PCI root 0000:3a"
    assert [item.title for item in place.items] == ["ens1f0np0", "eth1"]
    disks = picture(sample("server-storage-fc")).groups[-1]
    assert [one.title for one in disks.places] == ["PCI root 0000:00", "not behind PCI"]


def test_card_is_drawn_alone_by_any_of_its_devices() -> None:
    """A function, an mdev, the card; with its findings alone."""
    host = sample("vgpu-sriov")
    mdev = next(iter(snapshot_of("vgpu-sriov").select(["mdev_child"])))
    whole = picture(host)
    for name in ("0000:08:00.0", "0000:08:00.4", mdev.name):
        drawn = picture(host, name)
        assert drawn.cards == whole.cards
        assert (drawn.sums, drawn.rest) == ("", "")
    two = picture(sample("vgpu-vendor-vfio"), "0000:26:00.4")
    assert [one.address for one in two.cards] == ["0000:26:00.0"]
    assert two.notes == ()
    plain = picture(host, "0000:07:08.0")
    assert [one.problem for one in plain.cards] == [
        "it offers no vGPUs, and has no virtual functions"
    ]
    channel = picture(sample("s390x-ap-ccw"), "ap_matrix")
    assert channel.matrix == picture(sample("s390x-ap-ccw")).matrix
    assert (channel.groups, channel.cards) == ((), ())
    with pytest.raises(NoSuchDevice):
        picture(host, "nope")


def test_device_that_belongs_to_no_card_is_not_drawn_as_one() -> None:
    """The matrix is drawn for any AP device; for others the picture says so."""
    host = sample("s390x-ap-ccw")
    for name in ("ap_card05", "ap_05_0004"):
        drawn = picture(host, name)
        assert (drawn.cards, drawn.matrix, drawn.sums) == ((), picture(host).matrix, "")
    orphan = "mdev_d9e0f3a6_1b4c_4d72_8c38_5e6b9a0f2d04"
    for root, name, called in (
        ("s390x-ap-ccw", "computer", "computer"),
        ("empty", "/sys/class/net/lo", "lo"),
        ("vgpu-sriov", orphan, "mdev d9e0f3a6…2d04"),
    ):
        drawn = picture(sample(root), name)
        assert (drawn.cards, drawn.groups, drawn.matrix) == ((), (), None)
        assert drawn.sums == f"{called} belongs to no card"


def test_findings_that_say_the_same_are_one() -> None:
    """With the names of the first three devices; five are drawn."""
    names = [f"pci_0000_10_00_{number}" for number in range(4, 9)]
    findings = [
        Finding("warning", "function-wrong-driver", name, None, "bound to x", "") for name in names
    ]
    others = [Finding("note", "no-mdev", None, None, f"text {number}", "") for number in range(7)]
    host = msgspec.structs.replace(gpu_host(1, 4), findings=(*findings, *others))
    drawn = picture(host)
    assert drawn.notes[0].text.endswith(" and 2 more: bound to x")
    assert [one.text for one in drawn.notes[1:]] == ["text 0", "text 1", "text 2", "text 3"]
    assert drawn.more_notes == 3


def test_many_cards_that_are_alike_are_one_line() -> None:
    """One of them is drawn, and all that differ."""
    devices = [one for bus in range(20) for one in card(0x20 + bus, 4, [0] if bus == 7 else [])]
    host = Host(title="many", snapshot=Snapshot(devices))
    drawn = picture(host)
    assert [one.address for one in drawn.cards] == ["0000:20:00.0", "0000:27:00.0"]
    [alike] = drawn.alike
    assert (alike.count, alike.first, alike.last) == (18, "0000:21:00.0", "0000:33:00.0")
    assert drawn.more_cards == 0
    marked = Finding("note", "none-available", "pci_0000_30_00_0", "pci_0000_30_00_0", "x", "")
    drawn = picture(msgspec.structs.replace(host, findings=(marked,)))
    assert "0000:30:00.0" in [one.address for one in drawn.cards]


def test_many_functions_are_counted() -> None:
    """More than 64 of a card, or more than 1,000 cells in all."""

    def grids(cards: tuple[Card, ...]) -> set[bool]:
        return {bool(one.grid.slots) for one in cards if one.grid is not None}

    [one] = picture(Host(title="x", snapshot=Snapshot(card(0x10, 65)))).cards
    assert one.grid is not None
    assert one.grid.slots == ()
    assert [(count.state, count.count) for count in one.grid.counts] == [("room", 65)]
    [one] = picture(Host(title="x", snapshot=Snapshot(card(0x10, 90, range(70))))).cards
    assert one.bar is not None
    assert [(count.state, count.count) for count in one.bar.counts] == [("unknown", 70)]
    devices = [one for bus in range(16) for one in card(0x10 + bus, 64)]
    assert grids(picture(Host(title="x", snapshot=Snapshot(devices))).cards) == {False}
    assert grids(picture(gpu_host(4, 64)).cards) == {True}


def test_rest_is_counted_by_kind() -> None:
    """All devices are drawn, or counted as not drawn."""
    drawn = picture(sample("vgpu-sriov"))
    assert drawn.rest == "7 pci, 1 mdev_child"
    assert drawn.sums.endswith("30 devices")
