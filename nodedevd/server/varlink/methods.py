"""DevicesInterface: the handlers of the methods of org.nodedevd.Devices.

`org.nodedevd.Devices.varlink` beside this file describes the interface.
"""

from __future__ import annotations

import os
from builtins import list as list_
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING, TypeVar

import msgspec

from nodedevd.drawing.request import DrawRequest
from nodedevd.errors import ExpectedMore, NotInFormat
from nodedevd.formats import Format, native
from nodedevd.model.device import Device, filter_words
from nodedevd.model.freshness import Freshness
from nodedevd.model.snapshot import Snapshot
from nodedevd.model.status import Status, Tally, tally_in_steps
from nodedevd.names import canonical_name
from nodedevd.questions.hostdev.request import HostDevRequest
from nodedevd.server.encodings import Encodings, json_text
from nodedevd.server.reply_cache import Cacheable, Shared
from nodedevd.server.varlink.answers import PIECES_AT_ONCE, Answer, AnswerSteps, Later, Text
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
from nodedevd.server.varlink.pictures import Known, Pictures
from nodedevd.server.varlink.service import Interface, MethodTable, Request, description_beside
from nodedevd.server.varlink.watch import Filter, WatchReplies, WatchStream
from nodedevd.socket_paths import INTERFACE
from nodedevd.steps import STEP_ITEMS, Steps, groups

if TYPE_CHECKING:
    from nodedevd.host.assignment import AssignmentFacts
    from nodedevd.host.device_nodes import DeviceNodes
    from nodedevd.host.facts import HostFacts
    from nodedevd.questions.in_use import VfioUsage

# What answers a question is loaded when it is asked: a start waits for none of it.

_POINTER_BYTES = 8
_ITEM_BYTES = 32 << 10
"""Memory that an item of an answer takes, such as all types of a card with 16 functions."""
_NO_GENERATION = -1  # no change follows it: a watch begins with `resync`

T = TypeVar("T")


async def _no_processes() -> VfioUsage:
    from nodedevd.questions.in_use import VfioUsage

    return VfioUsage(reason="other-host")


async def _no_assignment_facts() -> AssignmentFacts:
    from nodedevd.host.assignment import AssignmentFacts

    return AssignmentFacts()


async def _no_nodes() -> DeviceNodes:
    from nodedevd.host.device_nodes import DeviceNodes

    return DeviceNodes()


async def _no_facts() -> HostFacts | None:
    return None


class Looks(msgspec.Struct, frozen=True):
    """Looks at the host for what a scan does not read, off the event loop."""

    processes: Callable[[], Awaitable[VfioUsage]] = _no_processes
    """which processes have devices open"""
    assignment: Callable[[], Awaitable[AssignmentFacts]] = _no_assignment_facts
    """what a host loses when a device is assigned"""
    nodes: Callable[[], Awaitable[DeviceNodes]] = _no_nodes
    """the nodes below /dev"""
    facts: Callable[[], Awaitable[HostFacts | None]] = _no_facts
    """what `doctor` needs to know of the host; None leaves its findings out"""


methods = MethodTable()


class DevicesInterface:
    """Answers each call from one snapshot of a store.

    Methods that show volatile values wait until they are recent enough; a list never does.
    """

    def __init__(
        self,
        encodings: Encodings,
        status: Callable[[Tally], Status],
        freshness: Freshness,
        looks: Looks | None = None,
        *,
        title: str = "host",
    ) -> None:
        """Make the handlers; `title` is the name of the host in a picture."""
        self._store = encodings.store
        self._encodings = encodings
        self._watch_replies = WatchReplies(encodings)
        self._status = status
        self._tally: Tally | None = None
        self._freshness = freshness
        self._looks = looks or Looks()
        self.pictures = Pictures(title)
        """the pictures that were drawn last"""

    def interface(self) -> Interface:
        """Return the interface, ready to be served."""
        return Interface(INTERFACE, description_beside(__file__, INTERFACE), methods.bind(self))

    @methods.add("GetStatus", GetStatusParameters)
    def get_status(self, parameters: GetStatusParameters, request: Request) -> AnswerSteps:
        """Answer the state of the daemon."""
        snapshot = self._store.snapshot
        if self._tally is None or self._tally.generation != snapshot.generation:
            self._tally = yield from tally_in_steps(snapshot)
        return msgspec.json.encode(self._status(self._tally))

    @methods.add("List", ListParameters)
    def list(self, parameters: ListParameters, request: Request) -> Answer:
        """Answer the names, parents and capabilities of devices."""
        snapshot = self._store.snapshot
        some = snapshot.select_in_groups(parameters.capabilities, STEP_ITEMS)
        entry = self._encodings.entry
        entries = (b",".join(map(entry, group)) for group in some)
        return _devices(snapshot, entries, request)

    @methods.add("Describe", DescribeParameters)
    def describe(self, parameters: DescribeParameters, request: Request) -> Answer:
        """Answer everything known about one device."""
        devices = [self._store.snapshot.lookup(parameters.name)]
        return self._when_fresh(devices, partial(self._describe, parameters))

    def _describe(self, parameters: DescribeParameters) -> Answer:
        snapshot = self._store.snapshot
        device = snapshot.lookup(parameters.name)
        before = b'{"generation":%d,"devices":[' % snapshot.generation
        answer = Shared(before, self._encodings.json(device), b"]}")
        return Cacheable(answer, self._freshness.fresh_until(device))

    @methods.add("DumpXML", DumpXmlParameters)
    def dump_xml(self, parameters: DumpXmlParameters, request: Request) -> Answer:
        """Answer XML."""
        names, form = parameters.names, parameters.format or "nodedevd"
        if names is not None and len(names) == 1 and not request.more:
            shown = self._shown(self._store.snapshot.lookup(names[0]), form)
            return self._when_fresh([shown], partial(self._dump_one, names[0], form))
        return self._dump_several(parameters, request)

    def _shown(self, device: Device, form: Format) -> Device:
        if self._encodings.placed(device, form=form) is None:
            raise NotInFormat(device.name, form)
        return device

    def _dump_one(self, name: str, form: Format) -> Answer:
        snapshot = self._store.snapshot
        device = self._shown(snapshot.lookup(name), form)
        before = b'{"generation":%d,"xml":"' % snapshot.generation
        answer = Shared(before, self._encodings.shared_xml(device, form=form), b'"}')
        return Cacheable(answer, self._freshness.fresh_until(device))

    def _dump_several(self, parameters: DumpXmlParameters, request: Request) -> AnswerSteps:
        volatile = yield from _volatile((yield from self._dumped(parameters)))
        return self._when_fresh(volatile, partial(self._dump_fresh, parameters, request))

    def _dump_fresh(self, parameters: DumpXmlParameters, request: Request) -> AnswerSteps:
        snapshot = self._store.snapshot
        devices = yield from self._dumped(parameters, snapshot)
        form = parameters.format or "nodedevd"
        if parameters.names is not None and len(parameters.names) == 1:
            pieces: Iterable[bytes] = [self._encodings.json_xml(devices[0], form=form)]
        else:
            pieces = self._document(devices, snapshot, form)
        head = b'{"generation":%d,"xml":"' % snapshot.generation
        return Text(
            head,
            pieces,
            b'"}',
            more=request.more,
            snapshot=snapshot,
            own_bytes=_POINTER_BYTES * len(devices),
        )

    def _dumped(
        self, parameters: DumpXmlParameters, snapshot: Snapshot | None = None
    ) -> Steps[Sequence[Device]]:
        """Return the wanted devices, each once: a small call must not cause a huge answer."""
        snapshot, form = snapshot or self._store.snapshot, parameters.format or "nodedevd"
        shows = self._encodings.shows
        if parameters.names is not None:
            named = yield from _named(snapshot, parameters.names)
            for group in groups(named):
                for device in group:
                    self._shown(device, form)
                yield
            return named
        found: list_[Device] = []
        for group in snapshot.in_groups(STEP_ITEMS):
            found += [one for one in group if shows(one, form=form)]
            yield
        return found

    def _document(
        self, devices: Sequence[Device], snapshot: Snapshot, form: Format
    ) -> Iterator[bytes]:
        piece = self._encodings.json_piece
        yield json_text(native.opening(snapshot.generation))
        for group in groups(devices, PIECES_AT_ONCE):
            yield b"".join([piece(device, snapshot, form=form) for device in group])
        yield json_text(native.CLOSING)

    @methods.add("HostDev", HostDevRequest)
    def host_dev(self, parameters: HostDevRequest, request: Request) -> Answer:
        """Answer the domain XML that assigns a device to a guest."""
        from nodedevd.questions.hostdev.facts import needs_host

        snapshot = self._store.snapshot
        devices = [] if parameters.is_uuid else [snapshot.lookup(parameters.name)]
        look = self._hostdev_look if any(map(needs_host, devices)) else self._hostdev_usage
        return self._when_fresh(devices, partial(look, parameters, request))

    def _hostdev_look(self, parameters: HostDevRequest, request: Request) -> Answer:
        return _later(self._looks.assignment(), partial(self._hostdev_usage, parameters, request))

    def _hostdev_usage(
        self,
        parameters: HostDevRequest,
        request: Request,
        host: AssignmentFacts | None = None,
    ) -> Answer:
        hostdev = partial(self._hostdev, parameters, request, host)
        if parameters.is_uuid:
            return hostdev(None)
        return _later(self._looks.processes(), hostdev)

    def _hostdev(
        self,
        parameters: HostDevRequest,
        request: Request,
        host: AssignmentFacts | None,
        usage: VfioUsage | None,
    ) -> AnswerSteps:
        from nodedevd.questions.hostdev.answer import hostdev_in_steps
        from nodedevd.questions.hostdev.facts import HostDevFacts

        facts = HostDevFacts(
            machine=os.uname().machine,
            usage=usage,
            show_holders=request.peer.uid in (0, os.geteuid()),
        )
        if host is not None:
            facts = msgspec.structs.replace(facts, host=host)
        return _encoded(hostdev_in_steps(self._store.snapshot, parameters, facts))

    @methods.add("Snapshot", SnapshotParameters)
    def snapshot(self, parameters: SnapshotParameters, request: Request) -> Answer:
        """Answer everything known about devices."""
        if not request.more:
            raise ExpectedMore
        return self._snapshot_when_fresh(parameters, request)

    def _snapshot_when_fresh(self, parameters: SnapshotParameters, request: Request) -> AnswerSteps:
        devices = yield from _chosen(self._store.snapshot, parameters)
        volatile = yield from _volatile(devices)
        return self._when_fresh(volatile, partial(self._snapshot, parameters, request))

    def _snapshot(self, parameters: SnapshotParameters, request: Request) -> AnswerSteps:
        snapshot = self._store.snapshot
        devices = yield from _chosen(snapshot, parameters)
        some = groups(devices, PIECES_AT_ONCE)
        texts = (b",".join(map(self._encodings.json, group)) for group in some)
        return _devices(snapshot, texts, request, len(devices))

    @methods.add("Fits", FitsParameters)
    def fits(self, parameters: FitsParameters, request: Request) -> Answer:
        """Answer where a number of vGPUs of a type could be created."""
        return self._when_capable_fresh(partial(self._fits, parameters))

    def _fits(self, parameters: FitsParameters) -> AnswerSteps:
        from nodedevd.questions.fits import fits_in_steps

        count = parameters.count or 1
        return _encoded(
            fits_in_steps(self._store.snapshot, parameters.type, count, parameters.names), "cards"
        )

    @methods.add("Types", TypesParameters)
    def types(self, parameters: TypesParameters, request: Request) -> Answer:
        """Answer the vGPU types of each card."""
        return self._when_capable_fresh(partial(self._types, parameters))

    def _types(self, parameters: TypesParameters) -> AnswerSteps:
        from nodedevd.questions.fits import types_in_steps

        return _encoded(types_in_steps(self._store.snapshot, parameters.names), "types")

    def _when_capable_fresh(self, answer: Callable[[], Answer]) -> AnswerSteps:
        """Make an answer when the values of all vGPU-capable functions are recent enough."""
        from nodedevd.questions.vgpus import CAPABILITIES

        devices = yield from _selected(self._store.snapshot, CAPABILITIES)
        return self._when_fresh(devices, answer)

    @methods.add("Draw", DrawRequest)
    def draw(self, parameters: DrawRequest, request: Request) -> Answer:
        """Answer a picture of the host, or of a card."""
        if parameters.card is not None:
            self._store.snapshot.lookup(parameters.card)
        return self._when_capable_fresh(partial(self._draw_look, parameters, request))

    def _draw_look(self, parameters: DrawRequest, request: Request) -> Answer:
        return _later(self._looks.facts(), partial(self._draw_usage, parameters, request))

    def _draw_usage(
        self, parameters: DrawRequest, request: Request, facts: HostFacts | None
    ) -> Answer:
        draw = partial(self._draw, parameters, request, facts)
        return _later(self._looks.processes(), draw)

    def _draw(
        self,
        parameters: DrawRequest,
        request: Request,
        facts: HostFacts | None,
        usage: VfioUsage,
    ) -> AnswerSteps:
        show_holders = request.peer.uid in (0, os.geteuid())
        known = Known(self._store.snapshot, usage, facts, show_holders, request.peer.uid)
        return (yield from self.pictures.drawn_in_steps(known, parameters))

    @methods.add("Resolve", ResolveParameters)
    def resolve(self, parameters: ResolveParameters, request: Request) -> AnswerSteps:
        """Answer the devices that another tool's name means."""
        from nodedevd.questions.resolve import find_in_steps, needs_nodes

        snapshot, text = self._store.snapshot, parameters.text
        found = yield from find_in_steps(snapshot, text)
        if needs_nodes(found, text):
            return _later(self._looks.nodes(), partial(self._resolve, text))
        return (yield from self._resolve(text))

    def _resolve(self, text: str, nodes: DeviceNodes | None = None) -> AnswerSteps:
        from nodedevd.host.device_nodes import DeviceNodes
        from nodedevd.questions.resolve import resolve_in_steps

        resolving = resolve_in_steps(self._store.snapshot, text, nodes or DeviceNodes())
        return _encoded(resolving, "devices")

    @methods.add("InUse", InUseParameters)
    def in_use(self, parameters: InUseParameters, request: Request) -> AnswerSteps:
        """Answer which devices are open; the processes only to root and the daemon's own user."""
        if parameters.names is not None:
            yield from _named(self._store.snapshot, parameters.names)
        return _later(self._looks.processes(), partial(self._in_use, parameters, request))

    def _in_use(
        self, parameters: InUseParameters, request: Request, look: VfioUsage
    ) -> AnswerSteps:
        snapshot = self._store.snapshot
        show_holders = request.peer.uid in (0, os.geteuid())
        if parameters.names is not None:
            chosen = groups((yield from _named(snapshot, parameters.names)))
        else:
            chosen = snapshot.in_groups(STEP_ITEMS)
        bound = parameters.names is None
        uses = (look.uses(group, bound=bound, holders=show_holders) for group in chosen)
        head = b'{"generation":%d,"unseen_processes":%d,"devices":[' % (
            snapshot.generation,
            look.unseen,
        )
        pieces = (msgspec.json.encode(some)[1:-1] for some in uses)
        return Text(
            head,
            pieces,
            b"]}",
            separator=b",",
            snapshot=snapshot,
            own_bytes=_POINTER_BYTES * len(snapshot),
        )

    @methods.add("Watch", WatchParameters)
    def watch(self, parameters: WatchParameters, request: Request) -> AnswerSteps:
        """Answer the devices, and every change from then on."""
        if not request.more:
            raise ExpectedMore
        types = None
        if parameters.capabilities is not None:
            types = filter_words(parameters.capabilities)
        names = None
        if parameters.names is not None:
            named: set[str] = set()
            for group in groups(parameters.names):
                named.update(map(canonical_name, group))
                yield
            names = frozenset(named)
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

    def _when_fresh(self, devices: Iterable[Device], answer: Callable[[], Answer]) -> Answer:
        refreshed = self._freshness.refresh(devices)
        return answer() if refreshed is None else _later(refreshed, lambda _: answer())


def _later(awaited: Awaitable[T], answer: Callable[[T], Answer]) -> Later:
    return Later(awaited, answer)


def _named(snapshot: Snapshot, names: Sequence[str]) -> Steps[Sequence[Device]]:
    """Return the named devices, each once: a small call must not cause a huge answer."""
    found: dict[str, Device] = {}
    for group in groups(names):
        # By name: to hash a device takes longer.
        found.update([(device.name, device) for device in map(snapshot.lookup, group)])
        yield
    return list_(found.values())


def _selected(snapshot: Snapshot, capabilities: Iterable[str] | None) -> Steps[Sequence[Device]]:
    found: list_[Device] = []
    for group in snapshot.select_in_groups(capabilities, STEP_ITEMS):
        found += group
        yield
    return found


def _chosen(snapshot: Snapshot, parameters: SnapshotParameters) -> Steps[Sequence[Device]]:
    if parameters.names is None:
        return (yield from _selected(snapshot, parameters.capabilities))
    named = yield from _named(snapshot, parameters.names)
    if parameters.capabilities is None:
        return named
    wanted = filter_words(parameters.capabilities)
    return [device for device in named if device.passes(wanted)]


def _volatile(devices: Sequence[Device]) -> Steps[Sequence[Device]]:
    found: list_[Device] = []
    for group in groups(devices):
        found += [one for one in group if one.is_volatile]
        yield
    return found


def _devices(
    snapshot: Snapshot, texts: Iterable[bytes], request: Request, listed: int = 0
) -> Answer:
    """Answer devices of a snapshot; `listed` are in a list of this call."""
    return Text(
        b'{"generation":%d,"devices":[' % snapshot.generation,
        texts,
        b"]}",
        separator=b",",
        more=request.more,
        snapshot=snapshot,
        own_bytes=_POINTER_BYTES * listed,
    )


def _encoded(making: Steps[msgspec.Struct], many: str | None = None) -> AnswerSteps:
    """Encode what is made in steps; its field `many`, the last one or not, bit by bit."""
    made = yield from making
    if many is None:
        return msgspec.json.encode(made)
    items = getattr(made, many)
    head, tail = msgspec.json.encode(msgspec.structs.replace(made, **{many: ()})).split(
        b'"%b":[]' % many.encode()
    )
    pieces = (msgspec.json.encode(group)[1:-1] for group in groups(items, 1))
    return Text(
        b'%b"%b":[' % (head, many.encode()),
        pieces,
        b"]" + tail,
        separator=b",",
        own_bytes=_ITEM_BYTES * len(items),
    )
