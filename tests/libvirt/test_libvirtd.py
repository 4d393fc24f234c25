"""The format libvirt beside a real libvirtd: the same devices, the same text."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path

import pytest

from benchmarks.generate import generate, shape
from nodedevd.cli.embedded import Embedded
from tests.libvirt.comparison import ALL, compare, expected, seen
from tests.libvirt.deviations import DEVIATIONS, Deviation, Shown
from tests.support import libvirtd
from tests.support.hosts import FIXTURES, HOSTS, unpacked
from tests.support.trees import Tree

# On `broken` it never ends: the list of capabilities of a PCI function there is a loop.
COMPARED = sorted(set(HOSTS) - {"broken"})

needs_libvirtd = pytest.mark.needs("libvirtd")


ODD = "odd"
"""A host of these tests, with what no recorded one has."""
GENERATED = "generated"
"""A host of the benchmarks: 260 devices, most of them virtual functions."""


@pytest.fixture(scope="module")
def roots(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Path]:
    """Return the directories of all hosts, by name."""
    tree = Tree(tmp_path_factory.mktemp(ODD))
    build_odd(tree)
    generated = tmp_path_factory.mktemp(GENERATED)
    generate(generated, shape(260))
    samples = tmp_path_factory.mktemp("samples")
    recorded = {host: Path(unpacked(host, samples / host).root) for host in COMPARED}
    return {**recorded, ODD: Path(tree.root), GENERATED: generated}


def build_odd(tree: Tree) -> None:
    """Build devices that libvirt shows wrongly, or as nobody else would."""
    tree.pci("0000:00:00.0", vendor=0x8086, device=0x0D57, class_=0x060000, config=bytes(4096))
    usb = tree.pci("0000:00:14.0", vendor=0x8086, device=0xA36D, class_=0x0C0330)
    nameless = tree.device(
        f"{usb}/usb1",
        bus="usb",
        driver="usb",
        uevent={"MAJOR": 189, "MINOR": 0, "DEVNAME": "bus/usb/001/001", "DEVTYPE": "usb_device"},
        attributes={
            "dev": "189:0",
            "busnum": 1,
            "devnum": 1,
            "idVendor": "1d6b",
            "idProduct": "0002",
        },
    )
    ids = {"BUSNUM": "001", "DEVNUM": "001", "ID_VENDOR_ID": "1d6b", "ID_MODEL_ID": "0002"}
    tree.udev(nameless, ids)
    card = tree.pci("0000:00:1f.6", vendor=0x8086, device=0x15BC, class_=0x020000)
    tree.net("eth0", parent=card, attributes={"speed": -1})
    tree.mdev_type(card, "nic-1", name="One", available=3)
    tree.mdev_parent(card)
    address, uuids = "0000:00:1f.6", [f"c0ffee00-0000-4000-8000-00000000000{n}" for n in range(4)]
    tree.mdev(card, uuids[0], "nic-1", driver="nic_mdev", iommu_group=7)
    tree.mdev(card, uuids[1], "nic-1", driver="nic_mdev", iommu_group=8)
    attributes = [("assign_domain", "4"), ("assign_domain", "5")]
    tree.definition(address, uuids[1], "nic-1", attributes=attributes)
    tree.definition(address, uuids[2], "nic-1", start="auto", attributes=attributes)
    tree.definition("0000:ff:00.0", uuids[3], "nic-2")
    tree.block("vda", size=0, number=(253, 0))
    tree.block("vdb", size=16, number=(253, 16), attributes={"serial": "<1>"})


@cache
def libvirt_shows(root: Path) -> Shown:
    """Return what libvirtd shows of a host."""
    return libvirtd.dump(root)


@cache
def ours(root: Path) -> Shown:
    """Return what nodedevd shows in libvirt's format, by its names there."""
    source = Embedded(str(root))
    document = source.dump_xml(form="libvirt")
    names = re.findall(r"^    <name>(.*)</name>$", document, re.MULTILINE)
    return {name: source.dump_xml([name], form="libvirt") for name in names}


@needs_libvirtd
@pytest.mark.parametrize("host", [*COMPARED, ODD, GENERATED])
def test_host_is_as_libvirtd_shows_it(host: str, roots: Mapping[str, Path]) -> None:
    """The same devices by the same names, each with the same text."""
    compare(libvirt_shows(roots[host]), ours(roots[host]), roots[host])


@pytest.mark.needs("libvirtd", "udevd")
def test_this_machine_is_as_libvirtd_shows_it(tmp_path: Path) -> None:
    """With an udevd that has looked at its devices."""
    theirs, own = libvirtd.dump_here(tmp_path)
    compare(theirs, own, tmp_path)


@needs_libvirtd
@pytest.mark.parametrize("deviation", ALL, ids=lambda one: one.name)
def test_deviation_is_still_one(deviation: Deviation, roots: Mapping[str, Path]) -> None:
    """Without any one entry some host is different: none is stale, none hides another."""
    rest = tuple(one for one in ALL if one is not deviation)
    assert any(
        seen(libvirt_shows(root), root, rest) != expected(ours(root), root, rest)
        for root in roots.values()
    )


@pytest.mark.parametrize("deviation", DEVIATIONS, ids=lambda one: one.name)
def test_deviation_is_described(deviation: Deviation) -> None:
    """Each entry has its row in docs/formats.md."""
    text = (FIXTURES.parents[1] / "docs" / "formats.md").read_text(encoding="utf-8")
    assert f"\n| {deviation.name} | " in text
