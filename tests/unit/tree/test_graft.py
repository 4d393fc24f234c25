"""graft: any order of steps leads to the same tree, and the changes lead from tree to tree."""

from __future__ import annotations

from collections.abc import Iterable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nodedevd.host.faults import Fault
from nodedevd.kinds.mdev_child import MdevChild
from nodedevd.kinds.mdev_parent import MdevParent
from nodedevd.kinds.system import System
from nodedevd.model.changes import Added, Change, Changed, Removed, Update
from nodedevd.model.device import Device
from nodedevd.model.snapshot import Snapshot
from nodedevd.names import distinct_name
from nodedevd.tree.graft import Reading, graft
from tests.support.readings import assemble
from tests.support.search import examples

UUID = "27b42a51-9f6b-4c0b-8f5f-4f3a1d0e8c01"
# Names that come out alike, also one above the other, and one that is taken for ever.
TOPS = [
    "/sys/devices/v-1",
    "/sys/devices/v.1",
    "/sys/devices/v.1/v_1",
    "/sys/devices/v.10",
    "/sys/devices/w/v.1",
    "/sys/devices/w",
    "/sys/devices/computer",
]
PATHS = [*TOPS, *[f"{top}/{UUID}" for top in TOPS]]


def computer(*errors: Fault) -> Device:
    """Return the root of a tree."""
    return Device(
        name="computer",
        path=None,
        devnode=None,
        devlinks=(),
        parent=None,
        subsystem=None,
        sysname=None,
        driver=None,
        capabilities=(System(),),
        errors=errors,
    )


COMPUTER = computer()


def reading(path: str, driver: str | None = None) -> Reading:
    """Return a reading of an mdev or an mdev parent at a path."""
    parent_path, _, sysname = path.rpartition("/")
    capability: MdevParent | MdevChild = MdevParent(types=(), children=())
    if sysname == UUID:
        capability = MdevChild(
            uuid=UUID,
            mdev_type=None,
            parent=None,
            parent_addr=parent_path.rpartition("/")[2],
            parent_path=parent_path,
            iommu_group=None,
            vfio_device=None,
            state="incomplete",
            attributes=(),
            defined=False,
            definition=None,
            waits_for=None,
        )
    return Reading(
        path=path,
        devnode=None,
        devlinks=(),
        subsystem="mdev" if sysname == UUID else None,
        driver=driver,
        capabilities=(capability,),
        errors=(),
    )


def follow(old: Snapshot, changes: Iterable[Change]) -> dict[str, Device]:
    """Apply changes in order, as a watcher does, and check that each can be applied."""
    devices = {device.name: device for device in old}
    for change in changes:
        name = change.device.name
        if isinstance(change, Removed):
            assert devices.pop(name) is change.device
            assert all(device.parent != name for device in devices.values())
            continue
        if isinstance(change, Changed):
            assert devices[name] is change.before
            assert change.before != change.device
            assert change.parts
        else:
            assert name not in devices
            assert change.device.parent in devices
        devices[name] = change.device
    return devices


def check(old: Snapshot, update: Update, expected: Snapshot) -> None:
    """Check an update against the tree it has to come to."""
    new = update.snapshot
    assert list(new) == list(expected)
    assert new.shared_names == expected.shared_names
    assert set(new.paths) == {device.path for device in new if device.path is not None}
    assert all(new.at(device.path) is device for device in new if device.path is not None)
    assert follow(old, update.changes) == {device.name: device for device in new}
    assert new.generation == old.generation + len(update.changes)
    assert (new is old) == (not update.changes)
    for device in new:
        before = old.get(device.name)
        assert before is device or before != device
    paths = {Added: [""], Changed: [""], Removed: ["~"]}
    for change in update.changes:
        paths[type(change)].append(change.device.path or "")
    assert paths[Added] == sorted(paths[Added])
    assert paths[Changed] == sorted(paths[Changed])
    assert paths[Removed] == sorted(paths[Removed], reverse=True)


STEP = st.tuples(
    st.sets(st.sampled_from(PATHS), max_size=6),
    st.dictionaries(st.sampled_from(PATHS), st.sampled_from([None, "one", "other"]), max_size=6),
)


@pytest.mark.slow
@settings(derandomize=True, max_examples=examples(4))
@given(st.lists(STEP, max_size=6))
def test_any_steps_lead_where_one_would_have_led(
    steps: list[tuple[set[str], dict[str, str | None]]],
) -> None:
    """The tree depends only on the last readings; the changes lead from tree to tree."""
    there: dict[str, Reading] = {}
    snapshot = assemble(COMPUTER, [])
    for gone, drivers in steps:
        readings = [reading(path, driver) for path, driver in drivers.items()]
        for path in gone:
            there.pop(path, None)
        there.update({one.path: one for one in readings})
        update = graft(snapshot, gone=gone, readings=readings)
        check(snapshot, update, assemble(COMPUTER, there.values()))
        snapshot = update.snapshot


@settings(derandomize=True, max_examples=examples(1))
@given(st.permutations(PATHS))
def test_order_of_readings_does_not_matter(paths: list[str]) -> None:
    """Names and parents do not depend on the order of readings."""
    expected = assemble(COMPUTER, map(reading, sorted(PATHS)))
    assert list(assemble(COMPUTER, map(reading, paths))) == list(expected)


def test_smallest_path_has_the_name_and_its_heir_gets_it() -> None:
    """The next device has that name from then on, and its old name is gone."""
    first, second = "/sys/devices/v-1", "/sys/devices/v.1"
    old = assemble(COMPUTER, [reading(first), reading(second), reading(f"{second}/{UUID}")])
    apart = distinct_name("v_1", second)
    assert [device.path for device in map(old.get, ["v_1", apart]) if device] == [first, second]
    update = graft(old, gone=[first])
    assert [(type(change), change.device.name) for change in update.changes] == [
        (Changed, "v_1"),
        (Changed, f"mdev_{UUID.replace('-', '_')}"),
        (Removed, apart),
    ]
    heir = update.snapshot.get("v_1")
    assert heir is not None
    assert heir.path == second
    child = update.snapshot.at(f"{second}/{UUID}")
    assert child is not None
    assert child.parent == "v_1"
    assert child.capabilities[0].parent == "v_1"  # type: ignore[union-attr]
    assert update.snapshot.shared_names == {}


def test_device_called_computer_does_not_become_the_root() -> None:
    """No other device gets the root's name."""
    snapshot = assemble(COMPUTER, [reading("/sys/devices/computer")])
    assert snapshot.get("computer") is COMPUTER
    assert len(snapshot) == 2


def test_computer_that_is_the_same_stays_the_same_object() -> None:
    """A scan without differences makes no new snapshot; other DMI data is a change."""
    old = assemble(COMPUTER, [reading(TOPS[0])])
    same = computer()
    update = graft(old, gone=old.paths, readings=[reading(TOPS[0])], computer=same)
    assert update.snapshot is old
    faulty = computer(Fault("", "absent", ""))
    update = graft(old, computer=faulty)
    assert update.changes == (Changed(COMPUTER, faulty),)


def test_errors_of_a_scan_make_a_new_snapshot_of_the_same_generation() -> None:
    """They are shown in the status, and are no change of a device."""
    old = assemble(COMPUTER, [reading(TOPS[0])])
    fault = Fault("/sys/bus/pci/devices", "refused", "EACCES")
    update = graft(old, errors=(fault,))
    assert update.changes == ()
    assert update.snapshot.errors == (fault,)
    assert update.snapshot.generation == old.generation
    assert graft(update.snapshot).snapshot.errors == (fault,)
