"""nodedevctl events: changes as they happen."""

from __future__ import annotations

import sys
from contextlib import suppress
from datetime import UTC, datetime

import click

from nodedevd.cli.options import (
    EXIT_STATUS_IN_TIME,
    EXIT_TIMEOUT,
    Context,
    cap_option,
    checked,
    epilog,
    json_option,
    timeout_option,
)
from nodedevd.client import Event
from nodedevd.client.deadline import Deadline

_CHANGES = ("added", "changed", "removed")


@click.command(
    epilog=epilog(
        "Examples: all changes with their time; the next mdev that is created, as XML",
        "nodedevctl events --timestamp",
        "nodedevctl events --cap mdev_child --event added --count 1 --xml",
        exit_status=EXIT_STATUS_IN_TIME,
    )
)
@cap_option
@click.option("--device", "names", multiple=True, metavar="DEVICE", help="Only this device.")
@click.option(
    "--event",
    "kinds",
    multiple=True,
    type=click.Choice(_CHANGES),
    help="Only such events; may be repeated.",
)
@click.option("--initial", is_flag=True, help="Begin with the devices there are: present, ready.")
@click.option("--count", type=click.IntRange(min=1), metavar="N", help="End after N events.")
@timeout_option
@click.option("--timestamp", is_flag=True, help="Put the time (UTC) in front of each event.")
@click.option("--xml", "as_xml", is_flag=True, help="Print the device's XML after each event.")
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
    """Print changes as they happen, until Ctrl-C, --count or --timeout.

    One line an event: added, changed or removed, the device, and for a change what is different.
    With --json one JSON object a line. "resync" means that changes were lost, because this
    command was too slow to read them: what was known before is worth nothing.
    """
    watch = context.client().watch(
        capabilities=checked(capabilities),
        names=names or None,
        snapshot=initial,
        content="xml" if as_xml else "json" if as_json else "none",
    )
    deadline = Deadline(timeout)
    marks = ("present", "ready", "resync") if initial else ("resync",)
    seen = 0
    with watch, suppress(KeyboardInterrupt):
        while count is None or seen < count:
            event = watch.next(deadline.left)
            if event is None:
                if count is not None or not seen:
                    sys.exit(EXIT_TIMEOUT)
                return
            if event.event not in (*marks, *(kinds or _CHANGES)):
                continue
            if event.event in _CHANGES:
                seen += 1
            click.echo(watch.text.decode() if as_json else _stamp(timestamp) + _line(event))
            if event.xml is not None and not as_json:
                click.echo(event.xml, nl=False)
            sys.stdout.flush()


def _stamp(wanted: bool) -> str:
    return f"{datetime.now(UTC):%Y-%m-%d %H:%M:%S.%f}"[:-3] + "+0000: " if wanted else ""


def _line(event: Event) -> str:
    parts = f" ({', '.join(event.parts)})" if event.parts else ""
    return f"{event.event:<7} {event.name or ''}{parts}".rstrip()
