"""nodes: the nodes and links below /dev, in udev's database, mounts and swap space.

Sources: systemd's rules.d/60-persistent-storage.rules and src/udev/udev-builtin-path_id.c, the
rules of lvm2, mdadm, multipath-tools and s390-tools. What is known of a link's form stays: the kind
of the device, its position, the number of a partition. All else is replaced.
"""

from __future__ import annotations

import re

from nodedevd.tree.stand_ins.names import Names
from nodedevd.tree.stand_ins.texts import Texts

_DIRECTORIES = frozenset(
    {
        *("disk", "mapper", "md", "dri", "input", "snd", "serial", "v4l", "accel", "infiniband"),
        *("zvol", "rbd", "char", "block", "bus", "usb", "vfio", "tpm", "cdrom", "dvd", "cdrw"),
        *("dvdrw", "rtc", "floppy", "by-id", "by-path", "by-uuid", "by-label", "by-partlabel"),
        *("by-partuuid", "by-diskseq", "by-dname", "by-loop-ref", "by-loop-inode"),
    }
)
_ENDING = re.compile(r"(?s)(.*?)((?:-[0-9]{1,3}:[0-9]{1,3})?(?:-part[0-9]{1,3})?)")
_ID = re.compile(
    r"(?s)(ata|bcache|ccw|dm-name|dm-uuid|edd|google|ieee1394|lvm-pv-uuid|md-name|md-uuid|memstick"
    r"|mmc|nvme|raid|scsi|usb|virtio|wwn)-(.*)"
)
_FORMATS = frozenset(
    {
        *("eui", "naa", "nvme", "uuid", "nqn", "iqn", "org", "nvmexpress", "t10"),
    }
)
DM_OWNERS = frozenset(
    {
        *("lvm", "mpath", "crypt", "luks1", "luks2", "plain", "tcrypt", "dmraid", "raid"),
        *("bitlk", "verity"),
    }
)
"""What opens the uuid of a device of the device mapper."""
_PART = re.compile("(?s)(part[0-9]+-)(.*)")
_POSITION_WORDS = frozenset(
    {
        *("pci", "platform", "acpi", "usb", "usbv1", "usbv2", "usbv3", "scsi", "ata", "sas"),
        *("fc", "ip", "iscsi", "lun", "nvme", "virtio", "ccw", "zfcp", "ap", "vmbus", "xen"),
        *("bcma", "cciss", "mmc", "ide", "serio", "spi", "i2c", "hid", "port", "card", "render"),
        *("accel", "event", "mouse", "kbd", "video", "index", "disk", "edid", "firewire"),
        *("devtree", "boot0", "boot1"),
    }
)
_POSITION = re.compile(
    r"[0-9a-f]{4,8}:[0-9a-f]{2}:[0-9a-f]{2}\.[0-7]|[0-9a-f]{1,2}\.[0-9a-f]\.[0-9a-f]{4}"
    r"|(?!(?:[0-9]+\.){3}[0-9]+$)[0-9]{1,3}(?:[:.][0-9]{1,3}){0,6}|0x[0-9a-f]{1,4}"
    r"|(?:part|phy|boot)?[0-9]{1,5}"
)
"""Addresses of PCI and channels, USB ports, SCSI addresses, partitions; no IP address."""
_ISCSI = re.compile(r"(?s)ip-(.*)(:[0-9]+)-iscsi-(.*)(-lun-[0-9a-fx]+.*)")


class Nodes:
    """Replaces names below /dev."""

    def __init__(self, texts: Texts, names: Names) -> None:
        self._texts = texts
        self._names = names

    def node(self, name: str) -> str:
        """Return a node or link below /dev with stand-ins, given without /dev/."""
        by_kernel = self._names.node(name)
        if by_kernel is not None:
            return by_kernel
        *directories, last = name.split("/")
        above = directories[-1] if directories else ""
        parts = [one if one in _DIRECTORIES else self._texts.secret(one) for one in directories]
        if above == "by-id":
            parts.append(self._by_id(last))
        elif above == "by-path":
            parts.append(self._by_path(last))
        elif (not directories and last in _DIRECTORIES) or above == "by-diskseq":
            parts.append(last)
        else:
            parts.append(self._texts.secret(last))
        return "/".join(parts)

    def dm_uuid(self, text: str) -> str:
        """Return the uuid of a device of the device mapper: its owner, then what it likes."""
        part = _PART.fullmatch(text)
        if part is not None:
            return part[1] + self.dm_uuid(part[2])
        owner, dash, rest = text.partition("-")
        if owner.lower() not in DM_OWNERS or not dash:
            return self._texts.secret(text)
        if owner.upper() == "CRYPT":
            version, dash_, name = rest.partition("-")
            if version.lower() in DM_OWNERS and dash_:
                return f"{owner}-{version}-{self._texts.secret(name)}"
        return f"{owner}-{self._texts.secret(rest)}"

    def _by_id(self, name: str) -> str:
        match = _ID.fullmatch(name)
        if match is None:
            return self._texts.secret(name)
        ending = _ENDING.fullmatch(match[2])
        assert ending is not None  # it matches everything
        value, end = ending.groups()
        if match[1] == "dm-uuid":
            return f"dm-uuid-{self.dm_uuid(value)}{end}"
        if match[1] in ("nvme", "scsi", "wwn"):
            return f"{match[1]}-{self._texts.composed(value, _FORMATS)}{end}"
        if match[1] in ("dm-name", "md-name", "google", "lvm-pv-uuid", "md-uuid"):
            return f"{match[1]}-{self._texts.secret(value)}{end}"
        return f"{match[1]}-{self._texts.composed(value)}{end}"

    def _by_path(self, name: str) -> str:
        iscsi = _ISCSI.fullmatch(name)
        if iscsi is not None:
            address, port, target, rest = iscsi.groups()
            address, target = self._texts.ip_address(address), self._texts.secret(target)
            return f"ip-{address}{port}-iscsi-{target}{self._position(rest)}"
        return self._position(name)

    def _position(self, text: str) -> str:
        parts = []
        for part, identifies in self._texts.parts(text):
            words = [part] if identifies else re.split("(-)", part)
            parts += [self._place(word) for word in words]
        return "".join(parts)

    def _place(self, word: str) -> str:
        is_position = word in _POSITION_WORDS or _POSITION.fullmatch(word) is not None
        return word if is_position else self._texts.secret(word)
