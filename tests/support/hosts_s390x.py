"""The recorded host s390x-full."""

from __future__ import annotations

import os

from tests.support.trees import Tree

CSS = "/sys/devices/css0"
IO, CHSC, ADM = 0, 1, 3
DASD = ("3990/e9", "3390/0c")
QETH = ("1731/01", "1732/01")
CTC = ("3088/08", "n/a")


def s390x_full(tree: Tree) -> None:
    """An IBM Z partition with disks, network adapters, crypto, and every kind of subchannel."""
    tree.device(CSS, attributes={"cm_enable": 0, "real_cssid": 0})
    disk = _ccw(tree, "0.0.0000", "0.0.1000", DASD, driver="dasd-eckd", online=1)
    tree.attributes(disk, {"uid": "IBM.750000000AB123.0001.00"})
    _dasd(tree, disk)
    _ccw(tree, "0.0.0001", "0.0.1001", DASD, driver="dasd-eckd", online=0)

    qeth = [
        _ccw(tree, f"0.0.001{number}", f"0.0.bd0{number}", QETH, driver="qeth", online=1)
        for number in range(3)
    ]
    group = _group(tree, "qeth", qeth, online=1, devtype="qeth_layer2")
    tree.attributes(group, {"card_type": "OSD_10GIG", "chpid": "7A", "if_name": "encbd00"})
    tree.net("encbd00", parent=group, address="02:00:00:00:bd:00", attributes={"speed": 10000})
    ctc = [
        _ccw(tree, f"0.0.002{number}", f"0.0.c00{number}", CTC, driver="ctcm", online=0)
        for number in range(2)
    ]
    _group(tree, "ctcm", ctc, online=0)

    parent = _subchannel(tree, "0.0.0313", IO, driver="vfio_ccw", dev_busid="0.0.1234")
    tree.mdev_type(
        parent,
        "vfio_ccw-io",
        name="I/O subchannel (Non-QDIO)",
        device_api="vfio-ccw",
        available=1,
    )
    tree.mdev_parent(parent)
    _subchannel(tree, "0.0.0314", IO, driver=None, dev_busid="0.0.1235")
    _subchannel(tree, "0.0.ff00", ADM, driver="eadm_subchannel", dev_busid="none")
    _subchannel(tree, "0.0.ff40", CHSC, driver="chsc_subchannel", dev_busid="none")
    _crypto(tree)


def _subchannel(tree: Tree, busid: str, kind: int, *, driver: str | None, dev_busid: str) -> str:
    return tree.device(
        f"{CSS}/{busid}",
        bus="css",
        driver=driver,
        uevent={"ST": kind, "MODALIAS": f"css:t{kind}"},
        attributes={"type": kind, "modalias": f"css:t{kind}", "dev_busid": dev_busid},
    )


def _ccw(
    tree: Tree, subchannel: str, busid: str, types: tuple[str, str], *, driver: str, online: int
) -> str:
    """Make a device behind a subchannel of its own; types of control unit and device."""
    above = _subchannel(tree, subchannel, IO, driver="io_subchannel", dev_busid=busid)
    return tree.device(
        f"{above}/{busid}",
        bus="ccw",
        driver=driver,
        attributes={"cutype": types[0], "devtype": types[1], "online": online},
    )


def _group(
    tree: Tree, driver: str, members: list[str], *, online: int, devtype: str | None = None
) -> str:
    """Group devices, given by path."""
    tree.device(f"/sys/devices/{driver}")
    group = tree.device(
        f"/sys/devices/{driver}/{os.path.basename(members[0])}",
        bus="ccwgroup",
        driver=driver,
        uevent={"DEVTYPE": devtype} if devtype else None,
        attributes={"online": online},
    )
    for number, path in enumerate(members):
        tree.kernel_link(f"{group}/cdev{number}", path)
        tree.kernel_link(f"{path}/group_device", group)
    return group


def _dasd(tree: Tree, ccw: str) -> None:
    disk = tree.block(
        "dasda",
        above=f"{ccw}/block",
        device=ccw,
        size=14424480,
        block_size=4096,
        attributes={"dev": "94:0"},
    )
    tree.file(f"{disk}/uevent", "MAJOR=94\nMINOR=0\nDEVNAME=dasda\nDEVTYPE=disk\n")
    serial = "0XAB12"
    tree.udev(
        disk,
        {"ID_BUS": "ccw", "ID_TYPE": "disk", "ID_SERIAL": serial},
        links=["disk/by-path/ccw-0.0.1000", f"disk/by-id/ccw-{serial}"],
    )


def _crypto(tree: Tree) -> None:
    """Two adapters: the queues of one are for guests, those of the other for the host."""
    tree.device("/sys/devices/ap")
    for number, kind, domains, driver in [
        (0x05, "CEX7C", (0x04, 0xAB), "vfio_ap"),
        (0x0A, "CEX8P", (0x04, 0xAB), "cex4queue"),
    ]:
        card = tree.device(
            f"/sys/devices/ap/card{number:02x}",
            bus="ap",
            driver="cex4card",
            uevent={"DEVTYPE": "ap_card", "DEV_TYPE": "000D", "MODALIAS": "ap:t0D"},
            attributes={"type": kind, "hwtype": 13, "online": 1, "config": 1},
        )
        for domain in domains:
            tree.device(
                f"{card}/{number:02x}.{domain:04x}",
                bus="ap",
                driver=driver,
                uevent={"DEVTYPE": "ap_queue", "DEV_TYPE": "000D", "MODALIAS": "ap:t0D"},
                attributes={"config": 1},
            )
    tree.device("/sys/devices/vfio_ap")
    matrix = tree.device(
        "/sys/devices/vfio_ap/matrix",
        bus="matrix",
        driver="vfio_ap",
        attributes={"features": "guest_matrix dyn ap_config"},
    )
    tree.mdev_type(
        matrix,
        "vfio_ap-passthrough",
        name="VFIO AP Passthrough Device",
        device_api="vfio-ap",
        available=65536,
    )
    tree.mdev_parent(matrix)
