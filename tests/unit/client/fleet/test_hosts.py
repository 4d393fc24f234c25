"""The state of a host, from its summary, its heartbeat and the server's time."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from nodedevd.client.fleet.bucket import Entry
from nodedevd.client.fleet.errors import NoSuchHost
from nodedevd.client.fleet.hosts import Hosts, host_at, record, records
from nodedevd.client.fleet.values import VERSION, Alive, Summary, alive_key, packed, summary_key
from nodedevd.questions.summary import host_room
from tests.support.hosts import snapshot_of

NOW = 1_000_000.0


def summary(host: str = "a", sample: str = "vgpu-pf", **more: Any) -> Summary:
    """Return the summary of a sample host."""
    room = host_room(snapshot_of(sample))
    given: dict[str, Any] = {"generation": 5, **more}
    return Summary(
        v=VERSION,
        host=f"{host}.example",
        publisher="p",
        instance="i",
        changed="",
        devices=room.devices,
        counts=room.counts,
        tree=packed(b"{}")[0],
        types=room.types,
        cards=room.cards,
        **given,
    )


def entries(
    host: str = "a",
    *,
    age: float = 1,
    sample: str = "vgpu-pf",
    alive: dict[str, Any] | None = None,
    **more: Any,
) -> dict[str, Entry]:
    """Return what a bucket has of a host."""
    given = {"publisher": "p", "daemon": "ok", "interval": 10.0, **(alive or {})}
    return {
        alive_key(host): Entry(msgspec.json.encode(Alive(v=VERSION, **given)), 8, NOW - age),
        summary_key(host): Entry(msgspec.json.encode(summary(host, sample, **more)), 7, NOW - age),
    }


@pytest.mark.parametrize(
    ("age", "alive", "state"),
    [
        (29, {}, "alive"),
        (31, {}, "gone"),
        (-5, {}, "alive"),  # a clock of another server of the cluster
        (-11, {}, "unknown"),
        (-11, {"daemon": "left"}, "left"),
        (-1, {"interval": 0.1}, "alive"),  # how late the server's time has arrived
        (1, {"daemon": "absent"}, "no-daemon"),
        (1, {"daemon": "unreadable"}, "no-daemon"),
        (31, {"daemon": "absent"}, "gone"),
        (99, {"daemon": "left"}, "left"),
        (1, {"behind": 9.0}, "alive"),
        (1, {"behind": 11.0}, "stale"),
        (1, {"summary": 7}, "alive"),
        (1, {"summary": 8}, "alive"),  # it may be on its way
        (3, {"summary": 8}, "stale"),
    ],
)
def test_state(age: float, alive: dict[str, Any], state: str) -> None:
    """By the age of the heartbeat, and what it says."""
    host = host_at(record("a", entries(age=age, alive=alive)), NOW)
    assert host.state == state
    assert (host.reason is None) == (state == "alive")
    assert host.usable == (state == "alive")
    assert host.age_seconds == max(0, age)
    assert host.name == "a.example"


def test_state_without_an_answer_of_the_servers_is_unknown() -> None:
    """What was known is shown, and not that it holds."""
    host = host_at(record("a", entries()), None)
    assert (host.state, host.age_seconds, host.usable) == ("unknown", None, False)
    assert host.summary is not None


def test_half_of_a_host_is_incomplete() -> None:
    """A summary without a heartbeat, or the other way round."""
    both = entries()
    for key in both:
        host = host_at(record("a", {key: both[key]}), NOW)
        assert (host.state, host.usable) == ("incomplete", False)


def test_hosts_are_found_by_id_or_name() -> None:
    """A name that two hosts have is none."""
    both = {**entries("a"), **entries("b")}
    found = Hosts(NOW, False, tuple(host_at(one, NOW) for one in records(both).values()))
    assert found.host("b").id == found.host("b.example").id == "b"
    with pytest.raises(NoSuchHost):
        found.host("c")
    twice = msgspec.structs.replace(
        found, hosts=tuple(msgspec.structs.replace(one, name="x") for one in found.hosts)
    )
    with pytest.raises(NoSuchHost) as error:
        twice.host("x")
    assert error.value.nearest == ("a", "b")
