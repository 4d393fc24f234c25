"""record: copies what a scan and a doctor read from a host, into an archive or a directory.

Nothing decides separately what to copy: a `RecordingSysroot` is scanned like any other, and
keeps what was read through it. Values that identify the machine are replaced by stand-ins,
unless asked not to.
"""

from __future__ import annotations

import os
import posixpath
import stat
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, TypeAlias

import msgspec

from nodedevd import __version__
from nodedevd.errors import NotRecordable
from nodedevd.host.archive.disk import write_directory, write_file
from nodedevd.host.archive.place import opened
from nodedevd.host.archive.tree import ENDING, FILE_MODE, Archive, leads_out
from nodedevd.host.assignment import read_assignment_facts
from nodedevd.host.device_nodes import read_device_nodes
from nodedevd.host.facts import read_host
from nodedevd.host.faults import Fault
from nodedevd.host.job import Job
from nodedevd.host.pci_ids import PATHS as PCI_IDS_PATHS
from nodedevd.host.sysroot import Sysroot, joined
from nodedevd.kinds.pci import Pci
from nodedevd.model.snapshot import Snapshot
from nodedevd.tree.read import rescan
from nodedevd.tree.stand_ins import StandIns

_READABLE = 0o444
_OF_INTEREST = 0o113
"""execution, and writing by everybody"""


class Recorded(msgspec.Struct, frozen=True, gc=False):
    """What a recording holds."""

    devices: int = msgspec.field(name="device_count")
    """number of devices recorded"""
    files: int
    """number of files"""
    links: int
    """number of symbolic links"""
    replaced: int
    """values that would have identified the machine"""
    lost: tuple[str, ...]
    """attributes that the host refused to show: the copy has them as absent"""


class RecordingSysroot(Sysroot):
    """A sysroot that keeps what is read through it."""

    def __init__(self, root: str = "/") -> None:
        super().__init__(root)
        self.files: dict[str, bytes] = {}
        self.links: dict[str, str] = {}
        self.directories: set[str] = set()
        self.refused: set[str] = set()
        """files that were listed and could not be read; the copy leaves them out"""

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
        # /proc/self is another process's link when the recording is read.
        self.files[path if path.startswith("/proc/") else self.resolve(path)] = data
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
        """List, and keep the entries: links as they are, others as directories or empty files."""
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
            if stat.S_ISDIR(self._mode(path)):
                self.directories.add(self._place(path))
            else:
                self.files.setdefault(self._place(path), b"")
        return True

    def interfaces_with_address(self) -> None:
        """Leave out what no file can hold: a recording has the routes instead."""

    def permissions(self, path: str) -> int:
        """Return the permissions of a file, where not everybody may read it.

        Of mdevctl's files also whether they can be run, and whether everybody may change them.
        """
        mode = stat.S_IMODE(self._mode(path)) & 0o777
        if mode & _READABLE != _READABLE:
            return mode
        return FILE_MODE if path.startswith("/sys/") else FILE_MODE | mode & _OF_INTEREST

    def _mode(self, path: str) -> int:
        """Return type and permissions; those of a file for what is there no longer."""
        try:
            return self._lstat(self._locate(path)).st_mode
        except OSError:
            return stat.S_IFREG | FILE_MODE

    def _place(self, path: str) -> str:
        """Return where a file really lies: the way to it may have led through links."""
        directory, _, name = path.rpartition("/")
        return posixpath.join(self.resolve(directory), name)


Run: TypeAlias = Callable[[Callable[[Job], Any]], Any]
"""Runs a read, with a job to report on, and returns its result."""


def _run_now(read: Callable[[Job], Any]) -> Any:
    return read(Job())


def record(source: str, target: str, *, raw: bool = False, run: Run = _run_now) -> Recorded:
    """Record the host below `source`, which may be an archive, into a new file or directory.

    A target that ends in `.ttar`, and is not a directory, becomes an archive. With `raw`,
    identifying values are kept. `run` may call a read again, without what hangs.

    Raises NotASysroot, BadArchive, NoDirectory, AlreadyExists, NotEmpty, UnsafePath,
    NotRecordable, OSError, and what `run` raises.
    """
    with opened(target) as place:
        as_file = target.endswith(ENDING) and place.name is not None
        if as_file:
            place.check_new()
        else:
            place.check_empty()
        archive, done = _read(source, raw, run)
        if as_file:
            write_file(archive, place)
        else:
            write_directory(archive, place)
    return done


def _read(source: str, raw: bool, run: Run) -> tuple[Archive, Recorded]:
    """Return a host as an archive. Raises NotASysroot, BadArchive, NotRecordable, OSError."""
    sysroot = RecordingSysroot(source)
    snapshot = run(lambda job: rescan(sysroot, Snapshot(), job=job).snapshot)
    left_out = run(partial(_read_besides, sysroot))
    stand_ins = None if raw else StandIns()
    files = sorted(sysroot.files.keys() - sysroot.refused - {*PCI_IDS_PATHS})
    try:
        archive = _archive(sysroot, files, stand_ins, _pci_ids(snapshot))
    except ValueError as error:
        raise NotRecordable(sysroot.root, str(error)) from None
    return archive, Recorded(
        devices=len(snapshot),
        files=len(files),
        links=len(sysroot.links),
        replaced=0 if stand_ins is None else stand_ins.count,
        lost=tuple(dict.fromkeys([*_lost(snapshot), *sorted(left_out)])),
    )


def _read_besides(sysroot: Sysroot, job: Job) -> set[str]:
    """Read what is no device; return the paths that were left out because their read hangs."""
    sysroot = sysroot.during(job).reporting()
    read_host(sysroot)
    read_assignment_facts(sysroot)
    read_device_nodes(sysroot)
    return job.left_out


def _archive(
    sysroot: RecordingSysroot, files: Iterable[str], stand_ins: StandIns | None, pci_ids: str
) -> Archive:
    """Return what was read, the same in whatever order it was: stand-ins are numbered."""

    def name(text: str) -> str:
        return text if stand_ins is None else stand_ins.name(text)

    archive = Archive(_about(sysroot, raw=stand_ins is None))
    for path in sorted({"/sys", *sysroot.directories}):
        _add_directory(archive, name(path))
    for path in files:
        data = sysroot.files[path]
        if stand_ins is not None:
            data = stand_ins.content(path, data)
        _add_directory(archive, posixpath.dirname(name(path)))
        archive.add_file(name(path), data, sysroot.permissions(path))
    for path, text in sorted(sysroot.links.items()):
        _add_directory(archive, posixpath.dirname(name(path)))
        archive.add_link(name(path), _inside(name(path), name(text)))
    if pci_ids:
        _add_directory(archive, posixpath.dirname(PCI_IDS_PATHS[0]))
        archive.add_file(PCI_IDS_PATHS[0], pci_ids.encode())
    return archive


def _add_directory(archive: Archive, path: str) -> None:
    """Add a directory and those above it, where they are missing."""
    missing = []
    while not _has_directory(archive, path):
        missing.append(path)
        path = posixpath.dirname(path)
    for one in reversed(missing):
        archive.add_directory(one)


def _has_directory(archive: Archive, path: str) -> bool:
    try:
        archive.listdir(path)
    except OSError:
        return False
    return True


def _inside(path: str, text: str) -> str:
    """Return a link that leads where this one does, without leaving the host on the way."""
    if not leads_out(path, text):
        return text
    return posixpath.relpath(joined(path, text), posixpath.dirname(path))


def _about(sysroot: RecordingSysroot, *, raw: bool) -> str:
    """Return the head of an archive: no more of the machine than its kernel."""
    system = os.uname()
    kernel = f", {system.sysname} {system.release} on {system.machine}" if sysroot.live else ""
    values = "as they were: the file identifies the machine" if raw else "replaced by stand-ins"
    return (
        f"A host{kernel}, recorded by nodedevd {__version__}.\n"
        f"Its uuids, serial numbers and hardware addresses are {values}.\n"
    )


def _pci_ids(snapshot: Snapshot) -> str:
    """Return the lines of the host's PCI ID database that name its devices."""
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
    lines = []
    for ids, text in sorted(names.items()):
        depth = len(ids) - 1 if len(ids) < 3 else 2
        code = " ".join(one.removeprefix("0x") for one in ids[depth:])
        lines.append("\t" * depth + f"{code}  {text}\n")
    return "".join(lines)


def _lost(snapshot: Snapshot) -> Iterable[str]:
    groups: list[tuple[str, tuple[Fault, ...]]] = [("", snapshot.errors)]
    groups += [(device.path or device.name, device.errors) for device in snapshot]
    for path, faults in groups:
        for fault in faults:
            if fault.code in ("refused", "unreadable"):
                yield f"{path}/{fault.attribute}".rstrip("/") if path else fault.attribute
