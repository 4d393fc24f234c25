"""A host that is full of what identifies it, and the forms in which a recording could give it away.

`plant` puts a value into every place that a user, a tool or a manufacturer writes to; a place is
added here, and the tests in tests/unit/tree/stand_ins try it with every kind of value.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from tests.support.trees import Tree
from tests.support.vpd import END, READ_WRITE, field, resource, vital_product_data

Value = Callable[[], str]
"""Returns another value of a kind each time."""


def _hex(prefix: str, digits: int) -> Callable[[int], str]:
    return lambda number: f"{prefix}{number * 0x9E3779B97F4A7C15 % (1 << 4 * digits):0{digits}x}"


def _grouped(text: str, *widths: int, by: str = "-") -> str:
    parts, at = [], 0
    for width in widths:
        parts.append(text[at : at + width])
        at += width
    return by.join(parts)


def _uuid(number: int) -> str:
    digits = _hex("", 16)(number) + _hex("", 16)(number + 7)
    return _grouped(digits, 8, 4, 4, 4, 12)


def _mac(first: str) -> Callable[[int], str]:
    return lambda number: _grouped(first + _hex("", 10)(number), 2, 2, 2, 2, 2, 2, by=":")


def _octets(number: int) -> str:
    return f"{number % 90 + 131}.{number // 90 + 101}.{number * 91 % 199 + 51}.{number % 97 + 103}"


KINDS: dict[str, Callable[[int], str]] = {
    "serial": lambda number: f"WD-WX{number:03d}A81{number * 7919 % 99999:05d}",
    "serial of digits": lambda number: str(740000000013 + number * 7919),
    "serial with blanks": lambda number: f"QR {number * 7919 % 9999:04d} ZK{number:03d}",
    "upper serial": lambda number: f"PHYZ{number * 77777 % 10**9:09d}XQ",
    "mac": _mac("3c"),
    "local mac": _mac("5e"),
    "mac with dashes": lambda number: _mac("9c")(number).replace(":", "-").upper(),
    "mac without": lambda number: _mac("d8")(number).replace(":", ""),
    "wwn": _hex("0x5", 15),
    "naa": _hex("naa.6", 31),
    "scsi id": _hex("36", 31),
    "eui": _hex("eui.e", 15),
    "guid": lambda number: _grouped(_hex("e", 15)(number), 4, 4, 4, 4, by=":"),
    "uuid": _uuid,
    "upper uuid": lambda number: _uuid(number + 991).upper(),
    "uuid without": lambda number: _uuid(number + 1999).replace("-", ""),
    "iqn": lambda number: f"iqn.2011-05.com.acmecorp{number}:storage.zebra{number * 31}",
    "nqn": lambda number: f"nqn.2014-08.org.nvmexpress:uuid:{_uuid(number + 2999)}",
    "ipv4": _octets,
    "ipv6": lambda number: f"fd12:{number + 0x1000:x}::{number * 77 + 0xABC:x}:{number + 0x200:x}",
    "dasd": lambda number: f"IBM.75{number:010d}.{number + 0x2000:04x}.{number + 16:02x}",
    "host name": lambda number: f"quokka{number}.acmecorp.example",
    "label": lambda number: f"Jane{number}s Würfel",
    "pool": lambda number: f"tankzebra{number}/vmdata",
}
"""The kinds of values, with one of each number."""


def text_of(kind: str, value: str) -> list[str]:
    """Return the forms of a value that must not be found: case, separators, encodings, order."""
    bare = re.sub(
        r"^(0x|naa\.|eui\.|iqn\.[0-9-]+\.|nqn\.[0-9-]+\.org\.nvmexpress:uuid:)", "", value
    )
    if kind == "scsi id":
        bare = value[1:]
    packed = re.sub(r"[^0-9A-Za-z]", "", bare)
    forms = {value, bare}
    forms.add(bare.replace(" ", "_"))
    forms.add(bare.replace(" ", r"\x20"))
    forms.add(bare.replace("-", r"\x2d"))
    forms.add(bare.replace(" ", r"\040"))
    if kind != "ipv4":
        forms.add(packed)
        forms.add(packed[::-1])
    forms.add("".join(packed[at : at + 2][::-1] for at in range(0, len(packed), 2)))
    forms.add(value.encode().hex())
    forms.add(packed.encode().hex())
    if re.fullmatch("[0-9a-fA-F]+", packed) and len(packed) % 2 == 0:
        data = bytes.fromhex(packed)
        forms |= {":".join(f"{one:02x}" for one in data), "-".join(f"{one:02x}" for one in data)}
        forms.add(data[::-1].hex())
        if len(data) == 16:
            forms.add(_grouped(packed, 8, 4, 4, 4, 12))
            forms.add(_grouped(packed, 8, 4, 4, 4, 12, by="_"))
            forms.add(_grouped(packed, 8, 8, 8, 8, by=":"))
        if len(data) == 8:
            forms.add(_grouped(packed, 4, 4, 4, 4, by=":"))
    if kind == "ipv4":
        octets = bytes(map(int, value.split(".")))
        forms |= {octets.hex(), octets[::-1].hex()}
    # What is as short is in any text.
    return [one.lower() for one in forms if len(one) > 5]


def hidden_in(recorded: bytes, kind: str, values: Iterable[str]) -> Iterator[tuple[str, str]]:
    """Yield those values that a recording has, with the form that was found."""
    folded = recorded.lower()
    for value in values:
        for form in text_of(kind, value):
            if form.encode() in folded:
                yield value, form
        binary = re.sub(r"[^0-9a-f]", "", value.removeprefix("0x").lower())
        if kind in ("mac", "uuid", "wwn", "guid"):
            data = bytes.fromhex(binary)
            if data in recorded or data[::-1] in recorded:
                yield value, f"the bytes {data.hex()}"


UNREAD = (
    *("vpd_pg80", "vpd_pg83", "inquiry", "wwid", "sas_address", "cid", "psn", "unique_number"),
    *("hostnqn", "hostid", "subsysnqn", "address", "nguid", "uuid", "eui", "dhchap_secret"),
    *("phys_switch_id", "phys_port_id", "phys_port_name", "ifalias", "perm_address"),
    *("node_desc", "gids/0", "board_serial", "chassis_serial", "chassis_asset_tag"),
    *("board_asset_tag", "product_family", "edid", "unique_id_of_thunderbolt", "backing_file"),
    *("cluster_fsid", "pool", "image_id", "targetname", "initiatorname", "comm", "cmdline"),
)
"""Attributes that nothing reads, beside those that are read."""

PROPERTIES = (
    *("ID_SERIAL", "ID_SERIAL_SHORT", "ID_WWN", "ID_WWN_WITH_EXTENSION", "SCSI_IDENT_SERIAL"),
    *("ID_SCSI_SERIAL", "ID_FS_LABEL", "ID_FS_LABEL_ENC", "ID_FS_UUID", "ID_FS_UUID_SUB"),
    *("ID_PART_ENTRY_NAME", "ID_PART_ENTRY_UUID", "ID_PART_TABLE_UUID", "DM_NAME", "DM_UUID"),
    *("DM_VG_NAME", "DM_LV_NAME", "MD_NAME", "MD_UUID", "MD_DEVNAME", "ID_NET_NAME_MAC"),
    *("ID_PATH", "ID_PATH_TAG", "ID_MODEL_ENC", "ID_VENDOR_ENC", "ID_NET_LINK_FILE", "OWNER"),
    *("UDISKS_NAME", "ID_ZFS_POOL", "ID_BTRFS_READY", "SYSTEMD_ALIAS", "ID_SMARTCARD_READER"),
)

LINKS = (
    "disk/by-id/ata-Model_{}-part1",
    "disk/by-id/scsi-{}",
    "disk/by-id/scsi-SATA_Model_{}",
    "disk/by-id/wwn-{}",
    "disk/by-id/nvme-Model_{}_1",
    "disk/by-id/nvme-nvme.8086-{hex}-4d6f64656c-00000001",
    "disk/by-id/usb-Vendor_Model_{}-0:0",
    "disk/by-id/virtio-{}",
    "disk/by-id/mmc-NAME_{}",
    "disk/by-id/ccw-{}",
    "disk/by-id/dm-name-{}",
    "disk/by-id/dm-uuid-LVM-{}",
    "disk/by-id/dm-uuid-part1-mpath-{}",
    "disk/by-id/dm-uuid-CRYPT-LUKS2-{}-{}",
    "disk/by-id/md-name-{}:0",
    "disk/by-id/md-uuid-{}",
    "disk/by-id/lvm-pv-uuid-{}",
    "disk/by-id/google-{}",
    "disk/by-id/{}",
    "disk/by-uuid/{}",
    "disk/by-label/{}",
    "disk/by-partlabel/{}",
    "disk/by-partuuid/{}",
    "disk/by-path/ip-{}:3260-iscsi-{}-lun-1-part2",
    "disk/by-path/pci-0000:01:00.0-fc-{}-lun-1",
    "disk/by-path/pci-0000:01:00.0-sas-{}-lun-0",
    "disk/by-path/ccw-0.0.3c1b-zfcp-{}:0x4010403300000000",
    "mapper/{}",
    "mapper/luks-{}",
    "vg{}/lv{}",
    "md/{}",
    "zvol/{}/vol-{}",
    "rbd/{}/{}",
    "{}",
    "by-owner/{}",
    "serial/by-id/usb-Vendor_{}-if00",
)


def plant(root: Path, kind: str) -> list[str]:
    """Build a host with values of a kind in every place, and return the values."""
    values: list[str] = []

    def new() -> str:
        values.append(KINDS[kind](len(values) + 1))
        return values[-1]

    tree = Tree(root)
    for plants in _PLACES:
        plants(tree, new)
    return values


def _firmware(tree: Tree, new: Value) -> None:
    tree.dmi(product_name="Box", sys_vendor="ACME", product_serial=new())
    tree.attributes("/sys/devices/virtual/dmi/id", {"product_uuid": new()})
    tree.attributes("/sys/devices/virtual/dmi/id", {name: new() for name in UNREAD})
    tree.attributes("/sys/devices/virtual/dmi/id", {"modalias": f"dmi:{new()}"})


def _pci(tree: Tree, new: Value) -> None:
    data = vital_product_data(
        "Fast adapter",
        {"PN": "PN-1", "SN": new()[:40], "V0": new()[:40], "XX": new()[:40]},
    )
    fields = field("YA", new().encode()) + field("Y1", new().encode())
    fields += field("RW", new().encode()) + new().encode().ljust(40, b"\0")
    data = data[:-1] + resource(READ_WRITE, fields) + resource(0x84, new().encode())
    data += bytes([END]) + new().encode()
    card = tree.pci(
        "0000:00:02.0", vendor=0x8086, device=1, class_=0x030000, driver="i915", iommu_group=1
    )
    path = tree.at(f"{card}/config")
    config = bytearray(Path(path).read_bytes())
    config[0x60:0x80] = new().encode()[:32].ljust(32, b"\0")
    config[0xC0:0xC6] = bytes.fromhex("3cdeadbeef01")
    tree.attributes(card, {"vpd": data, "config": bytes(config)})
    tree.mdev_type(card, "i915-GVTg_V5_4", description="of this driver")
    tree.mdev_parent(card)
    tree.attributes(card, {name: new() for name in UNREAD})
    tree.file(f"{card}/uevent", Path(tree.at(f"{card}/uevent")).read_text() + f"OF_NAME={new()}\n")


def _mdevs(tree: Tree, new: Value) -> None:
    for number, start in enumerate(("auto", "manual")):
        uuid = f"27b42a51-9f6b-4c0b-8f5f-4f3a1d0e8c0{number}"
        tree.mdev("0000:00:02.0", uuid, "i915-GVTg_V5_4", attributes={"nvidia/vm_name": new()})
        values = [("peer", new()), ("nvidia/vgpu_params", f"name={new()}")]
        tree.definition("0000:00:02.0", uuid, "i915-GVTg_V5_4", start=start, attributes=values)
    other = {"mdev_type": "i915-GVTg_V5_4", "start": "manual", "attrs": [], "owner": new()}
    uuid = "27b42a51-9f6b-4c0b-8f5f-4f3a1d0e8c03"
    tree.file(f"/etc/mdevctl.d/0000:00:02.0/{uuid}", json.dumps(other))
    uuid = "27b42a51-9f6b-4c0b-8f5f-4f3a1d0e8c04"
    tree.file(f"/etc/mdevctl.d/0000:00:02.0/{uuid}", '{"mdev_type": "' + new())
    tree.file(f"/etc/mdevctl.d/0000:00:02.0/notes-{_name(new())}", new())
    uuid = "27b42a51-9f6b-4c0b-8f5f-4f3a1d0e8c05"  # a name of its own, however paths are sorted
    tree.file(f"/etc/mdevctl.d/{_name(new())}/{uuid}", json.dumps(other))
    for directory in ("/etc/mdevctl.d/scripts.d", "/usr/lib/mdevctl/scripts.d"):
        tree.file(f"{directory}/callouts/{_name(new())}.sh", new())
        tree.file(f"{directory}/{_name(new())}", new())
        tree.directory(f"{directory}/notifiers")


def _usb(tree: Tree, new: Value) -> None:
    attributes: dict[str, str | bytes | int] = {
        "busnum": 1,
        "devnum": 5,
        "idVendor": "0781",
        "idProduct": "5581",
        **{name: new() for name in ("manufacturer", "product", "serial", *UNREAD)},
    }
    tree.device(
        "/sys/devices/pci0000:00/usb1/1-4",
        bus="usb",
        uevent={"DEVTYPE": "usb_device", "MAJOR": 189, "MINOR": 4, "HID_UNIQ": new()},
        attributes=attributes,
    )


def _disks(tree: Tree, new: Value) -> None:
    behind = tree.device(
        "/sys/devices/virtual/scsi",
        attributes={"vendor": "Vendor", "model": "Model", "serial": new(), "uid": new()},
    )
    tree.attributes(behind, {name: new() for name in UNREAD})
    for number, link in enumerate(LINKS):
        disk = tree.block(f"sd{chr(97 + number % 26)}{number // 26 or ''}", number=(8, number))
        name = link.replace("{hex}", new().encode().hex())
        while "{}" in name:
            name = name.replace("{}", _name(new()), 1)
        tree.udev(disk, {"ID_BUS": "scsi"}, [name])
    for number, name in enumerate(PROPERTIES):
        disk = tree.block(f"vd{chr(97 + number % 26)}{number // 26 or ''}", number=(9, number))
        tree.attributes(disk, {"serial": new()})
        tree.kernel_link(f"{disk}/device", behind)
        path = tree.udev(disk, {name: new()})
        lines = f"G:{new()}\nQ:{new()}\nV:1\nN:{new()}\nJ {new()}\n"
        tree.file(path, Path(tree.at(path)).read_text() + lines)
        uevent = f"{disk}/uevent"
        tree.file(uevent, f"{Path(tree.at(uevent)).read_text()}PARTNAME={new()}\nUNIQ={new()}\n")
    cd = tree.block("sr0", number=(11, 0), device=behind, attributes={"removable": 1})
    tree.udev(cd, {"ID_CDROM": 1, "ID_CDROM_MEDIA": 1, "ID_FS_LABEL": new()})
    for number in range(3):
        volume = tree.block(
            f"dm-{number}",
            number=(253, number),
            attributes={
                "dm/name": new(),
                "dm/uuid": f"{('LVM', 'mpath', 'CRYPT-LUKS2')[number]}-{new()}",
            },
        )
        tree.udev(volume, {"DM_NAME": new()}, [f"mapper/{_name(new())}"])
    tree.block(f"md_{_name(new())}", number=(9, 300), attributes={"md/level": "raid1"})
    loop = tree.block("loop0", number=(7, 0))
    tree.attributes(loop, {"loop/backing_file": f"/home/{new()}/disk.img"})
    tree.directory(f"/sys/fs/btrfs/{_uuid(12345)}/devices")


def _interfaces(tree: Tree, new: Value) -> None:
    tree.net("lo", address="00:00:00:00:00:00")
    tree.net(
        "eth0", address=new(), attributes={name: new() for name in UNREAD if name != "address"}
    )
    names = [f"{prefix}{_name(new())}"[:15] for prefix in ("", "tap", "br-", "acme.")]
    names.append("enx" + _mac("3c")(4242).replace(":", ""))
    for name in names:
        path = tree.net(name)
        tree.kernel_link(f"{path}/upper_br0", tree.net("br0", devtype="bridge"))
    routes = "".join(
        f"{name}\t0A0B0C0D\t010200C0\t0003\t0\t0\t100\t00FFFFFF\t0\t0\t0\n" for name in names
    )
    tree.file("/proc/net/route", f"Iface\tDestination\tGateway\tFlags\n{routes}")
    tree.file(
        "/proc/net/if_inet6", "".join(f"fd12{'0' * 24}1234 02 40 00 80 {name}\n" for name in names)
    )
    hca = f"/sys/devices/virtual/infiniband/{_name(new())}"
    values = {"node_guid": new(), "sys_image_guid": new(), "node_type": "1: CA"}
    tree.device(hca, class_="infiniband", attributes={**values, **{name: new() for name in UNREAD}})
    tree.device(f"/sys/devices/virtual/vdpa_{'x'}/{_name(new())}", bus="vdpa")


def _files(tree: Tree, new: Value) -> None:
    mounts = "".join(
        f"{number} 1 8:{number} /{_name(new())} /srv/{_name(new())} rw,{_name(new())} - ext4"
        f" /dev/{source.format(_name(new()))} rw,{_name(new())}\n"
        for number, source in enumerate(("mapper/{}", "vg/{}", "disk/by-uuid/{}", "md/{}", "sda"))
    )
    mounts += (
        f"90 1 0:50 / /mnt/{_name(new())} rw - nfs {_name(new())}:/export rw,addr={_name(new())}\n"
    )
    tree.file("/proc/self/mountinfo", mounts)
    swaps = f"/dev/mapper/{_name(new())} partition 1 0 -2\n/home/{_name(new())}/swap file 1 0 -3\n"
    tree.file("/proc/swaps", f"Filename Type\n{swaps}")
    tree.file("/proc/sys/kernel/hostname", new())
    tree.file("/etc/hostname", new())
    tree.file("/proc/cmdline", new())
    rule = f'# of {new()}\nACTION=="add", ENV{{X}}="{new()}", '
    rule += 'RUN+="/usr/sbin/mdevctl start-parent-mdevs %k"\n'
    tree.file("/usr/lib/udev/rules.d/60-mdevctl.rules", rule)
    tree.file("/usr/sbin/mdevctl", new())
    tree.file("/run/host/container-manager", new())
    tree.file("/run/.containerenv", new())


_PLACES = (_firmware, _pci, _mdevs, _usb, _disks, _interfaces, _files)


def _name(text: str) -> str:
    """Return a value as a part of a path: udev escapes blanks, and no part has a slash."""
    return text.replace(" ", r"\x20").replace("/", "!")
