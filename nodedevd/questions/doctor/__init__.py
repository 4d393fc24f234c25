"""doctor: finds the problems of a host with mediated devices, each with its remedy.

Pure functions of a snapshot, the facts of the host that no device shows, and the status of a
daemon: each module checks one subject. `docs/doctor.md` lists every code.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from nodedevd.host.facts import HostFacts
from nodedevd.model.snapshot import Snapshot
from nodedevd.model.status import UnansweredRead
from nodedevd.questions.cards_without_vgpus import cards_without_vgpus_in_steps
from nodedevd.questions.doctor import (
    channel,
    container,
    daemon,
    definitions,
    functions,
    gvt,
    host,
    layout,
    mdevctl,
    mdevs,
    none_available,
    nvidia,
    parents,
    unread,
)
from nodedevd.questions.doctor.daemon_view import DaemonView, differences
from nodedevd.questions.doctor.examined import Examined, by_kind_in_steps
from nodedevd.questions.doctor.finding import SEVERITIES, Code, Finding, Report, Severity
from nodedevd.steps import Steps, finish

__all__ = [
    "SEVERITIES",
    "Code",
    "DaemonView",
    "Finding",
    "Report",
    "Severity",
    "diagnose",
    "diagnose_in_steps",
    "differences",
]


_CHECKS: tuple[Callable[[Examined], Iterator[Finding]], ...] = (
    host.check,
    nvidia.check,
    gvt.check,
    channel.check,
    parents.check,
    none_available.check,
    mdevs.check,
    definitions.check,
    mdevctl.check,
    functions.check,
    layout.check,
    unread.check,
    daemon.check,
)


def diagnose(
    snapshot: Snapshot,
    facts: HostFacts,
    *,
    hanging: Iterable[UnansweredRead] = (),
    daemon: DaemonView | None = None,
) -> tuple[Finding, ...]:
    """Return all findings, the most severe first.

    Args:
        snapshot: A new scan of the host.
        facts: The facts of the host that no device shows.
        hanging: Reads of that scan that have not returned.
        daemon: The answer of the daemon, None to leave the daemon out.
    """
    return finish(diagnose_in_steps(snapshot, facts, hanging=hanging, daemon=daemon))


def diagnose_in_steps(
    snapshot: Snapshot,
    facts: HostFacts,
    *,
    hanging: Iterable[UnansweredRead] = (),
    daemon: DaemonView | None = None,
) -> Steps[tuple[Finding, ...]]:
    """Do the same as `diagnose`, in steps."""
    without = yield from cards_without_vgpus_in_steps(list(snapshot))
    by_kind = yield from by_kind_in_steps(snapshot)
    examined = Examined(snapshot, facts, tuple(hanging), daemon, without, by_kind)
    found: list[Finding] = []
    for check in _CHECKS:
        yield
        for one in check(examined):
            found.append(one)
            yield  # a finding may take a look at all devices
    if facts.container is not None:
        found = list(container.calm(found))
    unique = dict.fromkeys(found)  # a read that hangs here also hangs in the daemon
    return tuple(
        sorted(unique, key=lambda one: (SEVERITIES.index(one.severity), one.code, one.device or ""))
    )
