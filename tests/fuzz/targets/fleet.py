"""What a host of a fleet publishes: its summary, its heartbeat and its tree, whatever it writes."""

from __future__ import annotations

from contextlib import suppress

import msgspec

from nodedevd.client.fleet.bucket import Entry
from nodedevd.client.fleet.errors import NoTree
from nodedevd.client.fleet.fitting import fleet_fits, fleet_types
from nodedevd.client.fleet.hosts import Hosts, host_at, record
from nodedevd.client.fleet.tree import Tree
from nodedevd.client.fleet.values import (
    TreeFacts,
    Unreadable,
    alive_key,
    packed,
    summary_key,
    summary_of,
    unpacked,
)
from nodedevd.errors import NoSuchType
from tests.fuzz.target import Target


def check(data: bytes) -> None:
    """Whatever it is, the host has a state, and it is counted only if all of it can be read.

    A NUL ends the heartbeat, and another one the summary; the rest is a tree.
    """
    alive, summary, tree = [*data.split(b"\0", 2), b"", b""][:3]
    entries = {
        alive_key("a"): Entry(alive, 1, 1000.0),
        summary_key("a"): Entry(summary, 2, 1000.0),
    }
    host = host_at(record("a", entries), 1001.0)
    assert host.usable <= (host.summary is not None)
    assert (host.state == "alive") == (host.reason is None)
    hosts = Hosts(1001.0, False, (host,))
    msgspec.json.encode(hosts)
    msgspec.json.encode(fleet_types(hosts))
    with suppress(NoSuchType):
        found = fleet_fits(hosts, "A2-4Q", 3, "spread" if data[:1] > b"m" else "pack")
        assert sum(one.place for one in found.hosts) <= 3
        msgspec.json.encode(found)
    with suppress(NoTree):
        devices = Tree(host, summary_of(_SUMMARY), tree)
        msgspec.json.encode(devices.list())
        msgspec.json.format(devices.snapshot_json())
        devices.dump_xml()
        devices.dump_xml(form="libvirt")
    with suppress(Unreadable):
        unpacked(TreeFacts(16, len(tree), 1, packed(tree)[0].sha256), [tree])


_SUMMARY = (
    b'{"v":1,"host":"a","publisher":"p","instance":"i","generation":1,"changed":"","devices":1,'
    b'"counts":{"pci":1},"tree":{"bytes":2,"stored":2,"parts":1,"sha256":""},'
    b'"types":{"nvidia-1":{"name":"NVIDIA A2-4Q"}},"cards":[{"card":"c","types":'
    b'[{"id":"nvidia-1","available":2,"sure":2,"active":0}]}]}'
)

_DRM = (
    b'{"name":"c","path":"/sys/c","parent":"a","subsystem":"drm","sysname":"c","driver":null,'
    b'"capabilities":[{"type":"drm","minor_type":"primary"}],"errors":[],"devnode":null,"devlinks":[],'
    b'"state":"active"}'
)
_NOTHING = (
    b'{"name":"a","path":null,"parent":"b","subsystem":null,"sysname":null,"driver":null,'
    b'"capabilities":[],"errors":[],"devnode":null,"devlinks":[],"state":"active"}'
)

TARGET = Target(
    "fleet",
    check,
    reads=(
        "nodedevd/client/fleet/values.py",
        "nodedevd/client/fleet/hosts.py",
        "nodedevd/client/fleet/tree.py",
    ),
    words=(
        b'{"v":1,"publisher":"p","daemon":"ok","interval":10}\0',
        _SUMMARY,
        b'\0\0{"generation":1,"devices":[' + _DRM + b"," + _NOTHING + b"]}",
        _NOTHING,
        b'"v":2',
        b'"behind":99',
        b"null",
        b"-1",
        b"1e999",
        b'"available":null',
    ),
    steps=(4000, 60),
    share=0.3,
)
