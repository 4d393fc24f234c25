"""nesting: children are added after their parent and removed before it, however reads fall.

The host changes in the kernel's small steps before and between the reads of each job, which reads
what some of the uevents are about, a parent alone, or the whole host.
"""

from __future__ import annotations

import itertools
import tempfile
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nodedevd.formats import FORMATS
from nodedevd.host.job import Job
from nodedevd.host.sysroot import Sysroot
from nodedevd.kinds.shared.mdevctl import DIRECTORY as DEFINITIONS
from nodedevd.model.changes import Added, Change, Changed, Removed, Update
from nodedevd.model.device import Device, filter_words
from nodedevd.model.snapshot import Snapshot
from nodedevd.model.store import NumberedChange, Store
from nodedevd.server.encodings import Encodings
from nodedevd.server.libvirt.devices import LifecycleEvent, NodeDevices
from nodedevd.tree.read import rescan, scan
from nodedevd.tree.touched import touched_paths
from nodedevd.tree.update import update
from tests.support.kernel_steps import (
    CLASS_PARENT,
    OPERATIONS,
    PARENTS,
    PATHS,
    UUIDS,
    ChangingSysroot,
    KernelSteps,
    Operation,
)
from tests.support.search import cases, examples

pytestmark = pytest.mark.exhaustive

BRIDGE_PATH = PATHS[0].rpartition("/")[0]


class View:
    """The active devices that a client has been sent, by path; fails if one comes out of turn."""

    def __init__(self, above: Callable[[str], Iterable[str]]) -> None:
        self._above = above
        self.paths: set[str] = set()

    def add(self, path: str) -> None:
        """Take a new device: the devices of this view that the kernel has above it are known."""
        missing = [one for one in self._above(path) if one not in self.paths]
        assert not missing, f"{path} is added before {missing}"
        self.paths.add(path)

    def remove(self, path: str) -> None:
        """Take a removal: nothing is left below it."""
        self.paths.remove(path)
        left = [one for one in self.paths if one.startswith(f"{path}/")]
        assert not left, f"{path} is removed before {left}"


def all_above(path: str) -> list[str]:
    """Return all devices that the kernel has above one."""
    return [one for one in (BRIDGE_PATH, *PARENTS) if path.startswith(f"{one}/")]


def parent_of_mdev(path: str) -> list[str]:
    """Return the parent of an mdev."""
    parent, _, name = path.rpartition("/")
    return [parent] if name in UUIDS else []


class Watchers:
    """Clients with different filters, and one of libvirt's protocol, which follow the changes."""

    def __init__(self, snapshot: Snapshot) -> None:
        self.devices = {device.name: device for device in snapshot}
        self._filters = {
            frozenset[str](): View(all_above),
            filter_words(["mdev_parent", "mdev_child"]): View(parent_of_mdev),
            filter_words(["pci", "mdev_child", "net"]): View(
                lambda path: [one for one in all_above(path) if one != CLASS_PARENT]
            ),
        }
        self._store = Store(snapshot)
        self._libvirt = NodeDevices(Encodings(self._store))
        self._of_libvirt = View(all_above)
        for device in sorted(snapshot, key=lambda device: device.path or ""):
            for wanted, view in self._filters.items():
                if (path := _path(device, wanted)) is not None:
                    view.add(path)
            if device.active and device.path is not None and FORMATS["libvirt"].shows(device):
                self._of_libvirt.add(device.path)

    def take(self, new: Update) -> None:
        """Take the changes of an update, one by one."""
        self._store.publish(new)
        first = new.snapshot.generation - len(new.changes) + 1
        for generation, change in enumerate(new.changes, first):
            self._apply(change)
            for wanted, view in self._filters.items():
                self._filter(change, wanted, view)
            self._events(NumberedChange(generation, change))
        assert self.devices == {device.name: device for device in new.snapshot}

    def _apply(self, change: Change) -> None:
        name = change.device.name
        if isinstance(change, Removed):
            assert self.devices.pop(name) is change.device
        else:
            assert self.devices.get(name) is getattr(change, "before", None)
            assert change.device.parent in self.devices or change.device.parent is None
            self.devices[name] = change.device
        assert {one.parent for one in self.devices.values()} <= {None, *self.devices}

    def _filter(self, change: Change, wanted: frozenset[str], view: View) -> None:
        before = change.before if isinstance(change, Changed) else change.device
        was, now = None, None
        if not isinstance(change, Added):
            was = _path(before, wanted)
        if not isinstance(change, Removed):
            now = _path(change.device, wanted)
        if was is not None and was != now:
            view.remove(was)
        if now is not None and was != now:
            view.add(now)

    def _events(self, numbered: NumberedChange) -> None:
        change = numbered.change
        for event in self._libvirt.events(numbered):
            if event.lifecycle is LifecycleEvent.CREATED and change.device.path is not None:
                self._of_libvirt.add(change.device.path)
            elif event.lifecycle is LifecycleEvent.DELETED:
                before = change.before if isinstance(change, Changed) else change.device
                self._of_libvirt.remove(before.path or "")


def _path(device: Device, wanted: frozenset[str]) -> str | None:
    """Return the path of an active device that passes a filter; an empty one passes all."""
    if not device.active or (wanted and not device.passes(wanted)):
        return None
    return device.path


def follow(
    root: str, operations: Sequence[Operation], waits: Sequence[int], jobs: Sequence[str]
) -> None:
    """Let a host change while it is followed; check every change, and the tree in the end.

    Args:
        root: An empty directory.
        operations: What the kernel does.
        waits: How many system calls of a job pass between the kernel's steps, in turn.
        jobs: What the jobs read, in turn.
    """
    kernel = KernelSteps(root)
    kernel.begin(operations)
    pauses = itertools.cycle(waits)
    left = next(pauses)

    def before_each_call() -> None:
        nonlocal left
        left -= 1
        if left <= 0:
            left = next(pauses)
            kernel.step()

    sysroot = ChangingSysroot(root, before_each_call)
    snapshot = scan(sysroot)
    watchers = Watchers(snapshot)
    reported = {DEFINITIONS}
    for job in itertools.cycle(jobs):
        under_way = kernel.step()
        count = 1 if job == "first event" else len(kernel.uevents)
        touched = touched_paths(kernel.uevents[:count], snapshot)
        del kernel.uevents[:count]
        if kernel.definitions_changed:
            touched.add(DEFINITIONS)
            kernel.definitions_changed = False
        if job == "parents":
            touched.update(PARENTS)
        reported |= touched
        if job == "rescan":
            new = rescan(sysroot, snapshot)
        else:
            volatile = {one.path or "" for one in snapshot if one.is_volatile}
            new = update(sysroot, snapshot, touched, volatile=volatile)
        watchers.take(new)
        snapshot = new.snapshot
        if not under_way and not kernel.uevents and not kernel.definitions_changed:
            break
    # The directory of a removed device went after its last uevent.
    watchers.take(update(sysroot, snapshot, reported))
    fresh = {device.name: device for device in scan(Sysroot(root))}
    assert watchers.devices == fresh


@settings(derandomize=True, max_examples=examples(3))
@given(
    st.lists(st.tuples(st.sampled_from(OPERATIONS), st.integers(0, 8)), max_size=12),
    st.lists(st.integers(1, 40), min_size=1, max_size=12),
    st.lists(
        st.sampled_from(["all events", "all events", "first event", "parents", "rescan"]),
        min_size=1,
        max_size=6,
    ),
)
def test_children_come_after_their_parent_and_go_before_it(
    operations: list[Operation], waits: list[int], jobs: list[str]
) -> None:
    """For every watcher, whatever its filter; and the tree equals the host in the end."""
    with tempfile.TemporaryDirectory() as root:
        follow(root, operations, waits, jobs)


THREE_MDEVS: list[Operation] = [(KernelSteps.create, 3 * number) for number in range(3)]
UNLOADED: list[Operation] = [(KernelSteps.load, 0), *THREE_MDEVS, (KernelSteps.unload, 0)]
UNPLUGGED: list[Operation] = [
    (KernelSteps.plug, 0),
    (KernelSteps.register, 1),
    *[(operation, number + 1) for operation, number in THREE_MDEVS],
    (KernelSteps.unplug, 2),
]


@pytest.mark.parametrize("operations", [UNLOADED, UNPLUGGED], ids=["class", "pci"])
@pytest.mark.parametrize("job", ["all events", "first event", "rescan"])
@pytest.mark.parametrize("wait", cases(range(1, 61)))
def test_parent_with_three_mdevs_comes_and_goes(
    tmp_path: Path, operations: list[Operation], job: str, wait: int
) -> None:
    """At any speed of the kernel, from a step before each system call to one in sixty."""
    follow(str(tmp_path), operations, [wait], [job])


@pytest.mark.parametrize("operations", [UNLOADED, UNPLUGGED], ids=["class", "pci"])
def test_event_of_the_first_mdev_is_read_when_all_are_gone(
    tmp_path: Path, operations: list[Operation]
) -> None:
    """The others and their parent are gone by then; their events have not been received yet."""
    kernel = KernelSteps(str(tmp_path))
    kernel.run(operations[:-1])
    sysroot = Sysroot(str(tmp_path))
    watchers = Watchers(old := scan(sysroot))
    kernel.uevents.clear()
    kernel.run(operations[-1:])
    watchers.take(update(sysroot, old, touched_paths(kernel.uevents[:1], old)))
    assert not {one.path for one in watchers.devices.values()} & {CLASS_PARENT, PATHS[0]}


def test_mdev_whose_read_hangs_goes_before_its_parent(tmp_path: Path) -> None:
    """It is not read, and the parent is found to be gone."""
    kernel = KernelSteps(str(tmp_path))
    kernel.run(UNLOADED[:-1])
    sysroot = Sysroot(str(tmp_path))
    watchers = Watchers(old := scan(sysroot))
    kernel.run(UNLOADED[-1:])
    stuck = f"{CLASS_PARENT}/{UUIDS[1]}"
    watchers.take(update(sysroot, old, {CLASS_PARENT, stuck}, job=Job({stuck})))
    assert list(watchers.devices) == ["computer"]


def test_new_mdev_with_a_definition_comes_after_its_parent_has_types(tmp_path: Path) -> None:
    """It is found by its definition, before the uevents of both have been received."""
    kernel = KernelSteps(str(tmp_path))
    kernel.run([(KernelSteps.plug, 0)])
    sysroot = Sysroot(str(tmp_path))
    watchers = Watchers(old := scan(sysroot))
    kernel.run([(KernelSteps.register, 1), (KernelSteps.create, 1), (KernelSteps.define, 1)])
    watchers.take(update(sysroot, old, {DEFINITIONS}))
    assert f"{PATHS[0]}/{UUIDS[0]}" in {one.path for one in watchers.devices.values()}
