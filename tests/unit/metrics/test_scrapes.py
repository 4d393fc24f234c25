"""Scrapes: the daemon is asked once for all clients; io.systemd.Metrics sends what it says."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest
from varlink import scanner

from nodedevd.errors import ExpectedMore, NoDaemon
from nodedevd.metrics.family import Family, Metrics, Sample, single
from nodedevd.metrics.report import ReportInterface
from nodedevd.metrics.scrapes import FRESH_SECONDS, Scrapes
from nodedevd.server.conversation import Peer
from nodedevd.server.varlink.answers import Chunk
from nodedevd.server.varlink.service import Service
from nodedevd.varlink import Call

METRICS = Metrics(
    7,
    (
        single("nodedev_events", "counter", "Events.", 3),
        Family(
            "nodedev_vgpu_active",
            "gauge",
            "vGPUs.",
            (Sample({"card": "pci_0000_3b_00_0", "type": "nvidia-1"}, 2),),
        ),
        Family("nodedev_card", "info", "Cards.", (Sample({"card": "a", "bus": "3b"}, 1),)),
        Family("nodedev_mdev_defined", "gauge", "None.", ()),
    ),
    (),
)


class Daemon:
    """Counts how often it is asked; answers when it may."""

    def __init__(self) -> None:
        self.asked = 0
        self.may_answer = threading.Event()
        self.may_answer.set()
        self.error: Exception | None = None

    def read(self) -> Metrics:
        """Return the metrics."""
        self.asked += 1
        self.may_answer.wait()
        if self.error is not None:
            raise self.error
        return msgspec.structs.replace(METRICS, generation=self.asked)


@pytest.fixture
def daemon() -> Iterator[Daemon]:
    """Return a daemon, which does not keep a thread in the end."""
    daemon = Daemon()
    yield daemon
    daemon.may_answer.set()


def test_clients_at_the_same_time_share_a_reading(daemon: Daemon) -> None:
    """In each format and in systemd's, and those that come a little later as well."""

    async def scenario() -> None:
        now = 0.0
        scrapes = Scrapes(daemon.read, lambda: now)
        daemon.may_answer.clear()
        first = [asyncio.ensure_future(scrapes.text("openmetrics")) for _ in range(50)]
        first += [asyncio.ensure_future(scrapes.text("prometheus")) for _ in range(50)]
        last = asyncio.ensure_future(scrapes.metrics())
        await asyncio.sleep(0)
        daemon.may_answer.set()
        texts = await asyncio.gather(*first)
        assert len(set(texts)) == 2
        assert (await last).generation == daemon.asked == 1
        now = FRESH_SECONDS / 2
        assert await scrapes.text("openmetrics") is texts[0]
        now = FRESH_SECONDS
        assert (await scrapes.metrics()).generation == daemon.asked == 2
        scrapes.close(1)

    asyncio.run(scenario())


def test_failure_is_shared_and_tried_again(
    daemon: Daemon, caplog: pytest.LogCaptureFixture
) -> None:
    """A daemon that is down is not asked for every client, and the log has it once."""

    async def scenario() -> None:
        now = 0.0
        scrapes = Scrapes(daemon.read, lambda: now)
        daemon.error = NoDaemon(("/run/x",), "gone")
        for time in (0.0, FRESH_SECONDS / 2, FRESH_SECONDS):
            now = time
            with pytest.raises(NoDaemon):
                await scrapes.text("prometheus")
        assert daemon.asked == 2
        daemon.error = None
        now = 2 * FRESH_SECONDS
        assert await scrapes.text("prometheus")
        scrapes.close(1)

    asyncio.run(scenario())
    assert [one.getMessage() for one in caplog.records] == [str(NoDaemon(("/run/x",), "gone"))]


def test_client_that_leaves_takes_nothing_from_the_others(daemon: Daemon) -> None:
    """Its wait is cancelled, and not the reading."""

    async def scenario() -> None:
        scrapes = Scrapes(daemon.read)
        daemon.may_answer.clear()
        leaving, staying = (asyncio.ensure_future(scrapes.text("prometheus")) for _ in range(2))
        await asyncio.sleep(0)
        leaving.cancel()
        await asyncio.wait([leaving])
        daemon.may_answer.set()
        assert await staying
        scrapes.close(1)

    asyncio.run(scenario())


def service(error: Exception | None = None) -> tuple[Service, str]:
    """Return a service of metrics, and the text of its interface."""

    async def metrics() -> Metrics:
        if error is not None:
            raise error
        return METRICS

    interface = ReportInterface(metrics).interface()
    return Service("", "", "", "", [interface], "org.nodedevd.Devices"), interface.description


def replies(method: str) -> list[dict[str, Any]]:
    """Return all replies to a call."""

    async def scenario() -> list[dict[str, Any]]:
        called, _ = service()
        call = Call(f"io.systemd.Metrics.{method}", more=True)
        answer: Any = await called.call(call, Peer(1, 1))  # type: ignore[misc]
        answer.start(lambda: None)
        found = []
        while True:
            chunk: Chunk = answer.next()
            found.append(msgspec.json.decode(chunk.parameters))
            if chunk.last:
                answer.close()
                return found

    return asyncio.run(scenario())


def test_list_has_every_metric_with_its_card_as_object() -> None:
    """Each is a reply; what has no card has no object."""
    prefix = "org.nodedevd.Devices"
    assert replies("List") == [
        {"name": f"{prefix}.EventsTotal", "value": 3},
        {
            "name": f"{prefix}.VgpuActive",
            "value": 2,
            "object": "pci_0000_3b_00_0",
            "fields": {"type": "nvidia-1"},
        },
        {"name": f"{prefix}.CardInfo", "value": 1, "object": "a", "fields": {"bus": "3b"}},
    ]


def test_describe_has_every_family() -> None:
    """Also one without values; systemd knows no type for labels alone."""
    prefix = "org.nodedevd.Devices"
    assert replies("Describe") == [
        {"name": f"{prefix}.EventsTotal", "description": "Events.", "type": "counter"},
        {"name": f"{prefix}.VgpuActive", "description": "vGPUs.", "type": "gauge"},
        {"name": f"{prefix}.CardInfo", "description": "Cards.", "type": "gauge"},
        {"name": f"{prefix}.MdevDefined", "description": "None.", "type": "gauge"},
    ]


@pytest.mark.parametrize("method", ["List", "Describe"])
def test_call_without_more_is_refused(method: str) -> None:
    """As the interface demands."""

    async def scenario() -> None:
        called, _ = service()
        await called.call(Call(f"io.systemd.Metrics.{method}"), Peer(1, 1))  # type: ignore[misc]

    with pytest.raises(ExpectedMore):
        asyncio.run(scenario())


def test_reply_about_a_missing_daemon_is_an_error() -> None:
    """systemd-report prints it, and goes on."""
    called, _ = service()
    translated = called.translate(NoDaemon(("/run/x",), "gone"))
    assert translated.name == "org.nodedevd.Devices.NoDaemon"


def test_description_is_a_valid_interface_with_the_methods_that_are_served() -> None:
    """The reference implementation parses it."""
    _, text = service()
    parsed = scanner.Interface(text)
    assert parsed.name == "io.systemd.Metrics"
    methods = {name for name, one in parsed.members.items() if isinstance(one, scanner._Method)}
    assert methods == {"List", "Describe"}
