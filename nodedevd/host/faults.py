"""Fault: an attribute or directory that cannot be read, and why."""

from __future__ import annotations

import errno
import os
from typing import Literal, TypeAlias

import msgspec

FaultCode: TypeAlias = Literal["absent", "refused", "unreadable", "malformed", "internal"]
"""absent: the ABI promises it; refused: no permission; unreadable: the driver answers with
an error; malformed: the content makes no sense; internal: a defect of nodedevd."""

ABSENT = frozenset({errno.ENOENT, errno.ENOTDIR})
"""What a read fails with if there is no such file."""

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


def fault_of(attribute: str, error: OSError) -> Fault:
    """Return the fault of an attribute or directory whose read failed."""
    name = _NAMES.get(error.errno or 0, str(error.errno))
    if error.errno in _REFUSED:
        return Fault(attribute, "refused", name)
    if error.errno in _MALFORMED:
        return Fault(attribute, "malformed", name)
    return Fault(
        attribute, "unreadable", f"{name}: {error.strerror or os.strerror(error.errno or 0)}"
    )
