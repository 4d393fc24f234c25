"""nodedevctl unbind: takes a device away from its driver."""

from __future__ import annotations

from typing import Any

import click

from nodedevd.cli.changing import EXIT_STATUS_OF_CHANGES, carry_out, change_options, report
from nodedevd.cli.options import Context, ControlCommand, epilog


@click.command(
    cls=ControlCommand,
    epilog=epilog(
        "Example:",
        "nodedevctl unbind 0000:3b:00.4",
        exit_status=EXIT_STATUS_OF_CHANGES,
    ),
)
@click.argument("device")
@click.option(
    "--group", is_flag=True, default=None, help="Also unbind the other devices of its IOMMU group."
)
@change_options
@click.pass_obj
def unbind(
    context: Context, /, device: str, group: bool | None, as_json: bool, **options: Any
) -> None:
    """Take a device away from its driver.

    It is refused under the conditions of bind.
    """
    outcome = carry_out(context, "unbind", name=device, group=group, **options)
    report(outcome, as_json=as_json)
