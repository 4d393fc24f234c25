"""nodedevctl undefine: removes a definition of mdevctl."""

from __future__ import annotations

from typing import Any

import click

from nodedevd.cli.changing import (
    EXIT_STATUS_OF_CHANGES,
    carry_out,
    change_options,
    parent_option,
    report,
)
from nodedevd.cli.options import Context, ControlCommand, epilog


@click.command(
    cls=ControlCommand,
    epilog=epilog(
        "Example: one of two definitions with the same UUID",
        "nodedevctl undefine --parent mtty 4b20d080-1b54-4048-85b3-a6a62d165c01",
        exit_status=EXIT_STATUS_OF_CHANGES,
    ),
)
@click.argument("device")
@parent_option
@change_options
@click.pass_obj
def undefine(
    context: Context, /, device: str, parent: str | None, as_json: bool, **options: Any
) -> None:
    """Remove the definition of an mdev.

    An active mdev continues, until it is stopped or the host reboots. Definitions of the same
    UUID on other parents stay.
    """
    outcome = carry_out(context, "undefine", name=device, parent=parent, **options)
    report(outcome, as_json=as_json)
