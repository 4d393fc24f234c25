"""nodedevctl events: changes as they happen."""

from __future__ import annotations

import sys
from contextlib import suppress
from datetime import UTC, datetime

import click

from nodedevd.cli.options import (
    EXIT_STATUS_WITH_TIMEOUT,
    EXIT_TIMEOUT,
    Context,
    cap_option,
    epilog,
    json_option,
    print_text_of_json,
    print_xml,
    report_lost,
    split_capabilities,
    state_mark,
    timeout_option,
)
from nodedevd.cli.output import is_abandoned
from nodedevd.client import Event, TimedOut
from nodedevd.client.deadline import Deadline
from nodedevd.text import printable

_CHANGES = ("added", "changed", "removed")


@click.command(
    epilog=epilog(
        "Examples: all changes with their time; the next mdev that is created, as XML",
        "nodedevctl events --timestamp",
        "nodedevctl events --cap mdev_child --event added --count 1 --xml",
        exit_status=EXIT_STATUS_WITH_TIMEOUT,
    )
)
@cap_option
@click.option(
    "--device", "names", multiple=True, metavar="DEVICE", help="Only this device; may be repeated."
)
@click.option(
    "--event",
    "kinds",
    multiple=True,
    type=click.Choice(_CHANGES),
    help="Only events of this kind; may be repeated.",
)
@click.option(
    "--initial", is_flag=True, help='First print the present devices as "present", then "ready".'
)
@click.option("--count", type=click.IntRange(min=1), metavar="N", help="Exit after N changes.")
@timeout_option
@click.option("--timestamp", is_flag=True, help="Print the time (UTC) before each event.")
@click.option("--xml", "as_xml", is_flag=True, help="Print the XML of the device after each event.")
@json_option
@click.pass_obj
def events(
    context: Context,
    capabilities: tuple[str, ...],
    names: tuple[str, ...],
    kinds: tuple[str, ...],
    initial: bool,
    count: int | None,
    timeout: float | None,
    timestamp: bool,
    as_xml: bool,
    as_json: bool,
) -> None:
    """Print changes as they happen.

    Each line has the event (added, changed or removed), the device, its state if that is not
    active, and for a change the changed parts. With --json, each line is one JSON object. The
    command runs until Ctrl-C, --count or --timeout.

    "resync" means that changes were lost, because the daemon was restarted or this command read
    them too slowly: discard everything read before it.
    """
    deadline = Deadline(timeout)
    try:
        client = context.client(timeout)
    except TimedOut as error:
        click.echo(f"nodedevctl: {printable(str(error))}", err=True)
        sys.exit(EXIT_TIMEOUT)
    marks = ("present", "ready", "resync") if initial else ("resync",)
    changes = 0
    with (
        suppress(KeyboardInterrupt),  # Ctrl-C is the regular end, from the first moment on
        client.watch(
            capabilities=split_capabilities(capabilities),
            names=names or None,
            snapshot=initial,
            content="xml" if as_xml else "json" if as_json else "none",
            reconnect=True,
            on_lost=report_lost,
        ) as watch,
    ):
        while count is None or changes < count:
            event = watch.next(deadline.left)
            if event is None:
                if count is not None or not changes:
                    sys.exit(EXIT_TIMEOUT)
                return
            if event.event not in (*marks, *(kinds or _CHANGES)):
                continue
            if event.event in _CHANGES:
                changes += 1
            if as_json:
                print_text_of_json(watch.text.decode())
            else:
                click.echo(_stamp(timestamp) + line_of(event))
                print_xml(event.xml or "")
            sys.stdout.flush()
            if is_abandoned():
                return


def _stamp(wanted: bool) -> str:
    return f"{datetime.now(UTC):%Y-%m-%d %H:%M:%S.%f}"[:-3] + "+0000: " if wanted else ""


def line_of(event: Event) -> str:
    """Return an event as a line of text."""
    parts = f" ({', '.join(event.parts)})" if event.parts else ""
    line = f"{event.event:<7} {event.name or ''}{state_mark(event.state)}{parts}"
    return printable(line.rstrip())
