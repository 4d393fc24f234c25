"""Sysroot: opens files, lists directories and follows links below one root.

A sysroot is a directory that holds `sys/`, or an archive of one (`host/archive`); `/` is this
host's own. Every path given and returned is the host's own (`/sys/devices/…`), never with the
root in front. A link that is absolute, or climbs too far, is resolved inside the root, as
chroot(2) would; and the root is not left when its owner changes it during a read, see `rooted`.
"""

from __future__ import annotations

import copy
import errno
import os
import posixpath
import stat
from collections.abc import Callable
from functools import partial
from threading import get_ident
from typing import Any, ClassVar, Self, TypeAlias

from nodedevd.errors import NoDevices, NotASysroot
from nodedevd.host.addresses import interfaces_with_address
from nodedevd.host.devlink import is_switchdev
from nodedevd.host.ethtool import active_features
from nodedevd.host.faults import GONE
from nodedevd.host.job import Job, Unanswered
from nodedevd.host.pci_ids import PATHS as PCI_IDS_PATHS
from nodedevd.host.pci_ids import PciIds
from nodedevd.host.rooted import Rooted

_ATTRIBUTE_SIZE = 4096  # an attribute of sysfs has one page at most
_FILE_LIMIT = 16 << 20
_LINK_LIMIT = 40  # as path_resolution(7)
_NO_FEATURES = GONE | {errno.EOPNOTSUPP, errno.EPERM}
_NO_SWITCH = GONE | {errno.EOPNOTSUPP, errno.EPROTONOSUPPORT, errno.EAFNOSUPPORT}
_OPEN_FLAGS = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NOCTTY

Progress: TypeAlias = Callable[[int, int], None]
"""Progress callback: (done, total)."""


class LinksInCircle(OSError):
    """The links in a path lead to no end: a certain answer, and never the live kernel's."""

    def __init__(self, path: str) -> None:
        super().__init__(errno.ELOOP, os.strerror(errno.ELOOP), path)


class Sysroot:
    """The only access to the host's files; recording and faulty hosts override its reads.

    Raises BadArchive, OSError if the root is a file that cannot be read as an archive.
    """

    loop_thread: ClassVar[int | None] = None
    """The thread of the event loop: a read from there would stall every client."""

    def __init__(self, root: str = "/") -> None:
        self.root = os.path.abspath(root)
        self.live = self.root == "/"
        """whether it is the host that this process runs on"""
        self.job = Job()
        """where reads are reported"""
        self.alike: dict[object, Any] = {}
        """what was read for one of several that are the same, until `forget`"""
        self.remembered: dict[object, Any] = {}
        """what stays true and cannot always be read, such as the name of a type"""
        self._real: dict[str, str] = {}
        self._plain: set[str] = set()
        # The file system, in four calls: of the kernel, of a directory, or of an archive.
        self._listdir: Callable[[str], list[str]] = os.listdir
        self._readlink: Callable[[str], str] = os.readlink
        self._lstat: Callable[[str], os.stat_result] = os.lstat
        self._read: Callable[[str, int | None], bytes] = _read_file
        self._rooted: Rooted | None = None
        if self.live:
            return
        if os.path.isfile(self.root):
            from nodedevd.host.archive.text import read_archive  # few hosts are in one

            archive = read_archive(self.root)
            self._listdir, self._readlink = archive.listdir, archive.readlink
            self._lstat, self._read = archive.lstat, archive.read
        else:
            rooted = self._rooted = Rooted(self.root)
            self._listdir, self._readlink = rooted.listdir, rooted.readlink
            self._lstat, self._read = rooted.lstat, partial(_read_rooted, rooted)

    def during(self, job: Job) -> Self:
        """Return the same host for one job, with caches of its own."""
        other = copy.copy(self)
        other.job = job
        other.alike, other._real, other._plain = {}, {}, set()
        if self._rooted is not None:
            self._rooted.forget()
        return other

    def reporting(self) -> Self:
        """Return the same host, each of whose calls is reported to the job.

        It is for all that is read besides devices, and shares the caches.
        """
        other = copy.copy(self)
        reported = self.job.reported
        other._listdir, other._readlink = reported(self._listdir), reported(self._readlink)
        other._lstat, other._read = reported(self._lstat), reported(self._read)
        return other

    def check(self) -> None:
        """Raise `NotASysroot` unless the root holds a directory `sys`, with something in `devices`.

        It is `NoDevices` if only that is missing: a kernel always has devices, so the directory is
        a mount point without its file system. Raises OSError if that cannot be told.
        """
        try:
            if not stat.S_ISDIR(self._lstat(self.resolve("/sys")).st_mode):
                raise NotASysroot(self.root)
        except OSError as error:
            if not is_absence(error):
                raise
            raise NotASysroot(self.root) from None
        try:
            if self._listdir(self.resolve("/sys/devices")):
                return
        except OSError as error:
            if not is_absence(error):
                raise
        raise NoDevices(self.root)

    def forget(self) -> None:
        """Drop everything cached, such as which directories are links: it may be stale."""
        self.alike.clear()
        self._real.clear()
        self._plain.clear()
        if self._rooted is not None:
            self._rooted.forget()

    def keep(self, key: object, value: Any) -> None:
        """Keep what was read for one of several that are the same, in `alike`."""
        self.alike[key] = value

    # -- the three reads ---------------------------------------------------------------

    def listdir(self, path: str) -> list[str]:
        """List a directory, unsorted. Raises OSError."""
        return self._listdir(self._locate(path, follow=True))

    def read(self, path: str, size: int | None = None) -> bytes:
        """Read a file whole, or its first `size` bytes. Raises OSError."""
        try:
            return self._read(self._locate(path), size)
        except OSError as error:
            if error.errno != errno.ELOOP:
                raise
        return self._read(self.resolve(path), size)

    def read_link(self, path: str) -> str:
        """Return the text of a link. Raises OSError."""
        return self._readlink(self._locate(path))

    def open_directory(self, path: str) -> int:
        """Open a directory with O_PATH: a name for it that stays right. Raises OSError.

        The kernel has it in memory, or it is on the disk of the system. Not for an archive.
        """
        if self.live:
            return os.open(path, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        assert self._rooted is not None, "an archive has no descriptors"
        return self._rooted.open_directory(self.resolve(path))

    # -- what builds on them -----------------------------------------------------------

    def names(self, path: str) -> list[str]:
        """List a directory for its names, which a recording has to keep. Raises OSError."""
        return self.listdir(path)

    def saw(self, path: str) -> bool:
        """Hook for a recording: a listing had this entry, and it matters. Returns True."""
        return True

    def followed(self, path: str, text: str) -> None:
        """Hook for a recording: a path led through this link, of this text."""

    def exists(self, path: str) -> bool:
        """Return whether a path exists; a link does, whatever it points at.

        Raises OSError if that cannot be told.
        """
        return self._status(path) is not None

    def is_directory(self, path: str) -> bool:
        """Return whether a path is a directory, and no link to one. Raises as `exists`."""
        status = self._status(path)
        return status is not None and stat.S_ISDIR(status.st_mode)

    def target(self, path: str) -> str:
        """Return the path a link points at. Raises OSError, EINVAL if it is no link."""
        there = joined(path, self.read_link(path))
        # The kernel's own links lead to real directories; those of a copy may lead anywhere.
        return there if self.live else self.resolve(there)

    def target_name(self, path: str) -> str:
        """Return the last part of the path a link points at. Raises as `target`."""
        name = self.read_link(path).rpartition("/")[2] if self.live else ""
        return self.target(path).rpartition("/")[2] if name in ("", ".", "..") else name

    def resolve(self, path: str) -> str:
        """Follow every link in a path, inside the root. Raises OSError (LinksInCircle)."""
        todo = path.split("/")[::-1]
        done = missing = ""
        links = 0
        while todo:
            part = todo.pop()
            if part in ("", "."):
                continue
            if part == "..":
                done = done.rpartition("/")[0]
                continue
            here = f"{done}/{part}"
            if here in self._plain or (missing and here.startswith(missing)):
                done = here
                continue
            try:
                text = self._readlink(here)
            except OSError as error:
                if error.errno not in (errno.EINVAL, errno.ENOENT, errno.ENOTDIR):
                    raise
                if error.errno == errno.EINVAL:
                    self._plain.add(here)
                else:
                    missing = f"{here}/"  # nor is there anything below
                done = here
                continue
            self.followed(here, text)
            links += 1
            if links > _LINK_LIMIT:
                raise LinksInCircle(path)
            if text.startswith("/"):
                done = ""
            todo.extend(text.split("/")[::-1])
        return done or "/"

    def status(self, path: str) -> os.stat_result:
        """Return the status of a file, or of a link itself; no directory in its path is a link.

        Raises OSError.
        """
        assert get_ident() != self.loop_thread, "blocking read on the event loop"
        return self._lstat(path)

    def mode(self, path: str) -> int | None:
        """Return the permissions of what a path leads to; None if that is absent.

        Raises as `exists`.
        """
        status = self._status(path, follow=True)
        return None if status is None else stat.S_IMODE(status.st_mode)

    def ethtool_features(self, interface: str, index: int) -> frozenset[str] | None:
        """Return the kernel's names of an interface's active features.

        None if the interface has none: they are in no file, so only the live host has them.
        Raises OSError.
        """
        assert get_ident() != self.loop_thread, "blocking call on the event loop"
        if not self.live:
            return None
        try:
            return active_features(interface, index)
        except OSError as error:
            if error.errno in _NO_FEATURES:
                return None
            raise

    def interfaces_with_address(self) -> frozenset[str] | None:
        """Return the interfaces with an address beyond the link; None for a recorded host.

        Raises OSError.
        """
        assert get_ident() != self.loop_thread, "blocking call on the event loop"
        return interfaces_with_address() if self.live else None

    def is_switchdev(self, bus: str, device: str) -> bool:
        """Return whether a device of this kernel name is in switchdev mode.

        False if it has no such mode, and for a recorded host. Raises OSError.
        """
        assert get_ident() != self.loop_thread, "blocking call on the event loop"
        if not self.live:
            return False
        try:
            return is_switchdev(bus, device)
        except OSError as error:
            if error.errno in _NO_SWITCH:
                return False
            raise

    @property
    def pci_ids(self) -> PciIds:
        """The host's own PCI ID database; an empty one if it has none, or its read hangs.

        Raises OSError.
        """
        known: PciIds | None = self.remembered.get(PciIds)
        if known is None:
            try:
                known = self.remembered[PciIds] = self._read_pci_ids()
            except Unanswered:
                return PciIds(b"")
        return known

    def _read_pci_ids(self) -> PciIds:
        for path in PCI_IDS_PATHS:
            with self.job.besides(path):
                try:
                    return PciIds(self.read(self.resolve(path)))
                except OSError as error:
                    if not is_absence(error):
                        raise
        return PciIds(b"")

    def _status(self, path: str, *, follow: bool = False) -> os.stat_result | None:
        """Return the status of a path, None if it is absent. Raises OSError."""
        try:
            return self._lstat(self.resolve(path) if follow else self._locate(path))
        except ValueError:  # a NUL, which no path has
            return None
        except OSError as error:
            if is_absence(error):
                return None
            raise

    def _locate(self, path: str, *, follow: bool = False) -> str:
        """Return the path without links that the last part of a path has, or all of it."""
        assert get_ident() != self.loop_thread, "blocking read on the event loop"
        if self.live:
            return path
        if follow:
            return self.resolve(path)
        directory, _, name = path.rpartition("/")
        real = self._real.get(directory)
        if real is None:
            real = self._real[directory] = self.resolve(directory)
        return f"{real}/{name}" if real != "/" else f"/{name}"


def is_absence(error: OSError) -> bool:
    """Return whether a read that failed says that something is not there, or leads nowhere."""
    return error.errno in GONE or isinstance(error, LinksInCircle)


def _read_file(path: str, size: int | None) -> bytes:
    """Read a file that is not a link: whole, or its first `size` bytes."""
    return _read_and_close(os.open(path, _OPEN_FLAGS), path, size)


def _read_rooted(rooted: Rooted, path: str, size: int | None) -> bytes:
    return _read_and_close(rooted.open_file(path), path, size)


def _read_and_close(descriptor: int, path: str, size: int | None) -> bytes:
    try:
        # sysfs gives no more than a page at a time, of a binary attribute neither. procfs may give
        # less before the end.
        data = os.read(descriptor, _ATTRIBUTE_SIZE if size is None else min(size, _ATTRIBUTE_SIZE))
        ended = len(data) < _ATTRIBUTE_SIZE and not path.startswith("/proc/")
        if ended or len(data) == size:
            return data
        parts = [data]
        left = (_FILE_LIMIT if size is None else size) - len(data)
        while left > 0 and (data := os.read(descriptor, min(left, 1 << 20))):
            parts.append(data)
            left -= len(data)
        return b"".join(parts)
    finally:
        os.close(descriptor)


def joined(path: str, text: str) -> str:
    """Return the path, without dots, that a link at `path` with this text points at."""
    ups = text.count("../")
    if text.startswith("../" * ups) and _is_plain(rest := text[3 * ups :]):
        return f"{path.rsplit('/', ups + 1)[0]}/{rest}"  # as the kernel writes them
    whole = posixpath.normpath(posixpath.join(posixpath.dirname(path), text))
    return whole[1:] if whole.startswith("//") else whole


def _is_plain(text: str) -> bool:
    """Return whether every part of a path is a name, so that it only goes down."""
    return (
        bool(text)
        and text[0] not in "./"
        and text[-1] != "/"
        and "/." not in text
        and "//" not in text
    )
