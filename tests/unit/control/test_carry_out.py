"""carry_out: what is done, confirmed, undone, kept and answered, on a played kernel."""

from __future__ import annotations

import errno
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from msgspec.structs import replace

from nodedevd.actions.ownership import Record
from nodedevd.actions.plan import CreateMdev, Expected, Plan, RemoveMdev, SetProfile, Write
from nodedevd.actions.requests import Attribute, Create, Remove
from nodedevd.control.carry_out import ATTEMPTS, carry_out
from nodedevd.errors import (
    CardBusy,
    Changed,
    DeviceInUse,
    MadeByOther,
    NoRoom,
    NoSuchDevice,
    NotConfirmed,
    NotPossible,
    OwnedByOther,
    StepFailed,
    StillWriting,
)
from nodedevd.model.snapshot import Snapshot
from tests.support.acting_host import ASKED, ActingHost
from tests.support.carried import uuids
from tests.support.played_kernel import (
    mdpy_parent,
    mtty_parent,
    small_card,
    vendor_card,
)
from tests.support.running import PATIENCE_SECONDS

UUID, OTHER, THIRD = uuids(3, 100)


@pytest.fixture
def host(tmp_path: Path) -> ActingHost:
    """Return a host without devices."""
    return ActingHost(tmp_path)


def create_of(parent: str, type_id: str) -> str:
    """Return the attribute that creates mdevs of a type."""
    return f"{parent}/mdev_supported_types/{type_id}/create"


def full(*given: object) -> None:
    """Fail as a disk that is full."""
    raise OSError(errno.ENOSPC, "No space left on device")


def profiles(host: ActingHost) -> list[str]:
    """Return what the first two functions of the card have."""
    return [one.current for one in host.kernel.vendor.functions.values()][:2]


def make_two(parent: str, *, second: str = "mtty-1") -> Plan:
    """Return a plan of two mdevs."""
    steps = (CreateMdev(parent, "mtty-1", UUID), CreateMdev(parent, second, OTHER))
    return Plan(
        action="create",
        cards=("mtty_mtty",),
        steps=steps,
        expected=tuple(Expected(path=f"{parent}/{one.uuid}", active=True) for one in steps),
        records=tuple(
            Record(one.uuid, "client", "nova", 0, one.type, 0, "2026-11-28T12:00:00Z")
            for one in steps
        ),
    )


# -- what goes well ------------------------------------------------------------------------------


def test_what_was_made_is_answered_as_the_tree_shows_it(host: ActingHost) -> None:
    """With its generation, by which its owner can refer to it."""
    parent = mtty_parent(host.kernel)
    answer = host.act(Create(type="mtty-1", uuid=UUID, owner="nova"))
    assert [one.path for one in answer.devices] == [f"{parent}/{UUID}"]
    assert answer.steps == (f"create the mdev {UUID} of type mtty-1 on {parent}",)
    assert host.context.records.all()[UUID].generation == answer.generation
    assert host.owners == {UUID: "nova"}
    assert host.entries() == []
    host.act(Remove(name=UUID, owner="nova", generation=answer.generation))
    assert (host.owners, host.kernel.mdev.types, host.entries()) == ({}, {}, [])


def test_journal_is_written_before_each_step(host: ActingHost) -> None:
    """And has what the step is, at every moment at which the host may have changed."""
    parent = mtty_parent(host.kernel)
    seen: list[tuple[str, int]] = []

    def look() -> None:
        seen.extend((one.phase, one.index) for one in host.entries())

    for point in ("doing:0", "done:0", "doing:1", "done:1", "confirming", "records"):
        host.on(point, look)
    host.carry_out(make_two(parent))
    assert seen == [
        ("doing", 0),
        ("doing", 0),
        ("doing", 1),
        ("doing", 1),
        ("confirming", 2),
        ("confirming", 2),
    ]
    assert host.points == [
        *("doing:0", "done:0", "journal:1", "doing:1", "done:1"),
        *("confirming", "confirmed", "records", "ended"),
    ]


def test_what_is_so_already_writes_nothing(host: ActingHost) -> None:
    """The same uuid, parent and type again, which is the same device, with the same owner."""
    mtty_parent(host.kernel)
    first = host.act(Create(type="mtty-1", uuid=UUID, owner="nova"))
    host.kernel.written.clear()
    again = host.act(Create(type="mtty-1", uuid=UUID, owner="nova"))
    assert again.steps == ()
    assert [one.name for one in again.devices] == [one.name for one in first.devices]
    assert (host.kernel.written, host.owners) == ([], {UUID: "nova"})


def test_mdevctl_creates_the_same_mdev_in_between_and_keeps_it(host: ActingHost) -> None:
    """EEXIST of the same parent and type is success, and the device is not ours."""
    parent = mtty_parent(host.kernel)
    path = create_of(parent, "mtty-1")
    host.kernel.before(path, lambda: host.kernel.write(path, UUID))
    answer = host.act(Create(type="mtty-1", uuid=UUID, owner="nova"))
    assert [one.path for one in answer.devices] == [f"{parent}/{UUID}"]
    assert host.told == [("already", f"create the mdev {UUID} of type mtty-1 on {parent}")]
    assert (host.owners, host.entries()) == ({}, [])
    with pytest.raises(MadeByOther):
        host.act(Remove(name=UUID, owner="nova"))


def test_attributes_are_not_written_to_what_somebody_else_made_first(host: ActingHost) -> None:
    """The mdev is not ours, and what is changed of it would never be put back."""
    parent = mtty_parent(host.kernel)
    path = create_of(parent, "mtty-1")
    host.kernel.before(path, lambda: host.kernel.write(path, UUID))
    attributes = [Attribute("power/control", "on")]
    host.act(Create(type="mtty-1", uuid=UUID, owner="nova", attributes=attributes))
    assert [result for result, _ in host.told] == ["already", "already"]
    assert not [path for path, _ in host.kernel.written if path.endswith("power/control")]
    assert (host.owners, host.entries()) == ({}, [])


def test_what_somebody_else_made_is_not_undone_with_the_rest(host: ActingHost) -> None:
    """A later step fails: only what this change made is removed."""
    parent = mtty_parent(host.kernel)
    path = create_of(parent, "mtty-1")
    host.kernel.before(path, lambda: host.kernel.write(path, UUID))
    host.kernel.refuse(create_of(parent, "mtty-2"), errno.EIO)
    with pytest.raises(StepFailed) as failed:
        host.carry_out(make_two(parent, second="mtty-2"))
    assert (failed.value.errno, failed.value.undone, failed.value.left) == ("EIO", (), ())
    assert host.kernel.mdev.types == {f"{parent}/{UUID}": "mtty-1"}


# -- what fails ----------------------------------------------------------------------------------


def test_failed_step_undoes_those_before_it(host: ActingHost) -> None:
    """And says so."""
    parent = mtty_parent(host.kernel)
    host.kernel.refuse(create_of(parent, "mtty-2"), errno.EIO)
    plan = make_two(parent, second="mtty-2")
    with pytest.raises(StepFailed) as failed:
        host.carry_out(plan)
    assert (failed.value.step, failed.value.errno) == (str(plan.steps[1]), "EIO")
    assert (failed.value.undone, failed.value.left) == ((str(plan.steps[0]),), ())
    assert (host.kernel.mdev.types, host.owners, host.entries()) == ({}, {}, [])


def test_refused_attribute_takes_the_mdev_away_again(host: ActingHost) -> None:
    """As mdevctl does it: a device without its attributes is a half one."""
    mtty_parent(host.kernel)
    attributes = [Attribute("power/control", "on"), Attribute("power/control", "bogus")]
    with pytest.raises(StepFailed) as failed:
        host.act(Create(type="mtty-1", uuid=UUID, attributes=attributes))
    assert failed.value.errno == "EINVAL"
    assert failed.value.left == ()
    assert (host.kernel.mdev.types, host.owners, host.entries()) == ({}, {}, [])


def test_unconfirmed_creation_is_undone(host: ActingHost) -> None:
    """The tree does not show it in time."""
    parent = mtty_parent(host.kernel)
    host.view.blind = True
    with pytest.raises(NotConfirmed, match=f"{UUID} to have active True") as failed:
        host.act(Create(type="mtty-1", uuid=UUID))
    assert failed.value.undone == (f"create the mdev {UUID} of type mtty-1 on {parent}",)
    assert (host.kernel.mdev.types, host.owners, host.entries()) == ({}, {}, [])


def test_unconfirmed_removal_is_not_undone(host: ActingHost) -> None:
    """What is gone stays gone, although the tree is late."""
    mtty_parent(host.kernel)
    host.act(Create(type="mtty-1", uuid=UUID, owner="nova"))
    host.view.blind = True
    with pytest.raises(NotConfirmed):
        host.act(Remove(name=UUID, owner="nova"))
    assert (host.kernel.mdev.types, host.owners, host.entries()) == ({}, {}, [])


def test_what_cannot_be_undone_stays_in_the_journal_and_has_its_owner(host: ActingHost) -> None:
    """A VM has opened the first device before the second one failed."""
    parent = mtty_parent(host.kernel)
    plan = make_two(parent, second="mtty-2")
    host.kernel.refuse(create_of(parent, "mtty-2"), errno.EIO)
    host.on("done:0", lambda: host.kernel.open(f"{parent}/{UUID}"))
    with pytest.raises(StepFailed) as failed:
        host.carry_out(plan)
    assert failed.value.undone == ()
    assert failed.value.left == (f"{plan.steps[0]}: a process has opened it meanwhile",)
    [entry] = host.entries()
    assert (entry.phase, entry.left) == ("left", failed.value.left)
    assert host.owners == {UUID: "nova"}
    host.restart()
    assert [one.phase for one in host.entries()] == ["left"]
    # Its owner gets rid of it, and with it of the entry.
    host.kernel.close(f"{parent}/{UUID}")
    host.act(Remove(name=UUID, owner="nova"))
    host.act(Create(type="mtty-1", uuid=THIRD))
    assert (host.entries(), host.owners) == ([], {THIRD: None})


def test_what_could_not_be_undone_is_tried_again_at_the_next_start(host: ActingHost) -> None:
    """The VM has gone meanwhile."""
    parent = mtty_parent(host.kernel)
    host.kernel.refuse(create_of(parent, "mtty-2"), errno.EIO)
    host.on("done:0", lambda: host.kernel.open(f"{parent}/{UUID}"))
    with pytest.raises(StepFailed):
        host.carry_out(make_two(parent, second="mtty-2"))
    host.kernel.close(f"{parent}/{UUID}")
    host.restart()
    assert (host.kernel.mdev.types, host.entries()) == ({}, [])


def test_what_was_undone_is_not_undone_again(host: ActingHost) -> None:
    """The same is somebody's by now when the next start tries again to undo the rest."""
    functions = vendor_card(host.kernel, small_card())
    host.on("done:0", lambda: host.kernel.open(functions[0]))
    host.view.blind = True
    with pytest.raises(NotConfirmed) as failed:
        host.act(Create(type="1", names=functions[:2], count=2, owner="nova"))
    assert (len(failed.value.undone), len(failed.value.left)) == (1, 1)
    host.view.blind = False
    host.act(Create(type="1", names=[functions[1]], owner="cinder"))
    host.restart()
    owners = {functions[0]: "nova", functions[1]: "cinder"}
    assert (host.owners, len(host.entries()), profiles(host)) == (owners, 1, ["1", "1"])
    host.kernel.close(functions[0])
    host.restart()
    living = host.context.records.living(host.view.snapshot())
    assert (list(living), host.entries(), profiles(host)) == ([functions[1]], [], ["0", "1"])


def test_what_was_left_and_is_made_anew_is_not_undone(host: ActingHost) -> None:
    """Of two that are left, the owner removes one; another client makes it, with an attribute."""
    parent = mtty_parent(host.kernel)
    path = f"{parent}/{UUID}"
    written = Write(f"{path}/power/control", "on", before="auto", of_new=True)
    plan = make_two(parent)
    plan = replace(plan, steps=(plan.steps[0], written, plan.steps[1]))

    def open_both() -> None:
        for uuid in (UUID, OTHER):
            host.kernel.open(f"{parent}/{uuid}")

    host.on("confirming", open_both)
    host.view.blind = True
    with pytest.raises(NotConfirmed) as failed:
        host.carry_out(plan)
    assert (failed.value.undone, len(failed.value.left)) == ((str(written),), 2)
    host.view.blind = False
    host.kernel.close(path)
    host.act(Remove(name=UUID, owner="nova"))
    power = [Attribute("power/control", "on")]
    host.act(Create(type="mtty-1", uuid=UUID, owner="cinder", attributes=power))
    [entry] = host.entries()
    assert [OTHER in one for one in entry.left] == [True]
    host.restart()
    assert host.kernel.mdev.types == {f"{parent}/{one}": "mtty-1" for one in (UUID, OTHER)}
    assert host.owners == {UUID: "cinder", OTHER: "nova"}
    assert host.pci.text(f"{path}/power/control") == "on"


def test_what_cannot_be_read_is_left_and_keeps_its_owner(host: ActingHost) -> None:
    """Whether the profile is still set is not known, and that is no absence."""
    [function, *_] = vendor_card(host.kernel, small_card())
    current = f"{function}/nvidia/current_vgpu_type"

    def hide() -> None:
        host.kernel.tree.remove(current)
        host.kernel.tree.directory(current)

    host.on("undoing:0", hide)
    host.view.blind = True
    with pytest.raises(NotConfirmed) as failed:
        host.act(Create(type="1", names=[function], owner="nova"))
    assert len(failed.value.left) == 1
    host.restart()
    assert (host.owners, [one.phase for one in host.entries()]) == ({function: "nova"}, ["left"])


def test_attribute_that_could_not_be_put_back_ends_with_its_device(host: ActingHost) -> None:
    """It is not told of, and an mdev that gets the same UUID keeps its own."""
    parent = mtty_parent(host.kernel)
    written = Write(f"{parent}/{UUID}/power/control", "on", before="auto", of_new=True)
    plan = make_two(parent)
    host.view.blind = True
    host.on("undoing:1", lambda: host.refusals.append(errno.EIO))
    with pytest.raises(NotConfirmed) as failed:
        host.carry_out(replace(plan, steps=(plan.steps[0], written)))
    assert (failed.value.undone, failed.value.left) == ((str(plan.steps[0]),), ())
    assert (host.entries(), host.kernel.mdev.types) == ([], {})


def test_defect_in_a_step_is_undone_and_not_hidden(
    host: ActingHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An exception that nobody has foreseen goes on as it is."""
    parent = mtty_parent(host.kernel)

    def fail() -> None:
        raise ZeroDivisionError

    host.kernel.before(create_of(parent, "mtty-2"), fail)
    with pytest.raises(ZeroDivisionError):
        host.carry_out(make_two(parent, second="mtty-2"))
    assert (host.kernel.mdev.types, host.owners, host.entries()) == ({}, {}, [])


def test_journal_that_cannot_be_written_stops_the_change_and_does_not_stop_the_undo(
    host: ActingHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    """/run is full: the step that would not be in the journal is not done."""
    parent = mtty_parent(host.kernel)
    host.on("done:0", lambda: monkeypatch.setattr(host.context.journal, "write", full))
    with pytest.raises(StepFailed) as failed:
        host.carry_out(make_two(parent))
    assert failed.value.left == ()
    assert host.kernel.mdev.types == {}
    assert (create_of(parent, "mtty-1"), OTHER) not in host.kernel.written


def test_change_that_cannot_be_in_the_journal_is_not_made(
    host: ActingHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The error says that, and not that the device cannot be changed."""
    mtty_parent(host.kernel)
    monkeypatch.setattr(host.context.journal, "open", full)
    with pytest.raises(StepFailed, match=r"write the journal.*nothing was changed") as failed:
        host.act(Create(type="mtty-1"))
    assert failed.value.errno == "ENOSPC"
    assert host.kernel.written == []


def test_change_whose_owner_cannot_be_kept_is_undone(
    host: ActingHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    """/run is full when all is confirmed: its maker could not remove it."""
    mtty_parent(host.kernel)
    monkeypatch.setattr(host.context.records, "put", full)
    with pytest.raises(StepFailed, match="keep whose the devices are") as failed:
        host.act(Create(type="mtty-1", uuid=UUID, owner="nova"))
    assert (failed.value.errno, failed.value.left) == ("ENOSPC", ())
    assert len(failed.value.undone) == 1
    assert (host.kernel.mdev.types, host.entries()) == ({}, [])


def test_what_is_left_is_answered_although_the_journal_cannot_be_written(
    host: ActingHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The entry stays as it was, and the next start takes it up."""
    parent = mtty_parent(host.kernel)
    host.kernel.refuse(create_of(parent, "mtty-2"), errno.EIO)
    host.kernel.refuse(f"{parent}/{UUID}/remove", errno.EIO)
    host.on("undoing:0", lambda: monkeypatch.setattr(host.context.journal, "write", full))
    with pytest.raises(StepFailed) as failed:
        host.carry_out(make_two(parent, second="mtty-2"))
    assert len(failed.value.left) == 1
    assert failed.value.step.startswith("create the mdev")
    assert len(host.entries()) == 1
    monkeypatch.undo()
    host.recover()
    assert (host.kernel.mdev.types, host.entries()) == ({}, [])


def test_change_that_has_worked_is_answered_although_its_entry_stays(
    host: ActingHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The next start ends it."""
    mtty_parent(host.kernel)
    monkeypatch.setattr(host.context.journal, "remove", full)
    assert host.act(Create(type="mtty-1", uuid=UUID, owner="nova")).devices
    monkeypatch.undo()
    host.recover()
    assert (host.owners, host.entries()) == ({UUID: "nova"}, [])


# -- others in between ---------------------------------------------------------------------------


def test_slot_that_is_taken_meanwhile_is_found_elsewhere(host: ActingHost) -> None:
    """The plan is made again, and finds the function that is still free."""
    functions = vendor_card(host.kernel, small_card(functions=2))
    first = host.plan(Create(type="1")).steps[0]
    assert isinstance(first, SetProfile)
    current = f"{first.function}/nvidia/current_vgpu_type"
    host.on("doing:0", lambda: host.kernel.write(current, "1"))
    answer = host.act(Create(type="1", owner="nova"))
    [other] = [one for one in functions if one != first.function]
    assert [one.path for one in answer.devices] == [other]
    assert (host.owners, host.entries()) == ({other: "nova"}, [])
    with pytest.raises(MadeByOther):
        host.act(Remove(name=first.function, owner="nova"))


@pytest.mark.parametrize(("make", "type_id"), [(mtty_parent, "mtty-1"), (mdpy_parent, "mdpy-hd")])
def test_last_slot_that_is_taken_meanwhile_is_no_room(
    host: ActingHost, make: Callable[..., str], type_id: str
) -> None:
    """Drivers say ENOSPC or EUSERS, and the new plan why."""
    parent = make(host.kernel, 1)
    host.on("doing:0", lambda: host.kernel.write(create_of(parent, type_id), OTHER))
    with pytest.raises(NoRoom):
        host.act(Create(type=type_id, uuid=UUID))
    assert list(host.kernel.mdev.types) == [f"{parent}/{OTHER}"]


def test_driver_that_is_full_although_it_says_not_is_tried_three_times(host: ActingHost) -> None:
    """And then its answer is the answer."""
    parent = mtty_parent(host.kernel)
    path = create_of(parent, "mtty-1")
    host.kernel.refuse(path, *[errno.ENOSPC] * ATTEMPTS)
    with pytest.raises(StepFailed) as failed:
        host.act(Create(type="mtty-1", uuid=UUID))
    assert failed.value.errno == "ENOSPC"
    assert host.kernel.written == [(path, UUID)] * ATTEMPTS


def test_function_that_another_vm_has_by_now_is_left_alone(host: ActingHost) -> None:
    """Somebody gave the path another profile between the plan and the write: it is theirs."""
    functions = vendor_card(host.kernel, small_card())
    host.act(Create(type="1", names=[functions[0]], owner="nova"))
    current = f"{functions[0]}/nvidia/current_vgpu_type"

    def reuse() -> None:
        host.kernel.write(current, "0")
        host.kernel.write(current, "2")

    host.on("doing:0", reuse)
    with pytest.raises(MadeByOther):
        host.act(Remove(name=functions[0], owner="nova"))
    assert host.kernel.vendor.functions[functions[0]].current == "2"
    assert (host.owners, host.entries()) == ({}, [])


def test_what_another_writer_made_in_place_of_a_step_stays_theirs(host: ActingHost) -> None:
    """Although the step before it cannot be undone, and the next start tries that again."""
    functions = vendor_card(host.kernel, small_card())
    currents = [f"{one}/nvidia/current_vgpu_type" for one in functions[:2]]

    def be_faster() -> None:
        host.kernel.write(currents[1], "1")
        host.kernel.open(functions[0])

    host.on("doing:1", be_faster)
    with pytest.raises(StepFailed) as failed:
        host.act(Create(type="1", names=functions[:2], count=2, owner="nova"))
    assert len(failed.value.left) == 1
    assert host.owners == {functions[0]: "nova"}
    host.restart()
    assert host.owners == {functions[0]: "nova"}
    host.kernel.close(functions[0])
    host.restart()
    living = host.context.records.living(host.view.snapshot())
    assert (profiles(host), living, host.entries()) == (["0", "1"], {}, [])


def test_device_that_is_opened_right_before_the_write_is_not_removed(host: ActingHost) -> None:
    """The plan saw it closed."""
    parent = mtty_parent(host.kernel)
    host.act(Create(type="mtty-1", uuid=UUID, owner="nova"))
    mdev = f"{parent}/{UUID}"
    host.on("doing:0", lambda: host.kernel.open(mdev))
    with pytest.raises(DeviceInUse, match="opened it meanwhile"):
        host.act(Remove(name=UUID, owner="nova"))
    assert (f"{mdev}/remove", "1") not in host.kernel.written
    assert (host.owners, host.entries()) == ({UUID: "nova"}, [])


def test_mdev_that_vanishes_before_its_removal_is_removed(host: ActingHost) -> None:
    """Quiet success, and the record is forgotten."""
    parent = mtty_parent(host.kernel)
    host.act(Create(type="mtty-1", uuid=UUID, owner="nova"))
    host.on("doing:0", lambda: host.kernel.write(f"{parent}/{UUID}/remove", "1"))
    assert host.act(Remove(name=UUID, owner="nova")).devices == ()
    assert (host.owners, host.entries()) == ({}, [])


def test_mdev_that_others_have_removed_is_removed_once_more(host: ActingHost) -> None:
    """By its owner, without a step; after that nobody knows of it."""
    parent = mtty_parent(host.kernel)
    host.act(Create(type="mtty-1", uuid=UUID, owner="nova"))
    host.kernel.write(f"{parent}/{UUID}/remove", "1")
    with pytest.raises(OwnedByOther):
        host.act(Remove(name=UUID, owner="cinder"))
    answer = host.act(Remove(name=UUID, owner="nova"))
    assert (answer.steps, answer.devices, host.owners) == ((), (), {})
    with pytest.raises(NoSuchDevice):
        host.act(Remove(name=UUID, owner="nova"))


def test_record_of_a_device_that_is_gone_is_forgotten_with_the_next_change(
    host: ActingHost,
) -> None:
    """And whoever makes one at the same path is its only owner."""
    functions = vendor_card(host.kernel, small_card())
    first = host.act(Create(type="1", names=[functions[0]], owner="nova"))
    host.kernel.write(f"{functions[0]}/nvidia/current_vgpu_type", "0")
    host.act(Create(type="1", names=[functions[1]], owner="cinder"))
    assert host.owners == {functions[1]: "cinder"}
    host.act(Create(type="1", names=[functions[0]], owner="glance"))
    with pytest.raises(OwnedByOther):
        host.act(Remove(name=functions[0], owner="nova"))
    with pytest.raises(Changed):
        host.act(Remove(name=functions[0], owner="glance", generation=first.generation))


# -- locks ---------------------------------------------------------------------------------------


def test_card_that_is_being_changed_is_busy_and_says_by_whom(host: ActingHost) -> None:
    """With what is being done and for how long."""
    mtty_parent(host.kernel)
    mdpy_parent(host.kernel)
    locked = host.context.locks.take(["mtty_mtty"], 0)
    locked.note("create the mdev 1")
    with pytest.raises(CardBusy, match=r"mtty_mtty is .* process \d+: create the mdev 1"):
        host.act(Create(type="mtty-1"))
    host.act(Create(type="mdpy-hd"))  # another card
    locked.release()
    host.act(Create(type="mtty-1"))


def test_changes_of_one_card_come_one_after_another(host: ActingHost) -> None:
    """Each plans what the one before has left: never more than there is room for."""
    mtty_parent(host.kernel, 3)
    host.context.lock_seconds = PATIENCE_SECONDS
    answers: list[object] = []

    def create() -> None:
        try:
            answers.append(host.act(Create(type="mtty-1")))
        except NoRoom as error:
            answers.append(error)

    threads = [threading.Thread(target=create) for _ in range(8)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert sum(isinstance(one, NoRoom) for one in answers) == 5
    assert len(host.kernel.mdev.types) == len(host.owners) == 3
    assert len(host.kernel.written) == 3, "nobody tried what could not succeed"


# -- drivers that do not answer ------------------------------------------------------------------


def test_hanging_write_is_answered_in_time_and_goes_on(host: ActingHost) -> None:
    """Its card stays busy until the driver answers; the change is then confirmed and kept."""
    parent = mtty_parent(host.kernel)
    mdpy_parent(host.kernel)
    path = create_of(parent, "mtty-1")
    host.kernel.hang(path)
    host.context.write_seconds = 0.01
    with pytest.raises(StillWriting, match="it goes on"):
        host.act(Create(type="mtty-1", uuid=UUID, owner="nova"))
    host.context.write_seconds = PATIENCE_SECONDS
    with pytest.raises(CardBusy, match=UUID):
        host.act(Create(type="mtty-1", uuid=OTHER))
    host.act(Create(type="mdpy-hd", uuid=THIRD))
    host.kernel.resume(path)
    assert host.ended_late.wait(PATIENCE_SECONDS)
    assert host.owners == {UUID: "nova", THIRD: None}
    assert host.entries() == []
    host.act(Create(type="mtty-1", uuid=OTHER))


def test_hanging_write_that_fails_later_is_undone(host: ActingHost) -> None:
    """Nobody waits any more, and nothing is left over."""
    parent = mtty_parent(host.kernel)
    host.context.write_seconds = 0.01
    path = create_of(parent, "mtty-2")
    host.kernel.refuse(path, errno.EIO)
    host.kernel.hang(path)
    with pytest.raises(StillWriting):
        host.carry_out(make_two(parent, second="mtty-2"))
    host.kernel.resume(path)
    assert host.ended_late.wait(PATIENCE_SECONDS)
    [late] = host.late
    assert isinstance(late, StepFailed)
    assert late.errno == "EIO"
    assert (host.kernel.mdev.types, host.owners, host.entries()) == ({}, {}, [])


def test_forced_removal_of_an_open_mdev_waits_for_its_user(host: ActingHost) -> None:
    """The kernel blocks in `remove`: answered in time, and done when the user closes it."""
    parent = mtty_parent(host.kernel)
    mdev = f"{parent}/{UUID}"
    host.act(Create(type="mtty-1", uuid=UUID, owner="nova"))
    host.kernel.open(mdev)
    host.context.write_seconds = 0.01
    with pytest.raises(StillWriting):
        host.act(Remove(name=UUID, owner="nova", force=True))
    assert host.owners == {UUID: "nova"}
    host.kernel.close(mdev)
    assert host.ended_late.wait(PATIENCE_SECONDS)
    assert (host.kernel.mdev.types, host.owners, host.entries()) == ({}, {}, [])


def test_host_that_does_not_answer_is_not_changed_later(host: ActingHost) -> None:
    """Reading it hangs: who asked is told that nothing was changed, and so it stays."""
    parent = mtty_parent(host.kernel)
    goes_on, planned = threading.Event(), threading.Event()

    def plan(snapshot: Snapshot) -> Plan:
        goes_on.wait(PATIENCE_SECONDS)
        planned.set()
        return make_two(parent)

    host.context.look_seconds = 0.01
    with pytest.raises(NotPossible, match="nothing was changed"):
        carry_out(plan, host.context, ASKED)
    threads = [one for one in threading.enumerate() if one.name == "change"]
    goes_on.set()
    assert planned.wait(PATIENCE_SECONDS)
    for one in threads:
        one.join(PATIENCE_SECONDS)
    assert (host.kernel.written, host.entries(), host.late) == ([], [], [])
    host.context.look_seconds = PATIENCE_SECONDS
    host.act(Create(type="mtty-1"))  # the card is free


# -- undo of what takes away ---------------------------------------------------------------------


def test_removal_is_undone_with_a_step_after_it(host: ActingHost) -> None:
    """The mdev is created again, of the same type."""
    parent = mtty_parent(host.kernel)
    host.act(Create(type="mtty-2", uuid=UUID, owner="nova"))
    path = f"{parent}/power/control"
    host.kernel.tree.file(path, "auto\n")
    plan = Plan(
        action="remove",
        cards=("mtty_mtty",),
        steps=(RemoveMdev(parent, "mtty-2", UUID), Write(path, "on", before="auto")),
        expected=(),
        forgotten=(UUID,),
    )
    with pytest.raises(StepFailed) as failed:
        host.carry_out(plan)
    assert failed.value.undone == (str(plan.steps[0]),)
    assert host.kernel.mdev.types == {f"{parent}/{UUID}": "mtty-2"}
    assert host.owners == {UUID: "nova"}


def test_removal_that_was_undone_is_not_renewed_again(host: ActingHost) -> None:
    """The mdev that was created again is removed, and another program makes one of its UUID."""
    mtty, mdpy = mtty_parent(host.kernel), mdpy_parent(host.kernel, 2)
    host.act(Create(type="mtty-2", uuid=UUID, owner="nova"))
    path = f"{mtty}/{UUID}"
    plan = Plan(
        action="modify",
        cards=("mdpy", "mtty"),
        steps=(CreateMdev(mdpy, "mdpy-hd", OTHER), RemoveMdev(mtty, "mtty-2", UUID)),
        expected=(Expected(path=path, active=True),),
        records=(Record(OTHER, "client", "nova", 0, "mdpy-hd", 0, "2026-11-28T12:00:00Z"),),
    )
    host.on("done:0", lambda: host.kernel.open(f"{mdpy}/{OTHER}"))
    with pytest.raises(NotConfirmed) as failed:
        host.carry_out(plan)
    assert (len(failed.value.undone), len(failed.value.left)) == (1, 1)
    assert host.owners == {UUID: "nova", OTHER: "nova"}
    host.kernel.write(f"{path}/remove", "1")
    host.kernel.write(create_of(mtty, "mtty-2"), UUID)
    host.restart()
    assert host.owners == {OTHER: "nova"}
