"""hook.devices: vGPUs made for a domain and removed, on a played kernel."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from nodedevd.actions.requests import Create, Remove
from nodedevd.errors import (
    BadDomain,
    CardBusy,
    Conflict,
    DeviceInUse,
    NodedevError,
    NoRoom,
    NoSuchDevice,
    StepFailed,
)
from nodedevd.hook import devices
from nodedevd.hook.devices import prepare, release
from nodedevd.hook.metadata import Wanted
from tests.support.carried import tree_of, uuids
from tests.support.hook_service import Service
from tests.support.played_kernel import mdpy_parent, small_card, vendor_card

VM, OTHER_VM = uuids(2, 900)
ONE, TWO, THREE = uuids(3, 700)


@pytest.fixture
def service(tmp_path: Path) -> Service:
    """Return a host with room for four of mdpy-vga."""
    made = Service(tmp_path)
    mdpy_parent(made.host.kernel)
    return made


def mdev(uuid: str, type_: str = "mdpy-vga", vm: str = VM) -> Wanted:
    """Return an mdev that a domain wants."""
    return Wanted(Create(type=type_, uuid=uuid, domain=vm), None)


def function(address: str, type_: str = "1", vm: str = VM) -> Wanted:
    """Return a function that a domain wants as a vGPU."""
    return Wanted(Create(type=type_, names=[address], domain=vm), address)


def test_vgpus_live_as_long_as_their_domain(service: Service) -> None:
    """And those of another domain as long as that one."""
    prepare(service, VM, [mdev(ONE), mdev(TWO)])
    prepare(service, OTHER_VM, [mdev(THREE, vm=OTHER_VM)])
    assert service.mdevs == {ONE, TWO, THREE}
    assert service.host.owners == {ONE: VM, TWO: VM, THREE: OTHER_VM}
    assert release(service, VM, seconds=0) == []
    assert service.mdevs == {THREE}
    asked = [one.name for one in service.asked if isinstance(one, Remove)]
    assert not any(THREE.replace("-", "_") in name for name in asked)
    assert release(service, OTHER_VM, seconds=0) == []
    assert service.mdevs == set()


def test_each_phase_may_come_twice_or_alone(service: Service) -> None:
    """What is so already is success."""
    assert release(service, VM, seconds=0) == []
    prepare(service, VM, [mdev(ONE)])
    prepare(service, VM, [mdev(ONE), mdev(TWO)])
    assert service.mdevs == {ONE, TWO}
    assert release(service, VM, seconds=0) == release(service, VM, seconds=0) == []
    assert service.mdevs == set()


@pytest.mark.slow
def test_all_are_made_or_none(service: Service) -> None:
    """Those of the domain's that were there before the start that failed are gone, too."""
    prepare(service, VM, [mdev(ONE)])
    prepare(service, OTHER_VM, [mdev(THREE, vm=OTHER_VM)])
    with pytest.raises(NoRoom):
        prepare(service, VM, [mdev(ONE), *(mdev(one) for one in uuids(8, 100))])
    assert service.mdevs == {THREE}


def test_refusal_of_the_driver_is_what_is_raised(service: Service) -> None:
    """Whatever comes of removing what was made before it."""
    service.host.refusals = [None, errno.EIO, errno.EIO, errno.EIO]
    with pytest.raises(StepFailed) as raised:
        prepare(service, VM, [mdev(ONE), mdev(TWO)])
    assert (raised.value.errno, raised.value.step[:15]) == ("EIO", "create the mdev")


def test_mdev_of_somebody_else_is_used_and_stays(service: Service) -> None:
    """As of mdevctl, or of an administrator by hand: it was there before."""
    service.host.kernel.write(
        "/sys/devices/virtual/mdpy/mdpy/mdev_supported_types/mdpy-vga/create", ONE
    )
    prepare(service, VM, [mdev(ONE)])
    assert release(service, VM, seconds=0) == []
    assert service.mdevs == {ONE}


def test_mdev_of_another_owner_or_type_is_refused(service: Service) -> None:
    """It may vanish at any time, or is no use."""
    prepare(service, OTHER_VM, [mdev(ONE, vm=OTHER_VM)])
    service.host.act(Create(type="mdpy-vga", uuid=TWO))
    with pytest.raises(Conflict, match=f"for the owner '{OTHER_VM}'"):
        prepare(service, VM, [mdev(ONE)])
    with pytest.raises(Conflict, match="of the origin client, and may vanish"):
        prepare(service, VM, [mdev(TWO)])
    with pytest.raises(Conflict):
        prepare(service, OTHER_VM, [mdev(ONE, "mdpy-hd", OTHER_VM)])
    assert ONE not in service.mdevs  # that domain's start has failed
    assert TWO in service.mdevs


def test_only_what_is_still_its_own_is_removed(service: Service) -> None:
    """Somebody has removed one, and made it again; another one was removed altogether."""
    prepare(service, VM, [mdev(ONE), mdev(TWO)])
    for one in (ONE, TWO):
        service.host.act(Remove(name=one, force=True))
    service.host.act(Create(type="mdpy-vga", uuid=ONE, owner="by-hand"))
    assert release(service, VM, seconds=0) == []
    assert service.mdevs == {ONE}


def test_device_that_goes_between_list_and_removal_is_no_failure(service: Service) -> None:
    """So that two releases at once are none either."""
    prepare(service, VM, [mdev(ONE), mdev(TWO)])
    service.errors = [NoSuchDevice(ONE, ())]
    assert release(service, VM, seconds=0) == []
    assert len(service.mdevs) == 1


@pytest.mark.parametrize("error", [DeviceInUse("m", True, "open"), CardBusy("c", "busy", 1.0)])
def test_busy_device_is_tried_again(
    service: Service, error: NodedevError, monkeypatch: pytest.MonkeyPatch
) -> None:
    """QEMU has ended, and the kernel has not closed all of its files yet."""
    prepare(service, VM, [mdev(ONE), mdev(TWO)])
    pauses: list[float] = []
    monkeypatch.setattr("time.sleep", pauses.append)
    service.errors = [error, None, error, error]
    assert release(service, VM, seconds=3600) == []
    assert service.mdevs == set()
    assert pauses == [devices.PAUSE_SECONDS] * 3


def test_device_that_stays_open_is_left_with_the_reason(service: Service) -> None:
    """The others are removed; the next start of the domain finds it."""
    prepare(service, VM, [mdev(ONE), mdev(TWO)])
    path = next(path for path in service.host.kernel.mdev.types if path.endswith(ONE))
    service.host.kernel.open(path)
    [error] = release(service, VM, seconds=0)
    assert isinstance(error, DeviceInUse)
    assert service.mdevs == {ONE}
    service.host.kernel.close(path)
    prepare(service, VM, [mdev(ONE)])
    assert release(service, VM, seconds=0) == []
    assert service.mdevs == set()


def test_one_that_fails_does_not_keep_the_others(service: Service) -> None:
    """Each failure is reported."""
    prepare(service, VM, [mdev(ONE), mdev(TWO)])
    service.host.refusals = [errno.EIO]
    [error] = release(service, VM, seconds=0)
    assert isinstance(error, StepFailed)
    assert len(service.mdevs) == 1


# -- functions with vendor VFIO -----------------------------------------------------------------


@pytest.fixture
def functions(service: Service) -> list[str]:
    """Return the addresses of the functions of a card."""
    return [os.path.basename(path) for path in vendor_card(service.host.kernel, small_card())]


def profile(service: Service, address: str) -> str:
    """Return the profile of a function."""
    (path,) = (device.path or "" for device in tree_of(service.host.kernel).by_sysname(address))
    return service.host.pci.text(f"{path}/nvidia/current_vgpu_type")


def test_function_has_its_profile_as_long_as_its_domain(
    service: Service, functions: list[str]
) -> None:
    """The function that the domain has assigned, and no other one."""
    address = functions[2]
    prepare(service, VM, [function(address)])
    prepare(service, VM, [function(address)])
    assert [profile(service, one) for one in functions].count("0") == len(functions) - 1
    assert profile(service, address) == "1"
    assert release(service, VM, seconds=0) == []
    assert profile(service, address) == "0"


def test_late_release_leaves_the_next_vgpu_alone(service: Service, functions: list[str]) -> None:
    """The function was given to another domain meanwhile."""
    address = functions[0]
    prepare(service, VM, [function(address)])
    known = service.list()
    assert release(service, VM, seconds=0) == []
    prepare(service, OTHER_VM, [function(address, vm=OTHER_VM)])
    service.list = lambda: known  # type: ignore[method-assign]
    assert release(service, VM, seconds=0) == []
    assert profile(service, address) == "1"


def test_profile_of_another_owner_is_refused(service: Service, functions: list[str]) -> None:
    """And stays."""
    address = functions[0]
    service.host.act(Create(type="1", names=[address], owner="by-hand"))
    with pytest.raises(Conflict):
        prepare(service, VM, [function(address)])
    assert profile(service, address) == "1"


def card_of(service: Service, functions: list[str]) -> str:
    """Return the address of the card of functions."""
    (device,) = tree_of(service.host.kernel).by_sysname(functions[0])
    return os.path.basename(os.path.realpath(service.host.kernel.tree.at(f"{device.path}/physfn")))


@pytest.mark.parametrize(
    ("address", "type_"), [(card_of, "1"), (lambda service, functions: "mdpy", "mdpy-vga")]
)
def test_address_of_anything_else_is_refused(
    service: Service,
    functions: list[str],
    address: Callable[[Service, list[str]], str],
    type_: str,
) -> None:
    """Of a card any function would get the profile, and a parent would create an mdev."""
    written = len(service.host.kernel.written)
    with pytest.raises(BadDomain, match="name a single function"):
        prepare(service, VM, [mdev(ONE), function(address(service, functions), type_)])
    assert len(service.host.kernel.written) == written
