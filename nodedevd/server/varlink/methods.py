"""DevicesInterface: the handlers of the methods of org.nodedevd.Devices.

`org.nodedevd.Devices.varlink` beside this file describes the interface.
"""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TypeAlias

import msgspec

from nodedevd.errors import ExpectedMore, NotInFormat
from nodedevd.formats import Format, native
from nodedevd.model.device import Device, filter_words
from nodedevd.model.freshness import Freshness
from nodedevd.model.snapshot import Snapshot
from nodedevd.model.status import Status
from nodedevd.names import canonical_name
from nodedevd.questions import vgpus
from nodedevd.questions.fits import fits
from nodedevd.questions.hostdev import HostDevRequest, hostdev
from nodedevd.questions.in_use import VfioUsage
from nodedevd.questions.resolve import resolve
from nodedevd.server.encodings import Encodings, json_text
from nodedevd.server.reply_cache import Cacheable
from nodedevd.server.varlink.answers import Answer, IterableStream
from nodedevd.server.varlink.parameters import (
    DescribeParameters,
    DumpXmlParameters,
    FitsParameters,
    GetStatusParameters,
    InUseParameters,
    ListParameters,
    ResolveParameters,
    SnapshotParameters,
    WatchParameters,
)
from nodedevd.server.varlink.service import Interface, MethodTable, Request
from nodedevd.server.varlink.watch import Filter, WatchReplies, WatchStream
from nodedevd.socket_paths import INTERFACE

CHUNK_BYTES = 512 << 10
"""A reply of a stream ends with the device that takes it past this size."""
_NO_GENERATION = -1  # no change follows it: a watch begins with `resync`

LookUp: TypeAlias = Callable[[], Awaitable[VfioUsage]]
"""Looks at the processes of the host for open devices."""

methods = MethodTable()


async def _look_nowhere() -> VfioUsage:
    return VfioUsage(reason="other-host")


class DevicesInterface:
    """Answers each call from one snapshot of a store.

    Methods that show volatile values wait until they are recent enough; a list never does.
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
        text = Path(__file__).with_name(f"{INTERFACE}.varlink").read_text("utf-8")
        return Interface(INTERFACE, text, methods.bind(self))

    @methods.add("GetStatus", GetStatusParameters)
    def get_status(self, parameters: GetStatusParameters, request: Request) -> Answer:
        """Answer the state of the daemon."""
        return msgspec.json.encode(self._status())

    @methods.add("List", ListParameters)
    def list(self, parameters: ListParameters, request: Request) -> Answer:
        """Answer the names, parents and capabilities of devices."""
        snapshot = self._store.snapshot
        entries = map(self._encodings.entry, snapshot.select(parameters.capabilities))
        return _devices(snapshot.generation, entries, request)

    @methods.add("Describe", DescribeParameters)
    def describe(
        self, parameters: DescribeParameters, request: Request
    ) -> Answer | Awaitable[Answer]:
        """Answer everything known about one device."""
        devices = [self._store.snapshot.lookup(parameters.name)]
        return self._when_fresh(devices, partial(self._describe, parameters))

    def _describe(self, parameters: DescribeParameters) -> Answer:
        snapshot = self._store.snapshot
        device = snapshot.lookup(parameters.name)
        answer = b'{"generation":%d,"device":%b}' % (
            snapshot.generation,
            self._encodings.json(device),
        )
        return Cacheable(answer, self._freshness.fresh_until(device))

    @methods.add("DumpXML", DumpXmlParameters)
    def dump_xml(
        self, parameters: DumpXmlParameters, request: Request
    ) -> Answer | Awaitable[Answer]:
        """Answer XML."""
        devices = self._shown(parameters)
        refreshed = self._freshness.refresh(devices)
        if refreshed is None:
            return self._dump_xml(parameters, request, devices)
        return _after(
            refreshed, lambda: self._dump_xml(parameters, request, self._shown(parameters))
        )

    def _shown(self, parameters: DumpXmlParameters) -> Sequence[Device]:
        """Return the wanted devices, each once: a small call must not cause a huge answer."""
        snapshot, form = self._store.snapshot, parameters.format or "nodedevd"
        if parameters.names is None:
            return [one for one in snapshot if self._encodings.placed(one, form=form) is not None]
        devices = [snapshot.lookup(name) for name in parameters.names]
        for device in devices:
            if self._encodings.placed(device, form=form) is None:
                raise NotInFormat(device.name, form)
        return _each_once(devices)

    def _dump_xml(
        self, parameters: DumpXmlParameters, request: Request, devices: Sequence[Device]
    ) -> Answer:
        snapshot = self._store.snapshot
        names, form = parameters.names, parameters.format or "nodedevd"
        if names is not None and len(names) == 1:
            pieces: Iterable[bytes] = [self._encodings.json_xml(devices[0], form=form)]
        else:
            pieces = self._document(devices, snapshot, form)
        head = b'{"generation":%d,"xml":"' % snapshot.generation
        if request.more:
            return IterableStream(b"".join([head, *chunk, b'"}']) for chunk in _chunks(pieces))
        answer = _join(head, pieces, b"", b'"}')
        if names is None or len(devices) != 1:
            return answer
        return Cacheable(answer, self._freshness.fresh_until(devices[0]))

    def _document(
        self, devices: Iterable[Device], snapshot: Snapshot, form: Format
    ) -> Iterator[bytes]:
        yield json_text(native.opening(snapshot.generation))
        for device in devices:
            yield self._encodings.json_piece(device, snapshot, form=form)
        yield json_text(native.CLOSING)

    @methods.add("HostDev", HostDevRequest)
    def host_dev(self, parameters: HostDevRequest, request: Request) -> Answer | Awaitable[Answer]:
        """Answer the domain XML that assigns a device to a guest."""
        snapshot = self._store.snapshot
        devices = [] if parameters.not_created else [snapshot.lookup(parameters.name)]
        return self._when_fresh(devices, partial(self._host_dev, parameters))

    def _host_dev(self, parameters: HostDevRequest) -> Answer:
        snapshot = self._store.snapshot
        return msgspec.json.encode(hostdev(snapshot, parameters, machine=os.uname().machine))

    @methods.add("Snapshot", SnapshotParameters)
    def snapshot(
        self, parameters: SnapshotParameters, request: Request
    ) -> Answer | Awaitable[Answer]:
        """Answer everything known about devices."""
        if not request.more:
            raise ExpectedMore
        devices = _chosen(self._store.snapshot, parameters)
        return self._when_fresh(devices, partial(self._snapshot, parameters, request))

    def _snapshot(self, parameters: SnapshotParameters, request: Request) -> Answer:
        snapshot = self._store.snapshot
        devices = map(self._encodings.json, _chosen(snapshot, parameters))
        return _devices(snapshot.generation, devices, request)

    @methods.add("Fits", FitsParameters)
    def fits(self, parameters: FitsParameters, request: Request) -> Answer | Awaitable[Answer]:
        """Answer where a number of vGPUs of a type could be created."""
        devices = self._store.snapshot.select(vgpus.CAPABILITIES)
        return self._when_fresh(devices, partial(self._fits, parameters))

    def _fits(self, parameters: FitsParameters) -> Answer:
        found = fits(self._store.snapshot, parameters.type, parameters.count or 1)
        return msgspec.json.encode(found)

    @methods.add("Resolve", ResolveParameters)
    def resolve(self, parameters: ResolveParameters, request: Request) -> Answer:
        """Answer the devices that another tool's name means."""
        return msgspec.json.encode(resolve(self._store.snapshot, parameters.text))

    @methods.add("InUse", InUseParameters)
    async def in_use(self, parameters: InUseParameters, request: Request) -> Answer:
        """Answer which devices are open; the processes only to root and the daemon's own user."""
        _named(self._store.snapshot, parameters.names)
        look = await self._look()
        snapshot = self._store.snapshot
        answer = look.of(snapshot, _named(snapshot, parameters.names))
        if request.peer.uid not in (0, os.geteuid()):
            answer = answer.without_holders()
        return msgspec.json.encode(answer)

    @methods.add("Watch", WatchParameters)
    def watch(self, parameters: WatchParameters, request: Request) -> Answer:
        """Answer the devices, and every change from then on."""
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
            since = _NO_GENERATION
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
    # By name: to hash a device takes longer.
    return list({device.name: device for device in devices}.values())


def _named(snapshot: Snapshot, names: Iterable[str] | None) -> list[Device] | None:
    """Return the named devices, each once: a small call must not cause a huge answer."""
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
    """Group pieces into chunks of about CHUNK_BYTES, at least one chunk."""
    chunk: list[bytes] = []
    size = 0
    for piece in pieces:
        if size >= CHUNK_BYTES:
            yield chunk
            chunk, size = [], 0
        chunk.append(piece)
        size += len(piece)
    yield chunk
