"""The hostile clients of a soak, as a process that makes itself one of a user without any rights.

  python -m benchmarks.soak.hostile SOCKET LIBVIRT_SOCKET CONNECTIONS

Prints `ready` when all have begun; goes on until its standard input ends, then prints its `Deeds`
as JSON.
"""

from __future__ import annotations

import os
import random
import select
import socket
import sys
import time
from collections.abc import Callable, Sequence

import msgspec

from nodedevd.server.libvirt import protocol as remote
from nodedevd.server.libvirt import xdr
from nodedevd.server.libvirt.protocol import Header, MessageType
from nodedevd.socket_paths import INTERFACE
from nodedevd.varlink import encode_call

NOBODY = 65534
"""the user that owns nothing, and shares no uid with the daemon"""
PAUSE_SECONDS = 0.02
"""between turns: the processor is for the daemon"""
_LIFE_SECONDS = 8.0
_REST_SECONDS = 0.5
"""after the daemon refused"""
_BACKLOG_BYTES = 60_000


class Deeds(msgspec.Struct):
    """What they did."""

    connections: int = 0
    refused: int = 0
    """connections that the daemon did not take, or closed"""
    sent_bytes: int = 0
    received_bytes: int = 0


def _packet(number: int, payload: bytes) -> bytes:
    header = Header(remote.REMOTE, remote.VERSION, number, MessageType.CALL, 0, 0)
    return remote.encode_packet(header, payload)


def _repeated(call: bytes) -> bytes:
    return call * (_BACKLOG_BYTES // len(call) + 1)


_CALLS = (
    encode_call(f"{INTERFACE}.GetStatus"),
    encode_call(f"{INTERFACE}.Resolve", {"text": "no_such_device_anywhere"}),
    encode_call(f"{INTERFACE}.Fits", {"type": "NVIDIA RTX 6000 Ada-4Q"}),
    encode_call(f"{INTERFACE}.List", {"capabilities": ["mdev_types"]}),
    encode_call(f"{INTERFACE}.Describe", {"name": "a" * 200}),
)
_EXPENSIVE = _repeated(b"".join(_CALLS))
_EVERYTHING = _repeated(encode_call(f"{INTERFACE}.DumpXML", {"format": "libvirt"}))
_NAMES = encode_call(
    f"{INTERFACE}.Watch",
    {"content": "json", "names": [f"device_{number:05}" for number in range(10_000)]},
    more=True,
)
_OPEN = _packet(remote.OPEN.number, xdr.encode(remote.OPEN.arguments, remote.Open(None, 0)))
_REGISTRATIONS = _OPEN + b"".join(
    _packet(
        remote.REGISTER_EVENT.number,
        xdr.encode(
            remote.REGISTER_EVENT.arguments, remote.Registration(0, f"device_{number:05}" * 12)
        ),
    )
    for number in range(1024)
)


class Hostile:
    """One of them: it connects, sends, perhaps reads, and comes back."""

    def __init__(
        self,
        path: str,
        deeds: Deeds,
        chance: random.Random,
        *,
        makes: Callable[[random.Random], bytes],
        reads: bool,
        life_seconds: float = _LIFE_SECONDS,
    ) -> None:
        self._path = path
        self._deeds = deeds
        self._chance = chance
        self._makes = makes
        self._reads = reads
        self._life_seconds = life_seconds
        self._socket: socket.socket | None = None
        self._unsent = b""
        self._until = 0.0

    def act(self, now: float) -> None:
        """Do what can be done without waiting."""
        try:
            if now > self._until:
                self._connect(now)
            if self._socket is not None:
                self._talk(self._socket)
        except BlockingIOError:
            pass
        except OSError:
            self._deeds.refused += 1
            self._leave()
            self._until = now + _REST_SECONDS

    def _connect(self, now: float) -> None:
        self._leave()
        self._until = now + self._life_seconds * (0.5 + self._chance.random())
        self._deeds.connections += 1
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.setblocking(False)
        self._socket.connect(self._path)

    def _leave(self) -> None:
        if self._socket is not None:
            self._socket.close()
        self._socket = None
        self._unsent = b""

    def _talk(self, sock: socket.socket) -> None:
        if self._reads and select.select([sock], [], [], 0)[0]:
            data = sock.recv(1 << 16)
            self._deeds.received_bytes += len(data)
            if not data:
                raise ConnectionResetError
        self._unsent = self._unsent or self._makes(self._chance)
        sent = sock.send(self._unsent)
        self._deeds.sent_bytes += sent
        self._unsent = self._unsent[sent:]


def _garbage(chance: random.Random) -> bytes:
    return chance.randbytes(2000) + b"\0" + b"{" * 300 + b"\0"


def _damaged(chance: random.Random) -> bytes:
    packet = bytearray(_packet(chance.choice([1, 66, 111, 113, 285, 374]), chance.randbytes(40)))
    packet[4 + chance.randrange(24)] = chance.randrange(256)
    return bytes(packet)


def _half(chance: random.Random) -> bytes:
    return b'{"method":"' + b"a" * 200_000


def _half_packet(chance: random.Random) -> bytes:
    return (256 << 10).to_bytes(4, "big") + bytes(100_000)


def hostile(path: str, libvirt_path: str, number: int, deeds: Deeds) -> Hostile:
    """Return one of ten kinds."""
    kinds: Sequence[tuple[str, Callable[[random.Random], bytes], bool, float]] = (
        (path, _garbage, True, _LIFE_SECONDS),
        (libvirt_path, _damaged, True, _LIFE_SECONDS),
        (path, _half, True, _LIFE_SECONDS),
        (libvirt_path, _half_packet, True, _LIFE_SECONDS),
        (path, lambda _: _EVERYTHING, False, _LIFE_SECONDS),
        (path, lambda _: _EXPENSIVE, True, _LIFE_SECONDS),
        (path, lambda _: _EXPENSIVE, False, _LIFE_SECONDS),
        (path, lambda _: _NAMES, True, _LIFE_SECONDS),
        (libvirt_path, lambda _: _REGISTRATIONS, False, _LIFE_SECONDS),
        (path, lambda _: _CALLS[0], True, 0.1),
    )
    where, makes, reads, life = kinds[number % len(kinds)]
    chance = random.Random(number)
    return Hostile(where, deeds, chance, makes=makes, reads=reads, life_seconds=life)


def main(path: str, libvirt_path: str, connections: int) -> Deeds:
    """Act until the standard input ends."""
    os.setgroups([])
    os.setresgid(NOBODY, NOBODY, NOBODY)
    os.setresuid(NOBODY, NOBODY, NOBODY)
    deeds = Deeds()
    clients = [hostile(path, libvirt_path, one, deeds) for one in range(connections)]
    for client in clients:
        client.act(time.monotonic())
    print("ready", flush=True)
    while not select.select([sys.stdin], [], [], PAUSE_SECONDS)[0]:
        for client in clients:
            client.act(time.monotonic())
    return deeds


if __name__ == "__main__":
    done = main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
    print(msgspec.json.encode(done).decode())
