"""An mdev that lives as long as its domain: libvirtd's QEMU driver, its hook, and a real QEMU.

The domain has no system to boot: QEMU has the mdev open all the same.
"""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.libvirt_domain import managed, mdev_device
from tests.vm.guest import control, vm

pytestmark = pytest.mark.exhaustive

UNIT = "libvirtd-qemu.service"
SOCKETS = Path("/run/libvirtd-qemu")
URI = f"qemu:///system?socket={SOCKETS}/libvirt-sock"
DRIVERS = Path("/run/libvirt-qemu-drivers")
ETC = Path("/etc/libvirt")
HOOKS = ETC / "hooks/qemu.d"
HOOK = HOOKS / "50-nodedevd"
HEARD = Path("/run/hook-heard")
VM = "6f1d0c1e-7a5b-4c55-9b0e-3d8f0f3c7a01"
LOG = Path("/var/log/libvirt/qemu/vm1.log")
PID = Path("/run/libvirt/qemu/vm1.pid")

CONFIGURATION = f"""\
unix_sock_dir = "{SOCKETS}"
auth_unix_rw = "none"
"""
QEMU_CONFIGURATION = """\
user = "root"
group = "root"
security_driver = "none"
stdio_handler = "file"
namespaces = [ ]
"""
SERVICE = f"""\
[Service]
Type=notify
Environment=LIBVIRT_DRIVER_DIR={DRIVERS}
ExecStart=/usr/sbin/libvirtd -f {ETC}/libvirtd-qemu.conf -p /run/libvirtd-qemu.pid
KillMode=process
Delegate=yes
"""
LISTENER = f"""\
#!/bin/sh
# Notes whether the mdev is there, before or after the hook under test.
xml=$(cat)
for uuid in $(printf %s "$xml" | sed -n "s/.*<address uuid='\\([^']*\\)'.*/\\1/p"); do
	[ -e /sys/bus/mdev/devices/$uuid ] && is=present || is=absent
	echo "${{0##*/}} $2 $is" >> {HEARD}
done
"""


@pytest.fixture(scope="module")
def qemu_driver(devices: None) -> Iterator[None]:
    """Run a libvirtd with the QEMU driver alone, and the hook installed as the guide says."""
    # In Debian 12 libvirt-daemon-system makes these, in Debian 13 the package of the QEMU driver.
    vm.run("groupadd", "--system", "--force", "kvm")
    if "libvirt-qemu" not in [user.pw_name for user in pwd.getpwall()]:
        vm.run("useradd", "--system", "libvirt-qemu")
    driver = next(Path("/usr/lib").glob("*/libvirt/connection-driver/libvirt_driver_qemu.so"))
    for directory in (DRIVERS, SOCKETS, HOOKS, LOG.parent):
        directory.mkdir(parents=True, exist_ok=True)
    (DRIVERS / driver.name).symlink_to(driver)
    (ETC / "libvirtd-qemu.conf").write_text(CONFIGURATION)
    (ETC / "qemu.conf").write_text(QEMU_CONFIGURATION)
    for name in ("10-before", "90-after"):
        (HOOKS / name).write_text(LISTENER)
        (HOOKS / name).chmod(0o755)
    shutil.copy("/usr/bin/nodedevd-libvirt-hook", HOOK)
    Path("/run/systemd/system", UNIT).write_text(SERVICE)
    vm.run("systemctl", "daemon-reload")
    vm.run("systemctl", "start", UNIT)
    with control.enabled():
        yield
    vm.run("systemctl", "stop", UNIT)


@pytest.fixture(autouse=True)
def _nothing_left(qemu_driver: None, no_mdevs: None) -> Iterator[None]:
    """Begin each test without a domain, and find nothing of it afterwards."""
    HEARD.unlink(missing_ok=True)
    yield
    virsh("destroy", "vm1")
    virsh("undefine", "vm1")
    assert control.active() == {}
    assert control.made() == []
    assert control.journal() == []


def virsh(*command: str) -> tuple[int, str]:
    """Run virsh, and return its exit status and what it prints."""
    done = subprocess.run(
        ["virsh", "-q", "-c", URI, *command],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=vm.PATIENCE_SECONDS,
    )
    return done.returncode, done.stdout


def succeeds(*command: str) -> str:
    """Run virsh, which has to succeed."""
    status, output = virsh(*command)
    assert status == 0, f"{command}: {output}"
    return output


def define(directory: Path, uuid: str, vgpu: str) -> None:
    """Define the domain vm1 with an mdev, of which its metadata says something."""
    file = directory / "vm1.xml"
    file.write_text(f"""\
<domain type='qemu'>
<name>vm1</name><uuid>{VM}</uuid><memory unit='MiB'>64</memory>
<metadata>{managed(vgpu)}</metadata>
<os><type arch='x86_64' machine='pc'>hvm</type></os>
<devices>
<emulator>/usr/bin/qemu-system-x86_64</emulator>
{mdev_device(uuid)}
</devices>
</domain>
""")
    succeeds("define", str(file))


@pytest.fixture
def mdev(tmp_path: Path) -> str:
    """Return the mdev of the domain vm1, which is defined: of mtty, from anywhere."""
    uuid = vm.new_uuid()
    define(tmp_path, uuid, f"<n:mdev uuid='{uuid}' type='mtty-2'/>")
    return uuid


@contextmanager
def without_hook() -> Iterator[None]:
    """Have libvirt run no hook of nodedevd."""
    HOOK.chmod(0o644)
    try:
        yield
    finally:
        HOOK.chmod(0o755)


def heard(last: str = "") -> list[str]:
    """Return what the listeners have noted since the last time, if need be after `last` came."""

    def lines() -> list[str]:
        return HEARD.read_text().split("\n")[:-1] if HEARD.exists() else []

    vm.until(lambda: not last or last in lines(), f"for {last}")
    found = lines()
    HEARD.unlink(missing_ok=True)
    return found


def holders(uuid: str) -> set[int]:
    """Return the processes that have the mdev open."""
    group = (vm.MDEVS / uuid / "iommu_group").resolve().name
    found = set()
    for link in Path("/proc").glob("[0-9]*/fd/*"):
        try:
            if os.readlink(link) == f"/dev/vfio/{group}":
                found.add(int(link.parts[2]))
        except OSError:
            continue
    return found


def gone(uuid: str) -> None:
    """Wait until the mdev is gone, and the domain is shut off."""
    vm.until(lambda: not (vm.MDEVS / uuid).exists(), "for the mdev to be removed")
    vm.until(lambda: succeeds("domstate", "vm1").strip() == "shut off")


def test_prepare_comes_before_libvirt_looks_at_the_mdev(mdev: str) -> None:
    """Without the hook libvirt misses it, and has called the other hooks before; with it, not."""
    with without_hook():
        status, output = virsh("start", "vm1")
        assert status != 0
        assert mdev in output
        assert heard()[:2] == ["10-before prepare absent", "90-after prepare absent"]
    succeeds("start", "vm1")
    lines = heard()
    assert lines[:2] == ["10-before prepare absent", "90-after prepare present"]
    assert lines[2:] == [
        f"{name} {phase} present"
        for phase in ("start", "started")
        for name in ("10-before", "90-after")
    ]


def test_mdev_lives_as_long_as_its_domain(mdev: str) -> None:
    """It is the domain's, QEMU has it open, and the next life is as the first."""
    for _ in range(2):
        assert control.active() == {}
        succeeds("start", "vm1")
        assert control.active() == {mdev: ("mtty", "mtty-2")}
        [made] = control.made("domain")
        assert (made.name, made.owner, made.type) == (vm.mdev_name(mdev), VM, "mtty-2")
        assert holders(mdev) == {int(PID.read_text())}
        heard()
        succeeds("destroy", "vm1")
        assert control.active() == {}
        assert heard()[-2:] == ["10-before release present", "90-after release absent"]


def test_mdev_of_a_qemu_that_is_killed_is_removed(mdev: str) -> None:
    """As when memory runs out."""
    succeeds("start", "vm1")
    os.kill(int(PID.read_text()), signal.SIGKILL)
    gone(mdev)


def test_restart_of_libvirtd_leaves_the_mdev_to_its_domain(mdev: str) -> None:
    """QEMU runs on; the hook for the reconnection changes nothing, the one for the end removes."""
    succeeds("start", "vm1")
    pid, before = int(PID.read_text()), control.made("domain")
    heard()
    vm.run("systemctl", "restart", UNIT)
    lines = heard("90-after reconnect present")
    assert lines == ["10-before reconnect present", "90-after reconnect present"]
    assert succeeds("domstate", "vm1").strip() == "running"
    assert control.made("domain") == before
    assert holders(mdev) == {pid}
    succeeds("destroy", "vm1")
    assert control.active() == {}


def test_qemu_that_ends_without_libvirtd_leaves_nothing(mdev: str) -> None:
    """The next libvirtd finds that out, and calls the hook."""
    succeeds("start", "vm1")
    vm.run("systemctl", "stop", UNIT)
    try:
        os.kill(int(PID.read_text()), signal.SIGKILL)
        assert mdev in control.active()
    finally:
        vm.run("systemctl", "start", UNIT)
    gone(mdev)


def test_service_that_is_killed_forgets_nothing(mdev: str) -> None:
    """Whose the mdev is stands in its records."""
    succeeds("start", "vm1")
    control.kill()
    succeeds("destroy", "vm1")
    assert control.active() == {}


def test_mdev_comes_from_where_it_may(tmp_path: Path) -> None:
    """From the first of a list that has room, by any name of a parent."""
    uuid = vm.new_uuid()
    places = "<n:from device='mdpy'/><n:from device='mbochs_mbochs'/>"
    define(tmp_path, uuid, f"<n:mdev uuid='{uuid}' type='mbochs-small'>{places}</n:mdev>")
    succeeds("start", "vm1")
    assert control.active() == {uuid: ("mbochs", "mbochs-small")}


def last_failure(output: str, phase: str = "prepare") -> str:
    """Return the line of nodedevd in what virsh says, which the log of the domain has, too."""
    [line] = [line for line in output.split("\n") if f"nodedevd: {phase}: " in line]
    reason = line[line.index("nodedevd: ") :]
    assert [one for one in LOG.read_text().split("\n") if one.endswith(reason)]
    return reason


def test_start_without_room_fails_with_the_reason(mdev: str) -> None:
    """And works as soon as there is room."""
    most = vm.kernel_available("mtty")["mtty-2"] or 0
    others = [vm.new_uuid() for _ in range(most)]
    for one in others:
        vm.create("mtty", one, "mtty-2")
    status, output = virsh("start", "vm1")
    assert status != 0
    assert "no room for the type 'mtty-2'" in last_failure(output)
    assert mdev not in control.active()
    for one in others:
        vm.remove(one)
    succeeds("start", "vm1")


@pytest.mark.parametrize(
    ("vgpu", "reason"),
    [
        ("<n:mdev uuid='{uuid}' type='mtty-9'/>", "no device offers the type 'mtty-9'"),
        ("<n:mdev uuid='{uuid}' type='mtty-2'><n:from device='mdpy'/></n:mdev>", "mtty-2"),
        ("<n:mdev uuid='{uuid}'/>", "<nodedevd:mdev>: the attribute type is missing"),
        (f"<n:mdev uuid='{VM}' type='mtty-2'/>", "the domain has no <hostdev type='mdev'>"),
    ],
)
def test_wrong_metadata_fails_the_start_with_the_reason(
    tmp_path: Path, vgpu: str, reason: str
) -> None:
    """Nothing is made."""
    uuid = vm.new_uuid()
    define(tmp_path, uuid, vgpu.format(uuid=uuid))
    status, output = virsh("start", "vm1")
    assert status != 0
    assert reason in last_failure(output)
    assert control.active() == {}


def test_mdev_of_another_maker_is_used_and_left(mdev: str) -> None:
    """What was there before the start is there after the end."""
    vm.create("mtty", mdev)
    succeeds("start", "vm1")
    succeeds("destroy", "vm1")
    assert control.active() == {mdev: ("mtty", "mtty-2")}
    vm.remove(mdev)


def test_metadata_that_changes_meanwhile_leaves_nothing(mdev: str) -> None:
    """What was made is removed, whatever the domain says by then."""
    succeeds("start", "vm1")
    succeeds("metadata", "vm1", "urn:nodedevd:domain:1", "--live", "--remove")
    succeeds("destroy", "vm1")
    assert control.active() == {}
