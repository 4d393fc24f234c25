"""org.nodedevd.Devices: the methods that are served, over a store.

The interface is described in `org.nodedevd.Devices.varlink` beside this file.
"""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Annotated, TypeAlias

import msgspec

from nodedevd.errors import ExpectedMore, NotInFormat
from nodedevd.formats import Format, native
from nodedevd.model.device import Device, filter_words
from nodedevd.model.freshness import Freshness
from nodedevd.model.snapshot import Snapshot
from nodedevd.model.status import Status
from nodedevd.names import canonical_name
from nodedevd.questions import vgpus
from nodedevd.questions.fits import COUNT_AT_MOST, fits
from nodedevd.questions.hostdev import HostDevRequest, hostdev
from nodedevd.questions.in_use import Look
from nodedevd.questions.resolve import resolve
from nodedevd.server.encodings import Encodings, json_text
from nodedevd.server.varlink.service import (
    Answer,
    Interface,
    IterableStream,
    Lasting,
    Method,
    Request,
)
from nodedevd.server.varlink.watch import Content, Filter, WatchReplies, WatchStream

NAME = "org.nodedevd.Devices"
CHUNK_BYTES = 512 << 10
"""A reply of a stream ends with the device that takes it past this size."""


class NoParameters(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A method that takes nothing."""


class Selection(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which devices, by capability."""

    capabilities: list[str] | None = None


class SnapshotParameters(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which devices, by capability or by name."""

    capabilities: list[str] | None = None
    names: list[str] | None = None


class DescribeParameters(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which device."""

    name: str


class DumpParameters(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which devices, in which format."""

    names: list[str] | None = None
    format: Format | None = None


class FitsParameters(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How many of which type."""

    type: str
    count: Annotated[int, msgspec.Meta(ge=1, le=COUNT_AT_MOST)] | None = None


class ResolveParameters(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a device is called elsewhere."""

    text: str


class InUseParameters(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which devices."""

    names: list[str] | None = None


class WatchParameters(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What to be told of, and from when on."""

    capabilities: list[str] | None = None
    names: list[str] | None = None
    snapshot: bool | None = None
    content: Content | None = None
    since: int | None = None
    instance: str | None = None


LookUp: TypeAlias = Callable[[], Awaitable[Look]]
"""Has the processes looked at for who uses a device."""


async def _look_nowhere() -> Look:
    return Look(reason="other-host")


class DevicesInterface:
    """The handlers. Each answers from one snapshot.

    Those that show counts wait, if need be, until these were read again; a list never does.
    """

    def __init__(
        self,
        encodings: Encodings,
        status: Callable[[], Status],
        freshness: Freshness,
        look: LookUp = _look_nowhere,
    ) -> None:
        self._store = encodings.store
        self._encodings = encodings
        self._watch_replies = WatchReplies(encodings)
        self._status = status
        self._freshness = freshness
        self._look = look

    def interface(self) -> Interface:
        """Return the interface, ready to be served."""
        return Interface(
            name=NAME,
            description=Path(__file__).with_name(f"{NAME}.varlink").read_text("utf-8"),
            methods={
                "GetStatus": Method(NoParameters, self.get_status),
                "List": Method(Selection, self.list),
                "Describe": Method(DescribeParameters, self.describe),
                "DumpXML": Method(DumpParameters, self.dump_xml),
                "HostDev": Method(HostDevRequest, self.hostdev),
                "Snapshot": Method(SnapshotParameters, self.snapshot),
                "Fits": Method(FitsParameters, self.fits),
                "Resolve": Method(ResolveParameters, self.resolve),
                "InUse": Method(InUseParameters, self.in_use),
                "Watch": Method(WatchParameters, self.watch),
            },
        )

    def get_status(self, parameters: NoParameters, request: Request) -> Answer:
        """Answer how the daemon is doing."""
        return msgspec.json.encode(self._status())

    def list(self, parameters: Selection, request: Request) -> Answer:
        """Answer the names, parents and capabilities of devices."""
        snapshot = self._store.snapshot
        entries = map(self._encodings.entry, snapshot.select(parameters.capabilities))
        return _devices(snapshot.generation, entries, request)

    def describe(
        self, parameters: DescribeParameters, request: Request
    ) -> Answer | Awaitable[Answer]:
        """Answer all that is known of one device."""
        devices = [self._store.snapshot.lookup(parameters.name)]
        return self._when_fresh(devices, partial(self._describe, parameters))

    def _describe(self, parameters: DescribeParameters) -> Answer:
        snapshot = self._store.snapshot
        device = snapshot.lookup(parameters.name)
        answer = b'{"generation":%d,"device":%b}' % (
            snapshot.generation,
            self._encodings.json(device),
        )
        return Lasting.to(self._freshness.fresh_until(device), answer)

    def dump_xml(self, parameters: DumpParameters, request: Request) -> Answer | Awaitable[Answer]:
        """Answer XML."""
        devices = self._shown(parameters)
        refreshed = self._freshness.refresh(devices)
        if refreshed is None:
            return self._dump_xml(parameters, request, devices)
        return _after(
            refreshed, lambda: self._dump_xml(parameters, request, self._shown(parameters))
        )

    def _shown(self, parameters: DumpParameters) -> Sequence[Device]:
        """Return the devices that are asked for, and shown.

        A name given twice counts once: a small request must not ask for a huge answer.
        """
        snapshot, form = self._store.snapshot, parameters.format or "nodedevd"
        if parameters.names is None:
            return [one for one in snapshot if self._encodings.placed(one, form=form) is not None]
        devices = [snapshot.lookup(name) for name in parameters.names]
        for device in devices:
            if self._encodings.placed(device, form=form) is None:
                raise NotInFormat(device.name, form)
        return _each_once(devices)

    def _dump_xml(
        self, parameters: DumpParameters, request: Request, devices: Sequence[Device]
    ) -> Answer:
        snapshot = self._store.snapshot
        names, form = parameters.names, parameters.format or "nodedevd"
        if names is not None and len(names) == 1:
            pieces: Iterable[bytes] = [self._encodings.json_xml(devices[0], form=form)]
        else:
            pieces = self._document(devices, snapshot, form)
        head = b'{"generation":%d,"xml":"' % snapshot.generation
        if not request.more:
            answer = _join(head, pieces, b"", b'"}')
            if names is None or len(devices) != 1:
                return answer
            return Lasting.to(self._freshness.fresh_until(devices[0]), answer)
        return IterableStream(b"".join([head, *chunk, b'"}']) for chunk in _chunks(pieces))

    def _document(
        self, devices: Iterable[Device], snapshot: Snapshot, form: Format
    ) -> Iterator[bytes]:
        yield json_text(native.opening(snapshot.generation))
        for device in devices:
            yield self._encodings.json_piece(device, snapshot, form=form)
        yield json_text(native.CLOSING)

    def hostdev(self, parameters: HostDevRequest, request: Request) -> Answer | Awaitable[Answer]:
        """Answer the domain XML that hands a device to a guest."""
        snapshot = self._store.snapshot
        devices = [] if parameters.not_created else [snapshot.lookup(parameters.name)]
        return self._when_fresh(devices, partial(self._hostdev, parameters))

    def _hostdev(self, parameters: HostDevRequest) -> Answer:
        snapshot = self._store.snapshot
        return msgspec.json.encode(hostdev(snapshot, parameters, machine=os.uname().machine))

    def snapshot(
        self, parameters: SnapshotParameters, request: Request
    ) -> Answer | Awaitable[Answer]:
        """Answer all that is known of devices."""
        if not request.more:
            raise ExpectedMore
        devices = _chosen(self._store.snapshot, parameters)
        return self._when_fresh(devices, partial(self._snapshot, parameters, request))

    def _snapshot(self, parameters: SnapshotParameters, request: Request) -> Answer:
        snapshot = self._store.snapshot
        devices = map(self._encodings.json, _chosen(snapshot, parameters))
        return _devices(snapshot.generation, devices, request)

    def fits(self, parameters: FitsParameters, request: Request) -> Answer | Awaitable[Answer]:
        """Answer where so many vGPUs of a type could be created."""
        devices = self._store.snapshot.select(vgpus.CAPABILITIES)
        return self._when_fresh(devices, partial(self._fits, parameters))

    def _fits(self, parameters: FitsParameters) -> Answer:
        found = fits(self._store.snapshot, parameters.type, parameters.count or 1)
        return msgspec.json.encode(found)

    def resolve(self, parameters: ResolveParameters, request: Request) -> Answer:
        """Answer which device is meant."""
        return msgspec.json.encode(resolve(self._store.snapshot, parameters.text))

    async def in_use(self, parameters: InUseParameters, request: Request) -> Answer:
        """Answer whether devices are open; by whom, only to root and the daemon's own user."""
        _named(self._store.snapshot, parameters.names)
        look = await self._look()
        snapshot = self._store.snapshot
        answer = look.of(snapshot, _named(snapshot, parameters.names))
        if request.peer.uid not in (0, os.geteuid()):
            answer = answer.without_holders()
        return msgspec.json.encode(answer)

    def watch(self, parameters: WatchParameters, request: Request) -> Answer:
        """Answer what there is, and go on with what changes."""
        if not request.more:
            raise ExpectedMore
        types = None
        if parameters.capabilities is not None:
            types = filter_words(parameters.capabilities)
        names = None
        if parameters.names is not None:
            names = frozenset(map(canonical_name, parameters.names))
        since = parameters.since
        if since is not None and parameters.instance not in (None, self._store.instance):
            since = -1  # of another process: nothing here follows it
        return WatchStream(
            self._watch_replies,
            Filter(types, names),
            snapshot=parameters.snapshot is not False,
            content=parameters.content or "none",
            since=since,
        )

    def _when_fresh(
        self, devices: Iterable[Device], answer: Callable[[], Answer]
    ) -> Answer | Awaitable[Answer]:
        refreshed = self._freshness.refresh(devices)
        return answer() if refreshed is None else _after(refreshed, answer)


def _each_once(devices: Iterable[Device]) -> list[Device]:
    """Leave out what comes again. A device's name says which it is; to hash it takes longer."""
    return list({device.name: device for device in devices}.values())


def _named(snapshot: Snapshot, names: Iterable[str] | None) -> list[Device] | None:
    # A name given twice counts once: a small request must not ask for a huge answer.
    return None if names is None else _each_once(map(snapshot.lookup, names))


def _chosen(snapshot: Snapshot, parameters: SnapshotParameters) -> Iterable[Device]:
    named = _named(snapshot, parameters.names)
    if named is None:
        return snapshot.select(parameters.capabilities)
    if parameters.capabilities is None:
        return named
    wanted = filter_words(parameters.capabilities)
    return [device for device in named if device.passes(wanted)]


async def _after(refreshed: Awaitable[None], answer: Callable[[], Answer]) -> Answer:
    await refreshed
    return answer()


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
