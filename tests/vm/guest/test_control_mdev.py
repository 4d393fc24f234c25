"""Mdevs of the kernel's sample drivers, made and removed by the control service."""

from __future__ import annotations

import grp
import json
import os
import threading
import time
from collections.abc import Iterator
from functools import partial

import pytest

from nodedevd.client import Control
from nodedevd.errors import (
    Changed,
    Conflict,
    DeviceInUse,
    MadeByOther,
    NoControl,
    NoRoom,
    NoSuchDevice,
    OwnedByOther,
)
from tests.vm.guest import control, vm

NOBODY, REFUSED = 65534, 3
each_sample = pytest.mark.parametrize("sample", vm.SAMPLES)
pytestmark = pytest.mark.usefixtures("no_mdevs")


@pytest.fixture(scope="module")
def service(devices: None) -> Iterator[Control]:
    """Ask the service as root; its limits are short."""
    with (
        control.configured("[limits]\nwrite_seconds = 5\nlock_seconds = 5\n"),
        control.enabled() as client,
    ):
        yield client


@pytest.fixture(autouse=True)
def _nothing_left(service: Control) -> Iterator[None]:
    """No change is left in the journal, whatever came of it."""
    yield
    assert control.journal() == []
    assert control.status().leftovers == ()


@each_sample
def test_mdev_is_made_and_removed(sample: str, service: Control) -> None:
    """The answer comes when the tree shows it: the device is complete, as `Describe` gives it."""
    one, parent, type_id = vm.new_uuid(), vm.parent_name(sample), vm.SAMPLES[sample]
    name, before = vm.mdev_name(one), vm.kernel_available(sample)

    planned = service.create(type_id, [parent], uuid=one, owner="vm-1", dry_run=True)
    assert planned.dry_run
    assert len(planned.steps) == len(planned.plan) == 1
    assert one in planned.steps[0]
    assert not (vm.MDEVS / one).exists()

    made = service.create(type_id, [parent], uuid=one.upper(), owner="vm-1")
    assert (made.steps, made.plan) == (planned.steps, planned.plan)
    assert [device.name for device in made.devices] == [name]
    assert vm.complete({name: made.devices[0]}, one)
    assert made.devices == (vm.described(name),)
    assert control.active() == control.listed() == {one: (sample, type_id)}
    (listed,) = [made for made in service.list().devices if made.name == name]
    assert (listed.origin, listed.owner, listed.uid) == ("client", "vm-1", 0)
    assert listed.generation == made.generation

    # What is so already is success, and nothing is done for it.
    again = service.create(type_id, [parent], uuid=one, owner="vm-1")
    assert (again.steps, [device.name for device in again.devices]) == ((), [name])

    removed = service.remove(name, owner="vm-1", generation=made.generation)
    assert len(removed.steps) == 1
    assert not (vm.MDEVS / one).exists()
    assert vm.kernel_available(sample) == before
    assert [made for made in service.list().devices if made.name == name] == []
    control.refused(NoSuchDevice, lambda: service.remove(name, owner="vm-1"))


def test_uuid_of_another_type_or_parent_is_taken(service: Control) -> None:
    """Which is no success, and changes nothing."""
    one = vm.new_uuid()
    service.create("mtty-2", ["mtty_mtty"], uuid=one)
    for type_id, parent in (("mtty-1", "mtty_mtty"), ("mdpy-vga", "mdpy_mdpy")):
        control.refused(Conflict, partial(service.create, type_id, [parent], uuid=one))
    assert control.active() == {one: ("mtty", "mtty-2")}
    service.remove(one)


def test_mdev_belongs_to_who_made_it(service: Control) -> None:
    """Neither another owner nor a client without one removes it; nor one that means an earlier."""
    one = vm.new_uuid()
    name = vm.mdev_name(one)
    first = service.create("mtty-2", ["mtty_mtty"], uuid=one, owner="vm-1")
    for owner in (None, "vm-2"):
        control.refused(OwnedByOther, partial(service.remove, name, owner=owner))
    service.remove(name, owner="vm-1", generation=first.generation)
    service.create("mtty-2", ["mtty_mtty"], uuid=one, owner="vm-1")
    # The late release of the first life.
    control.refused(
        Changed, lambda: service.remove(name, owner="vm-1", generation=first.generation)
    )
    assert one in control.active()
    service.remove(name, owner="vm-2", force=True)
    assert control.active() == {}


def test_what_others_have_made_takes_force(service: Control) -> None:
    """By hand or by mdevctl is alike."""
    by_hand, by_mdevctl = vm.new_uuid(), vm.new_uuid()
    vm.create("mtty", by_hand)
    vm.run("mdevctl", "start", "-u", by_mdevctl, "-p", "mtty", "-t", "mtty-1")
    with vm.watching() as watcher:
        watcher.until(lambda: vm.complete(watcher.devices, by_hand, by_mdevctl))
    for one in (by_hand, by_mdevctl):
        name = vm.mdev_name(one)
        refusal = control.refused(MadeByOther, partial(service.remove, name))
        assert refusal.origin == "other"
        service.remove(name, force=True)
    assert control.active() == {}


def test_mdevctl_removes_what_we_have_made(service: Control) -> None:
    """And the record is forgotten: the same UUID is anybody's again."""
    one = vm.new_uuid()
    service.create("mtty-2", ["mtty_mtty"], uuid=one, owner="vm-1")
    vm.run("mdevctl", "stop", "-u", one)
    with vm.watching(vm.mdev_name(one)) as watcher:
        watcher.until(lambda: vm.mdev_name(one) not in watcher.devices)
        vm.run("mdevctl", "start", "-u", one, "-p", "mtty", "-t", "mtty-2")
        watcher.until(lambda: vm.complete(watcher.devices, one))
    control.refused(MadeByOther, lambda: service.remove(vm.mdev_name(one), owner="vm-1"))
    vm.run("mdevctl", "stop", "-u", one)


def test_many_at_once_or_none(service: Control) -> None:
    """What does not fit altogether is not begun."""
    most = vm.kernel_available("mtty")["mtty-1"] or 0
    control.refused(NoRoom, lambda: service.create("mtty-1", ["mtty_mtty"], count=most + 1))
    assert control.active() == {}
    made = service.create("mtty-1", ["mtty_mtty"], count=most, owner="batch")
    assert len(made.devices) == len(control.active()) == most
    control.refused(NoRoom, lambda: service.create("mtty-1"))
    for device in made.devices:
        service.remove(device.name, owner="batch")
    assert vm.kernel_available("mtty")["mtty-1"] == most


@each_sample
def test_open_mdev_is_not_removed(sample: str, service: Control) -> None:
    """The kernel would wait until it is closed, and the writer could not be ended."""
    one = vm.new_uuid()
    name = vm.mdev_name(one)
    service.create(vm.SAMPLES[sample], [vm.parent_name(sample)], uuid=one)
    with vm.opened(one):
        refusal = control.refused(DeviceInUse, lambda: service.remove(name))
        assert refusal.name == name
        control.refused(DeviceInUse, lambda: service.remove(name, dry_run=True))
        assert control.active() == {one: (sample, vm.SAMPLES[sample])}
    service.remove(name)


def test_forced_removal_of_an_open_mdev_is_answered_in_time(service: Control) -> None:
    """It costs its card only, is visible, and is done once the device is closed."""
    one, other = vm.new_uuid(), vm.new_uuid()
    service.create("mtty-2", ["mtty_mtty"], uuid=one)
    errors: list[BaseException] = []

    def force() -> None:
        with Control(timeout_seconds=vm.PATIENCE_SECONDS) as client:
            try:
                client.remove(one, force=True)
            except Exception as error:
                errors.append(error)

    with vm.opened(one):
        forcing = threading.Thread(target=force)
        forcing.start()
        vm.until(
            lambda: any(change.action == "remove" for change in control.status().in_progress),
            "for the removal to be shown",
        )
        started = time.monotonic()
        made = service.create("mdpy-vga", ["mdpy_mdpy"], uuid=other)
        assert time.monotonic() - started < 10
        service.remove(made.devices[0].name)
        forcing.join(vm.PATIENCE_SECONDS)
        assert not forcing.is_alive()
        (error,) = errors
        assert "StillWriting" in type(error).__name__
        vm.until(lambda: any(change.hangs for change in control.status().in_progress))
    vm.until(lambda: control.status().in_progress == (), "for the removal to end")
    assert control.active() == {}


def test_members_of_the_group_may_ask_and_others_may_not() -> None:
    """By the socket's mode; who asked is kept, and logged with what was done."""
    one, group = vm.new_uuid(), grp.getgrnam("nodedevd").gr_gid

    def ask(*groups: int) -> int:
        child = os.fork()
        if not child:
            status = 0
            try:
                os.setgroups(groups)
                os.setgid(NOBODY)
                os.setuid(NOBODY)
                with Control(timeout_seconds=vm.PATIENCE_SECONDS) as client:
                    client.create("mtty-2", ["mtty"], uuid=one, owner="vm-1")
            except NoControl:
                status = REFUSED
            except BaseException:
                status = 1
            finally:
                os._exit(status)
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])

    assert ask() == REFUSED
    assert control.active() == {}
    assert ask(group) == 0
    (made,) = control.made()
    assert (made.name, made.owner, made.uid) == (vm.mdev_name(one), "vm-1", NOBODY)
    words = ("-qb", "-o", "json", "-t", "nodedevd-control", "NODEDEVD_OWNER=vm-1")

    def logged() -> list[dict[str, str]]:
        vm.run("journalctl", "--sync")
        records = map(json.loads, vm.run("journalctl", *words).splitlines())
        return [record for record in records if one in record["MESSAGE"]]

    (record,) = logged()
    assert (record["OBJECT_UID"], record["NODEDEVD_RESULT"]) == (str(NOBODY), "done")
    with Control(timeout_seconds=vm.PATIENCE_SECONDS) as client:
        client.remove(one, owner="vm-1")


def test_commands_print_what_was_made(service: Control) -> None:
    """The device as JSON, the domain's XML, or a plan that is not carried out."""
    planned = vm.run("nodedevctl", "create", "mtty-2", "--dry-run")
    assert "create the mdev" in planned
    assert control.active() == {}
    made = json.loads(vm.run("nodedevctl", "create", "mtty-2", "--owner=vm-1", "--json"))
    (one,) = control.active()
    assert vm.mdev_name(one) in json.dumps(made)
    vm.run("nodedevctl", "remove", one, "--owner=vm-1")
    assert control.active() == {}
    xml = vm.run("nodedevctl", "create", "mtty-2", "--hostdev")
    (one,) = control.active()
    assert "<hostdev" in xml
    assert one in xml
    vm.run("nodedevctl", "remove", one)
