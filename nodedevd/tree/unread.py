"""unread: what one job could not look at stays as it was, and is read again later.

A failure to look is not absence. A device of the tree that cannot be read stays as it is there,
with a fault that says so. A new one whose name, kind or place is in doubt is not put into the
tree before it could be read, or has failed for long: it would have to be renamed or moved.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Collection, Iterable, Set

import msgspec

from nodedevd.errors import NodedevError
from nodedevd.host.faults import Fault, Faults
from nodedevd.host.job import NOT_RETURNED
from nodedevd.kinds import KIND_OF
from nodedevd.model.changes import Update
from nodedevd.model.device import Device
from nodedevd.model.snapshot import Snapshot
from nodedevd.text import printable_path
from nodedevd.tree.graft import Reading, lost, tree_path, usual_name

WHOLE_HOST = "/sys"
"""Stands in `Unread.paths` for directories of devices, which only a scan lists."""

_AS_IT_WAS = "shown as it was read last"


class HostNotRead(NodedevError):
    """A host cannot be read as a whole, since this process or the kernel is short of something."""

    code = "host-not-read"
    detail: str

    def __str__(self) -> str:
        return (
            f"cannot read the whole host: {self.detail}; "
            "free descriptors or memory, or raise the limit of this process"
        )


class NothingListed(HostNotRead):
    """No directory of devices can be listed: not even one device is known."""

    def __str__(self) -> str:
        return f"cannot read any device: {self.detail}; check the sysroot and its permissions"


class Unread:
    """What one job could not look at.

    Attributes:
        faults: those of directories, and of new devices that are not in the tree, by path.
        paths: what to read again.
        shortage: what failed first for want of descriptors or memory.
        doubtful: whether the tree could be another one once everything can be read.
        tolerated: the paths of new devices that are shown as far as they can be read.
        kept: the paths of devices that stay as they were.
        deferred: the paths of new devices that are not put into the tree.
    """

    def __init__(self, old: Snapshot, tolerated: Set[str] = frozenset()) -> None:
        self.faults = Faults()
        self.paths: set[str] = set()
        self.doubtful = False
        self.kept: set[str] = set()
        self.deferred: dict[str, Fault] = {}
        self.old = old
        """the tree that the job changes"""
        self.tolerated = tolerated
        self._shortage: Fault | None = None

    @property
    def shortage(self) -> Fault | None:
        """What failed first for want of descriptors or memory."""
        return self._shortage or self.faults.shortage

    def note_unlisted(self) -> None:
        """Note that directories of devices could not be listed, if there are faults of such."""
        if self.faults.failed:
            self.paths.add(WHOLE_HOST)
            self.doubtful |= _may_pass(self.faults.failed)

    def unlisted(self, device: Device | None) -> set[str]:
        """Return the directories that may list a device, and could not be read."""
        subsystem = None if device is None else device.subsystem
        directories = (f"/sys/bus/{subsystem}/devices", f"/sys/class/{subsystem}")
        failed = [f"{fault.attribute}/" for fault in self.faults.failed]
        return {one for one in directories if any(path.startswith(f"{one}/") for path in failed)}

    def definitions_unlisted(self, directory: str, faults: Faults) -> None:
        """Note the faults of mdevctl's directories; if one cannot be listed, all are read again."""
        self.faults += faults
        if faults.failed:
            self.paths.add(directory)
            self.doubtful |= _may_pass(faults.failed)
            self._shortage = self._shortage or faults.shortage

    def look(self, path: str, error: OSError) -> None:
        """Note that it could not be told whether there is a device at a path."""
        if path not in self.deferred:
            self.faults.add(path, error)
            self._defer(path, self.faults[-1])

    def settle(
        self, path: str, subsystem: str | None, reading: Reading | None, faults: Faults
    ) -> Reading | None:
        """Return what the tree shows of a device after a read that left these faults.

        That is the reading if it is certain what the device is, else the device as it was. A
        device that the tree lacks is shown as far as it could be read by the first scan, and once
        its path is tolerated; before that, it is deferred.
        """
        if not faults.failed:
            return reading
        self._shortage = self._shortage or _of(path, faults.shortage)
        before = self.old.at(printable_path(path))
        if not self._is_in_doubt(before, reading, faults):
            known = () if before is None else before.errors
            if _may_pass(faults.failed) or (len(self.old) and not set(faults.failed) <= set(known)):
                self.paths.add(path)
            return reading
        fault = faults.shortage or faults.failed[0]
        self.doubtful |= _may_pass([fault])
        self.paths.add(path)
        if before is not None and before.capabilities:
            self.kept.add(path)
            return self.shown_as_it_was(before, fault)
        is_new = before is None and len(self.old) > 0
        if is_new and (faults.shortage is not None or path not in self.tolerated):
            self._leave_out(path, fault)
            return None
        return reading or _bare(path, subsystem, faults)

    @staticmethod
    def shown_as_it_was(before: Device, fault: Fault) -> Reading:
        """Return a device as it was, with the fault that says so."""
        reading = Reading.of(before, before.capabilities)
        return msgspec.structs.replace(reading, errors=_errors_of_kept(before, fault))

    def leaving(self, path: str) -> Reading | None:
        """Return a device that the kernel is removing as it was, until its directory is gone."""
        self.paths.add(path)
        before = self.old.at(printable_path(path))
        if before is None:
            return None
        self.kept.add(path)
        return Reading.of(before, before.capabilities)

    def defer(self, path: str, above: str) -> None:
        """Leave out a new device below one that could not be read."""
        self.paths.add(path)
        self._leave_out(path, self.deferred[above])

    def _leave_out(self, path: str, fault: Fault) -> None:
        self.faults.append(Fault(printable_path(path), fault.code, _detail(fault)))
        self._defer(path, fault)

    def _defer(self, path: str, fault: Fault) -> None:
        self.paths.add(path)
        self.deferred[path] = fault
        self.doubtful |= _may_pass([fault])

    def settle_root(self, root: Device, before: Device | None, faults: Faults) -> Device:
        """Return the root of the tree as it was read, or as it was; see `settle`."""
        if not faults.failed:
            return root
        is_known = set(faults.failed) <= set(() if before is None else before.errors)
        if _may_pass(faults.failed) or (len(self.old) and not is_known):
            self.paths.add(WHOLE_HOST)
        self._shortage = self._shortage or faults.shortage
        if before is None or not faults.doubtful or (is_known and faults.shortage is None):
            return root
        self.paths.add(WHOLE_HOST)
        errors = _errors_of_kept(before, faults.shortage or faults.failed[0])
        return msgspec.structs.replace(before, errors=errors)

    def noted(self, update: Update) -> Update:
        """Return an update with what has to be read again."""
        if not self.paths:
            return update
        return msgspec.structs.replace(
            update,
            unread=frozenset(self.paths),
            doubtful=self.doubtful,
            short=self.shortage is not None,
        )

    def _is_in_doubt(self, before: Device | None, reading: Reading | None, faults: Faults) -> bool:
        """Return whether the reading could show another device than there is."""
        if reading is None:
            return True
        if before is None:
            return faults.doubtful or _is_unnamed(reading, faults)
        if faults.shortage is None and set(faults.failed) <= set(before.errors):
            return False  # It could not be read before either.
        return (
            faults.doubtful
            or lost(before, reading)
            or usual_name(before) != usual_name(reading)
            or tree_path(before) != tree_path(reading)
        )

    def errors(self, read: Iterable[str], forgotten: str | None = None) -> tuple[Fault, ...]:
        """Return the faults of the next snapshot, after a job that looked at these paths only.

        Those below the directory `forgotten` are dropped, too.
        """
        fresh = {fault.attribute: fault for fault in self.faults}
        looked_at = set(map(printable_path, read))
        errors = []
        for fault in self.old.errors:
            path = fault.attribute
            if path in fresh:
                errors.append(fresh.pop(path))
            elif path not in looked_at and not (forgotten and f"{path}/".startswith(forgotten)):
                errors.append(fault)
        return (*errors, *fresh.values())

    def check_complete(self, found: Collection[str]) -> None:
        """Raise `HostNotRead` if a first scan could not look at everything for a shortage.

        It is `NothingListed` if it found nothing because of other errors. A first scan does not
        wait for what hangs.
        """
        if len(self.old):
            return
        if self.shortage is not None:
            raise HostNotRead(_detail(self.shortage))
        for fault in () if found else self.faults.failed:
            if fault.attribute.startswith("/sys/") and not fault.detail.endswith(NOT_RETURNED):
                raise NothingListed(_detail(fault))


def _bare(path: str, subsystem: str | None, faults: Iterable[Fault]) -> Reading:
    """Return a device of which nothing could be read but its path."""
    return Reading(printable_path(path), subsystem, None, (), tuple(faults), None, ())


def no_memory() -> OSError:
    """Return the error of a read for which this process has no memory."""
    return OSError(errno.ENOMEM, os.strerror(errno.ENOMEM))


def _is_unnamed(reading: Reading, faults: Faults) -> bool:
    """Return whether a part of the name could not be read."""
    failed = {fault.attribute.rpartition("/")[2] for fault in faults.failed}
    return any(
        KIND_OF[type(one)].suffix is not None
        and not failed.isdisjoint(KIND_OF[type(one)].identifying)
        for one in reading.capabilities
    )


def _may_pass(faults: Iterable[Fault]) -> bool:
    """Return whether one of these reads may succeed if it is tried soon.

    A permission does not come by itself, and a read that hangs is waited for by its own thread.
    """
    return any(
        fault.code == "unreadable" and not fault.detail.endswith(NOT_RETURNED) for fault in faults
    )


def _errors_of_kept(before: Device, fault: Fault) -> tuple[Fault, ...]:
    errors = [error for error in before.errors if not _is_of_reading(error)]
    return (*errors, Fault("", fault.code, f"{_AS_IT_WAS}: {_detail(fault)}"))


def _is_of_reading(fault: Fault) -> bool:
    """Return whether a fault is about the read of a whole device, which has been made again."""
    return not fault.attribute and (
        fault.code == "unreadable" or fault.detail.startswith(_AS_IT_WAS)
    )


def _of(path: str, fault: Fault | None) -> Fault | None:
    """Return a fault with the whole path of the attribute."""
    if fault is None or fault.attribute.startswith("/"):
        return fault
    whole = f"{path}/{fault.attribute}" if fault.attribute else path
    return Fault(printable_path(whole), fault.code, fault.detail)


def _detail(fault: Fault) -> str:
    return f"{fault.attribute}: {fault.detail}" if fault.attribute else fault.detail
