"""Sysroot: opens files, lists directories and follows links below one root directory.

A sysroot is a directory that holds `sys/`; `/` is this host's own. Every path given and
returned is the host's own (`/sys/devices/…`), never with the root in front. A link that is
absolute, or that climbs too far, is resolved inside the root, as chroot(2) would.
"""

from __future__ import annotations

import errno
import os
import posixpath
from collections.abc import Callable
from functools import cached_property
from threading import get_ident
from typing import Any, ClassVar, TypeAlias

from nodedevd.errors import NotASysroot
from nodedevd.host.devlink import is_switchdev
from nodedevd.host.ethtool import active_features
from nodedevd.host.pci_ids import PATHS as PCI_IDS_PATHS
from nodedevd.host.pci_ids import PciIds

_ATTRIBUTE_SIZE = 4096  # an attribute of sysfs has one page at most
_FILE_LIMIT = 16 << 20
_LINK_LIMIT = 40  # as path_resolution(7)
_OPEN_FLAGS = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NOCTTY

Progress: TypeAlias = Callable[[int, int], None]
"""Told how many of what there is to read are read, and of how many."""


class Sysroot:
    """The one door to the file system; recording and faulty hosts override its reads."""

    loop_thread: ClassVar[int | None] = None
    """The thread of the event loop: a read from there would stall every client."""

    def __init__(self, root: str = "/") -> None:
        self.root = os.path.abspath(root)
        self._prefix = "" if self.root == "/" else self.root
        self.alike: dict[object, Any] = {}
        """what was read for one of several that are the same, until `forget`"""
        self._real: dict[str, str] = {}
        self._plain: set[str] = set()

    def check(self) -> None:
        """Raise `NotASysroot` unless the root holds a directory `sys`."""
        if not os.path.isdir(f"{self._prefix}/sys"):
            raise NotASysroot(self.root)

    def forget(self) -> None:
        """Forget all that was kept, such as which directories are links: it may have changed."""
        self.alike.clear()
        self._real.clear()
        self._plain.clear()

    def keep(self, key: object, value: Any) -> None:
        """Keep what was read for one of several that are the same, in `alike`."""
        self.alike[key] = value

    # -- the three reads ---------------------------------------------------------------

    def listdir(self, path: str) -> list[str]:
        """List a directory, unsorted. Raises OSError."""
        return os.listdir(self._locate(path, follow=True))

    def read(self, path: str, size: int | None = None) -> bytes:
        """Read a file whole, or its first `size` bytes. Raises OSError."""
        try:
            descriptor = os.open(self._locate(path), _OPEN_FLAGS)
        except OSError as error:
            if error.errno != errno.ELOOP:
                raise
            descriptor = os.open(self._prefix + self.resolve(path), _OPEN_FLAGS)
        try:
            # sysfs gives no more than a page at a time, of a binary attribute neither.
            left = _FILE_LIMIT if size is None else size
            data = os.read(descriptor, min(left, _ATTRIBUTE_SIZE))
            left -= len(data)
            if left == 0 or len(data) < _ATTRIBUTE_SIZE:
                return data
            parts = [data]
            while left > 0 and (data := os.read(descriptor, min(left, 1 << 20))):
                parts.append(data)
                left -= len(data)
            return b"".join(parts)
        finally:
            os.close(descriptor)

    def read_link(self, path: str) -> str:
        """Return the text of a link. Raises OSError."""
        return os.readlink(self._locate(path))

    # -- what follows from them --------------------------------------------------------

    def names(self, path: str) -> list[str]:
        """List a directory whose names are what is asked for. Raises OSError."""
        return self.listdir(path)

    def saw(self, path: str) -> bool:
        """Say that a listing had this entry, and that it matters; True."""
        return True

    def followed(self, path: str, text: str) -> None:
        """Say that the way to something led through this link, of this text."""

    def exists(self, path: str) -> bool:
        """Tell whether something is there; a link counts by itself, whatever it points at."""
        try:
            return os.path.lexists(self._locate(path))
        except OSError:
            return False

    def target(self, path: str) -> str:
        """Return the path a link points at. Raises OSError, EINVAL if it is no link."""
        there = joined(path, self.read_link(path))
        # The kernel's own links lead to real directories; a recorded host's may do anything.
        return self.resolve(there) if self._prefix else there

    def target_name(self, path: str) -> str:
        """Return the last part of the path a link points at. Raises as `target`."""
        name = "" if self._prefix else self.read_link(path).rpartition("/")[2]
        return self.target(path).rpartition("/")[2] if name in ("", ".", "..") else name

    def resolve(self, path: str) -> str:
        """Follow every link in a path, inside the root. Raises OSError (ELOOP)."""
        todo = path.split("/")[::-1]
        done = ""
        links = 0
        while todo:
            part = todo.pop()
            if part in ("", "."):
                continue
            if part == "..":
                done = done.rpartition("/")[0]
                continue
            here = f"{done}/{part}"
            if here in self._plain:
                done = here
                continue
            try:
                text = os.readlink(self._prefix + here)
            except OSError as error:
                if error.errno not in (errno.EINVAL, errno.ENOENT, errno.ENOTDIR):
                    raise
                if error.errno == errno.EINVAL and todo:
                    self._plain.add(here)
                done = here
                continue
            self.followed(here, text)
            links += 1
            if links > _LINK_LIMIT:
                raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), path)
            if text.startswith("/"):
                done = ""
            todo.extend(text.split("/")[::-1])
        return done or "/"

    def ethtool_features(self, interface: str, index: int) -> frozenset[str] | None:
        """Return the kernel's names of an interface's active features.

        None if they cannot be told: they are in no file, so of the live host alone.
        """
        assert get_ident() != self.loop_thread, "blocking call on the event loop"
        if self._prefix:
            return None
        try:
            return active_features(interface, index)
        except OSError:
            return None

    def is_switchdev(self, bus: str, device: str) -> bool:
        """Tell whether a device of this kernel name is in switchdev mode.

        False if it has no such mode, and on a recorded host. Raises PermissionError.
        """
        assert get_ident() != self.loop_thread, "blocking call on the event loop"
        if self._prefix:
            return False
        try:
            return is_switchdev(bus, device)
        except PermissionError:
            raise
        except OSError:
            return False

    @cached_property
    def pci_ids(self) -> PciIds:
        """The host's own PCI ID database; one that knows nothing if it has none."""
        for path in PCI_IDS_PATHS:
            try:
                return PciIds(self.read(self.resolve(path)))
            except OSError:
                continue
        return PciIds(b"")

    def _locate(self, path: str, *, follow: bool = False) -> str:
        """Return where a path lies in the real file system, to be read there."""
        assert get_ident() != self.loop_thread, "blocking read on the event loop"
        if not self._prefix:
            return path
        if follow:
            return self._prefix + self.resolve(path)
        directory, _, name = path.rpartition("/")
        real = self._real.get(directory)
        if real is None:
            real = self._real[directory] = self.resolve(directory)
        return f"{self._prefix}{real}/{name}" if real != "/" else f"{self._prefix}/{name}"


def joined(path: str, text: str) -> str:
    """Return where the link at `path`, of this text, leads: a path without dots."""
    ups = text.count("../")
    if text.startswith("../" * ups) and _is_plain(rest := text[3 * ups :]):
        return f"{path.rsplit('/', ups + 1)[0]}/{rest}"  # as all of the kernel's own: the short way
    whole = posixpath.normpath(posixpath.join(posixpath.dirname(path), text))
    return whole[1:] if whole.startswith("//") else whole


def _is_plain(text: str) -> bool:
    """Tell whether every part of a path is a name, the way down from where it begins."""
    return (
        bool(text)
        and text[0] not in "./"
        and text[-1] != "/"
        and "/." not in text
        and "//" not in text
    )
