"""VGPUs without mdev, made and removed by the control service, with the simulated driver."""

from __future__ import annotations

import errno
import threading
from collections.abc import Iterator
from functools import partial

import pytest

from nodedevd.client import Control
from nodedevd.errors import (
    CardBusy,
    Changed,
    Conflict,
    DeviceInUse,
    MadeByOther,
    NodedevError,
    NoRoom,
    OwnedByOther,
    StepFailed,
    StillWriting,
)
from nodedevd.kinds.vgpu import Vgpu
from tests.vm.guest import control, vm
from tests.vm.guest.vgpusim import CARD, Function, functions

pytestmark = pytest.mark.exhaustive

L40S_24Q, L40S_16Q = "1155", "1154"
CARD_NAME = "pci_" + CARD.name.replace(":", "_").replace(".", "_")


@pytest.fixture(scope="module")
def card() -> Iterator[list[Function]]:
    """Have four functions, of a card with room for two vGPUs of half its memory."""
    with functions() as found:
        yield found


@pytest.fixture(scope="module")
def service(card: list[Function]) -> Iterator[Control]:
    """Ask the service as root; its limits are short."""
    with (
        control.configured("[limits]\nwrite_seconds = 3\nlock_seconds = 3\n"),
        control.enabled() as client,
    ):
        yield client


@pytest.fixture(autouse=True)
def _nothing_left(card: list[Function], service: Control) -> Iterator[None]:
    """No change is left in the journal, whatever came of it; the next test has an empty card."""
    yield
    for function in card:
        for name in ("hang", "hold", "fail"):
            function.debug(name, 0)
    vm.until(
        lambda: control.status().in_progress == () and control.journal() == [],
        "for changes to end",
    )
    assert control.status().leftovers == ()
    for function in card:
        function.set("0")


def current(card: list[Function]) -> list[str]:
    """Return the ids of the types that are set."""
    return [function.current() for function in card]


def test_profile_is_set_and_taken_away(card: list[Function], service: Control) -> None:
    """By any form of its name, on the card or on a function; the driver chooses nothing."""
    planned = service.create("L40S-24Q", [CARD_NAME], owner="vm-1", dry_run=True)
    assert len(planned.steps) == 1
    assert current(card) == ["0"] * 4
    made = service.create("NVIDIA L40S-24Q", [CARD_NAME], owner="vm-1")
    (device,) = made.devices
    function = next(one for one in card if one.name == device.name)
    assert function.current() == L40S_24Q
    vgpu = device.capability(Vgpu)
    assert vgpu is not None
    assert vgpu.current is not None
    assert (vgpu.current.id, vgpu.current.name) == (L40S_24Q, "NVIDIA L40S-24Q")
    (listed,) = [one for one in service.list().devices if one.name == device.name]
    assert (listed.origin, listed.owner, listed.generation) == ("client", "vm-1", made.generation)
    # The same function asked for again, by whom it belongs to.
    assert service.create(L40S_24Q, [device.name], owner="vm-1").steps == ()
    control.refused(Conflict, partial(service.create, L40S_24Q, [device.name], owner="vm-2"))
    control.refused(OwnedByOther, partial(service.remove, device.name))
    service.remove(device.name, owner="vm-1", generation=made.generation)
    assert current(card) == ["0"] * 4
    assert service.remove(device.name).steps == ()


def test_card_with_no_room_is_left_alone(card: list[Function], service: Control) -> None:
    """An id that cannot be created would reset its function: it is never written."""
    made = service.create(L40S_24Q, count=2, owner="batch")
    assert sorted(current(card)) == ["0", "0", L40S_24Q, L40S_24Q]
    for wanted in (L40S_24Q, L40S_16Q):
        control.refused(NoRoom, partial(service.create, wanted))
    control.refused(NodedevError, partial(service.create, L40S_16Q, [made.devices[0].name]))
    assert sorted(current(card)) == ["0", "0", L40S_24Q, L40S_24Q]
    for device in made.devices:
        service.remove(device.name, owner="batch")


def test_late_release_does_not_clear_the_next_vgpu(card: list[Function], service: Control) -> None:
    """A function has no name of its own: its path is used again."""
    first = card[0]
    before = service.create(L40S_24Q, [first.name], owner="vm-1")
    service.remove(first.name, owner="vm-1")
    service.create(L40S_24Q, [first.name], owner="vm-1")
    late = partial(service.remove, first.name, owner="vm-1", generation=before.generation)
    control.refused(Changed, late)
    assert first.current() == L40S_24Q
    service.remove(first.name, owner="vm-1")
    # The same of somebody who sets it by hand.
    first.set(L40S_16Q)
    vm.until(lambda: shows(first, L40S_16Q), "for the profile to be shown")
    control.refused(MadeByOther, partial(service.remove, first.name, owner="vm-1"))
    service.remove(first.name, force=True)


def shows(function: Function, type_id: str) -> bool:
    """Tell whether nodedevd shows a profile."""
    vgpu = vm.described(function.name).capability(Vgpu)
    return vgpu is not None and vgpu.current is not None and vgpu.current.id == type_id


def test_open_vgpu_is_not_cleared(card: list[Function], service: Control) -> None:
    """Nor if it is forced: the driver says EPERM, and it stays as it is."""
    first = card[0]
    service.create(L40S_24Q, [first.name])
    with vm.opened_vfio(first.path):
        control.refused(DeviceInUse, partial(service.remove, first.name))
        failure = control.refused(StepFailed, partial(service.remove, first.name, force=True))
        assert "EPERM" in str(failure)
        assert first.current() == L40S_24Q
    first.debug("hold", 1)
    control.refused(StepFailed, partial(service.remove, first.name))
    first.debug("hold", 0)
    service.remove(first.name)


@pytest.mark.parametrize("code", [errno.EIO, errno.EINVAL, errno.ENOSPC, errno.EBUSY])
def test_refusal_of_the_driver_leaves_nothing(
    code: int, card: list[Function], service: Control
) -> None:
    """It is reported by its name, and what was set before is given back."""
    last = max(card, key=lambda one: one.name)
    for function in card:
        function.debug("fail", code if function is last else 0)
    error = control.refused(
        NodedevError, partial(service.create, L40S_24Q, [last.name], owner="vm-1")
    )
    assert errno.errorcode[code] in str(error)
    assert current(card) == ["0"] * 4
    assert [one for one in service.list().devices if one.owner == "vm-1"] == []


def test_write_that_hangs_costs_its_card_only(card: list[Function], service: Control) -> None:
    """It is answered in time, shown, and put in order once the driver lets go."""
    first = card[0]
    errors: list[BaseException] = []

    def create() -> None:
        with Control(timeout_seconds=vm.PATIENCE_SECONDS) as client:
            try:
                client.create(L40S_24Q, [first.name], owner="vm-1")
            except Exception as error:
                errors.append(error)

    with first.hanging():
        creating = threading.Thread(target=create)
        creating.start()
        creating.join(vm.PATIENCE_SECONDS)
        assert not creating.is_alive()
        assert [type(error) for error in errors] == [StillWriting]
        (progress,) = control.status().in_progress
        assert (progress.action, progress.hangs, progress.cards) == ("create", True, (CARD_NAME,))
        control.refused(CardBusy, partial(service.create, L40S_24Q, [card[1].name]))
        mtty = service.create("mtty-2", ["mtty_mtty"])
        service.remove(mtty.devices[0].name)
        assert first.waiting() == 1
    vm.until(lambda: control.status().in_progress == (), "for the change to end")
    # Done late: it is kept, with its record, or given back; both agree.
    listed = [one.name for one in service.list().devices if one.owner == "vm-1"]
    assert (first.current() == L40S_24Q) == (listed == [first.name])
    if listed:
        service.remove(first.name, owner="vm-1")


def test_service_that_ends_while_a_write_hangs(card: list[Function], service: Control) -> None:
    """The writer cannot be ended; the service that comes next knows of it."""
    first = card[0]

    def create() -> None:
        with Control(timeout_seconds=vm.PATIENCE_SECONDS) as client:
            client.create(L40S_24Q, [first.name], owner="vm-1")

    with first.hanging():
        creating = threading.Thread(target=lambda: control.refused(NodedevError, create))
        creating.start()
        vm.until(lambda: first.waiting() == 1, "for the write to hang")
        control.kill()
        creating.join(vm.PATIENCE_SECONDS)
        with Control(timeout_seconds=vm.PATIENCE_SECONDS) as again:
            control.refused(CardBusy, partial(again.create, L40S_24Q, [card[1].name]))
            assert again.get_status().leftovers or again.get_status().in_progress
