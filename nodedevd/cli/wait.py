"""nodedevctl wait: blocks until a condition holds."""

from __future__ import annotations

import sys

import click
import msgspec

from nodedevd.cli.never import never_available, never_gone, never_named, refusing
from nodedevd.cli.options import (
    EXIT_STATUS_WITH_TIMEOUT,
    EXIT_TIMEOUT,
    Context,
    cap_option,
    epilog,
    print_json,
    report_lost,
    split_capabilities,
    timeout_option,
)
from nodedevd.client import TimedOut, at_least, available, present
from nodedevd.client import gone as is_gone
from nodedevd.client.conditions import ANSWER_SECONDS
from nodedevd.client.deadline import Deadline
from nodedevd.text import printable


@click.command(
    epilog=epilog(
        "Examples: functions offer types; a type is available; an mdev is gone; layout",
        "nodedevctl wait --cap mdev_parent --count 16 --timeout 60",
        "nodedevctl wait --parent 0000:3b:00.4 --type nvidia-746 --available 1",
        "nodedevctl wait --gone mdev_83b8f4f2_509f_382f_3c1e_e6bfe0fa1001",
        "nodedevctl wait --layout --timeout 90",
        exit_status=EXIT_STATUS_WITH_TIMEOUT,
    )
)
@cap_option
@click.option(
    "--count",
    type=click.IntRange(min=1),
    default=1,
    show_default=True,
    metavar="N",
    help="With --cap: wait for at least N devices.",
)
@click.option(
    "--device",
    metavar="DEVICE",
    help="Wait until this device is present; an mdev must be complete.",
)
@click.option("--gone", metavar="DEVICE", help="Wait until this device is not present.")
@click.option(
    "--parent",
    metavar="DEVICE",
    help="With --type: an mdev parent, or a virtual function with vendor VFIO.",
)
@click.option(
    "--type", "type_id", metavar="TYPE", help="With --parent: ID or name of the vGPU type."
)
@click.option(
    "--available",
    "instances",
    type=click.IntRange(min=0),
    default=1,
    show_default=True,
    metavar="N",
    help="With --type: wait until at least N instances can be created.",
)
@click.option(
    "--layout",
    "of_layout",
    is_flag=True,
    help="Wait until this host offers what /etc/nodedevd/layout.d declares.",
)
@timeout_option
@click.option(
    "--json", "as_json", is_flag=True, help="Print the devices that were waited for as JSON."
)
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
    of_layout: bool,
    timeout: float | None,
    as_json: bool,
) -> None:
    """Wait until devices are present or gone, or a type is available.

    Give one condition: --cap, --device, --gone, --layout, or --parent with --type. If it holds,
    the command exits at once. It cannot miss a change, because it reads the present devices
    and all changes from one stream. It goes on when the daemon is restarted, and fails at once
    if the condition can never come true on this host.
    """
    given = [bool(capabilities), device is not None, gone is not None, parent is not None]
    if sum([*given, of_layout]) != 1 or (parent is None) != (type_id is None):
        text = "give one of --cap, --device, --gone, --layout, or --parent with --type"
        raise click.UsageError(text)
    if capabilities:
        condition = at_least(count, *(split_capabilities(capabilities) or ()))
    elif device is not None:
        condition = refusing(present(device), never_named(device))
    elif gone is not None:
        condition = refusing(is_gone(gone), never_gone(gone))
    elif of_layout:
        from nodedevd.cli.layout_wait import as_declared  # slow to import

        seconds = None if timeout is None else max(timeout, ANSWER_SECONDS)
        condition = as_declared(context.client(seconds).status().sysroot)
    else:
        assert parent is not None
        assert type_id is not None
        condition = refusing(
            available(parent, type_id, instances), never_available(parent, type_id, instances)
        )
    deadline = Deadline(timeout)
    try:
        found = context.client(timeout).wait_for_list(
            condition, deadline.left, reconnect=True, on_lost=report_lost
        )
    except TimedOut as error:
        error.seconds = timeout or 0
        click.echo(f"nodedevctl: {printable(str(error))}", err=True)
        sys.exit(EXIT_TIMEOUT)
    if as_json:
        print_json(msgspec.json.encode(found))
