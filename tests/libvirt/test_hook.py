"""The hook, run by a real libvirtd around the life of a real QEMU.

The mdev is that of a played host: libvirt itself misses it, and says so after `prepare`.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.support.hosts import unpacked
from tests.support.libvirt_domain import UUID, managed, mdev_device
from tests.support.libvirt_qemu import KILL, START, STOP, Ran, hooked
from tests.support.played_control import controlled

pytestmark = pytest.mark.needs("root", "libvirtd", "libvirt's QEMU driver")

MDEV = "4b20d080-1b54-4048-85b3-a6a62d165c01"
VGPU = f"<n:mdev uuid='{MDEV}' type='A2-4Q'/>"


class Host(NamedTuple):
    """A played host with a control service."""

    root: Path
    socket: Path

    def run(self, *script: tuple[str, ...]) -> list[Ran]:
        """Run a script on a libvirtd; see `libvirt_qemu.hooked`."""
        return hooked(self.socket, self.root / f"sys/bus/mdev/devices/{MDEV}", script)

    def domain(self, metadata: str, devices: str = "") -> str:
        """Write the domain vm1; return its file."""
        file = self.root.parent / "vm1.xml"
        file.write_text(f"""\
<domain type='qemu'>
<name>vm1</name><uuid>{UUID}</uuid><memory unit='MiB'>64</memory>
<metadata>{metadata}</metadata>
<os><type arch='x86_64' machine='pc'>hvm</type></os>
<devices><emulator>/usr/bin/qemu-system-x86_64</emulator>{devices}</devices>
</domain>
""")
        return str(file)


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Host]:
    """Return a copy of a sample host whose card has room for vGPUs."""
    root = tmp_path / "host"
    unpacked("vgpu-sriov", root)
    with controlled(root) as socket:
        yield Host(root, socket)


def operations(ran: Ran) -> list[str]:
    """Return the operations that libvirt has called, in order."""
    return [line.split()[1] for line in ran.heard if line.startswith("90-after ")]


def test_mdev_is_made_before_libvirt_looks_and_removed_after_a_start_that_failed(
    host: Host,
) -> None:
    """It is there from `prepare` to `release`: libvirt looks in between, and fails here."""
    file = host.domain(managed(VGPU), mdev_device(MDEV))
    _, start = host.run(("", "define", file), ("release", "start", "vm1"))
    assert start.status == 1
    assert "nodedevd" not in start.output
    assert start.heard == [
        "10-before prepare absent",
        "90-after prepare present",
        "10-before stopped present",
        "90-after stopped present",
        "10-before release present",
        "90-after release absent",
    ]
    assert start.log == []


@pytest.mark.parametrize(
    ("vgpu", "reason"),
    [
        (VGPU.replace("A2-4Q", "A2-5Q"), "prepare: no device offers the type 'A2-5Q'"),
        (VGPU.replace("type", "kind"), "prepare: the XML of the domain cannot be used"),
    ],
)
def test_start_that_cannot_be_served_fails_with_the_reason(
    host: Host, vgpu: str, reason: str
) -> None:
    """Virsh prints it, and the log of the domain keeps it; the release that follows is quiet."""
    file = host.domain(managed(vgpu), mdev_device(MDEV))
    _, start = host.run(("", "define", file), ("release", "start", "vm1"))
    assert start.status == 1
    assert f"nodedevd: {reason}" in start.output
    [line] = start.log
    assert line.startswith(reason)
    assert operations(start) == ["prepare", "stopped", "release"]
    assert {line.split()[2] for line in start.heard} == {"absent"}


def test_operations_come_as_the_guide_says(host: Host) -> None:
    """Of every life that a domain can have; a domain without vGPUs is as without the hook."""
    saved = str(host.root.parent / "saved")
    ran = host.run(
        ("", "define", host.domain(managed())),
        ("started", "start", "vm1"),
        ("release", "destroy", "vm1"),
        ("started", "start", "vm1"),
        ("release", KILL),
        ("started", "start", "vm1"),
        ("", STOP),
        ("reconnect", START),
        ("", STOP),
        ("", KILL),
        ("release", START),
        ("started", "start", "vm1"),
        ("release", "save", "vm1", saved),
        ("started", "restore", saved),
        ("release", "destroy", "vm1"),
    )
    starts, ends = ["prepare", "start", "started"], ["stopped", "release"]
    assert [operations(one) for one in ran] == [
        *([], starts, ends, starts, ends, starts),
        *([], ["reconnect"], [], [], ends),
        *(starts, ends, ["restore", *starts], ends),
    ]
    assert [one for one in ran if one.status or one.log] == []
