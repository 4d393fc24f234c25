"""Real mdevs of the kernel's three sample drivers, made and removed under the daemon."""

from __future__ import annotations

import errno
import itertools
import json
import subprocess
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.watcher import Watcher
from tests.vm.guest import vm

each_sample = pytest.mark.parametrize("sample", vm.SAMPLES)
BURST = 24
"""all the ports that mtty has"""
REFUSED = 12
SHORT_LIVED = 24
SHORT_SECONDS = 0.15


@pytest.fixture
def watcher() -> Iterator[Watcher]:
    """Be told of mdevs and their parents; other devices come to rest meanwhile."""
    with vm.watching("mdev_", *map(vm.parent_name, vm.SAMPLES)) as watcher:
        yield watcher


pytestmark = pytest.mark.usefixtures("no_mdevs")


def of(lines: list[str], name: str) -> list[str]:
    """Return what was told of one device, without its name."""
    told = [line.split() for line in lines]
    return [" ".join([event, *parts]) for event, device, *parts in told if device == name]


def assert_in_pairs(lines: list[str], uuids: list[str]) -> int:
    """Expect each mdev to be added and removed, or not told at all; return how many were told."""
    told = [of(lines, vm.mdev_name(one)) for one in uuids]
    for events in told:
        assert [one for one in events if not one.startswith("changed")] in (
            [],
            ["added", "removed"],
        )
    return sum(map(bool, told))


@each_sample
def test_mdev_is_told_from_create_to_remove(sample: str, watcher: Watcher) -> None:
    """It is added once, complete in the end, removed once; its parent's counts go with it."""
    one, parent = vm.new_uuid(), vm.parent_name(sample)
    name = vm.mdev_name(one)
    before = vm.available(watcher.devices[parent])
    assert before == vm.kernel_available(sample)

    with vm.kernel_events("mdev", "vfio", "vfio-dev", sample) as heard:
        vm.create(sample, one)
        lines = watcher.until(lambda: name in watcher.devices)
        # A client that asks when it is told gets counts that are true already.
        created = vm.kernel_available(sample)
        assert vm.available(vm.described(parent)) == created
        lines += watcher.until(
            lambda: (
                vm.complete(watcher.devices, one)
                and vm.available(watcher.devices[parent]) == created
            )
        )
        assert created[vm.SAMPLES[sample]] == (before[vm.SAMPLES[sample]] or 0) - 1
        assert all(created[kind] is not None for kind in created)
        assert of(lines, name)[0] == "added"
        assert {line.split()[0] for line in of(lines, name)[1:]} <= {"changed"}
        assert {line.split()[1] for line in lines} == {name, parent}
        found = watcher.devices[name]
        cap = vm.mdev(found)
        driver = (vm.MDEVS / one / "driver").resolve().name
        assert (found.parent, cap.parent, found.driver) == (parent, parent, driver)
        assert cap.mdev_type is not None
        assert (cap.mdev_type.id, cap.mdev_type.device_api) == (vm.SAMPLES[sample], "vfio-pci")
        assert cap.iommu_group == int((vm.MDEVS / one / "iommu_group").resolve().name)
        assert cap.vfio_device is not None
        assert (vm.MDEVS / one / "vfio-dev" / cap.vfio_device.name).exists()
        # Its type's link comes after all of these, and of the parent there is no event at all.
        group, node = str(cap.iommu_group), cap.vfio_device.name
        assert heard() == [("add", one), ("add", group), ("add", node), ("bind", one)]

        vm.remove(one)
        lines = watcher.until(
            lambda: name not in watcher.devices and vm.available(watcher.devices[parent]) == before
        )
        assert of(lines, name)[-1] == "removed"
        assert of(lines, name).count("removed") == 1
        assert vm.available(vm.described(parent)) == before
        gone = [("remove", node), ("remove", group), ("unbind", one), ("remove", one)]
        assert heard() == gone


def test_one_nodedevctl_prints_all_events() -> None:
    """Added, changed, removed, of mdev and parent, as JSON: one line each, as they happen."""
    one, parent = vm.new_uuid(), vm.parent_name("mtty")
    command = ["nodedevctl", "events", "--json", "--initial", "--cap=mdev_child"]
    with subprocess.Popen([*command, "--cap=mdev_parent"], stdout=subprocess.PIPE) as printing:
        try:
            assert printing.stdout is not None
            lines = map(json.loads, printing.stdout)
            initial = list(itertools.takewhile(lambda line: line["event"] != "ready", lines))
            parents = sorted(map(vm.parent_name, vm.SAMPLES))
            assert sorted(line["name"] for line in initial) == parents
            vm.create("mtty", one)
            with vm.watching(vm.mdev_name(one)) as watcher:
                watcher.until(lambda: vm.complete(watcher.devices, one))
            vm.remove(one)
            told = []
            for line in lines:
                told.append((line["event"], line["name"]))
                if line["event"] == "removed":
                    break
        finally:
            printing.terminate()
    # A planned scan at this moment may find the parent changed before the mdev's uevent arrives.
    of_mdev = [event for event, name in told if name == vm.mdev_name(one)]
    assert (of_mdev[0], of_mdev[-1]) == ("added", "removed")
    assert {*of_mdev[1:-1]} <= {"changed"}
    assert ("changed", parent) in told


@pytest.fixture(scope="module")
def offered() -> list[dict[str, Any]]:
    """Return what nodedevctl prints of all types."""
    return list(vm.nodedevctl("types", "--json")["types"])


@each_sample
def test_types_are_the_kernels(sample: str, offered: list[dict[str, Any]]) -> None:
    """Id, name, API and counts of every type; a description where the driver has one."""
    told = [one for one in offered if one["card"] == vm.parent_name(sample)]
    types = vm.MDEV_BUS / sample / "mdev_supported_types"
    assert sorted(one["type"] for one in told) == sorted(one.name for one in types.iterdir())
    fields = {
        "type_name": "name",
        "available": "available_instances",
        "sure": "available_instances",
    }
    for one in told:
        for field in ("type_name", "device_api", "description", "available", "sure"):
            file = types / one["type"] / fields.get(field, field)
            kernels = file.read_text().strip() if file.exists() else None
            assert (None if one[field] is None else str(one[field])) == kernels
        assert (one["description"] is None) == (sample == "mtty")
    # It is no device of a bus or class mdev_bus, which is a folder of links alone.
    assert vm.described(vm.parent_name(sample)).subsystem == sample


def test_mdev_whose_removal_waits_for_its_user_stays(watcher: Watcher) -> None:
    """The kernel takes it off its bus and waits; it is shown, with its type, until it is gone."""
    one = vm.new_uuid()
    name = vm.mdev_name(one)
    vm.create("mtty", one)
    watcher.until(lambda: vm.complete(watcher.devices, one))
    before, taken = watcher.devices[name], vm.kernel_available("mtty")
    with vm.opened(one):
        remover = threading.Thread(target=vm.remove, args=[one])
        remover.start()
        vm.until(lambda: not (vm.MDEVS / one).exists(), "for the removal to begin")
        # Not every kernel sends an event by then.
        vm.until(lambda: vm.described(name).state == "removing", "for the state removing")
        found = vm.described(name)
        assert vm.mdev(found).mdev_type == vm.mdev(before).mdev_type
        assert (found.path, found.parent, found.driver) == (before.path, before.parent, None)
        assert vm.kernel_available("mtty") == taken
        assert vm.fresh()[name]["state"] == "removing"
        watcher.until(lambda: watcher.devices[name].state == "removing")
        assert remover.is_alive()
    remover.join(vm.PATIENCE_SECONDS)
    watcher.until(lambda: name not in watcher.devices)


def test_upper_case_uuid_is_told_in_lower_case(watcher: Watcher) -> None:
    """The kernel takes it, and names the device so."""
    one = vm.new_uuid()
    vm.create("mtty", one.upper())
    lines = watcher.until(lambda: vm.complete(watcher.devices, one))
    assert f"added {vm.mdev_name(one)}" in lines


def test_refused_create_is_told_to_nobody(watcher: Watcher) -> None:
    """A uuid that is in use anywhere, or none, makes no device and no event."""
    one = vm.new_uuid()
    vm.create("mtty", one)
    watcher.until(lambda: vm.complete(watcher.devices, one))
    vm.fence(watcher)
    for sample, bad, number in (
        ("mtty", one, errno.EEXIST),
        ("mdpy", one, errno.EEXIST),
        ("mdpy", "no-uuid", errno.EINVAL),
    ):
        with pytest.raises(OSError, match=r"\[Errno") as refused:
            vm.create(sample, bad)
        assert refused.value.errno == number
    assert vm.fence(watcher) == []


def test_unbound_mdev_loses_driver_and_group(watcher: Watcher, libvirtd: vm.Libvirt) -> None:
    """Both are told at once; libvirtd tells nothing. This kernel does not bind it again."""
    one = vm.new_uuid()
    name = vm.mdev_name(one)
    vm.create("mtty", one)
    watcher.until(lambda: vm.complete(watcher.devices, one))
    libvirtd.wait("created", vm.libvirt_name(one, "mtty"))
    seen = len(libvirtd.events)
    driver = (vm.MDEVS / one / "driver").resolve()
    vm.write(driver / "unbind", one)
    lines = watcher.until(lambda: watcher.devices[name].driver is None)
    lines += watcher.until(lambda: vm.mdev(watcher.devices[name]).iommu_group is None)
    assert of(lines, name)
    assert {line.split()[0] for line in of(lines, name)} == {"changed"}
    assert vm.mdev(watcher.devices[name]).vfio_device is None
    libvirtd.fence()
    assert not [event for event in libvirtd.events[seen:] if event[1].startswith("mdev_")]
    assert "<iommuGroup number=" in libvirtd.xml(vm.libvirt_name(one, "mtty"))
    with pytest.raises(OSError, match="No such device"):
        vm.write(driver / "bind", one)


@each_sample
def test_unloaded_module_takes_parent_and_children_away(sample: str, watcher: Watcher) -> None:
    """Children go before the parent; loaded again, it is told, with all its types."""
    uuids, parent = [vm.new_uuid() for _ in range(3)], vm.parent_name(sample)
    for one in uuids:
        vm.create(sample, one)
    watcher.until(lambda: vm.complete(watcher.devices, *uuids))
    with vm.kernel_events(sample) as heard:
        vm.run("modprobe", "-r", sample)
        lines = watcher.until(lambda: parent not in watcher.devices)
        assert not {vm.mdev_name(one) for one in uuids} & watcher.devices.keys()
        assert lines[-1] == f"removed {parent}"
        for one in uuids:
            assert of(lines, vm.mdev_name(one))[-1] == "removed"
        # It says by `change` that it is no parent any more, and then goes.
        assert heard() == [("change", sample), ("remove", sample)]

        vm.run("modprobe", sample)
        lines = watcher.until(
            lambda: (
                parent in watcher.devices
                and watcher.devices[parent].types == ("mdev_parent",)
                and vm.available(watcher.devices[parent]) == vm.kernel_available(sample)
            )
        )
        assert of(lines, parent)[0] == "added"
        assert heard() == [("add", sample), ("change", sample)]


def test_libvirts_clients_get_children_before_the_parent(libvirtd: vm.Libvirt) -> None:
    """Deleted first, over nodedevd's own libvirt socket; the parent comes back after that."""
    ours, parent = vm.Libvirt(vm.NODEDEVD), vm.parent_name("mbochs")
    uuids = [vm.new_uuid() for _ in range(3)]
    names = [vm.libvirt_name(one, "mbochs") for one in uuids]
    for one, name in zip(uuids, names, strict=True):
        vm.create("mbochs", one)
        ours.wait("created", name)
    seen = len(ours.events)
    vm.run("modprobe", "-r", "mbochs")
    ours.wait("deleted", parent, seen)
    deleted = [name for event, name, _ in ours.events[seen:] if event == "deleted"]
    assert sorted(deleted[: deleted.index(parent)]) == sorted(names)
    seen = len(ours.events)
    vm.run("modprobe", "mbochs")
    ours.wait("created", parent, seen)
    ours.connection.close()
    libvirtd.fence()


def test_burst_is_told_whole(watcher: Watcher) -> None:
    """All that the driver has room for, back to back, and away again."""
    uuids, parent = [vm.new_uuid() for _ in range(BURST)], vm.parent_name("mtty")
    for one in uuids:
        vm.create("mtty", one, "mtty-1")
    lines = watcher.until(
        lambda: (
            vm.complete(watcher.devices, *uuids)
            and vm.available(watcher.devices[parent]) == {"mtty-1": 0, "mtty-2": 0}
        )
    )
    names = {vm.mdev_name(one) for one in uuids}
    # In the kernel's order, but for those that were read at one time.
    added = [line for line in lines if line.startswith("added")]
    assert sorted(added) == sorted(f"added {name}" for name in names)
    for one in uuids:
        vm.remove(one)
    lines = watcher.until(
        lambda: (
            not names & watcher.devices.keys()
            and vm.available(watcher.devices[parent]) == {"mtty-1": 24, "mtty-2": 12}
        )
    )
    removed = [line for line in lines if line.startswith("removed")]
    assert sorted(removed) == sorted(f"removed {name}" for name in names)


def test_mdev_that_the_driver_refuses_is_told_in_a_pair(watcher: Watcher) -> None:
    """The kernel adds it before it asks the driver, and takes it away again when that refuses."""
    uuids = [vm.new_uuid() for _ in range(BURST)]
    for one in uuids:
        vm.create("mtty", one, "mtty-1")
    watcher.until(lambda: vm.complete(watcher.devices, *uuids))
    vm.fence(watcher)
    refused = [vm.new_uuid() for _ in range(REFUSED)]
    with vm.kernel_events("mdev") as heard:
        for one in refused:
            with pytest.raises(OSError, match="Errno") as refusal:
                vm.create("mtty", one, "mtty-1")
            assert refusal.value.errno == errno.ENOSPC
        assert heard() == [(event, one) for one in refused for event in ("add", "remove")]
    told = assert_in_pairs(vm.fence(watcher), refused)
    assert not {vm.mdev_name(one) for one in refused} & watcher.devices.keys()
    vm.figures.append(f"of {REFUSED} mdevs that the driver refused: nodedevd told {told}")


def test_daemon_killed_in_a_burst_comes_back_true() -> None:
    """SIGKILL, while mdevs are made: systemd starts it again, and it knows all of them."""
    before = int(vm.service("NRestarts")["NRestarts"])
    uuids = [vm.new_uuid() for _ in range(BURST)]
    for number, one in enumerate(uuids):
        vm.create("mtty", one, "mtty-1")
        if number == BURST // 2:
            vm.run("systemctl", "kill", "--signal=SIGKILL", "nodedevd.service")
    with vm.watching() as watcher:  # the socket was systemd's all the time
        watcher.until(lambda: vm.complete(watcher.devices, *uuids))
    assert int(vm.service("NRestarts")["NRestarts"]) == before + 1
    vm.assert_true()


def test_short_lived_mdevs_are_told_in_pairs(watcher: Watcher, libvirtd: vm.Libvirt) -> None:
    """What is gone a moment after it came is added and removed, and nothing of it stays."""
    uuids = [vm.new_uuid() for _ in range(SHORT_LIVED)]
    libvirtd.fence()
    for one in uuids:
        vm.create("mtty", one)
        time.sleep(SHORT_SECONDS)  # what is tested: a life of this length
        vm.remove(one)
    told = assert_in_pairs(vm.fence(watcher), uuids)
    libvirtd.fence()
    names = [vm.libvirt_name(one, "mtty") for one in uuids]
    theirs = {name for event, name, _ in libvirtd.events if event == "created"}
    vm.figures.append(
        f"of {SHORT_LIVED} mdevs that lived {SHORT_SECONDS * 1000:.0f} ms: nodedevd told"
        f" {told}, libvirtd {len(theirs.intersection(names))}"
    )
