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
    from nodedevd.client.blocking import Client, Watch
    from nodedevd.client.blocking_control import Control
    from nodedevd.client.conditions import Condition, at_least, available, gone, present
    from nodedevd.client.errors import Closed, ConnectionLost, NotUnderstood, RemoteError, TimedOut
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
    from nodedevd.model.brief import DeviceList, Entry
    from nodedevd.model.device import Device
    from nodedevd.model.listing import Devices, XmlDocument
    from nodedevd.model.status import Status
    from nodedevd.questions.fits import CardType, Fits, Place, Types
    from nodedevd.questions.hostdev.request import HostDev, HostDevRequest
    from nodedevd.questions.in_use import InUse, Use
    from nodedevd.questions.resolve import Resolution, Resolved

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


_MODULES = {
    "actions.answers": ("ControlStatus", "InProgress", "Leftover", "Made", "MadeList", "Outcome"),
    "client.asynchronous": ("AsyncClient", "AsyncWatch"),
    "client.asynchronous_control": ("AsyncControl",),
    "client.blocking": ("Client", "Watch"),
    "client.blocking_control": ("Control",),
    "client.conditions": ("Condition", "at_least", "available", "gone", "present"),
    "client.errors": ("Closed", "ConnectionLost", "NotUnderstood", "RemoteError", "TimedOut"),
    "client.watching": ("Event",),
    "drawing.request": ("Drawing", "DrawRequest"),
    "errors": (
        "BudgetExceeded",
        "CardBusy",
        "Changed",
        "Conflict",
        "DeviceInUse",
        "DoesNotFit",
        "InvalidParameter",
        "MadeByOther",
        "NoControl",
        "NoDaemon",
        "NodedevError",
        "NoRoom",
        "NoSuchDevice",
        "NoSuchType",
        "NotAllowed",
        "NotAssignable",
        "NotConfirmed",
        "NotInFormat",
        "NotPossible",
        "OwnedByOther",
        "StepFailed",
        "StillWriting",
        "TooManyClients",
        "Vetoed",
    ),
    "kinds.mdev_child": ("MdevChild",),
    "kinds.mdev_parent": ("MdevParent", "MdevType"),
    "kinds.pci": ("Pci",),
    "kinds.shared.vgpu_types": ("TypeFacts",),
    "kinds.vgpu": ("Vgpu", "VgpuType"),
    "model.brief": ("DeviceList", "Entry"),
    "model.device": ("Device",),
    "model.listing": ("Devices", "XmlDocument"),
    "model.status": ("Status",),
    "questions.fits": ("CardType", "Fits", "Place", "Types"),
    "questions.hostdev.request": ("HostDev", "HostDevRequest"),
    "questions.in_use": ("InUse", "Use"),
    "questions.resolve": ("Resolution", "Resolved"),
}
"""Where each name is. It is imported when it is first used: most programs need few of these, all
together take several times as long to import as what lists devices."""

_LATE = {name: module for module, names in _MODULES.items() for name in names}


def __getattr__(name: str) -> object:
    if name in _LATE:
        value = getattr(importlib.import_module(f"nodedevd.{_LATE[name]}"), name)
        globals()[name] = value
        return value
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
