"""Changes by libvirt's clients: requests, texts, states, events, and who may call."""

from __future__ import annotations

import asyncio
import errno
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import pytest

from nodedevd.actions.answers import Outcome
from nodedevd.actions.ownership import Record
from nodedevd.actions.requests import Create, Define, Request
from nodedevd.client.errors import ConnectionLost
from nodedevd.errors import NoControl, NodedevError, NotAllowed
from nodedevd.kinds.mdev_parent import MdevParent
from nodedevd.model.changes import Added, Change, Changed, Removed, Update
from nodedevd.model.snapshot import Snapshot
from nodedevd.model.store import Store
from nodedevd.server.acceptor import Server, connected_peer_of
from nodedevd.server.account import AccountLimits
from nodedevd.server.encodings import Encodings
from nodedevd.server.libvirt import protocol as remote
from nodedevd.server.libvirt import writes as module
from nodedevd.server.libvirt import xdr
from nodedevd.server.libvirt.conversation import LibvirtConversations
from nodedevd.server.libvirt.devices import EVENT_LIFECYCLE, EVENT_UPDATE, NodeDevices
from nodedevd.server.libvirt.protocol import Procedure
from nodedevd.server.libvirt.waiting import Places
from nodedevd.server.libvirt.writes import CONFIG, LIVE, Writes
from nodedevd.server.libvirt.xdr import Case
from tests.support.acting_host import ActingHost
from tests.support.freshness import FakeFreshness
from tests.support.libvirt_peer import CallFailed, LibvirtPeer, dialled, opened
from tests.support.played_kernel import mtty_parent
from tests.support.serving import listening

UUID = "83b8f4f2-509f-382f-3c1e-e6bfe0fa1001"
OTHER = "83b8f4f2-509f-382f-3c1e-e6bfe0fa1002"
PARENT = "mtty_mtty"
NAME = f"mdev_{UUID.replace('-', '_')}_mtty"
XML = remote.XmlAndFlags
NAMED = remote.NameAndFlags
NO_ADDRESS = "failed to parse configuration file Unable to find address for parent device"
START = "internal error: Unable to start mediated device: Error: "


def document(
    uuid: str | None = UUID, *, type_id: str = "mtty-1", parent: str = PARENT, more: str = ""
) -> str:
    """Return the XML of an mdev."""
    identity = f"<uuid>{uuid}</uuid>" if uuid else ""
    return (
        f"<device><name>x</name><parent>{parent}</parent><capability type='mdev'>"
        f"<type id='{type_id}'/>{identity}{more}</capability></device>"
    )


class Control:
    """A control service in the test's own process, on a played kernel.

    Attributes:
        host: what it changes.
        store: what clients read; it shows the host after each change.
        refused: raised by `authorise`.
        failing: raised by `act`.
        asked: methods for which somebody was authorised, and requests, in order.
        clients: pids of those that it was spoken for.
        shows: called instead of showing the host in the store.
    """

    def __init__(self, directory: Path) -> None:
        self.host = ActingHost(directory)
        (Path(self.host.kernel.tree.root) / "etc/mdevctl.d").mkdir(parents=True)
        self.parent = mtty_parent(self.host.kernel)
        self.store = Store(self.host.view.snapshot().numbered(1))
        self.refused: NodedevError | None = None
        self.failing: NodedevError | None = None
        self.unreachable: NodedevError | None = None
        self.asked: list[str | Request] = []
        self.clients: list[int] = []
        self.shows: Callable[[], None] = self.show
        self.open = 0

    def speak_for(self, client: socket.socket) -> Self:
        """Note who is spoken for."""
        self.clients.append(connected_peer_of(client).pid)
        return self

    async def __aenter__(self) -> Self:
        if self.unreachable is not None:
            raise self.unreachable
        self.open += 1
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.open -= 1

    async def authorise(self, method: str) -> None:
        """Note the method."""
        self.asked.append(method)
        if self.refused is not None:
            raise self.refused

    async def act(self, request: Request) -> Outcome:
        """Carry it out, and show what came of it."""
        self.asked.append(request)
        if self.failing is not None:
            raise self.failing
        outcome = self.host.act(request)
        self.shows()
        return outcome

    def show(self) -> None:
        """Have the store show the host."""
        before, found = self.store.snapshot, self.host.view.snapshot()
        changes: list[Change] = [
            Removed(one) for one in reversed(list(before)) if found.get(one.name) is None
        ]
        for device in found:
            known = before.get(device.name)
            if known is None:
                changes.append(Added(device))
            elif known != device:
                changes.append(Changed(known, device))
        snapshot = Snapshot(found, generation=before.generation + len(changes))
        self.store.publish(Update(snapshot, tuple(changes)))

    @property
    def requests(self) -> list[Request]:
        """What was asked for."""
        return [one for one in self.asked if isinstance(one, Request)]


class Bench:
    """A client on a server over a control service."""

    def __init__(self, control: Control, peer: LibvirtPeer, path: Path) -> None:
        self.control = control
        self.peer = peer
        self.path = path

    async def __call__(self, procedure: Procedure[Any, Any], arguments: Any) -> Any:
        """Call."""
        return await self.peer.call(procedure, arguments)

    async def refused(self, procedure: Procedure[Any, Any], arguments: Any) -> tuple[Any, ...]:
        """Return code, domain and text of the error of a call."""
        with pytest.raises(CallFailed) as failed:
            await self.peer.call(procedure, arguments)
        return failed.value.failure[:3]

    async def state(self) -> tuple[int, int, int]:
        """Return whether the mdev is active, persistent, and started with its parent."""
        return (
            await self.peer.call(remote.IS_ACTIVE, NAME),
            await self.peer.call(remote.IS_PERSISTENT, NAME),
            await self.peer.call(remote.GET_AUTOSTART, NAME),
        )


@asynccontextmanager
async def served(
    directory: Path,
    *,
    read_only: bool = False,
    places: Places | None = None,
    accounts: AccountLimits | None = None,
) -> AsyncIterator[tuple[Control, Path]]:
    """Serve a host below a directory."""
    control = Control(directory)
    devices = NodeDevices(Encodings(control.store))
    writes = Writes(devices, control.speak_for, places or Places())
    protocol = LibvirtConversations(devices, FakeFreshness(), writes=writes)
    path = directory / "libvirt"
    server = Server(accounts=accounts, identify=connected_peer_of)
    server.listen(listening(path), protocol.for_readers() if read_only else protocol)
    try:
        yield control, path
    finally:
        server.close()
        await server.wait_closed()
    assert server.clients == 0
    assert control.store.subscriptions == 0
    assert control.open == 0


@asynccontextmanager
async def client(directory: Path) -> AsyncIterator[Bench]:
    """Serve a host below a directory, and connect a client that may write."""
    async with served(directory) as (control, path), opened(path) as peer:
        yield Bench(control, peer, path)


# -- what is done -------------------------------------------------------------------------------


async def test_mdev_is_created_and_destroyed(tmp_path: Path) -> None:
    """The answer has libvirt's name; the tree shows each change when it is answered."""
    async with client(tmp_path) as bench:
        assert await bench(remote.CREATE_XML, XML(document(), 0)) == NAME
        assert await bench.state() == (1, 0, 0)
        await bench(remote.DESTROY, NAME)
        assert (await bench.refused(remote.IS_ACTIVE, NAME))[:2] == (53, 22)
        assert bench.control.asked == [
            "Create",
            Create(type="mtty-1", names=[PARENT], uuid=UUID, attributes=[]),
            "Remove",
            bench.control.requests[1],
        ]


async def test_mdev_without_a_uuid_gets_one(tmp_path: Path) -> None:
    """Each time another one."""
    async with client(tmp_path) as bench:
        first = await bench(remote.CREATE_XML, XML(document(None), 0))
        second = await bench(remote.CREATE_XML, XML(document(None), 0))
        assert first != second
        assert await bench(remote.LOOKUP_BY_NAME, first) == first


@pytest.mark.slow
async def test_definition_goes_through_its_life(tmp_path: Path) -> None:
    """Define, start, autostart, undefine while it runs, and destroy what is left."""
    async with client(tmp_path) as bench:
        assert await bench(remote.DEFINE_XML, XML(document(), 1)) == NAME
        assert await bench.state() == (0, 1, 0)
        await bench(remote.CREATE, NAMED(NAME, 0))
        assert await bench.state() == (1, 1, 0)
        await bench(remote.SET_AUTOSTART, remote.Autostart(NAME, 2))
        assert await bench.state() == (1, 1, 1)
        await bench(remote.SET_AUTOSTART, remote.Autostart(NAME, 0))
        await bench(remote.DESTROY, NAME)
        assert await bench.state() == (0, 1, 0)
        await bench(remote.CREATE, NAMED(NAME, 0))
        await bench(remote.UNDEFINE, NAMED(NAME, 0))
        assert await bench.state() == (1, 0, 0)
        await bench(remote.DESTROY, NAME)
        assert (await bench.refused(remote.LOOKUP_BY_NAME, NAME))[:2] == (53, 22)


async def test_second_definition_replaces_the_first_and_keeps_autostart(tmp_path: Path) -> None:
    """Libvirt switches autostart off. Attributes are those of the document, also none."""
    async with client(tmp_path) as bench:
        attributes = "<attr name='a' value='1'/><attr name='b' value='2'/>"
        await bench(remote.DEFINE_XML, XML(document(more=attributes), 0))
        await bench(remote.SET_AUTOSTART, remote.Autostart(NAME, 1))
        xml = await bench(remote.GET_XML_DESC, NAMED(NAME, 1))
        assert "<attr name='a' value='1'/>\n    <attr name='b' value='2'/>" in xml
        await bench(remote.DEFINE_XML, XML(document(type_id="mtty-2"), 0))
        assert await bench.state() == (0, 1, 1)
        xml = await bench(remote.GET_XML_DESC, NAMED(NAME, 1))
        assert ("mtty-2" in xml, "<attr" in xml) == (True, False)


@pytest.mark.slow
async def test_update_changes_the_definition_of_an_inactive_mdev(tmp_path: Path) -> None:
    """Without flags, and with CONFIG; of one that runs, only with CONFIG."""
    async with client(tmp_path) as bench:
        await bench(remote.DEFINE_XML, XML(document(), 0))
        for flags, value in ((0, "1"), (CONFIG, "2")):
            more = f"<attr name='a' value='{value}'/>"
            await bench(remote.UPDATE, remote.NewXml(NAME, document(more=more), flags))
            assert f"value='{value}'" in await bench(remote.GET_XML_DESC, NAMED(NAME, 1))
        await bench(remote.DEFINE_XML, XML(document(), 0))
        await bench(remote.CREATE, NAMED(NAME, 0))
        await bench(remote.UPDATE, remote.NewXml(NAME, document(type_id="mtty-2"), CONFIG))
        assert "mtty-2" in await bench(remote.GET_XML_DESC, NAMED(NAME, 1))
        assert "mtty-2" not in await bench(remote.GET_XML_DESC, NAMED(NAME, 0))


async def test_xml_that_was_dumped_updates_and_defines(tmp_path: Path) -> None:
    """As people edit it: with path, driver and what else a device that runs has."""
    async with client(tmp_path) as bench:
        await bench(remote.CREATE_XML, XML(document(), 0))
        xml = await bench(remote.GET_XML_DESC, NAMED(NAME, 0))
        assert "<path>" in xml
        assert await bench(remote.DEFINE_XML, XML(xml, 1)) == NAME
        await bench(remote.UPDATE, remote.NewXml(NAME, xml, CONFIG))
        assert await bench.state() == (1, 1, 0)


@pytest.mark.slow
async def test_events_tell_of_each_change_once_and_in_order(tmp_path: Path) -> None:
    """Without libvirt's updates of bystanders, and none for what failed."""
    async with client(tmp_path) as bench:
        for event in (EVENT_LIFECYCLE, EVENT_UPDATE):
            await bench(remote.REGISTER_EVENT, remote.Registration(event, None))
        await bench(remote.CREATE_XML, XML(document(OTHER), 0))
        await bench.refused(remote.CREATE_XML, XML(document(OTHER), 0))
        await bench(remote.DEFINE_XML, XML(document(), 0))
        await bench(remote.CREATE, NAMED(NAME, 0))
        await bench(remote.SET_AUTOSTART, remote.Autostart(NAME, 1))
        await bench(remote.SET_AUTOSTART, remote.Autostart(NAME, 1))
        await bench(remote.DESTROY, NAME)
        await bench(remote.UNDEFINE, NAMED(NAME, 0))
        seen = []
        while (NAME, 3) not in seen:
            told = await bench.peer.event()
            seen.append((told.device, getattr(told, "event", "update")))
        other = f"mdev_{OTHER.replace('-', '_')}_mtty"
        of_mdevs = [one for one in seen if one[0] != PARENT]
        assert of_mdevs == [
            (other, 0),
            *((NAME, event) for event in (2, 0, "update", 1, 3)),
        ]
        assert {one for one in seen if one[0] == PARENT} <= {(PARENT, "update")}


async def test_answer_waits_for_the_tree_of_the_clients(tmp_path: Path) -> None:
    """Libvirt's start returns earlier, and a destroy right after it fails."""
    async with client(tmp_path) as bench:
        changed = asyncio.Event()
        bench.control.shows = changed.set
        serial = await send(bench, remote.CREATE_XML, XML(document(), 0))
        await changed.wait()
        for _ in range(8):  # answered meanwhile, and the change is not
            assert await bench(remote.GET_TYPE, None) == "nodedev"
        assert len(bench.control.store.snapshot) == 2
        bench.control.show()
        reply = await bench.peer.reply(serial)
        assert reply.header.status == 0


async def send(bench: Bench, procedure: Procedure[Any, Any], arguments: Any) -> int:
    """Send a call."""
    return await bench.peer.send(procedure.number, xdr.encode(procedure.arguments, arguments))


# -- what is refused ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("xml", "expected"),
    [
        (
            document(type_id="mtty-9"),
            (1, 22, f"{START}Parent mtty does not support mdev type mtty-9\n"),
        ),
        (
            document(parent="nobody"),
            (67, 22, "unsupported configuration: invalid parent device 'nobody'"),
        ),
        (document(parent="computer"), (32, 22, f"{NO_ADDRESS} 'computer'")),
        (
            document(more="<attr name='../x' value='1'/>"),
            (1, 22, f"{START}Invalid attribute '../x'\n"),
        ),
        (
            document(more="<attr name='nope' value='1'/>"),
            (1, 22, f"{START}Invalid attribute 'nope'\n"),
        ),
        (
            "<device><capability type='mdev'><type id='a'/></capability></device>",
            (67, 22, "unsupported configuration: missing parent device"),
        ),
        (
            "<device><capability type='net'/></device>",
            (67, 22, "unsupported configuration: Unsupported device type"),
        ),
    ],
)
async def test_document_that_cannot_be_created_is_refused_as_by_libvirt(
    tmp_path: Path, xml: str, expected: tuple[Any, ...]
) -> None:
    """Code, domain and text; nothing is left."""
    async with client(tmp_path) as bench:
        assert await bench.refused(remote.CREATE_XML, XML(xml, 0)) == expected
        assert bench.control.host.kernel.mdev.types == {}


async def test_uuid_that_is_active_is_refused_as_by_mdevctl(tmp_path: Path) -> None:
    """Whoever has made it; nothing is taken for success."""
    async with client(tmp_path) as bench:
        await bench(remote.CREATE_XML, XML(document(), 0))
        same = (1, 22, f"{START}Device already exists\n")
        assert await bench.refused(remote.CREATE_XML, XML(document(), 0)) == same
        [record] = bench.control.host.context.records.all().values()
        fields = {name: getattr(record, name) for name in Record.__struct_fields__}
        for owner in ("nova", None):
            other = Record(**{**fields, "owner": owner, "origin": "domain"})
            bench.control.host.context.records.put(other, PARENT)
            assert await bench.refused(remote.CREATE_XML, XML(document(), 0)) == same
        other_type = (1, 22, f"{START}Device exists with different type\n")
        found = await bench.refused(remote.CREATE_XML, XML(document(type_id="mtty-2"), 0))
        assert found == other_type


@pytest.mark.slow
async def test_parent_without_room_is_refused_as_by_mdevctl(tmp_path: Path) -> None:
    """Whether the tree knows or the driver says so."""
    async with client(tmp_path) as bench:
        full = (1, 22, f"{START}No available instances of mtty-1 on mtty\n")
        bench.control.host.refusals = [errno.ENOSPC] * 4
        assert await bench.refused(remote.CREATE_XML, XML(document(), 0)) == full
        bench.control.host.refusals = []
        while True:
            parent = bench.control.store.snapshot.lookup(PARENT).capability(MdevParent)
            assert parent is not None
            if not parent.types[0].available_instances:
                break
            await bench(remote.CREATE_XML, XML(document(None), 0))
        assert await bench.refused(remote.CREATE_XML, XML(document(), 0)) == full


async def test_state_that_does_not_allow_it_is_refused_as_by_libvirt(tmp_path: Path) -> None:
    """By the tree, without a call of the control service."""
    async with client(tmp_path) as bench:
        invalid = "Requested operation is not valid: "
        await bench(remote.CREATE_XML, XML(document(), 0))
        asked = len(bench.control.asked)
        for procedure, arguments, code, text in (
            (remote.CREATE, NAMED(NAME, 0), 55, f"{invalid}Device is already active"),
            (remote.CREATE, NAMED("computer", 0), 55, f"{invalid}Device is already active"),
            (remote.UNDEFINE, NAMED(NAME, 0), 55, f"{invalid}Node device '{NAME}' is not defined"),
            (
                *(remote.UNDEFINE, NAMED(PARENT, 0), 55),
                f"{invalid}Node device '{PARENT}' is not defined",
            ),
            (
                *(remote.SET_AUTOSTART, remote.Autostart(NAME, 1), 55),
                f"{invalid}cannot set autostart for transient device",
            ),
            (
                *(remote.SET_AUTOSTART, remote.Autostart("computer", 1), 84),
                "Operation not supported: Unsupported device type",
            ),
            (remote.DESTROY, PARENT, 67, "unsupported configuration: Unsupported device type"),
            (
                *(remote.UNDEFINE, NAMED("computer", 0), 67),
                "unsupported configuration: Unsupported device type",
            ),
            (
                *(remote.UPDATE, remote.NewXml(PARENT, "", 0), 67),
                "unsupported configuration: Unsupported device type",
            ),
            (
                *(remote.DESTROY, "nobody", 53),
                "Node device not found: no node device with matching name 'nobody'",
            ),
        ):
            assert await bench.refused(procedure, arguments) == (code, 22, text)
        assert len(bench.control.asked) == asked
        await bench(remote.DEFINE_XML, XML(document(), 0))
        await bench(remote.DESTROY, NAME)
        not_active = (55, 22, f"{invalid}Device '{NAME}' is not active")
        assert await bench.refused(remote.DESTROY, NAME) == not_active


@pytest.mark.parametrize(
    ("uuid", "type_id", "flags", "code", "text"),
    [
        (UUID, "mtty-1", LIVE | CONFIG, 55, "transient node devices do not have any persistent"),
        (UUID, "mtty-1", CONFIG, 55, "transient node devices do not have any persistent config"),
        (OTHER, "mtty-1", LIVE, 67, f"uuid mismatch (current uuid '{UUID}')"),
        (None, "mtty-1", 0, 67, f"uuid mismatch (current uuid '{UUID}')"),
        (UUID, "mtty-2", LIVE, 67, "type mismatch (current type 'mtty-1')"),
        (
            UUID,
            "mtty-1",
            LIVE,
            1,
            "device type. Changing the device configuration requires",
        ),
        (UUID, "mtty-1", 0, 1, "Unable to modify mediated device: Error: Live modification is"),
        (UUID, "mtty-1", 8, 8, "unsupported flags (0x8) in function nodeDeviceUpdate"),
    ],
)
async def test_update_that_is_none_is_refused(
    tmp_path: Path, uuid: str | None, type_id: str, flags: int, code: int, text: str
) -> None:
    """Of a transient mdev."""
    async with client(tmp_path) as bench:
        await bench(remote.CREATE_XML, XML(document(), 0))
        new = remote.NewXml(NAME, document(uuid, type_id=type_id), flags)
        found = await bench.refused(remote.UPDATE, new)
        assert found[:2] == (code, 22)
        assert text in found[2]


@pytest.mark.parametrize(
    ("xml", "code", "text"),
    [
        (
            document(parent="computer"),
            32,
            "Unable to find address for parent device 'computer'",
        ),
        (document().replace(f"<parent>{PARENT}</parent>", ""), 67, "missing parent device"),
        (document(parent="nobody"), 67, "invalid parent device 'nobody'"),
        (
            "<device><name>x</name><capability type='net'><interface/></capability></device>",
            67,
            "Unsupported device type",
        ),
    ],
)
async def test_update_has_the_checks_of_a_definition(
    tmp_path: Path, xml: str, code: int, text: str
) -> None:
    """A document is checked in the same way whatever it is for; nothing is changed."""
    async with client(tmp_path) as bench:
        await bench(remote.DEFINE_XML, XML(document(), 0))
        before = await bench(remote.GET_XML_DESC, NAMED(NAME, 1))
        found = await bench.refused(remote.UPDATE, remote.NewXml(NAME, xml, CONFIG))
        assert found[:2] == (code, 22)
        assert text in found[2]
        assert await bench(remote.GET_XML_DESC, NAMED(NAME, 1)) == before


async def test_update_of_what_is_defined_or_inactive_is_checked(tmp_path: Path) -> None:
    """Live changes of an inactive mdev, and of a type without a script; the schema always holds."""
    async with client(tmp_path) as bench:
        await bench(remote.DEFINE_XML, XML(document(), 0))
        new = remote.NewXml(NAME, document(), LIVE)
        assert (await bench.refused(remote.UPDATE, new))[0] == 55
        await bench(remote.CREATE, NAMED(NAME, 0))
        for flags in (LIVE, 0, LIVE | CONFIG):
            new = remote.NewXml(NAME, document(more="<attr name='a' value='1'/>"), flags)
            code, _, text = await bench.refused(remote.UPDATE, new)
            assert code == 1
            assert "Error: Live modification is not supported" in text
        assert "<attr" not in await bench(remote.GET_XML_DESC, NAMED(NAME, 1))
        nameless = document().replace("<name>x</name>", "")
        assert (await bench.refused(remote.UPDATE, remote.NewXml(NAME, nameless, 0)))[:2] == (92, 5)


@pytest.mark.parametrize(
    ("procedure", "arguments", "function"),
    [
        (remote.CREATE_XML, XML(document(), 2), "nodeDeviceCreateXML"),
        (remote.DEFINE_XML, XML(document(), 2), "nodeDeviceDefineXML"),
        (remote.CREATE, NAMED(NAME, 2), "nodeDeviceCreate"),
        (remote.UNDEFINE, NAMED(NAME, 2), "nodeDeviceUndefine"),
    ],
)
async def test_unknown_flags_are_refused(
    tmp_path: Path, procedure: Procedure[Any, Any], arguments: Any, function: str
) -> None:
    """With the function, as programs find it in str1."""
    async with client(tmp_path) as bench:
        with pytest.raises(CallFailed) as failed:
            await bench(procedure, arguments)
        failure = failed.value.failure
        text = f"unsupported flags (0x2) in function {function}"
        assert (*failure[:3], failure.str1) == (8, 22, text, function)
        assert bench.control.asked == []


async def test_mdev_of_others_is_not_destroyed(tmp_path: Path) -> None:
    """The error names the command that does it."""
    async with client(tmp_path) as bench:
        bench.control.host.kernel.write(
            f"{bench.control.parent}/mdev_supported_types/mtty-1/create", UUID
        )
        bench.control.show()
        code, domain, text = await bench.refused(remote.DESTROY, NAME)
        assert (code, domain) == (29, 22)
        assert "somebody else, not by nodedevd" in text
        assert text.endswith(f"nodedevctl remove --force {NAME}")


async def test_mdev_that_is_open_is_in_use(tmp_path: Path) -> None:
    """In libvirt's words, and it stays."""
    async with client(tmp_path) as bench:
        await bench(remote.CREATE_XML, XML(document(), 0))
        bench.control.host.kernel.open(f"{bench.control.parent}/{UUID}")
        text = f"internal error: Unable to destroy '{NAME}': device in use"
        assert await bench.refused(remote.DESTROY, NAME) == (1, 22, text)
        assert await bench.state() == (1, 0, 0)


# -- who may --------------------------------------------------------------------------------------

EACH: list[tuple[Procedure[Any, Any], Any]] = [
    (remote.CREATE_XML, XML("<not xml", 0)),
    (remote.DEFINE_XML, XML("<!DOCTYPE", 0)),
    (remote.DESTROY, NAME),
    (remote.UNDEFINE, NAMED(NAME, 0)),
    (remote.CREATE, NAMED(NAME, 0)),
    (remote.SET_AUTOSTART, remote.Autostart(NAME, 1)),
    (remote.UPDATE, remote.NewXml(NAME, "<not xml", 0)),
]


@pytest.mark.parametrize(("procedure", "arguments"), EACH, ids=[one[0].name for one in EACH])
async def test_client_without_the_right_is_refused_before_anything_is_parsed(
    tmp_path: Path,
    procedure: Procedure[Any, Any],
    arguments: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It is not told whether its XML is wrong."""
    async with client(tmp_path) as mdev:
        await mdev(remote.DEFINE_XML, XML(document(), 0))
        mdev.control.asked.clear()

        def read(*_: Any, **__: Any) -> None:
            raise AssertionError("the XML was parsed")

        monkeypatch.setattr(module, "read_mdev", read)
        if procedure is remote.DESTROY:
            mdev.control.host.act(Create(type="mtty-1", uuid=UUID))
            mdev.control.show()
        mdev.control.refused = NotAllowed("Create", "user 1000 is in no group of the configuration")
        found = await mdev.refused(procedure, arguments)
        assert found == (88, 22, "access denied: user 1000 is in no group of the configuration")
        assert len(mdev.control.asked) == 1
        assert mdev.control.requests == []


@pytest.mark.parametrize(("procedure", "arguments"), EACH, ids=[one[0].name for one in EACH])
@pytest.mark.parametrize("how", ["socket", "flag"])
async def test_read_only_client_is_refused(
    tmp_path: Path, procedure: Procedure[Any, Any], arguments: Any, how: str
) -> None:
    """By the socket, or because it has said so; whatever its arguments are."""
    async with served(tmp_path, read_only=how == "socket") as (control, path), opened(path) as peer:
        bench = Bench(control, peer, path)
        if how == "flag":
            async with dialled_read_only(path) as other:
                bench = Bench(control, other, path)
                found = await bench.refused(procedure, arguments)
        else:
            found = await bench.refused(procedure, arguments)
        function = remote.WRITES[procedure.number][1]
        text = f"operation forbidden: read only access prevents {function}"
        assert found == (29, 22, text)
        assert await peer.refusal(await peer.send(procedure.number, b"\xff")) in (
            (29, 22),
            (39, 7),
        )
        assert (control.asked, control.clients) == ([], [])


@asynccontextmanager
async def dialled_read_only(path: Path) -> AsyncIterator[LibvirtPeer]:
    """Connect and open with VIR_CONNECT_RO."""
    async with dialled(path) as peer:
        await peer.call(remote.OPEN, remote.Open("nodedev:///system", 1))
        yield peer


async def test_daemon_that_speaks_for_a_client_of_its_own_is_refused(tmp_path: Path) -> None:
    """The change would be made with the rights of that daemon, which is root."""
    async with client(tmp_path) as bench:
        parameters = (remote.TypedParameter("unix-user-id", Case(4, 1000)),)
        await bench(remote.SET_IDENTITY, remote.Identity(parameters, 0))
        code, domain, text = await bench.refused(remote.CREATE_XML, XML(document(), 0))
        assert (code, domain) == (88, 22)
        assert "another daemon asks for its client" in text
        assert bench.control.clients == []


async def test_control_service_that_is_not_there_is_named_with_what_enables_it(
    tmp_path: Path,
) -> None:
    """Everything that reads is answered as ever."""
    async with client(tmp_path) as bench:
        bench.control.unreachable = NoControl(("/run/control",), "no such file or directory")
        code, domain, text = await bench.refused(remote.CREATE_XML, XML(document(), 0))
        assert (code, domain) == (84, 22)
        assert "systemctl enable --now nodedevd-control.socket" in text
        assert await bench(remote.LOOKUP_BY_NAME, PARENT) == PARENT
        bench.control.unreachable = ConnectionLost("/run/control", "it closed the connection")
        found = await bench.refused(remote.CREATE_XML, XML(document(), 0))
        assert found[:2] == (1, 22)
        assert "lost the connection" in found[2]


@pytest.mark.slow
async def test_connections_of_a_user_wait_for_one_another(tmp_path: Path) -> None:
    """More than the service would take at once, and all are answered."""
    highest = 0
    async with served(tmp_path, places=Places(4, 2)) as (control, path):

        async def count(method: str) -> None:
            nonlocal highest
            highest = max(highest, control.open)
            await asyncio.sleep(0)

        control.authorise = count  # type: ignore[method-assign]

        async def one() -> str:
            async with opened(path) as peer:
                return await peer.call(remote.CREATE_XML, XML(document(None), 0))

        names = await asyncio.gather(*[one() for _ in range(8)])
        assert len(set(names)) == 8
        assert highest == 2


async def test_change_of_a_client_that_leaves_is_made_and_its_place_given_back(
    tmp_path: Path,
) -> None:
    """The next one waits until then."""
    async with served(tmp_path, places=Places(1, 1)) as (control, path):
        begun, may_go_on = asyncio.Event(), asyncio.Event()

        async def wait(method: str) -> None:
            begun.set()
            await may_go_on.wait()

        control.authorise = wait  # type: ignore[method-assign]
        async with opened(path) as peer:
            await send(Bench(control, peer, path), remote.CREATE_XML, XML(document(), 0))
            await begun.wait()
        async with opened(path) as peer:
            bench = Bench(control, peer, path)
            serial = await send(bench, remote.CREATE_XML, XML(document(OTHER), 0))
            may_go_on.set()
            assert (await peer.reply(serial)).header.status == 0
            assert await bench.state() == (1, 0, 0)


async def test_server_that_stops_gives_up_what_waits(tmp_path: Path) -> None:
    """`served` checks that nothing is left of it."""
    async with served(tmp_path, places=Places(1, 1)) as (control, path):
        begun = asyncio.Event()

        async def wait(method: str) -> None:
            begun.set()
            await asyncio.Event().wait()

        control.authorise = wait  # type: ignore[method-assign]
        async with opened(path) as peer:
            for _ in range(2):
                await send(Bench(control, peer, path), remote.CREATE_XML, XML(document(), 0))
            await begun.wait()


async def test_calls_that_wait_count_for_the_memory_of_their_user(tmp_path: Path) -> None:
    """The XML of those that would be too much is refused; the others are answered."""
    async with served(tmp_path, accounts=AccountLimits(all_bytes=400_000)) as (control, path):
        begun, may_go_on = asyncio.Event(), asyncio.Event()

        async def wait(method: str) -> None:
            begun.set()
            await may_go_on.wait()

        control.authorise = wait  # type: ignore[method-assign]
        long = document() + " " * 150_000
        too_long = (27, 5, f"XML error: the document has {len(long)} bytes, the limit is 65536")
        async with opened(path) as peer:
            bench = Bench(control, peer, path)
            first, second, third = [
                await send(bench, remote.CREATE_XML, XML(long, 0)) for _ in range(3)
            ]
            assert await peer.refusal(third) == (39, 7)
            may_go_on.set()
            assert await peer.refusal(first) == await peer.refusal(second) == (27, 5)
            for _ in range(3):
                assert await bench.refused(remote.CREATE_XML, XML(long, 0)) == too_long
            assert await bench(remote.CREATE_XML, XML(document(), 0)) == NAME


async def test_definition_of_a_parent_that_is_no_mdev_parent_is_asked_for(tmp_path: Path) -> None:
    """Mdevctl checks neither parent nor type; the service decides."""
    async with client(tmp_path) as bench:
        assert await bench(remote.DEFINE_XML, XML(document(), 0)) == NAME
        [request] = bench.control.requests
        assert isinstance(request, Define)
        assert (request.parent, request.attributes, request.autostart) == (PARENT, [], None)
