"""The client in both forms, with a daemon and with scripted servers."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, suppress
from pathlib import Path

import msgspec
import pytest

from nodedevd.cli.embedded import Embedded
from nodedevd.cli.source import Source
from nodedevd.client import (
    AsyncClient,
    Client,
    Closed,
    Condition,
    ConnectionLost,
    Device,
    HostDev,
    HostDevRequest,
    InvalidParameter,
    NoDaemon,
    NodedevError,
    NoSuchDevice,
    NotInFormat,
    TimedOut,
    at_least,
    available,
    gone,
    present,
)
from tests.support.changing_host import (
    GPU,
    GPU_NAME,
    MDEV_NAME,
    NIC,
    NIC_NAME,
    TYPE,
    UUID,
    Host,
)
from tests.support.forms import FORMS, Form, line
from tests.support.hosts import HOSTS, host_file
from tests.support.running import PATIENCE_SECONDS, Running, running

INTERFACE = "org.nodedevd.Devices"
SERVICE = "org.varlink.service"


@pytest.fixture(scope="module", params=HOSTS)
def recorded(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Source, str]]:
    """Return the devices of each sample host, scanned here, and the socket of a daemon."""
    directory = tmp_path_factory.mktemp("daemon")
    sysroot = host_file(request.param)
    with running(directory, sysroot):
        yield Embedded(str(sysroot)), str(directory / "nodedevd.sock")


@pytest.fixture(params=FORMS)
def form(request: pytest.FixtureRequest) -> Form:
    """Return the constructor of a client, in either form."""
    made: Form = request.param
    return made


@pytest.fixture
def both(recorded: tuple[Source, str], form: Form) -> Iterator[tuple[Source, Client]]:
    """Return the devices of each sample host, scanned here and asked of a daemon."""
    embedded, path = recorded
    with form(path) as client:
        yield embedded, client


@pytest.fixture(scope="module")
def card(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Return the socket of a daemon on a host that does not change."""
    directory = tmp_path_factory.mktemp("card")
    with running(directory, host_file("vgpu-pf")):
        yield str(directory / "nodedevd.sock")


class Changing:
    """A host that changes, and the socket of a daemon that reconciles all the time."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.host = Host(directory)
        self.path = str(directory / "nodedevd.sock")

    def running(self) -> AbstractContextManager[Running]:
        """Start the daemon."""
        return running(self.directory, self.directory / "host", "--reconcile", "0.05")


@pytest.fixture
def changing(tmp_path: Path) -> Iterator[Changing]:
    """Return a host that changes, with a running daemon."""
    changing = Changing(tmp_path)
    with changing.running():
        yield changing


# -- what it answers


@pytest.mark.parametrize("capabilities", [None, ["pci"], ["mdev", "mdev_types"], []])
def test_client_answers_what_a_scan_does(
    both: tuple[Source, Client], capabilities: list[str] | None
) -> None:
    """Lists and devices are the same, filtered or not, daemon or not."""
    embedded, client = both
    assert client.list(capabilities) == embedded.list(capabilities)
    assert client.snapshot(capabilities) == embedded.snapshot(capabilities)


def test_client_describes_each_device_as_a_scan_does(both: tuple[Source, Client]) -> None:
    """One or several, by name, in the given order."""
    embedded, client = both
    devices = embedded.snapshot().devices[::-1]
    assert client.snapshot(names=[device.name for device in devices]).devices == devices
    for device in devices:
        assert client.describe(device.name) == embedded.describe(device.name) == device


def test_client_gives_the_same_bytes_as_a_scan(both: tuple[Source, Client]) -> None:
    """JSON and XML are equal, byte for byte: of all devices, of each, and of none."""
    embedded, client = both
    names = [entry.name for entry in embedded.list().devices]
    assert client.snapshot_json() == embedded.snapshot_json()
    assert client.dump_xml() == embedded.dump_xml()
    assert client.dump_xml(names) == embedded.dump_xml(names)
    assert client.dump_xml([]) == embedded.dump_xml([])
    for name in names:
        assert client.snapshot_json([name]) == embedded.snapshot_json([name])
        assert client.dump_xml([name]) == embedded.dump_xml([name])
        assert client.xml_document([name]) == embedded.xml_document([name])


def test_client_gives_libvirts_format_as_a_scan_does(both: tuple[Source, Client]) -> None:
    """Byte for byte, or the same error for a device that the format does not show."""
    embedded, client = both
    assert client.dump_xml(form="libvirt") == embedded.dump_xml(form="libvirt")
    for name in [entry.name for entry in embedded.list().devices]:
        try:
            expected = embedded.dump_xml([name], form="libvirt")
        except NotInFormat:
            with pytest.raises(NotInFormat) as hidden:
                client.dump_xml([name], form="libvirt")
            assert (hidden.value.name, hidden.value.format) == (name, "libvirt")
        else:
            assert client.dump_xml([name], form="libvirt") == expected


def test_watch_begins_with_what_a_scan_finds(both: tuple[Source, Client]) -> None:
    """Every device comes with its content, parents first, then `ready`."""
    embedded, client = both
    devices: dict[str, Device] = {}
    with client.watch() as watch:
        while (event := next(iter(watch))).event != "ready":
            assert event.event == "present"
            assert event.device is not None
            assert event.parent is None or event.parent in devices
            devices[event.device.name] = event.device
    assert devices == {device.name: device for device in embedded.snapshot().devices}


def outcome(source: Source, request: HostDevRequest) -> HostDev | tuple[type[NodedevError], str]:
    """Return what a source answers, or the error it raises with its text.

    A daemon reads a device again before it hands it over, which may find something.
    """
    try:
        return msgspec.structs.replace(source.hostdev(request), generation=1)
    except NodedevError as error:
        return type(error), str(error)


def test_client_hands_devices_over_as_a_scan_does(both: tuple[Source, Client]) -> None:
    """For every device the XML and the notes, or the same error with the same text."""
    embedded, client = both
    names = [entry.name for entry in embedded.list().devices]
    requests = [HostDevRequest(name=name) for name in names]
    requests += [HostDevRequest(name=name, managed=True, display=False) for name in names]
    for request in requests:
        assert outcome(client, request) == outcome(embedded, request)


def test_client_counts_vgpus_as_a_scan_does(both: tuple[Source, Client]) -> None:
    """Of all cards, and of those that some devices belong to."""
    embedded, client = both
    found = client.types()
    assert found == embedded.types()
    assert client.fits(count=2) == embedded.fits(count=2)
    for card in dict.fromkeys(one.card for one in found.types):
        assert client.types([card]) == embedded.types([card])
    for one in found.types:
        if one.type is not None:
            assert client.fits(one.type, names=[one.card]) == embedded.fits(
                one.type, names=[one.card]
            )


def test_client_tells_who_is_in_use_as_a_scan_does(both: tuple[Source, Client]) -> None:
    """For all that VFIO drives, and for each device by name."""
    embedded, client = both
    assert client.in_use() == embedded.in_use()
    names = [entry.name for entry in embedded.list().devices]
    assert client.in_use(names) == embedded.in_use(names)
    assert [use.name for use in client.in_use(names).devices] == names


def test_unknown_name_raises_the_same_error(both: tuple[Source, Client]) -> None:
    """NoSuchDevice has the name and the nearest ones."""
    for source in both:
        with pytest.raises(NoSuchDevice) as missing:
            source.describe("compute")
        assert (missing.value.name, missing.value.nearest) == ("compute", ("computer",))
        with pytest.raises(NoSuchDevice):
            source.dump_xml(["computer", "nobody"])


def test_connection_goes_on_after_an_error(both: tuple[Source, Client]) -> None:
    """After an error reply, the next call is answered."""
    embedded, client = both
    with pytest.raises(NoSuchDevice):
        client.describe("nobody")
    for source in both:
        with pytest.raises(InvalidParameter) as refused:
            source.list(["usb_hub"])
        assert refused.value.parameter == "capabilities"
    assert client.status().state_counts == embedded.status().state_counts


def test_calls_of_many_threads_get_their_own_answers(card: str) -> None:
    """A client may be shared: calls are made one after another."""
    with Client(card) as client, ThreadPoolExecutor(8) as pool:
        names = [entry.name for entry in client.list().devices] * 20
        found = pool.map(client.describe, names)
        assert [device.name for device in found] == names


def test_first_answers_may_come_to_many_threads_at_once(card: str) -> None:
    """In a new process, where no type was decoded before: without a lock, msgspec would crash."""
    program = """
import contextlib, sys, threading
from nodedevd.client import Client, NoSuchDevice

start = threading.Barrier(16)

def ask():
    with Client(sys.argv[1]) as client:
        start.wait()
        with contextlib.suppress(NoSuchDevice):
            client.describe("nobody")
        client.describe("computer")

threads = [threading.Thread(target=ask) for _ in range(16)]
for one in threads:
    one.start()
for one in threads:
    one.join()
"""
    for _ in range(5):
        done = subprocess.run([sys.executable, "-c", program, card], capture_output=True)
        assert (done.returncode, done.stderr) == (0, b"")


async def test_calls_of_many_tasks_get_their_own_answers(card: str) -> None:
    """As with threads."""
    async with AsyncClient(card) as client:
        names = [entry.name for entry in (await client.list()).devices] * 20
        found = await asyncio.gather(*map(client.describe, names))
        assert [device.name for device in found] == names


# -- without a daemon, and when it goes away


def test_daemon_that_was_restarted_between_two_calls_is_asked(tmp_path: Path, form: Form) -> None:
    """The connection that went with the old one is replaced, and nobody notices."""
    sysroot = host_file("vgpu-pf")
    path = str(tmp_path / "nodedevd.sock")
    with running(tmp_path, sysroot) as daemon:
        client = form(path)
        with client:
            before = client.status()
            daemon.stop(signal.SIGKILL)
            with pytest.raises(NoDaemon):
                client.status()
            with running(tmp_path, sysroot):
                after = client.status()
    assert before.pid != after.pid
    assert before.state_counts == after.state_counts


def test_client_that_is_closed_asks_nobody(card: str, form: Form) -> None:
    """A call after `close` raises Closed."""
    with form(card) as client:
        client.close()
        with pytest.raises(Closed):
            client.status()
        with pytest.raises(Closed):
            client.watch()


# -- time, and giving up


async def test_call_cancelled_while_another_is_answered_harms_neither(card: str) -> None:
    """A waiting call can be cancelled; the call in progress is answered."""
    async with AsyncClient(card) as client:
        tasks = [asyncio.ensure_future(client.describe("computer")) for _ in range(9)]
        await asyncio.sleep(0)
        for task in tasks[1::2]:
            task.cancel()
        done = await asyncio.gather(*tasks, return_exceptions=True)
    assert [isinstance(one, Device) for one in done] == [True, False] * 4 + [True]


# -- watch


def test_watch_goes_on_with_what_changes(changing: Changing, form: Form) -> None:
    """Each change is one event, in order, with its device."""
    with form(changing.path) as client, client.watch() as watch:
        lines = []
        for event in watch:
            if (event.event, event.name) == ("changed", GPU_NAME):
                continue  # the card's list of mdevs
            lines.append(line(event))
            if event.event == "ready":
                assert watch.next(0) is None
                changing.host.show_mdev()
            elif event.event == "added":
                assert event.device is not None
                assert event.device.name == event.name == MDEV_NAME
                assert b'"added"' in watch.text
                changing.host.hide_mdev()
            elif event.event == "removed":
                assert event.device is None
                break
    assert lines[-3:] == ["ready", f"added {MDEV_NAME}", f"removed {MDEV_NAME}"]
    assert lines[0] == "present computer"


def test_watch_is_narrowed_by_its_options(card: str, form: Form) -> None:
    """By capability or name, with or without the devices, and with XML or no content."""
    with form(card) as client:
        with client.watch(capabilities=["mdev_types"], content="xml") as watch:
            first, ready = next(watch), next(watch)
            assert line(first) == "present pci_0000_02_00_0"
            assert first.xml == client.dump_xml(["pci_0000_02_00_0"])
            assert line(ready) == "ready"
        with client.watch(names=["0000:02:00.0"], content="none") as watch:
            assert msgspec.structs.replace(first, xml=None) == next(watch)
        with client.watch(snapshot=False) as watch:
            assert line(next(watch)) == "ready"


def test_string_is_one_name_and_not_its_letters(card: str, form: Form) -> None:
    """A mistake that types allow: waiting for devices named by letters would never end."""
    with form(card) as client:
        assert len(client.list("mdev_types").devices) == 1
        assert client.dump_xml("computer") == client.dump_xml(["computer"])
        with client.watch(names="computer") as watch:
            assert line(next(watch)) == "present computer"


def test_watch_goes_on_from_a_generation(changing: Changing, form: Form) -> None:
    """Only the changes after it follow; an unknown one gets resync."""
    with form(changing.path) as client:
        with client.watch() as watch:
            while (known := next(watch)).event != "ready":
                pass
        changing.host.show_mdev()
        with client.watch(since=known.generation, instance=known.instance) as watch:
            assert line(next(watch)) == f"added {MDEV_NAME}"
        with client.watch(since=known.generation, instance="another") as watch:
            assert line(next(watch)) == "resync"
            assert line(next(watch)) == "present computer"


def test_daemon_that_ends_ends_the_watch(tmp_path: Path, form: Form) -> None:
    """It is an error, unless the watch reconnects."""
    with (
        running(tmp_path, host_file("vgpu-pf")) as daemon,
        form(str(tmp_path / "nodedevd.sock")) as client,
        client.watch(snapshot=False) as watch,
    ):
        assert line(next(watch)) == "ready"
        daemon.stop(signal.SIGKILL)
        with pytest.raises(ConnectionLost):
            next(watch)
        with pytest.raises(NoDaemon):
            next(watch)


def test_watch_goes_on_when_the_daemon_is_restarted(tmp_path: Path, form: Form) -> None:
    """Changes while no daemon was running are not lost: all devices follow `resync`."""
    changing = Changing(tmp_path)
    known: dict[str, Device] = {}
    instances: set[str] = set()

    def take(until: str) -> None:
        while True:
            event = watch.next(PATIENCE_SECONDS)
            assert event is not None
            instances.add(event.instance)
            if event.event == "resync":
                known.clear()
            elif event.device is not None:
                known[event.device.name] = event.device
            if line(event) == until:
                return

    with changing.running() as daemon:
        client = form(changing.path)
        lost: list[str] = []

        def on_lost(error: NodedevError) -> None:
            lost.append(error.code)

        with client, client.watch(reconnect=True, on_lost=on_lost) as watch:
            take("ready")
            changing.host.bind()
            take(f"changed {NIC_NAME}")
            assert known[NIC_NAME].driver == "r8169"
            daemon.stop(signal.SIGKILL)
            changing.host.hide_nic()
            changing.host.show_mdev()
            assert watch.next(0.5) is None
            assert lost == ["connection-lost"]
            with changing.running():
                take("resync")
                take("ready")
                assert NIC_NAME not in known
                assert known == {one.name: one for one in client.snapshot().devices}
                changing.host.show_nic()
                take(f"added {NIC_NAME}")
    assert len(instances) == 2


def test_watch_that_is_closed_by_another_thread_ends(card: str) -> None:
    """Its `for` loop ends without an error."""
    with Client(card) as client:
        watch = client.watch()
        seen = threading.Event()
        lines = []

        def follow() -> None:
            for event in watch:
                lines.append(line(event))
                if event.event == "ready":
                    seen.set()

        thread = threading.Thread(target=follow)
        thread.start()
        assert seen.wait(PATIENCE_SECONDS)
        watch.close()
        thread.join(PATIENCE_SECONDS)
        assert not thread.is_alive()
        assert lines[-1] == "ready"
        with pytest.raises(Closed):
            watch.next()


async def test_watch_that_is_closed_by_another_task_ends(card: str) -> None:
    """Its `async for` loop ends without an error."""
    async with AsyncClient(card) as client:
        watch = client.watch()
        ready = asyncio.Event()

        async def follow() -> list[str]:
            lines = []
            async for event in watch:
                lines.append(line(event))
                if event.event == "ready":
                    ready.set()
            return lines

        task = asyncio.ensure_future(follow())
        await ready.wait()
        watch.close()
        assert (await task)[-1] == "ready"
        with pytest.raises(Closed):
            await watch.next()


async def test_cancelled_watch_loses_nothing(card: str) -> None:
    """Whenever it is cancelled, the next call returns the next event."""
    async with AsyncClient(card) as client:
        wanted = [entry.name for entry in (await client.list()).devices]
        names = []
        async with client.watch(content="none") as watch:
            for pauses in range(1000):
                task = asyncio.ensure_future(watch.next())
                for _ in range(pauses % 5):
                    await asyncio.sleep(0)
                task.cancel()
                with suppress(asyncio.CancelledError):
                    event = await task
                    assert event is not None
                    if event.event == "ready":
                        break
                    names.append(event.name)
    assert sorted(filter(None, names)) == wanted


async def test_two_tasks_on_one_watch_are_told(card: str) -> None:
    """The second one gets a RuntimeError."""
    async with AsyncClient(card) as client, client.watch(snapshot=False) as watch:
        assert (await anext(watch)).event == "ready"
        first = asyncio.ensure_future(watch.next())
        await asyncio.sleep(0)
        with pytest.raises(RuntimeError):
            await watch.next()
        first.cancel()
        with pytest.raises(asyncio.CancelledError):
            await first


# -- wait_for


def test_wait_for_what_is_so_returns_the_devices(card: str, form: Form) -> None:
    """At once, even with a timeout of 0."""
    address, name = "0000:02:00.0", "pci_0000_02_00_0"
    with form(card) as client:
        everything = {device.name: device for device in client.snapshot().devices}
        only = {name: everything[name]}
        assert client.wait_for(present(address), 0) == only
        assert client.wait_for(present(name)) == only
        assert client.wait_for(gone("pci_ffff_00_00_0"), 0) == {}
        assert client.wait_for(at_least(1, "mdev_types"), 0) == only
        assert len(client.wait_for(at_least(5, "pci", "mdev"), 0)) == 5
        assert client.wait_for(available(address, "nvidia-283", 0), 0) == only
        assert client.wait_for(lambda devices: name in devices, 0) == everything
        own = Condition(lambda devices: len(devices) == 1, capabilities=["mdev_parent"])
        assert client.wait_for(own, 0) == only


@pytest.mark.parametrize(
    ("condition", "state"),
    [
        (present(UUID), f": no device '{UUID}'"),
        (gone("computer"), ": computer is still there"),
        (at_least(9, "pci", "mdev"), ": 5 of 9 devices with pci or mdev"),
        (available(GPU, TYPE, 9), f": no device '{GPU}'"),
        (Condition(lambda devices: False), " waiting for the condition"),
        (Condition(lambda devices: False, "a change"), " waiting for a change"),
        (
            Condition(lambda devices: False, state=lambda devices: f"{len(devices)} there"),
            ": 6 there",
        ),
    ],
)
def test_wait_for_what_does_not_come_times_out(
    card: str, form: Form, condition: Condition, state: str
) -> None:
    """The error has the time, and how far the devices meet the condition."""
    with form(card) as client, pytest.raises(TimedOut) as late:
        client.wait_for(condition, timeout_seconds=0.1)
    assert str(late.value) == f"timed out after 0.1 s{state}"


@pytest.mark.parametrize(
    ("condition", "names"),
    [
        (present(UUID), {MDEV_NAME}),
        (gone(NIC), set()),
        (at_least(1, "mdev"), {MDEV_NAME}),
        (available(GPU, TYPE, 4), {GPU_NAME}),
        (Condition(lambda devices: NIC_NAME not in devices, capabilities=["pci"]), {GPU_NAME}),
    ],
)
def test_wait_for_returns_when_it_becomes_so(
    changing: Changing, form: Form, condition: Condition, names: set[str]
) -> None:
    """The devices are those of that moment."""
    before: list[int] = []

    def reached(devices: Mapping[str, Device]) -> bool:
        if not before:  # it is asked first when all that is there has been told
            before.append(len(devices))
            changing.host.show_mdev()
            changing.host.hide_nic()
            changing.host.offer(4)
        return condition.reached(devices)

    asked = msgspec.structs.replace(condition, reached=reached)
    with form(changing.path) as client:
        assert set(client.wait_for(asked, PATIENCE_SECONDS)) == names


def test_wait_for_counts_that_change_in_silence_asks_for_them(tmp_path: Path, form: Form) -> None:
    """A daemon without events is made to read the counts again."""
    host = Host(tmp_path)
    with (
        running(tmp_path, tmp_path / "host", "--reconcile", "0", "--count-age", "0"),
        form(str(tmp_path / "nodedevd.sock")) as client,
    ):
        host.offer(2)
        client.wait_for(available(GPU, TYPE, 2), 0)
        condition = available(GPU, TYPE, 4)

        def reached(devices: Mapping[str, Device]) -> bool:
            host.offer(4)
            return condition.reached(devices)

        client.wait_for(msgspec.structs.replace(condition, reached=reached), PATIENCE_SECONDS)


def test_vgpu_function_without_mdevs_is_waited_for_by_its_profile(
    tmp_path: Path, form: Form
) -> None:
    """By id, or by name without the vendor's prefix; a function in use has none."""
    with (
        running(tmp_path, host_file("vgpu-vendor-vfio")),
        form(str(tmp_path / "nodedevd.sock")) as client,
    ):
        for wanted in ("1150", "l40s-4q"):
            found = client.wait_for(available("0000:26:00.7", wanted), 0)
            assert set(found) == {"pci_0000_26_00_7"}
        with pytest.raises(TimedOut):
            client.wait_for(available("0000:26:00.4", "l40s-4q"), 0)


def test_wait_for_goes_on_when_the_daemon_is_restarted(tmp_path: Path) -> None:
    """With `reconnect`; otherwise it is an error."""
    changing = Changing(tmp_path)
    with changing.running() as daemon, Client(changing.path) as client:
        heard = threading.Event()

        def reached(devices: Mapping[str, Device]) -> bool:
            heard.set()
            return MDEV_NAME in devices

        with ThreadPoolExecutor(2) as pool:
            waiting = pool.submit(client.wait_for, reached, PATIENCE_SECONDS, reconnect=True)
            assert heard.wait(PATIENCE_SECONDS)
            other = pool.submit(client.wait_for, gone("computer"), PATIENCE_SECONDS)
            while client.status().watchers < 2:
                pass
            daemon.stop(signal.SIGKILL)
            with pytest.raises(ConnectionLost):
                other.result(PATIENCE_SECONDS)
            changing.host.show_mdev()
            with changing.running():
                assert MDEV_NAME in waiting.result(PATIENCE_SECONDS)


# -- the module


def test_importing_the_client_brings_little_with_it() -> None:
    """No command line, no libudev, no event loop for the blocking form; all names exist."""
    program = """
import sys
import nodedevd.client
heavy = {"click", "lxml", "pyudev", "asyncio"} & set(sys.modules)
assert not heavy, heavy
for name in nodedevd.client.__all__:
    getattr(nodedevd.client, name)
assert not {"click", "lxml", "pyudev"} & set(sys.modules)
try:
    nodedevd.client.Nothing
except AttributeError as error:
    assert "Nothing" in str(error)
else:
    raise AssertionError
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
