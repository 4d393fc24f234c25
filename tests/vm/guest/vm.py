"""The words of the tests in the VM: its kernel, its daemons, and who is told of what."""

from __future__ import annotations

import fcntl
import functools
import json
import os
import re
import struct
import subprocess
import textwrap
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import libvirt
import pyudev

from nodedevd.cli.embedded import Embedded
from nodedevd.client import Client
from nodedevd.kinds.mdev_child import MdevChild
from nodedevd.kinds.mdev_parent import MdevParent
from nodedevd.model.device import Device
from tests.support.watcher import Watcher, devices_of_daemon

SOCKET = Path("/run/nodedevd/org.nodedevd.Devices")
LIBVIRTD = "nodedev:///system?socket=/run/libvirt/libvirt-sock"
NODEDEVD = "nodedev:///system"  # by the path that clients look at first
PATIENCE_SECONDS = 120.0
"""After so long a test fails; under emulation, beside other work, little is quick."""
MDEV_BUS = Path("/sys/class/mdev_bus")
MDEVS = Path("/sys/bus/mdev/devices")
DEFINITIONS = Path("/etc/mdevctl.d")

OUT = Path(os.environ.get("NODEDEVD_VM", "/nowhere"))
"""what is left there can be had outside"""
figures: list[str] = []
"""what was counted and measured, for the end of the report"""

SAMPLES = {"mtty": "mtty-2", "mdpy": "mdpy-vga", "mbochs": "mbochs-small"}
"""The kernel's sample drivers; a driver's one parent has its name. With a type of each."""


def run(*command: str | Path) -> str:
    """Run a command, which has to succeed, and return what it prints."""
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_SECONDS)
    assert done.returncode == 0, f"{command}: {done.stderr}"
    return done.stdout


def denied() -> list[str]:
    """Return what AppArmor has denied nodedevd's services since the boot, a line for each time."""
    lines = run("journalctl", "-qkb", "-o", "cat").splitlines()
    return [line for line in lines if 'apparmor="DENIED"' in line and 'profile="nodedevd' in line]


def write(path: Path | str, text: str) -> None:
    """Put text into an attribute, which has to be there, by one system call."""
    file = os.open(path, os.O_WRONLY)
    try:
        os.write(file, text.encode())
    finally:
        os.close(file)


def until(condition: Callable[[], bool], what: object = "") -> None:
    """Look again and again whether something is so, and fail if it never is."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not condition():
        assert time.monotonic() < deadline, f"waited in vain {what}"
        time.sleep(0.05)


def settle() -> None:
    """Wait until udevd has nothing to do."""
    run("udevadm", "settle", f"--timeout={PATIENCE_SECONDS:.0f}")


# -- mdevs ------------------------------------------------------------------------------


def new_uuid() -> str:
    """Return a uuid for an mdev."""
    return str(uuid.uuid4())


def create(sample: str, one: str, type_id: str | None = None) -> None:
    """Create an mdev through sysfs."""
    write(MDEV_BUS / sample / "mdev_supported_types" / (type_id or SAMPLES[sample]) / "create", one)


def remove(one: str) -> None:
    """Remove an mdev through sysfs."""
    write(MDEVS / one / "remove", "1")


@contextmanager
def opened(one: str) -> Iterator[None]:
    """Have the VFIO device of an mdev open, as a virtual machine has."""
    with opened_vfio(MDEVS / one):
        yield


@contextmanager
def opened_vfio(device: Path) -> Iterator[None]:
    """Have a device open through VFIO, given by its sysfs path; include/uapi/linux/vfio.h."""
    set_iommu, set_container, get_device_fd, type1 = 0x3B66, 0x3B68, 0x3B6A, 1
    group_number = (device / "iommu_group").resolve().name
    with ExitStack() as stack:
        container, group = [
            os.open(f"/dev/vfio/{name}", os.O_RDWR) for name in ("vfio", group_number)
        ]
        stack.callback(os.close, container)
        stack.callback(os.close, group)
        fcntl.ioctl(group, set_container, struct.pack("i", container))
        fcntl.ioctl(container, set_iommu, type1)
        # With a buffer that can change, ioctl returns the number that the kernel returns.
        found = fcntl.ioctl(group, get_device_fd, bytearray(device.name.encode() + b"\0"))
        stack.callback(os.close, found)
        yield


def load_samples() -> None:
    """Load the sample drivers that are not loaded."""
    missing = [sample for sample in SAMPLES if not (MDEV_BUS / sample).exists()]
    if missing:
        run("modprobe", "-a", *missing)
        settle()


def remove_mdevs() -> None:
    """Remove all mdevs and definitions."""
    for path in MDEVS.iterdir():
        remove(path.name)
    for definition in DEFINITIONS.glob("*/*"):
        if definition.parent.name in SAMPLES:
            definition.unlink()
    settle()


def mdev_name(one: str) -> str:
    """Return nodedevd's name of an mdev."""
    return f"mdev_{one.replace('-', '_')}"


def libvirt_name(one: str, sample: str) -> str:
    """Return libvirt's name of an mdev."""
    return f"{mdev_name(one)}_{sample}"


def parent_name(sample: str) -> str:
    """Return the name of a sample driver's parent."""
    return f"{sample}_{sample}"


def mdev(device: Device) -> MdevChild:
    """Return the capability of an mdev."""
    found = device.capability(MdevChild)
    assert found is not None, device
    return found


def complete(devices: Mapping[str, Device], *uuids: str) -> bool:
    """Tell whether mdevs are all there, with all they will have."""
    found = [devices.get(mdev_name(one)) for one in uuids]
    return all(device is not None and mdev(device).state == "complete" for device in found)


def available(device: Device) -> dict[str, int | None]:
    """Return how many more of each type there can be, by what was told of a parent."""
    found = device.capability(MdevParent)
    assert found is not None, device
    return {one.id: one.available_instances for one in found.types}


def kernel_available(sample: str) -> dict[str, int | None]:
    """Return the same by what the kernel says now."""
    types = (MDEV_BUS / sample / "mdev_supported_types").iterdir()
    return {one.name: int((one / "available_instances").read_text()) for one in types}


# -- nodedevd ---------------------------------------------------------------------------

FENCE = "net_fence0_52_54_00_00_00_ff"
FENCES = ("fence0", "fence1", "fence2")
"""interfaces that come and go: changes are reported in order, so all before are reported by then"""


@contextmanager
def watching(*prefixes: str) -> Iterator[Watcher]:
    """Be told by the daemon of changes: all, or those of devices whose names begin so."""
    ours = (*prefixes, FENCE) if prefixes else ("",)
    with Watcher(SOCKET, is_ours=lambda name: name.startswith(ours)) as watcher:
        yield watcher


def described(name: str) -> Device:
    """Ask the daemon for a device."""
    with Client(str(SOCKET)) as client:
        return client.describe(name)


def nodedevctl(*arguments: str) -> Any:
    """Run nodedevctl, and return the JSON it prints."""
    return json.loads(run("nodedevctl", *arguments))


def service(*names: str) -> dict[str, str]:
    """Return what systemd says of nodedevd's service."""
    lines = run("systemctl", "show", "nodedevd.service", f"--property={','.join(names)}")
    return dict(line.split("=", 1) for line in lines.splitlines())


def start_service() -> None:
    """Start the service, or have it go on, unless it runs."""
    found = service("ActiveState", "MainPID")
    if found["ActiveState"] == "active":
        state = Path("/proc", found["MainPID"], "stat").read_text().rpartition(")")[2].split()[0]
        if state != "T":
            return
    run("systemctl", "kill", "--signal=SIGCONT", "nodedevd.service")
    run("systemctl", "reset-failed", "nodedevd.service")
    run("systemctl", "start", "nodedevd.service")


def fresh() -> dict[str, Any]:
    """Return all devices by a scan of this process, which is root and confined by nothing."""
    devices = json.loads(Embedded("/").snapshot_json())["devices"]
    return {device["name"]: device for device in devices}


def fence(watcher: Watcher) -> list[str]:
    """Make and remove an interface; return what was told before it came, and before it went.

    Changes are told in the order of their events, so all that happened before is told by then.
    """
    run("ip", "link", "add", "fence0", "address", "52:54:00:00:00:ff", "type", "dummy")
    lines = watcher.until(lambda: FENCE in watcher.devices)
    run("ip", "link", "del", "fence0")
    lines += watcher.until(lambda: FENCE not in watcher.devices)
    return [line for line in lines if FENCE not in line]


def remove_fences() -> None:
    """Remove the interfaces of fences that did not end."""
    for name in FENCES:
        if Path("/sys/class/net", name).exists():
            run("ip", "link", "del", name)


def assert_true() -> None:
    """Fail unless the daemon tells of every device what a fresh scan does."""
    settle()
    with watching() as watcher:
        fence(watcher)
    told, true = devices_of_daemon(SOCKET), fresh()
    assert sorted(told) == sorted(true)
    assert {name: one for name, one in told.items() if one != true[name]} == {}


# -- libvirt ----------------------------------------------------------------------------


DRIVERS = Path("/run/libvirt-drivers")
LIBVIRTD_UNIT = "libvirtd-alone.service"


def start_libvirtd() -> None:
    """Start libvirt's own daemon, which has not to be running."""
    # Its node device driver alone: the others want users and programs that are not here.
    DRIVERS.mkdir(exist_ok=True)
    driver = next(Path("/usr/lib").glob("*/libvirt/connection-driver/libvirt_driver_nodedev.so"))
    if not (DRIVERS / driver.name).exists():
        (DRIVERS / driver.name).symlink_to(driver)
    words = (f"--setenv=LIBVIRT_DRIVER_DIR={DRIVERS}", "--property=Type=notify")
    run("systemd-run", "--collect", f"--unit={LIBVIRTD_UNIT}", *words, "/usr/sbin/libvirtd")


def restart_libvirtd() -> None:
    """Start libvirt's own daemon after it has ended by itself."""
    show = ("systemctl", "show", "--value", "-p", "MainPID", LIBVIRTD_UNIT)
    until(lambda: run(*show).strip() == "0")
    start_libvirtd()


@functools.cache
def run_event_loop() -> None:
    """Have a thread take events for all connections that are opened from now on."""
    libvirt.virEventRegisterDefaultImpl()

    def loop() -> None:
        while True:
            libvirt.virEventRunDefaultImpl()

    threading.Thread(target=loop, daemon=True).start()


WORDS = {
    libvirt.VIR_NODE_DEVICE_EVENT_CREATED: "created",
    libvirt.VIR_NODE_DEVICE_EVENT_DELETED: "deleted",
    libvirt.VIR_NODE_DEVICE_EVENT_DEFINED: "defined",
    libvirt.VIR_NODE_DEVICE_EVENT_UNDEFINED: "undefined",
}


class Libvirt:
    """A connection by libvirt's own library, told of every device that comes and goes.

    Attributes:
        events: "created" or "deleted", the name, and when that was told.
    """

    def __init__(self, uri: str) -> None:
        self.events: list[tuple[str, str, float]] = []
        self._uri = uri
        self._condition = threading.Condition()
        self.connect()

    def connect(self) -> None:
        """Connect, also once more to a daemon that was started again."""
        run_event_loop()
        self.connection = libvirt.open(self._uri)
        self.connection.nodeDeviceEventRegisterAny(
            None, libvirt.VIR_NODE_DEVICE_EVENT_ID_LIFECYCLE, self._on_event, None
        )

    def _on_event(self, _: object, device: Any, event: int, *__: object) -> None:
        with self._condition:
            self.events.append((WORDS[event], device.name(), time.monotonic()))
            self._condition.notify_all()

    def complete(self) -> Libvirt:
        """Wait until the daemon shows the devices of the host."""
        until(lambda: parent_name("mtty") in self.names(), "for libvirtd to find devices")
        self.fence()
        return self

    def wait(self, event: str, name: str, since: int = 0) -> float:
        """Return when an event was told that may still be to come, after the first so many."""

        def told() -> list[float]:
            return [when for *what, when in self.events[since:] if what == [event, name]]

        with self._condition:
            assert self._condition.wait_for(told, PATIENCE_SECONDS), f"no {event} {name}"
            return told()[-1]

    def names(self) -> set[str]:
        """Return the names of the devices it lists, inactive ones too."""
        return {device.name() for device in self.connection.listAllDevices(0)}

    def xml(self, name: str) -> str:
        """Return a device's XML."""
        return str(self.connection.nodeDeviceLookupByName(name).XMLDesc(0))

    def fence(self) -> None:
        """Wait until all that happened before is told."""
        since = len(self.events)
        run("ip", "link", "add", "fence1", "address", "52:54:00:00:00:fe", "type", "dummy")
        self.wait("created", "net_fence1_52_54_00_00_00_fe", since)
        run("ip", "link", "del", "fence1")
        self.wait("deleted", "net_fence1_52_54_00_00_00_fe", since)


def virsh(uri: str, *commands: Sequence[str]) -> str:
    """Run virsh once for a number of commands."""
    return run("virsh", "-q", "-c", uri, "; ".join(" ".join(command) for command in commands))


def documents(text: str) -> dict[str, str]:
    """Take apart what virsh prints of many devices, or `dumpxml` of all: XML by name."""
    parts = re.findall(r"^ *<device>\n(?:.*\n)*?^ *</device>\n", text, re.MULTILINE)
    return {re.findall("<name>(.*)</name>", part)[0]: textwrap.dedent(part) for part in parts}


@contextmanager
def kernel_events(*subsystems: str) -> Iterator[Callable[[], list[tuple[str, str]]]]:
    """Hear the kernel itself: give a function that returns actions and names since the last."""
    monitor = pyudev.Monitor.from_netlink(pyudev.Context(), source="kernel")
    for subsystem in subsystems:
        monitor.filter_by(subsystem)
    monitor.start()

    def heard() -> list[tuple[str, str]]:
        devices = iter(lambda: monitor.poll(0), None)
        return [(device.action, device.sys_name) for device in devices]

    yield heard
