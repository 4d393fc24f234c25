"""FleetWatching: the differences between the hosts that a watch has told of and those that are.

No queue: a watch that is read slowly tells of the newest state of each host, once.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Literal

import msgspec

from nodedevd.client.fleet.bucket import Entry
from nodedevd.client.fleet.hosts import Host, Record, host_at, record
from nodedevd.client.fleet.values import Summary

_PARTS = ("counts", "types", "cards")


class FleetEvent(msgspec.Struct, frozen=True):
    """One event of a watch of a fleet.

    `event` is one of

    - `present`: a host that there is when the watch begins
    - `ready`: all hosts have been told of, and the state is true
    - `added`, `changed`, `removed`: a change
    - `unreachable`: no server can tell the newest state; `ready` follows when one can again, after
      the changes that have been missed
    """

    event: Literal["present", "ready", "added", "changed", "removed", "unreachable"]
    host: str | None = None
    """its id"""
    name: str | None = None
    state: str | None = None
    reason: str | None = None
    generation: int | None = None
    parts: tuple[str, ...] = ()
    """for `changed`: what differs, of state, generation, name, counts, types, cards"""
    known: Host | None = None
    """the host; not for `removed`"""


class FleetWatching:
    """The hosts, and what has been told of them."""

    def __init__(self) -> None:
        self._records: dict[str, Record] = {}
        self._told: dict[str, Host] = {}
        self._changed: dict[str, None] = {}
        self._was_ready = False
        self._tell_ready = False
        self._tell_lost: str | None = None
        self._now: float | None = None
        self.reachable = False

    def set(self, host: str, entries: Mapping[str, Entry]) -> None:
        """Take what the bucket has of a host now, by key; nothing if that is no longer there."""
        if entries:
            self._records[host] = record(host, entries, self._records.get(host))
        else:
            self._records.pop(host, None)
        self._changed[host] = None

    def at(self, now: float) -> None:
        """Take the server's time: hosts become gone by it."""
        self._now = now
        for host, known in self._records.items():
            told = self._told.get(host)
            if told is not None and host_at(known, now).state != told.state:
                self._changed[host] = None

    def synchronised(self, now: float) -> None:
        """All hosts are known, and true."""
        self._now = now
        if not self.reachable:
            self.reachable = True
            self._tell_ready = True
            self._tell_lost = None

    def lost(self, reason: str) -> None:
        """Nothing is known from now on."""
        self._tell_ready = False
        if self.reachable:
            self.reachable = False
            self._tell_lost = reason

    def hosts(self) -> Iterable[Host]:
        """Return all hosts, as they are now."""
        now = self._now if self.reachable else None
        return [host_at(self._records[host], now) for host in sorted(self._records)]

    def next(self) -> FleetEvent | None:
        """Return what there is to tell, None if that is nothing."""
        if self._tell_lost is not None:
            reason, self._tell_lost = self._tell_lost, None
            return FleetEvent("unreachable", reason=reason)
        if not self.reachable:
            return None
        while self._changed:
            host = next(iter(self._changed))
            del self._changed[host]
            event = self._event(host)
            if event is not None:
                return event
        if self._tell_ready:
            self._tell_ready = False
            self._was_ready = True
            return FleetEvent("ready")
        return None

    def _event(self, host: str) -> FleetEvent | None:
        told, known = self._told.get(host), self._records.get(host)
        if known is None:
            if told is None:
                return None
            del self._told[host]
            return FleetEvent("removed", host, told.name)
        new = host_at(known, self._now)
        parts = () if told is None else tuple(_differences(told, new))
        if told is not None and not parts:
            return None
        self._told[host] = new
        kind: Literal["present", "added", "changed"] = "changed"
        if told is None:
            kind = "added" if self._was_ready else "present"
        return FleetEvent(
            kind,
            host,
            new.name,
            new.state,
            new.reason,
            None if new.summary is None else new.summary.generation,
            parts,
            new,
        )


def _differences(old: Host, new: Host) -> Iterable[str]:
    if old.state != new.state:
        yield "state"
    if old.name != new.name:
        yield "name"
    one, other = old.summary, new.summary
    if one is other:
        return
    if one is None or other is None:
        yield "summary"
        return
    if _position(one) != _position(other):
        yield "generation"
    for part in _PARTS:
        if getattr(one, part) != getattr(other, part):
            yield part


def _position(summary: Summary) -> tuple[str, int, str]:
    return summary.instance, summary.generation, summary.tree.sha256
