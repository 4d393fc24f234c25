"""client.fleet: asks a fleet, the hosts whose publishers write to one bucket of NATS JetStream.

    from nodedevd.client.fleet import Fleet

    with Fleet("nats://127.0.0.1:4222") as fleet:
        for host in fleet.fits("A2-4Q", count=2).hosts:
            print(host.name, host.place)

`AsyncFleet` is the same on asyncio. It needs nats-py, which the extra `fleet` installs.
docs/fleet.md shows everything. Names that are not exported here may change.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

from nodedevd.client.fleet.errors import (
    BadAccess,
    FleetError,
    FleetFull,
    FleetRefused,
    FleetUnreachable,
    NoFleet,
    NoNats,
    NoSuchHost,
    NoTree,
)

if TYPE_CHECKING:
    from nodedevd.client.fleet.access import Access, Tls
    from nodedevd.client.fleet.asynchronous import AsyncFleet, AsyncFleetWatch
    from nodedevd.client.fleet.blocking import Fleet, FleetWatch
    from nodedevd.client.fleet.fitting import (
        FleetFits,
        FleetTypes,
        HostFit,
        fleet_fits,
        fleet_types,
    )
    from nodedevd.client.fleet.hosts import Host, Hosts
    from nodedevd.client.fleet.tree import Tree
    from nodedevd.client.fleet.values import Summary
    from nodedevd.client.fleet.watching import FleetEvent

__all__ = [
    "Access",
    "AsyncFleet",
    "AsyncFleetWatch",
    "BadAccess",
    "Fleet",
    "FleetError",
    "FleetEvent",
    "FleetFits",
    "FleetFull",
    "FleetRefused",
    "FleetTypes",
    "FleetUnreachable",
    "FleetWatch",
    "Host",
    "HostFit",
    "Hosts",
    "NoFleet",
    "NoNats",
    "NoSuchHost",
    "NoTree",
    "Summary",
    "Tls",
    "Tree",
    "fleet_fits",
    "fleet_types",
]

_LATE = {
    **dict.fromkeys(("Access", "Tls"), "access"),
    **dict.fromkeys(("AsyncFleet", "AsyncFleetWatch"), "asynchronous"),
    **dict.fromkeys(("Fleet", "FleetWatch"), "blocking"),
    **dict.fromkeys(("FleetFits", "FleetTypes", "HostFit", "fleet_fits", "fleet_types"), "fitting"),
    **dict.fromkeys(("Host", "Hosts"), "hosts"),
    "Tree": "tree",
    "Summary": "values",
    "FleetEvent": "watching",
}
"""Where names are that are imported when they are first used: errors alone need no asyncio."""


def __getattr__(name: str) -> object:
    if name in _LATE:
        return getattr(importlib.import_module(f"nodedevd.client.fleet.{_LATE[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
