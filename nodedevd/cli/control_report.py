"""control_report: what nodedevctl control prints."""

from __future__ import annotations

import pwd
from collections.abc import Iterator

import msgspec

from nodedevd.actions.answers import ControlStatus, InProgress, Leftover, Made, NotApplied
from nodedevd.text import fold, table

_LABEL = 13


class ControlReport(msgspec.Struct, frozen=True, kw_only=True):
    """The state of the control service, and whose the devices of the host are."""

    generation: int
    socket: str | None
    """the socket on which the service answers; None if it does not, and root looked itself"""
    service: ControlStatus
    devices: tuple[Made, ...]


def text(report: ControlReport) -> str:
    """Return a report for people."""
    lines = [
        fold(f"{label + ':':<{_LABEL}}{value}", indent=" " * _LABEL)
        for label, value in _state(report)
    ]
    lines += [
        fold(f"{change.action} on {', '.join(change.cards)}: {_progress(change)}", indent="  ")
        for change in report.service.in_progress
    ]
    for rest in report.service.leftovers:
        lines.append(fold(_failed(rest), indent="  "))
        lines += [fold(f"  NOT undone: {step}", indent="    ") for step in rest.left]
    lines += [
        fold(
            f"{one.uuid} on {one.parent} is not started: {one.detail};"
            f" {'tried again' if one.waits else 'given up'} after {one.tries} attempts",
            indent="  ",
        )
        for one in report.service.not_started
    ]
    lines += [
        fold(f"{one.card or one.entry} is {one.state}: {one.detail}{_tried(one)}", indent="  ")
        for one in report.service.not_applied
    ]
    found = "".join(f"{line}\n" for line in lines)
    if report.devices:
        rows = [(one.origin, one.owner or "-", one.type or "-", one.name) for one in report.devices]
        found += "\n" + table(("ORIGIN", "OWNER", "TYPE", "DEVICE"), rows)
    return found


def _state(report: ControlReport) -> Iterator[tuple[str, str]]:
    service = report.service
    if report.socket is None:
        yield "Service", "none answers; enable it: systemctl enable --now nodedevd-control.socket"
    else:
        yield "Service", f"{report.socket}, process {service.pid}, version {service.version}"
    yield "Devices", "from the daemon" if service.source == "daemon" else "from a scan of its own"
    hanging = sum(change.hangs for change in service.in_progress)
    now = f"{len(service.in_progress)} in progress, {hanging} held up by a driver"
    if report.socket is not None:  # else this process has only just begun to count
        now = (
            f"{service.changes} made, {service.failures} refused or failed,"
            f" {service.queued} waiting, {now}"
        )
    yield "Changes", now
    yield "Left over", f"{len(service.leftovers)} changes that failed and were not undone"
    if service.not_started:
        yield "Autostart", f"{len(service.not_started)} mdevs not started yet"
    if service.not_applied:
        yield "Layout", f"{len(service.not_applied)} cards not as declared"


def _tried(card: NotApplied) -> str:
    if not card.tries:
        return ""
    return f"; {'tried again' if card.waits else 'given up'} after {card.tries} attempts"


def _progress(change: InProgress) -> str:
    who = f"asked by process {change.pid} of {_user(change.uid)}"
    if change.hangs:
        return f"the driver has not answered for {change.seconds:.0f} s: {change.step}; {who}"
    return f"{change.step}, for {change.seconds:.0f} s; {who}"


def _failed(rest: Leftover) -> str:
    if rest.action is None:
        return f"entry {rest.number} of the journal cannot be read:"
    return f"{rest.action} on {', '.join(rest.cards)} failed, {rest.since}:"


def _user(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)
