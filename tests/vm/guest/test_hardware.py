"""What else happens to a host: drivers, addresses, namespaces, media, hosts and VFs in bulk."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from nodedevd.kinds.net import Net
from nodedevd.kinds.pci import Pci
from nodedevd.kinds.storage import Storage
from tests.support.watcher import Watcher
from tests.vm.guest import vm

NIC, MAC, OTHER_MAC = "enp129s0", "52_54_00_00_00_13", "52_54_00_00_00_77"
HOSTS = 6
SUBSYSTEMS = ("pci", "net", "block", "scsi", "usb", "mdev", *vm.SAMPLES)
CDROMCLOSETRAY = 0x5319  # linux/cdrom.h
NAMESPACE = Path("/run/netns/elsewhere")
PHYSICAL = next(Path("/sys/bus/pci/devices").glob("*/sriov_totalvfs"), Path()).parent
ADD_HOST = Path("/sys/bus/pseudo/drivers/scsi_debug/add_host")


@pytest.fixture(scope="module")
def nic() -> tuple[str, Path]:
    """Return the name of the card that an interface is on, and its driver's directory."""
    card = Path(f"/sys/class/net/{NIC}/device").resolve()
    name = "pci_" + card.name.replace(":", "_").replace(".", "_")
    return name, (card / "driver").resolve()


@pytest.fixture(autouse=True)
def _settled(nic: tuple[str, Path]) -> Iterator[None]:
    """Begin and end with an udevd that has nothing to do, and undo what a failed test has left."""
    vm.settle()
    yield
    card, driver = nic
    if not (driver / address(card)).exists():
        vm.write(driver / "bind", address(card))
        vm.until(Path("/sys/class/net", NIC).exists, f"for {NIC} to be back")
    if Path("/sys/class/net", NIC, "address").read_text().strip() != MAC.replace("_", ":"):
        vm.run("ip", "link", "set", NIC, "address", MAC.replace("_", ":"))
    if NAMESPACE.exists():
        if not Path("/sys/class/net/veth1").exists():
            vm.run("ip", "-n", NAMESPACE.name, "link", "set", "veth1", "netns", "1")
        vm.run("ip", "netns", "del", NAMESPACE.name)
    if int((PHYSICAL / "sriov_numvfs").read_text()):
        vm.write(PHYSICAL / "sriov_numvfs", "0")
    hosts = int(ADD_HOST.read_text())
    if hosts != 1:
        vm.write(ADD_HOST, str(1 - hosts))
    vm.settle()


def net(watcher: Watcher, name: str) -> Net:
    """Return an interface as it was last told."""
    found = watcher.devices[name].capability(Net)
    assert found is not None
    return found


def has_state(watcher: Watcher, name: str, state: str) -> bool:
    """Tell whether an interface's operstate was last told to be this."""
    return net(watcher, name).link.state == state


def address(name: str) -> str:
    """Return the PCI address that a device's name is made of."""
    domain, bus, slot, function = name.removeprefix("pci_").split("_")
    return f"{domain}:{bus}:{slot}.{function}"


def test_driver_is_followed(nic: tuple[str, Path], libvirtd: vm.Libvirt) -> None:
    """Unbound and bound again; libvirtd tells its clients nothing of the card."""
    card, driver = nic
    interface = f"net_{NIC}_{MAC}"
    seen = len(libvirtd.events)
    with vm.watching(card, "net_") as watcher:
        vm.write(driver / "unbind", address(card))
        watcher.until(
            lambda: watcher.devices[card].driver is None and interface not in watcher.devices
        )
        vm.write(driver / "bind", address(card))
        lines = watcher.until(
            lambda: watcher.devices[card].driver == driver.name and interface in watcher.devices
        )
        # By its final name from the start: eth0, as the kernel calls it first, is nobody's.
        assert [line for line in lines if line.startswith("added")] == [f"added {interface}"]
    libvirtd.wait("created", interface, seen)
    libvirtd.fence()
    assert [name for _, name, _ in libvirtd.events[seen:] if name == card] == []


def test_new_address_is_told_at_once(libvirtd: vm.Libvirt) -> None:
    """There is no uevent of it; libvirtd goes on with the old one."""
    before, after = f"net_{NIC}_{MAC}", f"net_{NIC}_{OTHER_MAC}"
    with vm.watching(before, after) as watcher:
        vm.run("ip", "link", "set", NIC, "address", OTHER_MAC.replace("_", ":"))
        watcher.until(lambda: after in watcher.devices and before not in watcher.devices)
        assert net(watcher, after).address == OTHER_MAC.replace("_", ":")
        libvirtd.fence()
        assert before in libvirtd.names()
        assert after not in libvirtd.names()
        vm.run("ip", "link", "set", NIC, "address", MAC.replace("_", ":"))
        watcher.until(lambda: before in watcher.devices and after not in watcher.devices)


def test_carrier_is_told_at_once() -> None:
    """There is no uevent of it either."""
    veth0 = "net_veth0_52_54_00_00_01_01"
    with vm.watching(veth0) as watcher:
        for end, other, state in (("up", "up", "up"), ("up", "down", "lowerlayerdown")):
            vm.run("ip", "link", "set", "veth0", end)
            vm.run("ip", "link", "set", "veth1", other)
            watcher.until(partial(has_state, watcher, veth0, state))


def test_interface_goes_to_another_namespace_and_comes_back_once() -> None:
    """Removed here, added here: where the kernel says add and move of one path."""
    veth = next(f"net_{name}_" for name in os.listdir("/sys/class/net") if name == "veth1")
    vm.run("ip", "netns", "add", NAMESPACE.name)
    with vm.watching(veth) as watcher:
        vm.run("ip", "link", "set", "veth1", "netns", NAMESPACE.name)
        watcher.until(lambda: not any(name.startswith(veth) for name in watcher.devices))
        vm.run("ip", "-n", NAMESPACE.name, "link", "set", "veth1", "netns", "1")
        watcher.until(lambda: any(name.startswith(veth) for name in watcher.devices))
        told = [line.split()[0] for line in vm.fence(watcher)]
        assert set(told) <= {"changed"}
    vm.run("ip", "netns", "del", NAMESPACE.name)


def test_change_of_nothing_is_told_to_nobody() -> None:
    """Of every device udevd says `change`; none is another than before."""
    with vm.watching() as watcher:
        # The kernel tells of links a while after they changed.
        vm.until(lambda: vm.fence(watcher) == [], "for the host to come to rest")
        matches = [f"--subsystem-match={name}" for name in SUBSYSTEMS]
        vm.run("udevadm", "trigger", "--action=change", *matches)
        vm.settle()
        told = vm.fence(watcher)
        # Under emulation a read may take as long as one that hangs; that is told as an error.
        assert [line for line in told if not line.endswith(" errors")] == []


def test_ejected_medium_is_told_when_the_kernel_tells() -> None:
    """That is when somebody opens the drive; before, nobody knows."""
    name = next(name for name in vm.fresh() if name.startswith("block_sr0"))
    with vm.watching(name) as watcher:

        def available() -> bool | None:
            drive = watcher.devices[name].capability(Storage)
            assert drive is not None
            assert drive.removable is not None
            return drive.removable.media_available

        assert available()
        vm.write("/proc/sys/dev/cdrom/autoclose", "0")
        # Of what moves trays, udev's own program knows how to undo udev's lock.
        for option in ("--unlock-media", "--eject-media"):
            vm.run("/lib/udev/cdrom_id", option, "/dev/sr0")
        with pytest.raises(OSError, match="No medium"):
            os.open("/dev/sr0", os.O_RDONLY)
        watcher.until(lambda: not available())
        drive = os.open("/dev/sr0", os.O_RDONLY | os.O_NONBLOCK)
        fcntl.ioctl(drive, CDROMCLOSETRAY)
        os.close(drive)
        os.close(os.open("/dev/sr0", os.O_RDONLY))
        watcher.until(lambda: bool(available()))


def test_virtual_functions_come_and_go_with_their_physical_one() -> None:
    """Told one by one, and counted by the function they are of, of which no event tells."""
    name = "pci_" + PHYSICAL.name.replace(":", "_").replace(".", "_")
    with vm.watching("pci_") as watcher:

        def functions() -> tuple[str, ...]:
            pci = watcher.devices[name].capability(Pci)
            assert pci is not None
            assert pci.virtual_functions is not None
            return pci.virtual_functions.addresses

        vm.write(PHYSICAL / "sriov_numvfs", "4")
        lines = watcher.until(lambda: len(functions()) == 4)
        addresses = [(PHYSICAL / f"virtfn{number}").resolve().name for number in range(4)]
        assert functions() == tuple(addresses)
        names = ["pci_" + one.replace(":", "_").replace(".", "_") for one in addresses]
        lines += watcher.until(lambda: set(names) <= watcher.devices.keys())
        assert sorted(line for line in lines if line.startswith("added")) == sorted(
            f"added {one}" for one in names
        )
        for one in names:
            pci = watcher.devices[one].capability(Pci)
            assert pci is not None
            assert pci.physical_function == PHYSICAL.name
        vm.write(PHYSICAL / "sriov_numvfs", "0")
        lines = watcher.until(lambda: functions() == () and not set(names) & watcher.devices.keys())
        assert sorted(line for line in lines if line.startswith("removed")) == sorted(
            f"removed {one}" for one in names
        )


def test_hosts_come_and_go_in_bulk(libvirtd: vm.Libvirt) -> None:
    """Each with all below it, parents first when they come, children first when they go."""
    with vm.watching("scsi_", "block_") as watcher:
        before = dict(watcher.devices)
        vm.write(ADD_HOST, str(HOSTS))
        vm.settle()
        lines = vm.fence(watcher)
        added = [line.split()[1] for line in lines if line.startswith("added")]
        assert set(added) == watcher.devices.keys() - before.keys()
        for kind in ("scsi_host", "scsi_target", "scsi", "storage", "scsi_generic"):
            assert sum(kind in watcher.devices[one].types for one in added) == HOSTS, kind
        for one in added:
            parent = watcher.devices[one].parent
            assert parent not in added or added.index(str(parent)) < added.index(one)
        parents = {one: watcher.devices[one].parent for one in added}
        vm.write(ADD_HOST, str(-HOSTS))
        lines = watcher.until(lambda: not set(added) & watcher.devices.keys())
        removed = [line.split()[1] for line in lines if line.startswith("removed")]
        assert sorted(removed) == sorted(added)
        for one, parent in parents.items():
            assert parent not in added or removed.index(one) < removed.index(str(parent))
    libvirtd.fence()
