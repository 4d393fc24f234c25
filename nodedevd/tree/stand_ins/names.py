"""names: the names in sysfs, of which users and tools have chosen some.

The kernel names most devices by their position, and that name stays. Names of network interfaces,
RDMA devices, vDPA devices and arrays can be anything, such as a customer, a hardware address
(systemd.net-naming-scheme(7)) or a part of a uuid (the taps of OpenStack): one that is not made of
a position is replaced.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Mapping

from nodedevd.host.sysroot import joined
from nodedevd.tree.stand_ins.texts import Texts

_DRIVERS = (
    "eth wlan wwan usb ib bond br team dummy ifb tun tap veth vnet macvtap macvlan ipvlan ipvtap"
    " vlan vxlan gre gretap erspan tunl sit ip6tnl ip6gre ip_vti ip6_vti virbr docker lxcbr lxdbr"
    " podman cni can vcan vxcan slcan nlmon wg hsr geneve vrf bat rmnet mlan hwsim ppp gtp wpan"
).replace(" ", "|")
_OF_DRIVER = rf"lo|docker0|(?:{_DRIVERS})[0-9]{{1,5}}(?:-nic)?"
_OF_POSITION = (
    r"(?:en|eth|ib|sl|wl|ww|roce|iw|opa)(?:P[0-9]{1,5})?(?:p[0-9]{1,5})?"
    r"(?:[osaviX][0-9]{1,5}|c[0-9a-f]{1,4})?"
    r"(?:f[0-9]{1,3})?(?:n(?:p?[0-9]{1,5}|s[0-9]{1,5}|pf[0-9]{1,5}(?:vf[0-9]{1,5})?))?"
    r"(?:[rdvu][0-9]{1,5})*(?:c[0-9]{1,3})?(?:i[0-9]{1,3})?"
)
_INTERFACE = re.compile(rf"(?:{_OF_DRIVER}|{_OF_POSITION})(?:\.[0-9]{{1,4}})?")
_BY_NUMBER = re.compile(r"([a-z]{2,4}x)([0-9a-f]{12}|[0-9a-f]{16})((?:np?[0-9]+)?(?:\.[0-9]+)?)")
_RDMA = re.compile(
    r"(?:mlx4|mlx5|hfi1|qib|irdma|i40iw|bnxt_re|cxgb4|efa|erdma|mana|mthca|ocrdma|qedr|hns|siw|rxe"
    rf"|usnic|vmw_pvrdma)_?[0-9]{{1,4}}|{_OF_POSITION}"
)
_VDPA = re.compile("vdpa[0-9]{1,5}")
_ARRAY = re.compile(
    "(md_)(?!d[0-9]{1,4}(?:p[0-9]+)?$)(.+)"
)  # by the names of mdadm.conf(5), CREATE names=yes

_BLOCK = re.compile(
    r"(?:sd|vd|hd|xvd|ubd|rssd)[a-z]{1,4}[0-9]{0,3}|dasd[a-z]{1,4}[0-9]{0,2}|scm[a-z]{1,2}[0-9]*"
    r"|nvme[0-9]+(?:c[0-9]+)?n[0-9]+(?:p[0-9]+)?|(?:cciss|ida|rd)!c[0-9]+d[0-9]+(?:p[0-9]+)?"
    r"|etherd!e[0-9]+\.[0-9]+(?:p[0-9]+)?"
    r"|(?:bcache|dcssblk|dm-|drbd|fd|loop|md|md_d|mmcblk|mspblk|mtdblock|nbd|nullb|pmem|ram|rbd|scd"
    r"|sg|sr|nst|st|ublkb|xpram|zd|zram)[0-9]+(?:s|boot[01]|rpmb|gp[0-3])?(?:p[0-9]+)?"
)
"""Names by a driver and a number; null_blk and rnbd have names of their administrator."""

_CLASSES = {
    "/sys/class/net": "net",
    "/sys/class/infiniband": "infiniband",
    "/sys/bus/vdpa/devices": "vdpa",
    "/sys/class/block": "block",
    "/sys/block": "block",
}
_LISTS = {
    "net": "net",
    "brif": "net",
    "infiniband": "infiniband",
    "slaves": "block",
    "holders": "block",
}
"""Directories whose entries are names of one kind."""
_RELATED = re.compile("(upper_|lower_)(.+)", re.DOTALL)


class Names:
    """Replaces names in paths and links. `links` are those of the host, by their paths."""

    def __init__(self, texts: Texts, links: Mapping[str, str]) -> None:
        self._texts = texts
        self._kinds: dict[str, str] = {}
        """the kind of those devices whose name somebody may have chosen, by path"""
        self._done: dict[str, str] = {}
        self._blocks: set[str] = set()
        for path, text in links.items():
            directory, _, name = path.rpartition("/")
            kind = _CLASSES.get(directory)
            if kind is not None:
                self._kinds[path] = self._kinds[joined(path, text)] = kind
                if kind == "block":
                    self._blocks.add(name)

    def forget(self) -> None:
        """Forget the paths that were replaced: their values have stand-ins now."""
        self._done.clear()

    def path(self, path: str) -> str:
        """Return a path on the host with stand-ins."""
        if path not in self._done:
            directory, _, name = path.rpartition("/")
            above = self.path(directory) if directory else ""
            self._done[path] = f"{above}/{self._part(path, directory, name)}"
        return self._done[path]

    def link(self, path: str, text: str) -> str:
        """Return the text of a link with stand-ins; it leads to the stand-in of its target."""
        target = joined(path, text)
        if text.startswith("/"):
            return self.path(target)
        replaced = self.path(target)
        if replaced == target:
            return text
        return posixpath.relpath(replaced, posixpath.dirname(self.path(path)))

    def of(self, kind: str | None, name: str) -> str:
        """Return a name of a kind: net, infiniband, vdpa, block; others have only numbers."""
        if kind == "net":
            return self.interface(name)
        if kind == "infiniband" and _RDMA.fullmatch(name) is None:
            return self._by_number(name)
        if kind == "vdpa" and _VDPA.fullmatch(name) is None:
            return self._secret(name)
        if kind == "block" and _BLOCK.fullmatch(name) is None:
            array = _ARRAY.fullmatch(name)
            return self._secret(name) if array is None else array[1] + self._secret(array[2])
        return self._texts.plain(name)

    def node(self, name: str) -> str | None:
        """Return the node of a block device by the kernel's name; None for another node."""
        in_sysfs = name.replace("/", "!")
        if in_sysfs in self._blocks or _BLOCK.fullmatch(in_sysfs) is not None:
            return self.of("block", in_sysfs).replace("!", "/")
        return None

    def interface(self, name: str) -> str:
        """Return the name of a network interface."""
        return name if _INTERFACE.fullmatch(name) else self._by_number(name)

    def _by_number(self, name: str) -> str:
        match = _BY_NUMBER.fullmatch(name)
        if match is None:
            return self._secret(name)
        return match[1] + self._texts.number(match[2]) + match[3]

    def _part(self, path: str, directory: str, name: str) -> str:
        if not path.startswith("/sys/"):
            return self._texts.plain(name)
        related = _RELATED.fullmatch(name)
        if related is not None:
            return related[1] + self.interface(related[2])
        above = directory.rpartition("/")[2]
        if above == "devices" and directory.startswith("/sys/fs/btrfs/"):
            return self.of("block", name)
        return self.of(self._kinds.get(path) or _LISTS.get(above), name)

    def _secret(self, name: str) -> str:
        return self._texts.secret(name)
