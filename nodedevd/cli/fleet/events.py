"""nodedevctl --fleet events: changes of hosts as they happen."""

from __future__ import annotations

import sys
from contextlib import suppress
from datetime import UTC, datetime

import click
import msgspec

from nodedevd.cli.fleet.common import EXIT_STATUS_OF_FLEETS, open_fleet, report_own_clock
from nodedevd.cli.options import (
    EXIT_TIMEOUT,
    Context,
    epilog,
    json_option,
    print_text_of_json,
    timeout_option,
)
from nodedevd.cli.output import is_abandoned
from nodedevd.client.deadline import Deadline
from nodedevd.client.fleet.watching import FleetEvent
from nodedevd.text import printable

_CHANGES = ("added", "changed", "removed")


@click.command(
    epilog=epilog(
        "Examples: all changes with their time; until a host is gone, or comes back",
        "nodedevctl --fleet nats://127.0.0.1:4222 events --timestamp",
        "nodedevctl --fleet nats://127.0.0.1:4222 events --part state --count 1",
        exit_status=EXIT_STATUS_OF_FLEETS.removesuffix(".") + ", 4 timed out.",
    )
)
@click.option("--host", "hosts", multiple=True, metavar="HOST", help="Only this host, by its id.")
@click.option(
    "--part",
    "parts",
    multiple=True,
    type=click.Choice(["state", "name", "summary", "generation", "counts", "types", "cards"]),
    help="Only changes in which this differs; may be repeated.",
)
@click.option("--initial", is_flag=True, help='First print the hosts as "present", then "ready".')
@click.option("--count", type=click.IntRange(min=1), metavar="N", help="Exit after N changes.")
@timeout_option
@click.option("--timestamp", is_flag=True, help="Print the time (UTC) before each event.")
@json_option
@click.pass_obj
def events(
    context: Context,
    hosts: tuple[str, ...],
    parts: tuple[str, ...],
    initial: bool,
    count: int | None,
    timeout: float | None,
    timestamp: bool,
    as_json: bool,
) -> None:
    """Print changes of hosts as they happen: of their states, counts, and room for vGPUs.

    "unreachable" means that no server can tell the newest state; "ready" follows when one can
    again, after what was missed. A change that is read late is printed as it is by then: there is
    no queue. The command runs until Ctrl-C, --count or --timeout.
    """
    deadline = Deadline(timeout)
    changes = 0
    started = False
    with suppress(KeyboardInterrupt), open_fleet(context).watch() as watch:
        while count is None or changes < count:
            event = watch.next(deadline.left)
            if event is None:
                if count is not None or not changes:
                    sys.exit(EXIT_TIMEOUT)
                return
            if event.event == "ready" and not started:
                report_own_clock(watch.own_clock)
            first = not started and event.event in ("present", "ready")
            started = started or event.event == "ready"
            if not _is_wanted(event, hosts, parts) or (first and not initial):
                continue
            changes += event.event in _CHANGES
            if as_json:
                print_text_of_json(msgspec.json.encode(event).decode())
            else:
                stamp = f"{datetime.now(UTC):%Y-%m-%d %H:%M:%S.%f}"[:-3] + "+0000: "
                click.echo((stamp if timestamp else "") + line_of(event))
            sys.stdout.flush()
            if is_abandoned():
                return


def _is_wanted(event: FleetEvent, hosts: tuple[str, ...], parts: tuple[str, ...]) -> bool:
    if event.host is not None and hosts and event.host not in hosts:
        return False
    if event.event == "changed" and parts:
        return not set(parts).isdisjoint(event.parts)
    return True


def line_of(event: FleetEvent) -> str:
    """Return an event as a line of text."""
    if event.event == "unreachable":
        return printable(f"unreachable ({event.reason})")
    state = "" if event.state in (None, "alive") else f" ({event.state})"
    parts = f" ({', '.join(event.parts)})" if event.parts else ""
    return printable(f"{event.event:<7} {event.host or ''}{state}{parts}".rstrip())
