"""Words that build hardware: a fake /sys, with its links, below any directory.

Paths are the kernel's ("/sys/devices/..."), never the build machine's, and every word that
makes a device returns the device's path. Only plain `os` calls are used, so the same words
work on a real directory and, with root "/", inside pyfakefs.

Layout: https://docs.kernel.org/filesystems/sysfs.html and Documentation/ABI/testing/
sysfs-bus-pci, sysfs-bus-vfio-mdev. Configuration space: PCI Local Bus 3.0, section 6.1, and
PCI Express Base, section 7.5.3.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Literal

from nodedevd.host.udev_db import device_id

PCI_ADDRESS = re.compile(r"[0-9a-f]{4,}:[0-9a-f]{2}:[0-9a-f]{2}\.[0-7]")
LINK_SPEEDS = {1: "2.5 GT/s PCIe", 2: "5.0 GT/s PCIe", 3: "8.0 GT/s PCIe", 4: "16.0 GT/s PCIe"}
VFIO_MAJOR = 511  # dynamic; what a kernel without other dynamic majors hands out

Value = str | bytes | int
Attributes = Mapping[str, Value]


@dataclass(frozen=True, slots=True)
class Express:
    """A PCI Express capability.

    Speeds are the register's numbers (1 is 2.5 GT/s, 4 is 16 GT/s), widths are lanes; 0 is
    unknown. `port_type` is 0 endpoint, 4 root port, 5 and 6 switch up- and downstream port.
    """

    port_type: int = 0
    cap_speed: int = 0
    cap_width: int = 0
    port: int = 0
    sta_speed: int = 0
    sta_width: int = 0


def config_space(
    vendor: int,
    device: int,
    class_: int,
    *,
    header_type: int = 0,
    express: Express | None = None,
    revision: int = 0,
    subsystem: tuple[int, int] = (0, 0),
    size: int = 256,
) -> bytes:
    """Return the configuration space of one function, `size` bytes (256 or 4096) long.

    The capability list holds power management at 0x40 and, if given, PCI Express at 0x50;
    everything past the header and these is zero.
    """
    space = bytearray(size)
    struct.pack_into("<HHHH", space, 0x00, vendor, device, 0x0007, 0x0010)
    struct.pack_into("<I", space, 0x08, class_ << 8 | revision)
    space[0x0E] = header_type
    if header_type == 0:
        struct.pack_into("<HH", space, 0x2C, *subsystem)
    space[0x34] = 0x40
    struct.pack_into("<BBH", space, 0x40, 0x01, 0x50 if express else 0x00, 0x0003)
    if express:
        struct.pack_into("<BBH", space, 0x50, 0x10, 0x00, express.port_type << 4 | 2)
        capability = express.port << 24 | express.cap_width << 4 | express.cap_speed
        struct.pack_into("<I", space, 0x5C, capability)
        struct.pack_into("<H", space, 0x62, express.sta_width << 4 | express.sta_speed)
    return bytes(space)


class Tree:
    """A sysroot under construction.

    `file`, `link`, `directory`, `attributes` and `remove` write anything anywhere; the other
    words write what the kernel makes for one thing, so a broken host is a whole one with
    something written over it.
    """

    def __init__(self, root: str | os.PathLike[str]) -> None:
        self.root = os.fspath(root)
        self._in_front = self.root.rstrip("/")
        self.directory("/sys/devices/system")  # no kernel is without it

    def at(self, path: str) -> str:
        """Return where a path of the kernel's lies on disk."""
        return f"{self._in_front}/{path.lstrip('/')}"

    def resolve(self, device: str) -> str:
        """Return the path of a PCI device given by address; a path is returned as it is."""
        if not PCI_ADDRESS.fullmatch(device):
            return device
        target = os.readlink(self.at(f"/sys/bus/pci/devices/{device}"))
        return os.path.normpath(os.path.join("/sys/bus/pci/devices", target))

    # Anything, anywhere

    def directory(self, path: str) -> str:
        where = self.at(path)
        if not os.path.isdir(where):  # most are there; makedirs takes four system calls to see it
            os.makedirs(where, exist_ok=True)
        return path

    def file(self, path: str, content: str | bytes = b"") -> str:
        """Write a file, exactly as given; a file or link in its place is replaced."""
        where = self.at(path)
        data = os.fsencode(content) if isinstance(content, str) else content
        try:  # most are new, in a directory that is there
            _write(where, data, "xb")
        except FileNotFoundError:
            self.directory(os.path.dirname(path))
            _write(where, data, "xb")
        except FileExistsError:
            if os.path.islink(where):
                os.unlink(where)
                _write(where, data, "xb")
            else:  # A daemon that reads meanwhile finds the old value or the new one, and no part.
                _write(f"{where}.new", data, "wb")
                os.replace(f"{where}.new", where)
        return path

    def link(self, path: str, target: str) -> str:
        """Make a link with this literal target; a file or link in its place is replaced."""
        where = self.at(path)
        try:
            os.symlink(target, where)
        except FileNotFoundError:
            self.directory(os.path.dirname(path))
            os.symlink(target, where)
        except FileExistsError:
            os.unlink(where)
            os.symlink(target, where)
        return path

    def kernel_link(self, path: str, to: str) -> str:
        """Make a link as the kernel does: relative, and always naming its target.

        That is so even if the target lies above the link: fs/kernfs/symlink.c.
        """
        return self.link(path, _from_link(path, to))

    def attributes(self, path: str, values: Attributes) -> str:
        """Write attributes of a device: text and numbers end in a newline, bytes are as given."""
        for name, value in values.items():
            self.file(f"{path}/{name}", value if isinstance(value, bytes) else f"{value}\n")
        return path

    def remove(self, path: str) -> None:
        """Remove a file, a link, or a directory with all that it holds."""
        where = self.at(path)
        if os.path.isdir(where) and not os.path.islink(where):
            shutil.rmtree(where)
        else:
            os.unlink(where)

    # Devices

    def device(
        self,
        path: str,
        *,
        bus: str | None = None,
        class_: str | None = None,
        driver: str | None = None,
        iommu_group: int | None = None,
        uevent: Mapping[str, str | int] | None = None,
        attributes: Attributes | None = None,
    ) -> str:
        """Make a device of a bus, of a class, or (the nodes above some devices) of neither."""
        name = os.path.basename(path)
        subsystem = f"/sys/bus/{bus}" if bus else f"/sys/class/{class_}" if class_ else None
        if subsystem:
            self.kernel_link(f"{path}/subsystem", subsystem)
            self.kernel_link(f"{subsystem}/devices/{name}" if bus else f"{subsystem}/{name}", path)
        if driver:
            drivers = f"{subsystem}/drivers/{driver}"
            self.kernel_link(f"{path}/driver", drivers)
            self.kernel_link(f"{drivers}/{name}", path)
        if iommu_group is not None:
            group = f"/sys/kernel/iommu_groups/{iommu_group}"
            self.kernel_link(f"{path}/iommu_group", group)
            self.kernel_link(f"{group}/devices/{name}", path)
        keys = ({"DRIVER": driver} if driver else {}) | dict(uevent or {})
        self.file(f"{path}/uevent", "".join(f"{key}={value}\n" for key, value in keys.items()))
        return self.attributes(path, attributes or {})

    def pci(
        self,
        address: str,
        *,
        vendor: int,
        device: int,
        class_: int,
        parent: str = "pci0000:00",
        subsystem: tuple[int, int] = (0, 0),
        revision: int = 0,
        driver: str | None = None,
        numa_node: int = -1,
        iommu_group: int | None = None,
        express: Express | None = None,
        config: bytes | None = None,
        physfn: str | None = None,
        attributes: Attributes | None = None,
    ) -> str:
        """Make a PCI function.

        Args:
            address: Its kernel name, as 0000:00:02.0.
            vendor: As the other ids, a number.
            device: The device id.
            class_: All 24 bits, as 0x030000.
            parent: The address of a bridge, or a root bus below /sys/devices.
            subsystem: Vendor and device id of the subsystem.
            revision: The revision id.
            driver: The bound driver.
            numa_node: The kernel's number; -1 is none.
            iommu_group: The number of its group.
            express: Its PCI Express capability; also gives the link attributes.
            config: Its configuration space, in place of one made from the ids.
            physfn: The address of the physical function, if this is a virtual one.
            attributes: Further files.
        """
        if PCI_ADDRESS.fullmatch(parent):
            above = self.resolve(parent)
        else:
            above = os.path.join("/sys/devices", parent)
            self.file(f"{above}/uevent")
        subvendor, subdevice = subsystem
        modalias = (
            f"pci:v{vendor:08X}d{device:08X}sv{subvendor:08X}sd{subdevice:08X}"
            f"bc{class_ >> 16:02X}sc{class_ >> 8 & 0xFF:02X}i{class_ & 0xFF:02X}"
        )
        if config is None:
            config = config_space(
                vendor,
                device,
                class_,
                header_type=1 if class_ >> 8 == 0x0604 else 0,
                express=express,
                revision=revision,
                subsystem=subsystem,
            )
        path = self.device(
            f"{above}/{address}",
            bus="pci",
            driver=driver,
            iommu_group=iommu_group,
            uevent={
                "PCI_CLASS": f"{class_:04X}",
                "PCI_ID": f"{vendor:04X}:{device:04X}",
                "PCI_SUBSYS_ID": f"{subvendor:04X}:{subdevice:04X}",
                "PCI_SLOT_NAME": address,
                "MODALIAS": modalias,
            },
            attributes={
                "vendor": f"0x{vendor:04x}",
                "device": f"0x{device:04x}",
                "class": f"0x{class_:06x}",
                "revision": f"0x{revision:02x}",
                "subsystem_vendor": f"0x{subvendor:04x}",
                "subsystem_device": f"0x{subdevice:04x}",
                "numa_node": numa_node,
                "modalias": modalias,
                "config": config,
            },
        )
        if express:
            self.attributes(
                path,
                {
                    "max_link_speed": LINK_SPEEDS.get(express.cap_speed, "Unknown"),
                    "max_link_width": express.cap_width,
                    "current_link_speed": LINK_SPEEDS.get(express.sta_speed, "Unknown"),
                    "current_link_width": express.sta_width,
                },
            )
        if physfn:
            self.kernel_link(f"{path}/physfn", self.resolve(physfn))
        return self.attributes(path, attributes or {})

    def sriov(self, pf: str, vfs: Sequence[str] = (), *, total: int | None = None) -> str:
        """Give a physical function (path or address) its SR-IOV attributes and these VFs.

        The VFs, in order and already made, are addresses or paths. Offset and stride are read
        off the addresses; without VFs they are 0, as the registers of some cards are.
        """
        path = self.resolve(pf)
        functions = [self.resolve(vf) for vf in vfs]
        routing = [_routing_id(function) for function in [path, *functions]]
        device = "0"
        for index, function in enumerate(functions):
            self.kernel_link(f"{path}/virtfn{index}", function)
            self.kernel_link(f"{function}/physfn", path)
        if functions:
            with open(self.at(f"{functions[0]}/device"), encoding="ascii") as stream:
                device = f"{int(stream.read(), 16):x}"
        return self.attributes(
            path,
            {
                "sriov_totalvfs": len(functions) if total is None else total,
                "sriov_numvfs": len(functions),
                "sriov_offset": routing[1] - routing[0] if functions else 0,
                "sriov_stride": routing[2] - routing[1] if len(functions) > 1 else 0,
                "sriov_vf_device": device,
                "sriov_drivers_autoprobe": 1,
            },
        )

    # Mediated devices

    def mdev_parent(self, parent: str) -> str:
        """List a device (path or address) among the mdev parents."""
        path = self.resolve(parent)
        self.kernel_link(f"/sys/class/mdev_bus/{os.path.basename(path)}", path)
        return path

    def mdev_type(
        self,
        parent: str,
        type_id: str,
        *,
        name: str | bytes | None = None,
        device_api: str | bytes | None = "vfio-pci",
        available: int | str | bytes | None = 1,
        description: str | bytes | None = None,
    ) -> str:
        """Offer a type on a parent (path or address); None leaves an attribute out."""
        path = f"{self.resolve(parent)}/mdev_supported_types/{type_id}"
        values = {
            "name": name,
            "device_api": device_api,
            "available_instances": available,
            "description": description,
        }
        self.directory(f"{path}/devices")
        self.file(f"{path}/create")
        return self.attributes(path, {key: v for key, v in values.items() if v is not None})

    def mdev(
        self,
        parent: str,
        uuid: str,
        type_id: str | None,
        *,
        driver: str | None = None,
        iommu_group: int | None = None,
        vfio: int | None = None,
        attributes: Attributes | None = None,
    ) -> str:
        """Make a mediated device below a parent (path or address).

        Args:
            parent: The path of the parent, or its PCI address.
            uuid: The device's name.
            type_id: The type, which the parent need not offer; None leaves the links out.
            driver: The bound driver; None is what a device has between add and bind.
            iommu_group: The number of its group, or None.
            vfio: The number N of its vfio-dev/vfioN, or None.
            attributes: The vendor driver's files, as "nvidia/vgpu_params".
        """
        above = self.resolve(parent)
        path = self.device(
            f"{above}/{uuid}",
            bus="mdev",
            driver=driver,
            iommu_group=iommu_group,
            attributes=attributes,
        )
        self.file(f"{path}/remove")
        if type_id is not None:
            kind = f"{above}/mdev_supported_types/{type_id}"
            self.kernel_link(f"{path}/mdev_type", kind)
            self.kernel_link(f"{kind}/devices/{uuid}", path)
        if vfio is not None:
            self.vfio_device(path, vfio)
        return path

    def begin_removal(self, mdev: str) -> None:
        """Take away what the kernel takes off an mdev before it waits for its users.

        Only `iommu_group` is left (Linux 6.12; before also `vfio-dev`): device_del() in
        drivers/base/core.c.
        """
        parent, uuid = os.path.split(mdev)
        self.remove(f"/sys/bus/mdev/devices/{uuid}")
        for kind in os.listdir(self.at(f"{parent}/mdev_supported_types")):
            link = f"{parent}/mdev_supported_types/{kind}/devices/{uuid}"
            if os.path.lexists(self.at(link)):
                self.remove(link)
        for name in sorted(os.listdir(self.at(mdev))):
            if name != "iommu_group":
                self.remove(f"{mdev}/{name}")

    def definition(
        self,
        parent: str,
        uuid: str,
        type_id: str,
        *,
        start: str = "manual",
        attributes: Sequence[tuple[str, str]] = (),
    ) -> str:
        """Define a mediated device for a parent, by its kernel name, as mdevctl does."""
        content = {
            "mdev_type": type_id,
            "start": start,
            "attrs": [{name: value} for name, value in attributes],
        }
        return self.file(f"/etc/mdevctl.d/{parent}/{uuid}", json.dumps(content, indent=2))

    def vfio_device(self, path: str, number: int) -> str:
        """Give a device its child vfio-dev/vfioN, the character device /dev/vfio/devices/vfioN."""
        child = self.device(
            f"{path}/vfio-dev/vfio{number}",
            class_="vfio-dev",
            uevent={
                "MAJOR": VFIO_MAJOR,
                "MINOR": number,
                "DEVNAME": f"vfio/devices/vfio{number}",
            },
            attributes={"dev": f"{VFIO_MAJOR}:{number}"},
        )
        self.kernel_link(f"{child}/device", path)
        return child

    def vfio_group(self, number: int, device: tuple[int, int] | None = None) -> str:
        """Make what the kernel makes of an IOMMU group that VFIO hands out: /dev/vfio/<number>."""
        major, minor = device or (VFIO_MAJOR - 1, number)
        return self.device(
            f"/sys/devices/virtual/vfio/{number}",
            class_="vfio",
            uevent={"MAJOR": major, "MINOR": minor, "DEVNAME": f"vfio/{number}"},
            attributes={"dev": f"{major}:{minor}"},
        )

    # Interfaces and block devices

    def net(
        self,
        interface: str,
        *,
        parent: str | None = None,
        devtype: str | None = None,
        address: str | None = "52:54:00:12:34:56",
        operstate: str | None = "up",
        attributes: Attributes | None = None,
    ) -> str:
        """Make a network interface.

        Args:
            interface: Its name.
            parent: The path of the device it belongs to, or its PCI address; None is none.
            devtype: The kernel's DEVTYPE.
            address: Its hardware address; None leaves the attribute out.
            operstate: The state of its link; None leaves the attribute out.
            attributes: Further files, as speed; what cannot be read on a host is left out.
        """
        above = self.resolve(parent) if parent else "/sys/devices/virtual"
        values = {"address": address, "operstate": operstate, **(attributes or {})}
        path = self.device(
            f"{above}/net/{interface}",
            class_="net",
            uevent={**({"DEVTYPE": devtype} if devtype else {}), "INTERFACE": interface},
            attributes={key: value for key, value in values.items() if value is not None},
        )
        if parent:
            self.kernel_link(f"{path}/device", above)
        return path

    def stack(self, lower: str, upper: str) -> None:
        """Make an interface a port of another one, or its VLAN; both given by path."""
        self.kernel_link(f"{lower}/upper_{os.path.basename(upper)}", upper)
        self.kernel_link(f"{upper}/lower_{os.path.basename(lower)}", lower)

    def block(
        self,
        name: str,
        *,
        above: str = "/sys/devices/virtual/block",
        device: str | None = None,
        size: int | str | None = 0,
        block_size: int | str | None = 512,
        number: tuple[int, int] | None = None,
        attributes: Attributes | None = None,
    ) -> str:
        """Make a whole disk, or what the kernel takes for one.

        Args:
            name: The kernel's, with `!` for a slash in the name of its node.
            above: The directory it lies in.
            device: The path that its link `device` points at, if it has one.
            size: In sectors of 512 bytes; None leaves the attribute out.
            block_size: Its own, in bytes; None leaves the whole queue out.
            number: Major and minor; None leaves them out.
            attributes: Further files.
        """
        path = f"{above}/{name}"
        values = {"size": size, "queue/logical_block_size": block_size, **(attributes or {})}
        uevent: dict[str, str | int] = {}
        if number is not None:
            uevent = {"MAJOR": number[0], "MINOR": number[1]}
            values["dev"] = f"{number[0]}:{number[1]}"
        self.device(
            path,
            class_="block",
            uevent={**uevent, "DEVNAME": name.replace("!", "/"), "DEVTYPE": "disk"},
            attributes={key: value for key, value in values.items() if value is not None},
        )
        if device:
            self.kernel_link(f"{path}/device", device)
        return path

    def partition(self, disk: str, name: str, *, number: int = 1, size: int = 2048) -> str:
        """Make a partition of a disk, of so many sectors of 512 bytes."""
        return self.device(
            f"{disk}/{name}",
            class_="block",
            uevent={"DEVNAME": name, "DEVTYPE": "partition", "PARTN": number},
            attributes={"partition": number, "size": size},
        )

    def udev(
        self,
        path: str,
        properties: Mapping[str, str | int] | None = None,
        links: Sequence[str] = (),
    ) -> str:
        """Write what udevd found out about a device of the tree.

        Args:
            path: The path of the device, which has its uevent and its subsystem already.
            properties: Those of udevd's rules, as ID_SERIAL.
            links: The names of its links below /dev.
        """
        with open(self.at(f"{path}/uevent"), encoding="utf-8") as stream:
            uevent = dict(line.rstrip("\n").split("=", 1) for line in stream)
        subsystem = os.path.basename(os.readlink(self.at(f"{path}/subsystem")))
        lines = [f"S:{link}\n" for link in links] + ["I:1000000\n"]
        lines += [f"E:{key}={value}\n" for key, value in (properties or {}).items()]
        name = device_id(subsystem, os.path.basename(path), uevent)
        return self.file(f"/run/udev/data/{name}", "".join(lines))

    # The host

    def dmi(self, **attributes: str) -> str:
        """Write the firmware's table, by the names of the files in /sys/class/dmi/id."""
        return self.device("/sys/devices/virtual/dmi/id", class_="dmi", attributes=attributes)

    def pci_ids(self, vendors: Mapping[tuple[int, str], Mapping[int, str]]) -> str:
        """Write the host's PCI id database: devices by id, below (vendor id, vendor name)."""
        lines = ["# An excerpt: the ids this host uses, in the format of pci.ids(5)\n"]
        for (vendor, name), devices in vendors.items():
            lines.append(f"{vendor:04x}  {name}\n")
            lines.extend(f"\t{device:04x}  {text}\n" for device, text in devices.items())
        return self.file("/usr/share/misc/pci.ids", "".join(lines))


def _write(where: str, data: bytes, mode: Literal["xb", "wb"]) -> None:
    with open(where, mode, buffering=0) as file:
        file.write(data)


@cache
def _from_link(path: str, to: str) -> str:
    """Return the text of the kernel's link at `path`; the same hosts are made in many tests."""
    up = os.path.relpath(os.path.dirname(to), os.path.dirname(path))
    return os.path.normpath(os.path.join(up, os.path.basename(to)))


def _routing_id(path: str) -> int:
    """Return bus, device and function of a PCI device's path as one number."""
    _, bus, slot, function = re.split("[:.]", os.path.basename(path))
    return int(bus, 16) << 8 | int(slot, 16) << 3 | int(function)
