"""Fault: one thing that could not be read, and why."""

from __future__ import annotations

from typing import Literal, TypeAlias

import msgspec

FaultCode: TypeAlias = Literal["absent", "refused", "unreadable", "malformed", "internal"]
"""absent: the ABI promises it; refused: no permission; unreadable: the driver answers with
an error; malformed: the content makes no sense; internal: a defect of nodedevd."""


class Fault(msgspec.Struct, frozen=True, gc=False):
    """One thing about a device that could not be told, and why."""

    attribute: str
    """Path of the attribute, relative to the device's own."""
    code: FaultCode
    detail: str
    """The errno's name, or the nonsense itself."""
