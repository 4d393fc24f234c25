"""record: copies what a scan and a doctor read from a host into a sysroot of its own.

Nothing decides separately what to copy: a `RecordingSysroot` is scanned as any other, and
keeps what went through it. What identifies this very machine is replaced, unless asked not
to: uuids, MAC addresses, World Wide Names, the attributes a capability kind names as
identifying, and the serial numbers in udev's database, from which its links are named, too.
"""

from __future__ import annotations

import os
import posixpath
import re
from collections.abc import Callable, Iterable
from pathlib import Path

import msgspec

from nodedevd.errors import NodedevError
from nodedevd.host.facts import read_host
from nodedevd.host.faults import Fault
from nodedevd.host.pci_ids import PATHS as PCI_IDS_PATHS
from nodedevd.host.sysroot import Sysroot
from nodedevd.host.udev_db import DIRECTORY as UDEV_DATA
from nodedevd.kinds import KINDS
from nodedevd.kinds.pci import VPD, Pci
from nodedevd.kinds.pci.vpd import without_identity
from nodedevd.model.snapshot import Snapshot
from nodedevd.tree.read import scan

_UUID = re.compile(rb"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)
_MAC = re.compile(rb"(?<![0-9a-f:])(?:[0-9a-f]{2}:){5,19}[0-9a-f]{2}(?![0-9a-f:])", re.IGNORECASE)
# ID_SERIAL, ID_SERIAL_SHORT, ID_WWN, ID_FS_UUID, ID_NET_NAME_MAC and their like.
_PROPERTY = re.compile(rb"^E:\w*(?:SERIAL|WWN|UUID|MAC)\w*=(.+)$", re.MULTILINE)
_WWN = re.compile(rb"0x[0-9a-f]{16}(?![0-9a-f])")
_NO_WWN = b"0xffffffffffffffff"  # a port's fabric, while it is in none
_SHORT = 4  # so little may stand elsewhere by chance
_IDENTIFYING = frozenset(name for kind in KINDS for name in kind.identifying)


class NotEmpty(NodedevError):
    """The directory to record into has something in it."""

    code = "not-empty"

    def __init__(self, path: str) -> None:
        super().__init__(path)
        self.path = path

    def __str__(self) -> str:
        return f"{self.path} is not an empty directory; record into a new one"


class Recorded(msgspec.Struct, frozen=True, gc=False):
    """What became of a recording."""

    devices: int
    files: int
    links: int
    replaced: int
    """values that would have identified the machine"""
    lost: tuple[str, ...]
    """attributes the host refused to give: a copy shows them as absent"""


class RecordingSysroot(Sysroot):
    """A sysroot that keeps what is read through it."""

    def __init__(self, root: str = "/") -> None:
        super().__init__(root)
        self.files: dict[str, bytes] = {}
        self.links: dict[str, str] = {}
        self.directories: set[str] = set()
        self.refused: set[str] = set()
        """files that were listed, and could not be read: empty ones would say something"""

    def keep(self, key: object, value: object) -> None:
        """Keep nothing: a recording needs every read."""

    def read(self, path: str, size: int | None = None) -> bytes:
        """Read, and keep the content; a directory in a file's place is kept as it is."""
        try:
            data = super().read(path, size)
        except IsADirectoryError:
            self.saw(path)
            raise
        except OSError:
            self.refused.add(self._place(path))
            raise
        self.files[self.resolve(path)] = data
        return data

    def read_link(self, path: str) -> str:
        """Read, and keep the link."""
        text = super().read_link(path)
        self.links[self._place(path)] = text
        return text

    def followed(self, path: str, text: str) -> None:
        """Keep the link; what lies outside /sys is not copied."""
        if path.startswith("/sys/"):
            self.links[path] = text

    def names(self, path: str) -> list[str]:
        """List, and keep the entries: a link as it is, all else as it turns out to be."""
        names = super().names(path)
        self.directories.add(self.resolve(path))
        for name in names:
            self.saw(f"{path}/{name}")
        return names

    def exists(self, path: str) -> bool:
        """Look, and keep what is there."""
        return super().exists(path) and self.saw(path)

    def saw(self, path: str) -> bool:
        """Keep that something is there."""
        try:
            self.read_link(path)
        except OSError:
            if os.path.isdir(self._locate(path)):
                self.directories.add(self._place(path))
            else:
                self.files.setdefault(self._place(path), b"")
        return True

    def _place(self, path: str) -> str:
        """Return where a file really lies: the way to it may have led through links."""
        directory, _, name = path.rpartition("/")
        return posixpath.join(self.resolve(directory), name)


def record(source: str, target: str, *, raw: bool = False) -> Recorded:
    """Record the host below `source` into the directory `target`.

    With `raw`, identifying values are kept. Raises NotASysroot, NotEmpty, OSError.
    """
    into = Path(target)
    if into.exists() and (not into.is_dir() or any(into.iterdir())):
        raise NotEmpty(target)
    sysroot = RecordingSysroot(source)
    snapshot = scan(sysroot)
    read_host(sysroot)
    keep = sorted(sysroot.files.keys() - sysroot.refused - {*PCI_IDS_PATHS})
    replace = _Replacer() if not raw else None

    def place(path: str) -> Path:
        return into / _text(path, replace).lstrip("/")

    for path in sorted(sysroot.directories):
        place(path).mkdir(parents=True, exist_ok=True)
    for path in keep:
        where = place(path)
        where.parent.mkdir(parents=True, exist_ok=True)
        data = sysroot.files[path]
        where.write_bytes(data if replace is None else replace.content(path, data))
    (into / "sys").mkdir(parents=True, exist_ok=True)
    _write_pci_ids(snapshot, into)
    # Last: nothing is ever written through a link that the host has made.
    for path, text in sysroot.links.items():
        where = place(path)
        where.parent.mkdir(parents=True, exist_ok=True)
        where.symlink_to(_text(text, replace))
    return Recorded(
        devices=len(snapshot),
        files=len(keep),
        links=len(sysroot.links),
        replaced=0 if replace is None else replace.count,
        lost=tuple(_lost(snapshot)),
    )


class _Replacer:
    """Gives each identifying value a stand-in, the same one wherever it occurs."""

    def __init__(self) -> None:
        self._stand_ins: dict[bytes, bytes] = {}

    @property
    def count(self) -> int:
        return len(self._stand_ins)

    def text(self, data: bytes) -> bytes:
        data = _UUID.sub(self._by(lambda number: b"00000000-0000-4000-8000-%012x" % number), data)
        return _MAC.sub(self._by(lambda number: b"02:00:00:%02x:%02x:%02x" % _bytes(number)), data)

    def content(self, path: str, data: bytes) -> bytes:
        replaced = self.text(data)
        if path.startswith(f"{UDEV_DATA}/"):
            return self._udev_data(self._wwns(replaced))
        name = posixpath.basename(path)
        if name == VPD:
            return without_identity(data)
        if name in _IDENTIFYING and replaced == data:
            return self._attribute(data)
        return replaced

    def _attribute(self, data: bytes) -> bytes:
        """Replace the whole value, as udev has it: without the blanks around it."""
        if _WWN.search(data):
            return self._wwns(data)
        value = data.strip()
        if not value:
            return data
        return data.replace(value, self._stand_in(value, lambda number: b"recorded-%d" % number))

    def _wwns(self, data: bytes) -> bytes:
        stand_in = self._by(lambda number: b"0x%016x" % (0x5 << 60 | number))
        return _WWN.sub(lambda match: _NO_WWN if match[0] == _NO_WWN else stand_in(match), data)

    def _udev_data(self, data: bytes) -> bytes:
        """Replace values of properties; in links, which are made of them, as well."""
        values = set(_PROPERTY.findall(data)) - set(self._stand_ins.values())
        for value in sorted(values, key=lambda value: (-len(value), value)):
            stand_in = self._stand_in(value, lambda number: b"recorded-%d" % number)
            if len(value) <= _SHORT:
                data = re.sub(b"(?m)=" + re.escape(value) + b"$", b"=" + stand_in, data)
            else:
                data = data.replace(value, stand_in)
        return data

    def _by(self, make: Callable[[int], bytes]) -> Callable[[re.Match[bytes]], bytes]:
        return lambda match: self._stand_in(match[0].lower(), make)

    def _stand_in(self, value: bytes, make: Callable[[int], bytes]) -> bytes:
        if value not in self._stand_ins:
            self._stand_ins[value] = make(len(self._stand_ins) + 1)
        return self._stand_ins[value]


def _bytes(number: int) -> tuple[int, int, int]:
    return number >> 16 & 0xFF, number >> 8 & 0xFF, number & 0xFF


def _text(text: str, replace: _Replacer | None) -> str:
    return text if replace is None else os.fsdecode(replace.text(os.fsencode(text)))


def _write_pci_ids(snapshot: Snapshot, into: Path) -> None:
    """Write the lines of the host's PCI ID database that its devices have use for."""
    names: dict[tuple[str, ...], str] = {}
    for device in snapshot:
        pci = device.capability(Pci)
        if pci is None:
            continue
        for one in (pci.vendor, pci.subsystem_vendor):
            if one is not None and one.name is not None:
                names[(one.id,)] = one.name
        if pci.vendor is None or pci.product is None or pci.product.name is None:
            continue
        chip = (pci.vendor.id, pci.product.id)
        names[chip] = pci.product.name
        board = (pci.subsystem_vendor, pci.subsystem_product)
        if board[0] is not None and board[1] is not None and board[1].name is not None:
            names[(*chip, board[0].id, board[1].id)] = board[1].name
    if not names:
        return
    where = into / PCI_IDS_PATHS[0].lstrip("/")
    where.parent.mkdir(parents=True, exist_ok=True)
    with where.open("w", encoding="utf-8") as file:
        for ids, name in sorted(names.items()):
            depth = len(ids) - 1 if len(ids) < 3 else 2
            code = " ".join(one.removeprefix("0x") for one in ids[depth:])
            file.write("\t" * depth + f"{code}  {name}\n")


def _lost(snapshot: Snapshot) -> Iterable[str]:
    groups: list[tuple[str, tuple[Fault, ...]]] = [("", snapshot.errors)]
    groups += [(device.path or device.name, device.errors) for device in snapshot]
    for path, faults in groups:
        for fault in faults:
            if fault.code in ("refused", "unreadable"):
                yield f"{path}/{fault.attribute}"
