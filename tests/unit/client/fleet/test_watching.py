"""A watch of a fleet tells the differences, once, and none of what is not known."""

from __future__ import annotations

from nodedevd.client.fleet.watching import FleetWatching
from tests.unit.client.fleet.test_hosts import NOW, entries


def told(watching: FleetWatching) -> list[tuple[str, str | None, str | None]]:
    """Return all that there is to tell."""
    found: list[tuple[str, str | None, str | None]] = []
    while (event := watching.next()) is not None:
        found.append((event.event, event.host, event.state))
    return found


def test_hosts_are_told_when_all_are_known_and_then_their_changes() -> None:
    """Present, ready, and the newest of several changes."""
    watching = FleetWatching()
    watching.set("a", entries("a"))
    assert told(watching) == []
    watching.synchronised(NOW)
    assert told(watching) == [("present", "a", "alive"), ("ready", None, None)]
    watching.set("b", entries("b"))
    for generation in range(6, 99):
        watching.set("a", entries("a", generation=generation))
    assert told(watching) == [("added", "b", "alive"), ("changed", "a", "alive")]
    watching.set("a", entries("a", generation=98))
    assert told(watching) == []
    watching.set("b", {})
    assert told(watching) == [("removed", "b", None)]


def test_host_becomes_gone_by_the_time_alone() -> None:
    """Nothing arrives when it does."""
    watching = FleetWatching()
    watching.set("a", entries("a"))
    watching.synchronised(NOW)
    told(watching)
    watching.at(NOW + 20)
    assert told(watching) == []
    watching.at(NOW + 40)
    assert told(watching) == [("changed", "a", "gone")]


def test_loss_is_told_at_once_and_changes_when_the_state_is_known_again() -> None:
    """Nothing that may be untrue is told in between."""
    watching = FleetWatching()
    for host in ("a", "b"):
        watching.set(host, entries(host))
    watching.synchronised(NOW)
    told(watching)
    watching.lost("gone away")
    watching.set("a", {})
    watching.set("b", entries("b", generation=6))
    watching.lost("still away")
    assert told(watching) == [("unreachable", None, None)]
    assert [one.state for one in watching.hosts()] == ["unknown"]
    watching.synchronised(NOW)
    assert told(watching) == [
        ("removed", "a", None),
        ("changed", "b", "alive"),
        ("ready", None, None),
    ]


def test_loss_that_nobody_has_seen_is_none() -> None:
    """A reader that sleeps is told what differs."""
    watching = FleetWatching()
    watching.set("a", entries("a"))
    watching.synchronised(NOW)
    told(watching)
    watching.lost("gone away")
    watching.synchronised(NOW)
    assert told(watching) == [("ready", None, None)]
