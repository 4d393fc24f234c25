"""Virtual functions and drivers of PCI functions, changed by the control service."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pytest

from nodedevd.client import Control
from nodedevd.errors import (
    CardBusy,
    DeviceInUse,
    MadeByOther,
    NotPossible,
    OwnedByOther,
    StepFailed,
    StillWriting,
)
from nodedevd.kinds.pci import Pci
from tests.vm.guest import control, vm
from tests.vm.guest.vgpusim import CARD, Function

pytestmark = pytest.mark.exhaustive

READS_HANG = True
CARD_NAME = "pci_" + CARD.name.replace(":", "_").replace(".", "_")
NIC = "enp129s0"
DRIVERS = Path("/sys/bus/pci/drivers")


@pytest.fixture(scope="module")
def service(devices: None) -> Iterator[Control]:
    """Ask the service as root, with vfio-pci loaded; VFs come without a driver."""
    vm.run("modprobe", "vfio-pci")
    vm.write(CARD / "sriov_drivers_autoprobe", "0")
    try:
        with (
            control.configured("[limits]\nwrite_seconds = 3\nlock_seconds = 3\n"),
            control.enabled() as client,
        ):
            yield client
    finally:
        vm.write(CARD / "sriov_drivers_autoprobe", "1")


@pytest.fixture(autouse=True)
def _nothing_left(service: Control) -> Iterator[None]:
    """No change is left in the journal, whatever came of it, and no virtual function."""
    yield
    assert control.journal() == []
    assert control.status().leftovers == ()
    if number_of_functions():
        vm.write(CARD / "sriov_numvfs", "0")
    vm.settle()


def number_of_functions() -> int:
    """Return how many virtual functions are enabled."""
    return int((CARD / "sriov_numvfs").read_text())


def driver_of(path: Path) -> str | None:
    """Return the name of a driver."""
    link = path / "driver"
    return link.resolve().name if link.exists() else None


def override_of(path: Path) -> str:
    """Return the driver that a function is reserved for."""
    return (path / "driver_override").read_text().strip()


def test_number_of_virtual_functions_is_set(service: Control) -> None:
    """Through 0, where the kernel wants it; the answer shows all of them."""
    planned = service.set_virtual_functions(CARD_NAME, 2, owner="net", dry_run=True)
    assert len(planned.steps) == 1
    assert number_of_functions() == 0
    made = service.set_virtual_functions(CARD_NAME, 2, owner="net")
    (card,) = made.devices
    pci = card.capability(Pci)
    assert pci is not None
    assert pci.virtual_functions is not None
    assert pci.virtual_functions.addresses == (Function(0).address, Function(1).address)
    assert all(vm.described(Function(number).name) for number in (0, 1))
    assert service.set_virtual_functions(CARD_NAME, 2, owner="net").steps == ()
    control.refused(OwnedByOther, partial(service.set_virtual_functions, CARD_NAME, 4))
    changed = service.set_virtual_functions(CARD_NAME, 4, owner="net")
    assert len(changed.steps) == 2
    assert number_of_functions() == 4
    service.set_virtual_functions(CARD_NAME, 0, owner="net")
    assert number_of_functions() == 0
    control.refused(NotPossible, partial(service.set_virtual_functions, CARD_NAME, 5))
    # A device of netdevsim has VFs, but is on no PCI bus, and an interface is no function.
    interface = next(Path("/sys/bus/netdevsim/devices/netdevsim1/net").iterdir())
    control.refused(
        NotPossible, partial(service.set_virtual_functions, str(interface.resolve()), 1)
    )
    vm.write(CARD / "sriov_numvfs", "1")
    vm.until(lambda: shown(CARD_NAME) == 1, "for the function to be shown")
    control.refused(MadeByOther, partial(service.set_virtual_functions, CARD_NAME, 0))
    service.set_virtual_functions(CARD_NAME, 0, force=True)


def shown(name: str) -> int:
    """Return how many virtual functions nodedevd shows."""
    pci = vm.described(name).capability(Pci)
    assert pci is not None
    assert pci.virtual_functions is not None
    return len(pci.virtual_functions.addresses)


def test_function_goes_to_a_guest_and_back(service: Control) -> None:
    """By driver_override, which is cleared again; what a program has open stays where it is."""
    service.set_virtual_functions(CARD_NAME, 2, owner="vm-1")
    function = Function(1)
    planned = service.bind(function.name, "vfio-pci", owner="vm-1", group=True, dry_run=True)
    assert planned.steps
    assert driver_of(function.path) is None
    bound = service.bind(function.name, "vfio-pci", owner="vm-1", group=True)
    assert bound.devices[0].driver == driver_of(function.path) == "vfio-pci"
    assert override_of(function.path) == "vfio-pci"
    assert service.bind(function.name, "vfio-pci", owner="vm-1", group=True).steps == ()
    control.refused(OwnedByOther, partial(service.unbind, function.name))
    with vm.opened_vfio(function.path):
        for call in (
            partial(service.unbind, function.name, owner="vm-1"),
            partial(service.set_virtual_functions, CARD_NAME, 0, owner="vm-1"),
            partial(service.set_virtual_functions, CARD_NAME, 1, owner="vm-1"),
        ):
            control.refused(DeviceInUse, call)
        assert driver_of(function.path) == "vfio-pci"
        assert number_of_functions() == 2
    service.unbind(function.name, owner="vm-1", group=True)
    assert driver_of(function.path) != "vfio-pci"
    assert override_of(function.path) == "(null)"
    service.set_virtual_functions(CARD_NAME, 0, owner="vm-1")


def test_driver_that_does_not_take_a_function_leaves_the_old_one(service: Control) -> None:
    """All that was done for the new one is undone."""
    service.set_virtual_functions(CARD_NAME, 1)
    function = Function(0)
    service.bind(function.name, "vfio-pci", group=True)
    control.refused(NotPossible, partial(service.bind, function.name, "no-such-driver"))
    # It takes no function of another vendor, and says so at once.
    refusal = control.refused(StepFailed, partial(service.bind, function.name, "virtio-pci"))
    assert (refusal.errno, refusal.left) == ("ENODEV", ())
    assert driver_of(function.path) == "vfio-pci"
    assert override_of(function.path) == "vfio-pci"
    service.unbind(function.name, group=True)
    service.set_virtual_functions(CARD_NAME, 0)


@pytest.mark.parametrize("what", ["number", "unbind"])
def test_forced_change_of_an_open_function_waits_until_it_is_closed(
    service: Control, what: str
) -> None:
    """The kernel waits; the client is answered meanwhile, and the change goes on by itself."""
    service.set_virtual_functions(CARD_NAME, 2)
    function = Function(1)
    service.bind(function.name, "vfio-pci", group=True)
    if what == "number":
        change = partial(service.set_virtual_functions, CARD_NAME, 0)
    else:
        change = partial(service.unbind, function.name)
    with vm.opened_vfio(function.path):
        control.refused(DeviceInUse, change)
        control.refused(StillWriting, partial(change, force=True))
        (hanging,) = control.status().in_progress
        assert (hanging.hangs, hanging.cards) == (True, (CARD_NAME,))
        other = partial(service.set_virtual_functions, CARD_NAME, 4, force=True)
        control.refused(CardBusy, other)
    vm.until(lambda: control.status().in_progress == (), "for the driver to answer")
    if what == "unbind":
        assert driver_of(function.path) != "vfio-pci"
        assert override_of(function.path) == "(null)"
        service.set_virtual_functions(CARD_NAME, 0)
    assert number_of_functions() == 0
    assert control.made("client") == []


def test_physical_function_stays_while_it_has_others(service: Control) -> None:
    """The functions outlive its driver, and then nobody can change their number."""
    service.set_virtual_functions(CARD_NAME, 2)
    for force in (False, True):
        call = partial(service.bind, CARD_NAME, "vfio-pci", group=True, force=force)
        assert control.refused(NotPossible, call).reason == "vfs-enabled"
    vm.write(CARD / "driver/unbind", CARD.name)
    try:
        vm.until(lambda: vm.described(CARD_NAME).driver is None, "for the driver to be gone")
        assert number_of_functions() == 2
        refusal = control.refused(NotPossible, partial(service.set_virtual_functions, CARD_NAME, 0))
        assert refusal.reason == "no-driver"
    finally:
        vm.write(DRIVERS / "nvme/bind", CARD.name)
    vm.until(lambda: vm.described(CARD_NAME).driver == "nvme", "for the driver to be back")
    service.set_virtual_functions(CARD_NAME, 0)


def test_disk_that_a_process_has_open_is_not_taken_away(service: Control) -> None:
    """A guest may have it by its node: no mount shows that."""
    with open("/dev/nvme0n1", "rb"):
        refusal = control.refused(DeviceInUse, partial(service.bind, CARD_NAME, "vfio-pci"))
        assert refusal.known
        assert "has nvme0n1 open" in str(refusal)
    assert service.bind(CARD_NAME, "vfio-pci", dry_run=True).steps


@contextmanager
def used(*commands: str) -> Iterator[None]:
    """Have an interface used: commands of ip, the first half to set up, the others to undo."""
    half = len(commands) // 2
    for words in commands[:half]:
        vm.run("ip", *words.split())
    vm.settle()
    try:
        yield
    finally:
        for words in commands[half:]:
            vm.run("ip", *words.split())
        vm.settle()


def test_function_that_the_host_uses_is_not_taken_away(service: Control) -> None:
    """An interface with an address, in a bridge, or in another namespace; a mounted disk."""
    nic = Path(f"/sys/class/net/{NIC}/device").resolve()
    name = "pci_" + nic.name.replace(":", "_").replace(".", "_")
    bind = partial(service.bind, name, "vfio-pci", group=True)
    for commands in (
        (f"address add 192.0.2.1/24 dev {NIC}", f"address del 192.0.2.1/24 dev {NIC}"),
        (f"link set {NIC} master br0", f"link set {NIC} nomaster"),
        (
            *("netns add elsewhere", f"link set {NIC} netns elsewhere"),
            *(f"-n elsewhere link set {NIC} netns 1", "netns del elsewhere"),
        ),
    ):
        with used(*commands):
            control.refused(DeviceInUse, bind)
            assert driver_of(nic) == "e1000e"
    mount = Path("/run/nvme")
    mount.mkdir()
    vm.run("mkfs.ext4", "-q", "/dev/nvme0n1")
    vm.run("mount", "/dev/nvme0n1", mount)
    try:
        control.refused(DeviceInUse, partial(service.bind, CARD_NAME, "vfio-pci", group=True))
        assert driver_of(CARD) == "nvme"
    finally:
        vm.run("umount", mount)
        mount.rmdir()
    # Idle, it goes to the guest and comes back.
    bind()
    assert driver_of(nic) == "vfio-pci"
    service.unbind(name, group=True)
    assert driver_of(nic) == "e1000e"
    vm.until(Path("/sys/class/net", NIC).exists, f"for {NIC} to be back")
