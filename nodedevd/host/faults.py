"""Fault: an attribute or directory that cannot be read, and why.

A failure to look is not absence: only the errnos in `GONE` say that something is not there.
"""

from __future__ import annotations

import errno
import os
from typing import Literal, TypeAlias

import msgspec

from nodedevd.text import printable_path

FaultCode: TypeAlias = Literal["absent", "refused", "unreadable", "malformed", "internal"]
"""absent: the ABI promises it; refused: no permission; unreadable: the driver answers with
an error; malformed: the content makes no sense; internal: a defect of nodedevd."""

ABSENT = frozenset({errno.ENOENT, errno.ENOTDIR})
"""What a read fails with if there is no such file."""
GONE = ABSENT | {errno.ENODEV, errno.ENXIO}
"""What it fails with if there is no such file or device, or the device is being removed."""
SHORTAGE = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS, errno.EINTR})
"""What it fails with if this process or the kernel is short of something, whatever is read."""

_REFUSED = frozenset({errno.EACCES, errno.EPERM})
_MALFORMED = frozenset({errno.EISDIR, errno.ELOOP})
# Python knows two names for these numbers; the kernel's are used.
_NAMES = {**errno.errorcode, errno.EAGAIN: "EAGAIN", errno.EOPNOTSUPP: "EOPNOTSUPP"}


class Fault(msgspec.Struct, frozen=True, gc=False):
    """A read that failed, or whose result makes no sense."""

    attribute: str
    """path of the attribute, relative to the device's own; of a directory, the whole path"""
    code: FaultCode
    detail: str
    """the errno's name, or the text that makes no sense"""


def errno_name(number: int) -> str:
    """Return the kernel's name of an errno, or the number if it has none."""
    return _NAMES.get(number, str(number))


def fault_of(attribute: str, error: OSError) -> Fault:
    """Return the fault of an attribute or directory whose read failed."""
    name = errno_name(error.errno or 0)
    if error.errno in _REFUSED:
        return Fault(attribute, "refused", name)
    if error.errno in _MALFORMED:
        return Fault(attribute, "malformed", name)
    reason = error.strerror or os.strerror(error.errno or 0)
    return Fault(attribute, "unreadable", f"{name}: {reason}")


class Faults(list[Fault]):
    """The faults of one device, or those of one job by path; `failed` are not removed from it.

    Attributes:
        failed: the faults of reads that failed, so that what they would have shown is unknown.
        doubtful: whether one of these leaves open what the device is. A driver's error is about
            one attribute; all others are not the device's own.
        shortage: the first of these that is for want of descriptors or memory.
    """

    def __init__(self) -> None:
        super().__init__()
        self.failed: list[Fault] = []
        self.doubtful = False
        self.shortage: Fault | None = None

    def add(self, attribute: str, error: OSError, *, own: bool = False) -> None:
        """Add the fault of a read that failed; `own`: the attribute's own, such as a driver's."""
        fault = fault_of(printable_path(attribute), error)
        self.append(fault)
        self.failed.append(fault)
        self.doubtful |= not own or error.errno in SHORTAGE
        if error.errno in SHORTAGE:
            self.shortage = self.shortage or fault

    def add_defect(self, attribute: str, error: Exception) -> None:
        """Add the fault of a read that failed by a defect of nodedevd."""
        fault = Fault(attribute, "internal", repr(error))
        self.append(fault)
        self.failed.append(fault)

    def forget(self) -> None:
        """Drop everything: what was read is gone."""
        self.clear()
        self.failed.clear()
        self.doubtful = False
        self.shortage = None

    def take(self, other: Faults, directory: str) -> None:
        """Add the faults of a directory that was read on its own."""
        self += [_below(directory, fault) for fault in other]
        self.failed += [_below(directory, fault) for fault in other.failed]
        self.shortage = self.shortage or other.shortage
        self.doubtful |= other.doubtful


def _below(directory: str, fault: Fault) -> Fault:
    attribute = f"{directory}/{fault.attribute}" if fault.attribute else directory
    return Fault(attribute, fault.code, fault.detail)
