"""client: asks a daemon from a Python program, blocking (`Client`) or on asyncio.

    from nodedevd.client import Client, available

    with Client() as client:
        for device in client.snapshot(["mdev_parent"]).devices:
            print(device.name)
        client.wait_for(available("0000:3b:00.4", "nvidia-746"), timeout_seconds=60)

docs/python.md shows everything. Names that are not exported here may change.
"""

from __future__ import annotations

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
from nodedevd.errors import (
    BudgetExceeded,
    DoesNotFit,
    InvalidParameter,
    NoDaemon,
    NodedevError,
    NoSuchDevice,
    NoSuchType,
    NotAssignable,
    NotInFormat,
    TooManyClients,
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
    from nodedevd.client.asynchronous import AsyncClient, AsyncWatch

__all__ = [
    "AsyncClient",
    "AsyncWatch",
    "BudgetExceeded",
    "CardType",
    "Client",
    "Closed",
    "Condition",
    "ConnectionLost",
    "Device",
    "DeviceList",
    "Devices",
    "DoesNotFit",
    "Entry",
    "Event",
    "Fits",
    "HostDev",
    "HostDevRequest",
    "InUse",
    "InvalidParameter",
    "MdevChild",
    "MdevParent",
    "MdevType",
    "NoDaemon",
    "NoSuchDevice",
    "NoSuchType",
    "NodedevError",
    "NotAssignable",
    "NotInFormat",
    "NotUnderstood",
    "Pci",
    "Place",
    "RemoteError",
    "Resolution",
    "Resolved",
    "Status",
    "TimedOut",
    "TooManyClients",
    "TypeFacts",
    "Types",
    "Use",
    "Vgpu",
    "VgpuType",
    "Watch",
    "XmlDocument",
    "at_least",
    "available",
    "gone",
    "present",
]


def __getattr__(name: str) -> object:
    # To import asyncio takes a third of nodedevctl's start, which does not use it.
    if name in ("AsyncClient", "AsyncWatch"):
        from nodedevd.client import asynchronous

        return getattr(asynchronous, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
