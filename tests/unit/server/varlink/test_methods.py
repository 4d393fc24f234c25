"""org.nodedevd.Devices: every method over a Unix socket."""

from __future__ import annotations

import json
import os
from collections.abc import AsyncIterator, Awaitable, Generator, Iterable, Iterator, Mapping
from contextlib import asynccontextmanager
from functools import cache
from pathlib import Path
from typing import Any

import msgspec
import pytest
from lxml import etree

from nodedevd.formats import dump, libvirt
from nodedevd.host.device_nodes import DeviceNodes
from nodedevd.host.processes import OpenFiles, Process, ProcessScan
from nodedevd.model.brief import DeviceList
from nodedevd.model.changes import Changed, Update
from nodedevd.model.device import Device
from nodedevd.model.freshness import Freshness
from nodedevd.model.listing import Devices
from nodedevd.model.snapshot import Snapshot
from nodedevd.model.status import ScanTimes, Status, build_status, now
from nodedevd.model.store import Store
from nodedevd.questions.fits import Fits, Types, fits, types
from nodedevd.questions.hostdev.request import HostDev, HostDevRequest
from nodedevd.questions.in_use import InUse, VfioUsage
from nodedevd.questions.resolve import Resolution, resolve
from nodedevd.server.conversation import Peer
from nodedevd.server.encodings import Encodings
from nodedevd.server.varlink import answers, methods
from nodedevd.server.varlink.answers import Answer, Later, Text
from nodedevd.server.varlink.conversation import VarlinkConversations
from nodedevd.server.varlink.methods import DevicesInterface, Looks
from nodedevd.server.varlink.parameters import (
    DumpXmlParameters,
    FitsParameters,
    InUseParameters,
    ListParameters,
    ResolveParameters,
    SnapshotParameters,
    TypesParameters,
)
from nodedevd.server.varlink.service import Request, Service
from nodedevd.socket_paths import INTERFACE
from nodedevd.steps import finish
from nodedevd.varlink import VarlinkError, encode_call
from tests.support.answers import settled, without_waiting
from tests.support.freshness import FakeFreshness
from tests.support.hosts import HOSTS, snapshot_of
from tests.support.peer import Peer as Client
from tests.support.peer import connected
from tests.support.search import cases
from tests.support.serving import served
from tests.support.xml import native_document, native_xml, parse, validate

CARD = "pci_0000_02_00_0"
MDEV = "mdev_5d4d1f0c_6d5b_45d5_9a64_3c6f0a3d1e01"
SERVICE = "org.varlink.service"
CHUNK_LIMIT_BYTES = 1 << 20
MANY = 3000


@cache
def large_snapshot() -> Snapshot:
    """Return a host with thousands of cards; it is made once, since nothing changes it."""
    host = snapshot_of("vgpu-pf")
    card = host.lookup(CARD)
    cards = [
        msgspec.structs.replace(card, name=f"pci_{number:04}", path=f"/sys/devices/{number:04}")
        for number in range(MANY)
    ]
    return Snapshot([host.lookup("computer"), *cards])


def status_of(store: Store) -> Status:
    """Sum up a store."""
    times = ScanTimes(finished=now(), seconds=0.25)
    return build_status(store.snapshot, sysroot="/srv/host", started=now(), last_scan=times)


def change_one(store: Store, name: str, **fields: object) -> None:
    """Publish the next generation, in which one device has other fields."""
    before = store.snapshot.lookup(name)
    after = msgspec.structs.replace(before, **fields)
    devices = [after if device is before else device for device in store.snapshot]
    snapshot = Snapshot(devices, generation=store.snapshot.generation + 1)
    store.publish(Update(snapshot, (Changed(before, after),)))


def handlers_of(store: Store, freshness: Freshness | None = None) -> DevicesInterface:
    """Return the handlers over a store."""
    freshness = freshness or FakeFreshness()
    return DevicesInterface(Encodings(store), lambda tally: status_of(store), freshness)


def protocol_of(store: Store, freshness: Freshness | None = None) -> VarlinkConversations:
    """Return the protocol as the daemon makes it."""
    served = handlers_of(store, freshness).interface()
    service = Service("nodedevd", "nodedevd", "0", "https://nodedevd.org", [served], INTERFACE)
    return VarlinkConversations(service, lambda: store.snapshot.generation)


@asynccontextmanager
async def serving(directory: Path, store: Store) -> AsyncIterator[Client]:
    """Serve a store, and yield a client."""
    path = directory / "nodedevd.sock"
    async with served(path, protocol_of(store)), connected(path) as client:
        yield client


async def refusal(client: Client, method: str, **parameters: object) -> tuple[str, Any]:
    """Call, and return the error that is the answer."""
    await client.send(f"{INTERFACE}.{method}", **parameters)
    return await client.receive_error()


def names(devices: Iterable[Mapping[str, Any]]) -> list[str]:
    """Return the names of devices in a reply."""
    return [str(device["name"]) for device in devices]


@pytest.fixture(params=cases(HOSTS))
def store(request: pytest.FixtureRequest) -> Store:
    """Return a store of each sample host in turn."""
    return Store(snapshot_of(request.param))


@pytest.fixture
def card_host() -> Store:
    """Return a store of a host with one card and two mdevs."""
    return Store(snapshot_of("vgpu-pf"))


# -- the methods -----------------------------------------------------------------------


async def test_get_status_answers_the_status(tmp_path: Path, store: Store) -> None:
    """The answer decodes strictly to the current status."""
    async with serving(tmp_path, store) as client:
        answer = await client.call(f"{INTERFACE}.GetStatus")
    status = msgspec.convert(answer, Status)
    expected = status_of(store)
    assert status == msgspec.structs.replace(
        expected, started=status.started, last_scan=status.last_scan
    )
    assert set(answer) == set(Status.__struct_fields__)


async def test_list_answers_every_device_in_brief(tmp_path: Path, store: Store) -> None:
    """Without a filter all devices are listed, sorted by name, with what an entry has."""
    async with serving(tmp_path, store) as client:
        answer = msgspec.convert(await client.call(f"{INTERFACE}.List"), DeviceList)
    assert answer.generation == store.snapshot.generation
    assert [entry.name for entry in answer.devices] == list(store.snapshot.names)
    for entry in answer.devices:
        device = store.snapshot.lookup(entry.name)
        assert (entry.parent, entry.path, entry.capabilities) == (
            device.parent,
            device.path,
            device.types,
        )


@pytest.mark.parametrize("more", [False, True])
@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["mdev_parent"], [CARD]),
        (["mdev_types"], [CARD]),
        (["mdev_child"], [MDEV, "mdev_83c32df7_d52e_4ec1_9668_1f3c7e4df107"]),
        (["mdev"], [MDEV, "mdev_83c32df7_d52e_4ec1_9668_1f3c7e4df107"]),
        (["pci"], ["pci_0000_00_00_0", "pci_0000_00_02_0", CARD]),
        (["system", "mdev_types", "mdev_parent"], ["computer", CARD]),
        ([], []),
    ],
)
async def test_list_with_capabilities_answers_devices_with_any_of_them(
    tmp_path: Path, card_host: Store, words: list[str], expected: list[str], more: bool
) -> None:
    """Filters accept nodedevd's words and libvirt's, with `more` or without; no word, no device."""
    async with serving(tmp_path, card_host) as client:
        if more:
            replies = await client.call_more(f"{INTERFACE}.List", capabilities=words)
        else:
            replies = [await client.call(f"{INTERFACE}.List", capabilities=words)]
    assert [name for reply in replies for name in names(reply["devices"])] == expected


@pytest.mark.parametrize("method", ["List", "Snapshot"])
async def test_unknown_capability_is_an_invalid_parameter(
    tmp_path: Path, card_host: Store, method: str
) -> None:
    """The error names the parameter; the connection stays open."""
    async with serving(tmp_path, card_host) as client:
        for words in (["pci", "usb_hub"], [""], ["PCI"]):
            with pytest.raises(VarlinkError) as refused:
                await client.call_more(f"{INTERFACE}.{method}", capabilities=words)
            assert refused.value.name == f"{SERVICE}.InvalidParameter"
            assert refused.value.parameters == {"parameter": "capabilities"}
        assert (await client.call(f"{INTERFACE}.GetStatus"))["state_counts"]["active"] == 6


def cut(monkeypatch: pytest.MonkeyPatch, size: int) -> None:
    """Have replies of a stream end past so many bytes, and make them device by device."""
    monkeypatch.setattr(answers, "CHUNK_BYTES", size)
    for name in ("PIECES_AT_ONCE", "STEP_ITEMS"):
        monkeypatch.setattr(methods, name, 1)


async def test_list_with_more_is_cut_into_replies(
    tmp_path: Path, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The parts make the whole, in order, and each has the generation."""
    cut(monkeypatch, 300)
    async with serving(tmp_path, store) as client:
        whole = await client.call(f"{INTERFACE}.List")
        parts = await client.call_more(f"{INTERFACE}.List")
    assert len(parts) > 1
    assert [entry for part in parts for entry in part["devices"]] == whole["devices"]
    assert {part["generation"] for part in parts} == {whole["generation"]}


async def test_describe_answers_each_device_by_its_name_and_path(
    tmp_path: Path, store: Store
) -> None:
    """Every device of a host is found, and decodes to what was scanned."""
    async with serving(tmp_path, store) as client:
        for device in store.snapshot:
            for name in (device.name, device.path or device.name):
                answer = await client.call(f"{INTERFACE}.Describe", name=name)
                assert answer["generation"] == store.snapshot.generation
                assert msgspec.convert(answer["devices"], list[Device]) == [device]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        (CARD, CARD),
        ("0000:02:00.0", CARD),
        ("/sys/bus/pci/devices/0000:02:00.0", CARD),
        ("/sys/class/mdev_bus/0000:02:00.0", CARD),
        ("/sys/devices/pci0000:00/0000:00:02.0/0000:02:00.0/", CARD),
        (MDEV, MDEV),
        ("5d4d1f0c-6d5b-45d5-9a64-3c6f0a3d1e01", MDEV),
        ("5D4D1F0C-6D5B-45D5-9A64-3C6F0A3D1E01", MDEV),
        ("mdev_5d4d1f0c-6d5b-45d5-9a64-3c6f0a3d1e01", MDEV),
        (f"{MDEV}_0000_02_00_0", MDEV),
        ("/sys/bus/mdev/devices/5d4d1f0c-6d5b-45d5-9a64-3c6f0a3d1e01", MDEV),
        ("computer", "computer"),
    ],
)
async def test_describe_takes_every_form_of_a_name(
    tmp_path: Path, card_host: Store, name: str, expected: str
) -> None:
    """By name, uuid, mdev name, address, path, and the links to it."""
    async with serving(tmp_path, card_host) as client:
        answer = await client.call(f"{INTERFACE}.Describe", name=name)
    assert answer["devices"][0]["name"] == expected


@pytest.mark.parametrize(
    ("name", "nearest"),
    [
        ("pci_0000_02_00", [CARD]),
        ("pci_0000_02_00_7", [CARD, "pci_0000_00_00_0", "pci_0000_00_02_0"]),
        ("0000:02:00.7", [CARD, "pci_0000_00_00_0", "pci_0000_00_02_0"]),
        ("/sys/bus/pci/devices/0000:02:00.7", [CARD, "pci_0000_00_00_0", "pci_0000_00_02_0"]),
        ("5d4d1f0c-6d5b-45d5-9a64-3c6f0a3d1e02", [MDEV]),
        ("5d4d1f0c", [MDEV]),
        ("COMPUTE", ["computer"]),
        ("zzz", []),
        ("", []),
        ("\x00\x1b[31m", []),
        ("x" * 100_000, []),
    ],
)
async def test_unknown_name_is_answered_with_the_nearest(
    tmp_path: Path, card_host: Store, name: str, nearest: list[str]
) -> None:
    """The error has the name, and a few similar ones."""
    async with serving(tmp_path, card_host) as client:
        error, parameters = await refusal(client, "Describe", name=name)
        assert error == f"{INTERFACE}.NoSuchDevice"
        assert parameters["name"] == name
        assert sorted(parameters["nearest"]) == sorted(nearest)
        assert await refusal(client, "DumpXML", names=["computer", name]) == (error, parameters)


async def test_dump_xml_of_one_name_is_a_device(tmp_path: Path, store: Store) -> None:
    """The answer is the <device> of the format, and valid."""
    async with serving(tmp_path, store) as client:
        for device in store.snapshot:
            answer = await client.call(f"{INTERFACE}.DumpXML", names=[device.name])
            assert answer["xml"] == native_xml(device)
            assert validate(answer["xml"]).tag == "device"


async def test_dump_xml_without_names_is_a_document_of_all(tmp_path: Path, store: Store) -> None:
    """All devices make one document, byte for byte that of the format."""
    async with serving(tmp_path, store) as client:
        answer = await client.call(f"{INTERFACE}.DumpXML")
    assert answer["xml"] == native_document(store.snapshot, store.snapshot.generation)
    assert len(validate(answer["xml"])) == len(store.snapshot)


async def test_dump_xml_of_several_names_keeps_their_order_and_counts_each_once(
    tmp_path: Path, card_host: Store
) -> None:
    """A small call cannot cause a huge answer."""
    wanted = [MDEV, "computer", "0000:02:00.0", CARD, MDEV, "computer"]
    async with serving(tmp_path, card_host) as client:
        answer = await client.call(f"{INTERFACE}.DumpXML", names=wanted)
        nobody = await client.call(f"{INTERFACE}.DumpXML", names=[])
        twice = await client.call(f"{INTERFACE}.DumpXML", names=[CARD, CARD])
    root = validate(answer["xml"])
    assert [one.findtext("name") for one in root] == [MDEV, "computer", CARD]
    assert len(validate(nobody["xml"])) == 0
    assert [one.findtext("name") for one in validate(twice["xml"])] == [CARD]


@pytest.mark.parametrize("wanted", [None, ["computer"], "all"])
async def test_dump_xml_with_more_joins_to_the_single_answer(
    tmp_path: Path, store: Store, monkeypatch: pytest.MonkeyPatch, wanted: Any
) -> None:
    """The pieces make the document."""
    cut(monkeypatch, 400)
    asked = {"names": list(store.snapshot.names) if wanted == "all" else wanted}
    async with serving(tmp_path, store) as client:
        whole = await client.call(f"{INTERFACE}.DumpXML", **asked)
        parts = await client.call_more(f"{INTERFACE}.DumpXML", **asked)
    assert "".join(part["xml"] for part in parts) == whole["xml"]
    assert len(parts) == 1 if wanted == ["computer"] else len(parts) > 1
    assert etree.fromstring(whole["xml"]) is not None


async def test_dump_xml_in_the_native_format_may_be_asked_for(
    tmp_path: Path, card_host: Store
) -> None:
    """`format` nodedevd is the default."""
    async with serving(tmp_path, card_host) as client:
        asked = await client.call(f"{INTERFACE}.DumpXML", names=[CARD], format="nodedevd")
        assert asked == await client.call(f"{INTERFACE}.DumpXML", names=[CARD])


@pytest.mark.parametrize("format_", ["yaml", "", 1])
async def test_format_that_is_not_written_is_an_invalid_parameter(
    tmp_path: Path, card_host: Store, format_: object
) -> None:
    """The error names the parameter."""
    async with serving(tmp_path, card_host) as client:
        answer = await refusal(client, "DumpXML", format=format_)
    assert answer == (f"{SERVICE}.InvalidParameter", {"parameter": "format"})


async def test_dump_xml_in_libvirts_format_has_libvirts_devices_alone(
    tmp_path: Path, store: Store
) -> None:
    """Each as in a document of its own; a device that libvirt does not show is an error."""
    shown = [device for device in store.snapshot if libvirt.shows(device)]
    async with serving(tmp_path, store) as client:
        everything = await client.call(f"{INTERFACE}.DumpXML", format="libvirt")
        one = await client.call(f"{INTERFACE}.DumpXML", names=["computer"], format="libvirt")
        assert one["xml"] == dump(store.snapshot, ["computer"], "libvirt")
        assert everything["xml"] == dump(store.snapshot, None, "libvirt")
        assert len(etree.fromstring(everything["xml"])) == len(shown)
        for device in store.snapshot:
            if device not in shown:
                answer = await refusal(client, "DumpXML", names=[device.name], format="libvirt")
                fields = {"name": device.name, "format": "libvirt"}
                assert answer == (f"{INTERFACE}.NotInFormat", fields)


async def test_host_dev_answers_the_xml_of_a_device(tmp_path: Path, card_host: Store) -> None:
    """The answer decodes strictly, and comes from the current snapshot."""
    async with serving(tmp_path, card_host) as client:
        await client.send(f"{INTERFACE}.HostDev", name=MDEV, display=True)
        reply = (await client.receive_reply()).parameters
    found = msgspec.json.decode(reply, type=HostDev, strict=True)
    assert (found.generation, found.type, found.model) == (1, "mdev", "vfio-pci")
    assert parse(found.xml).get("display") == "on"
    assert found.notes == ("the domain needs a <graphics> device for the display",)


async def test_host_dev_waits_for_a_fresh_reading(card_host: Store) -> None:
    """Volatile values are read again first; for an mdev that does not exist, nothing is."""

    class ReadAgain(FakeFreshness):
        def refresh(self, devices: Iterable[Device]) -> Awaitable[None]:
            super().refresh(devices)
            return self._read()

        async def _read(self) -> None:
            change_one(card_host, MDEV, driver="another")

    freshness = ReadAgain()
    handlers = handlers_of(card_host, freshness)
    there = HostDevRequest(name=MDEV)
    to_come = HostDevRequest(name="c0ffee00-0000-4000-8000-000000000001", not_created=True)
    for generation, parameters in ((2, there), (3, to_come)):
        answer = handlers.host_dev(parameters, REQUEST)
        assert isinstance(answer, Later)
        text = await settled(answer)
        assert msgspec.json.decode(text)["generation"] == generation
    assert freshness.asked == [MDEV]


async def test_host_dev_refused_tells_the_reason(tmp_path: Path, card_host: Store) -> None:
    """A word for programs, and a sentence for people."""
    async with serving(tmp_path, card_host) as client:
        error, parameters = await refusal(client, "HostDev", name="0000:00:02.0")
        assert error == f"{INTERFACE}.NotAssignable"
        assert (parameters["name"], parameters["reason"]) == ("pci_0000_00_02_0", "bridge")
        error, parameters = await refusal(client, "HostDev", name=MDEV, managed=True)
        assert error == f"{INTERFACE}.DoesNotFit"
        assert (parameters["name"], parameters["parameter"]) == (MDEV, "managed")


@pytest.mark.parametrize(
    ("parameter", "value"),
    [
        *(("model", "vfio-platform"), ("boot_order", 0), ("boot_order", 2**31)),
        *(("address", "05:00.0"), ("type", "nvidia-283"), ("arch", "x86_64"), ("ramfb", "on")),
    ],
)
async def test_host_dev_with_a_value_that_is_none_is_an_invalid_parameter(
    tmp_path: Path, card_host: Store, parameter: str, value: object
) -> None:
    """The error names the parameter."""
    async with serving(tmp_path, card_host) as client:
        answer = await refusal(client, "HostDev", name=MDEV, **{parameter: value})
    assert answer == (f"{SERVICE}.InvalidParameter", {"parameter": parameter})


async def test_snapshot_answers_everything(tmp_path: Path, store: Store) -> None:
    """All devices are sent, and decode to what was scanned."""
    async with serving(tmp_path, store) as client:
        parts = await client.call_more(f"{INTERFACE}.Snapshot")
    devices = [device for part in parts for device in msgspec.convert(part, Devices).devices]
    assert devices == list(store.snapshot)


async def test_snapshot_with_capabilities_answers_those_devices(
    tmp_path: Path, card_host: Store
) -> None:
    """The filter is that of List."""
    async with serving(tmp_path, card_host) as client:
        (part,) = await client.call_more(f"{INTERFACE}.Snapshot", capabilities=["mdev_types"])
        (none,) = await client.call_more(f"{INTERFACE}.Snapshot", capabilities=[])
    assert names(part["devices"]) == [CARD]
    assert none == {"generation": 1, "devices": []}


async def test_snapshot_of_names_keeps_their_order_and_counts_each_once(
    tmp_path: Path, card_host: Store
) -> None:
    """All are of one generation; capabilities select among them."""
    asked = [CARD, "computer", CARD]
    async with serving(tmp_path, card_host) as client:
        (part,) = await client.call_more(f"{INTERFACE}.Snapshot", names=asked)
        (parents,) = await client.call_more(
            f"{INTERFACE}.Snapshot", names=asked, capabilities=["mdev_parent"]
        )
        error, _ = await refusal(client, "Snapshot", names=["nobody"])
    assert names(part["devices"]) == [CARD, "computer"]
    assert names(parents["devices"]) == [CARD]
    assert error == f"{SERVICE}.ExpectedMore"


@pytest.mark.parametrize("method", ["Snapshot", "Watch"])
async def test_stream_called_without_more_is_refused(
    tmp_path: Path, card_host: Store, method: str
) -> None:
    """The error is ExpectedMore, and the connection stays open."""
    async with serving(tmp_path, card_host) as client:
        assert await refusal(client, method) == (f"{SERVICE}.ExpectedMore", {})
        assert (await client.call(f"{INTERFACE}.GetStatus"))["state_counts"]["active"] == 6


async def test_watch_tells_what_is_there_and_then_what_changes(
    tmp_path: Path, card_host: Store
) -> None:
    """Every device is present, parents first; a later change follows."""
    async with serving(tmp_path, card_host) as client:
        await client.send_raw(encode_call(f"{INTERFACE}.Watch", {}, more=True))
        seen: list[Any] = []
        while not seen or seen[-1]["event"] != "ready":
            seen.append(msgspec.json.decode((await client.receive_reply()).parameters))
        change_one(card_host, CARD, driver="vfio-pci")
        change = msgspec.json.decode((await client.receive_reply()).parameters)
    present = [one["name"] for one in seen[:-1]]
    assert sorted(present) == list(card_host.snapshot.names)
    assert present.index(CARD) < present.index(MDEV)
    assert (change["event"], change["name"], change["parts"]) == ("changed", CARD, ["driver"])
    assert change["generation"] == seen[-1]["generation"] + 1


@pytest.mark.parametrize(
    ("method", "parameters", "named"),
    [
        ("GetStatus", {"verbose": True}, "verbose"),
        ("List", {"capabilities": "pci"}, "capabilities"),
        ("List", {"capabilities": [1]}, "capabilities"),
        ("List", {"caps": ["pci"]}, "caps"),
        ("Describe", {}, "name"),
        ("Describe", {"name": None}, "name"),
        ("Describe", {"name": ["computer"]}, "name"),
        ("Describe", {"name": "computer", "more": True}, "more"),
        ("DumpXML", {"names": {"computer": True}}, "names"),
        ("Snapshot", {"capabilities": 7}, "capabilities"),
        ("Watch", {"since": "yesterday"}, "since"),
        ("Watch", {"content": "yaml"}, "content"),
    ],
)
async def test_parameter_of_a_wrong_type_or_name_is_named(
    tmp_path: Path, card_host: Store, method: str, parameters: dict[str, Any], named: str
) -> None:
    """Nothing is guessed or ignored: the error names the parameter."""
    async with serving(tmp_path, card_host) as client:
        answer = await refusal(client, method, **parameters)
    assert answer == (f"{SERVICE}.InvalidParameter", {"parameter": named})


# -- streams ---------------------------------------------------------------------------


@pytest.mark.exhaustive
@pytest.mark.parametrize("method", ["Snapshot", "List", "DumpXML"])
async def test_replies_of_a_large_host_stay_below_a_megabyte(tmp_path: Path, method: str) -> None:
    """Thousands of devices come in replies of a limited size."""
    store = Store(large_snapshot())
    async with serving(tmp_path, store) as client:
        await client.send_raw(encode_call(f"{INTERFACE}.{method}", {}, more=True))
        sizes = []
        count = 0
        continues = True
        while continues:
            reply = await client.receive_reply()
            text = bytes(reply.parameters)
            sizes.append(len(text))
            count += text.count(rb"<device>" if method == "DumpXML" else rb'"parent":')
            continues = reply.continues
    assert count == MANY + 1
    assert max(sizes) < CHUNK_LIMIT_BYTES
    assert sum(sizes) < CHUNK_LIMIT_BYTES or len(sizes) > 1


@pytest.mark.exhaustive
async def test_change_during_a_stream_shows_in_the_next_one_alone(tmp_path: Path) -> None:
    """A client that reads slowly gets one generation from the first reply to the last."""
    store = Store(large_snapshot())
    last = f"pci_{MANY - 1:04}"
    async with serving(tmp_path, store) as client:
        await client.send_raw(encode_call(f"{INTERFACE}.Snapshot", {}, more=True))
        parts = [msgspec.json.decode((await client.receive_reply()).parameters)]
        change_one(store, last, driver="vfio-pci")
        while last not in names(parts[-1]["devices"]):
            parts.append(msgspec.json.decode((await client.receive_reply()).parameters))
        after = await client.call(f"{INTERFACE}.Describe", name=last)
    assert {part["generation"] for part in parts} == {1}
    assert parts[-1]["devices"][-1]["driver"] == "nvidia"
    assert sum(len(part["devices"]) for part in parts) == MANY + 1
    assert (after["generation"], after["devices"][0]["driver"]) == (2, "vfio-pci")


REQUEST = Request(Peer(pid=1, uid=0), more=True)


def chunks_of(answer: Any) -> Iterator[bytes]:
    """Return the replies of a stream, each made when it is asked for."""
    answer = finish(answer) if isinstance(answer, Generator) else answer
    answer = finish(answer) if isinstance(answer, Generator) else answer
    assert isinstance(answer, Text)
    yield from filter(None, answer.messages())


@pytest.mark.parametrize(
    ("method", "parameters"),
    [
        ("list", ListParameters()),
        ("snapshot", SnapshotParameters()),
        ("dump_xml", DumpXmlParameters()),
    ],
)
def test_stream_begun_before_a_change_ends_with_its_own_generation(
    card_host: Store, monkeypatch: pytest.MonkeyPatch, method: str, parameters: object
) -> None:
    """Replies that are made after a change still come from the snapshot of the first."""
    cut(monkeypatch, 1)
    handlers = handlers_of(card_host)

    def begin() -> Answer:
        answer: Answer = getattr(handlers, method)(parameters, REQUEST)
        return answer

    undisturbed = list(chunks_of(begin()))
    disturbed = chunks_of(begin())
    first = next(disturbed)
    for device in tuple(card_host.snapshot):
        change_one(card_host, device.name, parent="somebody", driver="vfio-pci")
    assert [first, *disturbed] == undisturbed
    assert list(chunks_of(begin())) != undisturbed


async def test_fits_answers_where_a_type_fits(tmp_path: Path) -> None:
    """The answer is that of the snapshot."""
    store = Store(snapshot_of("vgpu-sriov"))
    async with serving(tmp_path, store) as client:
        found = await client.call(f"{INTERFACE}.Fits", type="A2-4Q", count=2)
        one = await client.call(f"{INTERFACE}.Fits", type="A2-4Q")
        error, parameters = await refusal(client, "Fits", type="A2-5Q")
    assert msgspec.convert(found, Fits) == fits(store.snapshot, "A2-4Q", 2)
    assert (one["count"], one["answer"]) == (1, "yes")
    assert (error, parameters["type"], len(parameters["nearest"])) == (
        f"{INTERFACE}.NoSuchType", "A2-5Q", 5,
    )  # fmt: skip


async def test_fits_without_a_type_answers_all_types(tmp_path: Path) -> None:
    """The answer is the best of any type; names select cards."""
    store = Store(snapshot_of("vgpu-two-generations"))
    async with serving(tmp_path, store) as client:
        found = await client.call(f"{INTERFACE}.Fits", count=2, names=["0000:16:00.0"])
        error, parameters = await refusal(client, "Fits", names=["nope"])
    expected = fits(store.snapshot, None, 2, ["0000:16:00.0"])
    assert msgspec.convert(found, Fits) == expected
    assert (found["type"], found["answer"]) == (None, "yes")
    assert (error, parameters["name"]) == (f"{INTERFACE}.NoSuchDevice", "nope")


async def test_types_answers_the_types_of_cards(tmp_path: Path) -> None:
    """The answer is that of the snapshot; names select cards."""
    store = Store(snapshot_of("vgpu-two-generations"))
    async with serving(tmp_path, store) as client:
        found = await client.call(f"{INTERFACE}.Types")
        some = await client.call(f"{INTERFACE}.Types", names=["0000:26:00.5"])
        error, parameters = await refusal(client, "Types", names=["nope"])
    assert msgspec.convert(found, Types) == types(store.snapshot)
    assert {one["card"] for one in some["types"]} == {"pci_0000_26_00_0"}
    assert (error, parameters["name"]) == (f"{INTERFACE}.NoSuchDevice", "nope")


async def test_types_has_the_counts_of_every_vgpu_read_again() -> None:
    """As Fits."""
    store = Store(snapshot_of("vgpu-two-generations"))
    freshness = FakeFreshness()
    await settled(handlers_of(store, freshness).types(TypesParameters(), Request(Peer(1, 0))))
    assert len(freshness.asked) == 5


@pytest.mark.parametrize("count", [0, -1, 1.5, "2", True, 1_000_001])
async def test_fits_refuses_a_count_that_is_none(tmp_path: Path, count: object) -> None:
    """The error names the parameter, and the connection stays open."""
    async with serving(tmp_path, Store(snapshot_of("vgpu-pf"))) as client:
        error, parameters = await refusal(client, "Fits", type="P40-4C", count=count)
        assert error == "org.varlink.service.InvalidParameter"
        assert parameters == {"parameter": "count"}
        assert (await client.call(f"{INTERFACE}.Fits", type="P40-4C"))["answer"] == "yes"


async def test_fits_has_the_counts_of_every_vgpu_read_again(tmp_path: Path) -> None:
    """Those of mdev parents and functions with vendor VFIO, and no others."""
    store = Store(snapshot_of("vgpu-two-generations"))
    freshness = FakeFreshness()
    interface = handlers_of(store, freshness)
    await settled(interface.fits(FitsParameters("P40-8C"), Request(Peer(1, 0))))
    assert len(freshness.asked) == 5
    assert all(store.snapshot.lookup(name).is_volatile for name in freshness.asked)


async def test_resolve_answers_which_device_is_meant(tmp_path: Path) -> None:
    """For a group, and for a missing one."""
    store = Store(snapshot_of("vgpu-sriov"))
    async with serving(tmp_path, store) as client:
        found = await client.call(f"{INTERFACE}.Resolve", text="/dev/vfio/64")
        error, parameters = await refusal(client, "Resolve", text="/dev/vfio/9999")
    assert msgspec.convert(found, Resolution) == resolve(store.snapshot, "64")
    assert (error, parameters["name"]) == (f"{INTERFACE}.NoSuchDevice", "/dev/vfio/9999")


async def test_resolve_looks_at_nodes_only_for_one_that_no_device_has() -> None:
    """Other answers need no read of the host."""
    looked = 0
    store = Store(snapshot_of("vgpu-sriov"))

    async def nodes() -> DeviceNodes:
        nonlocal looked
        looked += 1
        path = store.snapshot.lookup("0000:08:00.4").path or ""
        return DeviceNodes({"/dev/odd": f"{path}/odd/odd0"})

    encodings = Encodings(store)
    handlers = DevicesInterface(
        encodings, lambda tally: status_of(store), FakeFreshness(), Looks(nodes=nodes)
    )
    for text, name, count in (("64", MDEV_OF_GROUP, 0), ("/dev/odd", "pci_0000_08_00_4", 1)):
        answer = without_waiting(handlers.resolve(ResolveParameters(text), REQUEST))
        assert isinstance(answer, Later) == bool(count)
        found = await settled(answer)
        resolution = msgspec.json.decode(found, type=Resolution)
        assert ([one.name for one in resolution.devices], looked) == ([name], count)


# -- who has devices open --------------------------------------------------------------


def looking(store: Store, look: VfioUsage) -> DevicesInterface:
    """Return the handlers with this result of a look at the processes."""

    async def looked() -> VfioUsage:
        return look

    looks = Looks(processes=looked)
    return DevicesInterface(
        Encodings(store), lambda tally: status_of(store), FakeFreshness(), looks
    )


async def uses(handlers: DevicesInterface, names: list[str] | None, uid: int = 0) -> InUse:
    """Call as a user."""
    request = Request(Peer(pid=1, uid=uid))
    answer = await settled(handlers.in_use(InUseParameters(names), request))
    return msgspec.json.decode(answer, type=InUse)


MDEV_OF_GROUP = "mdev_27b42a51_9f6b_4c0b_8f5f_4f3a1d0e8c01"
QEMU = Process(100, "qemu-system-x86")


def held(path: str) -> VfioUsage:
    """Return a look that found one device open."""
    open_files = OpenFiles(QEMU, frozenset(), frozenset({path}), 0)
    return VfioUsage({}, ProcessScan((open_files,), 0, hidden=False))


async def test_in_use_tells_who_has_a_device_open(card_host: Store) -> None:
    """Root and the daemon's own user get the process, others only that the device is open."""
    path = card_host.snapshot.lookup(MDEV).path
    assert path is not None
    handlers = looking(card_host, held(path))
    for uid in (0, os.geteuid()):
        (use,) = (await uses(handlers, [MDEV], uid)).devices
        assert (use.name, use.open, use.holders) == (MDEV, "yes", (QEMU,))
    (use,) = (await uses(handlers, [MDEV], 12345)).devices
    assert (use.name, use.open, use.holders) == (MDEV, "yes", ())


async def test_host_dev_tells_who_has_the_device_open(card_host: Store) -> None:
    """Only root and the daemon's own user get the process."""
    path = card_host.snapshot.lookup(MDEV).path
    assert path is not None
    handlers = looking(card_host, held(path))
    for uid, named in ((0, True), (os.geteuid(), True), (12345, False)):
        request = Request(Peer(pid=1, uid=uid))
        answer = await settled(handlers.host_dev(HostDevRequest(name=MDEV), request))
        found = msgspec.json.decode(answer, type=HostDev)
        assert found.open == "yes"
        assert ("qemu-system-x86 (100)" in found.notes[-1]) is named


async def test_in_use_takes_any_name_and_tells_each_device_once(card_host: Store) -> None:
    """A name and a repeated name of the same device are one."""
    told = await uses(looking(card_host, held("/sys")), [MDEV, CARD, MDEV])
    assert [use.name for use in told.devices] == [MDEV, CARD]
    assert told.generation == card_host.snapshot.generation


async def test_in_use_without_names_tells_of_all_mdevs(card_host: Store) -> None:
    """No names: all that VFIO drives; an empty list: none."""
    handlers = looking(card_host, held("/sys"))
    told = await uses(handlers, None)
    assert {use.name for use in told.devices} == {
        device.name for device in card_host.snapshot.select(["mdev_child"])
    }
    assert (await uses(handlers, [])).devices == ()


async def test_in_use_of_a_recorded_host_is_unknown(tmp_path: Path, card_host: Store) -> None:
    """Over the socket; an unknown name is an error, as for every method."""
    async with serving(tmp_path, card_host) as client:
        told = await client.call(f"{INTERFACE}.InUse", names=[MDEV])
        error, parameters = await refusal(client, "InUse", names=["mdev_0"])
    assert [(use["open"], use["reason"]) for use in told["devices"]] == [("unknown", "other-host")]
    assert error == f"{INTERFACE}.NoSuchDevice"
    assert parameters["name"] == "mdev_0"


async def test_draw_answers_a_picture_over_the_socket(tmp_path: Path, card_host: Store) -> None:
    """Of the host or a card; a wrong name, width or theme is an error."""
    async with serving(tmp_path, card_host) as client:
        drawn = await client.call(f"{INTERFACE}.Draw", width=400, theme="light", card=MDEV)
        errors = [
            (await refusal(client, "Draw", **parameters))[0].rpartition(".")[2]
            for parameters in ({"card": "nope"}, {"width": 10**9}, {"theme": "pink"}, {"x": 1})
        ]
    assert drawn["svg"].startswith("<svg xmlns='http://www.w3.org/2000/svg'")
    assert drawn["generation"] == card_host.snapshot.generation
    assert errors == ["NoSuchDevice", *["InvalidParameter"] * 3]


@pytest.mark.parametrize("method", ["Describe", "DumpXML"])
async def test_answer_to_the_same_call_is_that_of_the_device_as_it_is(
    tmp_path: Path, method: str
) -> None:
    """A cached reply is stale after any change of any device."""
    store = Store(snapshot_of("vgpu-pf"))
    port = "pci_0000_00_02_0"
    given = {"name": port} if method == "Describe" else {"names": [port]}
    async with serving(tmp_path, store) as client:
        first = await client.call(f"{INTERFACE}.{method}", **given)
        assert await client.call(f"{INTERFACE}.{method}", **given) == first
        change_one(store, port, driver="vfio-pci")
        second = await client.call(f"{INTERFACE}.{method}", **given)
        assert "vfio-pci" in json.dumps(second)
        assert "vfio-pci" not in json.dumps(first)
        change_one(store, CARD, driver="other")
        third = await client.call(f"{INTERFACE}.{method}", **given)
    assert [one["generation"] for one in (first, second, third)] == [1, 2, 3]
    assert {**third, "generation": 2} == second


@pytest.mark.parametrize(("fresh_seconds", "asked_for"), [(0.0, 3), (60.0, 1)])
@pytest.mark.parametrize(("method", "parameter"), [("DumpXML", "names"), ("Describe", "name")])
async def test_device_that_changes_without_an_event_is_asked_after_when_it_is_old(
    tmp_path: Path, method: str, parameter: str, fresh_seconds: float, asked_for: int
) -> None:
    """The reply for an mdev parent is cached as long as its counts are fresh."""
    store = Store(snapshot_of("vgpu-pf"))
    freshness = FakeFreshness(fresh_seconds)
    protocol, path = protocol_of(store, freshness), tmp_path / "nodedevd.sock"
    async with served(path, protocol), connected(path) as client:
        for _ in range(3):
            for name in (CARD, "computer"):
                given = [name] if parameter == "names" else name
                await client.call(f"{INTERFACE}.{method}", **{parameter: given})
    assert freshness.asked.count(CARD) == asked_for
    assert freshness.asked.count("computer") == 1
    assert protocol.calls == 6
