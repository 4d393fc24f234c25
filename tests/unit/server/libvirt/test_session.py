"""Node devices over libvirt's remote protocol: answers, errors, events, and hostile clients."""

from __future__ import annotations

import asyncio
import gc
import os
import socket
import warnings
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lxml import etree
from msgspec.structs import replace

from nodedevd import __version__, formats
from nodedevd.kinds.mdev_child import MdevChild
from nodedevd.kinds.pci import Pci
from nodedevd.kinds.scsi_host import FcHost, ScsiHost
from nodedevd.kinds.shared.mdevctl import Definition, MdevAttribute
from nodedevd.model.changes import Added, Changed, Removed, Update
from nodedevd.model.device import Device
from nodedevd.model.freshness import Freshness
from nodedevd.model.layout import CardLayout
from nodedevd.model.snapshot import Snapshot
from nodedevd.model.store import Store
from nodedevd.server.acceptor import Server
from nodedevd.server.account import AccountLimits
from nodedevd.server.encodings import Encodings
from nodedevd.server.libvirt import protocol as remote
from nodedevd.server.libvirt import xdr
from nodedevd.server.libvirt.conversation import LibvirtConversations, LibvirtLimits
from nodedevd.server.libvirt.devices import ACTIVE, INACTIVE, PERSISTENT, TRANSIENT, NodeDevices
from nodedevd.server.libvirt.protocol import Procedure
from nodedevd.server.libvirt.session import REGISTRATIONS_MAX, version_number
from nodedevd.server.libvirt.xdr import Case
from nodedevd.server.reply_cache import ENTRY_BYTES
from tests.support.fake_monitor import eventually
from tests.support.freshness import FakeFreshness, GatedFreshness
from tests.support.hosts import HOSTS, snapshot_of
from tests.support.libvirt_peer import CallFailed, LibvirtPeer, dialled, failure, opened
from tests.support.search import cases
from tests.support.serving import served

CARD = "pci_0000_02_00_0"
MDEV = "mdev_5d4d1f0c_6d5b_45d5_9a64_3c6f0a3d1e01"
WORDS = (
    *("system", "pci", "usb_device", "usb", "net", "scsi_host", "scsi_target", "scsi"),
    *("storage", "fc_host", "vports", "scsi_generic", "drm", "mdev_types", "mdev", "ccw"),
    *("css", "vdpa", "ap_card", "ap_queue", "ap_matrix", "vpd", "ccwgroup", "ccwgroup_member"),
)
VERSION = version_number(__version__)
NO_DEVICE = (53, 22)
BAD_ARGUMENT = (8, 22)
BAD_CALL = (39, 7)
FAILED = (1, 7)
UNSUPPORTED = (84, 22)


def stored(host: str = "vgpu-pf", *, history: int = 16_384) -> Store:
    """Return a store with the snapshot of a sample host."""
    snapshot = Snapshot(snapshot_of(host), generation=1)
    return Store(snapshot, history=history)


def definition(*, autostart: bool) -> Definition:
    """Return a definition of the mdev with the type that it runs as."""
    return Definition("nvidia-283", autostart=autostart, attributes=())


def publish(store: Store, *changes: Added | Changed | Removed) -> None:
    """Publish changes, each with a generation of its own."""
    devices = {device.name: device for device in store.snapshot}
    for change in changes:
        devices[change.device.name] = change.device
        if isinstance(change, Removed):
            del devices[change.device.name]
    generation = store.snapshot.generation + len(changes)
    store.publish(Update(Snapshot(devices.values(), generation=generation), changes))


def change(store: Store, name: str, **fields: object) -> None:
    """Publish a device with other values in these fields."""
    before = store.snapshot.lookup(name)
    publish(store, Changed(before, replace(before, **fields)))


def remade(store: Store, name: str, kind: type[Any], **fields: object) -> Device:
    """Return a device with other values in fields of one of its capabilities."""
    device = store.snapshot.lookup(name)
    capabilities = [
        replace(one, **fields) if isinstance(one, kind) else one for one in device.capabilities
    ]
    return replace(device, capabilities=tuple(capabilities))


class Bench:
    """A server over a store, and its socket."""

    def __init__(
        self, path: Path, store: Store, server: Server, protocol: LibvirtConversations
    ) -> None:
        self.path = path
        self.store = store
        self.server = server
        self.protocol = protocol


@asynccontextmanager
async def serving(
    directory: Path,
    store: Store | None = None,
    freshness: Freshness | None = None,
    *,
    max_clients: int = 1024,
    **limits: Any,
) -> AsyncIterator[Bench]:
    """Serve below a directory, and check that no client or subscription is left at the end."""
    store = store or stored()
    devices = NodeDevices(Encodings(store))
    protocol = LibvirtConversations(devices, freshness or FakeFreshness(), LibvirtLimits(**limits))
    path = directory / "libvirt"
    accounts = AccountLimits(places=max_clients)
    async with served(path, protocol, accounts=accounts) as server:
        yield Bench(path, store, server, protocol)
    assert store.subscriptions == 0


async def refused(call: Awaitable[Any]) -> tuple[int, int]:
    """Return code and domain of the error of a call."""
    with pytest.raises(CallFailed) as failed:
        await call
    return failed.value.failure.known_by


async def listed(peer: LibvirtPeer, flags: int = 0) -> list[str]:
    """List all devices that pass a filter, and check the count."""
    found = await peer.call(remote.LIST_ALL, remote.ListAll(1, flags))
    counted = await peer.call(remote.LIST_ALL, remote.ListAll(0, flags))
    assert found.ret == len(found.devices) == counted.ret
    assert len(counted.devices) == 0
    return list(found.devices)


async def xml_of(peer: LibvirtPeer, name: str, flags: int = 0) -> str:
    """Return a device's XML."""
    return await peer.call(remote.GET_XML_DESC, remote.NameAndFlags(name, flags))


def words_of(xml: str) -> set[str]:
    """Return the filter words that a device's XML has."""
    device = etree.fromstring(xml)
    types = device.xpath("capability/@type | capability/capability/@type")
    assert isinstance(types, list)
    found = {str(one) for one in types}
    return ({"vports"} if "vport_ops" in found else set()) | (found & set(WORDS))


# -- the connection --------------------------------------------------------------------


async def test_client_connects_as_virsh_does(tmp_path: Path) -> None:
    """All calls of virsh in its order; then the server closes the connection."""
    async with serving(tmp_path) as bench, dialled(bench.path) as peer:
        assert await peer.call(remote.AUTH_LIST, None) == (0,)
        assert await peer.call(remote.SUPPORTS_FEATURE, 10) == 1
        await peer.call(remote.OPEN, remote.Open("nodedev:///system", 0))
        assert await peer.call(remote.SUPPORTS_FEATURE, 14) == 1
        assert await peer.call(remote.SUPPORTS_FEATURE, 15) == 1
        await peer.call(remote.REGISTER_CLOSE_CALLBACK, None)
        await peer.call(remote.UNREGISTER_CLOSE_CALLBACK, None)
        await peer.call(remote.CLOSE, None)
        await peer.receive_end()
        assert bench.protocol.calls == 8


async def test_connection_tells_of_itself(tmp_path: Path) -> None:
    """Type, versions, URI and host name."""
    async with serving(tmp_path) as bench, opened(bench.path, "nodedev:///session") as peer:
        assert await peer.call(remote.GET_TYPE, None) == "nodedev"
        assert await peer.call(remote.GET_URI, None) == "nodedev:///session"
        assert await peer.call(remote.GET_HOSTNAME, None) == os.uname().nodename
        assert await peer.call(remote.GET_VERSION, None) == VERSION
        assert await peer.call(remote.GET_LIB_VERSION, None) == 11_003_000
        assert await peer.call(remote.IS_SECURE, None) == 1
        assert await peer.call(remote.SUPPORTS_FEATURE, 3) == 0


@pytest.mark.parametrize(
    ("text", "number"), [("11.3.0", 11_003_000), ("1.2", 1_002_000), ("0.12.345rc1", 12_345)]
)
def test_version_is_three_parts_of_a_number(text: str, number: int) -> None:
    """A missing part is 0, further text is ignored."""
    assert version_number(text) == number


@pytest.mark.parametrize("uri", [None, "", "nodedev:///system", "nodedev+unix:///session?x=1"])
async def test_uri_of_node_devices_is_opened(tmp_path: Path, uri: str | None) -> None:
    """Flags that concern only the client are ignored."""
    async with serving(tmp_path) as bench, dialled(bench.path) as peer:
        await peer.call(remote.OPEN, remote.Open(uri, 0x7))


@pytest.mark.parametrize("uri", ["qemu:///system", "nodedev:///", "nodedev://[", "x" * 5000])
async def test_other_uri_is_refused(tmp_path: Path, uri: str) -> None:
    """The client may try another one."""
    async with serving(tmp_path) as bench, dialled(bench.path) as peer:
        assert await refused(peer.call(remote.OPEN, remote.Open(uri, 0))) == (1, 0)
        await peer.call(remote.OPEN, remote.Open(None, 0))


async def test_calls_before_open_and_second_open_are_refused(tmp_path: Path) -> None:
    """A client gets no data before it has opened."""
    async with serving(tmp_path) as bench, dialled(bench.path) as peer:
        assert await refused(listed(peer)) == FAILED
        assert await refused(peer.call(remote.GET_URI, None)) == FAILED
        await peer.call(remote.OPEN, remote.Open(None, 0))
        assert await refused(peer.call(remote.OPEN, remote.Open(None, 0))) == FAILED
        assert "computer" in await listed(peer)


async def test_identity_is_taken_and_makes_no_difference(tmp_path: Path) -> None:
    """Libvirt's own daemons pass on the identity of their client."""
    values = [Case(7, "nobody"), Case(4, 65534), Case(1, -1), Case(5, 0.5), Case(6, 1)]
    parameters = [remote.TypedParameter("some-name", value) for value in values]
    async with serving(tmp_path) as bench, opened(bench.path) as peer:
        await peer.call(remote.SET_IDENTITY, remote.Identity(parameters, 0))
        assert await refused(peer.call(remote.SET_IDENTITY, remote.Identity((), 1))) == BAD_ARGUMENT
        unknown = xdr.encode(xdr.UNSIGNED_INT, 1) + xdr.encode(xdr.String(9), "a") + b"\0\0\0\x09"
        assert await peer.refusal(await peer.send(419, unknown)) == BAD_CALL


# -- node devices ----------------------------------------------------------------------


@pytest.mark.parametrize("host", cases(HOSTS))
async def test_xml_is_that_of_the_format(tmp_path: Path, host: str) -> None:
    """The listed devices are those of the format, with the same XML."""
    async with serving(tmp_path, stored(host)) as bench, opened(bench.path) as peer:
        snapshot = bench.store.snapshot
        shown = formats.select(snapshot, None, "libvirt")
        names = await listed(peer)
        assert len(names) == len(shown)
        for name, device in zip(names, shown, strict=True):
            xml = await xml_of(peer, name)
            assert xml == formats.device_xml(device, snapshot, "libvirt")
            root = etree.fromstring(xml)
            assert root.findtext("name") == name
            assert await peer.call(remote.LOOKUP_BY_NAME, name) == name
            assert await peer.call(remote.GET_PARENT, name) == root.findtext("parent")


@pytest.mark.parametrize("host", cases(HOSTS))
async def test_filters_find_what_the_xml_says(tmp_path: Path, host: str) -> None:
    """Each bit, each word, and the list of a device's capabilities agree with its XML."""
    async with serving(tmp_path, stored(host)) as bench, opened(bench.path) as peer:
        words = {name: words_of(await xml_of(peer, name)) for name in await listed(peer)}
        for bit, word in enumerate(WORDS):
            expected = [name for name in words if word in words[name]]
            assert await listed(peer, 1 << bit) == expected, word
            selection = remote.CapAndFlags(word, 0)
            assert await peer.call(remote.NUM_OF_DEVICES, selection) == len(expected)
            names = await peer.call(remote.LIST_DEVICES, remote.SelectedNames(word, 65536, 0))
            assert list(names) == expected
        for name, expected_words in words.items():
            caps = await peer.call(remote.LIST_CAPS, remote.NameAndMaximum(name, 65536))
            assert len(caps) == await peer.call(remote.NUM_OF_CAPS, name)
            assert set(caps) == expected_words
            assert caps[0] == etree.fromstring(await xml_of(peer, name)).xpath(
                "string(capability/@type)"
            )


async def test_filters_of_a_group_are_alternatives(tmp_path: Path) -> None:
    """Capabilities, persistence and activity: a device must match one of each group."""
    async with serving(tmp_path) as bench, opened(bench.path) as peer:
        everything = await listed(peer)
        assert await listed(peer, ACTIVE) == await listed(peer, ACTIVE | INACTIVE) == everything
        assert await listed(peer, INACTIVE) == []
        assert await listed(peer, PERSISTENT) == ["computer"]
        assert await listed(peer, TRANSIENT) == [one for one in everything if one != "computer"]
        assert await listed(peer, PERSISTENT | TRANSIENT | ACTIVE) == everything
        assert await listed(peer, 0x1 | 0x4000) == [
            name for name in everything if name == "computer" or name.startswith("mdev_")
        ]
        assert await listed(peer, 0x4000 | PERSISTENT) == []
        assert await refused(listed(peer, 1 << 24)) == BAD_ARGUMENT


async def test_old_list_cuts_and_knows_no_unknown_word(tmp_path: Path) -> None:
    """`maxnames` limits the names; an unknown word finds no device."""

    def names(cap: str | None, most: int, flags: int = 0) -> Awaitable[Any]:
        return peer.call(remote.LIST_DEVICES, remote.SelectedNames(cap, most, flags))

    async with serving(tmp_path) as bench, opened(bench.path) as peer:
        everything = await listed(peer)
        assert list(await names(None, 65536)) == everything
        assert list(await names(None, 2)) == everything[:2]
        assert list(await names("no such", 10)) == []
        assert await peer.call(remote.NUM_OF_DEVICES, remote.CapAndFlags(None, 0)) == len(
            everything
        )
        assert await refused(names(None, 65537)) == BAD_CALL
        assert await refused(names(None, -1)) == BAD_CALL
        assert await refused(names(None, 1, 1)) == BAD_ARGUMENT
        with_flags = remote.CapAndFlags(None, 1)
        assert await refused(peer.call(remote.NUM_OF_DEVICES, with_flags)) == BAD_ARGUMENT
        one_cap = await peer.call(remote.LIST_CAPS, remote.NameAndMaximum(CARD, 1))
        assert list(one_cap) == ["pci"]


@pytest.mark.parametrize("name", [f"{MDEV}_0000_02_00_0", MDEV, "0000:02:00.0", "computer"])
async def test_device_is_found_by_each_of_its_names(tmp_path: Path, name: str) -> None:
    """The reply has libvirt's name."""
    async with serving(tmp_path) as bench, opened(bench.path) as peer:
        found = await peer.call(remote.LOOKUP_BY_NAME, name)
        assert found in await listed(peer)
        assert etree.fromstring(await xml_of(peer, name)).findtext("name") == found


@pytest.mark.parametrize(
    "procedure",
    [
        *(remote.LOOKUP_BY_NAME, remote.GET_PARENT, remote.NUM_OF_CAPS, remote.GET_AUTOSTART),
        *(remote.IS_PERSISTENT, remote.IS_ACTIVE),
    ],
)
@pytest.mark.parametrize("name", ["nobody", "", "x" * 100_000, "nöbody"])
async def test_unknown_name_is_no_such_device(
    tmp_path: Path, procedure: Procedure[str, Any], name: str
) -> None:
    """For every call that takes a name."""
    async with serving(tmp_path) as bench, opened(bench.path) as peer:
        assert await refused(peer.call(procedure, name)) == NO_DEVICE
        assert await refused(xml_of(peer, name)) == NO_DEVICE
        caps = peer.call(remote.LIST_CAPS, remote.NameAndMaximum(name, 1))
        assert await refused(caps) == NO_DEVICE


async def test_device_the_format_does_not_show_is_no_such_device(tmp_path: Path) -> None:
    """It is not listed either."""
    store = stored()
    card = remade(store, CARD, Pci, class_code=None)
    publish(store, Changed(store.snapshot.lookup(CARD), card))
    async with serving(tmp_path, store) as bench, opened(bench.path) as peer:
        assert CARD not in await listed(peer)
        assert await refused(peer.call(remote.LOOKUP_BY_NAME, CARD)) == NO_DEVICE
        # Its mdevs hang at what is above.
        assert await peer.call(remote.GET_PARENT, MDEV) == "pci_0000_00_02_0"


async def test_host_is_persistent_and_starts_itself(tmp_path: Path) -> None:
    """Other devices are not, and do not."""
    async with serving(tmp_path) as bench, opened(bench.path) as peer:
        for name, expected in (("computer", [1, 1, 1]), (CARD, [1, 0, 0]), (MDEV, [1, 0, 0])):
            states = (remote.IS_ACTIVE, remote.IS_PERSISTENT, remote.GET_AUTOSTART)
            assert [await peer.call(state, name) for state in states] == expected


async def test_xml_as_defined_is_of_persistent_devices_alone(tmp_path: Path) -> None:
    """Flag 1 requests it; other flags are refused."""
    async with serving(tmp_path) as bench, opened(bench.path) as peer:
        assert await xml_of(peer, "computer", 1) == await xml_of(peer, "computer")
        assert await refused(xml_of(peer, CARD, 1)) == (55, 22)
        assert await refused(xml_of(peer, CARD, 2)) == BAD_ARGUMENT


async def test_scsi_host_is_found_by_its_world_wide_names(tmp_path: Path) -> None:
    """Both must match, in upper or lower case."""
    store = stored()
    host = ScsiHost(
        host=5,
        unique_id=None,
        fc_host=FcHost(wwnn="2000000000000bd0", wwpn="2100000000000bd0", fabric_wwn=None),
        vport_ops=None,
        proc_name=None,
    )
    computer = store.snapshot.lookup("computer")
    device = replace(
        computer, name="scsi_host5", path="/sys/h", parent="computer", capabilities=(host,)
    )
    publish(store, Added(device))

    def lookup(wwnn: str, wwpn: str, flags: int = 0) -> Awaitable[str]:
        return peer.call(remote.LOOKUP_BY_WWN, remote.WorldWideNames(wwnn, wwpn, flags))

    async with serving(tmp_path, store) as bench, opened(bench.path) as peer:
        assert await lookup("2000000000000BD0", "2100000000000bd0") == "scsi_host5"
        assert await refused(lookup("2000000000000bd0", "2000000000000bd0")) == NO_DEVICE
        assert await refused(lookup("", "")) == NO_DEVICE
        assert await refused(lookup("", "", 1)) == BAD_ARGUMENT


@pytest.mark.parametrize("number", sorted(remote.REFUSED.keys() | remote.WRITES.keys()))
async def test_what_is_not_offered_is_refused_by_code_and_domain(
    tmp_path: Path, number: int
) -> None:
    """For any arguments of any size."""
    expected = UNSUPPORTED if number in remote.WRITES else (3, 22)
    expected = {7: (3, 20), 203: (3, 20)}.get(number, expected)
    expected = (45, 7) if 67 <= number <= 70 else expected
    async with serving(tmp_path) as bench, opened(bench.path) as peer:
        for payload in (b"", b"\xff" * 8, bytes(1 << 20)):
            assert await peer.refusal(await peer.send(number, payload)) == expected
        assert "computer" in await listed(peer)


async def test_answers_show_one_snapshot_after_another(tmp_path: Path) -> None:
    """A list after a change includes it."""
    async with serving(tmp_path) as bench, opened(bench.path) as peer:
        before = await listed(peer)
        publish(bench.store, Removed(bench.store.snapshot.lookup(MDEV)))
        after = await listed(peer)
        assert set(before) - set(after) == {f"{MDEV}_0000_02_00_0"}
        change(bench.store, CARD, driver=None)
        assert "<driver>" not in await xml_of(peer, CARD)


async def test_cached_xml_that_nobody_else_keeps_is_counted(tmp_path: Path) -> None:
    """That of a definition, and one with what JSON escapes, are written for one reply."""
    async with serving(tmp_path) as bench, opened(bench.path) as peer:
        replies = bench.protocol.replies
        known = definition(autostart=True)
        mdev = remade(bench.store, MDEV, MdevChild, defined=True, definition=known)
        publish(bench.store, Changed(bench.store.snapshot.lookup(MDEV), mdev))

        async def is_counted(flags: int = 0) -> bool:
            replies.get(b"")  # drops what is stale
            before = replies._bytes
            size = len(await xml_of(peer, MDEV, flags))
            added = replies._bytes - before
            assert added > ENTRY_BYTES
            return added > ENTRY_BYTES + size

        assert not await is_counted()
        assert await is_counted(1)
        change(bench.store, MDEV, driver="a\\b")
        assert await is_counted()


# -- fresh counts ----------------------------------------------------------------------


async def test_xml_waits_for_fresh_counts_and_lists_do_not(tmp_path: Path) -> None:
    """Other calls of the same client overtake it, and a ping is answered."""
    freshness = GatedFreshness()
    async with serving(tmp_path, freshness=freshness) as bench, opened(bench.path) as peer:
        payload = xdr.encode(remote.GET_XML_DESC.arguments, remote.NameAndFlags(CARD, 0))
        serial = await peer.send(remote.GET_XML_DESC.number, payload)
        assert CARD in await listed(peer)
        await peer.send_raw(remote.encode_keepalive(remote.PING))
        assert (await peer.receive()).header.procedure == remote.PONG
        assert freshness.asked == [CARD]
        change(bench.store, CARD, driver="fresh")
        freshness.gate.set()
        reply = await peer.reply(serial)
        assert reply.payload is not None
        assert "fresh" in xdr.decode(remote.GET_XML_DESC.result, reply.payload)


@pytest.mark.parametrize(("fresh_seconds", "asked_for"), [(0.0, 3), (60.0, 1)])
async def test_xml_is_made_once_while_the_device_is_fresh(
    tmp_path: Path, fresh_seconds: float, asked_for: int
) -> None:
    """After that, and after any change of the tree, it is made again."""
    freshness = FakeFreshness(fresh_seconds)
    async with (
        serving(tmp_path, freshness=freshness) as bench,
        opened(bench.path) as peer,
        opened(bench.path) as other,
    ):
        first, second = await xml_of(peer, CARD), await xml_of(other, CARD)
        assert first == second == await xml_of(peer, CARD)
        assert freshness.asked == [CARD] * asked_for
        assert await xml_of(peer, "computer") != first
        change(bench.store, CARD, driver="another")
        assert "another" in await xml_of(peer, CARD)


async def test_kept_xml_is_for_who_has_opened(tmp_path: Path) -> None:
    """A cached reply is not an exception to the rule."""
    async with serving(tmp_path) as bench, opened(bench.path) as peer:
        await xml_of(peer, "computer")
        async with dialled(bench.path) as stranger:
            assert await refused(xml_of(stranger, "computer")) == (1, 7)  # not open


async def test_device_that_goes_while_it_is_read_is_no_such_device(tmp_path: Path) -> None:
    """The error is sent when the answer would have been."""
    freshness = GatedFreshness()
    async with serving(tmp_path, freshness=freshness) as bench, opened(bench.path) as peer:
        waiting = asyncio.create_task(xml_of(peer, MDEV))
        await eventually(lambda: bool(freshness.asked))
        publish(bench.store, Removed(bench.store.snapshot.lookup(MDEV)))
        freshness.gate.set()
        assert await refused(waiting) == NO_DEVICE


async def test_calls_under_way_are_bounded(tmp_path: Path) -> None:
    """Five of one client; the next is not read until one is answered."""
    freshness = GatedFreshness()
    async with serving(tmp_path, freshness=freshness) as bench, opened(bench.path) as peer:
        payload = xdr.encode(remote.GET_XML_DESC.arguments, remote.NameAndFlags(CARD, 0))
        serials = [await peer.send(remote.GET_XML_DESC.number, payload) for _ in range(8)]
        async with opened(bench.path) as other:
            await listed(other)
            assert len(freshness.asked) == 5
        freshness.gate.set()
        assert {(await peer.receive()).header.serial for _ in serials} == set(serials)
        assert len(freshness.asked) == 8


async def test_call_that_is_given_up_before_it_began_leaves_no_warning(tmp_path: Path) -> None:
    """The client is gone in the turn in which its call was received."""
    freshness = GatedFreshness()
    refreshed = asyncio.get_running_loop().create_future()
    freshness.refresh = lambda _: refreshed  # type: ignore[assignment, method-assign]
    async with serving(tmp_path, freshness=freshness) as bench, opened(bench.path) as peer:
        (connection,) = bench.server._connections
        payload = xdr.encode(remote.GET_XML_DESC.arguments, remote.NameAndFlags(CARD, 0))
        run = connection._run

        def run_and_leave(answer: Awaitable[Any]) -> None:
            run(answer)
            connection.abort()

        connection._run = run_and_leave  # type: ignore[method-assign]
        with warnings.catch_warnings(record=True) as warned:
            await peer.send(remote.GET_XML_DESC.number, payload)
            await eventually(lambda: bench.server.clients == 0)
            await eventually(lambda: not bench.server._tasks)
            gc.collect()
    assert not warned


async def test_client_that_leaves_has_its_calls_given_up(tmp_path: Path) -> None:
    """They are cancelled, even when the limit of calls was reached."""
    freshness = GatedFreshness()
    async with serving(tmp_path, freshness=freshness) as bench:
        async with opened(bench.path) as peer:
            payload = xdr.encode(remote.GET_XML_DESC.arguments, remote.NameAndFlags(CARD, 0))
            for _ in range(5):
                await peer.send(remote.GET_XML_DESC.number, payload)
            await eventually(lambda: len(freshness.asked) == 5)
        await eventually(lambda: bench.server.clients == 0)
        await eventually(lambda: freshness.cancelled == 5)


async def test_half_closed_client_gets_its_replies(tmp_path: Path) -> None:
    """Its calls are answered, then the server closes."""
    freshness = GatedFreshness()
    async with serving(tmp_path, freshness=freshness) as bench, opened(bench.path) as peer:
        payload = xdr.encode(remote.GET_XML_DESC.arguments, remote.NameAndFlags(CARD, 0))
        serial = await peer.send(remote.GET_XML_DESC.number, payload)
        peer.end_sending()
        await eventually(lambda: bool(freshness.asked))
        freshness.gate.set()
        assert (await peer.reply(serial)).header.status == 0
        await peer.receive_end()


# -- events ----------------------------------------------------------------------------

LIFECYCLE, UPDATE = 0, 1
CREATED, DELETED, DEFINED, UNDEFINED = range(4)
MDEV_NAME = f"{MDEV}_0000_02_00_0"


async def register(peer: LibvirtPeer, event_id: int, device: str | None = None) -> int:
    """Register for events, and return the callback id."""
    return await peer.call(remote.REGISTER_EVENT, remote.Registration(event_id, device))


async def test_events_are_told_in_the_order_of_the_store(tmp_path: Path) -> None:
    """Lifecycle and update events, each with its callback."""
    async with serving(tmp_path) as bench, opened(bench.path) as peer:
        assert [await register(peer, LIFECYCLE), await register(peer, UPDATE)] == [0, 1]
        mdev = bench.store.snapshot.lookup(MDEV)
        publish(bench.store, Removed(mdev))
        change(bench.store, CARD, driver=None)
        publish(bench.store, Added(mdev))
        assert [await peer.event() for _ in range(3)] == [
            remote.LifecycleMessage(0, MDEV_NAME, DELETED, 0),
            remote.UpdateMessage(1, CARD),
            remote.LifecycleMessage(0, MDEV_NAME, CREATED, 0),
        ]


async def test_change_the_format_does_not_show_is_no_event(tmp_path: Path) -> None:
    """An update event is sent only if the XML differs."""
    async with serving(tmp_path) as bench, opened(bench.path) as peer:
        await register(peer, UPDATE)
        change(bench.store, CARD, subsystem="not shown")
        change(bench.store, CARD, layout=CardLayout("drifted", (), "/etc/layout.toml"))
        change(bench.store, CARD, driver="shown")
        change(bench.store, MDEV, driver="shown")
        assert [await peer.event() for _ in range(2)] == [
            remote.UpdateMessage(0, CARD),
            remote.UpdateMessage(0, MDEV_NAME),
        ]


async def test_device_that_comes_to_be_shown_is_created(tmp_path: Path) -> None:
    """And deleted, when it is no longer shown."""
    async with serving(tmp_path) as bench, opened(bench.path) as peer:
        await register(peer, LIFECYCLE)
        await register(peer, UPDATE)
        before = bench.store.snapshot.lookup(CARD)
        hidden = remade(bench.store, CARD, Pci, class_code=None)
        publish(bench.store, Changed(before, hidden))
        publish(bench.store, Changed(hidden, before))
        told = [await peer.event() for _ in range(2)]
        assert told == [
            remote.LifecycleMessage(0, CARD, DELETED, 0),
            remote.LifecycleMessage(0, CARD, CREATED, 0),
        ]


async def test_definition_of_an_mdev_makes_lifecycle_events(tmp_path: Path) -> None:
    """Defined while it runs, then stopped, started, and both ended at once."""
    async with serving(tmp_path) as bench, opened(bench.path) as peer:
        await register(peer, LIFECYCLE)
        await register(peer, UPDATE)
        plain = bench.store.snapshot.lookup(MDEV)
        defined = remade(
            bench.store, MDEV, MdevChild, defined=True, definition=definition(autostart=False)
        )
        mdev = defined.capability(MdevChild)
        assert mdev is not None
        starting = replace(
            defined,
            capabilities=tuple(
                replace(one, definition=definition(autostart=True)) if one is mdev else one
                for one in defined.capabilities
            ),
        )
        for before, after in ((plain, defined), (defined, starting), (starting, plain)):
            publish(bench.store, Changed(before, after))
        publish(bench.store, Changed(plain, defined), Removed(defined), Added(plain))
        expected = [
            remote.LifecycleMessage(0, MDEV_NAME, DEFINED, 0),
            remote.UpdateMessage(1, MDEV_NAME),
            remote.LifecycleMessage(0, MDEV_NAME, UNDEFINED, 0),
            remote.LifecycleMessage(0, MDEV_NAME, DEFINED, 0),
            remote.LifecycleMessage(0, MDEV_NAME, DELETED, 0),
            remote.LifecycleMessage(0, MDEV_NAME, UNDEFINED, 0),
            remote.LifecycleMessage(0, MDEV_NAME, CREATED, 0),
        ]
        assert [await peer.event() for _ in expected] == expected


async def test_inactive_mdev_is_listed_as_such(tmp_path: Path) -> None:
    """It is persistent, not active, found by its filter, and its start and stop are events."""
    store = stored()
    active = remade(store, MDEV, MdevChild, defined=True, definition=definition(autostart=True))
    publish(store, Changed(store.snapshot.lookup(MDEV), active))
    mdev = active.capability(MdevChild)
    assert mdev is not None
    inactive = replace(
        active,
        path=f"/etc/mdevctl.d/0000:02:00.0/{mdev.uuid}",
        driver=None,
        capabilities=(replace(mdev, state="inactive", iommu_group=None, vfio_device=None),),
    )
    async with serving(tmp_path, store) as bench, opened(bench.path) as peer:
        await register(peer, LIFECYCLE, MDEV_NAME)
        as_defined = await xml_of(peer, MDEV, 1)
        publish(store, Changed(active, inactive))
        assert await listed(peer, INACTIVE) == await listed(peer, PERSISTENT | 0x4000)
        assert await listed(peer, INACTIVE) == [MDEV_NAME]
        assert MDEV_NAME not in await listed(peer, ACTIVE)
        states = (remote.IS_ACTIVE, remote.IS_PERSISTENT, remote.GET_AUTOSTART)
        assert [await peer.call(state, MDEV) for state in states] == [0, 1, 1]
        assert await xml_of(peer, MDEV, 1) == await xml_of(peer, MDEV) == as_defined
        publish(store, Changed(inactive, active))
        assert [await peer.event(), await peer.event()] == [
            remote.LifecycleMessage(0, MDEV_NAME, DELETED, 0),
            remote.LifecycleMessage(0, MDEV_NAME, CREATED, 0),
        ]


async def test_each_configuration_of_an_mdev_has_its_own_xml(tmp_path: Path) -> None:
    """What runs, and with flag 1 what is defined; a change of the definition is an update."""
    async with serving(tmp_path) as bench, opened(bench.path) as peer:
        await register(peer, UPDATE)
        store = bench.store
        same = remade(store, MDEV, MdevChild, defined=True, definition=definition(autostart=True))
        publish(store, Changed(store.snapshot.lookup(MDEV), same))
        running = await xml_of(peer, MDEV)
        modified = Definition(
            "nvidia-46",
            autostart=True,
            attributes=(MdevAttribute("nvidia/vgpu_params", "frame_rate_limiter=0"),),
        )
        other = remade(store, MDEV, MdevChild, definition=modified)
        publish(store, Changed(same, other))
        assert await peer.event() == remote.UpdateMessage(0, MDEV_NAME)
        assert await xml_of(peer, MDEV) == running
        assert "<type id='nvidia-283'/>" in running
        assert "<attr" not in running
        as_defined = etree.fromstring(await xml_of(peer, MDEV, 1))
        assert [one.get("id") for one in as_defined.findall("capability/type")] == ["nvidia-46"]
        assert [dict(one.attrib) for one in as_defined.findall("capability/attr")] == [
            {"name": "nvidia/vgpu_params", "value": "frame_rate_limiter=0"}
        ]
        assert as_defined.find("path") is None


async def test_filter_of_a_device_is_by_its_name(tmp_path: Path) -> None:
    """A name that no device has yet is accepted."""
    async with serving(tmp_path) as bench, opened(bench.path) as peer:
        await register(peer, LIFECYCLE, "nobody")
        await register(peer, LIFECYCLE, MDEV_NAME)
        mdev = bench.store.snapshot.lookup(MDEV)
        other = bench.store.snapshot.lookup("mdev_83c32df7_d52e_4ec1_9668_1f3c7e4df107")
        publish(bench.store, Removed(other), Removed(mdev))
        assert await peer.event() == remote.LifecycleMessage(1, MDEV_NAME, DELETED, 0)


async def test_events_before_the_registration_are_not_told(tmp_path: Path) -> None:
    """Nor are those after the deregistration; other registrations stay."""
    async with serving(tmp_path) as bench, opened(bench.path) as peer:
        change(bench.store, CARD, driver="1")
        first = await register(peer, UPDATE)
        change(bench.store, CARD, driver="2")
        second = await register(peer, UPDATE, CARD)
        change(bench.store, CARD, driver="3")
        await peer.call(remote.DEREGISTER_EVENT, first)
        change(bench.store, CARD, driver="4")
        told = [(await peer.event()).callback_id for _ in range(4)]
        assert told == [first, first, second, second]
        await peer.call(remote.DEREGISTER_EVENT, second)
        assert bench.store.subscriptions == 0
        assert await register(peer, UPDATE) == 2


async def test_registration_that_cannot_be_is_refused(tmp_path: Path) -> None:
    """The same one twice, an unknown event, an unknown callback, or too many."""
    async with serving(tmp_path) as bench, opened(bench.path) as peer:
        await register(peer, LIFECYCLE)
        assert await refused(register(peer, LIFECYCLE)) == (8, 0)
        assert await refused(register(peer, 2)) == FAILED
        assert await refused(register(peer, -1)) == FAILED
        assert await refused(peer.call(remote.DEREGISTER_EVENT, 7)) == FAILED
        for number in range(REGISTRATIONS_MAX - 1):
            await register(peer, UPDATE, str(number))
        assert await refused(register(peer, UPDATE, "one more")) == BAD_CALL


async def test_client_that_does_not_read_its_events_is_dropped(tmp_path: Path) -> None:
    """As soon as the history has dropped the first of them; a client that reads gets all."""
    store = stored(history=64)
    async with serving(tmp_path, store) as bench:
        lazy = socket.socket(socket.AF_UNIX)
        lazy.setblocking(False)
        lazy.connect(str(bench.path))
        call = remote.Header(remote.REMOTE, 1, remote.OPEN.number, 0, 0, 0)
        opening = xdr.encode(remote.OPEN.arguments, remote.Open(None, 0))
        wanted = xdr.encode(remote.REGISTER_EVENT.arguments, remote.Registration(UPDATE, None))
        lazy.send(remote.encode_packet(call, opening))
        lazy.send(remote.encode_packet(call._replace(procedure=374), wanted))
        await eventually(lambda: store.subscriptions == 1)
        async with opened(bench.path) as peer:
            await register(peer, UPDATE)
            told = 0
            while bench.server.clients == 2:
                change(store, CARD, driver=str(told))
                assert await peer.event() == remote.UpdateMessage(0, CARD)
                told += 1
            assert told > 64
        lazy.close()


# -- keepalive -------------------------------------------------------------------------


async def test_ping_is_answered_before_anything_else_is_called(tmp_path: Path) -> None:
    """A pong and an unknown keepalive message are not answered."""
    async with serving(tmp_path) as bench, dialled(bench.path) as peer:
        for procedure in (remote.PONG, 3, remote.PING):
            await peer.send_raw(remote.encode_keepalive(procedure))
        assert (await peer.receive()).header == (remote.KEEPALIVE, 1, remote.PONG, 2, 0, 0)


@pytest.mark.slow
async def test_client_that_answers_pings_stays(tmp_path: Path) -> None:
    """A silent client that takes part in keepalive is sent pings."""
    async with (
        serving(tmp_path, keepalive_seconds=0.01, keepalive_count=20) as bench,
        dialled(bench.path) as peer,
    ):
        assert await peer.call(remote.SUPPORTS_FEATURE, 10) == 1
        for _ in range(30):
            packet = peer.messages.popleft() if peer.messages else await peer.receive()
            assert packet.header == (remote.KEEPALIVE, 1, remote.PING, 2, 0, 0)
            await peer.send_raw(remote.encode_keepalive(remote.PONG))


async def test_client_that_does_not_answer_pings_is_dropped(tmp_path: Path) -> None:
    """After the configured number of pings."""
    async with (
        serving(tmp_path, keepalive_seconds=0.01, keepalive_count=3) as bench,
        dialled(bench.path) as peer,
    ):
        await peer.call(remote.SUPPORTS_FEATURE, 10)
        pings = len(peer.messages)
        for _ in range(pings, 3):
            assert (await peer.receive()).header.procedure == remote.PING
        await peer.receive_end()
        await eventually(lambda: bench.server.clients == 0)


# -- what goes wrong -------------------------------------------------------------------


@pytest.mark.parametrize(
    "words",
    [
        {"program": 0x20008087},
        {"version": 2},
        {"program": remote.KEEPALIVE, "version": 9},
        {"status": 1},
        {"type": 1},
        {"type": 2},
        {"type": 3},
        {"type": 4},
        {"type": -1},
    ],
)
async def test_what_is_no_call_is_answered_with_an_error(
    tmp_path: Path, words: dict[str, int]
) -> None:
    """The connection stays open."""
    async with serving(tmp_path) as bench, opened(bench.path) as peer:
        assert await peer.refusal(await peer.send(285, bytes(8), **words)) == BAD_CALL
        assert "computer" in await listed(peer)


@pytest.mark.parametrize("number", [0, 5, 37, 1000, -1])
async def test_unknown_procedure_is_told_in_the_words_clients_know(
    tmp_path: Path, number: int
) -> None:
    """Clients recognize this text, and report that the call is not supported."""
    async with serving(tmp_path) as bench, opened(bench.path) as peer:
        serial = await peer.send(number)
        assert failure(await peer.reply(serial)) == (
            *(39, 7, f"unknown procedure: {number}", 2),
            *(None, None, None, None, -1, -1, None),
        )


@pytest.mark.parametrize(
    "payload",
    [b"", b"\0\0\0\x09abc", b"\xff\xff\xff\xff", b"\0\0\0\x02\xff\xff\0\0", bytes(1 << 19)],
)
async def test_undecodable_arguments_are_answered_with_an_error(
    tmp_path: Path, payload: bytes
) -> None:
    """Too few bytes, huge lengths, invalid UTF-8, or too large a packet; the connection stays."""
    async with serving(tmp_path) as bench, opened(bench.path) as peer:
        assert await peer.refusal(await peer.send(113, payload)) == BAD_CALL
        assert "computer" in await listed(peer)


async def test_surplus_bytes_after_arguments_are_ignored(tmp_path: Path) -> None:
    """A later version of a client may send more."""
    async with serving(tmp_path) as bench, opened(bench.path) as peer:
        serial = await peer.send(113, xdr.encode(remote.LOOKUP_BY_NAME.arguments, CARD) + b"more")
        assert (await peer.reply(serial)).header.status == 0


@pytest.mark.parametrize("length", [0, 27, remote.PACKET_MAX_BYTES + 1, 0xFFFFFFFF])
async def test_impossible_length_closes_the_connection(tmp_path: Path, length: int) -> None:
    """After the earlier calls are answered; other clients are not affected."""
    async with serving(tmp_path) as bench, opened(bench.path) as other, opened(bench.path) as peer:
        call = remote.encode_packet(remote.Header(remote.REMOTE, 1, 3, 0, 5, 0))
        await peer.send_raw(call + length.to_bytes(4, "big") + bytes(100))
        assert (await peer.receive()).header.serial == 5
        await peer.receive_end()
        assert "computer" in await listed(other)


@pytest.mark.exhaustive
async def test_more_names_than_the_protocol_has_room_for_is_an_error(tmp_path: Path) -> None:
    """65,536 are listed; for one more there is the count, and a clear error."""
    computer = stored().snapshot.lookup("computer")
    parts = [replace(computer, name=f"d{number}") for number in range(65_536)]
    store = Store(Snapshot(parts, generation=1))
    async with serving(tmp_path, store) as bench, opened(bench.path) as peer:
        assert len(await listed(peer)) == 65_536
        publish(store, Added(computer))
        counted = await peer.call(remote.LIST_ALL, remote.ListAll(0, 0))
        assert counted.ret == 65_537
        with pytest.raises(CallFailed, match="an array of 65537 elements, 65536 at most") as failed:
            await listed(peer)
        assert failed.value.failure.known_by == BAD_CALL
        cut = await peer.call(remote.LIST_DEVICES, remote.SelectedNames(None, 65_536, 0))
        assert len(cut) == 65_536


@pytest.mark.slow
async def test_longer_xml_than_the_protocol_has_room_for_is_an_error(tmp_path: Path) -> None:
    """4 MiB are sent; for more there is a clear error, and the connection stays open."""
    async with serving(tmp_path) as bench, opened(bench.path) as peer:
        change(bench.store, CARD, driver="")
        room = 4 * 1024 * 1024 - len(await xml_of(peer, CARD))
        change(bench.store, CARD, driver="x" * room)
        assert len(await xml_of(peer, CARD)) == 4 * 1024 * 1024
        change(bench.store, CARD, driver="x" * (room + 1))
        with pytest.raises(
            CallFailed, match="a string of 4194305 bytes, 4194304 at most"
        ) as failed:
            await xml_of(peer, CARD)
        assert failed.value.failure.known_by == BAD_CALL
        assert "computer" in await listed(peer)


async def test_defect_is_logged_and_not_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The client gets no details, and the connection stays open."""

    def defective(self: NodeDevices, device: Device) -> str:
        raise ZeroDivisionError("internal detail")

    async with serving(tmp_path) as bench, opened(bench.path) as peer:
        monkeypatch.setattr(NodeDevices, "name", defective)
        with pytest.raises(CallFailed, match="internal error: see the log") as failed:
            await peer.call(remote.LOOKUP_BY_NAME, CARD)
        assert failed.value.failure.known_by == (1, 22)
        assert await peer.call(remote.GET_TYPE, None) == "nodedev"
    assert [record.exc_info is not None for record in caplog.records] == [True]


async def test_one_client_too_many_is_told_so(tmp_path: Path) -> None:
    """Its first call fails, and its connection is closed; the others stay open."""
    async with serving(tmp_path, max_clients=1) as bench, opened(bench.path) as peer:
        async with dialled(bench.path) as other:
            with pytest.raises(CallFailed, match="serves 1 clients already") as failed:
                await other.call(remote.AUTH_LIST, None)
            assert failed.value.failure.known_by == (39, 7)
            await other.receive_end()
        assert "computer" in await listed(peer)


async def test_refused_client_is_not_waited_for_without_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that sends no whole header is disconnected, and so is one that sends no packet."""
    monkeypatch.setattr("nodedevd.server.refusals._WAIT_SECONDS", 0.05)
    async with (
        serving(tmp_path, max_clients=1) as bench,
        opened(bench.path),
        dialled(bench.path) as silent,
        dialled(bench.path) as wrong,
    ):
        await wrong.send_raw(b"\xff" * 4)
        await wrong.receive_end()
        await silent.receive_end()


async def test_closing_server_ends_its_clients(tmp_path: Path) -> None:
    """Their pending calls are cancelled."""
    freshness = GatedFreshness()
    async with serving(tmp_path, freshness=freshness) as bench, opened(bench.path) as peer:
        await register(peer, LIFECYCLE)
        payload = xdr.encode(remote.GET_XML_DESC.arguments, remote.NameAndFlags(CARD, 0))
        await peer.send(remote.GET_XML_DESC.number, payload)
        await eventually(lambda: bool(freshness.asked))
        bench.server.close()
        await bench.server.wait_closed()
        await peer.receive_end()
        assert freshness.cancelled == 1


numbers = st.sampled_from([*range(1, 5), 60, 66, 110, *range(111, 121), 285, 297, 360, 374, 375])
pieces = st.lists(
    st.one_of(
        st.binary(max_size=64),
        st.builds(
            lambda number, payload, kind: remote.encode_packet(
                remote.Header(remote.REMOTE, 1, number, kind, 0, 0), payload
            ),
            numbers,
            st.binary(max_size=64),
            st.sampled_from([0, 0, 0, 1, 2, 9]),
        ),
        st.builds(
            lambda length, rest: length.to_bytes(4, "big") + rest,
            st.sampled_from([27, 28, 29, 1 << 20, remote.PACKET_MAX_BYTES, 2**31, 2**32 - 1]),
            st.binary(max_size=64),
        ),
        st.just(
            remote.encode_packet(
                remote.Header(remote.REMOTE, 1, 1, 0, 0, 0),
                xdr.encode(remote.OPEN.arguments, remote.Open(None, 0)),
            )
        ),
    ),
    max_size=12,
)


@pytest.mark.slow
@given(st.lists(st.lists(pieces, max_size=4), max_size=1).map(lambda one: one[0] if one else []))
def test_hostile_clients_harm_nobody_else(
    tmp_path_factory: pytest.TempPathFactory, clients: list[list[bytes]]
) -> None:
    """For any bytes in any order: no exception, and another client is served."""

    async def run(directory: Path) -> None:
        failures: list[Any] = []
        asyncio.get_running_loop().set_exception_handler(lambda loop, told: failures.append(told))
        async with serving(directory) as bench, opened(bench.path) as good:
            for sent in clients:
                hostile = socket.socket(socket.AF_UNIX)
                hostile.connect(str(bench.path))
                hostile.setblocking(False)
                for piece in sent:
                    await asyncio.sleep(0)
                    try:
                        hostile.send(piece)
                    except (BrokenPipeError, ConnectionResetError):
                        break
                assert CARD in await listed(good)
                hostile.close()
            await eventually(lambda: bench.server.clients == 1)
            assert CARD in await listed(good)
        assert failures == []

    asyncio.run(run(tmp_path_factory.mktemp("fuzz")))
