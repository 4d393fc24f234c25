"""layout: cards that are not as the layout files say, and files that are wrong."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from nodedevd.model.device import Device
from nodedevd.model.layout import AwaitedCard, CardLayout, Problem
from nodedevd.questions.doctor.examined import Examined, host_finding
from nodedevd.questions.doctor.finding import Finding

_DIFF: Final = "nodedevctl layout diff"
_REASONS_SHOWN: Final = 3
"""per card; `nodedevctl show` prints more"""


def check(host: Examined) -> Iterator[Finding]:
    """Yield a finding for each card that is not in sync, and for each problem of a file."""
    layout = host.snapshot.layout
    for problem in layout.problems:
        yield _wrong(problem)
    for awaited in layout.awaited:
        yield _awaited(awaited)
    for path in sorted(layout.cards):
        device = host.snapshot.at(path)
        if device is not None and device.layout is not None:
            yield from _card(host, device, device.layout)


def _wrong(problem: Problem) -> Finding:
    where = problem.file
    if problem.line is not None:
        where += f", line {problem.line}"
    if problem.key is not None:
        where += f", {problem.key}"
    return host_finding(
        "problem",
        "layout-wrong",
        f"{where}: {problem.message}",
        f"Correct it: {problem.instead}. Until then the file has no cards.",
        "nodedevctl layout check",
    )


def _awaited(awaited: AwaitedCard) -> Finding:
    return host_finding(
        "warning",
        "layout-pending",
        f"{awaited.file}, line {awaited.line}, names the card {awaited.card}, which this host does"
        " not have",
        "Name a card of this host, or take the card out of the file.",
        "nodedevctl list --cap pci",
    )


def _card(host: Examined, device: Device, layout: CardLayout) -> Iterator[Finding]:
    text = _text(layout)
    if layout.state == "drifted":
        yield host.finding(
            "warning",
            "layout-drifted",
            device,
            f"it is not as {layout.file} says{text}",
            "See what would be done, and do it.",
            _DIFF,
            f"nodedevctl layout apply --card {device.name}",
        )
    elif layout.state == "blocked":
        yield host.finding(
            "warning",
            "layout-blocked",
            device,
            f"it is not as {layout.file} says, and cannot be made so now{text}",
            "Stop what has it open, remove what is not the layout's, or change the file; then apply"
            " it.",
            _DIFF,
            f"nodedevctl layout apply --card {device.name}",
        )
    elif layout.state == "pending":
        yield host.finding(
            "warning",
            "layout-pending",
            device,
            f"it is not yet as {layout.file} says{text}",
            "Load the driver of the card, and see the kernel's log for why its functions do not"
            " appear.",
            _DIFF,
            "dmesg | tail -n 50",
        )


def _text(layout: CardLayout) -> str:
    if not layout.reasons:
        return ""
    shown = "; ".join(layout.reasons[:_REASONS_SHOWN])
    more = len(layout.reasons) - _REASONS_SHOWN
    return f"; {shown}; and {more} more" if more > 0 else f"; {shown}"
