"""The sample hosts are fit to be read by people, and the words build what the kernel makes."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from nodedevd.host.archive.text import format_archive, parse_archive, read_archive
from nodedevd.host.sysroot import Sysroot
from tests.support import hosts
from tests.support.hosts import FIXTURES, HOSTS, host_file
from tests.support.trees import Express, Tree, config_space

LIMIT_BYTES = 64 * 1024
WELL = sorted(set(HOSTS) - {"broken"})


def test_fixtures_are_sample_hosts_alone() -> None:
    """A file each, of a plain name: nothing that git has to quote, or that a host is not."""
    assert [path.name for path in sorted(FIXTURES.iterdir())] == [f"{host}.ttar" for host in HOSTS]
    assert "broken" in HOSTS
    assert [host for host in HOSTS if not re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", host)] == []


@pytest.mark.parametrize("host", HOSTS)
def test_host_is_written_as_it_would_be_recorded(host: str) -> None:
    """Edited by hand or by a tool: the order and the escapes are those of `record`."""
    assert format_archive(read_archive(str(host_file(host)))) == host_file(host).read_bytes()


@pytest.mark.parametrize("host", HOSTS)
def test_host_says_what_it_shows(host: str) -> None:
    """Its head has its name and its sections; docs/fixtures.md has a row for it."""
    about = read_archive(str(host_file(host))).about
    table = (FIXTURES.parents[1] / "docs" / "fixtures.md").read_text(encoding="utf-8")

    assert about.startswith(f"{host}\n\n")
    assert "\n\nWhere the values come from\n\n" in about
    assert "\n\nMade up\n\n" in about
    assert f"| [`{host}`](../fixtures/sysfs/{host}.ttar) |" in table


@pytest.mark.parametrize("host", HOSTS)
def test_host_holds_no_big_file(host: str) -> None:
    """A file of a host stays small enough to be reviewed."""
    contents = list(read_archive(str(host_file(host))).walk())
    assert contents
    assert [path for path, content, _ in contents if len(content) > LIMIT_BYTES] == []


@pytest.mark.parametrize("host", WELL)
def test_links_of_a_well_host_stay_inside_and_reach_something(host: str) -> None:
    """Only the broken host has links that dangle, loop or lead out of /sys."""
    sysroot = Sysroot(str(host_file(host)))
    for path, content, _ in read_archive(str(host_file(host))).walk():
        if isinstance(content, str):
            reached = sysroot.resolve(path)
            assert reached.startswith("/sys/"), path
            assert sysroot.exists(reached), path


def test_archive_in_the_documentation_is_one() -> None:
    """The example is written as `record` would."""
    text = (FIXTURES.parents[1] / "docs" / "fixtures.md").read_text(encoding="utf-8")
    [example] = re.findall(r"^```\n(# .*?^End\n)```", text, re.MULTILINE | re.DOTALL)
    archive = parse_archive(example.encode(), "docs/fixtures.md")
    assert format_archive(archive).decode() == example
    assert archive.read("/sys/description", 100).endswith(b"at the end \nwithout a newline")


@pytest.mark.exhaustive
def test_host_is_unpacked_changed_and_packed_by_the_tool(tmp_path: Path) -> None:
    """Without a change it stays the same, to the byte; its head becomes a file and back."""
    archive = tmp_path / "broken.ttar"
    archive.write_bytes(host_file("broken").read_bytes())
    hosts.main(archive, tmp_path / "host")
    about = (tmp_path / "host/ABOUT.md").read_text(encoding="utf-8")
    assert about.startswith("broken\n")
    hosts.main(tmp_path / "host", archive)
    assert archive.read_bytes() == host_file("broken").read_bytes()
    (tmp_path / "host/sys/new").mkdir()
    hosts.main(tmp_path / "host", archive)
    assert "new" in read_archive(str(archive)).listdir("/sys")


def test_links_of_a_made_mdev_are_the_kernels(tmp_path: Path) -> None:
    """The words make the relative links that the kernel makes, seen on Linux 6.1."""
    tree = Tree(tmp_path)
    parent = tree.pci("0000:00:02.0", vendor=0x8086, device=0x3E98, class_=0x030000, iommu_group=1)
    tree.mdev_type(parent, "i915-GVTg_V5_4")
    tree.mdev_parent(parent)
    mdev = tree.mdev(parent, "u", "i915-GVTg_V5_4", driver="intel_vgpu_mdev", vfio=0)

    links = {
        f"{mdev}/mdev_type": "../mdev_supported_types/i915-GVTg_V5_4",
        f"{mdev}/driver": "../../../../bus/mdev/drivers/intel_vgpu_mdev",
        f"{mdev}/subsystem": "../../../../bus/mdev",
        f"{mdev}/vfio-dev/vfio0/device": "../../../u",
        f"{parent}/mdev_supported_types/i915-GVTg_V5_4/devices/u": "../../../u",
        f"{parent}/iommu_group": "../../../kernel/iommu_groups/1",
        "/sys/bus/mdev/devices/u": "../../../devices/pci0000:00/0000:00:02.0/u",
        "/sys/class/mdev_bus/0000:00:02.0": "../../devices/pci0000:00/0000:00:02.0",
        "/sys/kernel/iommu_groups/1/devices/0000:00:02.0": (
            "../../../../devices/pci0000:00/0000:00:02.0"
        ),
    }
    assert {path: os.readlink(tree.at(path)) for path in links} == links


def test_uevent_of_an_a2_virtual_function_is_the_reported_one() -> None:
    """The words write a PCI function's uevent as the kernel did on a real machine."""
    sysroot = Sysroot(str(host_file("vgpu-sriov")))
    uevent = sysroot.read("/sys/bus/pci/devices/0000:08:01.7/uevent")
    assert uevent.decode("ascii").splitlines() == [
        "DRIVER=nvidia",
        "PCI_CLASS=30200",
        "PCI_ID=10DE:25B6",
        "PCI_SUBSYS_ID=10DE:0000",
        "PCI_SLOT_NAME=0000:08:01.7",
        "MODALIAS=pci:v000010DEd000025B6sv000010DEsd00000000bc03sc02i00",
    ]


def test_virtual_functions_are_counted_off_their_addresses() -> None:
    """Offset and stride of the physical function give the addresses of its virtual ones."""
    sysroot = Sysroot(str(host_file("vgpu-sriov")))
    pf = "/sys/bus/pci/devices/0000:08:00.0"
    values = {
        name: sysroot.read(f"{pf}/sriov_{name}").decode("ascii").strip()
        for name in ("totalvfs", "numvfs", "offset", "stride", "vf_device")
    }
    assert values == {
        "totalvfs": "16",
        "numvfs": "16",
        "offset": "4",
        "stride": "1",
        "vf_device": "25b6",
    }
    assert sysroot.read_link(f"{pf}/virtfn15") == "../0000:08:02.3"
    assert sysroot.read_link(f"{pf}/virtfn15/physfn") == "../0000:08:00.0"


def test_configuration_space_carries_the_link_in_its_capability_list() -> None:
    """A walk from the pointer at 0x34 finds power management, then PCI Express."""
    express = Express(port_type=4, cap_speed=4, cap_width=16, port=3, sta_speed=3, sta_width=8)
    space = config_space(0x8086, 0x1901, 0x060400, header_type=1, express=express)

    assert len(space) == 256
    assert space[:4] == bytes.fromhex("86800119")
    assert space[0x09:0x0C] == bytes.fromhex("000406")
    assert space[0x0E] == 1
    assert space[0x06] & 0x10
    first = space[0x34]
    second = space[first + 1]
    assert (space[first], space[second], space[second + 1]) == (0x01, 0x10, 0x00)
    assert space[second + 2] >> 4 == 4
    link = int.from_bytes(space[second + 0x0C : second + 0x10], "little")
    assert (link & 0xF, link >> 4 & 0x3F, link >> 24) == (4, 16, 3)
    status = int.from_bytes(space[second + 0x12 : second + 0x14], "little")
    assert (status & 0xF, status >> 4 & 0x3F) == (3, 8)
