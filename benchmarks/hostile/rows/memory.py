"""One user's clients hold as much of the daemon's memory as they can, in one way after another."""

from __future__ import annotations

import itertools
import string
import time
from collections.abc import Callable, Iterator
from typing import Any

from benchmarks.hostile.bed import LARGE, Bed, Daemon, call, connected, send
from benchmarks.hostile.figure import Figure
from benchmarks.protocols import Protocol
from nodedevd.server.libvirt import protocol as remote
from nodedevd.server.libvirt import xdr
from nodedevd.server.libvirt.protocol import Header, MessageType, Procedure

CONNECTIONS = 300
GROWTH_MIB, LEFT_MIB = 64.0, 1.0
SETTLE_SECONDS = 60.0
"""After so long without these clients, the memory is free again."""
REST_CPU_SECONDS = 10.0
LEAVE_SECONDS = 5.0
_SEND_SECONDS = 2.0
_MIB_AT_MOST = 1024.0
"""A daemon that has grown so much is not attacked any further."""


def measure(bed: Bed) -> Iterator[Figure]:
    """Yield how much the daemon grows by each attack, and what is left after the last."""
    with bed.daemon(LARGE) as daemon:
        daemon.ask("DumpXML")
        before = daemon.rss_mib()
        for title, attack in _attacks(daemon):
            daemon.forget_highest_rss()
            with bed.attacker(attack):
                _wait_at_rest(daemon)
            grown = daemon.highest_rss_mib() - before
            yield Figure(f"memory: {title}", grown, "MiB", GROWTH_MIB)
            if grown > _MIB_AT_MOST:
                return
            until = time.monotonic() + LEAVE_SECONDS
            while daemon.ask("GetStatus")["clients"] > 1 and time.monotonic() < until:
                time.sleep(0.05)
        until = time.monotonic() + SETTLE_SECONDS
        while daemon.rss_mib() > before + LEFT_MIB and time.monotonic() < until:
            time.sleep(0.5)
        yield Figure("memory: left a minute later", daemon.rss_mib() - before, "MiB", LEFT_MIB)


def _wait_at_rest(daemon: Daemon) -> None:
    """Wait until the daemon has done what it was asked for, or has used much time for it.

    That is CPU time: on a busy machine it gets little of the wall's, and may pause.
    """
    began = used = daemon.cpu_seconds()
    idle = 0
    while idle < 4 and used - began < REST_CPU_SECONDS:
        time.sleep(0.3)
        now = daemon.cpu_seconds()
        idle = idle + 1 if now - used < 0.005 else 0
        used = now


def _attacks(daemon: Daemon) -> Iterator[tuple[str, Callable[[], Iterator[None]]]]:
    names = ["".join(four) for four in itertools.product(string.ascii_lowercase, repeat=4)]
    watch = call("Watch", more=True, snapshot=False, names=names[:37_000]).replace(b", ", b",")
    one = call("Describe", name="computer")[:-1]
    calls = {
        "DumpXML that is not read": call("DumpXML"),
        "InUse that is not read": call("InUse"),
        "Types that is not read": call("Types"),
        "streams that are not read": call("Snapshot", more=True),
        "60 KB of streams, not read": call("Snapshot", more=True) * 700,
        "watches that are not read": call("Watch", more=True, content="xml"),
        "half messages": b'{"method":"' + b"x" * 250_000,
        "watches of 37,000 names": watch,
        "different calls": b"".join(one + b" " * number + b"\0" for number in range(2000)),
    }
    for title, message in calls.items():
        yield title, _sending(daemon.varlink, message)
    opening = _packet(remote.OPEN, remote.Open("nodedev:///system", 0))
    long = _registration(b"x" * 250_000)
    short = b"".join(_registration(b"pci_%08d" % number) for number in range(1024))
    yield "registrations", _sending(daemon.libvirt, opening + long + short)
    lists = _packet(remote.LIST_ALL, remote.ListAll(1, 0)) * 100
    yield "lists that are not read", _sending(daemon.libvirt, opening + lists)


def _sending(protocol: Protocol, message: bytes) -> Callable[[], Iterator[None]]:
    """Return an attack of many clients that send a message, and never read."""

    def attack() -> Iterator[None]:
        held = connected(protocol, CONNECTIONS)
        sent = [0] * len(held)
        until = time.monotonic() + _SEND_SECONDS
        # What is large does not fit into a socket's buffer at once.
        while min(sent) < len(message) and time.monotonic() < until:
            for number, sock in enumerate(held):
                sent[number] += send(sock, message[sent[number] : sent[number] + (1 << 18)])
        yield

    return attack


def _registration(name: bytes) -> bytes:
    return _packet(remote.REGISTER_EVENT, remote.Registration(0, name.decode()))


def _packet(procedure: Procedure[Any, Any], arguments: object) -> bytes:
    header = Header(remote.REMOTE, remote.VERSION, procedure.number, MessageType.CALL, 0, 0)
    return remote.encode_packet(header, xdr.encode(procedure.arguments, arguments))
