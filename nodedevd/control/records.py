"""records: whose the devices are that were made here, one file each, for as long as they live.

A record is written and forgotten only while the card of its device is locked, so it is never
compared with a tree that is older than the device.

The UUID of an mdev and the path of a function are used again, also while nobody looks. The kernel
gives each directory in sysfs an inode of its own, so that of the device is kept along.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Collection, Iterator
from contextlib import suppress
from typing import Final

import msgspec

from nodedevd.actions.functions import settings_of
from nodedevd.actions.ownership import Record
from nodedevd.control.directory import Directory
from nodedevd.host.mdev_paths import MDEV_DEVICES
from nodedevd.kinds.mdev_child import MdevChild
from nodedevd.kinds.vgpu import CURRENT, Vgpu
from nodedevd.model.device import Device
from nodedevd.model.snapshot import Snapshot
from nodedevd.undecodable import UNDECODABLE


class Kept(msgspec.Struct, frozen=True):
    """A record in its file."""

    card: str
    """name of the device's card, which may be gone"""
    record: Record
    inode: int | None = None
    """of the device's directory in sysfs when the record was written"""


# Prepared here, since msgspec crashes if two threads prepare a type at once.
_DECODER: Final = msgspec.json.Decoder(Kept)


class Records:
    """The records."""

    def __init__(self, directory: Directory, root: str = "/") -> None:
        """Take the directory that they are in, and the sysroot."""
        self._directory = directory
        self._root = root.rstrip("/")

    def all(self) -> dict[str, Record]:
        """Return all records by subject, also those of devices that are gone. Raises OSError.

        Without those of devices whose UUID or path is another device's now.
        """
        return {kept.record.subject: kept.record for _, kept in self._kept() if self._is_same(kept)}

    def of(self, subject: str) -> Record | None:
        """Return one record as `all` does. Raises OSError."""
        kept = self._read(_name(subject))
        return None if kept is None or not self._is_same(kept) else kept.record

    def living(self, snapshot: Snapshot) -> dict[str, Record]:
        """Return the records of devices that the tree still shows as theirs. Raises OSError."""
        return {
            kept.record.subject: kept.record
            for _, kept in self._kept()
            if self._lives(kept, snapshot)
        }

    def put(self, record: Record, card: str) -> None:
        """Keep a record, in place of one of the same subject. Raises OSError."""
        kept = Kept(card, record, self._inode(record.subject))
        self._directory.replace(_name(record.subject), msgspec.json.encode(kept))

    def renew(self, subject: str) -> None:
        """Have a record go on with the device that has its subject now. Raises OSError."""
        for _, kept in self._kept():
            if kept.record.subject == subject:
                self.put(kept.record, kept.card)

    def forget(self, subject: str) -> None:
        """Forget a record, if there is one. Raises OSError."""
        self._directory.remove(_name(subject))

    def forget_gone(
        self, snapshot: Snapshot, cards: Collection[str], subjects: Collection[str] = ()
    ) -> None:
        """Forget the records whose device is gone, or another one now.

        Args:
            snapshot: The tree, read since the cards were locked.
            cards: Cards that this process has locked.
            subjects: Others that are forgotten if the tree is younger than their record.

        Raises OSError.
        """
        if snapshot.errors:  # devices may be missing that are there
            return
        for name, kept in self._kept():
            record = kept.record
            older = record.subject in subjects and record.generation <= snapshot.generation
            if (kept.card in cards or older) and not self._may_live(kept, snapshot):
                self._directory.remove(name)

    def _may_live(self, kept: Kept, snapshot: Snapshot) -> bool:
        """Return whether a record is that of the device, or can be again.

        A tree that is late shows the driver, and the virtual functions, that a function had for a
        moment only: as long as it is the same function, its record is kept.
        """
        device = _device(kept.record.subject, snapshot)
        settings = () if device is None or not device.active else settings_of(device)
        if device is None or not settings or device.capability(Vgpu) is not None:
            return self._lives(kept, snapshot)
        return self._is_same(kept)

    def _lives(self, kept: Kept, snapshot: Snapshot) -> bool:
        """Return whether a record is that of the device which the tree shows."""
        return self._is_same(kept) and lives(kept.record, snapshot)

    def _is_same(self, kept: Kept) -> bool:
        """Return whether no other device has the UUID or path of a record, as far as is known."""
        inode = None if kept.inode is None else self._inode(kept.record.subject)
        # A device that is gone by now is for the tree to say.
        return inode in (None, kept.inode)

    def _inode(self, subject: str) -> int | None:
        """Return the inode of a device's directory; None if it has none, or cannot be seen."""
        path = subject if subject.startswith("/") else f"{MDEV_DEVICES}/{subject}"
        try:
            return os.stat(f"{self._root}{path}").st_ino
        except OSError:
            return None

    def _kept(self) -> Iterator[tuple[str, Kept]]:
        for name in self._directory.names():
            kept = self._read(name)
            if kept is not None:
                yield name, kept

    def _read(self, name: str) -> Kept | None:
        # Without a readable record a device counts as somebody else's, which keeps it safe.
        with suppress(*UNDECODABLE):
            return _DECODER.decode(self._directory.read(name) or b"")
        return None


def lives(record: Record, snapshot: Snapshot) -> bool:
    """Return whether the tree shows the device of a record, with its type or an unknown one."""
    device = _device(record.subject, snapshot)
    if device is None or not device.active:
        return False
    mdev, vgpu = device.capability(MdevChild), device.capability(Vgpu)
    if record.type is None:
        return True
    if mdev is not None:
        return mdev.mdev_type is None or mdev.mdev_type.id == record.type
    if record.type in settings_of(device):
        return True
    if vgpu is not None and vgpu.current is not None:
        return vgpu.current.id == record.type
    return vgpu is not None and device.is_unknown(CURRENT)


def _device(subject: str, snapshot: Snapshot) -> Device | None:
    if subject.startswith("/"):
        return snapshot.at(subject)
    for device in snapshot.by_sysname(subject):
        if device.active and device.capability(MdevChild) is not None:
            return device
    return None


def _name(subject: str) -> str:
    """Return the name of a record's file: a path is no name, and may be too long for one."""
    if subject.startswith("/"):
        return hashlib.sha256(subject.encode()).hexdigest()
    return subject
