"""recovery: a service that is killed at any point of any change leaves no half thing behind."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import NamedTuple

import pytest

from nodedevd.actions.requests import (
    Attribute,
    Bind,
    Create,
    Define,
    Modify,
    Remove,
    Request,
    SetAutostart,
    SetVirtualFunctions,
    Start,
    Stop,
    Unbind,
    Undefine,
)
from nodedevd.control.state import in_progress, leftovers
from nodedevd.errors import CardBusy, MadeByOther, NotConfirmed, StillWriting
from tests.support.acting_host import ActingHost, Killed
from tests.support.carried import uuids
from tests.support.pci_host import PF
from tests.support.played_kernel import mtty_parent, small_card, vendor_card
from tests.support.running import PATIENCE_SECONDS

UUID, OTHER = uuids(2, 100)
POWER = [Attribute("power/control", "on")]

State = tuple[object, ...]
"""All of a host that changes change, and the owners of what was made here; without names that are
chosen anew."""


class Case(NamedTuple):
    """A change, and the host that it is made on."""

    prepare: Callable[[ActingHost], None]
    request: Request


def mtty(host: ActingHost) -> None:
    """A parent."""
    mtty_parent(host.kernel, 4)


def an_mdev(host: ActingHost) -> None:
    """An mdev that was made here."""
    mtty(host)
    host.act(Create(type="mtty-1", uuid=UUID, owner="nova"))


def a_definition(host: ActingHost) -> None:
    """A definition with an attribute."""
    mtty(host)
    host.act(Define(type="mtty-2", parent="mtty", uuid=UUID, attributes=POWER))


def a_started_one(host: ActingHost) -> None:
    """A definition, and its mdev."""
    a_definition(host)
    host.act(Start(name=UUID))


def vendor(host: ActingHost) -> None:
    """A card with vendor VFIO."""
    vendor_card(host.kernel, small_card())


def a_vgpu(host: ActingHost) -> None:
    """A function with a profile that was set here."""
    vendor(host)
    host.act(Create(type="1", names=["0000:41:00.4"], owner="nova"))


def nvme(host: ActingHost) -> None:
    """A disk with SR-IOV, and a driver for guests."""
    host.pci.driver("vfio-pci")
    host.pci.card()


def two_functions(host: ActingHost) -> None:
    """A disk with two virtual functions, that were made here."""
    nvme(host)
    host.act(SetVirtualFunctions(name=PF, number=2))


def a_bound_one(host: ActingHost) -> None:
    """A disk that was bound to the driver for guests."""
    nvme(host)
    host.act(Bind(name=PF, driver="vfio-pci"))


CASES = {
    "create": Case(mtty, Create(type="mtty-1", uuid=UUID, owner="nova")),
    "create-two": Case(mtty, Create(type="mtty-1", count=2, owner="nova")),
    "create-attributes": Case(mtty, Create(type="mtty-1", uuid=UUID, attributes=POWER)),
    "create-profile": Case(vendor, Create(type="1", owner="nova")),
    "create-profiles": Case(vendor, Create(type="1", count=3, owner="nova")),
    "remove": Case(an_mdev, Remove(name=UUID, owner="nova")),
    "remove-profile": Case(a_vgpu, Remove(name="0000:41:00.4", owner="nova")),
    "define": Case(mtty, Define(type="mtty-1", parent="mtty", uuid=UUID)),
    "undefine": Case(a_definition, Undefine(name=UUID)),
    "modify": Case(a_definition, Modify(name=UUID, type="mtty-1")),
    "set-autostart": Case(a_definition, SetAutostart(name=UUID, autostart=True)),
    "start": Case(a_definition, Start(name=UUID)),
    "stop": Case(a_started_one, Stop(name=UUID)),
    "functions": Case(nvme, SetVirtualFunctions(name=PF, number=2)),
    "other-functions": Case(two_functions, SetVirtualFunctions(name=PF, number=3)),
    "no-functions": Case(two_functions, SetVirtualFunctions(name=PF, number=0)),
    "bind": Case(nvme, Bind(name=PF, driver="vfio-pci")),
    "unbind": Case(a_bound_one, Unbind(name=PF)),
}


def state(host: ActingHost) -> State:
    """Return the state of a host."""
    tree, kernel = host.kernel.tree, host.kernel
    definitions = {}
    for directory, names, files in os.walk(tree.at("/etc/mdevctl.d")):
        names[:] = [one for one in names if not one.startswith(".")]
        for name in files:
            definitions[name] = Path(directory, name).read_text(encoding="utf-8")
    functions = {}
    for path in kernel.pci.sriov:
        functions[path] = host.pci.text(f"{path}/sriov_numvfs")
        functions[f"{path}/driver"] = str(kernel.pci.bound(path))
        functions[f"{path}/driver_override"] = host.pci.text(f"{path}/driver_override")
    attributes = sorted(host.pci.text(f"{path}/power/control") for path in kernel.mdev.types)
    return (
        sorted(kernel.mdev.types.values()),
        attributes,
        sorted((one.path, one.current) for one in kernel.vendor.functions.values()),
        definitions,
        functions,
        sorted(map(str, host.owners.values())),
    )


class Whole(NamedTuple):
    """What happens when nothing interrupts a change."""

    before: State
    points: list[str]
    after: State


def whole(name: str, directory: Path, *, blind: bool = False) -> Whole:
    """Make a change; `blind`: the tree does not confirm it, and it is undone."""
    host = prepared(name, directory)
    before = state(host)
    host.view.blind = blind
    with pytest.raises(NotConfirmed) if blind else nullcontext():
        host.act(CASES[name].request)
    return Whole(before, host.points, state(host))


def prepared(name: str, directory: Path) -> ActingHost:
    """Return the host of a case."""
    host = ActingHost(directory)
    host.kernel.tree.directory("/etc")
    CASES[name].prepare(host)
    host.points.clear()
    return host


def killed(host: ActingHost, name: str, point: str) -> None:
    """Make a change until it is killed at a point."""
    host.kill_at(point)
    with pytest.raises(Killed):
        host.act(CASES[name].request)
    host.points.clear()


@pytest.mark.exhaustive
@pytest.mark.parametrize("name", CASES)
def test_killed_at_any_point_it_was_made_or_not(name: str, tmp_path: Path) -> None:
    """The journal is empty then; tree and owners are as before, or as after."""
    expected = whole(name, tmp_path / "whole")
    assert expected.before != expected.after
    found = []
    for number, point in enumerate(expected.points):
        host = prepared(name, tmp_path / str(number))
        killed(host, name, point)
        host.restart()
        assert host.entries() == [], point
        found.append(state(host))
        assert found[-1] in (expected.before, expected.after), point
        if found[-1] == expected.before:  # nothing stands in the way of another attempt
            host.act(CASES[name].request)
            assert state(host) == expected.after
    assert found[0] == expected.before
    last = expected.points.index("confirming") - 1
    assert found[last:] == [expected.after] * len(found[last:]), "what was all done is kept"


@pytest.mark.exhaustive
@pytest.mark.parametrize("name", CASES)
def test_killed_at_any_point_of_the_undo_nothing_is_left(name: str, tmp_path: Path) -> None:
    """The tree does not confirm the change, and the service is killed while it undoes it."""
    expected = whole(name, tmp_path / "whole", blind=True)
    for number, point in enumerate(expected.points):
        if expected.points.index("confirming") > number:
            continue
        host = prepared(name, tmp_path / str(number))
        host.view.blind = True
        killed(host, name, point)
        host.restart()
        assert (host.entries(), state(host)) == ([], expected.after), point


@pytest.mark.exhaustive
@pytest.mark.parametrize("name", ["create-two", "create-profiles", "other-functions", "bind"])
def test_killed_during_recovery_the_next_one_goes_on(name: str, tmp_path: Path) -> None:
    """At each point of the recovery after each step."""
    expected = whole(name, tmp_path / "whole")
    for first in [one for one in expected.points if one.startswith("done")]:
        host = prepared(name, tmp_path / first)
        killed(host, name, first)
        host.restart()
        points = host.points
        assert points[-1] == "ended"
        for second in points:
            host = prepared(name, tmp_path / f"{first}-{second}")
            killed(host, name, first)
            host.context = host.started()
            host.kill_at(second)
            with pytest.raises(Killed):
                host.recover()
            host.restart()
            assert host.entries() == [], (first, second)
            assert state(host) in (expected.before, expected.after), (first, second)


# -- in the midst of a write ---------------------------------------------------------------------


def test_write_that_outlives_the_service_is_taken_up_when_it_ends(tmp_path: Path) -> None:
    """The card stays locked, by the writer, and the status shows what hangs there."""
    host = ActingHost(tmp_path)
    parent = mtty_parent(host.kernel)
    path = f"{parent}/mdev_supported_types/mtty-1/create"
    host.kernel.hang(path)
    host.context.write_seconds = 0.01
    with pytest.raises(StillWriting):
        host.act(Create(type="mtty-1", uuid=UUID, owner="nova"))
    # The service starts anew; its predecessor's thread stands for the writer that hangs.
    host.restart(write_seconds=0.0)
    [one] = in_progress(host.context)
    assert (one.action, one.cards, one.hangs, one.pid) == ("create", ("mtty_mtty",), True, 4242)
    assert UUID in one.step
    assert leftovers(host.context) == ()
    host.kernel.resume(path)
    assert host.ended_late.wait(PATIENCE_SECONDS)
    assert in_progress(host.context) == ()
    assert (host.owners, host.entries()) == ({UUID: "nova"}, [])


def test_change_of_a_killed_process_is_shown_until_it_is_taken_up(tmp_path: Path) -> None:
    """Nodedevctl was killed, and the service goes on: the next change of the card does it."""
    host = ActingHost(tmp_path)
    mtty(host)
    host.kill_at("done:0")
    with pytest.raises(Killed):
        host.act(Create(type="mtty-1", count=2))
    [left] = leftovers(host.context)
    assert (left.action, left.cards) == ("create", ("mtty_mtty",))
    assert "interrupted" in left.left[0]
    host.act(Create(type="mtty-2", uuid=UUID))
    assert leftovers(host.context) == ()
    assert list(host.kernel.mdev.types.values()) == ["mtty-2"]


def test_hanging_undo_of_a_killed_process_is_answered_in_time(tmp_path: Path) -> None:
    """Whoever asks for the next change of the card is told what hangs there."""
    host = ActingHost(tmp_path)
    mtty(host)
    host.kill_at("done:0")
    with pytest.raises(Killed):
        host.act(Create(type="mtty-1", count=2))
    [path] = [f"{one.path}/remove" for one in host.view.snapshot() if one.name.startswith("mdev_")]
    host.kernel.hang(path)
    host.context.write_seconds = 0.01
    with pytest.raises(CardBusy, match="undo"):
        host.act(Create(type="mtty-2", uuid=UUID, owner="nova"))
    host.kernel.resume(path)
    host.context.locks.take(("mtty_mtty",), PATIENCE_SECONDS).release()
    assert host.kernel.mdev.types == {}, "what was refused is not done later"
    assert (host.owners, host.entries(), host.late) == ({}, [], [])


def test_record_that_is_no_text_is_nobodys(tmp_path: Path) -> None:
    """Its bytes are not UTF-8: the others, and the service, go on."""
    host = ActingHost(tmp_path)
    mtty(host)
    host.act(Create(type="mtty-1", uuid=UUID, owner="nova"))
    (tmp_path / "control" / "records" / UUID).write_bytes(b'{"card": "\xff"}')
    host.restart()
    with pytest.raises(MadeByOther):
        host.act(Remove(name=UUID, owner="nova"))


@pytest.mark.parametrize("data", [b'{"plan": 1}', b'{"since": "\xff"}'])
def test_entry_that_cannot_be_read_is_shown_and_left_alone(tmp_path: Path, data: bytes) -> None:
    """Of a later version, for example, or no text at all."""
    host = ActingHost(tmp_path)
    mtty(host)
    path = tmp_path / "control" / "journal" / "7.json"
    path.write_bytes(data)
    host.restart()
    [left] = leftovers(host.context)
    assert (left.number, left.action) == (7, None)
    assert "entry 7 of the journal cannot be read" in left.left[0]
    host.act(Create(type="mtty-1"))
    assert path.exists()


def test_foreign_mdev_with_the_same_uuid_is_kept_when_the_service_was_killed(
    tmp_path: Path,
) -> None:
    """Of another type: it is not what the killed service made."""
    host = ActingHost(tmp_path)
    parent = mtty_parent(host.kernel)
    host.kill_at("done:0")
    with pytest.raises(Killed):
        host.act(Create(type="mtty-1", uuid=UUID, owner="nova"))
    host.kernel.write(f"{parent}/{UUID}/remove", "1")
    host.kernel.write(f"{parent}/mdev_supported_types/mtty-2/create", UUID)
    host.restart()
    assert host.kernel.mdev.types == {f"{parent}/{UUID}": "mtty-2"}
    assert (host.owners, host.entries()) == ({}, [])


def test_function_that_another_vm_has_got_is_kept_when_the_service_was_killed(
    tmp_path: Path,
) -> None:
    """Its profile is not what the killed service set."""
    host = ActingHost(tmp_path)
    vendor(host)
    host.kill_at("done:0")
    with pytest.raises(Killed):
        host.act(Create(type="1", names=["0000:41:00.4"], count=1))
    [function] = [one for one in host.kernel.vendor.functions.values() if one.current == "1"]
    for value in ("0", "2"):
        host.kernel.write(f"{function.path}/nvidia/current_vgpu_type", value)
    host.restart()
    assert function.current == "2"
    assert (host.owners, host.entries()) == ({}, [])
