"""nodedevctl start: starts an mdev that is defined."""

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
        "Example:",
        "nodedevctl start 4b20d080-1b54-4048-85b3-a6a62d165c01",
        exit_status=EXIT_STATUS_OF_CHANGES,
    ),
)
@click.argument("device")
@parent_option
@change_options
@click.pass_obj
def start(
    context: Context, /, device: str, parent: str | None, as_json: bool, **options: Any
) -> None:
    """Start an mdev that is defined.

    The mdev is created, and the attributes of its definition are written. To start an mdev that
    is active already is success. nodedevctl list --inactive lists those that can be started.
    """
    outcome = carry_out(context, "start", name=device, parent=parent, **options)
    report(outcome, as_json=as_json)
