"""in_use on this machine's processes: a real process holds the node, and is found."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest

from nodedevd.client import Client
from nodedevd.host.processes import scan_processes
from nodedevd.questions.in_use import Use, read_usage
from tests.support.alone import alone_with
from tests.support.holder import DEV_FULL, holding
from tests.support.running import REPOSITORY, started
from tests.support.this_host import nodedevctl, on
from tests.support.vfio_host import UUID, Host
from tests.support.zram import ZRAM, zram

pytestmark = [pytest.mark.needs("device nodes"), pytest.mark.usefixtures("dev_full_alone")]


@pytest.fixture
def host(tmp_path: Path) -> Host:
    """Return a host that has an mdev."""
    return Host(tmp_path / "host")


@contextmanager
def group_held(host: Host) -> Iterator[int]:
    """Give the mdev's group the number of /dev/full, and let a process open such a node.

    It runs in a mount namespace of its own, and as another user, as QEMU does.
    """
    host.tree.vfio_group(3, (os.major(DEV_FULL), os.minor(DEV_FULL)))
    script = "mount -t tmpfs -o dev,mode=755 tmpfs /mnt; mknod -m 666 /mnt/3 c 1 7;"
    script += 'exec setpriv --reuid=65534 --regid=65534 --clear-groups "$0" "$@"'
    with holding("/mnt/3", before=["unshare", "--mount", "sh", "-ec", script]) as pid:
        yield pid


def test_real_process_that_holds_the_group_is_told(host: Host) -> None:
    """From the number in sysfs to a process in a mount namespace of its own, and back."""
    with group_held(host) as pid:
        (holder,) = read_usage(host.sysroot, proc="/proc").use("it", host.mdev).holders
        assert holder.pid == pid
    assert read_usage(host.sysroot, proc="/proc").use("it", host.mdev).open != "yes"


def in_use(host: Host, *arguments: str, before: tuple[str, ...] = ()) -> dict[str, Any]:
    """Ask for the mdev by nodedevctl, with the fake host as this one."""
    told = nodedevctl(host.tree, *arguments, "in-use", "--json", UUID, before=before)
    (device,) = told["devices"]
    assert isinstance(device, dict)
    return device


def test_command_without_a_daemon_tells_who_has_the_device_open(host: Host) -> None:
    """`nodedevctl --sysroot / in-use` scans, and looks at the processes itself."""
    with group_held(host) as pid:
        device = in_use(host, "--sysroot", "/")
    assert device["open"] == "yes"
    assert [one["pid"] for one in device["holders"]] == [pid]


WITHOUT = ("setpriv", "--bounding-set=-sys_ptrace", "--inh-caps=-sys_ptrace", "--")


def bounded(*units: str) -> tuple[str, ...]:
    """Return what has a command run with the capabilities that these units leave."""
    text = "".join((REPOSITORY / "systemd" / unit).read_text() for unit in units)
    names = " ".join(re.findall("^CapabilityBoundingSet=(.*)$", text, re.MULTILINE)).split()
    kept = [f"+{name.removeprefix('CAP_').lower()}" for name in names]
    return ("setpriv", f"--bounding-set={','.join(['-all', *kept])}", "--inh-caps=-all", "--")


# Modules may lie where nobody else can go: they are imported first.
SOMEBODY = f"""
import os, sys, msgspec
from nodedevd.client import Client
os.setuid(65534)
with Client(sys.argv[1]) as client:
    print(msgspec.json.encode(client.in_use([{UUID!r}]).devices[0]).decode())
"""


def test_daemon_that_may_not_look_leaves_it_to_the_command(host: Host, tmp_path: Path) -> None:
    """In its unit the daemon answers unknown; root asks by the command, and is told."""
    path = str(tmp_path / "socket")
    command = [*on(host.tree, *bounded("nodedevd.service")), sys.executable, "-m", "nodedevd"]
    with (
        group_held(host) as pid,
        started(tmp_path, "--socket", path, "--events", "none", command=command) as daemon,
    ):
        daemon.wait_notified("READY=1")
        device = in_use(host, "--socket", path)
        assert [one["pid"] for one in device["holders"]] == [pid]
        unable = in_use(host, "--socket", path, before=WITHOUT)
        assert (unable["open"], unable["reason"]) == ("unknown", "processes-unseen")


def test_daemon_with_the_drop_in_tells_who_has_the_device_open(host: Host, tmp_path: Path) -> None:
    """What the unit and its drop-in leave of root's capabilities is enough to see."""
    path = str(tmp_path / "socket")
    before = bounded("nodedevd.service", "nodedevd-in-use.conf")
    command = [*on(host.tree, *before), sys.executable, "-m", "nodedevd"]
    with (
        group_held(host) as pid,
        started(tmp_path, "--socket", path, "--events", "none", command=command) as daemon,
    ):
        daemon.wait_notified("READY=1")
        with Client(path) as client:
            (use,) = client.in_use([UUID]).devices
    assert [one.pid for one in use.holders] == [pid]


def test_user_is_told_that_a_device_is_open_but_not_by_whom(host: Host, tmp_path: Path) -> None:
    """The socket is every user's; other users' processes are not."""
    command = [*on(host.tree), sys.executable, "-m", "nodedevd"]
    with tempfile.TemporaryDirectory(prefix="nodedevd-") as directory:
        os.chmod(directory, 0o755)
        path = f"{directory}/socket"
        with (
            group_held(host) as pid,
            started(tmp_path, "--socket", path, "--events", "none", command=command) as daemon,
        ):
            daemon.wait_notified("READY=1")
            with Client(path) as client:
                (use,) = client.in_use([UUID]).devices
            assert [one.pid for one in use.holders] == [pid]
            told = subprocess.run(
                [sys.executable, "-W", "error", "-c", SOMEBODY, path],
                cwd=REPOSITORY,
                check=True,
                capture_output=True,
            ).stdout
        assert msgspec.json.decode(told, type=Use) == msgspec.structs.replace(use, holders=())


@pytest.mark.needs("zram")
def test_block_device_that_a_process_holds_is_told_from_a_character_device() -> None:
    """By its number, in whatever mount namespace; the two kinds have numbers of their own."""
    with alone_with(ZRAM), zram() as name:
        path = f"/sys/devices/virtual/block/{name}"
        major, minor = Path(path, "dev").read_text().strip().split(":")
        number = os.makedev(int(major), int(minor))
        script = f"mount -t tmpfs -o dev tmpfs /mnt; mknod /mnt/disk b {major} {minor};"
        script += 'exec "$0" "$@"'
        before = ["unshare", "--mount", "sh", "-ec", script]
        with holding("/mnt/disk", flags="os.O_RDONLY", before=before) as pid:
            found = scan_processes({}, blocks={path: number}).open_files
            assert pid in {one.process.pid for one in found if path in one.nodes}
            found = scan_processes({path: number}).open_files
            assert pid not in {one.process.pid for one in found}
