"""nodedevctl wait: ends when something is so."""

from __future__ import annotations

import sys

import click

from nodedevd.cli.options import (
    EXIT_STATUS_IN_TIME,
    EXIT_TIMEOUT,
    Context,
    cap_option,
    checked,
    epilog,
    timeout_option,
)
from nodedevd.client import TimedOut, at_least, available, present
from nodedevd.client import gone as is_gone
from nodedevd.text import printable


@click.command(
    epilog=epilog(
        "Examples: until all virtual functions of a card offer types; until a type is to be had",
        "nodedevctl wait --cap mdev_parent --count 16 --timeout 60",
        "nodedevctl wait --parent 0000:3b:00.4 --type nvidia-746 --available 1",
        "nodedevctl wait --gone mdev_83b8f4f2_509f_382f_3c1e_e6bfe0fa1001",
        exit_status=EXIT_STATUS_IN_TIME,
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
@timeout_option
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
