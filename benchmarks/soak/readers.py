"""The clients of a soak that read, and some that never do, as a process of their own.

  python -m benchmarks.soak.readers SOCKET LIBVIRT_SOCKET WATCHERS IDLE LIBVIRT

Prints `ready` when all watch. On a line `finish GENERATION` it waits until every watcher is there,
then prints a `Report` as JSON, and ends.
"""

from __future__ import annotations

import hashlib
import json
import selectors
import socket
import sys
import time
from collections import Counter
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import msgspec

from nodedevd.server.libvirt import protocol as remote
from nodedevd.server.libvirt import xdr
from nodedevd.server.libvirt.devices import EVENT_LIFECYCLE, EVENT_UPDATE, LifecycleEvent
from nodedevd.server.libvirt.protocol import Header, MessageType, PacketDecoder, Procedure
from nodedevd.socket_paths import INTERFACE
from nodedevd.varlink import encode_call

PATIENCE_SECONDS = 600.0
_WATCH = encode_call(f"{INTERFACE}.Watch", {"content": "json"}, more=True)


class Report(msgspec.Struct):
    """What the clients know in the end."""

    digests: dict[str, int]
    """of the devices as watchers know them, each with the number of these watchers"""
    events: int
    """events of all watchers"""
    resyncs: int
    behind: int
    """watchers that have not reached the last generation"""
    contradictions: list[str]
    """events that cannot be, after what the watcher was told before"""
    libvirt_events: int
    libvirt_differ: int
    """clients of libvirt whose names, kept by events, are not those of a list"""


class Event(msgspec.Struct):
    """One reply to a watch."""

    event: str
    generation: int
    name: str | None = None
    device: msgspec.Raw = msgspec.Raw(b"null")


class _Parameters(msgspec.Struct):
    parameters: Event


_decode = lru_cache(maxsize=512)(msgspec.json.Decoder(_Parameters).decode)


@lru_cache(maxsize=4096)
def _canonical(device: bytes) -> str:
    return json.dumps(json.loads(device), sort_keys=True)


def digest_of(devices: Mapping[str, bytes]) -> str:
    """Return what is the same for equal devices, by name."""
    lines = [f"{name} {_canonical(device)}" for name, device in sorted(devices.items())]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:16]


def _connected(path: str) -> socket.socket:
    sock = socket.socket(socket.AF_UNIX)
    sock.connect(path)
    return sock


class Watcher:
    """Keeps the devices by its events alone."""

    def __init__(self, path: str) -> None:
        self.socket = _connected(path)
        self.socket.sendall(_WATCH)
        self.devices: dict[str, bytes] = {}
        self.generation = -1
        self.ready = False
        self.events = 0
        self.resyncs = 0
        self.contradictions: list[str] = []
        self._begun = b""

    def read(self) -> bool:
        """Take what has arrived; return whether the daemon still has the connection."""
        data = self.socket.recv(1 << 18)
        *messages, self._begun = (self._begun + data).split(b"\0")
        for message in messages:
            self._apply(_decode(message).parameters)
        return bool(data)

    def _apply(self, event: Event) -> None:
        self.events += 1
        match event.event:
            case "resync":
                self.devices, self.ready = {}, False
                self.resyncs += 1
            case "ready":
                self.ready = True
            case "removed":
                self._expect(event, self.devices.pop(event.name or "", None) is not None)
            case kind:
                known = event.name in self.devices
                self._expect(event, known == (kind == "changed"))
                self.devices[event.name or ""] = bytes(event.device)
        self._expect(event, event.generation >= self.generation)
        self.generation = event.generation

    def _expect(self, event: Event, holds: bool) -> None:
        if not holds and len(self.contradictions) < 10:
            self.contradictions.append(f"{event.event} {event.name} at {event.generation}")


class LibvirtClient:
    """Keeps the names of the devices by its events alone."""

    def __init__(self, path: str) -> None:
        self.socket = _connected(path)
        self.names: set[str] = set()
        self.listed: set[str] = set()
        self.events = 0
        self._decoder = PacketDecoder(remote.PACKET_MAX_BYTES)
        self._send(remote.OPEN, remote.Open(None, 0))
        for event in (EVENT_LIFECYCLE, EVENT_UPDATE):
            self._send(remote.REGISTER_EVENT, remote.Registration(event, None))
        self.list()
        while not self.listed:
            if not self.read():
                raise ConnectionError("the daemon closed a connection of libvirt's protocol")
        self.names = set(self.listed)

    def list(self) -> None:
        """Ask for all names."""
        self.listed = set()
        self._send(remote.LIST_ALL, remote.ListAll(1, 0))

    def read(self) -> bool:
        """Take what has arrived; return whether the daemon still has the connection."""
        data = self.socket.recv(1 << 18)
        self._decoder.feed(data)
        while (packet := self._decoder.next()) is not None:
            header, payload = packet.header, packet.payload or b""
            if header.type == MessageType.MESSAGE:
                self._apply(header, payload)
            elif header.procedure == remote.LIST_ALL.number:
                self.listed = set(xdr.decode(remote.LIST_ALL.result, payload).devices)
        return bool(data)

    def _apply(self, header: Header, payload: bytes) -> None:
        self.events += 1
        if header.procedure != remote.EVENT_LIFECYCLE.number:
            return
        event = xdr.decode(remote.EVENT_LIFECYCLE.arguments, payload)
        if event.event == LifecycleEvent.CREATED:
            self.names.add(event.device)
        elif event.event == LifecycleEvent.DELETED:
            self.names.discard(event.device)

    def _send(self, procedure: Procedure[Any, Any], arguments: Any) -> None:
        header = Header(remote.REMOTE, remote.VERSION, procedure.number, MessageType.CALL, 0, 0)
        self.socket.sendall(
            remote.encode_packet(header, xdr.encode(procedure.arguments, arguments))
        )


class Readers:
    """All these clients, and the standard input, in one loop."""

    def __init__(self, path: str, libvirt_path: str, watchers: int, idle: int, libvirt: int):
        self._selector = selectors.DefaultSelector()
        self._watchers = [Watcher(path) for _ in range(watchers)]
        self._libvirt = [LibvirtClient(libvirt_path) for _ in range(libvirt)]
        self._idle = [_connected(path) for _ in range(idle)]
        for sock in self._idle:
            sock.sendall(_WATCH)
        clients: list[Watcher | LibvirtClient] = [*self._watchers, *self._libvirt]
        for client in clients:
            self._selector.register(client.socket, selectors.EVENT_READ, client)
        self._closed: list[str] = []

    def run(self) -> Report:
        """Read until the line `finish`, then until every watcher is at its generation."""
        while not all(watcher.ready for watcher in self._watchers):
            self._turn(1.0)
        print("ready", flush=True)
        self._selector.register(sys.stdin, selectors.EVENT_READ, None)
        while not (line := self._turn(60.0)):
            pass
        self._selector.unregister(sys.stdin)
        generation = int(line.split()[1])
        deadline = time.monotonic() + PATIENCE_SECONDS
        while self._behind(generation) and time.monotonic() < deadline:
            self._turn(1.0)
        for client in self._libvirt:
            client.list()
        while not all(client.listed for client in self._libvirt) and time.monotonic() < deadline:
            self._turn(1.0)
        return self._report(generation)

    def _behind(self, generation: int) -> int:
        return sum(
            not watcher.ready or watcher.generation < generation for watcher in self._watchers
        )

    def _turn(self, seconds: float) -> str:
        line = ""
        for key, _ in self._selector.select(seconds):
            client = key.data
            if client is None:
                line = sys.stdin.readline() or "finish 0"
            elif not client.read():
                self._selector.unregister(client.socket)
                self._closed.append(
                    f"the daemon closed the connection of a {type(client).__name__}"
                )
        return line

    def _report(self, generation: int) -> Report:
        digests = Counter(digest_of(watcher.devices) for watcher in self._watchers)
        contradictions = [text for one in self._watchers for text in one.contradictions]
        return Report(
            digests=dict(digests),
            events=sum(one.events for one in self._watchers),
            resyncs=sum(one.resyncs for one in self._watchers),
            behind=self._behind(generation),
            contradictions=[*self._closed[:10], *contradictions[:10]],
            libvirt_events=sum(one.events for one in self._libvirt),
            libvirt_differ=sum(one.names != one.listed for one in self._libvirt),
        )


if __name__ == "__main__":
    path, libvirt_path, *numbers = sys.argv[1:]
    print(msgspec.json.encode(Readers(path, libvirt_path, *map(int, numbers)).run()).decode())
