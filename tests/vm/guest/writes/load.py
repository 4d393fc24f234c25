"""Many mdevs made and removed at once by virsh, while others list them and read their XML."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from statistics import median, quantiles
from typing import NamedTuple

from tests.vm.guest import vm
from tests.vm.guest.writes.calls import Answer, Call, Virsh
from tests.vm.guest.writes.script import PARENT, TYPE

NOT_FOUND = "Node device not found: no node device with matching name"
LISTED = Call("list", options=("--cap", "mdev"))


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
    """An mdev, from its create to its destroy."""

    uuid: str
    create: Span | None = None
    destroy: Span | None = None

    @property
    def name(self) -> str:
        """The name that libvirt gives it."""
        return vm.libvirt_name(self.uuid, "mtty")

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


def document(one: str) -> str:
    """Return the XML of an mdev to be."""
    return (
        f"<device><parent>{PARENT}</parent><capability type='mdev'>"
        f"<type id='{TYPE}'/><uuid>{one}</uuid></capability></device>"
    )


def ask(virsh: Virsh, call: Call) -> Span:
    """Ask, and note when."""
    begun = time.monotonic()
    answer = virsh.ask(call)
    return Span(begun, time.monotonic(), answer)


def play(uri: str, number: int, workers: int, lookers: int = 1) -> Outcome:
    """Create and destroy mdevs by as many clients at once, and look meanwhile.

    Each worker creates an mdev, and destroys one that was created before: so about `workers` of
    both kinds of calls are in progress at any time. At first all are created.
    """
    virsh = Virsh(uri)
    outcome = Outcome(lives=[Life(vm.new_uuid()) for _ in range(number)])
    done = threading.Event()

    def make(life: Life) -> None:
        life.create = ask(virsh, Call("create", document=document(life.uuid)))

    def take(life: Life) -> None:
        if life.create is not None and not life.create.answer.status:
            life.destroy = ask(virsh, Call("destroy", life.name))

    def whole(life: Life) -> None:
        make(life)
        take(life)

    def look() -> None:
        for turn in itertools.count():
            if done.is_set():
                return
            outcome.looks.append((None, ask(virsh, LISTED)))
            name = outcome.lives[turn * 7 % number].name
            outcome.looks.append((name, ask(virsh, Call("dumpxml", name))))

    looking = [threading.Thread(target=look) for _ in range(lookers)]
    for thread in looking:
        thread.start()
    try:
        half = outcome.lives[: number // 2], outcome.lives[number // 2 :]
        with ThreadPoolExecutor(workers) as pool:
            # First a half is made and stays; then the others come and go in one stride, beside
            # the removal of the first.
            list(pool.map(make, half[0]))
            mixed = [
                pool.submit(step, life)
                for pair in itertools.zip_longest(half[0], half[1])
                for step, life in zip((take, whole), pair, strict=True)
                if life is not None
            ]
            for future in mixed:
                future.result()
    finally:
        done.set()
        for thread in looking:
            thread.join()
    judge(outcome)
    outcome.left = left(virsh, outcome)
    return outcome


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


def left(virsh: Virsh, outcome: Outcome) -> list[str]:
    """Return what is still listed, active or not, when there is nothing any more."""
    vm.settle()
    every = Call("list", options=("--all", "--cap", "mdev"))
    ours = {life.name for life in outcome.lives}
    return sorted(ours & set(virsh.ask(every).out.split()))
