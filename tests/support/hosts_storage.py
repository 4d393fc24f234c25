"""The recorded host with storage of many kinds; see `hosts`."""

from __future__ import annotations

from collections.abc import Mapping

from tests.support import scsi
from tests.support.trees import Express, Tree, config_space
from tests.support.vpd import vital_product_data

_ENDPOINT, _ROOT_PORT = 0, 4


def server_storage_fc(tree: Tree) -> None:
    """A server with Fibre Channel, SATA, NVMe, an SD card, a floppy, and devices on top."""
    # fmt: off
    tree.pci("0000:00:17.0", vendor=0x8086, device=0xA352, class_=0x010601, revision=0x10,
             driver="ahci", iommu_group=1)
    tree.pci("0000:00:1a.0", vendor=0x8086, device=0xA375, class_=0x080501, revision=0x10,
             driver="sdhci-pci", iommu_group=2)
    tree.pci("0000:00:1c.0", vendor=0x8086, device=0xA33C, class_=0x060400, revision=0xF0,
             driver="pcieport", iommu_group=3, express=Express(_ROOT_PORT, 3, 8, 5, 3, 8))
    tree.pci("0000:01:00.0", parent="0000:00:1c.0", vendor=0x1077, device=0x2261, class_=0x0C0400,
             revision=0x01, subsystem=(0x1077, 0x029B), driver="qla2xxx", iommu_group=4,
             express=Express(_ENDPOINT, 3, 8, 0, 3, 8),
             attributes={"vpd": vital_product_data(
                 "QLogic 16Gb FC Single-port HBA",
                 {"PN": "EX2690", "SN": "EXRFD0001", "EC": "A01", "MN": "1077", "V0": "0123"},
                 {"YA": "EX-ASSET-7", "Y1": "rack 4"})})
    tree.pci("0000:00:1d.0", vendor=0x8086, device=0xA330, class_=0x060400, revision=0xF0,
             driver="pcieport", iommu_group=5, express=Express(_ROOT_PORT, 3, 4, 9, 3, 4))
    tree.pci("0000:02:00.0", parent="0000:00:1d.0", vendor=0x144D, device=0xA824, class_=0x010802,
             subsystem=(0x144D, 0xA801), driver="nvme", numa_node=0, iommu_group=6,
             config=config_space(0x144D, 0xA824, 0x010802, subsystem=(0x144D, 0xA801),
                                 express=Express(_ENDPOINT, 3, 4, 0, 3, 4)))
    # fmt: on
    _sata(tree)
    _fibre_channel(tree)
    _nvme(tree)
    _cards_and_floppy(tree)
    _on_top(tree)
    tree.dmi(
        sys_vendor="Example Systems",
        product_name="Storage Server",
        product_version="1.0",
        product_serial="EX0000011",
        product_uuid="2d4f6a80-91b3-4c5d-8e7f-0a1b2c3d4e11",
        bios_vendor="Example BIOS",
        bios_version="3.2.0",
        bios_date="02/11/2022",
    )
    tree.pci_ids(
        {
            (0x1077, "QLogic Corp."): {
                0x2261: "ISP2722-based 16/32Gb Fibre Channel to PCIe Adapter"
            },
            (0x144D, "Samsung Electronics Co Ltd"): {0xA824: "NVMe SSD Controller PM173X"},
            (0x8086, "Intel Corporation"): {
                0xA330: "Cannon Lake PCH PCI Express Root Port #9",
                0xA33C: "Cannon Lake PCH PCI Express Root Port #5",
                0xA352: "Cannon Lake PCH SATA AHCI Controller",
                0xA375: "Cannon Lake PCH SD Host Controller",
            },
        }
    )


def _sata(tree: Tree) -> None:
    """A disk of 4096-byte blocks, a drive with a CD, one without, and one udevd never saw."""
    ahci = tree.resolve("0000:00:17.0")
    for number in range(4):
        path = f"{ahci}/ata{number + 1}"
        adapter = scsi.host(tree, number, above=path, unique_id=number + 1, proc_name="ahci")
        target = scsi.target(tree, adapter, f"{number}:0:0")
        if number == 0:
            lun = scsi.unit(tree, target, 0, driver="sd", model="Example 4Kn 4TB", rev="EX01")
            # fmt: off
            sda = tree.block("sda", above=f"{lun}/block", device=lun, number=(8, 0),
                             size=7814037168, block_size=4096, attributes={"removable": 0})
            # fmt: on
            tree.partition(sda, "sda1", size=7814035456)
            _udev_disk(tree, sda, "ata", "Example_4Kn_4TB", "EXS0001", "0x5000c500a0000001")
            continue
        lun = scsi.unit(
            tree, target, 0, driver="sr", type_=5, vendor="HL-DT-ST", model="DVDRAM EX24"
        )
        drive = tree.block(
            f"sr{number - 1}",
            above=f"{lun}/block",
            device=lun,
            number=(11, number - 1),
            size=[8946688, 2097151, 2097151][number - 1],
            block_size=2048,
            attributes={"removable": 1},
        )
        if number < 3:
            serial = f"EXCD000{number}"
            properties: dict[str, str | int] = {
                "ID_CDROM": 1,
                "ID_CDROM_DVD": 1,
                "ID_TYPE": "cd",
                "ID_BUS": "ata",
                "ID_MODEL": "HL-DT-ST_DVDRAM_EX24",
                "ID_SERIAL": f"HL-DT-ST_DVDRAM_EX24_{serial}",
                "ID_SERIAL_SHORT": serial,
            }
            medium: dict[str, str | int] = {
                "ID_CDROM_MEDIA": 1,
                "ID_CDROM_MEDIA_DVD_R": 1,
                "ID_FS_LABEL": "BACKUP <1>",
                "ID_FS_TYPE": "iso9660",
                "ID_FS_USAGE": "filesystem",
            }
            link = f"disk/by-id/ata-HL-DT-ST_DVDRAM_EX24_{serial}"
            tree.udev(drive, {**properties, **(medium if number == 1 else {})}, links=[link])


def _fibre_channel(tree: Tree) -> None:
    """A port in a fabric with two virtual ones, and a disk array behind two of its ports."""
    hba = tree.resolve("0000:01:00.0")
    fc: dict[str, str | bytes | int] = {
        "node_name": "0x2000001b32894bd0",
        "port_name": "0x2100001b32894bd0",
        "fabric_name": "0x2001000dec9877c1",
        "vport_create": b"",
        "max_npiv_vports": 127,
        "npiv_vports_inuse": 1,
    }
    port = scsi.host(tree, 5, above=hba, unique_id=6, proc_name="qla2xxx", fc=fc)
    virtual = tree.device(f"{port}/vport-5:0-0")
    scsi.host(
        tree,
        6,
        above=virtual,
        unique_id=7,
        proc_name="qla2xxx",
        fc={
            "node_name": "0x20000000c9000001",
            "port_name": "0x21000000c9000001",
            "fabric_name": "0xffffffffffffffff",
        },
    )
    for number in range(2):
        wwpn = f"0x500a098{number}98394b5d"
        remote = scsi.remote_port(tree, port, f"rport-5:0-{number}", wwpn)
        target = scsi.target(tree, remote, f"5:0:{number}")
        lun = scsi.unit(
            tree, target, 1, driver="sd", vendor="EXARRAY", model="LUN & Snapshot", rev="8100"
        )
        disk = tree.block(
            f"sd{'bc'[number]}",
            above=f"{lun}/block",
            device=lun,
            number=(8, 16 * (number + 1)),
            size=209715200,
            attributes={"removable": 0},
        )
        # One disk by two ways: udev gives both the same serial number.
        _udev_disk(
            tree,
            disk,
            "scsi",
            "LUN_x26_Snapshot",
            "3600a09803830304f",
            "0x600a09803830304f",
            serial="3600a09803830304f",
            links=[f"disk/by-path/pci-0000:01:00.0-fc-{wwpn}-lun-1"],
        )
    changer = scsi.target(tree, port, "5:0:2")
    scsi.unit(tree, changer, 0, type_=8, vendor="EXTAPE", model="Library", rev="2.1")
    scsi.unit(tree, changer, 1, type_=31, vendor="EXTAPE", model="Controller", rev="2.1")


def _nvme(tree: Tree) -> None:
    """Two namespaces, where the kernel puts them with multipath, and an NVMe controller."""
    controller = tree.resolve("0000:02:00.0")
    values = {"model": f"{'Example NVMe 960GB':40}", "serial": f"{'EXNVME0001':20}"}
    tree.device(f"{controller}/nvme/nvme0", class_="nvme", attributes=values)
    above = tree.device(
        "/sys/devices/virtual/nvme-subsystem/nvme-subsys0",
        class_="nvme-subsystem",
        attributes=values,
    )
    for number, (size, block_size) in enumerate([(1875385008, 512), (262144, 4096)], start=1):
        namespace = tree.block(
            f"nvme0n{number}",
            above=above,
            device=above,
            number=(259, number - 1),
            size=size,
            block_size=block_size,
            attributes={"removable": 0, "wwid": f"eui.002538410100000{number}"},
        )
        serial = "Example_NVMe_960GB_EXNVME0001" + ("_2" if number == 2 else "")
        tree.udev(
            namespace,
            {
                "ID_MODEL": "Example NVMe 960GB",
                "ID_SERIAL": serial,
                "ID_SERIAL_SHORT": "EXNVME0001",
                "ID_WWN": f"eui.002538410100000{number}",
            },
            links=[f"disk/by-id/nvme-{serial}"],
        )


def _cards_and_floppy(tree: Tree) -> None:
    """An SD card, and a floppy drive with a disk in it."""
    reader = tree.resolve("0000:00:1a.0")
    card = tree.device(
        f"{reader}/mmc_host/mmc0/mmc0:aaaa",
        bus="mmc",
        driver="mmcblk",
        attributes={"type": "SD", "name": "EX32G", "serial": "0x0e500001"},
    )
    block = tree.block(
        "mmcblk0",
        above=f"{card}/block",
        device=card,
        number=(179, 0),
        size=62333952,
        attributes={"removable": 0},
    )
    tree.udev(
        block,
        {"ID_DRIVE_FLASH_SD": 1, "ID_NAME": "EX32G", "ID_SERIAL": "0x0e500001"},
        links=["disk/by-id/mmc-EX32G_0x0e500001"],
    )
    floppy = tree.device("/sys/devices/platform/floppy.0", bus="platform", driver="floppy")
    drive = tree.block(
        "fd0",
        above=f"{floppy}/block",
        device=floppy,
        number=(2, 0),
        size=2880,
        attributes={"removable": 1},
    )
    tree.udev(drive, {"ID_DRIVE_FLOPPY": 1, "ID_FS_LABEL": "DRIVERS", "ID_FS_TYPE": "vfat"})


def _on_top(tree: Tree) -> None:
    """What is made of disks and files: device mapper, RAID, loop; and memory, and the network."""
    mapped = tree.block(
        "dm-0", number=(253, 0), size=209715200, attributes={"dm/name": "mpatha", "removable": 0}
    )
    tree.udev(
        mapped,
        {"DM_NAME": "mpatha", "DM_UUID": "mpath-3600a09803830304f"},
        links=["disk/by-id/dm-uuid-mpath-3600a09803830304f", "mapper/mpatha"],
    )
    array = tree.block("md127", number=(9, 127), size=1875122864, attributes={"md/level": "raid1"})
    tree.udev(
        array,
        {"MD_LEVEL": "raid1", "MD_UUID": "01234567:89abcdef:01234567:89abcdef"},
        links=["disk/by-id/md-uuid-01234567:89abcdef:01234567:89abcdef"],
    )
    tree.block(
        "loop0",
        number=(7, 0),
        size=131072,
        attributes={"loop/backing_file": "/var/lib/example/image.iso", "removable": 0},
    )
    tree.block("loop1", number=(7, 1))
    tree.block("nbd0", number=(43, 0), size=2097152)
    tree.block("zram0", number=(252, 0), size=8388608, block_size=4096)


def _udev_disk(
    tree: Tree,
    disk: str,
    bus: str,
    model: str,
    short: str,
    wwn: str,
    *,
    serial: str | None = None,
    links: list[str] | None = None,
) -> None:
    """Write what udevd knows of a disk with a serial number and a World Wide Name."""
    serial = serial or f"{model}_{short}"
    properties: Mapping[str, str] = {
        "ID_TYPE": "disk",
        "ID_BUS": bus,
        "ID_MODEL": model,
        "ID_SERIAL": serial,
        "ID_SERIAL_SHORT": short,
        "ID_WWN": wwn,
    }
    names = [f"disk/by-id/{bus}-{serial}", f"disk/by-id/wwn-{wwn}"]
    tree.udev(disk, properties, links=[*names, *(links or [])])
