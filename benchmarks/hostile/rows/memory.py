"""One user's clients hold as much of the daemon's memory as they can, in one way after another."""

from __future__ import annotations

import itertools
import string
import time
from collections.abc import Callable, Iterator
from typing import Any

from benchmarks.hostile.bed import LARGE, Bed, Daemon, call, connected, send
from benchmarks.hostile.figure import Figure
from nodedevd.server.libvirt import protocol as remote
from nodedevd.server.libvirt import xdr
from nodedevd.server.libvirt.protocol import Header, MessageType, Procedure

CONNECTIONS = 900
SETTLE_SECONDS = 60.0
"""After so long without these clients, the memory is free again."""
GROWTH_MIB, LEFT_MIB = 64.0, 1.0
_NAME_BYTES = 200_000


def measure(bed: Bed) -> Iterator[Figure]:
    """Yield how much the daemon grows by each attack, and what is left after the last."""
    with bed.daemon(LARGE) as daemon:
        daemon.ask("DumpXML")
        time.sleep(1)
        before = daemon.rss_mib()
        for title, attack in _attacks(daemon):
            daemon.forget_highest_rss()
            with bed.attacker(attack):
                _wait_at_rest(daemon)
            yield Figure(f"memory: {title}", daemon.highest_rss_mib() - before, "MiB", GROWTH_MIB)
        until = time.monotonic() + SETTLE_SECONDS
        while daemon.rss_mib() > before + LEFT_MIB and time.monotonic() < until:
            time.sleep(0.5)
        yield Figure("memory: left a minute later", daemon.rss_mib() - before, "MiB", LEFT_MIB)


def _wait_at_rest(daemon: Daemon) -> None:
    """Wait until the daemon has done what it was asked for."""
    used = -1.0
    while daemon.cpu_seconds() - used > 0.02:
        used = daemon.cpu_seconds()
        time.sleep(0.3)


def _attacks(daemon: Daemon) -> Iterator[tuple[str, Callable[[], Iterator[None]]]]:
    names = ["".join(four) for four in itertools.product(string.ascii_lowercase, repeat=4)]
    watch = call("Watch", more=True, snapshot=False, names=names[:37_000]).replace(b", ", b",")
    calls = {
        "DumpXML that is not read": call("DumpXML"),
        "InUse that is not read": call("InUse"),
        "streams that are not read": call("Snapshot", more=True),
        "watches that are not read": call("Watch", more=True, content="xml"),
        "half messages": b'{"method":"' + b"x" * 250_000,
        "watches of 37,000 names": watch,
    }
    for title, message in calls.items():
        yield title, _sending(daemon, message)
    yield "different calls, for the cache", _reading(daemon)
    yield "libvirt's registrations", _registering(daemon)


def _sending(daemon: Daemon, message: bytes) -> Callable[[], Iterator[None]]:
    def attack() -> Iterator[None]:
        held = connected(daemon.varlink, CONNECTIONS)
        # What is large does not fit into a socket's buffer at once.
        sent = [0] * len(held)
        for _ in range(20):
            for number, sock in enumerate(held):
                sent[number] += send(sock, message[sent[number] :])
            time.sleep(0.05)
        yield

    return attack


def _reading(daemon: Daemon) -> Callable[[], Iterator[None]]:
    def attack() -> Iterator[None]:
        (sock,) = connected(daemon.varlink, 1)
        for number in range(10_000):
            sock.sendall(call("Describe", name="computer")[:-1] + b" " * number + b"\0")
            while not sock.recv(1 << 16).endswith(b"\0"):
                pass
        yield

    return attack


def _registering(daemon: Daemon) -> Callable[[], Iterator[None]]:
    def attack() -> Iterator[None]:
        held = connected(daemon.libvirt, CONNECTIONS)
        opening = _packet(remote.OPEN, remote.Open("nodedev:///system", 0))
        for sock in held:
            send(sock, opening)
            for number in range(20):
                name = f"{number:08}" + "x" * _NAME_BYTES
                send(sock, _packet(remote.REGISTER_EVENT, remote.Registration(0, name)))
            for number in range(1024):
                name = f"pci_{number:08}"
                send(sock, _packet(remote.REGISTER_EVENT, remote.Registration(0, name)))
        yield

    return attack


def _packet(procedure: Procedure[Any, Any], arguments: object) -> bytes:
    header = Header(remote.REMOTE, remote.VERSION, procedure.number, MessageType.CALL, 0, 0)
    return remote.encode_packet(header, xdr.encode(procedure.arguments, arguments))
