"""org.nodedevd.Devices: the methods that are served, over a store.

The interface is described in `org.nodedevd.Devices.varlink` beside this file.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from importlib.resources import files
from typing import Literal

import msgspec

from nodedevd.dialects import native
from nodedevd.errors import ExpectedMore, InvalidParameter
from nodedevd.model import Device
from nodedevd.service import Answer, Interface, IterableStream, Method, Request
from nodedevd.source import entry
from nodedevd.status import Status
from nodedevd.store import Store, json_text

NAME = "org.nodedevd.Devices"
CHUNK_BYTES = 512 << 10
"""A reply of a stream ends with the device that takes it past this size."""


class NoParameters(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A method that takes nothing."""


class Selection(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which devices, by capability."""

    capabilities: list[str] | None = None


class DescribeParameters(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which device."""

    name: str


class DumpParameters(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which devices, in which format."""

    names: list[str] | None = None
    format: Literal["nodedevd", "libvirt"] | None = None


class DevicesInterface:
    """The handlers. Each answers from one snapshot; none waits for anything."""

    def __init__(self, store: Store, status: Callable[[], Status]) -> None:
        self._store = store
        self._status = status

    def interface(self) -> Interface:
        """Return the interface, ready to be served."""
        return Interface(
            name=NAME,
            description=files("nodedevd").joinpath(f"{NAME}.varlink").read_text(),
            methods={
                "GetStatus": Method(NoParameters, self.get_status),
                "List": Method(Selection, self.list),
                "Describe": Method(DescribeParameters, self.describe),
                "DumpXML": Method(DumpParameters, self.dump_xml),
                "Snapshot": Method(Selection, self.snapshot),
            },
        )

    def get_status(self, parameters: NoParameters, request: Request) -> Answer:
        """Answer how the daemon is doing."""
        return msgspec.json.encode(self._status())

    def list(self, parameters: Selection, request: Request) -> Answer:
        """Answer the names, parents and capabilities of devices."""
        snapshot = self._store.snapshot
        entries = (
            msgspec.json.encode(entry(device))
            for device in snapshot.select(parameters.capabilities)
        )
        return _devices(snapshot.generation, entries, request)

    def describe(self, parameters: DescribeParameters, request: Request) -> Answer:
        """Answer all that is known of one device."""
        snapshot = self._store.snapshot
        device = self._store.json(snapshot.lookup(parameters.name))
        return b'{"generation":%d,"device":%b}' % (snapshot.generation, device)

    def dump_xml(self, parameters: DumpParameters, request: Request) -> Answer:
        """Answer XML."""
        if parameters.format == "libvirt":
            raise InvalidParameter("format", "this version writes the format nodedevd alone")
        snapshot = self._store.snapshot
        names = parameters.names
        if names is not None and len(names) == 1:
            pieces: Iterable[bytes] = [self._store.xml(snapshot.lookup(names[0]))]
        else:
            # A name given twice counts once: a small request must not ask for a huge answer.
            named = dict.fromkeys(map(snapshot.lookup, names or ()))
            devices = snapshot if names is None else named
            pieces = self._document(devices, snapshot.generation)
        head = b'{"generation":%d,"xml":"' % snapshot.generation
        chunks = (b"".join([head, *chunk, b'"}']) for chunk in _chunks(pieces))
        return IterableStream(chunks) if request.more else _join(head, pieces, b"", b'"}')

    def _document(self, devices: Iterable[Device], generation: int) -> Iterator[bytes]:
        yield json_text(native.opening(generation))
        for device in devices:
            # One level deeper: each line of the device's XML is moved to the right.
            yield b"  " + self._store.xml(device)[:-2].replace(b"\\n", b"\\n  ") + b"\\n"
        yield json_text(native.CLOSING)

    def snapshot(self, parameters: Selection, request: Request) -> Answer:
        """Answer all that is known of all devices."""
        if not request.more:
            raise ExpectedMore
        snapshot = self._store.snapshot
        devices = map(self._store.json, snapshot.select(parameters.capabilities))
        return _devices(snapshot.generation, devices, request)


def _devices(generation: int, objects: Iterable[bytes], request: Request) -> Answer:
    head = b'{"generation":%d,"devices":[' % generation
    if not request.more:
        return _join(head, objects, b",", b"]}")
    return IterableStream(head + b",".join(chunk) + b"]}" for chunk in _chunks(objects))


def _join(head: bytes, pieces: Iterable[bytes], separator: bytes, tail: bytes) -> bytes:
    return b"".join((head, separator.join(pieces), tail))


def _chunks(pieces: Iterable[bytes]) -> Iterator[list[bytes]]:
    """Group pieces into chunks of about CHUNK_BYTES; there is at least one chunk."""
    chunk: list[bytes] = []
    size = 0
    for piece in pieces:
        if size >= CHUNK_BYTES:
            yield chunk
            chunk, size = [], 0
        chunk.append(piece)
        size += len(piece)
    yield chunk
