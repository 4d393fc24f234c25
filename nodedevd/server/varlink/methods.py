"""DevicesInterface: the handlers of the methods of org.nodedevd.Devices.

`org.nodedevd.Devices.varlink` beside this file describes the interface.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path

import msgspec

from nodedevd.errors import ExpectedMore, NotInFormat
from nodedevd.formats import Format, native
from nodedevd.host.assignment import AssignmentFacts
from nodedevd.host.device_nodes import DeviceNodes
from nodedevd.model.device import Device, filter_words
from nodedevd.model.freshness import Freshness
from nodedevd.model.snapshot import Snapshot
from nodedevd.model.status import Status
from nodedevd.names import canonical_name
from nodedevd.questions import vgpus
from nodedevd.questions.fits import fits, types
from nodedevd.questions.hostdev import hostdev
from nodedevd.questions.hostdev.facts import HostDevFacts, needs_host
from nodedevd.questions.hostdev.request import HostDevRequest
from nodedevd.questions.in_use import VfioUsage
from nodedevd.questions.resolve import needs_nodes, resolve
from nodedevd.server.encodings import Encodings, json_text
from nodedevd.server.reply_cache import Cacheable
from nodedevd.server.varlink.answers import Answer, IterableStream, LongAnswer
from nodedevd.server.varlink.parameters import (
    DescribeParameters,
    DumpXmlParameters,
    FitsParameters,
    GetStatusParameters,
    InUseParameters,
    ListParameters,
    ResolveParameters,
    SnapshotParameters,
    TypesParameters,
    WatchParameters,
)
from nodedevd.server.varlink.service import Interface, MethodTable, Request
from nodedevd.server.varlink.watch import Filter, WatchReplies, WatchStream
from nodedevd.socket_paths import INTERFACE

CHUNK_BYTES = 32 << 10
"""A reply of a stream, and a part of a long one, ends with the device that takes it past this
size. A client that does not read keeps one in memory."""
_NO_GENERATION = -1  # no change follows it: a watch begins with `resync`


async def _no_processes() -> VfioUsage:
    return VfioUsage(reason="other-host")


async def _no_assignment_facts() -> AssignmentFacts:
    return AssignmentFacts()


async def _no_nodes() -> DeviceNodes:
    return DeviceNodes()


class Looks(msgspec.Struct, frozen=True):
    """Looks at the host for what a scan does not read, off the event loop."""

    processes: Callable[[], Awaitable[VfioUsage]] = _no_processes
    """which processes have devices open"""
    assignment: Callable[[], Awaitable[AssignmentFacts]] = _no_assignment_facts
    """what a host loses when a device is assigned"""
    nodes: Callable[[], Awaitable[DeviceNodes]] = _no_nodes
    """the nodes below /dev"""


methods = MethodTable()


class DevicesInterface:
    """Answers each call from one snapshot of a store.

    Methods that show volatile values wait until they are recent enough; a list never does.
    """

    def __init__(
        self,
        encodings: Encodings,
        status: Callable[[], Status],
        freshness: Freshness,
        looks: Looks | None = None,
    ) -> None:
        self._store = encodings.store
        self._encodings = encodings
        self._watch_replies = WatchReplies(encodings)
        self._status = status
        self._freshness = freshness
        self._looks = looks or Looks()

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
        return _devices(snapshot, entries, request)

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
        answer = b'{"generation":%d,"devices":[%b]}' % (
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
            return _stream(head, pieces, b"", b'"}', snapshot)
        answer = _answer(head, pieces, b"", b'"}', snapshot)
        if names is None or len(devices) != 1 or not isinstance(answer, bytes):
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
    async def host_dev(self, parameters: HostDevRequest, request: Request) -> Answer:
        """Answer the domain XML that assigns a device to a guest."""
        snapshot = self._store.snapshot
        devices = [] if parameters.not_created else [snapshot.lookup(parameters.name)]
        refreshed = self._freshness.refresh(devices)
        if refreshed is not None:
            await refreshed
        any_function = any(map(needs_host, devices))
        facts = HostDevFacts(
            machine=os.uname().machine,
            host=await self._looks.assignment() if any_function else AssignmentFacts(),
            usage=await self._looks.processes() if devices else None,
            show_holders=request.peer.uid in (0, os.geteuid()),
        )
        return msgspec.json.encode(hostdev(self._store.snapshot, parameters, facts))

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
        return _devices(snapshot, devices, request)

    @methods.add("Fits", FitsParameters)
    def fits(self, parameters: FitsParameters, request: Request) -> Answer | Awaitable[Answer]:
        """Answer where a number of vGPUs of a type could be created."""
        devices = self._store.snapshot.select(vgpus.CAPABILITIES)
        return self._when_fresh(devices, partial(self._fits, parameters))

    def _fits(self, parameters: FitsParameters) -> Answer:
        snapshot, count = self._store.snapshot, parameters.count or 1
        return msgspec.json.encode(fits(snapshot, parameters.type, count, parameters.names))

    @methods.add("Types", TypesParameters)
    def types(self, parameters: TypesParameters, request: Request) -> Answer | Awaitable[Answer]:
        """Answer the vGPU types of each card."""
        devices = self._store.snapshot.select(vgpus.CAPABILITIES)
        return self._when_fresh(devices, partial(self._types, parameters))

    def _types(self, parameters: TypesParameters) -> Answer:
        return msgspec.json.encode(types(self._store.snapshot, parameters.names))

    @methods.add("Resolve", ResolveParameters)
    def resolve(
        self, parameters: ResolveParameters, request: Request
    ) -> Answer | Awaitable[Answer]:
        """Answer the devices that another tool's name means."""
        if needs_nodes(self._store.snapshot, parameters.text):
            return self._resolve_by_node(parameters)
        return msgspec.json.encode(resolve(self._store.snapshot, parameters.text))

    async def _resolve_by_node(self, parameters: ResolveParameters) -> Answer:
        nodes = await self._looks.nodes()
        return msgspec.json.encode(resolve(self._store.snapshot, parameters.text, nodes))

    @methods.add("InUse", InUseParameters)
    async def in_use(self, parameters: InUseParameters, request: Request) -> Answer:
        """Answer which devices are open; the processes only to root and the daemon's own user."""
        _named(self._store.snapshot, parameters.names)
        look = await self._looks.processes()
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


def _devices(snapshot: Snapshot, objects: Iterable[bytes], request: Request) -> Answer:
    head = b'{"generation":%d,"devices":[' % snapshot.generation
    if request.more:
        return _stream(head, objects, b",", b"]}", snapshot)
    return _answer(head, objects, b",", b"]}", snapshot)


def _stream(
    head: bytes, pieces: Iterable[bytes], separator: bytes, tail: bytes, snapshot: Snapshot
) -> Answer:
    def written(chunk: Sequence[bytes]) -> bytes:
        return b"".join((head, separator.join(chunk), tail))

    return IterableStream(_chunks(pieces), written, snapshot, _list_bytes(snapshot))


def _answer(
    head: bytes, pieces: Iterable[bytes], separator: bytes, tail: bytes, snapshot: Snapshot
) -> bytes | LongAnswer:
    chunks = _chunks(pieces)
    first, second = next(chunks), next(chunks, None)
    if second is None:
        return b"".join((head, separator.join(first), tail))

    def parts() -> Iterator[bytes]:
        yield head + separator.join(first)
        for chunk in itertools.chain((second,), chunks):
            yield separator + separator.join(chunk)
        yield tail

    return LongAnswer(parts(), snapshot, _list_bytes(snapshot))


def _list_bytes(snapshot: Snapshot) -> int:
    return 8 * len(snapshot)  # of the devices that are chosen, as pointers


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
