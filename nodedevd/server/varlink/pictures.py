"""Pictures: draws the host for clients, each picture once for as long as it stays right."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Final

import msgspec

from nodedevd.drawing.request import Drawing, DrawRequest
from nodedevd.host.sysroot import Sysroot
from nodedevd.model.snapshot import Snapshot
from nodedevd.steps import Steps

if TYPE_CHECKING:
    from nodedevd.host.facts import HostFacts
    from nodedevd.host.processes import ProcessScan
    from nodedevd.questions.doctor.finding import Finding
    from nodedevd.questions.in_use import UseReason, VfioUsage

KEPT: Final = 8
"""Pictures that are kept, of different widths and themes, for instance."""
_PATIENCE_STEPS: Final = 1_000_000
"""Steps that a call waits for another one of its user; then it draws beside that."""


class Known(msgspec.Struct, frozen=True):
    """What a picture is made of, and for whom."""

    snapshot: Snapshot
    usage: VfioUsage
    facts: HostFacts | None
    """None leaves findings out"""
    show_holders: bool
    uid: int = 0
    """user that asks"""


class _State(msgspec.Struct, frozen=True):
    """What the same picture comes of: two looks at the same processes are equal."""

    generation: int
    nodes: Mapping[str, Sequence[str]]
    processes: ProcessScan | None
    reason: UseReason | None
    facts: HostFacts | None


class Pictures:
    """Draws pictures, and keeps those drawn last until the host or its processes change."""

    def __init__(self, title: str) -> None:
        self._title = title
        self._state: _State | None = None
        self._kept: dict[tuple[DrawRequest, bool], bytes] = {}
        self._findings: tuple[Finding, ...] | None = None
        self._asked = False
        self._drawing: set[int] = set()

    def drawn_in_steps(self, known: Known, request: DrawRequest) -> Steps[bytes]:
        """Return the reply with a picture, in steps. Raises NoSuchDevice.

        Of each user one picture is drawn at a time, since it takes memory while it is made.
        """
        self._asked = True
        for _ in range(_PATIENCE_STEPS):
            if known.uid not in self._drawing:
                break
            yield
        state = self._renewed(known)
        key = request, known.show_holders
        if key in self._kept:
            return self._kept[key]
        self._drawing.add(known.uid)
        try:
            reply = yield from self._drawn(known, request, state)
        finally:  # also of a client that has gone
            self._drawing.discard(known.uid)
        if state is self._state:  # others had their turns
            while len(self._kept) >= KEPT:
                del self._kept[next(iter(self._kept))]
            self._kept[key] = reply
        return reply

    def _renewed(self, known: Known) -> _State:
        """Return what the kept pictures come of; drop them if that is another host by now."""
        usage = known.usage
        state = _State(
            known.snapshot.generation, usage.nodes, usage.processes, usage.reason, known.facts
        )
        if self._state != state:
            self._state, self._findings = state, None
            self._kept.clear()
            return state
        return self._state

    def _drawn(self, known: Known, request: DrawRequest, state: _State) -> Steps[bytes]:
        # `read_facts` has imported them.
        from nodedevd.drawing.draw import draw_in_steps
        from nodedevd.drawing.seen import Host

        findings = self._findings
        if findings is None:
            findings = yield from self._found(known)
            if state is self._state:
                self._findings = findings
        host = Host(
            title=self._title,
            snapshot=known.snapshot,
            usage=known.usage,
            findings=findings,
            show_holders=known.show_holders,
        )
        svg = yield from draw_in_steps(host, request)
        return msgspec.json.encode(Drawing(known.snapshot.generation, svg, known.usage.unseen))

    def _found(self, known: Known) -> Steps[tuple[Finding, ...]]:
        if known.facts is None:
            return ()
        from nodedevd.questions.doctor import diagnose_in_steps

        return (yield from diagnose_in_steps(known.snapshot, known.facts))

    def age(self) -> bool:
        """Drop all if none was asked for since the last call; return whether any is left."""
        if not self._asked:
            self._state = self._findings = None
            self._kept.clear()
        self._asked = False
        return bool(self._kept)


def read_facts(sysroot: Sysroot) -> HostFacts:
    """Read what `doctor` needs to know of the host, in the thread of a look. Raises OSError.

    What draws, and doctor's checks, are many modules: a daemon that nobody asks for a picture does
    not have them, and the event loop does not wait while they are imported.
    """
    import nodedevd.drawing.draw
    import nodedevd.questions.doctor  # noqa: F401
    from nodedevd.host.facts import read_host

    return read_host(sysroot)
