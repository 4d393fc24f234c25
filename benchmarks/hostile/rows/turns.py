"""One user keeps 900 connections full of calls that take long, beside a polite client of root."""

from __future__ import annotations

import selectors
import socket
from collections.abc import Callable, Iterator, Sequence
from itertools import accumulate

from benchmarks.hostile.bed import LARGE, SMALL, Bed, Daemon, call, connected, percentile
from benchmarks.hostile.figure import Figure
from nodedevd.drawing.request import NARROWEST

CONNECTIONS = 900
SECONDS = 1.5
"""of each attack"""
LIMITS_MS = {SMALL: 10.0, LARGE: 25.0}
_PIPE_BYTES = 60_000
_WARM_SECONDS = 0.5
_NAMES = 5000
_WIDTHS = 500


def measure(bed: Bed) -> Iterator[Figure]:
    """Yield the p99 of the polite client by each attack."""
    for devices, limit in LIMITS_MS.items():
        with bed.daemon(devices) as daemon:
            listed = daemon.ask("List", capabilities=["pci"])["devices"]
            names = [one["name"] for one in listed]
            name = names[len(names) // 2]
            describe = call("Describe", name=name)
            measured = [(*attack, describe) for attack in _attacks(names)]
            dump = call("DumpXML", names=[name], format="libvirt")
            measured.append(("DumpXML beside Draw", _drawing(), dump))
            for title, messages, polite in measured:
                with bed.attacker(_flooding(daemon, messages)):
                    daemon.latencies(polite, _WARM_SECONDS)
                    found = daemon.latencies(polite, SECONDS)
                yield Figure(f"{title}, {devices:,}: p99", percentile(found, 99), "ms", limit)


def _attacks(names: list[str]) -> Iterator[tuple[str, Sequence[bytes]]]:
    yield "Describe of no device", [call("Describe", name="z" * 4000)]
    yield "List without a match", [call("List", capabilities=["ap_matrix"])]
    yield "DumpXML", [call("DumpXML", format="libvirt")]
    yield "Snapshot of names", [call("Snapshot", more=True, names=names[:_NAMES])]
    yield "GetStatus", [call("GetStatus")]
    yield "Fits", [call("Fits", type="nosuch")]
    yield "Resolve", [call("Resolve", text="999999")]
    yield "InUse", [call("InUse")]
    yield "Draw", _drawing()


def _drawing() -> Sequence[bytes]:
    """Return calls for pictures of so many widths that none is kept until it is wanted again."""
    return [call("Draw", width=width) for width in range(NARROWEST, NARROWEST + _WIDTHS)]


def _flooding(daemon: Daemon, messages: Sequence[bytes]) -> Callable[[], Iterator[None]]:
    """Return an attack of many clients; each begins with another message."""

    def attack() -> Iterator[None]:
        whole = b"".join(messages)
        block = whole * max(1, _PIPE_BYTES // len(whole))
        starts = list(accumulate(map(len, messages[:-1]), initial=0))
        junk = bytearray(1 << 20)
        with selectors.DefaultSelector() as selector:
            for number, sock in enumerate(connected(daemon.varlink, CONNECTIONS)):
                sock.setblocking(False)
                events = selectors.EVENT_READ | selectors.EVENT_WRITE
                selector.register(sock, events, (sock, [starts[number % len(starts)]]))
            yield
            while selector.get_map():
                for key, _ in selector.select():
                    sock, sent = key.data
                    if not _exchange(sock, block, sent, junk):
                        selector.unregister(sock)

    return attack


def _exchange(sock: socket.socket, block: bytes, sent: list[int], junk: bytearray) -> bool:
    """Send what fits, and read what there is; return whether the daemon has not closed."""
    try:
        sent[0] = (sent[0] + sock.send(memoryview(block)[sent[0] :])) % len(block)
    except BlockingIOError:
        pass
    except OSError:
        return False
    try:
        return bool(sock.recv_into(junk))
    except BlockingIOError:
        return True
    except OSError:
        return False
