"""nodedevctl events, nodedevctl wait: what follows the changes instead of asking once."""

from __future__ import annotations

import sys
from contextlib import suppress
from datetime import UTC, datetime

import click

from nodedevd.cli.options import EXIT_TIMEOUT, Context, cap_option, checked, epilog, json_option
from nodedevd.client import Event, TimedOut, at_least, available, present
from nodedevd.client import gone as is_gone
from nodedevd.client.deadline import Deadline
from nodedevd.text import printable

_EXIT_STATUS = """Exit status: 0 done, 1 failure, 2 wrong usage, 3 no daemon answers, 4 the time
ran out first."""
_CHANGES = ("added", "changed", "removed")

_timeout_option = click.option(
    "--timeout",
    type=click.FloatRange(min=0),
    metavar="SECONDS",
    help="Give up after this time; without it, never.",
)


@click.command(
    epilog=epilog(
        "Examples: all changes with their time; the next mdev that is created, as XML",
        "nodedevctl events --timestamp",
        "nodedevctl events --cap mdev_child --event added --count 1 --xml",
        exit_status=_EXIT_STATUS,
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
@_timeout_option
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


@click.command(
    epilog=epilog(
        "Examples: until all virtual functions of a card offer types; until a type is to be had",
        "nodedevctl wait --cap mdev_parent --count 16 --timeout 60",
        "nodedevctl wait --parent 0000:3b:00.4 --type nvidia-746 --available 1",
        "nodedevctl wait --gone mdev_83b8f4f2_509f_382f_3c1e_e6bfe0fa1001",
        exit_status=_EXIT_STATUS,
    )
)
@cap_option
@click.option(
    "--count",
    type=click.IntRange(min=1),
    default=1,
    show_default=True,
    metavar="N",
    help="With --cap: at least so many devices.",
)
@click.option("--device", metavar="DEVICE", help="Until this device is there; an mdev, complete.")
@click.option("--gone", metavar="DEVICE", help="Until this device is not there.")
@click.option("--parent", metavar="DEVICE", help="With --type: this mdev parent, or vGPU function.")
@click.option("--type", "type_id", metavar="TYPE", help="With --parent: id or name of a type.")
@click.option(
    "--available",
    "instances",
    type=click.IntRange(min=0),
    default=1,
    show_default=True,
    metavar="N",
    help="With --type: at least so many instances can be created.",
)
@_timeout_option
@click.pass_obj
def wait(
    context: Context,
    capabilities: tuple[str, ...],
    count: int,
    device: str | None,
    gone: str | None,
    parent: str | None,
    type_id: str | None,
    instances: int,
    timeout: float | None,
) -> None:
    """Wait until something is so: one of --cap, --device, --gone, or --parent with --type.

    It is true at once if it is so already, and misses nothing: what there is and what changes
    come in one stream.
    """
    asked = [bool(capabilities), device is not None, gone is not None, parent is not None]
    if sum(asked) != 1 or (parent is None) != (type_id is None):
        raise click.UsageError("ask for one of --cap, --device, --gone, or --parent with --type")
    if capabilities:
        condition = at_least(count, *(checked(capabilities) or ()))
    elif device is not None:
        condition = present(device)
    elif gone is not None:
        condition = is_gone(gone)
    else:
        assert parent is not None
        assert type_id is not None
        condition = available(parent, type_id, instances)
    try:
        context.client().wait_for(condition, timeout)
    except TimedOut as error:
        click.echo(f"nodedevctl: {printable(str(error))}", err=True)
        sys.exit(EXIT_TIMEOUT)
