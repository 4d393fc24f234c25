"""Watch: which events a client gets, in which order, and the cost of one that does not read."""

from __future__ import annotations

import asyncio
import re
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from pathlib import Path
from typing import Any

import msgspec
import pytest

from nodedevd.kinds.mdev_parent import MdevParent, MdevType
from nodedevd.kinds.system import System
from nodedevd.model.changes import Changed, Update
from nodedevd.model.device import Device
from nodedevd.model.listing import Content
from nodedevd.model.snapshot import Snapshot
from nodedevd.model.status import Status, Tally
from nodedevd.model.store import Store
from nodedevd.server.acceptor import Server, ServerLimits
from nodedevd.server.encodings import Encodings
from nodedevd.server.varlink.answers import NO_REPLY
from nodedevd.server.varlink.conversation import VarlinkConversations
from nodedevd.server.varlink.methods import DevicesInterface
from nodedevd.server.varlink.service import Service
from nodedevd.server.varlink.watch import Filter, WatchReplies, WatchStream
from nodedevd.socket_paths import INTERFACE
from nodedevd.tree.graft import Reading, graft
from nodedevd.varlink import VarlinkError, encode_call
from tests.support.fake_monitor import eventually
from tests.support.freshness import FakeFreshness
from tests.support.peer import Peer, connected
from tests.support.readings import assemble
from tests.support.serving import served
from tests.support.watching import Mirror
from tests.support.xml import native_xml

TOP, CARD, OTHER = "/sys/devices/a", "/sys/devices/a/b", "/sys/devices/c"


def reading(path: str, driver: str | None = None, *, types: int | None = None) -> Reading:
    """Return the reading of a device; with types, of an mdev parent."""
    capability: Any = System()
    if types is not None:
        offered = [
            MdevType(f"type-{number}", "A type", "x" * 100, None, "vfio-pci", 1, ())
            for number in range(types)
        ]
        capability = MdevParent(types=tuple(offered), children=())
    return Reading(
        path=path,
        devnode=None,
        devlinks=(),
        subsystem=None,
        driver=driver,
        capabilities=(capability,),
        errors=(),
    )


def host(*readings: Reading) -> Snapshot:
    """Return the tree of these devices, at generation 1."""
    computer = Device(
        name="computer",
        path=None,
        devnode=None,
        devlinks=(),
        parent=None,
        subsystem=None,
        sysname=None,
        driver=None,
        capabilities=(System(),),
        errors=(),
    )
    return assemble(computer, readings).numbered(1)


def put(store: Store, *readings: Reading, gone: tuple[str, ...] = ()) -> None:
    """Publish the changes of these readings."""
    store.publish(graft(store.snapshot, readings=readings, gone=gone))


def watching(
    store: Store,
    *,
    replies: WatchReplies | None = None,
    capabilities: set[str] | None = None,
    names: set[str] | None = None,
    snapshot: bool = True,
    content: Content = "none",
    since: int | None = None,
) -> WatchStream:
    """Return a watch that has begun."""
    wanted = Filter(
        None if capabilities is None else frozenset(capabilities),
        None if names is None else frozenset(names),
    )
    replies = replies or WatchReplies(Encodings(store))
    watch = WatchStream(replies, wanted, snapshot=snapshot, content=content, since=since)
    watch.start(lambda: None)
    return watch


def told(watch: WatchStream) -> list[dict[str, Any]]:
    """Return all replies that there are now."""
    replies = []
    while (chunk := watch.next()) is not None:
        if chunk is NO_REPLY:
            continue
        assert not chunk.last
        replies.append(msgspec.json.decode(chunk.parameters))
    return replies


def brief(watch: WatchStream) -> list[tuple[str, str | None, int]]:
    """Return events, names and generations of all replies that there are now."""
    return [(one["event"], one.get("name"), one["generation"]) for one in told(watch)]


def test_what_there_is_comes_first_and_parents_before_children() -> None:
    """Then comes `ready`, with the generation of all of them."""
    store = Store(host(reading(CARD), reading(OTHER), reading(TOP)))
    assert brief(watching(store)) == [
        ("present", "computer", 1),
        ("present", "a", 1),
        ("present", "b", 1),
        ("present", "c", 1),
        ("ready", None, 1),
    ]


def test_without_a_snapshot_it_begins_with_ready() -> None:
    """A client that knows the devices can skip them."""
    assert brief(watching(Store(host(reading(TOP))), snapshot=False)) == [("ready", None, 1)]


def test_changes_have_a_generation_each() -> None:
    """Parents are added first, children are removed first."""
    store = Store(host())
    watch = watching(store, snapshot=False)
    told(watch)
    put(store, reading(CARD), reading(TOP))
    put(store, reading(CARD, "vfio-pci"))
    put(store, gone=(TOP, CARD))
    assert brief(watch) == [
        ("added", "a", 2),
        ("added", "b", 3),
        ("changed", "b", 4),
        ("removed", "b", 5),
        ("removed", "a", 6),
    ]
    assert told(watch) == []


def test_reply_says_what_changed() -> None:
    """`parts` lists what differs; identity and capabilities are in every event."""
    store = Store(host(reading(TOP)))
    watch = watching(store, snapshot=False)
    told(watch)
    put(store, reading(TOP, "nvidia", types=1))
    assert told(watch) == [
        {
            "generation": 2,
            "instance": store.instance,
            "event": "changed",
            "name": "a",
            "path": TOP,
            "parent": "computer",
            "capabilities": ["mdev_parent"],
            "state": "active",
            "parts": ["driver", "system", "mdev_parent"],
        }
    ]


@pytest.mark.parametrize("content", ["json", "xml"])
def test_content_is_that_of_the_device_as_it_was_then(content: Content) -> None:
    """All events but `removed` have it, and a late watcher gets the right one."""
    store = Store(host(reading(TOP)))
    watch = watching(store, content=content)
    first = store.snapshot
    put(store, reading(TOP, "nvidia"))
    second = store.snapshot
    put(store, gone=(TOP,))
    replies = told(watch)
    assert [one["event"] for one in replies] == [
        "present",
        "present",
        "ready",
        "changed",
        "removed",
    ]
    for reply, snapshot in ((replies[1], first), (replies[3], second)):
        device = snapshot.lookup("a")
        if content == "json":
            assert msgspec.convert(reply["device"], Device) == device
        else:
            assert reply["xml"] == native_xml(device)
    assert {"device", "xml"}.isdisjoint(replies[4])


def test_device_that_comes_to_match_is_added_and_one_that_ceases_removed() -> None:
    """A filtered watch shows what enters and leaves its part of the tree."""
    store = Store(host(reading(TOP), reading(OTHER)))
    watch = watching(store, capabilities={"mdev_parent"})
    assert brief(watch) == [("ready", None, 1)]
    put(store, reading(TOP, types=1))
    put(store, reading(TOP, types=2))
    put(store, reading(OTHER, "vfio-pci"))
    put(store, reading(TOP))
    put(store, gone=(TOP,))
    assert brief(watch) == [("added", "a", 2), ("changed", "a", 3), ("removed", "a", 5)]


@pytest.mark.parametrize("name", ["b", CARD])
def test_names_and_paths_narrow_what_is_told(name: str) -> None:
    """A device that does not exist yet may be named."""
    store = Store(host(reading(TOP)))
    watch = watching(store, names={name})
    put(store, reading(CARD), reading(OTHER))
    put(store, gone=(CARD,))
    assert brief(watch) == [("ready", None, 1), ("added", "b", 2), ("removed", "b", 4)]


def test_since_tells_what_came_after() -> None:
    """A client that reconnects misses nothing, and gets nothing twice."""
    store = Store(host())
    for path in (TOP, CARD, OTHER):
        put(store, reading(path))
    assert brief(watching(store, since=2)) == [("added", "b", 3), ("added", "c", 4)]
    assert brief(watching(store, since=4)) == []


@pytest.mark.parametrize("since", [-1, 0, 1, 5, 1 << 70])
def test_since_that_cannot_be_followed_is_told_resync(since: int) -> None:
    """Dropped, in the future, or of another process: all devices follow, then changes."""
    store = Store(host(), history=2)
    for path in (TOP, CARD, OTHER):
        put(store, reading(path))
    watch = watching(store, since=since)
    replies = brief(watch)
    assert replies[0] == ("resync", None, 4)
    assert [event for event, _, _ in replies[1:]] == ["present"] * 4 + ["ready"]
    put(store, gone=(OTHER,))
    assert brief(watch) == [("removed", "c", 5)]


def test_watcher_that_falls_behind_is_told_resync_and_is_right_again() -> None:
    """The history is bounded; a client that reads too late starts over."""
    store = Store(host(), history=4)
    watch = watching(store, content="json")
    mirror = Mirror()
    list(mirror.take(watch))
    for number in range(20):
        put(store, reading(f"/sys/devices/d{number}"))
    list(mirror.take(watch))
    assert mirror.resyncs == 1
    assert mirror.devices == {one.name: one for one in store.snapshot}
    put(store, gone=("/sys/devices/d3",))
    list(mirror.take(watch))
    assert mirror.resyncs == 1
    assert mirror.events == [("removed", "d3")]


def test_update_larger_than_the_history_is_a_resync() -> None:
    """Even a watcher that has read everything gets no more than the history has."""
    store = Store(host(), history=4)
    watch = watching(store)
    told(watch)
    put(store, *[reading(f"/sys/devices/d{number}") for number in range(20)])
    assert brief(watch)[0] == ("resync", None, 21)


def test_closed_watch_is_told_nothing_and_holds_nothing() -> None:
    """It is unsubscribed."""
    store = Store(host())
    watch = watching(store)
    assert store.subscriptions == 1
    watch.close()
    assert store.subscriptions == 0


def test_replies_kept_for_other_watchers_are_bounded() -> None:
    """They are made once for all watchers, and not kept as long as the history."""
    store = Store(host())
    replies = WatchReplies(Encodings(store), cached_bytes=10_000)
    ahead = watching(store, replies=replies, content="json")
    behind = watching(store, replies=replies, content="json")
    told(ahead)
    for number in range(50):
        put(store, reading(TOP, str(number), types=4))
        told(ahead)
    assert 0 < replies.cached_bytes <= 10_000
    mirror = Mirror()
    list(mirror.take(behind))
    assert mirror.devices == {one.name: one for one in store.snapshot}
    assert replies.cached_bytes <= 10_000


# -- over a socket -------------------------------------------------------------------------


def no_status(tally: Tally) -> Status:
    """Stand in for the daemon's status, which is not used here."""
    raise NotImplementedError


def serving(store: Store, path: Path) -> AbstractAsyncContextManager[Server]:
    """Serve a store on a Unix socket."""
    interface = DevicesInterface(Encodings(store), no_status, FakeFreshness()).interface()
    service = Service("nodedevd", "nodedevd", "0", "https://nodedevd.org", [interface], INTERFACE)
    protocol = VarlinkConversations(service, lambda: store.snapshot.generation)
    return served(path, protocol, ServerLimits(close_seconds=5.0))


async def start_watching(peer: Peer, **parameters: object) -> None:
    """Call Watch."""
    await peer.send_raw(encode_call(f"{INTERFACE}.Watch", parameters, more=True))


async def test_watch_without_more_is_refused(tmp_path: Path) -> None:
    """One reply is not enough for a watch."""
    path = tmp_path / "socket"
    async with serving(Store(host()), path), connected(path) as peer:
        with pytest.raises(VarlinkError) as caught:
            await peer.call(f"{INTERFACE}.Watch")
        assert caught.value.name == "org.varlink.service.ExpectedMore"


async def test_unknown_capability_is_refused_and_the_connection_lives_on(tmp_path: Path) -> None:
    """The error names the parameter; there is no subscription."""
    path, store = tmp_path / "socket", Store(host())
    async with serving(store, path), connected(path) as peer:
        await start_watching(peer, capabilities=["toaster"])
        name, parameters = await peer.receive_error()
        assert name == "org.varlink.service.InvalidParameter"
        assert parameters["parameter"] == "capabilities"
        await start_watching(peer, snapshot=False)
        assert (await peer.receive())["event"] == "ready"
        assert store.subscriptions == 1


async def test_client_that_leaves_is_unsubscribed(tmp_path: Path) -> None:
    """Although nothing is sent to it, so that no write fails."""
    path, store = tmp_path / "socket", Store(host())
    async with serving(store, path):
        async with connected(path) as peer:
            await start_watching(peer)
            await peer.receive()
            assert store.subscriptions == 1
        await eventually(lambda: store.subscriptions == 0)


async def test_instance_of_another_process_is_told_resync(tmp_path: Path) -> None:
    """Its generations are meaningless here, even if the number matches."""
    path, store = tmp_path / "socket", Store(host())
    put(store, reading(TOP))
    async with serving(store, path), connected(path) as peer, connected(path) as other:
        await start_watching(peer, since=1, instance="0123456789abcdef")
        assert (await peer.receive())["event"] == "resync"
        await start_watching(other, since=1, instance=store.instance)
        assert (await other.receive())["event"] == "added"


class Listener(asyncio.Protocol):
    """A client that reads everything, and checks that it gets every change in order."""

    def __init__(self) -> None:
        self.heard = 0
        self._rest = b""

    def data_received(self, data: bytes) -> None:
        """Take whole replies."""
        replies, _, self._rest = (self._rest + data).rpartition(b"\0")
        for generation in GENERATION.findall(replies):
            assert int(generation) == self.heard + 1
            self.heard = int(generation)
        assert b"resync" not in replies


GENERATION = re.compile(rb'"generation":([0-9]+)')
CHANGES, PATIENT, IDLE = 10_000, 10, 10
MEMORY_BYTES = 32 << 20
"""The history of 2,000 changes and the 8 MiB of replies that are kept, three times over. Were
the changes queued for the ten, at 1,700 bytes each, it would be 160 MiB."""


def resident_bytes() -> int:
    """Return how much memory this process has, proc_pid_statm(5)."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


def change(store: Store, number: int) -> None:
    """Publish another driver of a device."""
    before = store.snapshot.lookup("a")
    after = msgspec.structs.replace(before, driver=f"driver-{number}")
    snapshot = store.snapshot.replaced(
        removed=(),
        devices=[after],
        changes=1,
        errors=store.snapshot.errors,
        shared_names=store.snapshot.shared_names,
    )
    store.publish(Update(snapshot, (Changed(before, after),)))


@pytest.mark.exhaustive
async def test_watchers_that_never_read_cost_the_others_nothing(tmp_path: Path) -> None:
    """Ten that read get every change in order; ten that do not read get a resync."""
    path, store = tmp_path / "socket", Store(host(reading(TOP, types=4)), history=2_000)
    loop = asyncio.get_running_loop()
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(serving(store, path))
        idle = [await stack.enter_async_context(connected(path)) for _ in range(IDLE)]
        for peer in idle:
            await start_watching(peer, snapshot=False, content="json")
        call = encode_call(f"{INTERFACE}.Watch", {"snapshot": False}, more=True)
        listeners = []
        for _ in range(PATIENT):
            transport, listener = await loop.create_unix_connection(Listener, str(path))
            stack.callback(transport.close)
            transport.write(call)
            listeners.append(listener)
        await eventually(lambda: store.subscriptions == PATIENT + IDLE)
        before = resident_bytes()
        for number in range(CHANGES):
            change(store, number)
            if store.snapshot.generation % 500 == 1:
                await eventually(
                    lambda: all(one.heard == store.snapshot.generation for one in listeners)
                )
        assert [one.heard for one in listeners] == [CHANGES + 1] * PATIENT
        assert resident_bytes() - before < MEMORY_BYTES
        assert store.subscriptions == PATIENT + IDLE
        for peer in idle:
            assert (await peer.receive())["event"] == "ready"
            heard = 1
            while (reply := await peer.receive())["event"] == "changed":
                heard += 1
                assert reply["generation"] == heard
            assert reply["event"] == "resync"
            assert 1 < heard < CHANGES
            assert (await peer.receive())["event"] == "ready"
