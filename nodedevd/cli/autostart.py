"""nodedevctl autostart: whether an mdev is started with its parent."""

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
        "Examples: from the next boot on; no longer",
        "nodedevctl autostart 4b20d080-1b54-4048-85b3-a6a62d165c01",
        "nodedevctl autostart 4b20d080-1b54-4048-85b3-a6a62d165c01 --disable",
        exit_status=EXIT_STATUS_OF_CHANGES,
    ),
)
@click.argument("device")
@click.option("--disable", is_flag=True, help="Do not start it with its parent.")
@parent_option
@change_options
@click.pass_obj
def autostart(
    context: Context,
    /,
    device: str,
    disable: bool,
    parent: str | None,
    as_json: bool,
    **options: Any,
) -> None:
    """Have an mdev that is defined started with its parent, or not.

    It is started whenever its parent appears: at boot, and also when virtual functions are
    enabled later. It is not started now; see start.
    """
    outcome = carry_out(
        context, "set-autostart", name=device, parent=parent, autostart=not disable, **options
    )
    report(outcome, as_json=as_json)
