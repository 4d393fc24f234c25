"""A running daemon, and clients of other projects: the reference implementation, asyncvarlink."""

# No `from __future__ import annotations`: asyncvarlink needs types, not their names.

import asyncio
import json
import re
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any, Literal, TypedDict

import asyncvarlink
import asyncvarlink.serviceinterface
import pytest
import varlink as reference

from nodedevd import __version__
from nodedevd.server.varlink import methods
from nodedevd.socket_paths import INTERFACE
from nodedevd.varlink import MESSAGE_LIMIT_BYTES, encode_call
from tests.support.examples import agrees
from tests.support.hosts import host_file
from tests.support.peer import connected
from tests.support.running import PATIENCE_SECONDS, REPOSITORY, Running, running
from tests.support.xml import validate

CARD = "pci_0000_02_00_0"
ADDRESS = "0000:02:00.0"
DESCRIPTION = Path(methods.__file__).with_name(f"{INTERFACE}.varlink")
NAMES = [
    "computer",
    "mdev_5d4d1f0c_6d5b_45d5_9a64_3c6f0a3d1e01",
    "mdev_83c32df7_d52e_4ec1_9668_1f3c7e4df107",
    "pci_0000_00_00_0",
    "pci_0000_00_02_0",
    CARD,
]
METHODS = {"GetStatus", "List", "Describe", "DumpXML", "HostDev", "Snapshot", "Watch"} | {
    "Fits",
    "Types",
    "InUse",
    "Resolve",
    "Draw",
}


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """Return a running daemon, and check that it logged no error at the end."""
    directory = tmp_path_factory.mktemp("daemon")
    with running(directory, host_file("vgpu-pf")) as daemon:
        yield daemon
        assert "Traceback" not in daemon.log
        assert "ERROR" not in daemon.log


@pytest.fixture(scope="module")
def path(daemon: Running) -> Path:
    """Return the path of its socket."""
    return daemon.log_path.with_name("nodedevd.sock")


# -- the reference implementation, from Python -----------------------------------------


@pytest.fixture
def client(path: Path) -> Iterator[Any]:
    """Return a connection of the reference client, made from the daemon's introspection."""
    with (
        reference.Client.new_with_address(f"unix:{path}") as client,
        client.open(INTERFACE) as opened,
    ):
        yield opened


def test_reference_client_introspects_the_daemon(path: Path) -> None:
    """It gets the service's data, and parses the interface's text."""
    with reference.Client.new_with_address(f"unix:{path}") as client:
        interfaces = client.get_interfaces()
        methods = {
            name
            for name, member in client.get_interface(INTERFACE).members.items()
            if isinstance(member, reference.scanner._Method)
        }
        info = client.info
    assert list(interfaces) == ["org.varlink.service", INTERFACE]
    assert methods == METHODS
    assert (info["vendor"], info["product"], info["version"]) == (
        "nodedevd",
        "nodedevd",
        __version__,
    )


def test_reference_client_calls_every_method(client: Any) -> None:
    """It decodes the replies by the interface's types."""
    assert client.GetStatus()["state_counts"]["active"] == 6
    assert client.GetStatus()["last_scan"]["seconds"] > 0
    assert [entry["name"] for entry in client.List()["devices"]] == NAMES
    assert [entry["name"] for entry in client.List(["mdev_types"])["devices"]] == [CARD]
    described = client.Describe(ADDRESS)["devices"][0]
    assert (described["name"], described["driver"]) == (CARD, "nvidia")
    assert [one["type"] for one in described["capabilities"]] == ["pci", "mdev_parent"]
    dumped = client.DumpXML(names=[CARD], format="nodedevd")["xml"]
    assert validate(dumped).findtext("name") == CARD
    handed = client.HostDev(NAMES[1], display=True)
    assert (handed["subsystem"], handed["model"]) == ("mdev", "vfio-pci")
    drawn = client.Draw(width=400, theme="dark")
    assert drawn["svg"].startswith("<svg ")


def test_reference_client_calls_with_more(client: Any) -> None:
    """It reads streams, and the connection is used again afterwards."""
    devices = [device["name"] for part in client.Snapshot(_more=True) for device in part["devices"]]
    assert devices == NAMES
    listed = list(client.List(_more=True))
    assert [entry["name"] for part in listed for entry in part["devices"]] == NAMES
    document = "".join(part["xml"] for part in client.DumpXML(_more=True))
    assert document == client.DumpXML()["xml"]
    assert len(validate(document)) == 6


def test_reference_client_watches(client: Any) -> None:
    """It gets every device, and then `ready`."""
    events = []
    for told in client.Watch(_more=True, capabilities=["pci"], content="xml"):
        events.append((told["event"], told.get("name")))
        if told["event"] == "ready":
            break
        assert validate(told["xml"]).findtext("name") == told["name"]
    assert events == [("present", name) for name in NAMES[3:]] + [("ready", None)]


def test_reference_client_calls_oneway(client: Any) -> None:
    """A call that wants no reply gets none: the next reply is that of the next call."""
    assert client.Describe(CARD, _oneway=True) is None
    assert client.Describe("nobody", _oneway=True) is None
    assert client.List(["system"])["devices"][0]["name"] == "computer"


def test_reference_client_raises_errors(client: Any) -> None:
    """Errors have the names and parameters of the interface's text."""
    with pytest.raises(reference.VarlinkError) as missing:
        client.Describe("compute")
    assert missing.value.error() == f"{INTERFACE}.NoSuchDevice"
    assert missing.value.parameters() == {"name": "compute", "nearest": ["computer"]}
    with pytest.raises(reference.InvalidParameter) as invalid:
        client.DumpXML(format="yaml")
    assert invalid.value.parameters() == {"parameter": "format"}
    with pytest.raises(reference.VarlinkError) as more:
        client.Snapshot()
    assert more.value.error() == "org.varlink.service.ExpectedMore"


# -- the reference implementation, from the command line -------------------------------


def varlink_cli(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the reference implementation's command."""
    return subprocess.run(
        [sys.executable, "-m", "varlink.cli", *arguments],
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE_SECONDS,
    )


def decoded(output: str) -> list[Any]:
    """Return the JSON documents that follow each other in a text."""
    decoder = json.JSONDecoder()
    documents = []
    position = 0
    while position < len(output.rstrip()):
        document, position = decoder.raw_decode(output, position)
        documents.append(document)
        position += len(output[position:]) - len(output[position:].lstrip())
    return documents


def test_reference_command_shows_info_and_interface(path: Path) -> None:
    """`info` and `help` print the service's data, and the interface's text unchanged."""
    info = varlink_cli("info", f"unix:{path}")
    assert info.returncode == 0, info.stderr
    assert "Product: nodedevd" in info.stdout
    assert INTERFACE in info.stdout
    shown = varlink_cli("help", f"unix:{path}/{INTERFACE}")
    assert shown.returncode == 0, shown.stderr
    text = DESCRIPTION.read_text()
    assert shown.stdout.strip() == text.strip()


@pytest.mark.parametrize(
    ("method", "arguments", "more"),
    [
        ("GetStatus", {}, False),
        ("List", {"capabilities": ["pci"]}, False),
        ("Describe", {"name": ADDRESS}, False),
        ("DumpXML", {"names": [CARD]}, False),
        ("DumpXML", {}, True),
        ("Snapshot", {}, True),
    ],
)
def test_reference_command_calls_every_method(
    path: Path, client: Any, method: str, arguments: dict[str, Any], more: bool
) -> None:
    """`call` prints what the Python API returns."""
    options = ["--more"] if more else []
    done = varlink_cli("call", *options, f"unix:{path}/{INTERFACE}.{method}", json.dumps(arguments))
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    replies = decoded(done.stdout)
    call = getattr(client, method)
    expected = list(call(_more=True, **arguments)) if more else [call(**arguments)]
    if method == "GetStatus":
        assert replies[0]["pid"] == expected[0]["pid"]
        return
    # The Python API leaves out what is null.
    assert [set(reply) for reply in replies] == [set(reply) for reply in expected]
    for reply, other in zip(replies, expected, strict=True):
        assert reply.get("xml") == other.get("xml")
        assert len(reply.get("devices", ())) == len(other.get("devices", ()))


def test_reference_command_prints_errors(path: Path) -> None:
    """An error is printed with its name."""
    done = varlink_cli("call", f"unix:{path}/{INTERFACE}.Describe", '{"name":"nobody"}')
    assert f"{INTERFACE}.NoSuchDevice" in done.stderr
    assert done.stdout == ""


# -- asyncvarlink ----------------------------------------------------------------------


class DeviceFault(TypedDict):
    """A read error of a device's attribute."""

    attribute: str
    code: str
    detail: str
    device: str | None


class ScanTimes(TypedDict):
    """When the host was read."""

    finished: str
    seconds: float


class UnansweredRead(TypedDict):
    """A read that hangs."""

    path: str
    seconds: float


class LayoutCounts(TypedDict):
    """Numbers of cards that layout files name, by their state."""

    in_sync: int
    drifted: int
    blocked: int
    pending: int


class AwaitedCard(TypedDict):
    """A card that a layout file names, and the host does not have."""

    card: str
    file: str
    line: int


class Problem(TypedDict):
    """What is wrong with a layout file."""

    file: str
    line: int | None
    key: str | None
    code: str
    message: str
    instead: str


class LayoutStatus(TypedDict):
    """The part of a status about layout files."""

    counts: LayoutCounts
    awaited: list[AwaitedCard]
    problem_count: int
    problems: list[Problem]


class Status(TypedDict):
    """The reply to GetStatus."""

    version: str
    pid: int
    sysroot: str
    privileged: bool
    started: str
    generation: int
    state_counts: dict[str, int]
    capability_counts: dict[str, int]
    last_scan: ScanTimes
    event_source: str
    events: int
    last_event: str | None
    updates: int
    overflows: int
    monitor_errors: int
    rescans: int
    missed_changes: int
    unanswered_reads: list[UnansweredRead]
    watchers: int
    clients: int
    calls: int
    log_left_out: int
    log_dropped: int
    error_count: int
    errors: list[DeviceFault]
    layout: LayoutStatus | None


class Entry(TypedDict):
    """A device in a list."""

    name: str
    parent: str | None
    path: str | None
    capabilities: list[str]
    state: str
    type: str | None
    type_name: str | None


class Listed(TypedDict):
    """The reply to List."""

    generation: int
    devices: list[Entry]


class Described(TypedDict):
    """The reply to Describe."""

    generation: int
    devices: list[Any]


class Dumped(TypedDict):
    """The reply to DumpXML."""

    generation: int
    xml: str


class Whole(TypedDict):
    """A reply to Snapshot."""

    generation: int
    devices: list[Any]


class Mark(TypedDict):
    """A reply to Watch without a device."""

    generation: int
    instance: str
    event: Literal["present", "ready", "added", "changed", "removed", "resync"]


class Told(Mark, total=False):
    """A reply to Watch, without content."""

    name: str
    path: str | None
    parent: str | None
    capabilities: list[str]
    state: str
    parts: list[str]


class NoSuchDevice(asyncvarlink.TypedVarlinkErrorReply, interface=INTERFACE):
    """No device has this name."""

    class Parameters:
        """Its parameters."""

        name: str
        nearest: list[str]


class Devices(asyncvarlink.VarlinkInterface, name=INTERFACE):
    """The interface for asyncvarlink: typed stubs."""

    errors = (NoSuchDevice,)

    @asyncvarlink.varlinkmethod
    def GetStatus(self) -> Status:
        """Return the state of the daemon."""
        raise NotImplementedError

    @asyncvarlink.varlinkmethod
    def List(self, *, capabilities: list[str] | None = None) -> Listed:
        """Return the devices in brief."""
        raise NotImplementedError

    @asyncvarlink.varlinkmethod(allow_foreign=True)
    def Describe(self, *, name: str) -> Described:
        """Return a device."""
        raise NotImplementedError

    @asyncvarlink.varlinkmethod
    def DumpXML(self, *, names: list[str] | None = None) -> Dumped:
        """Return XML."""
        raise NotImplementedError

    @asyncvarlink.varlinkmethod(allow_foreign=True)
    def Snapshot(self, *, capabilities: list[str] | None = None) -> Iterator[Whole]:
        """Return all devices."""
        raise NotImplementedError

    @asyncvarlink.varlinkmethod
    def Watch(self, *, capabilities: list[str] | None = None) -> Iterator[Told]:
        """Return the devices and their changes."""
        raise NotImplementedError


@asynccontextmanager
async def asynchronous(path: Path) -> AsyncIterator[tuple[Any, Any]]:
    """Connect with asyncvarlink; yield proxies of our interface and of Varlink's own."""
    transport, protocol = await asyncvarlink.connect_unix_varlink(
        asyncvarlink.VarlinkClientProtocol, path
    )
    try:
        yield (
            protocol.make_proxy(Devices),
            protocol.make_proxy(asyncvarlink.serviceinterface.VarlinkServiceInterface),
        )
    finally:
        transport.close()
        await asyncio.sleep(0)


async def test_asyncvarlink_introspects_the_daemon(path: Path) -> None:
    """Varlink's own interface has its types."""
    async with asynchronous(path) as (_, service):
        info = await service.GetInfo()
        description = await service.GetInterfaceDescription(interface=INTERFACE)
    assert info["product"] == "nodedevd"
    assert info["interfaces"] == ["org.varlink.service", INTERFACE]
    assert f"interface {INTERFACE}\n" in description["description"]


async def test_asyncvarlink_calls_every_method(path: Path) -> None:
    """Its strict conversion accepts every reply, single or streamed."""
    async with asynchronous(path) as (devices, _):
        assert (await devices.GetStatus())["state_counts"]["active"] == 6
        listed = await devices.List(capabilities=["pci"])
        assert [entry["name"] for entry in listed["devices"]] == NAMES[3:]
        assert (await devices.Describe(name=ADDRESS))["devices"][0]["name"] == CARD
        assert validate((await devices.DumpXML(names=[CARD]))["xml"]).tag == "device"
        parts = [part["devices"] async for part in devices.Snapshot()]
        assert [device["name"] for part in parts for device in part] == NAMES


async def test_asyncvarlink_watches(path: Path) -> None:
    """It gets every device in the declared types, until it closes."""
    present = []
    transport, protocol = await asyncvarlink.connect_unix_varlink(
        asyncvarlink.VarlinkClientProtocol, path
    )
    with suppress(ConnectionResetError):  # that is how it tells that it is closed
        async for told in protocol.make_proxy(Devices).Watch(capabilities=["pci"]):
            if told["event"] == "ready":
                transport.close()
            else:
                present.append((told["event"], told["name"]))
    assert transport.is_closing()
    assert present == [("present", name) for name in NAMES[3:]]


async def test_asyncvarlink_raises_typed_errors(path: Path) -> None:
    """An error's parameters have the types of the interface's text."""
    async with asynchronous(path) as (devices, _):
        with pytest.raises(NoSuchDevice) as missing:
            await devices.Describe(name="compute")
        assert missing.value.parameters == {"name": "compute", "nearest": ["computer"]}


async def test_asyncvarlink_pipelines_calls(path: Path) -> None:
    """Many calls sent before the first reply is read are answered in order."""
    async with asynchronous(path) as (devices, _):
        wanted = NAMES * 50
        answers = await asyncio.gather(*(devices.Describe(name=name) for name in wanted))
    assert [answer["devices"][0]["name"] for answer in answers] == wanted


async def test_asyncvarlink_calls_oneway(path: Path) -> None:
    """A call that wants no reply gets none."""
    async with asynchronous(path) as (devices, _):
        await devices.Describe.oneway(name=CARD)
        assert (await devices.Describe(name="computer"))["devices"][0]["name"] == "computer"


# -- hostile clients ---------------------------------------------------------


LARGE = b'{"method":"' + b"x" * (MESSAGE_LIMIT_BYTES + 1)
GOOD = encode_call(f"{INTERFACE}.Describe", {"name": "computer"})


@pytest.mark.parametrize(
    ("message", "error"),
    [
        (b"\0", f"{INTERFACE}.MalformedMessage"),
        (b"no JSON\0", f"{INTERFACE}.MalformedMessage"),
        (b"[]\0", f"{INTERFACE}.MalformedMessage"),
        (b'{"method":1}\0', f"{INTERFACE}.MalformedMessage"),
        (b'{"method":"' + b"\xff" * 9 + b'"}\0', f"{INTERFACE}.MalformedMessage"),
        (b"[" * 100_000 + b"\0", f"{INTERFACE}.MalformedMessage"),
        (b'{"parameters":' + b"[" * 100_000 + b"\0", f"{INTERFACE}.MalformedMessage"),
        (LARGE + b"\0", f"{INTERFACE}.MessageTooLarge"),
        (LARGE * 40 + b"\0", f"{INTERFACE}.MessageTooLarge"),
        (b'{"method":"Describe"}\0', "org.varlink.service.InvalidParameter"),
        (b'{"method":"org.example.Ping"}\0', "org.varlink.service.InterfaceNotFound"),
        (encode_call(f"{INTERFACE}.Ping"), "org.varlink.service.MethodNotFound"),
    ],
)
async def test_message_that_is_no_call_harms_nobody(path: Path, message: bytes, error: str) -> None:
    """Its sender gets an error; a client in the middle of a stream is not affected."""
    async with connected(path) as other, connected(path) as bad:
        watch = encode_call(f"{INTERFACE}.Watch", {}, more=True)
        await other.send_raw(watch)
        await bad.send_raw(message)
        assert (await bad.receive_error())[0] == error
        assert (await bad.call(f"{INTERFACE}.Describe", name="computer"))["devices"][0][
            "parent"
        ] is None
        told = [await other.receive() for _ in range(7)]
        assert [one["event"] for one in told] == ["present"] * 6 + ["ready"]


async def test_half_a_message_waits_for_its_rest(path: Path) -> None:
    """A client that stops in the middle of a message delays only itself."""
    async with connected(path) as half, connected(path) as other:
        await half.send_raw(GOOD[:20])
        for _ in range(3):
            assert (await other.call(f"{INTERFACE}.GetStatus"))["state_counts"]["active"] == 6
        await half.send_raw(GOOD[20:])
        assert (await half.receive())["devices"][0]["name"] == "computer"


async def test_client_gone_in_the_middle_of_a_message_or_reply_harms_nobody(path: Path) -> None:
    """However a client leaves, others are served, and it is no longer counted."""
    async with connected(path) as other:
        for data in (
            GOOD[:20],
            GOOD * 500,
            encode_call(f"{INTERFACE}.Snapshot", {}, more=True) * 50,
        ):
            with socket.socket(socket.AF_UNIX) as leaving:
                leaving.connect(str(path))
                leaving.sendall(data)
        while (await other.call(f"{INTERFACE}.GetStatus"))["clients"] > 1:
            pass
        assert (await other.call(f"{INTERFACE}.Describe", name=CARD))["devices"][0]["name"] == CARD


async def test_malformed_message_between_pipelined_calls_is_answered_in_its_place(
    path: Path,
) -> None:
    """Every message is answered in order, the malformed one with an error."""
    async with connected(path) as client:
        await client.send_raw(GOOD + b"nonsense\0" + GOOD + LARGE + b"\0" + GOOD)
        assert (await client.receive())["devices"][0]["name"] == "computer"
        assert (await client.receive_error())[0] == f"{INTERFACE}.MalformedMessage"
        assert (await client.receive())["devices"][0]["name"] == "computer"
        assert await client.receive_error() == (
            f"{INTERFACE}.MessageTooLarge",
            {"limit": MESSAGE_LIMIT_BYTES},
        )
        assert (await client.receive())["devices"][0]["name"] == "computer"


async def test_client_that_ended_its_sending_is_still_answered(path: Path) -> None:
    """`socat` and the like close their sending half after the call."""
    async with connected(path) as client:
        await client.send_raw(GOOD)
        client.end_sending()
        assert (await client.receive())["devices"][0]["name"] == "computer"
        await client.receive_end()


# -- the examples of docs/protocol.md --------------------------------------------------

PROTOCOL = (REPOSITORY / "docs" / "protocol.md").read_text(encoding="utf-8")
EXAMPLES = re.findall(
    r"^```json call\n(.*?)^```\n((?:\n```json reply\n.*?^```\n)+)", PROTOCOL, re.M | re.S
)
PROGRAMS = re.findall(r"^```python\n(.*?)^```$", PROTOCOL, re.M | re.S)
DEFAULT_SOCKET = "/run/nodedevd/org.nodedevd.Devices"


@pytest.mark.parametrize(("call", "replies"), EXAMPLES)
def test_example_of_the_protocol_is_what_is_answered(path: Path, call: str, replies: str) -> None:
    """The documentation shows the daemon's replies."""
    shown = [json.loads(one) for one in re.findall(r"```json reply\n(.*?)```", replies, re.S)]
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(PATIENCE_SECONDS)
        connection.connect(str(path))
        connection.sendall(json.dumps(json.loads(call)).encode() + b"\0")
        received = b""
        while received.count(b"\0") < len(shown):
            data = connection.recv(1 << 16)
            assert data, "the daemon closed the connection"
            received += data
    real = [json.loads(one) for one in received.split(b"\0")[: len(shown)]]
    for one, other in zip(shown, real, strict=True):
        assert agrees(one, other), other


def test_protocol_shows_every_method_and_error() -> None:
    """Every error is listed, and every method has an example."""
    text = DESCRIPTION.read_text()
    shown = {json.loads(call)["method"] for call, _ in EXAMPLES}
    assert {f"{INTERFACE}.{method}" for method in METHODS} <= shown
    for error in re.findall(r"^error (\w+)", text, re.M):
        assert f"| `{INTERFACE}.{error}` |" in PROTOCOL


@pytest.mark.parametrize("program", PROGRAMS)
def test_program_of_the_protocol_runs(path: Path, program: str) -> None:
    """The programs in the documentation run unchanged."""
    assert DEFAULT_SOCKET in program
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", program.replace(DEFAULT_SOCKET, str(path))],
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE_SECONDS,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert CARD in done.stdout
