"""refusals: why a change was not made, what is left of it, and what to do next."""

from __future__ import annotations

from collections.abc import Iterator

from nodedevd.cli.options import (
    EXIT_FAILURE,
    EXIT_LEFT,
    EXIT_NO,
    EXIT_NO_DAEMON,
    EXIT_NO_SUCH_TYPE,
    EXIT_TIMEOUT,
)
from nodedevd.client.fleet.errors import FleetUnreachable
from nodedevd.errors import (
    CardBusy,
    Changed,
    Conflict,
    DeviceInUse,
    MadeByOther,
    NodedevError,
    NoRoom,
    NoSuchType,
    NotAllowed,
    NotConfirmed,
    NotPossible,
    OwnedByOther,
    StepFailed,
    StillWriting,
    Vetoed,
)

_STATUS: dict[type[NodedevError], int] = {
    NoSuchType: EXIT_NO_SUCH_TYPE,
    FleetUnreachable: EXIT_NO_DAEMON,
    StillWriting: EXIT_TIMEOUT,
    **dict.fromkeys(
        (
            CardBusy,
            Changed,
            Conflict,
            DeviceInUse,
            MadeByOther,
            NoRoom,
            NotAllowed,
            NotPossible,
            OwnedByOther,
            Vetoed,
        ),
        EXIT_NO,
    ),
}

_NEXT: dict[type[NodedevError], str] = {
    CardBusy: "nodedevctl control shows the change in progress; try again when it has ended",
    Changed: "nodedevctl control shows whose the device is now",
    DeviceInUse: "nodedevctl in-use, as root, shows which processes have it open",
    MadeByOther: "nodedevctl control shows who made which device",
    NoRoom: "nodedevctl fits shows what each card has room for, and why not",
    NotConfirmed: "nodedevctl doctor checks this host for problems",
    OwnedByOther: "nodedevctl control shows whose each device is",
    StillWriting: "nodedevctl control shows the change until the driver answers",
}

_LEFT = "nodedevctl control lists what is left, until it is gone"


def exit_status(error: NodedevError) -> int:
    """Return the exit status of a command that ends with an error."""
    if getattr(error, "left", ()):
        return EXIT_LEFT
    return next((_STATUS[kind] for kind in type(error).__mro__ if kind in _STATUS), EXIT_FAILURE)


def explanation(error: NodedevError) -> Iterator[str]:
    """Yield the lines about an error: what failed, what was undone, what is left, what to do."""
    undone, left = getattr(error, "undone", ()), getattr(error, "left", ())
    if isinstance(error, StepFailed | NotConfirmed | Vetoed):
        alone = {**vars(error), "undone": (), "left": ()}
        yield str(type(error)(**alone))
    else:
        yield str(error)
    for step in undone:
        yield f"  undone: {step}"
    for step in left:
        yield f"  NOT undone: {step}"
    advice = _LEFT if left else _NEXT.get(type(error))
    if advice is not None:
        yield f"  {advice}"
