"""nodedevctl control: the state of the control service, and whose the devices of a host are."""

from __future__ import annotations

import click
import msgspec

from nodedevd.cli.changing import service_or_this_process
from nodedevd.cli.options import Context, ControlCommand, epilog, json_option, print_json


@click.command(
    cls=ControlCommand,
    epilog=epilog(
        "Examples: the state; the devices of one owner",
        "nodedevctl control",
        "nodedevctl control --json | jq '.devices[] | select(.owner == \"guest1\")'",
        exit_status="Exit status: 0 success, 1 failure, 2 wrong usage, 3 no control service"
        " answers.",
    ),
)
@json_option
@click.pass_obj
def control(context: Context, as_json: bool) -> None:
    """Show the state of the control service, and whose devices are.

    Changes in progress are listed, those that a driver has not answered, and what is left of
    changes that failed and could not be undone altogether.

    ORIGIN is who made a device: client, a client of the service; definition, a start of one of
    mdevctl's definitions; domain, a hook of a VM; layout, the layout of the host; other,
    somebody else. All mdevs and vGPUs are listed, and what else nodedevd has made; inactive
    mdevs, too, as definition.
    """
    from nodedevd.cli.control_report import ControlReport, text  # slow to import

    asked = service_or_this_process(context, may_plan=False)
    made = asked.list()
    report = ControlReport(
        generation=made.generation,
        socket=asked.path,
        service=asked.get_status(),
        devices=made.devices,
    )
    if as_json:
        print_json(msgspec.json.encode(report))
    else:
        click.echo(text(report), nl=False)
