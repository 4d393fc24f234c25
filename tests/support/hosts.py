"""The recorded hosts: one function builds each, and fixtures/sysfs/ holds what they build.

`python -m tests.support.hosts [HOST...]` writes them again, all or those named; ABOUT.md in a
host's directory is written by hand, stays, and says where the values come from.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

from tests.support.hosts_accel import accel_npu
from tests.support.hosts_infiniband import infiniband_hca
from tests.support.hosts_laptop import laptop_usb_wifi
from tests.support.hosts_s390x import s390x_full
from tests.support.hosts_storage import server_storage_fc
from tests.support.hosts_vdpa import vdpa_smartnic
from tests.support.hosts_vgpu import vgpu_two_generations, vgpu_vendor_vfio
from tests.support.nvidia import A2_TYPES, P40_TYPES, nvidia_types
from tests.support.trees import Express, Tree, config_space

FIXTURES = Path(__file__).parents[2] / "fixtures" / "sysfs"

AMD = (0x1022, "Advanced Micro Devices, Inc. [AMD]")
INTEL = (0x8086, "Intel Corporation")
NVIDIA = (0x10DE, "NVIDIA Corporation")
PLX = (0x10B5, "PLX Technology, Inc.")
REALTEK = (0x10EC, "Realtek Semiconductor Co., Ltd.")
REDHAT = (0x1AF4, "Red Hat, Inc.")
SAMSUNG = (0x144D, "Samsung Electronics Co Ltd")

HOST_BRIDGE, ISA_BRIDGE, PCI_BRIDGE = 0x060000, 0x060100, 0x060400
ETHERNET, AHCI, NVME, XHCI = 0x020000, 0x010601, 0x010802, 0x0C0330
VGA, DISPLAY_3D, WIRELESS = 0x030000, 0x030200, 0x028000

ENDPOINT, ROOT_PORT, UPSTREAM_PORT, DOWNSTREAM_PORT, INTEGRATED_ENDPOINT = 0, 4, 5, 6, 9


def vgpu_sriov(tree: Tree) -> None:
    """An NVIDIA A2 behind a switch: sixteen virtual functions are the mdev parents."""
    pf = "0000:08:00.0"
    # fmt: off
    tree.pci("0000:00:00.0", vendor=0x1022, device=0x1480, class_=HOST_BRIDGE,
             subsystem=(0x1022, 0x1480), numa_node=0, iommu_group=0)
    tree.pci("0000:00:01.1", vendor=0x1022, device=0x1483, class_=PCI_BRIDGE,
             driver="pcieport", numa_node=0, iommu_group=1,
             express=Express(ROOT_PORT, 4, 16, 0, 3, 16))
    tree.pci("0000:06:00.0", parent="0000:00:01.1", vendor=0x10B5, device=0x8747,
             class_=PCI_BRIDGE, revision=0xCA, driver="pcieport", numa_node=0, iommu_group=2,
             express=Express(UPSTREAM_PORT, 3, 16, 0, 3, 16))
    tree.pci("0000:07:08.0", parent="0000:06:00.0", vendor=0x10B5, device=0x8747,
             class_=PCI_BRIDGE, revision=0xCA, driver="pcieport", numa_node=0, iommu_group=3,
             express=Express(DOWNSTREAM_PORT, 3, 16, 8, 3, 8))
    tree.pci(pf, parent="0000:07:08.0", vendor=0x10DE, device=0x25B6, class_=DISPLAY_3D,
             subsystem=(0x10DE, 0x157E), revision=0xA1, driver="nvidia", numa_node=0,
             iommu_group=4, express=Express(ENDPOINT, 4, 8, 0, 3, 8))
    # fmt: on
    vfs = [f"0000:08:{devfn >> 3:02x}.{devfn & 7}" for devfn in range(4, 20)]
    taken = {
        "0000:08:00.4": "27b42a51-9f6b-4c0b-8f5f-4f3a1d0e8c01",
        "0000:08:01.7": "a2c1a9b0-5c3e-4f27-b6d4-0d6e2f9b7c02",
    }
    for group, vf in enumerate(vfs, start=5):
        tree.pci(
            vf,
            parent="0000:07:08.0",
            vendor=0x10DE,
            device=0x25B6,
            class_=DISPLAY_3D,
            subsystem=(0x10DE, 0x0000),
            revision=0xA1,
            driver="nvidia",
            numa_node=0,
            iommu_group=group,
            express=Express(),
            # a virtual function's own ids read as all ones: SR-IOV 1.1, section 3.4.1.1
            config=config_space(0xFFFF, 0xFFFF, DISPLAY_3D, express=Express(), revision=0xA1),
        )
        for type_id, name, description in nvidia_types("NVIDIA A2", A2_TYPES):
            # a card that holds 4 GB profiles offers no other size, and a used VF nothing at all
            same_size = "framebuffer=4096M" in description
            tree.mdev_type(
                vf,
                type_id,
                name=name,
                available=int(same_size and vf not in taken),
                description=description,
            )
        tree.mdev_parent(vf)
    tree.sriov(pf, vfs, total=16)
    for number, (vf, uuid) in enumerate(taken.items()):
        tree.mdev(
            vf,
            uuid,
            "nvidia-746",
            driver="nvidia-vgpu-vfio",
            iommu_group=64 + number,
            vfio=number,
            attributes={"nvidia/vgpu_params": b"", "nvidia/vm_name": f"guest{number}"},
        )
    inactive = "c3d7b1e4-8f2a-4e60-9b15-7a4c2d1e5f03"
    params = ("nvidia/vgpu_params", "frame_rate_limiter=0")
    for vf, uuid, type_id, start, values in [
        ("0000:08:00.4", taken["0000:08:00.4"], "nvidia-746", "auto", [params]),
        ("0000:08:00.5", inactive, "nvidia-746", "auto", [params]),
        ("0000:08:00.6", inactive, "nvidia-747", "manual", []),
        ("0000:41:00.4", "d9e0f3a6-1b4c-4d72-8c38-5e6b9a0f2d04", "nvidia-746", "auto", []),
    ]:
        tree.definition(vf, uuid, type_id, start=start, attributes=values)
    # fmt: off
    tree.pci("0000:80:03.1", parent="pci0000:80", vendor=0x1022, device=0x1483,
             class_=PCI_BRIDGE, driver="pcieport", numa_node=1, iommu_group=21,
             express=Express(ROOT_PORT, 4, 16, 3, 3, 8))
    for function, subdevice in enumerate([0x0007, 0x0000]):
        tree.pci(f"0000:81:00.{function}", parent="0000:80:03.1", vendor=0x8086, device=0x1572,
                 class_=ETHERNET, subsystem=(0x8086, subdevice), revision=0x02, driver="i40e",
                 numa_node=1, iommu_group=22 + function,
                 express=Express(ENDPOINT, 3, 8, 0, 3, 8))
    # fmt: on
    tree.dmi(
        sys_vendor="Example Systems",
        product_name="Rack Server 2S",
        product_version="1.0",
        product_serial="EX0000002",
        product_uuid="0f5cf8d6-31d5-4a7a-9d64-9f7e5b7c1a02",
        bios_vendor="Example BIOS",
        bios_version="2.4.1",
        bios_date="03/15/2023",
    )
    tree.pci_ids(
        {
            AMD: {0x1480: "Starship/Matisse Root Complex", 0x1483: "Starship/Matisse GPP Bridge"},
            PLX: {0x8747: "PEX 8747 48-Lane, 5-Port PCI Express Gen 3 (8.0 GT/s) Switch"},
            NVIDIA: {0x25B6: "GA107GL [A2 / A16]"},
            INTEL: {0x1572: "Ethernet Controller X710 for 10GbE SFP+"},
        }
    )


def vgpu_pf(tree: Tree) -> None:
    """A Tesla P40: the physical function is the parent, and its first vGPU fixed the size."""
    # fmt: off
    tree.pci("0000:00:00.0", vendor=0x8086, device=0x6F00, class_=HOST_BRIDGE, revision=0x01,
             numa_node=0, iommu_group=0)
    tree.pci("0000:00:02.0", vendor=0x8086, device=0x6F04, class_=PCI_BRIDGE, revision=0x01,
             driver="pcieport", numa_node=0, iommu_group=1,
             express=Express(ROOT_PORT, 3, 16, 3, 3, 16))
    gpu = tree.pci("0000:02:00.0", parent="0000:00:02.0", vendor=0x10DE, device=0x1B38,
                   class_=DISPLAY_3D, subsystem=(0x10DE, 0x11D9), revision=0xA1,
                   driver="nvidia", numa_node=0, iommu_group=2,
                   express=Express(ENDPOINT, 3, 16, 0, 3, 16))
    # fmt: on
    active = [
        "5d4d1f0c-6d5b-45d5-9a64-3c6f0a3d1e01",
        "83c32df7-d52e-4ec1-9668-1f3c7e4df107",
    ]
    for type_id, name, description in nvidia_types("GRID P40", P40_TYPES):
        # all vGPUs of a card have the size of its first, and six of 4 GB fit
        tree.mdev_type(
            gpu,
            type_id,
            name=name,
            available=6 - len(active) if type_id == "nvidia-283" else 0,
            description=description,
        )
    tree.mdev_parent(gpu)
    for group, uuid in enumerate(active, start=40):
        tree.mdev(
            gpu,
            uuid,
            "nvidia-283",
            driver="vfio_mdev",
            iommu_group=group,
            attributes={"nvidia/vgpu_params": "frame_rate_limiter=0"},
        )
    tree.dmi(
        sys_vendor="Example Systems",
        product_name="Tower Server 1S",
        product_version="",
        product_serial="EX0000003",
        product_uuid="4c4c4544-0035-4410-8051-b4c04f4e4d03",
        bios_vendor="Example BIOS",
        bios_version="2.13.0",
        bios_date="05/14/2021",
    )
    long_name = "Xeon E7 v4/Xeon E5 v4/Xeon E3 v4/Xeon D"
    tree.pci_ids(
        {
            INTEL: {0x6F00: f"{long_name} DMI2", 0x6F04: f"{long_name} PCI Express Root Port 2"},
            NVIDIA: {0x1B38: "GP102GL [Tesla P40]"},
        }
    )


def igpu_gvtg(tree: Tree) -> None:
    """Intel GVT-g on Linux 5.15: types without a name, one vGPU that leaves no room for more."""
    # fmt: off
    tree.pci("0000:00:00.0", vendor=0x8086, device=0x3E30, class_=HOST_BRIDGE, revision=0x0A,
             subsystem=(0x8086, 0x3E30), driver="skl_uncore", iommu_group=0)
    gpu = tree.pci("0000:00:02.0", vendor=0x8086, device=0x3E98, class_=VGA, revision=0x02,
                   subsystem=(0x8086, 0x3E98), driver="i915", iommu_group=1,
                   express=Express(INTEGRATED_ENDPOINT))
    tree.pci("0000:00:14.0", vendor=0x8086, device=0xA36D, class_=XHCI, revision=0x10,
             subsystem=(0x8086, 0xA36D), driver="xhci_hcd", iommu_group=2)
    tree.pci("0000:00:1f.0", vendor=0x8086, device=0xA305, class_=ISA_BRIDGE, revision=0x10,
             subsystem=(0x8086, 0xA305), iommu_group=3)
    tree.pci("0000:00:1f.6", vendor=0x8086, device=0x15BC, class_=ETHERNET, revision=0x10,
             subsystem=(0x8086, 0x15BC), driver="e1000e", iommu_group=3)
    # fmt: on
    for suffix, low, high, resolution, weight in [
        ("V5_4", 128, 512, "1920x1200", 4),
        ("V5_8", 64, 384, "1024x768", 2),
    ]:
        tree.mdev_type(
            gpu,
            f"i915-GVTg_{suffix}",
            available=0,
            description=(
                f"low_gm_size: {low}MB\nhigh_gm_size: {high}MB\nfence: 4\n"
                f"resolution: {resolution}\nweight: {weight}"
            ),
        )
    tree.mdev_parent(gpu)
    tree.mdev(
        gpu,
        "f0b7b1f4-2d0c-4c0e-9a7e-8d1f6e5c4b01",
        "i915-GVTg_V5_4",
        driver="vfio_mdev",
        iommu_group=12,
        attributes={"intel_vgpu/vgpu_id": 1},
    )
    tree.dmi(
        sys_vendor="Example Systems",
        product_name="Workstation Mini",
        product_version="Rev 1.xx",
        product_serial="EX0000004",
        product_uuid="c0de4a11-78a5-11ea-9a9b-04d4c4000004",
        bios_vendor="Example BIOS",
        bios_version="1502",
        bios_date="02/21/2020",
    )
    tree.pci_ids(
        {
            INTEL: {
                0x15BC: "Ethernet Connection (7) I219-V",
                0x3E30: "8th/9th Gen Core 8-core Desktop Processor Host Bridge/DRAM Registers",
                0x3E98: "CoffeeLake-S GT2 [UHD Graphics 630]",
                0xA305: "Z390 Chipset LPC/eSPI Controller",
                0xA36D: "Cannon Lake PCH USB 3.1 xHCI Host Controller",
            }
        }
    )


def s390x_ap_ccw(tree: Tree) -> None:
    """An IBM Z partition: crypto queues and I/O subchannels for guests; no PCI and no DMI."""
    tree.device("/sys/devices/ap")
    # fmt: off
    tree.device("/sys/devices/ap/card05", bus="ap", driver="cex4card",
                uevent={"DEVTYPE": "ap_card", "DEV_TYPE": "000D", "MODALIAS": "ap:t0D",
                        "MODE": "cca"},
                attributes={"hwtype": 13, "type": "CEX7C", "online": 1, "config": 1})
    for domain, status in [("0004", "in use"), ("00ab", "in use"), ("0047", "unassigned")]:
        tree.device(f"/sys/devices/ap/card05/05.{domain}", bus="ap", driver="vfio_ap",
                    uevent={"DEVTYPE": "ap_queue", "DEV_TYPE": "000D", "MODALIAS": "ap:t0D",
                            "MODE": "cca"},
                    attributes={"status": status, "config": 1})

    tree.device("/sys/devices/vfio_ap")
    matrix = tree.device("/sys/devices/vfio_ap/matrix", bus="matrix", driver="vfio_ap",
                         attributes={"features": "guest_matrix dyn ap_config"})
    # fmt: on
    tree.mdev_type(
        matrix,
        "vfio_ap-passthrough",
        name="VFIO AP Passthrough Device",
        device_api="vfio-ap",
        available=65534,
    )
    tree.mdev_parent(matrix)
    controls = [
        f"{verb}_{noun}"
        for verb in ("assign", "unassign")
        for noun in ("adapter", "domain", "control_domain")
    ]
    queues = "05.0004\n05.00ab\n"
    masks = ",".join(f"0x{_ap_mask(*ids):064x}" for ids in [(0x05,), (0x04, 0xAB), (0xAB,)])
    nothing = ",".join(f"0x{0:064x}" for _ in range(3))
    for number, (uuid, assigned, control, config) in enumerate(
        [
            ("6b8a0c39-7b3f-4a0e-b9b6-2f3f1c9d0a01", queues, "00ab\n", masks),
            ("6b8a0c39-7b3f-4a0e-b9b6-2f3f1c9d0a02", "", "", nothing),
        ]
    ):
        tree.mdev(
            matrix,
            uuid,
            "vfio_ap-passthrough",
            driver="vfio_ap_mdev",
            iommu_group=number,
            vfio=number,
            attributes={
                **dict.fromkeys(controls, b""),
                "matrix": assigned.encode(),
                "guest_matrix": assigned.encode(),
                "control_domains": control.encode(),
                "ap_config": config,
            },
        )

    tree.device("/sys/devices/css0", attributes={"cm_enable": 0, "real_cssid": 0})
    _subchannel(tree, "0.0.0001", driver="io_subchannel", ccw="0.0.1000")
    # fmt: off
    tree.device("/sys/devices/css0/0.0.0001/0.0.1000", bus="ccw", driver="dasd-eckd",
                uevent={"CU_TYPE": "3990", "CU_MODEL": "E9", "DEV_TYPE": "3390",
                        "DEV_MODEL": "0C", "MODALIAS": "ccw:t3990mE9dt3390dm0C"},
                attributes={"availability": "good", "cutype": "3990/e9", "devtype": "3390/0c",
                            "modalias": "ccw:t3990mE9dt3390dm0C", "online": 1})
    # fmt: on
    for number, busid in enumerate(["0.0.0313", "0.0.0314", "0.0.0315"]):
        parent = _subchannel(tree, busid, driver="vfio_ccw", ccw=f"0.0.123{4 + number}")
        tree.mdev_type(
            parent,
            "vfio_ccw-io",
            name="I/O subchannel (Non-QDIO)",
            device_api="vfio-ccw",
            available=int(number != 0),
        )
        tree.mdev_parent(parent)
    tree.mdev(
        "/sys/devices/css0/0.0.0313",
        "d8a5e2f1-0c7b-4d36-8e19-5f2a7b6c3d03",
        "vfio_ccw-io",
        driver="vfio_ccw_mdev",
        iommu_group=2,
        vfio=2,
    )


def _subchannel(tree: Tree, busid: str, *, driver: str, ccw: str) -> str:
    """Make an I/O subchannel, type 0, whose device is (or was) `ccw`."""
    return tree.device(
        f"/sys/devices/css0/{busid}",
        bus="css",
        driver=driver,
        uevent={"ST": 0, "MODALIAS": "css:t0"},
        attributes={
            "type": 0,
            "modalias": "css:t0",
            "dev_busid": ccw,
            "chpids": "11 00 00 00 00 00 00 00 ",
            "pimpampom": "80 80 ff",
        },
    )


def _ap_mask(*ids: int) -> int:
    """Return the 256-bit mask of AP ids, which number their bits from the left."""
    return sum(1 << (255 - number) for number in ids)


def samples(tree: Tree) -> None:
    """A virtual machine with the kernel's three sample drivers, each with devices made."""
    # fmt: off
    tree.pci("0000:00:00.0", vendor=0x8086, device=0x29C0, class_=HOST_BRIDGE,
             subsystem=(0x1AF4, 0x1100))
    nic = tree.pci("0000:00:01.0", vendor=0x1AF4, device=0x1041, class_=ETHERNET, revision=0x01,
                   subsystem=(0x1AF4, 0x1100), driver="virtio-pci")
    tree.device(f"{nic}/virtio0", bus="virtio", driver="virtio_net",
                uevent={"MODALIAS": "virtio:d00000001v00001AF4"},
                attributes={"vendor": "0x1af4", "device": "0x0001"})
    tree.pci("0000:00:1f.0", vendor=0x8086, device=0x2918, class_=ISA_BRIDGE, revision=0x02,
             subsystem=(0x1AF4, 0x1100), driver="lpc_ich")

    mtty = tree.device("/sys/devices/virtual/mtty/mtty", class_="mtty",
                       attributes={"mtty_dev/sample_mtty_dev": "This is phy device"})
    tree.mdev_type(mtty, "mtty-1", name="Single port serial", available=21)
    tree.mdev_type(mtty, "mtty-2", name="Dual port serial", available=10)
    mdpy = tree.device("/sys/devices/virtual/mdpy/mdpy", class_="mdpy")
    for suffix, size in [("vga", "640x480"), ("xga", "1024x768"), ("hd", "1920x1080")]:
        tree.mdev_type(mdpy, f"mdpy-{suffix}", name=f"mdpy-{suffix}", available=3,
                       description=f"virtual display, {size} framebuffer")
    mbochs = tree.device("/sys/devices/virtual/mbochs/mbochs", class_="mbochs")
    for suffix, megabytes, left in [("small", 4, 60), ("medium", 16, 15), ("large", 64, 3)]:
        tree.mdev_type(mbochs, f"mbochs-{suffix}", name=f"mbochs-{suffix}", available=left,
                       description=f"virtual display, {megabytes} MB video memory")
    # fmt: on
    for parent in (mtty, mdpy, mbochs):
        tree.mdev_parent(parent)

    stem = "b1ae8bf6-38b0-4c81-9d44-78ce3f52001"
    for number, (parent, type_id, attribute, value) in enumerate(
        [
            (mtty, "mtty-1", "sample_mdev_dev", f"This is MDEV {stem}0"),
            (mtty, "mtty-2", "sample_mdev_dev", f"This is MDEV {stem}1"),
            (mdpy, "mdpy-hd", "resolution", "1920x1080"),
            (mbochs, "mbochs-medium", "memory", "16 MB"),
        ]
    ):
        tree.mdev(
            parent,
            f"{stem}{number}",
            type_id,
            driver=os.path.basename(parent),
            iommu_group=number,
            vfio=number,
            attributes={f"vendor/{attribute}": value},
        )
    tree.definition("mtty", f"{stem}0", "mtty-1", start="auto")
    tree.definition("mtty", f"{stem}4", "mtty-2")
    tree.definition("mtty", f"{stem}5", "mtty-4")
    tree.definition("mbochs", f"{stem}4", "mbochs-small", start="auto")
    tree.dmi(
        sys_vendor="QEMU",
        product_name="Standard PC (Q35 + ICH9, 2009)",
        product_version="pc-q35-7.2",
        product_serial="",
        product_uuid="9e1f3c5a-7b2d-4e68-8f0a-1c2d3e4f5a05",
        bios_vendor="SeaBIOS",
        bios_version="1.16.2-debian-1.16.2-1",
        bios_date="04/01/2014",
    )
    tree.pci_ids(
        {
            REDHAT: {0x1041: "Virtio 1.0 network device"},
            INTEL: {
                0x2918: "82801IB (ICH9) LPC Interface Controller",
                0x29C0: "82G33/G31/P35/P31 Express DRAM Controller",
            },
        }
    )


def empty(tree: Tree) -> None:
    """An ordinary small machine on which nobody has heard of mediated devices."""
    # fmt: off
    tree.pci("0000:00:00.0", vendor=0x8086, device=0x3EC2, class_=HOST_BRIDGE, revision=0x07,
             driver="skl_uncore")
    tree.pci("0000:00:02.0", vendor=0x8086, device=0x3E92, class_=VGA, driver="i915")
    tree.pci("0000:00:17.0", vendor=0x8086, device=0xA352, class_=AHCI, revision=0x10,
             driver="ahci")
    tree.pci("0000:00:1c.0", vendor=0x8086, device=0xA33C, class_=PCI_BRIDGE, revision=0xF0,
             driver="pcieport", express=Express(ROOT_PORT, 3, 1, 5, 1, 1))
    tree.pci("0000:00:1c.5", vendor=0x8086, device=0xA33D, class_=PCI_BRIDGE, revision=0xF0,
             driver="pcieport", express=Express(ROOT_PORT, 3, 1, 6, 1, 1))
    tree.pci("0000:00:1d.0", vendor=0x8086, device=0xA330, class_=PCI_BRIDGE, revision=0xF0,
             driver="pcieport", express=Express(ROOT_PORT, 3, 4, 9, 3, 4))
    tree.pci("0000:01:00.0", parent="0000:00:1c.0", vendor=0x10EC, device=0x8168,
             class_=ETHERNET, revision=0x15, subsystem=(0x10EC, 0x0123), driver="r8169",
             express=Express(ENDPOINT, 1, 1, 0, 1, 1))
    tree.pci("0000:02:00.0", parent="0000:00:1d.0", vendor=0x144D, device=0xA808, class_=NVME,
             subsystem=(0x144D, 0xA801), driver="nvme", numa_node=0,
             express=Express(ENDPOINT, 3, 4, 0, 3, 4))
    tree.pci("0000:03:00.0", parent="0000:00:1c.5", vendor=0x8086, device=0x2526,
             class_=WIRELESS, revision=0x29, subsystem=(0x8086, 0x0014), driver="iwlwifi",
             express=Express(ENDPOINT, 2, 1, 0, 2, 1))
    # fmt: on
    _interfaces(tree)
    _disks(tree)
    tree.dmi(
        sys_vendor="Example Systems",
        product_name="Desktop One",
        product_version="1.0",
        product_serial="EX0000001",
        product_uuid="2d4f6a80-91b3-4c5d-8e7f-0a1b2c3d4e01",
        bios_vendor="Example BIOS",
        bios_version="1.0.7",
        bios_date="11/06/2019",
    )
    tree.pci_ids(
        {
            REALTEK: {0x8168: "RTL8111/8168/8211/8411 PCI Express Gigabit Ethernet Controller"},
            SAMSUNG: {0xA808: "NVMe SSD Controller SM981/PM981/PM983"},
            INTEL: {
                0x2526: "Wireless-AC 9260",
                0x3E92: "CoffeeLake-S GT2 [UHD Graphics 630]",
                0x3EC2: "8th Gen Core Processor Host Bridge/DRAM Registers",
                0xA330: "Cannon Lake PCH PCI Express Root Port #9",
                0xA33C: "Cannon Lake PCH PCI Express Root Port #5",
                0xA33D: "Cannon Lake PCH PCI Express Root Port #6",
                0xA352: "Cannon Lake PCH SATA AHCI Controller",
            },
        }
    )


def _interfaces(tree: Tree) -> None:
    """Ethernet in a bridge, wireless without a network, and the loopback."""
    tree.net("lo", address="00:00:00:00:00:00", operstate="unknown")
    tree.net("enp1s0", parent="0000:01:00.0", attributes={"speed": 1000})
    # fmt: off
    tree.net("wlp3s0", parent="0000:03:00.0", devtype="wlan", address="52:54:00:12:34:57",
             operstate="down")
    # fmt: on
    tree.net("br0", devtype="bridge", attributes={"speed": 1000})


def _disks(tree: Tree) -> None:
    """A SATA disk with a partition, an NVMe disk, and what is no hardware."""
    # fmt: off
    ahci, nvme = tree.resolve("0000:00:17.0"), tree.resolve("0000:02:00.0")
    lun = tree.device(f"{ahci}/ata1/host0/target0:0:0/0:0:0:0", bus="scsi", driver="sd",
                      attributes={"vendor": "ATA     ", "model": "Example Disk 1TB"})
    sda = tree.block("sda", above=f"{lun}/block", device=lun, size=1953525168, number=(8, 0))
    tree.partition(sda, "sda1", size=1953521664)
    controller = tree.device(f"{nvme}/nvme/nvme0", class_="nvme",
                             attributes={"model": f"{'Example NVMe Disk 500GB':40}"})
    tree.block("nvme0n1", above=controller, device=controller, size=976773168,
               number=(259, 0))
    tree.block("loop0", size=131072, number=(7, 0),
               attributes={"loop/backing_file": "/var/lib/example/image.iso"})
    tree.block("loop1", number=(7, 1))
    tree.block("zram0", size=8388608, block_size=4096, number=(252, 0))
    # fmt: on


def broken(tree: Tree) -> None:
    """Everything wrong that a walk can meet, beside devices that are well."""
    tree.pci("0000:00:00.0", vendor=0x8086, device=0x29C0, class_=HOST_BRIDGE)
    _broken_pci(tree)
    _broken_type_values(tree)
    _broken_type_texts(tree)
    _broken_parents(tree)
    _broken_mdevs(tree)
    tree.dmi(product_name="Broken Host", bios_date="", bios_version="A" * 4096)
    tree.file("/sys/devices/virtual/dmi/id/sys_vendor", b"To be filled\x02 by O.E.M.\xff\n")
    tree.directory("/sys/devices/virtual/dmi/id/product_serial")
    tree.file("/sys/devices/virtual/dmi/id/product_serial/not-a-file")
    tree.file(
        "/usr/share/misc/pci.ids",
        b"# Lines that are no entries among two that are\n"
        b"8086  Intel Corporation\n\t29c0  82G33/G31/P35/P31 Express DRAM Controller\n"
        b"\tnothex  A device of nobody\nzz\n\t\n1234\n\t1111  Bad \xff bytes\n",
    )


def _odd_pci(tree: Tree, slot: int, *, driver: str | None = None, config: bytes = b"") -> str:
    """Make an endpoint of bus 0 that is well, to be broken by one thing."""
    # fmt: off
    return tree.pci(f"0000:00:{slot:02x}.0", vendor=0x1234, device=0x1111, class_=VGA,
                    driver=driver, config=config or None, express=Express(ENDPOINT, 3, 8, 0, 3, 8))
    # fmt: on


def _broken_pci(tree: Tree) -> None:
    """PCI devices: odd addresses, attributes that say nothing, links that lead nowhere."""
    whole = config_space(0x1234, 0x1111, VGA, express=Express(ENDPOINT, 3, 8, 0, 3, 8))
    looped = bytearray(whole)
    looped[0x41] = 0x40  # power management points at itself; PCI Express is never reached
    outside = bytearray(whole)
    outside[0x34] = 0xFF

    garbage = _odd_pci(tree, 0x08)
    tree.file(f"{garbage}/vendor", "garbage\n")
    tree.file(f"{garbage}/uevent", "PCI_CLASS=30000\nPCI_ID=garbage\n")
    _odd_pci(tree, 0x09, config=whole[:-10])
    _odd_pci(tree, 0x0A, config=whole[:10])
    _odd_pci(tree, 0x0B, config=bytes(looped))
    classless = _odd_pci(tree, 0x0C)
    tree.remove(f"{classless}/class")
    tree.file(f"{classless}/uevent", "PCI_ID=1234:1111\n")
    dangling = _odd_pci(tree, 0x0D)
    tree.link(f"{dangling}/driver", "../../../bus/pci/drivers/unloaded")
    tree.link(f"{dangling}/iommu_group", "../../../kernel/iommu_groups/404")
    _odd_pci(tree, 0x10, config=bytes(outside))
    numbers = _odd_pci(tree, 0x11)
    odd: dict[str, str | int] = {
        "numa_node": "many",
        "revision": "",
        "sriov_totalvfs": -1,
        "sriov_numvfs": "0x",
    }
    tree.attributes(numbers, odd)
    tree.link(f"{numbers}/virtfn0", "../0000:00:11.1")
    tree.link(f"{numbers}/virtfnX", "../0000:00:08.0")
    tree.link(f"{numbers}/physfn", "../0000:00:11.7")
    tree.remove(f"{_odd_pci(tree, 0x12)}/uevent")
    missing = _odd_pci(tree, 0x13)
    tree.remove(f"{missing}/subsystem")
    tree.remove(f"{missing}/config")

    # the links of these are resolved as if the sysroot were /
    escaping = _odd_pci(tree, 0x06)
    up = "../" * 24
    tree.link("/sys/bus/pci/devices/0000:00:06.0", f"{up}{escaping.lstrip('/')}")
    tree.link(f"{escaping}/subsystem_device", f"{up}etc/hostname")
    tree.link(f"{escaping}/revision", "/etc/passwd")
    tree.link(f"{escaping}/numa_node", "/sys/devices/pci0000:00/0000:00:00.0/numa_node")
    looping = _odd_pci(tree, 0x07)
    tree.link(f"{looping}/driver", "driver")
    tree.link(f"{looping}/iommu_group", "physfn")
    tree.link(f"{looping}/physfn", "iommu_group")

    tree.link("/sys/bus/pci/devices/0000:00:1f.7", "../../../devices/pci0000:00/0000:00:1f.7")
    tree.device("/sys/devices/pci0000:00/pci-thing", bus="pci", attributes={"vendor": "0x1234"})
    tree.file("/sys/bus/pci/devices/stray", "not a link\n")
    # fmt: off
    tree.pci("0001:c8:00.3", parent="pci0001:c8", vendor=0x1234, device=0x1111, class_=VGA)
    tree.pci("0000:00:0e.0", vendor=0x8086, device=0x9A0B, class_=0x010400, driver="vmd")
    tree.pci("10000:e0:06.0", parent="pci0000:00/0000:00:0e.0/pci10000:e0", vendor=0x8086,
             device=0x9A09, class_=PCI_BRIDGE, driver="pcieport",
             express=Express(ROOT_PORT, 4, 4, 6, 3, 4))
    # fmt: on
    for name, target in [("a", "b"), ("b", "a"), ("self", "self")]:
        tree.link(f"/sys/class/loop/{name}", target)


def _broken_type_values(tree: Tree) -> None:
    """A parent whose types have numbers that are none and APIs that nobody knows."""
    parent = _odd_pci(tree, 0x02, driver="odd")
    tree.mdev_parent(parent)
    values: dict[str, int | str | bytes | None] = {
        "good": 4,
        "absent": None,
        "many": "many",
        "negative": -1,
        "empty": b"",
        "blank": " ",
        "hex": "0x10",
        "underscore": "1_0",
        "arabic": "\u0664",
        "huge": 10**25,
        "endless": "9" * 5000,
        "binary": b"\x00\x01\xff\n",
    }
    for suffix, available in values.items():
        tree.mdev_type(parent, f"odd-{suffix}", name=f"Odd {suffix}", available=available)
    apis: dict[str, str | bytes | None] = {
        "no-api": None,
        "empty-api": b"",
        "unknown-api": "vfio-quantum",
        "platform": "vfio-platform",
    }
    for suffix, device_api in apis.items():
        tree.mdev_type(parent, f"odd-{suffix}", name=f"Odd {suffix}", device_api=device_api)
    directory = tree.mdev_type(parent, "odd-directory", name="Odd directory", available=None)
    tree.file(f"{directory}/available_instances/not-a-file")
    tree.file(f"{parent}/mdev_supported_types/odd-file", "a file where a type is expected\n")
    tree.link(f"{parent}/mdev_supported_types/odd-dangling", "odd-gone")
    nothing = tree.mdev_type(parent, "odd-nothing", device_api=None, available=None)
    tree.link(f"{nothing}/devices/aaaaaaaa-0000-4000-8000-00000000dead", "../../../gone")


def _broken_type_texts(tree: Tree) -> None:
    """A parent whose types have ids, names and descriptions that no format likes."""
    parent = _odd_pci(tree, 0x03, driver="odd")
    tree.mdev_parent(parent)
    ids = [
        "odd id with spaces ",
        'odd-"quoted"\'',
        "odd-<&>]]>",
        "odd-Größe-日本",
        "odd\nline",
        "-",
    ]
    for type_id in [*ids, os.fsdecode(b"odd-\xff")]:
        tree.mdev_type(parent, type_id, name="Odd id")
    texts: dict[str, tuple[str | bytes, str | bytes]] = {
        "blanks": ("  Trailing and leading blanks  ", "  "),
        "controls": (b"Bell\x07\n", b"nul \x00, start \x01, tab \x09, vertical \x0b, \x1b[31m\n"),
        "foreign": ("Größe <&> \U0001f5a5", "\ufffe and \ufeff are characters; so is \u202e"),
        "latin-1": (b"Gr\xf6\xdfe\n", b"caf\xe9, \xc3\x28, \xed\xa0\x80, \xf5\n"),
        "lines": ("Several lines", "first: 1\nsecond\n\n  third: 3, fourth=4\r\nfifth"),
        "long": ("N" * 512, "x" * 4095),
        "nothing": (b"", b""),
    }
    for suffix, (name, description) in texts.items():
        tree.mdev_type(parent, f"odd-{suffix}", name=name, description=description)


def _broken_parents(tree: Tree) -> None:
    """What /sys/class/mdev_bus lists and should not, and the other way round."""
    tree.mdev_parent("0000:00:00.0")  # no mdev_supported_types
    bus = "/sys/class/mdev_bus"
    tree.link(f"{bus}/0000:00:1e.0", "../../devices/pci0000:00/0000:00:1e.0")
    tree.link(f"{bus}/loop", "loop")
    tree.link(f"{bus}/escape", "../" * 24 + "etc")
    tree.file(f"{bus}/stray", "not a link\n")

    absolute = _odd_pci(tree, 0x05, driver="odd")
    tree.mdev_type(absolute, "odd-good", name="Odd good")
    tree.link(f"{bus}/0000:00:05.0", absolute)
    tree.link("/sys/bus/pci/devices/0000:00:05.0", absolute)

    unlisted = tree.device("/sys/devices/virtual/mbochs/mbochs", class_="mbochs")
    tree.mdev_type(unlisted, "mbochs-small", name="mbochs-small", available=64)
    bare = tree.device("/sys/devices/bare")
    tree.mdev_type(bare, "bare-1", name="Neither bus nor class", available=2)
    tree.mdev_parent(bare)
    for number, name in enumerate(["v.1", "v-1"]):
        alike = tree.device(f"/sys/devices/virtual/mdpy/{name}", class_="mdpy")
        tree.mdev_type(alike, "mdpy-vga", name="mdpy-vga", available=3)
        tree.mdev_parent(alike)
        tree.mdev(
            alike,
            f"aaaaaaaa-0000-4000-8000-00000000010{number}",
            "mdpy-vga",
            driver="mdpy",
            iommu_group=10 + number,
        )


def _broken_mdevs(tree: Tree) -> None:
    """Mediated devices half made, half gone, or nothing of the kind."""
    parent = tree.resolve("0000:00:02.0")
    stem = "aaaaaaaa-0000-4000-8000-0000000000"
    tree.mdev(parent, f"{stem}00", "odd-good", driver="odd", iommu_group=20, vfio=0)
    tree.mdev(parent, f"{stem}01", None)
    gone = tree.mdev(parent, f"{stem}02", None, driver="odd", iommu_group=21)
    tree.link(f"{gone}/mdev_type", "../mdev_supported_types/odd-gone")
    tree.mdev(parent, f"{stem}03", "odd-good", driver="odd", vfio=1)
    removing = tree.mdev(parent, f"{stem}04", "odd-good", driver="odd", iommu_group=22)
    tree.remove(f"{removing}/remove")
    tree.link(f"/sys/bus/mdev/devices/{stem}05", f"../../../devices/pci0000:00/{stem}05")
    tree.mdev(parent, "not-a-uuid", "odd-good", driver="odd", iommu_group=23)
    dangling = tree.mdev(parent, f"{stem}06", "odd-good")
    tree.link(f"{dangling}/driver", "../../../../bus/mdev/drivers/unloaded")
    tree.link(f"{dangling}/iommu_group", "../../../../kernel/iommu_groups/405")
    escaping = tree.mdev(parent, f"{stem}07", None, driver="odd", iommu_group=24)
    tree.link(f"{escaping}/mdev_type", "../" * 24 + "etc")
    numberless = tree.mdev(parent, f"{stem}08", "odd-good", driver="odd")
    tree.link(f"{numberless}/iommu_group", "../../../../kernel/iommu_groups/none")
    tree.file(f"{numberless}/vfio-dev/vfioX/dev", "not:numbers\n")


HOSTS: Mapping[str, Callable[[Tree], None]] = {
    "accel-npu": accel_npu,
    "broken": broken,
    "empty": empty,
    "igpu-gvtg": igpu_gvtg,
    "infiniband-hca": infiniband_hca,
    "laptop-usb-wifi": laptop_usb_wifi,
    "s390x-ap-ccw": s390x_ap_ccw,
    "s390x-full": s390x_full,
    "samples": samples,
    "server-storage-fc": server_storage_fc,
    "vdpa-smartnic": vdpa_smartnic,
    "vgpu-pf": vgpu_pf,
    "vgpu-sriov": vgpu_sriov,
    "vgpu-two-generations": vgpu_two_generations,
    "vgpu-vendor-vfio": vgpu_vendor_vfio,
}


def build(host: str, root: str | os.PathLike[str]) -> None:
    """Build a host below `root`, without the empty directories, which git does not keep."""
    HOSTS[host](Tree(root))
    for directory, _, _ in os.walk(root, topdown=False):
        if directory != os.fspath(root) and not os.listdir(directory):
            os.rmdir(directory)


def main(hosts: list[str]) -> None:
    """Write the named hosts, or all, into fixtures/sysfs."""
    for host in hosts or HOSTS:
        for part in ("sys", "usr", "run", "etc"):
            shutil.rmtree(FIXTURES / host / part, ignore_errors=True)
        build(host, FIXTURES / host)


if __name__ == "__main__":
    main(sys.argv[1:])
