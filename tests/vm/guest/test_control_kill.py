"""A change whose process is killed at any of its steps is taken up by the next start."""

from __future__ import annotations

import os
import signal
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

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
from nodedevd.control.acting import STOP_AT, Acting
from nodedevd.control.asker import this_process
from nodedevd.control.view import View
from nodedevd.errors import NodedevError, NoSuchDevice
from tests.vm.guest import control, vm
from tests.vm.guest.vgpusim import CARD, Function, bind, functions

UUID = "5eed5eed-0000-4000-8000-0000000000aa"
READS_HANG = True
CARD_NAME = "pci_" + CARD.name.replace(":", "_").replace(".", "_")
TYPE = "1155"
MTTY = ("mtty", UUID)
FILE = vm.DEFINITIONS / "mtty" / UUID
ON = [Attribute("power/control", "on")]


@dataclass(frozen=True)
class Case:
    """A change, what it needs, and what of the host it is about."""

    request: Request
    before: tuple[Request, ...]
    """what is asked for first"""
    state: Callable[[], object]


def mdev() -> object:
    """Return what is set of the mdev."""
    return (vm.MDEVS / UUID).exists() and (vm.MDEVS / UUID / "mdev_type").resolve().name


def definition() -> object:
    """Return the text of the definition."""
    return FILE.exists() and FILE.read_text()


def profile() -> object:
    """Return the profile of the first function."""
    return Function(0).current()


def driver() -> object:
    """Return whether the second function is a guest's, and the driver it is reserved for.

    Given back, it is for a while that of the driver for NVMe, which then gives up on it.
    """
    override = (Function(1).path / "driver_override").read_text()
    return ((Function(1).path / "driver").resolve().name == "vfio-pci", override)


def number() -> int:
    """Return how many virtual functions there are."""
    return int((CARD / "sriov_numvfs").read_text())


FIRST, SECOND = "first", "second"
CREATE = Create(type="mtty-2", names=["mtty"], uuid=UUID, owner="vm-1", attributes=ON)
DEFINE = Define(type="mtty-2", parent="mtty", uuid=UUID, attributes=ON)
PROFILE = Create(type=TYPE, names=[FIRST], owner="vm-1")
BIND = Bind(name=SECOND, driver="vfio-pci", group=True, owner="vm-1")

CASES = {
    "create": Case(CREATE, (), mdev),
    "remove": Case(Remove(name=UUID, owner="vm-1"), (CREATE,), mdev),
    "define": Case(DEFINE, (), definition),
    "undefine": Case(Undefine(name=UUID), (DEFINE,), definition),
    "start": Case(Start(name=UUID), (DEFINE,), mdev),
    "stop": Case(Stop(name=UUID), (DEFINE, Start(name=UUID)), mdev),
    "modify": Case(Modify(name=UUID, type="mtty-1"), (DEFINE,), definition),
    "set-autostart": Case(SetAutostart(name=UUID, autostart=True), (DEFINE,), definition),
    "create-vgpu": Case(PROFILE, (), profile),
    "remove-vgpu": Case(Remove(name=FIRST, owner="vm-1"), (PROFILE,), profile),
    "set-virtual-functions": Case(
        SetVirtualFunctions(name=CARD_NAME, number=1, force=True), (), number
    ),
    "bind": Case(BIND, (), driver),
    "unbind": Case(Unbind(name=SECOND, group=True, owner="vm-1"), (BIND,), driver),
}


@pytest.fixture(scope="module", autouse=True)
def _card() -> Iterator[None]:
    """Have two virtual functions, and mdevs that live as long as a case."""
    with functions(2):
        vm.run("modprobe", "vfio-pci")
        yield
    assert control.journal() == []


def restore() -> None:
    """Have the host as it is before each case, by other means than those that are tested."""
    with suppress(FileNotFoundError):
        vm.remove(UUID)
    FILE.unlink(missing_ok=True)
    if number() != 2:
        vm.write(CARD / "sriov_numvfs", "0")
        vm.write(CARD / "sriov_numvfs", "2")
    first, second = map(Function, range(2))
    if not (first.path / "nvidia").exists():
        bind(first)
    first.set("0")
    vm.write(second.path / "driver_override", "\n")
    if (second.path / "driver").exists():
        vm.write(second.path / "driver/unbind", second.address)


def points(case: Case, acting: Acting) -> list[str]:
    """Return where a change is stopped: around each step, and while it is confirmed."""
    plan = acting.act(named(case.request, dry_run=True), this_process()).plan
    assert plan
    steps = [f"{when}:{index}" for index in range(len(plan)) for when in ("doing", "done")]
    return [*steps, "confirmed", "records"]


def named(request: Request, **changes: object) -> Request:
    """Return a request for the functions that there are."""
    fields = {name: getattr(request, name) for name in request.__struct_fields__}
    names = {FIRST: Function(0).name, SECOND: Function(1).name}
    if fields.get("name") in names:
        fields["name"] = names[fields["name"]]
    if fields.get("names") == [FIRST]:
        fields["names"] = [names[FIRST]]
    return type(request)(**{**fields, **changes})


def in_child(act: Callable[[], None]) -> int:
    """Run a function in a copy of this process; return how that ended."""
    child = os.fork()
    if not child:
        try:
            act()
        except BaseException:
            traceback.print_exc()
            sys.stderr.flush()
            os._exit(1)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


@pytest.mark.exhaustive
@pytest.mark.parametrize("name", CASES)
def test_killed_change_is_taken_up(name: str, tmp_path: Path) -> None:
    """Done or not at all: the journal is empty, and the records are those of what is there."""
    case = CASES[name]
    found = tmp_path / "points"

    def prepare(view: View) -> Acting:
        acting = Acting("/", view=view)
        acting.recover()
        restore()
        for request in case.before:
            acting.act(named(request), this_process())
        return acting

    def look() -> None:
        acting = prepare(View("/"))
        found.write_text("\n".join(points(case, acting)))
        before = case.state()
        acting.act(named(case.request), this_process())
        (tmp_path / "states").write_text(f"{before!r}\n{case.state()!r}")

    def killed(point: str) -> None:
        view = View("/")
        prepare(view)
        os.environ[STOP_AT] = point
        Acting("/", view=view).act(named(case.request), this_process())

    def taken_up() -> None:
        acting = Acting("/")
        acting.recover()
        assert control.journal() == []
        assert acting.status().leftovers == ()
        state = repr(case.state())
        before, after = (tmp_path / "states").read_text().splitlines()
        assert before != after
        assert state in (before, after)
        # What was made has its record, and what was not has none.
        owned = [one for one in acting.made().devices if one.origin != "other"]
        try:
            left = acting.act(named(case.request, dry_run=True), this_process()).steps
        except NoSuchDevice:
            left = ()
        assert (left == ()) == (state == after), owned

    assert in_child(look) == 0
    for point in found.read_text().split():
        assert in_child(lambda point=point: killed(point)) == -signal.SIGKILL, point  # type: ignore[misc]
        assert in_child(taken_up) == 0, point
    restore()


def test_service_that_is_killed_goes_on_where_it_was() -> None:
    """As installed: systemd starts it again, and the client that asks next finds all in order."""
    one = vm.new_uuid()
    vm.run("systemctl", "set-environment", f"{STOP_AT}=done:0")
    try:
        with control.enabled() as client:
            control.refused(
                NodedevError, lambda: client.create("mtty-2", ["mtty"], uuid=one, owner="vm-1")
            )
            vm.run("systemctl", "unset-environment", STOP_AT)
            status = control.status()
            assert (control.journal(), status.leftovers) == ([], ())
            assert {made.name for made in control.made()} == (
                {vm.mdev_name(one)} if (vm.MDEVS / one).exists() else set()
            )
    finally:
        vm.run("systemctl", "unset-environment", STOP_AT)
        vm.remove_mdevs()
