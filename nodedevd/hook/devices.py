"""devices: makes the vGPUs of a domain before it starts, and removes them after its end.

All of it may be repeated, and comes in any order: what is so already is success, and what the
domain does not own is left alone.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from contextlib import suppress
from typing import Protocol

import msgspec

from nodedevd.actions.answers import Made, MadeList, Outcome
from nodedevd.actions.requests import Remove, Request
from nodedevd.errors import (
    BadDomain,
    CardBusy,
    Changed,
    Conflict,
    DeviceInUse,
    MadeByOther,
    NodedevError,
    NoSuchDevice,
    OwnedByOther,
)
from nodedevd.hook.metadata import Wanted

PAUSE_SECONDS = 0.2
_NOT_ITS_OWN = (NoSuchDevice, Changed, MadeByOther, OwnedByOther)
"""what says that a device has gone since it was listed, or is another one"""


class Control(Protocol):
    """What is asked for changes; see `nodedevd.client.Control`."""

    def act(self, request: Request) -> Outcome:
        """Make a change. Raises NodedevError."""

    def list(self) -> MadeList:
        """Return whose the devices are. Raises NodedevError."""


def prepare(control: Control, uuid: str, wanted: Iterable[Wanted]) -> None:
    """Make the vGPUs of a domain, all of them or none.

    Raises NodedevError.
    """
    wanted = tuple(wanted)
    for one in wanted:
        if one.function is not None:
            _check_function(control, one, one.function)
    try:
        for one in wanted:
            control.act(one.request)
    except NodedevError as error:
        with suppress(NodedevError):  # libvirt calls the hook for the release, too
            release(control, uuid, seconds=0)
        if isinstance(error, MadeByOther | OwnedByOther):
            raise _taken(error) from error
        raise


def release(control: Control, uuid: str, *, seconds: float) -> list[NodedevError]:
    """Remove what was made for a domain and is still its own; return why anything is left.

    The domain's metadata is not asked: it may have been changed while the domain ran.

    Args:
        control: Makes the changes.
        uuid: Of the domain.
        seconds: How long to try again while a device is still open, or its card is busy.

    Raises NodedevError if nothing is known.
    """
    deadline = time.monotonic() + seconds
    made = [one for one in control.list().devices if (one.origin, one.owner) == ("domain", uuid)]
    left: list[NodedevError] = []
    while made:
        busy: list[tuple[Made, NodedevError]] = []
        for one in made:
            try:
                control.act(Remove(name=one.name, domain=uuid, generation=one.generation))
            except _NOT_ITS_OWN:
                continue
            except (CardBusy, DeviceInUse) as error:
                busy.append((one, error))
            except NodedevError as error:
                left.append(error)
        if time.monotonic() >= deadline:
            return [*left, *(error for _, error in busy)]
        made = [one for one, _ in busy]
        if made:
            time.sleep(PAUSE_SECONDS)
    return left


def _taken(error: MadeByOther | OwnedByOther) -> Conflict:
    """Return what a domain can do about a device of somebody else: it cannot use force."""
    if isinstance(error, OwnedByOther):
        whose = f"it exists, for the owner {error.owner!r}"
    else:
        whose = f"it exists, of the origin {error.origin}"
    detail = (
        f"{whose}, and may vanish at any time; `nodedevctl control` shows whose it is. Remove it"
        " first, or give the domain another one"
    )
    return Conflict(error.name, detail)


def _check_function(control: Control, wanted: Wanted, address: str) -> None:
    """Refuse the address of a device of which another one would become the vGPU.

    That of a card means any of its functions, and on an mdev parent an mdev would be made.
    """
    planned = control.act(msgspec.structs.replace(wanted.request, dry_run=True))
    if [device.sysname for device in planned.devices] != [address]:
        raise BadDomain(
            f"{address} is no function that can become a vGPU itself; name a single function with"
            " vendor VFIO, or use an mdev"
        )
