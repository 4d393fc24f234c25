"""The recorded hosts on disk are what their functions build, and are fit to be read by people."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from tests.support.hosts import FIXTURES, HOSTS, build
from tests.support.trees import Express, Tree, config_space

LIMIT_BYTES = 64 * 1024
WELL = sorted(set(HOSTS) - {"broken"})


def _entries(root: Path) -> dict[bytes, tuple[str, bytes]]:
    """Return every file's content and every link's target below sys/, usr/, run/ and etc/."""
    entries = {}
    for part in (b"sys", b"usr", b"run", b"etc"):
        for directory, directories, files in os.walk(os.path.join(os.fsencode(root), part)):
            for name in [*directories, *files]:
                path = os.path.join(directory, name)
                key = os.path.relpath(path, os.fsencode(root))
                if os.path.islink(path):
                    entries[key] = ("link", os.readlink(path))
                elif os.path.isfile(path):
                    with open(path, "rb") as stream:
                        entries[key] = ("file", stream.read())
    return entries


@pytest.mark.parametrize("host", sorted(HOSTS))
def test_host_on_disk_equals_what_its_function_builds(host: str, tmp_path: Path) -> None:
    """A change of a function comes with `python -m tests.support.hosts`, and nothing else does."""
    build(host, tmp_path)

    recorded, built = _entries(FIXTURES / host), _entries(tmp_path)

    assert sorted(recorded.keys() ^ built.keys()) == []
    assert {key: recorded[key] for key in built if recorded[key] != built[key]} == {}


def test_directories_on_disk_and_functions_are_the_same_hosts() -> None:
    """No host is without a function, and no function without its host."""
    assert {path.name for path in FIXTURES.iterdir() if path.is_dir()} == set(HOSTS)


@pytest.mark.parametrize("host", sorted(HOSTS))
def test_host_tells_what_it_shows(host: str) -> None:
    """A host has a plain name, an ABOUT.md with its sections, and a row in docs/fixtures.md."""
    about = (FIXTURES / host / "ABOUT.md").read_text(encoding="utf-8")
    table = (FIXTURES.parents[1] / "docs" / "fixtures.md").read_text(encoding="utf-8")

    assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", host)
    assert about.startswith(f"# {host}\n")
    assert "## Where the values come from\n" in about
    assert "## Made up\n" in about
    assert f"| [`{host}`](../fixtures/sysfs/{host}/ABOUT.md) |" in table


@pytest.mark.parametrize("host", sorted(HOSTS))
def test_host_holds_no_big_file(host: str) -> None:
    """A recorded file stays small enough to be reviewed."""
    contents = _entries(FIXTURES / host)
    assert contents
    assert [key for key, (_, value) in contents.items() if len(value) > LIMIT_BYTES] == []


@pytest.mark.parametrize("host", WELL)
def test_links_of_a_well_host_stay_inside_and_reach_something(host: str) -> None:
    """Only the broken host has links that are absolute, dangle, loop or lead out."""
    root = os.path.realpath(FIXTURES / host)
    for key, (kind, target) in _entries(FIXTURES / host).items():
        if kind == "link":
            reached = os.path.realpath(os.path.join(root, os.fsdecode(key)))
            assert not os.path.isabs(target), key
            assert reached.startswith(f"{root}/sys/"), key
            assert os.path.lexists(reached), key


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
    path = FIXTURES / "vgpu-sriov" / "sys/bus/pci/devices/0000:08:01.7/uevent"
    assert path.read_text(encoding="ascii").splitlines() == [
        "DRIVER=nvidia",
        "PCI_CLASS=30200",
        "PCI_ID=10DE:25B6",
        "PCI_SUBSYS_ID=10DE:0000",
        "PCI_SLOT_NAME=0000:08:01.7",
        "MODALIAS=pci:v000010DEd000025B6sv000010DEsd00000000bc03sc02i00",
    ]


def test_virtual_functions_are_counted_off_their_addresses() -> None:
    """Offset and stride of the physical function give the addresses of its virtual ones."""
    pf = FIXTURES / "vgpu-sriov" / "sys/bus/pci/devices/0000:08:00.0"
    values = {
        name: (pf / f"sriov_{name}").read_text(encoding="ascii").strip()
        for name in ("totalvfs", "numvfs", "offset", "stride", "vf_device")
    }
    assert values == {
        "totalvfs": "16",
        "numvfs": "16",
        "offset": "4",
        "stride": "1",
        "vf_device": "25b6",
    }
    assert os.readlink(pf / "virtfn15") == "../0000:08:02.3"
    assert os.readlink(pf / "virtfn15/physfn") == "../0000:08:00.0"


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
