"""Mdevctl's definitions, written by the control service and by mdevctl beside it."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from nodedevd.client import Control
from nodedevd.errors import Conflict, InvalidParameter, MadeByOther, NodedevError, NoSuchDevice
from tests.vm.guest import control, vm

pytestmark = [pytest.mark.usefixtures("no_mdevs"), pytest.mark.exhaustive]
AT_ONCE = 12
SCRIPTS = vm.DEFINITIONS / "scripts.d/callouts"


@pytest.fixture(scope="module")
def service(devices: None) -> Iterator[Control]:
    """Ask the service as root."""
    with control.enabled() as client:
        yield client


@pytest.fixture(autouse=True)
def _nothing_left(service: Control) -> Iterator[None]:
    """No change is left in the journal, whatever came of it."""
    yield
    assert control.journal() == []


def file_of(one: str, parent: str = "mtty") -> Path:
    """Return the file of a definition."""
    return vm.DEFINITIONS / parent / one


def test_definition_is_the_one_that_mdevctl_writes(service: Control) -> None:
    """Byte for byte, mode and owner too; each changes what the other has written."""
    ours, theirs = vm.new_uuid(), vm.new_uuid()
    attributes = [("power/control", "on"), ("power/control", "auto")]
    planned = service.define("mtty-2", "mtty", uuid=ours, dry_run=True)
    assert planned.steps
    assert not file_of(ours).exists()
    made = service.define("mtty-2", "mtty_mtty", uuid=ours, autostart=True, attributes=attributes)
    assert [device.name for device in made.devices] == [vm.mdev_name(ours)]
    assert not made.devices[0].active

    vm.run("mdevctl", "define", "-u", theirs, "-p", "mtty", "-t", "mtty-2", "--auto")
    for number, (name, value) in enumerate(attributes):
        words = (f"--addattr={name}", f"--value={value}", f"--index={number}")
        vm.run("mdevctl", "modify", "-u", theirs, *words)
    assert file_of(ours).read_bytes() == file_of(theirs).read_bytes()
    ours_stat, theirs_stat = file_of(ours).stat(), file_of(theirs).stat()
    assert (ours_stat.st_mode, ours_stat.st_uid) == (theirs_stat.st_mode, theirs_stat.st_uid)

    # The other way round.
    # As mdevctl 1.4 wants it: a type not alone, and one of the others at a time.
    for options in ("--type=mtty-1 --manual", "--delattr --index=0"):
        vm.run("mdevctl", "modify", "-u", ours, *options.split())
    service.modify(theirs, wanted="mtty-1", autostart=False, attributes=attributes[1:])
    assert file_of(ours).read_bytes() == file_of(theirs).read_bytes()
    found = control.defined()
    assert found["mtty", ours] == found["mtty", theirs]
    assert found["mtty", ours]["start"] == "manual"

    service.set_autostart(ours)
    assert control.defined()["mtty", ours]["start"] == "auto"
    # Defined again, it keeps that.
    service.define("mtty-1", "mtty", uuid=ours, attributes=attributes)
    assert control.defined()["mtty", ours]["start"] == "auto"
    service.set_autostart(ours, False)
    assert service.set_autostart(ours, False).steps == ()

    vm.run("mdevctl", "undefine", "-u", ours)
    service.undefine(theirs)
    assert control.defined() == {}
    control.refused(NoSuchDevice, lambda: service.undefine(theirs))


def test_defined_mdev_starts_and_stops(service: Control) -> None:
    """By us and by mdevctl, of definitions of both."""
    one = vm.new_uuid()
    service.define("mtty-2", "mtty", uuid=one, attributes={"power/control": "on"})
    started = service.start(one)
    assert vm.complete({device.name: device for device in started.devices}, one)
    assert control.active() == control.listed() == {one: ("mtty", "mtty-2")}
    assert (vm.MDEVS / one / "power/control").read_text() == "on\n"
    assert service.start(one).steps == ()
    (listed,) = [made for made in service.list().devices if made.name == vm.mdev_name(one)]
    assert listed.origin == "definition"
    service.stop(one)
    assert control.active() == {}
    assert service.stop(one).steps == ()

    vm.run("mdevctl", "start", "-u", one)
    with vm.watching() as watcher:
        watcher.until(lambda: vm.complete(watcher.devices, one))
    control.refused(MadeByOther, lambda: service.stop(one))
    service.stop(one, force=True)
    service.start(one)
    vm.run("mdevctl", "stop", "-u", one)
    assert control.active() == {}

    # A definition that goes leaves the mdev.
    service.start(one)
    service.undefine(one)
    assert control.active() == {one: ("mtty", "mtty-2")}
    service.remove(one, force=True)


def test_one_uuid_has_definitions_on_two_parents(service: Control) -> None:
    """They are told apart by the parent; undefining one leaves the other."""
    one = vm.new_uuid()
    service.define("mtty-2", "mtty", uuid=one)
    service.define("mdpy-vga", "mdpy", uuid=one)
    assert control.defined().keys() == {("mtty", one), ("mdpy", one)}
    for call in (service.start, service.undefine, service.set_autostart):
        control.refused(NodedevError, partial(call, one))
    service.start(one, parent="mdpy")
    assert control.active() == {one: ("mdpy", "mdpy-vga")}
    service.stop(one)
    service.undefine(one, parent="mtty")
    assert control.defined().keys() == {("mdpy", one)}
    service.undefine(one)


def test_failed_attribute_leaves_no_mdev(service: Control) -> None:
    """What is begun is undone: as mdevctl does."""
    one = vm.new_uuid()
    service.define("mtty-2", "mtty", uuid=one, attributes={"power/control": "bogus"})
    control.refused(NodedevError, lambda: service.start(one))
    assert control.active() == {}
    with pytest.raises(AssertionError, match="bogus"):
        vm.run("mdevctl", "start", "-u", one)
    assert control.active() == {}
    service.undefine(one)


def test_names_do_not_lead_out_of_the_directory(service: Control) -> None:
    """Mdevctl writes anywhere for such a parent."""
    for parent in ("../../tmp/evil", "..", "/tmp/evil", "mtty/../.."):
        control.refused(NodedevError, partial(service.define, "mtty-2", parent))
    control.refused(
        InvalidParameter,
        partial(service.define, "mtty-2", "mtty", attributes={"../x": "1"}),
    )
    assert control.defined() == {}
    assert not Path("/tmp/evil").exists()


def test_definitions_of_two_writers_are_all_kept(service: Control) -> None:
    """Mdevctl and the service define at the same time, on one parent; none is lost or torn."""
    ours, theirs = [[vm.new_uuid() for _ in range(AT_ONCE)] for _ in range(2)]

    def mdevctl() -> None:
        for one in theirs:
            vm.run("mdevctl", "define", "-u", one, "-p", "mtty", "-t", "mtty-1")

    beside = threading.Thread(target=mdevctl)
    beside.start()
    for one in ours:
        service.define("mtty-2", "mtty", uuid=one)
        service.set_autostart(one)
    beside.join()
    found = control.defined()
    assert found.keys() == {("mtty", one) for one in (*ours, *theirs)}
    assert all(found["mtty", one]["start"] == "auto" for one in ours)
    assert all(found["mtty", one]["mdev_type"] == "mtty-1" for one in theirs)
    assert {path.name for path in (vm.DEFINITIONS / "mtty").iterdir()} == {*ours, *theirs}


def test_callout_vetoes(service: Control) -> None:
    """A script of mdevctl's that exits 1 keeps the service from an action as it keeps mdevctl."""
    one, log = vm.new_uuid(), SCRIPTS.parent / "log"  # what the unit leaves writable
    script = SCRIPTS / "50-veto"
    SCRIPTS.mkdir(parents=True, exist_ok=True)  # Debian 13's mdevctl has none
    script.write_text(
        f'#!/bin/sh\necho "$@" >> {log}\n'
        'case "$*" in *"pre -a start"*) echo "not today" >&2; exit 1;; esac\n'
    )
    script.chmod(0o755)
    try:
        service.define("mtty-2", "mtty", uuid=one)
        refusal = control.refused(NodedevError, lambda: service.start(one))
        assert "not today" in str(refusal)
        assert control.active() == {}
        service.undefine(one)
        events = [line.split()[3:6:2] for line in log.read_text().splitlines()]
        assert ["pre", "start"] in events
        assert ["post", "undefine"] in events
    finally:
        script.unlink()
        log.unlink(missing_ok=True)


def test_uuid_defined_on_the_parent_is_replaced_only_knowingly(service: Control) -> None:
    """An mdev that runs is not redefined to another type without a word."""
    one = vm.new_uuid()
    service.define("mtty-2", "mtty", uuid=one)
    service.start(one)
    service.modify(one, wanted="mtty-1")
    control.refused(Conflict, lambda: service.start(one))
    assert control.active() == {one: ("mtty", "mtty-2")}
    service.stop(one)
    service.start(one)
    assert control.active() == {one: ("mtty", "mtty-1")}
    service.stop(one)
