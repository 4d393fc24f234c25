"""hosts: what a reader says of each host, from its summary, its heartbeat, and the server's time.

A pure function of what the bucket has.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from difflib import get_close_matches
from typing import Final, Literal, TypeAlias

import msgspec

from nodedevd.client.fleet.bucket import Entry
from nodedevd.client.fleet.errors import NoSuchHost
from nodedevd.client.fleet.values import (
    Alive,
    Newer,
    Summary,
    Unreadable,
    alive_key,
    alive_of,
    host_of,
    summary_key,
    summary_of,
)

HostState: TypeAlias = Literal[
    "alive",
    "stale",
    "no-daemon",
    "left",
    "gone",
    "newer",
    "unreadable",
    "incomplete",
    "unknown",
]
"""
alive: the heartbeat is in time, and the summary is what it speaks of.
stale: the heartbeat is in time, and the host has a newer state than the summary, for ten seconds,
or its publisher has just started, and has not confirmed the summary yet.
no-daemon: the publisher lives, and nodedevd on that host does not answer it.
left: the publisher was stopped in order; the summary is as it was then.
gone: no heartbeat for three times its interval.
newer: published by a newer version, which this one cannot read.
unreadable: what is there is no summary, or no heartbeat.
incomplete: one of both is missing.
unknown: the servers do not answer this reader now, or the clocks differ too much to say.
"""

INTERVALS: Final = 3
"""A heartbeat that is older than so many of its intervals is missing."""
BEHIND_SECONDS: Final = 10.0
"""How long a state may wait to be published: large trees take a while."""
_ARRIVAL_SECONDS: Final = 2.0
"""How much later than the heartbeat the summary that it speaks of may arrive."""
_NEAREST: Final = 3


class Host(msgspec.Struct, frozen=True):
    """A host of the fleet, as far as it is known."""

    id: str
    name: str
    """its own name; the id if the summary cannot be read"""
    state: HostState
    reason: str | None = None
    """why it is not alive, in words"""
    age_seconds: float | None = None
    """of the heartbeat; None if there is none, or the servers do not answer"""
    summary: Summary | None = None
    """as it was last published; None if there is none that can be read"""

    @property
    def usable(self) -> bool:
        """Whether the summary is what the host has now."""
        return self.state == "alive" and self.summary is not None


class Hosts(msgspec.Struct, frozen=True):
    """The hosts of a fleet at one moment."""

    time: float
    """by the server's clock, in seconds since 1970"""
    own_clock: bool
    """whether it is this machine's clock: servers before 2.10 do not tell theirs"""
    hosts: tuple[Host, ...]
    """sorted by id"""

    def host(self, wanted: str) -> Host:
        """Return a host by its id or name. Raises NoSuchHost."""
        found = [one for one in self.hosts if wanted == one.id]
        found = found or [one for one in self.hosts if wanted == one.name]
        if len(found) != 1:
            names = [one.id for one in self.hosts]
            near = [one.id for one in found] or get_close_matches(wanted, names, n=_NEAREST)
            raise NoSuchHost(wanted, tuple(near[:_NEAREST]))
        return found[0]


class Record(msgspec.Struct):
    """What the bucket has of one host, parsed once."""

    id: str
    summary: Summary | None = None
    text: bytes | None = None
    """the summary as it is in the bucket"""
    sequence: int = 0
    """of the summary"""
    alive: Alive | None = None
    beaten: float | None = None
    """when the heartbeat was written, by the server's clock"""
    newer: int | None = None
    """the version of a value that is newer"""
    problem: str | None = None
    """why a value cannot be read"""


def records(entries: Mapping[str, Entry]) -> dict[str, Record]:
    """Return what the bucket has of every host."""
    return {host: record(host, entries) for host in sorted(set(map(host_of, entries)))}


def record(host: str, entries: Mapping[str, Entry], before: Record | None = None) -> Record:
    """Parse what the bucket has of a host; `before` saves parsing the same summary again."""
    found = Record(host)
    summary, alive = entries.get(summary_key(host)), entries.get(alive_key(host))
    if alive is not None:
        found.beaten = alive.time
    if alive is not None and alive.value is not None:
        try:
            found.alive = alive_of(alive.value)
        except Newer as error:
            found.newer = error.args[0]
        except Unreadable as error:
            found.problem = f"its heartbeat: {error}"
    if summary is not None and summary.value is not None:
        found.sequence, found.text = summary.sequence, summary.value
        try:
            if before is not None and before.summary is not None and before.text == found.text:
                found.summary = before.summary
            else:
                found.summary = summary_of(summary.value)
        except Newer as error:
            found.newer = error.args[0]
        except Unreadable as error:
            found.problem = f"its summary: {error}"
    return found


def host_at(one: Record, now: float | None) -> Host:
    """Return what is known of a host at a time of the server; None: the servers do not answer."""
    age = None if now is None or one.beaten is None else now - one.beaten
    state, reason = ("unknown", None) if now is None else _state(one, age)
    return Host(
        id=one.id,
        name=one.id if one.summary is None else one.summary.host,
        state=state,
        reason=reason,
        age_seconds=None if age is None else max(0.0, age),
        summary=one.summary,
    )


def hosts_at(found: Iterable[Record], now: float | None) -> Iterator[Host]:
    """Yield the same of many."""
    return (host_at(one, now) for one in found)


def _state(one: Record, age: float | None) -> tuple[HostState, str | None]:
    summary, alive = one.summary, one.alive
    if one.newer is not None:
        return "newer", f"published by version {one.newer}; update this reader"
    if alive is not None and alive.daemon == "left":
        return "left", "its publisher was stopped"
    if alive is not None and age is not None and age > INTERVALS * alive.interval:
        return "gone", f"no heartbeat for {age:.0f} s, due every {alive.interval:g} s"
    if alive is not None and age is not None and -age > max(alive.interval, _ARRIVAL_SECONDS):
        return "unknown", f"its heartbeat is {-age:.0f} s in the future: the clocks differ"
    if one.problem is not None:
        return "unreadable", one.problem
    if alive is None:
        return "incomplete", "it has no heartbeat"
    if summary is None:
        return "incomplete", "it has no summary yet"
    if alive.daemon != "ok":
        why = "does not answer" if alive.daemon == "absent" else "is of another version"
        return "no-daemon", f"nodedevd on the host {why}"
    if not alive.confirmed:
        return "stale", "its publisher has not confirmed that the summary is the host's state"
    if alive.behind > BEHIND_SECONDS:
        return "stale", f"its publisher could not write the newest state for {alive.behind:.0f} s"
    if alive.summary > one.sequence and (age or 0) > _ARRIVAL_SECONDS:
        return "stale", f"there is a newer state than generation {summary.generation}"
    return "alive", None
