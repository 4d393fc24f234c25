"""names, nodes: positions stay, and what somebody has chosen does not."""

from __future__ import annotations

import pytest

from nodedevd.tree.stand_ins import StandIns
from nodedevd.tree.stand_ins.names import Names
from nodedevd.tree.stand_ins.nodes import Nodes
from nodedevd.tree.stand_ins.table import Table
from nodedevd.tree.stand_ins.texts import Texts


def replaced(kind: str, name: str) -> str:
    """Return a name after the second time."""
    table = Table()
    texts = Texts(table)
    names = Names(texts, {})
    nodes = Nodes(texts, names)
    writer = nodes.node if kind == "node" else lambda one: names.of(kind, one)
    assert writer(name) == name
    table.assign()
    return writer(name)


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        *(
            ("net", name)
            for name in ("lo", "eth0", "enp3s0f1np1", "ens1f0v12", "eno1", "wlp0s20f3")
        ),
        *(("net", name) for name in ("enP2p1s0f0np0", "ib0", "br0", "bond1.4000", "virbr0-nic")),
        *(("net", name) for name in ("encbd00", "enp0s20f0u1i2", "vnet12", "docker0", "tap3")),
        *(("infiniband", name) for name in ("mlx5_0", "rocep1s0f1", "ibp3s0", "hfi1_0", "rxe0")),
        *(("block", name) for name in ("sda1", "nvme0c1n1", "dm-12", "md127p1", "md_d3", "sr0")),
        *(("block", name) for name in ("cciss!c0d0p1", "mmcblk0boot0", "dasdab1", "loop7", "zd16")),
        ("vdpa", "vdpa0"),
        *(("node", name) for name in ("sda1", "dm-0", "cciss/c0d0", "cdrom", "disk/by-diskseq/7")),
        ("node", "disk/by-path/pci-0000:3b:00.0-usb-0:1.4:1.0-scsi-0:0:0:0-part1"),
        ("node", "disk/by-path/ccw-0.0.1000-part2"),
        ("node", "disk/by-path/pci-0000:00:1f.2-ata-1.0"),
        ("node", "dri/by-path/pci-0000:00:02.0-card"),
    ],
)
def test_name_of_a_position_stays(kind: str, name: str) -> None:
    """It is the same in many machines."""
    assert replaced(kind, name) == name


@pytest.mark.parametrize(
    ("kind", "name", "expected"),
    [
        ("net", "enx3c5254001234", "enx00005e000001"),
        ("net", "wlx3c5254001234.12", "wlx00005e000001.12"),
        ("net", "acme-uplink", "aaaa-aaaaaa"),
        ("net", "tap1a2b3c4d-5e", "aaa0a0a0a0a-0a"),
        ("net", "veth1a2b3c4", "aaaa0a0a0a0"),
        ("infiniband", "rocex506b4b0300c48d2c", "rocex5000000000000001"),
        ("infiniband", "acme_rdma", "aaaa_aaab"),
        ("vdpa", "vdpa-of-jane", "aaab-aa-aaaa"),
        ("block", "md_quokka:home", "md_aaaaaa:aaaa"),
        ("block", "acmedata", "aaaaaaaa"),
        ("node", "mapper/acme--vg-root", "mapper/aaaa--aa-aaab"),
        ("node", "vg0/root", "aa0/aaaa"),
        ("node", "disk/by-id/dm-uuid-CRYPT-LUKS2-27b42a519f6b4c0b8f5f4f3a1d0e8c01-home", None),
        ("node", "disk/by-id/nvme-eui.0025385b71b01234-part3", None),
        (
            "node",
            "disk/by-path/ip-192.168.7.9:3260-iscsi-iqn.2003-01.org.acme:disk1-lun-2-part1",
            "disk/by-path/ip-192.0.2.1:3260-iscsi-iqn.2003-01.aaa.aaaa:aaaa0-lun-2-part1",
        ),
        (
            "node",
            "disk/by-path/ip-[fd12::7]:3260-iscsi-iqn.2003-01.org.acme:disk1-lun-2",
            "disk/by-path/ip-[2001:db8::1]:3260-iscsi-iqn.2003-01.aaa.aaaa:aaaa0-lun-2",
        ),
    ],
)
def test_name_that_somebody_has_chosen_is_replaced(
    kind: str, name: str, expected: str | None
) -> None:
    """Its form stays, and so does what programs recognise it by."""
    found = replaced(kind, name)
    assert found != name
    if expected is not None:
        assert found == expected
    assert len(found.split("-")) == len(name.split("-"))


def test_model_of_a_disk_of_a_software_target_is_the_name_of_a_volume() -> None:
    """Its administrator has chosen it: targetcli(8), backstores."""
    files = {
        "/sys/devices/a/vendor": b"LIO-ORG \n",
        "/sys/devices/a/model": b"acme-payroll    \n",
        "/sys/devices/b/vendor": b"Acme\n",
        "/sys/devices/b/model": b"Payroll 3\n",
    }
    stand_ins = StandIns(files, {}, ())
    found = {path: stand_ins.content(path, data) for path, data in files.items()}
    assert found["/sys/devices/a/model"] == b"aaaa-aaaaaaa    \n"
    assert all(found[path] == files[path] for path in files if path != "/sys/devices/a/model")


def test_model_holds_no_number_that_another_file_has() -> None:
    """A serial number that only udev knows, and an address without separators."""
    files = {
        "/run/udev/data/b8:0": b"E:ID_SERIAL_SHORT=ZA1PAYROLL\nE:ID_SERIAL=Disk_ZA1PAYROLL\n",
        "/sys/devices/a/model": b"Disk ZA1PAYROLL 5254001A2B3C\n",
        "/sys/devices/b/address": b"52:54:00:1a:2b:3c\n",
    }
    stand_ins = StandIns(files, {}, ())
    for path, data in files.items():
        found = stand_ins.content(path, data)
        assert b"ZA1PAYROLL" not in found
        assert b"5254001A2B3C" not in found
