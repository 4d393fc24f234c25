"""nodedevctl status: the state of the daemon, and its read errors."""

from __future__ import annotations

import click
import msgspec

from nodedevd.cli.options import Context, epilog, json_option, print_json
from nodedevd.model.status import LayoutStatus, Status
from nodedevd.text import fold, printable, table


@click.command(epilog=epilog("Example:", "nodedevctl status --json | jq .error_count"))
@json_option
@click.pass_obj
def status(context: Context, as_json: bool) -> None:
    """Show the state of the daemon and its read errors."""
    answer = context.source(scan=False).status()
    if as_json:
        print_json(msgspec.json.encode(answer))
        return
    click.echo(_text(answer, from_daemon=context.sysroot is None), nl=False)


def _text(answer: Status, *, from_daemon: bool) -> str:
    states = msgspec.structs.asdict(answer.state_counts).items()
    kinds = answer.capability_counts.items()
    lines = {
        "Version": answer.version,
        "Host": answer.sysroot,
        "Devices": ", ".join(
            f"{number} {state}" for state, number in states if number or state == "active"
        ),
        "Kinds": ", ".join(f"{number} {kind}" for kind, number in kinds if number),
        "Generation": str(answer.generation),
        "Last scan": f"{answer.last_scan.finished:%Y-%m-%d %H:%M:%S} UTC,"
        f" took {answer.last_scan.seconds:.3f} s",
    }
    if from_daemon:
        lines["Started"] = f"{answer.started:%Y-%m-%d %H:%M:%S} UTC, process {answer.pid}"
        lines["Events"] = _events(answer)
        lines["Missed"] = (
            f"{answer.missed_changes} changes without an event, {answer.overflows} overflows,"
            f" {answer.monitor_errors} monitor errors"
        )
        lines["Rescans"] = f"{answer.rescans}, planned reconciles included"
        lines["Clients"] = (
            f"{answer.clients} connected, {answer.watchers} watching, {answer.calls} calls answered"
        )
        if answer.log_left_out or answer.log_dropped:
            lines["Log"] = (
                f"{answer.log_left_out} messages left out, being many of a kind,"
                f" {answer.log_dropped} dropped"
            )
    if not answer.privileged:
        lines["Privileges"] = "not root: attributes that only root can read are unknown"
    if answer.layout is not None:
        lines["Layout"] = _layout(answer.layout)
    lines["Read errors"] = str(answer.error_count)
    text = ""
    for label, value in lines.items():
        text += fold(f"{label + ':':<13}{value}", indent=" " * 13) + "\n"
    for read in answer.unanswered_reads:
        text += fold(f"A read of {read.path} has not returned for {read.seconds:.1f} s.") + "\n"
    if answer.errors:
        rows = [
            (error.device or "-", error.attribute or ".", error.code, error.detail)
            for error in answer.errors
        ]
        text += "\n" + table(("DEVICE", "ATTRIBUTE", "ERROR", "DETAIL"), rows)
    if answer.layout is not None and answer.layout.problems:
        problems = [fold(printable(str(one)), indent="  ") for one in answer.layout.problems]
        text += "\n" + "".join(f"{one}\n" for one in problems)
    return text


def _layout(layout: LayoutStatus) -> str:
    counts = layout.counts
    numbers = {
        "in sync": counts.in_sync,
        "drifted": counts.drifted,
        "blocked": counts.blocked,
        "pending": counts.pending,
    }
    parts = [f"{number} {state}" for state, number in numbers.items() if number]
    if layout.problem_count:
        number = layout.problem_count
        parts.append(f"{number} problem{'' if number == 1 else 's'} in files")
    return ", ".join(parts) or "no cards"


def _events(answer: Status) -> str:
    if answer.event_source == "none":
        return "none: only the periodic reconcile finds changes"
    last = "" if answer.last_event is None else f", last {answer.last_event:%Y-%m-%d %H:%M:%S} UTC"
    return f"{answer.events} from {answer.event_source}{last}, in {answer.updates} updates"
