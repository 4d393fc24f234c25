"""report: io.systemd.Metrics, by which systemd-report finds the metrics.

`io.systemd.Metrics.varlink` beside this file describes the interface.

Source  src/shared/varlink-io.systemd.Metrics.c and src/report/report.c of systemd 260
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from pathlib import Path
from typing import Any, Final

import msgspec

from nodedevd.errors import ExpectedMore
from nodedevd.metrics.family import Family, Metrics
from nodedevd.model.snapshot import Snapshot
from nodedevd.server.varlink.answers import Answer, Chunk
from nodedevd.server.varlink.service import Interface, MethodTable, Request
from nodedevd.socket_paths import INTERFACE

NAME: Final = "io.systemd.Metrics"
SOCKET_PATH: Final = f"/run/systemd/report/{INTERFACE}"
"""The names of metrics begin with that of the socket, which systemd-report checks."""
_OBJECT: Final = "card"

_methods: Final = MethodTable()


class NoParameters(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """None."""


class Listed(msgspec.Struct, frozen=True, omit_defaults=True):
    """A metric."""

    name: str
    value: float
    object: str | None = None
    fields: dict[str, str] | None = None


class Described(msgspec.Struct, frozen=True):
    """A family."""

    name: str
    description: str
    type: str


class ReportInterface:
    """The handlers of the methods."""

    def __init__(self, metrics: Callable[[], Awaitable[Metrics]]) -> None:
        """Prepare; `metrics` returns those of this time. Raises NodedevError, OSError."""
        self._metrics = metrics

    def interface(self) -> Interface:
        """Return the interface."""
        text = Path(__file__).with_name(f"{NAME}.varlink").read_text("utf-8")
        return Interface(NAME, text, _methods.bind(self))

    @_methods.add("List", NoParameters)
    async def list(self, parameters: NoParameters, request: Request) -> Answer:
        """Send every metric."""
        return await self._replies(_listed, request)

    @_methods.add("Describe", NoParameters)
    async def describe(self, parameters: NoParameters, request: Request) -> Answer:
        """Send every name."""
        return await self._replies(_described, request)

    async def _replies(
        self, of: Callable[[Family], Iterable[msgspec.Struct]], request: Request
    ) -> Answer:
        if not request.more:
            raise ExpectedMore
        families = (await self._metrics()).families
        return Replies([one for family in families for one in of(family)])


class Replies:
    """A stream of one reply for each value, encoded when the client can take it."""

    snapshot: Snapshot | None = None
    own_bytes = 0

    def __init__(self, values: Iterable[msgspec.Struct]) -> None:
        self._values = list(values)
        self._at = 0

    def start(self, wake: Callable[[], None]) -> None:
        """Begin; nothing is waited for."""

    def next(self) -> Chunk:
        """Return the next reply."""
        value = self._values[self._at]
        self._at += 1
        return Chunk(msgspec.json.encode(value), last=self._at == len(self._values))

    def close(self) -> None:
        """Release the values."""
        self._values.clear()


def systemd_name(family: Family) -> str:
    """Return the name in the style of systemd: org.nodedevd.Devices.VgpuAvailable."""
    words = family.sample_name.removeprefix("nodedev_").split("_")
    return f"{INTERFACE}.{''.join(word.capitalize() for word in words)}"


def _listed(family: Family) -> Iterable[Listed]:
    for sample in family.samples:
        fields: dict[str, Any] = {
            name: text for name, text in sample.labels.items() if name != _OBJECT
        }
        yield Listed(systemd_name(family), sample.value, sample.labels.get(_OBJECT), fields or None)


def _described(family: Family) -> Iterable[Described]:
    kind = "gauge" if family.type == "info" else family.type
    yield Described(systemd_name(family), family.help, kind)
