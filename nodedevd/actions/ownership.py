"""Ownership: who made a device, for whom, and who may change it.

`docs/control.md` has the table of who may do what to whose.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, TypeAlias

import msgspec

from nodedevd.errors import Changed, MadeByOther, OwnedByOther

Origin: TypeAlias = Literal["client", "definition", "domain", "layout", "other"]
"""What made a device: a client's call, a start of mdevctl's definition, a hook for a domain, a
declared layout; other is whoever did not ask nodedevd."""


class Record(msgspec.Struct, frozen=True):
    """What is kept of a device that was made here, as long as the device lives."""

    subject: str
    """uuid of an mdev, else the sysfs path"""
    origin: Origin
    owner: str | None
    """the word that its maker gave; only who gives it again may change the device"""
    uid: int
    """user who asked for it"""
    type: str | None
    """id of its type"""
    generation: int
    """generation of the tree that showed it first; 0 until then"""
    made: str
    """time in UTC, ISO 8601"""


class Claim(msgspec.Struct, frozen=True, kw_only=True):
    """As whom a client asks for a change of a device."""

    origin: Origin = "client"
    owner: str | None = None
    generation: int | None = None
    """that of the answer to Create; None is not compared"""
    force: bool = False

    @property
    def overrides(self) -> bool:
        """Whether it takes what belongs to others. A domain never does, also by force."""
        return self.force and self.origin != "domain"


def living_record(
    records: Mapping[str, Record], subject: str, type_id: str | None
) -> Record | None:
    """Return the record of a device, None if there is none, or if it is of an earlier device.

    A function's path, and a UUID, can be used again; then the type may tell.
    """
    record = records.get(subject)
    if record is None or (None not in (type_id, record.type) and record.type != type_id):
        return None
    return record


def check_claim(
    name: str,
    subject: str,
    records: Mapping[str, Record],
    claim: Claim,
    *,
    type_id: str | None = None,
) -> None:
    """Refuse a change of a device by whom it does not belong to.

    `type_id` is what the device has now. Raises OwnedByOther, MadeByOther, Changed.
    """
    record = living_record(records, subject, type_id)
    if claim.generation is not None and (record is None or record.generation != claim.generation):
        raise Changed(name, "it is not the one of that generation any more")
    if claim.overrides:
        return
    origin: Origin = "other" if record is None else record.origin
    if origin == "other" and claim.origin == "layout":
        return  # the administrator has said what the card is to have
    if origin != claim.origin:
        raise MadeByOther(name, origin)
    if record is not None and record.owner != claim.owner:
        raise OwnedByOther(name, record.owner or "")


def check_shared(name: str, record: Record, claim: Claim) -> None:
    """Refuse to take a device for the one that is asked for, if it may vanish with its maker.

    What a client made, and what was started from a definition, is alike. Raises OwnedByOther,
    MadeByOther.
    """
    if claim.overrides:
        return
    if "domain" in (record.origin, claim.origin) and record.origin != claim.origin:
        raise MadeByOther(name, record.origin)
    if record.owner != claim.owner:
        raise OwnedByOther(name, record.owner or "")
