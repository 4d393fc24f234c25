"""unread: a system call that fails removes, renames and moves no device, whichever it is."""

from __future__ import annotations

import errno
import os
import random
import tempfile
from collections.abc import Iterable, Set
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nodedevd.errors import NoDevices
from nodedevd.host.faults import SHORTAGE
from nodedevd.host.sysroot import Sysroot
from nodedevd.kinds.shared.mdevctl import DIRECTORY as DEFINITIONS
from nodedevd.model.changes import Added, Changed, Removed, Update
from nodedevd.model.device import Device
from nodedevd.model.snapshot import Snapshot
from nodedevd.tree.read import rescan, scan
from nodedevd.tree.touched import touched_paths
from nodedevd.tree.unread import WHOLE_HOST, HostNotRead, NothingListed
from nodedevd.tree.update import update
from tests.support.failing_calls import ERRNOS, FailingSysroot, at, since
from tests.support.hosts import HOSTS, host_file
from tests.support.kernel_steps import OPERATIONS, KernelSteps, Operation
from tests.support.search import cases, examples

pytestmark = pytest.mark.exhaustive

SMALL = ("samples", "mdev-modified-while-it-runs")


def places(snapshot: Iterable[Device]) -> set[tuple[str, str | None, str | None, tuple[str, ...]]]:
    """Return what an error may not change: name, path, parent and kinds of each device."""
    return {(one.name, one.path, one.parent, one.types) for one in snapshot}


def retry(sysroot: Sysroot, snapshot: Snapshot, unread: Set[str]) -> Update:
    """Read again what could not be read, as the daemon does."""
    if WHOLE_HOST in unread:
        return rescan(sysroot, snapshot)
    return update(sysroot, snapshot, unread)


def check_kept(old: Snapshot, new: Update, about: str) -> None:
    """Fail if an error removed, renamed or moved a device, or is not shown."""
    assert places(new.snapshot) == places(old), about
    assert new.snapshot.generation == old.generation + len(new.changes), about
    for change in new.changes:
        assert isinstance(change, Changed), about
        assert not change.moved, about
        assert change.device.errors, f"{about}: {change.device.name} differs without an error"


@pytest.mark.parametrize("host", SMALL)
@pytest.mark.parametrize("number", ERRNOS)
def test_any_call_of_a_scan_may_fail(host: str, number: int) -> None:
    """Each call in turn, then all from that one on; afterwards the tree is as before."""
    sysroot = FailingSysroot(str(host_file(host)))
    old = scan(sysroot)
    sysroot.begin()
    rescan(sysroot, old)
    for index in cases(range(len(sysroot.calls))):
        for fails in (at(index, number), since(index, number)):
            about = f"{os.strerror(number)} at call {index}"
            sysroot.begin(fails)
            new = rescan(sysroot, old)
            check_kept(old, new, about)
            sysroot.begin()
            again = retry(sysroot, new.snapshot, new.unread) if new.unread else new
            assert list(again.snapshot) == list(old), about
            assert again.snapshot.errors == old.errors, about


@pytest.mark.parametrize("host", SMALL)
@pytest.mark.parametrize("number", ERRNOS)
def test_first_scan_is_whole_or_says_what_it_lacks(host: str, number: int) -> None:
    """For want of descriptors or memory there is none; else what failed is shown and read again."""
    sysroot = FailingSysroot(str(host_file(host)))
    whole = scan(sysroot)
    sysroot.begin()
    scan(sysroot)
    for index in cases(range(len(sysroot.calls))):
        about = f"{os.strerror(number)} at call {index}"
        sysroot.begin(at(index, number))
        try:
            new = rescan(sysroot, Snapshot(generation=0))
        except HostNotRead:
            assert number in SHORTAGE, about
            continue
        found = [*new.snapshot.errors, *(one for device in new.snapshot for one in device.errors)]
        known = [*whole.errors, *(one for device in whole for one in device.errors)]
        if number in SHORTAGE:
            assert list(new.snapshot) == list(whole), about
        elif places(new.snapshot) != places(whole):
            assert len(found) > len(known), about
        sysroot.begin()
        if new.unread:
            again = rescan(sysroot, new.snapshot).snapshot
            assert list(again) == list(whole), about


@pytest.mark.parametrize("host", SMALL)
@pytest.mark.parametrize("number", ERRNOS)
def test_any_call_of_an_update_may_fail(host: str, number: int) -> None:
    """All devices are touched, and mdevctl's directory."""
    sysroot = FailingSysroot(str(host_file(host)))
    old = scan(sysroot)
    touched = {*old.paths, DEFINITIONS, *(f"/sys/class/net/{name}" for name in ("enp2s0", "lo"))}
    sysroot.begin()
    update(sysroot, old, touched)
    for index in cases(range(len(sysroot.calls))):
        for fails in (at(index, number), since(index, number)):
            about = f"{os.strerror(number)} at call {index}"
            sysroot.begin(fails)
            new = update(sysroot, old, touched)
            check_kept(old, new, about)
            sysroot.begin()
            if new.unread:
                again = update(sysroot, new.snapshot, new.unread)
                assert list(again.snapshot) == list(old), about
                assert again.snapshot.errors == old.errors, about


@pytest.mark.parametrize("host", cases(HOSTS))
def test_random_calls_fail_for_long(host: str) -> None:
    """Of scans and updates of every sample host, in turn; afterwards the tree is the host's."""
    sysroot = FailingSysroot(str(host_file(host)))
    old = snapshot = scan(sysroot)
    rng = random.Random(host)
    # `broken` has a device without `subsystem`, of which only a scan knows what it is.
    paths = sorted(path for path in old.paths if not update(sysroot, old, {path}).changes)
    for _ in range(examples(0.3)):
        share, number = rng.choice((0.001, 0.02, 0.3, 1.0)), rng.choice(ERRNOS)

        def fails(
            count: int, name: str, path: str, share: float = share, n: int = number
        ) -> int | None:
            return n if rng.random() < share else None

        sysroot.begin(fails)
        if rng.random() < 0.5:
            new = rescan(sysroot, snapshot)
        else:
            touched = set(rng.sample(paths, min(len(paths), 12))) | {DEFINITIONS}
            new = update(sysroot, snapshot, touched)
        about = f"{os.strerror(number)} in {share:.1%} of the calls"
        assert places(new.snapshot) == places(old), about
        assert [one for one in new.changes if not isinstance(one, Changed) or one.moved] == []
        snapshot = new.snapshot
    sysroot.begin()
    assert list(rescan(sysroot, snapshot).snapshot) == list(old)


@settings(derandomize=True, max_examples=examples(3), deadline=None)
@given(
    st.lists(st.tuples(st.sampled_from(OPERATIONS), st.integers(0, 8)), max_size=10),
    st.lists(st.sampled_from(ERRNOS), min_size=1, max_size=4),
    st.sampled_from([0.0, 0.01, 0.1, 0.5, 1.0]),
    st.randoms(use_true_random=False),
)
def test_changing_host_whose_calls_fail_is_followed(
    operations: list[Operation], numbers: list[int], share: float, rng: random.Random
) -> None:
    """Nothing that is there leaves, and what is new comes below its parent."""
    with tempfile.TemporaryDirectory() as root:
        kernel = KernelSteps(root)
        sysroot = FailingSysroot(root)
        snapshot = scan(sysroot)
        unread: set[str] = set()

        def fails(count: int, name: str, path: str) -> int | None:
            return rng.choice(numbers) if rng.random() < share else None

        for operation in operations:
            before = scan(Sysroot(root))
            kernel.run([operation])
            there = scan(Sysroot(root))
            touched = touched_paths(kernel.uevents, snapshot) | unread
            touched |= {DEFINITIONS} if kernel.definitions_changed else set()
            kernel.uevents.clear()
            kernel.definitions_changed = False
            sysroot.begin(fails)
            if WHOLE_HOST in touched or rng.random() < 0.3:
                new = rescan(sysroot, snapshot)
            else:
                new = update(sysroot, snapshot, touched)
            unread = set(new.unread)
            check_order(snapshot, new)
            names = {one.name for one in there}
            for change in new.changes:
                if isinstance(change, Removed):
                    gone = before.get(change.device.name)
                    assert change.device.name not in names or gone is None, change.device.name
            snapshot = new.snapshot
        sysroot.begin()
        snapshot = rescan(sysroot, snapshot).snapshot
        assert list(snapshot) == list(scan(Sysroot(root)))
        assert snapshot.errors == ()


def check_order(old: Snapshot, new: Update) -> None:
    """Fail if a device comes before its parent, or leaves after it."""
    names = {one.name for one in old}
    for change in new.changes:
        if isinstance(change, Removed):
            names.discard(change.device.name)
        else:
            names.add(change.device.name)
            assert change.device.parent is None or change.device.parent in names
        if isinstance(change, Added):
            assert change.device.name in names
    assert names == {one.name for one in new.snapshot}


def test_sysfs_that_is_not_mounted_is_an_error(tmp_path: Path) -> None:
    """A host without devices would be the whole truth otherwise."""
    for directory in ("sys", "sys/devices"):
        (tmp_path / directory).mkdir()
        with pytest.raises(NoDevices, match=r"/sys has no devices"):
            scan(Sysroot(str(tmp_path)))


@pytest.mark.parametrize("number", [errno.EACCES, errno.EIO, errno.ENAMETOOLONG])
def test_sysfs_that_cannot_be_listed_is_an_error(number: int) -> None:
    """A host with nothing but its root would be the whole truth otherwise."""
    sysroot = FailingSysroot(str(host_file(SMALL[0])))
    sysroot.begin(since(0, number))
    with pytest.raises(NothingListed, match=f"cannot read any device: .*{errno.errorcode[number]}"):
        scan(sysroot)


def test_sysfs_that_is_unmounted_removes_no_device(tmp_path: Path) -> None:
    """The next event finds nothing there, and that is no answer."""
    kernel = KernelSteps(str(tmp_path))
    kernel.run([(KernelSteps.plug, 0)])
    old = scan(Sysroot(str(tmp_path)))
    (tmp_path / "sys").rename(tmp_path / "away")
    (tmp_path / "sys").mkdir()
    sysroot = Sysroot(str(tmp_path))
    with pytest.raises(NoDevices):
        update(sysroot, old, set(old.paths))
    with pytest.raises(NoDevices):
        rescan(sysroot, old)
