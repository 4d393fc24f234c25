"""client: asks a daemon from a Python program, blocking (`Client`) or on asyncio.

    from nodedevd.client import Client, available

    with Client() as client:
        for device in client.snapshot(["mdev_parent"]).devices:
            print(device.name)
        client.wait_for(available("0000:3b:00.4", "nvidia-746"), timeout_seconds=60)

`Control` and `AsyncControl` ask the control service to change the host.
docs/python.md shows everything. Names that are not exported here may change.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

from nodedevd.client.blocking import Client, Watch
from nodedevd.client.conditions import Condition, at_least, available, gone, present
from nodedevd.client.errors import (
    Closed,
    ConnectionLost,
    NotUnderstood,
    RemoteError,
    TimedOut,
)
from nodedevd.client.watching import Event
from nodedevd.drawing.request import Drawing, DrawRequest
from nodedevd.errors import (
    BudgetExceeded,
    CardBusy,
    Changed,
    Conflict,
    DeviceInUse,
    DoesNotFit,
    InvalidParameter,
    MadeByOther,
    NoControl,
    NoDaemon,
    NodedevError,
    NoRoom,
    NoSuchDevice,
    NoSuchType,
    NotAllowed,
    NotAssignable,
    NotConfirmed,
    NotInFormat,
    NotPossible,
    OwnedByOther,
    StepFailed,
    StillWriting,
    TooManyClients,
    Vetoed,
)
from nodedevd.kinds.mdev_child import MdevChild
from nodedevd.kinds.mdev_parent import MdevParent, MdevType
from nodedevd.kinds.pci import Pci
from nodedevd.kinds.shared.vgpu_types import TypeFacts
from nodedevd.kinds.vgpu import Vgpu, VgpuType
from nodedevd.model.device import Device
from nodedevd.model.listing import DeviceList, Devices, Entry, XmlDocument
from nodedevd.model.status import Status
from nodedevd.questions.fits import CardType, Fits, Place, Types
from nodedevd.questions.hostdev.request import HostDev, HostDevRequest
from nodedevd.questions.in_use import InUse, Use
from nodedevd.questions.resolve import Resolution, Resolved

if TYPE_CHECKING:
    from nodedevd.actions.answers import (
        ControlStatus,
        InProgress,
        Leftover,
        Made,
        MadeList,
        Outcome,
    )
    from nodedevd.client.asynchronous import AsyncClient, AsyncWatch
    from nodedevd.client.asynchronous_control import AsyncControl
    from nodedevd.client.blocking_control import Control

__all__ = [
    "AsyncClient",
    "AsyncControl",
    "AsyncWatch",
    "BudgetExceeded",
    "CardBusy",
    "CardType",
    "Changed",
    "Client",
    "Closed",
    "Condition",
    "Conflict",
    "ConnectionLost",
    "Control",
    "ControlStatus",
    "Device",
    "DeviceInUse",
    "DeviceList",
    "Devices",
    "DoesNotFit",
    "DrawRequest",
    "Drawing",
    "Entry",
    "Event",
    "Fits",
    "HostDev",
    "HostDevRequest",
    "InProgress",
    "InUse",
    "InvalidParameter",
    "Leftover",
    "Made",
    "MadeByOther",
    "MadeList",
    "MdevChild",
    "MdevParent",
    "MdevType",
    "NoControl",
    "NoDaemon",
    "NoRoom",
    "NoSuchDevice",
    "NoSuchType",
    "NodedevError",
    "NotAllowed",
    "NotAssignable",
    "NotConfirmed",
    "NotInFormat",
    "NotPossible",
    "NotUnderstood",
    "Outcome",
    "OwnedByOther",
    "Pci",
    "Place",
    "RemoteError",
    "Resolution",
    "Resolved",
    "Status",
    "StepFailed",
    "StillWriting",
    "TimedOut",
    "TooManyClients",
    "TypeFacts",
    "Types",
    "Use",
    "Vetoed",
    "Vgpu",
    "VgpuType",
    "Watch",
    "XmlDocument",
    "at_least",
    "available",
    "gone",
    "present",
]


_LATE = {
    **dict.fromkeys(("AsyncClient", "AsyncWatch"), "client.asynchronous"),
    "AsyncControl": "client.asynchronous_control",
    "Control": "client.blocking_control",
    **dict.fromkeys(
        ("ControlStatus", "Leftover", "Made", "MadeList", "Outcome", "InProgress"),
        "actions.answers",
    ),
}
"""Where names are that are imported when they are first used: asyncio takes a third of nodedevctl's
start, and few programs change a host."""


def __getattr__(name: str) -> object:
    if name in _LATE:
        return getattr(importlib.import_module(f"nodedevd.{_LATE[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
