"""Whether what was shown of mdevs that come and go was so at the time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import median, quantiles
from typing import NamedTuple

from tests.vm.guest.writes.records import Answer

NOT_FOUND = "Node device not found: no node device with matching name"


class Span(NamedTuple):
    """When a call was begun and when it had ended, and what came of it."""

    begun: float
    ended: float
    answer: Answer

    @property
    def seconds(self) -> float:
        """How long it took."""
        return self.ended - self.begun


@dataclass
class Life:
    """An mdev, from its create to its destroy.

    Attributes:
        parent: As in its name.
    """

    uuid: str
    parent: str
    create: Span | None = None
    destroy: Span | None = None

    @property
    def name(self) -> str:
        """The name that libvirt gives it."""
        return f"mdev_{self.uuid.replace('-', '_')}_{self.parent}"

    def must_be(self, begun: float, ended: float) -> bool:
        """Tell whether it has to be shown at all times between two."""
        create, destroy = self.create, self.destroy
        if create is None or create.answer.status or create.ended > begun:
            return False
        return destroy is None or destroy.begun > ended or bool(destroy.answer.status)

    def may_be(self, begun: float, ended: float) -> bool:
        """Tell whether it may be shown at some time between two."""
        create, destroy = self.create, self.destroy
        if create is None or create.begun > ended:
            return False
        return destroy is None or bool(destroy.answer.status) or destroy.ended > begun


@dataclass
class Outcome:
    """What was wrong, and how long calls took.

    Attributes:
        ghosts: Names that were listed, or XML that was read, of mdevs that had gone.
        missing: Names that were not listed, or XML that was refused, of mdevs that there were.
        failed: What creates, destroys and lists said that failed.
        left: Names listed in the end, when there were no mdevs any more.
        lives: The mdevs.
        looks: Lists, and reads of XML with the name that was asked for.
    """

    ghosts: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)
    left: list[str] = field(default_factory=list)
    lives: list[Life] = field(default_factory=list)
    looks: list[tuple[str | None, Span]] = field(default_factory=list)

    def lines(self, who: str) -> list[str]:
        """Return it as lines of a report."""
        counts = ", ".join(
            f"{what} {len(names)}"
            for what, names in (
                *(("ghosts", self.ghosts), ("missing", self.missing)),
                *(("failed", self.failed), ("left in the end", self.left)),
            )
        )
        return [
            f"{who}: {len(self.lives)} mdevs, {len(self.looks)} looks: {counts}",
            *(f"  {who} {line}" for line in sorted({*self.failed})[:5]),
            timed(f"{who} create", [one.create for one in self.lives]),
            timed(f"{who} destroy", [one.destroy for one in self.lives]),
            timed(f"{who} list", [span for name, span in self.looks if name is None]),
            timed(f"{who} dumpxml", [span for name, span in self.looks if name is not None]),
        ]


def timed(what: str, spans: Sequence[Span | None]) -> str:
    """Return median, 95th percentile and maximum of calls as a line."""
    seconds = [span.seconds for span in spans if span is not None]
    if len(seconds) < 2:
        return f"  {what}: {len(seconds)} calls"
    p95 = quantiles(seconds, n=20)[-1]
    figures = f"{median(seconds) * 1000:8.0f} {p95 * 1000:8.0f} {max(seconds) * 1000:8.0f}"
    return f"  {what:24} {figures} ms ({len(seconds)} calls)"


def judge(outcome: Outcome) -> None:
    """Find what was listed and should not have been, what was not, and what failed."""
    by_name = {life.name: life for life in outcome.lives}
    for name, span in outcome.looks:
        lives = outcome.lives if name is None else [by_name[name]]
        if name is None:
            if span.answer.status:
                outcome.failed.append(span.answer.err)
                continue
            shown = set(span.answer.out.split())
        else:
            shown = set() if span.answer.status else {name}
            if span.answer.status and NOT_FOUND not in span.answer.err:
                outcome.failed.append(span.answer.err)
                continue
        for life in lives:
            if life.name in shown and not life.may_be(span.begun, span.ended):
                outcome.ghosts.append(life.name)
            if life.name not in shown and life.must_be(span.begun, span.ended):
                outcome.missing.append(life.name)
    for life in outcome.lives:
        for call in (life.create, life.destroy):
            if call is not None and call.answer.status:
                outcome.failed.append(call.answer.err.replace(life.uuid, "UUID"))
