"""left: what could not be undone is tried again, and what is somebody's by then is not touched."""

from __future__ import annotations

import errno
import json
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from nodedevd.actions.plan import Expected, Plan, RemoveMdev, RunCallouts, Write
from nodedevd.actions.requests import (
    Attribute,
    Bind,
    Create,
    Define,
    Remove,
    Request,
    SetAutostart,
    SetVirtualFunctions,
    Start,
    Unbind,
    Undefine,
)
from nodedevd.control.journal import Entry
from nodedevd.control.recovery import settle
from nodedevd.control.steps import run_callouts, set_profile, write_definition
from nodedevd.control.steps.base import StepHost
from nodedevd.errors import MadeByOther, NoSuchDevice, NotConfirmed, StepFailed
from tests.support.acting_host import ActingHost, Killed
from tests.support.carried import uuids
from tests.support.left_behind import leave, leave_functions, leave_open, unconfirmed
from tests.support.pci_host import NVME, PF
from tests.support.played_kernel import mdpy_parent, mtty_parent, small_card, vendor_card

UUID, OTHER = uuids(2, 100)
DISK = "0000:02:00.0"


@pytest.fixture
def host(tmp_path: Path) -> ActingHost:
    """Return a host without devices."""
    host = ActingHost(tmp_path)
    host.kernel.tree.directory("/etc")
    return host


def full(*given: object) -> None:
    """Fail as a disk that is full."""
    raise OSError(errno.ENOSPC, "No space left on device")


def number(host: ActingHost, card: str) -> str:
    """Return how many functions a card has."""
    return host.pci.text(f"{card}/sriov_numvfs")


def profile(host: ActingHost, function: str) -> str:
    """Return the profile of a function."""
    return host.kernel.vendor.functions[function].current


def definition(host: ActingHost) -> Path:
    """Return the file of a definition."""
    return Path(host.kernel.tree.at(f"/etc/mdevctl.d/mtty/{UUID}"))


def leave_definition(
    host: ActingHost, patch: pytest.MonkeyPatch, request: Define | Undefine
) -> None:
    """Change a definition, and be unable to change it back."""
    with patch.context() as during:
        host.on("undoing:0", lambda: during.setattr(write_definition, "write_definition", full))
        with unconfirmed(host) as failed:
            host.act(request)
    assert failed.value.left


def leave_two(host: ActingHost) -> None:
    """Create two mdevs that VMs open at once."""

    def open_both() -> None:
        for path in host.kernel.mdev.types:
            host.kernel.open(path)

    host.on("confirming", open_both)
    with unconfirmed(host) as failed:
        host.act(Create(type="mtty-1", count=2, owner="nova"))
    assert len(failed.value.left) == 2


def disk(host: ActingHost) -> str:
    """Add an NVMe disk that a client has bound to the driver for guests."""
    host.pci.driver("nvme", NVME)
    host.pci.driver("other", NVME)
    path = host.pci.function(DISK, driver="nvme", group=5)
    host.act(Bind(name=DISK, driver="vfio-pci", owner="a"))
    return path


def mount(host: ActingHost, path: str) -> None:
    """Mount what is on a disk."""
    host.kernel.tree.block("nvme0n1", above=f"{path}/nvme/nvme0", number=(259, 0))
    mounts = "30 1 259:0 / /srv rw - xfs /dev/nvme0n1 rw\n"
    host.kernel.tree.file("/proc/self/mountinfo", mounts)


# -- a client that tries again, with success -----------------------------------------------------


def test_mdev_that_is_asked_for_again_is_kept(host: ActingHost) -> None:
    """Its client was told that it has it."""
    path = f"{mtty_parent(host.kernel)}/{UUID}"
    create = Create(type="mtty-1", uuid=UUID, owner="nova")
    leave_open(host, create, path)
    assert [one.path for one in host.act(create).devices] == [path]
    host.restart()
    assert (host.owners, list(host.kernel.mdev.types)) == ({UUID: "nova"}, [path])
    assert host.entries() == []


def test_profile_that_is_asked_for_again_is_kept(host: ActingHost) -> None:
    """By its function, whose owner the client is."""
    [function, *_] = vendor_card(host.kernel, small_card())
    create = Create(type="1", names=[function], owner="nova")
    leave(host, create)
    assert len(host.act(create).devices) == 1
    host.restart()
    assert (profile(host, function), host.owners) == ("1", {function: "nova"})


def test_definition_that_is_started_again_runs_on(host: ActingHost) -> None:
    """As an mdev that is created again."""
    mtty_parent(host.kernel)
    host.act(Define(type="mtty-1", parent="mtty", uuid=UUID))
    leave(host, Start(name=UUID, owner="vm"))
    assert len(host.act(Start(name=UUID, owner="vm")).devices) == 1
    host.restart()
    assert len(host.kernel.mdev.types) == 1


def test_definition_that_is_written_again_is_kept(
    host: ActingHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The text is the same, so that the second one writes nothing."""
    mtty_parent(host.kernel)
    define = Define(type="mtty-1", parent="mtty", uuid=UUID)
    leave_definition(host, monkeypatch, define)
    assert host.act(define).steps == ()
    host.restart()
    assert definition(host).exists()


def test_definition_that_was_taken_away_later_stays_away(
    host: ActingHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between the two somebody has defined another one."""
    mtty_parent(host.kernel)
    host.act(Define(type="mtty-1", parent="mtty", uuid=UUID))
    leave_definition(host, monkeypatch, Undefine(name=UUID))
    host.act(Define(type="mtty-2", parent="mtty", uuid=UUID))
    host.act(Undefine(name=UUID))
    host.restart()
    assert not definition(host).exists()


@pytest.mark.parametrize(
    ("first", "left", "then"),
    [
        (2, 3, [("a", 2), ("a", 3)]),
        (0, 2, [("b", 3), ("b", 2)]),
        (0, 2, [("b", 2)]),
    ],
    ids=["own", "of-another", "so-already"],
)
def test_functions_that_are_asked_for_later_are_kept(
    host: ActingHost, first: int, left: int, then: list[tuple[str, int]]
) -> None:
    """Although there are as many as a change has left."""
    card = host.pci.card()
    if first:
        host.act(SetVirtualFunctions(name=PF, number=first, owner="a"))
    leave_functions(host, card, left)
    for owner, count in then:
        host.act(SetVirtualFunctions(name=PF, number=count, owner=owner, force=owner == "b"))
    host.restart()
    assert number(host, card) == str(then[-1][1])
    assert host.entries() == []


def test_functions_that_are_taken_away_later_stay_away(host: ActingHost) -> None:
    """What was left is that there are none."""
    card = host.pci.card()
    host.act(SetVirtualFunctions(name=PF, number=2, owner="a"))
    leave(host, SetVirtualFunctions(name=PF, number=0, owner="a"))
    host.act(SetVirtualFunctions(name=PF, number=4, owner="b"))
    host.act(SetVirtualFunctions(name=PF, number=0, owner="b"))
    host.restart()
    assert number(host, card) == "0"


@pytest.mark.parametrize("driver", ["other", None])
def test_driver_that_is_asked_for_later_is_kept(host: ActingHost, driver: str | None) -> None:
    """What was left is that any driver has the disk."""
    path = disk(host)
    leave(host, Unbind(name=DISK, owner="a"), step=2)
    if driver is None:
        host.act(Unbind(name=DISK, force=True))
    else:
        host.act(Bind(name=DISK, driver=driver, owner="b", force=True))
    host.restart()
    assert host.pci.driver_of(path) == (driver or "nvme")


def test_driver_that_somebody_else_has_bound_is_kept(host: ActingHost) -> None:
    """The probe has brought another one."""
    path = disk(host)
    leave(host, Unbind(name=DISK, owner="a"), step=2)
    host.kernel.write("/sys/bus/pci/drivers/nvme/unbind", DISK)
    host.kernel.write(f"{path}/driver_override", "other\n")
    host.kernel.write("/sys/bus/pci/drivers/other/bind", DISK)
    host.restart()
    assert host.pci.driver_of(path) == "other"


@pytest.mark.parametrize("other", ["functions", "driver", "definition"])
def test_change_of_something_else_on_the_same_path_ends_nothing(
    host: ActingHost, other: str
) -> None:
    """A function has a driver, functions and a profile; an mdev of that UUID has a definition."""
    mtty_parent(host.kernel)
    card, [function, *_] = host.pci.card(), vendor_card(host.kernel, small_card())
    if other == "functions":
        leave(host, Bind(name=PF, driver="vfio-pci", owner="a"), step=1)
        host.act(SetVirtualFunctions(name=PF, number=0, owner="z"))
    elif other == "driver":
        leave(host, Create(type="1", names=[function], owner="nova"))
        host.act(Bind(name=function, driver=host.pci.driver_of(function) or "", owner="z"))
    else:
        host.act(Define(type="mtty-1", parent="mtty", uuid=UUID))
        leave(host, Start(name=UUID, owner="vm"))
        host.act(SetAutostart(name=UUID, autostart=True))
    host.restart()
    assert host.pci.driver_of(card) == "nvme"
    assert (profile(host, function), host.kernel.mdev.types) == ("0", {})


def test_card_that_is_busy_keeps_no_other_from_a_uuid(host: ActingHost) -> None:
    """The mdev that was left there has gone since."""
    path = f"{mtty_parent(host.kernel)}/{UUID}"
    mdpy_parent(host.kernel)
    leave_open(host, Create(type="mtty-1", uuid=UUID, owner="nova"), path)
    host.kernel.write(f"{path}/remove", "1")
    [entry] = host.entries()
    locked = host.context.locks.take(entry.locks, 0)
    assert len(host.act(Create(type="mdpy-hd", uuid=UUID, owner="nova")).devices) == 1
    locked.release()
    host.restart()
    assert (list(host.kernel.mdev.types.values()), host.entries()) == (["mdpy-hd"], [])


def test_client_is_not_told_that_it_has_what_the_next_start_takes_away(
    host: ActingHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The journal cannot be written."""
    parent = mtty_parent(host.kernel)
    leave_two(host)
    monkeypatch.setattr(host.context.journal, "write", full)
    uuid = next(iter(host.kernel.mdev.types)).removeprefix(f"{parent}/")
    with pytest.raises(
        StepFailed, match=r"No space left on device \(ENOSPC\); nothing was changed"
    ):
        host.act(Create(type="mtty-1", uuid=uuid, owner="nova"))


# -- owners --------------------------------------------------------------------------------------


def test_functions_that_are_left_have_their_owner(host: ActingHost) -> None:
    """Who can take them away."""
    card = host.pci.card()
    leave_functions(host, card, 2)
    assert host.owners == {card: "a"}
    host.act(SetVirtualFunctions(name=PF, number=0, owner="a"))
    assert (number(host, card), host.entries()) == ("0", [])


def test_driver_that_is_left_has_its_owner(host: ActingHost) -> None:
    """Who can give the disk back."""
    host.pci.driver("nvme", NVME)
    path = host.pci.function(DISK, driver="nvme", group=5)
    leave_open(host, Bind(name=DISK, driver="vfio-pci", owner="a"), path)
    host.act(Unbind(name=DISK, owner="a"))
    assert (host.pci.driver_of(path), host.entries()) == ("nvme", [])


@pytest.mark.parametrize("by", ["a", "b"])
def test_functions_of_before_have_their_owner_again(host: ActingHost, by: str) -> None:
    """Those that were left were of whoever had asked for them."""
    card = host.pci.card()
    host.act(SetVirtualFunctions(name=PF, number=2, owner="a"))
    leave(host, SetVirtualFunctions(name=PF, number=3, owner=by, force=by == "b"), step=1)
    assert host.owners == {card: by}
    host.restart()
    assert (number(host, card), host.owners, host.entries()) == ("2", {card: "a"}, [])
    host.act(SetVirtualFunctions(name=PF, number=0, owner="a"))


def test_driver_of_before_has_its_owner_again(host: ActingHost) -> None:
    """It is a VM's disk, which somebody else has taken by force."""
    path = disk(host)
    leave(host, Bind(name=DISK, driver="other", owner="b", force=True), step=2)
    host.restart()
    assert (host.pci.driver_of(path), host.entries()) == ("vfio-pci", [])
    host.act(Unbind(name=DISK, owner="a"))


def test_functions_of_others_have_no_owner(host: ActingHost) -> None:
    """Another program has enabled some when the service was killed."""
    card = host.pci.card()
    host.act(SetVirtualFunctions(name=PF, number=2, owner="a"))
    host.kill_at("doing:1")
    with pytest.raises(Killed):
        host.act(SetVirtualFunctions(name=PF, number=3, owner="b", force=True))
    host.kernel.write(f"{card}/sriov_numvfs", "4")
    host.restart()
    assert (number(host, card), host.owners) == ("4", {card: "a"})
    with pytest.raises(MadeByOther):
        host.act(SetVirtualFunctions(name=PF, number=0, owner="b"))


@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "No space left on device"), Killed()])
def test_owner_of_before_is_known_after_an_entry_that_was_not_written(
    host: ActingHost, monkeypatch: pytest.MonkeyPatch, error: BaseException
) -> None:
    """The records were."""
    card = host.pci.card()
    host.act(SetVirtualFunctions(name=PF, number=2, owner="a"))
    write = host.context.journal.write

    def fail(entry: Entry) -> None:
        if entry.phase == "left":
            raise error
        write(entry)

    monkeypatch.setattr(host.context.journal, "write", fail)
    host.on("undoing:1", lambda: host.refusals.append(errno.EIO))
    host.view.blind = True
    with pytest.raises((NotConfirmed, Killed)):
        host.act(SetVirtualFunctions(name=PF, number=3, owner="b", force=True))
    host.view.blind = False
    host.restart()  # it was killed, or failed, after it had given the functions up
    host.restart()
    assert (number(host, card), host.owners, host.entries()) == ("2", {card: "a"}, [])


def test_owner_of_before_is_known_after_an_older_entry_that_was_not_removed(
    host: ActingHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The records of the later change were written, and it is undone."""
    card = host.pci.card()
    host.act(SetVirtualFunctions(name=PF, number=2, owner="a"))
    leave(host, SetVirtualFunctions(name=PF, number=3, owner="a"), step=1)
    with monkeypatch.context() as during:
        during.setattr(host.context.journal, "remove", full)
        with pytest.raises(StepFailed):
            host.act(SetVirtualFunctions(name=PF, number=4, owner="b", force=True))
    host.restart()
    assert (number(host, card), host.owners) == ("2", {card: "a"})


@pytest.mark.parametrize("first", [None, "third"])
def test_record_of_a_later_change_is_not_replaced(host: ActingHost, first: str | None) -> None:
    """Of a path there is one: the functions are of whoever made them, whatever its driver is."""
    card = host.pci.card()
    for driver in ("other", "third"):
        host.pci.driver(driver, NVME)
    if first is not None:
        host.act(Bind(name=PF, driver=first, owner="z"))
    leave(host, Bind(name=PF, driver="other", owner="a", force=True), step=2)
    host.act(SetVirtualFunctions(name=PF, number=2, owner="a"))
    host.restart()  # the driver cannot be undone under the functions
    host.restart()
    assert (number(host, card), host.pci.driver_of(card)) == ("2", "other")
    assert "has virtual functions enabled" in host.entries()[0].left[0]
    host.act(SetVirtualFunctions(name=PF, number=0, owner="a"))


def test_functions_that_never_came_have_no_owner(host: ActingHost) -> None:
    """The driver refuses them, and to bring those of before back."""
    card = host.pci.card()
    host.act(SetVirtualFunctions(name=PF, number=2, owner="a"))
    attribute = f"{card}/sriov_numvfs"
    host.on("doing:1", lambda: host.kernel.refuse(attribute, errno.ENOMEM, errno.EIO))
    with pytest.raises(StepFailed) as failed:
        host.act(SetVirtualFunctions(name=PF, number=3, owner="b", force=True))
    assert len(failed.value.left) == 1
    host.restart()
    assert (number(host, card), host.owners) == ("2", {card: "a"})


def leave_removal(host: ActingHost) -> str:
    """Remove an mdev, fail then, and be unable to create it again; return its parent."""
    parent = mtty_parent(host.kernel)
    host.act(Create(type="mtty-2", uuid=UUID, owner="nova"))
    host.kernel.refuse(f"{parent}/mdev_supported_types/mtty-2/create", errno.EIO)
    fail_to_remove(host, parent)
    return parent


def fail_to_remove(host: ActingHost, parent: str) -> StepFailed:
    """Remove an mdev, and fail then."""
    path = f"{parent}/power/control"
    host.kernel.tree.file(path, "auto\n")
    steps = (RemoveMdev(parent, "mtty-2", UUID), Write(path, "on", before="auto"))
    with pytest.raises(StepFailed) as failed:
        host.carry_out(
            Plan(action="remove", cards=("mtty",), steps=steps, expected=(), forgotten=(UUID,))
        )
    return failed.value


@pytest.mark.parametrize(
    ("request_", "types"),
    [
        (Remove(name=UUID, owner="nova"), []),
        (Create(type="mtty-1", uuid=OTHER, owner="cinder"), ["mtty-1"]),
        (None, ["mtty-2"]),
    ],
    ids=["again", "another", "none"],
)
def test_mdev_that_was_to_be_removed_does_not_come_back_as_nobodys(
    host: ActingHost, request_: Request | None, types: list[str]
) -> None:
    """Only as long as its owner is known, who does not try again."""
    leave_removal(host)
    if request_ is not None:
        with suppress(NoSuchDevice):
            host.act(request_)
    host.restart()
    assert (list(host.kernel.mdev.types.values()), host.entries()) == (types, [])
    assert len(host.owners) == len(types)


def test_mdev_without_a_record_is_not_created_again(
    host: ActingHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It would be nobody's; at the next start it is, and its owner's."""
    parent = mtty_parent(host.kernel)
    host.act(Create(type="mtty-2", uuid=UUID, owner="nova"))
    with monkeypatch.context() as during:
        host.on("undoing:0", lambda: during.setattr(host.context.records, "put", full))
        failed = fail_to_remove(host, parent)
    assert failed.undone == ()
    assert "whose it is cannot be kept: No space left" in failed.left[0]
    host.restart()
    assert (len(host.kernel.mdev.types), host.owners, host.entries()) == (1, {UUID: "nova"}, [])


def test_mdev_that_others_have_made_anew_is_not_claimed(host: ActingHost) -> None:
    """It has the UUID, and the type, of one that could not be created again."""
    parent = leave_removal(host)
    host.kernel.write(f"{parent}/mdev_supported_types/mtty-2/create", UUID)
    host.restart()
    assert (len(host.kernel.mdev.types), host.owners, host.entries()) == (1, {}, [])


@pytest.mark.parametrize("point", ["doing:0", "confirmed"])
def test_mdev_of_others_is_not_claimed_by_an_interrupted_removal(
    host: ActingHost, point: str
) -> None:
    """It has the UUID of the one that was removed."""
    parent = mtty_parent(host.kernel)
    host.act(Create(type="mtty-1", uuid=UUID, owner="nova"))
    host.kill_at(point)
    with pytest.raises(Killed):
        host.act(Remove(name=UUID, owner="nova"))
    if point == "doing:0":
        host.kernel.write(f"{parent}/{UUID}/remove", "1")
    host.kernel.write(f"{parent}/mdev_supported_types/mtty-1/create", UUID)
    host.restart()
    with pytest.raises(MadeByOther):
        host.act(Remove(name=UUID, owner="nova"))


def test_profile_of_others_is_not_claimed_by_an_interrupted_removal(host: ActingHost) -> None:
    """The journal knows that the one before it was taken away."""
    [function, *_] = vendor_card(host.kernel, small_card())
    host.act(Create(type="1", names=[function], owner="nova"))
    host.kill_at("confirmed")
    with pytest.raises(Killed):
        host.act(Remove(name=function, owner="nova"))
    host.kernel.write(f"{function}/nvidia/current_vgpu_type", "1")
    host.restart()
    assert (host.owners, host.entries()) == ({}, [])


# -- undo ----------------------------------------------------------------------------------------


def hide_mounts(host: ActingHost, path: str) -> None:
    """Mount what is on a disk, so that nobody can read it."""
    mount(host, path)
    host.kernel.tree.remove("/proc/self/mountinfo")
    host.kernel.tree.directory("/proc/self/mountinfo")


@pytest.mark.parametrize(
    ("use", "why"),
    [
        (mount, "the host uses it: /srv is mounted from nvme0n1"),
        (hide_mounts, "whether the host uses a lost disk is unknown: its mounts cannot be read"),
    ],
)
def test_undo_takes_no_mounted_disk_away(
    host: ActingHost, use: Callable[[ActingHost, str], None], why: str
) -> None:
    """It was mounted as soon as the host had it, and is not reserved for guests again."""
    path = disk(host)
    host.on("confirming", lambda: use(host, path))
    with unconfirmed(host) as failed:
        host.act(Unbind(name=DISK, owner="a"))
    last, *before = failed.value.left
    assert last.endswith(f": {why}")
    assert [one.rpartition(": ")[2] for one in before] == ["what came after it is left"] * 2
    assert failed.value.undone == ()
    reserved = host.pci.text(f"{path}/driver_override")
    assert (host.pci.driver_of(path), reserved) == ("nvme", "(null)")


@pytest.mark.parametrize("driver", ["other", None])
def test_disk_that_was_given_back_is_left_alone_after_a_crash(
    host: ActingHost, driver: str | None
) -> None:
    """Another program has given it another driver, or has unloaded that."""
    path = disk(host)
    host.kill_at("confirmed")
    with pytest.raises(Killed):
        host.act(Unbind(name=DISK, owner="a"))
    host.kernel.write("/sys/bus/pci/drivers/nvme/unbind", DISK)
    if driver is not None:
        host.kernel.write(f"/sys/bus/pci/drivers/{driver}/bind", DISK)
    host.restart()
    assert (host.pci.driver_of(path), host.entries()) == (driver, [])
    assert host.pci.text(f"{path}/driver_override") == "(null)"


def fill_journal(host: ActingHost, function: str, patch: pytest.MonkeyPatch) -> None:
    """Have no room for the entry of the second step."""
    host.on("doing:0", lambda: patch.setattr(host.context.journal, "write", full))


def fail_to_look(host: ActingHost, function: str, patch: pytest.MonkeyPatch) -> None:
    """Fail to read the profile of the second function, once."""
    read, failed = set_profile.current, list[str]()

    def look(path: str, on: StepHost) -> str | None:
        if path == function and not failed:
            failed.append(path)
            raise OSError(errno.EIO, "Input/output error")
        return read(path, on)

    patch.setattr(set_profile, "current", look)


@pytest.mark.parametrize("fail", [fill_journal, fail_to_look])
def test_step_that_has_not_begun_is_not_undone(
    host: ActingHost,
    monkeypatch: pytest.MonkeyPatch,
    fail: Callable[[ActingHost, str, pytest.MonkeyPatch], None],
) -> None:
    """Another program has set the same meanwhile."""
    first, second, *_ = vendor_card(host.kernel, small_card())
    current = f"{second}/nvidia/current_vgpu_type"
    host.on("done:0", lambda: host.kernel.write(current, "1"))
    fail(host, second, monkeypatch)
    with pytest.raises(StepFailed) as failed:
        host.act(Create(type="1", names=[first, second], count=2, owner="nova"))
    assert len(failed.value.undone) == 1
    assert [profile(host, one) for one in (first, second)] == ["0", "1"]


def test_removal_that_worked_is_not_undone_with_a_full_journal(
    host: ActingHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The entry of the change that has left the device cannot be written."""
    parent = mtty_parent(host.kernel)
    leave_two(host)
    path = next(iter(host.kernel.mdev.types))
    host.kernel.close(path)
    host.on("confirmed", lambda: monkeypatch.setattr(host.context.journal, "write", full))
    host.act(Remove(name=path.removeprefix(f"{parent}/"), owner="nova"))
    assert path not in host.kernel.mdev.types


@pytest.mark.parametrize(
    ("attribute", "request_"),
    [
        ("current_vgpu_type", Create(type="1", owner="a")),
        ("sriov_numvfs", SetVirtualFunctions(name=PF, number=2, owner="a")),
    ],
)
def test_write_that_cannot_be_read_back_is_left_and_told(
    host: ActingHost, monkeypatch: pytest.MonkeyPatch, attribute: str, request_: Request
) -> None:
    """It may have worked."""
    vendor_card(host.kernel, small_card())
    host.pci.card()
    write = host.kernel.write

    def hide(path: str, value: str) -> None:
        write(path, value)
        if path.endswith(attribute):
            host.kernel.tree.remove(path)
            host.kernel.tree.directory(path)  # a read fails with EISDIR

    monkeypatch.setattr(host.kernel, "write", hide)
    with pytest.raises(StepFailed) as failed:
        host.act(request_)
    assert len(failed.value.left) == 1
    assert (list(host.owners.values()), len(host.entries())) == (["a"], 1)


def test_other_profile_that_a_vm_has_opened_is_told(
    host: ActingHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The driver has set another one than it was asked for."""
    [function, *_] = vendor_card(host.kernel, small_card())
    write = host.kernel.write

    def set_another(path: str, value: str) -> None:
        write(path, "2")
        host.kernel.open(function)

    monkeypatch.setattr(host.kernel, "write", set_another)
    with pytest.raises(StepFailed) as failed:
        host.act(Create(type="1", names=[function], owner="nova"))
    [left] = failed.value.left
    assert left == f"{function} shows 2, not 0: a process has opened it meanwhile"
    assert len(host.entries()) == 1


def test_what_others_have_changed_since_is_not_answered_as_undone(host: ActingHost) -> None:
    """Nor is it left: it is theirs."""
    mtty_parent(host.kernel)
    theirs = '{"mdev_type":"mtty-2"}'

    def change() -> None:
        definition(host).write_text(theirs, encoding="utf-8")

    host.on("confirming", change)
    with unconfirmed(host) as failed:
        host.act(Define(type="mtty-1", parent="mtty", uuid=UUID))
    assert definition(host).read_text(encoding="utf-8") == theirs
    assert (failed.value.undone, failed.value.left, host.entries()) == ((), (), [])


def test_attribute_of_what_is_left_is_not_answered_as_undone(host: ActingHost) -> None:
    """It stays with its mdev."""
    path = f"{mtty_parent(host.kernel)}/{UUID}"
    attributes = [Attribute("power/control", "on")]
    host.on("confirming", lambda: host.kernel.open(path))
    with unconfirmed(host) as failed:
        host.act(Create(type="mtty-1", uuid=UUID, attributes=attributes))
    assert (failed.value.undone, len(failed.value.left)) == ((), 1)
    assert host.pci.text(f"{path}/power/control") == "on"


def test_last_change_is_undone_first(host: ActingHost) -> None:
    """What the first one brings back is not what the last one has found."""
    card = host.pci.card()
    host.act(SetVirtualFunctions(name=PF, number=2, owner="a"))
    host.refusals = [None, errno.ENODEV, errno.ENODEV]
    with pytest.raises(StepFailed):
        host.act(SetVirtualFunctions(name=PF, number=3, owner="a"))
    host.refusals = []
    host.kill_at("doing:0")
    with pytest.raises(Killed):
        host.act(SetVirtualFunctions(name=PF, number=3, owner="a"))
    host.restart()
    assert (number(host, card), host.owners, host.entries()) == ("2", {card: "a"}, [])


# -- the journal ---------------------------------------------------------------------------------


def test_entry_of_the_version_before_keeps_what_others_did_first(
    host: ActingHost, tmp_path: Path
) -> None:
    """Its steps are called `already`, and the journal outlives an upgrade."""
    parent = mtty_parent(host.kernel)
    create = f"{parent}/mdev_supported_types/mtty-1/create"
    host.kernel.before(create, lambda: host.kernel.write(create, UUID))
    host.kill_at("done:0")
    with pytest.raises(Killed):
        host.act(Create(type="mtty-1", uuid=UUID))
    [file] = (tmp_path / "control" / "journal").iterdir()
    entry = json.loads(file.read_text(encoding="utf-8"))
    file.write_text(json.dumps({**entry, "already": [0]}), encoding="utf-8")
    host.restart()
    assert (len(host.kernel.mdev.types), host.owners, host.entries()) == (1, {}, [])


def test_number_that_others_have_set_back_ends_the_entry(host: ActingHost) -> None:
    """The functions of before are there."""
    card = host.pci.card()
    host.act(SetVirtualFunctions(name=PF, number=2, owner="a"))
    leave_functions(host, card, 3)
    for count in ("0", "2"):
        host.kernel.write(f"{card}/sriov_numvfs", count)
    host.restart()
    assert (number(host, card), host.entries()) == ("2", [])


def test_function_that_has_gone_ends_the_entry(host: ActingHost) -> None:
    """It was pulled out."""
    host.pci.driver("nvme", NVME)
    path = host.pci.function(DISK, driver="nvme", group=5)
    leave_open(host, Bind(name=DISK, driver="vfio-pci", owner="a"), path)
    host.kernel.tree.remove(f"/sys/bus/pci/devices/{DISK}")
    host.kernel.tree.remove(path)
    [entry] = host.entries()
    locked = host.context.locks.take(entry.locks, 0)
    settle(host.context, locked)
    locked.release()
    assert host.entries() == []


def test_reservation_that_others_have_cleared_ends_nothing_else(host: ActingHost) -> None:
    """The disk still has the driver for guests."""
    host.pci.driver("nvme", NVME)
    path = host.pci.function(DISK, driver="nvme", group=5)
    leave_open(host, Bind(name=DISK, driver="vfio-pci", owner="a"), path)
    host.kernel.write(f"{path}/driver_override", "\n")
    host.restart()
    assert (host.pci.driver_of(path), host.entries()) == ("nvme", [])


def test_change_of_a_running_mdev_is_left_until_that_has_gone(
    host: ActingHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No script changes it back."""
    parent = mtty_parent(host.kernel)
    host.act(Create(type="mtty-1", uuid=UUID, owner="nova"))
    monkeypatch.setattr(run_callouts, "Callouts", PlayedScripts)
    live = RunCallouts("live", "modify", "mtty", UUID, "mtty-1", "{}")
    expected = (Expected(path=f"{parent}/{UUID}", active=True),)
    with unconfirmed(host):
        host.carry_out(Plan(action="modify", cards=("mtty",), steps=(live,), expected=expected))
    host.restart()
    assert [one.phase for one in host.entries()] == ["left"]
    host.kernel.write(f"{parent}/{UUID}/remove", "1")
    host.restart()
    assert host.entries() == []


class PlayedScripts:
    """Scripts that take part in everything."""

    def __init__(self, *given: object) -> None:
        """Take what real ones take."""

    def change_live(self) -> None:
        """Change the mdev."""


def fill_disk(host: ActingHost, patch: pytest.MonkeyPatch) -> None:
    """Have no room for entries."""
    patch.setattr(host.context.journal, "write", full)


def lose_disk(host: ActingHost, patch: pytest.MonkeyPatch) -> None:
    """Fail to list the records."""
    patch.setattr(host.context.records, "all", full)


@pytest.mark.parametrize("fail", [fill_disk, lose_disk])
def test_entry_that_cannot_be_taken_up_is_not_in_the_way_of_others(
    host: ActingHost,
    monkeypatch: pytest.MonkeyPatch,
    fail: Callable[[ActingHost, pytest.MonkeyPatch], None],
) -> None:
    """Of the first, one device is left and one has gone; the second was killed."""
    mtty, mdpy = mtty_parent(host.kernel), mdpy_parent(host.kernel)
    leave_two(host)
    gone = next(iter(host.kernel.mdev.types))
    host.kernel.close(gone)
    host.kernel.write(f"{gone}/remove", "1")
    host.kill_at("done:0")
    with pytest.raises(Killed):
        host.act(Create(type="mdpy-hd", count=2))
    host.clear()
    host.context = host.started()
    fail(host, monkeypatch)
    host.recover()
    assert [one.rpartition("/")[0] for one in host.kernel.mdev.types] == [mtty]
    assert mdpy != mtty
