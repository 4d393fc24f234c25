"""nodedevctl status: how the daemon is doing."""

from __future__ import annotations

import click
import msgspec

from nodedevd.cli.options import Context, epilog, json_option, print_json
from nodedevd.model.status import Status
from nodedevd.text import printable, table


@click.command(epilog=epilog("Example:", "nodedevctl status --json | jq .error_count"))
@json_option
@click.pass_obj
def status(context: Context, as_json: bool) -> None:
    """Show how the daemon is doing, and what it could not read."""
    answer = context.source().status()
    if as_json:
        print_json(msgspec.json.encode(answer))
        return
    click.echo(_status_text(answer, embedded=context.sysroot is not None), nl=False)


def _status_text(answer: Status, *, embedded: bool) -> str:
    counts = ", ".join(f"{number} {kind}" for kind, number in answer.capabilities.items() if number)
    lines = {
        "Version": answer.version,
        "Host": answer.sysroot,
        "Devices": f"{answer.devices} ({counts})",
        "Generation": str(answer.generation),
        "Last scan": f"{answer.last_scan.finished:%Y-%m-%d %H:%M:%S} UTC,"
        f" took {answer.last_scan.seconds:.3f} s",
    }
    if not embedded:
        lines["Started"] = f"{answer.started:%Y-%m-%d %H:%M:%S} UTC, process {answer.pid}"
        lines["Events"] = _events_text(answer)
        lines["Mishaps"] = (
            f"{answer.overflows} overflows, {answer.monitor_errors} monitor errors,"
            f" {answer.missed_changes} changes without an event, {answer.rescans} rescans"
        )
        lines["Clients"] = (
            f"{answer.clients} connected, {answer.watchers} watching, {answer.calls} calls answered"
        )
    if not answer.privileged:
        lines["Privileges"] = "not root: what root alone may read is unknown"
    lines["Read errors"] = str(answer.error_count)
    text = "".join(f"{label + ':':<13}{printable(value)}\n" for label, value in lines.items())
    for read in answer.unanswered_reads:
        text += f"A read of {printable(read.path)} has not returned for {read.seconds:.1f} s.\n"
    if answer.errors:
        rows = [
            (error.device or "-", error.attribute or ".", error.code, error.detail)
            for error in answer.errors
        ]
        text += "\n" + table(("DEVICE", "ATTRIBUTE", "ERROR", "DETAIL"), rows)
    return text


def _events_text(answer: Status) -> str:
    if answer.event_source == "none":
        return "none: changes are found by the reconcile alone"
    last = "" if answer.last_event is None else f", last {answer.last_event:%Y-%m-%d %H:%M:%S} UTC"
    return f"{answer.events} from {answer.event_source}{last}, in {answer.updates} updates"
