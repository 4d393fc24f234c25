"""nodedevctl stop: stops an mdev that is defined."""

from __future__ import annotations

from typing import Any

import click

from nodedevd.cli.changing import EXIT_STATUS_OF_CHANGES, carry_out, change_options, report
from nodedevd.cli.options import Context, ControlCommand, epilog


@click.command(
    cls=ControlCommand,
    epilog=epilog(
        "Example:",
        "nodedevctl stop 4b20d080-1b54-4048-85b3-a6a62d165c01",
        exit_status=EXIT_STATUS_OF_CHANGES,
    ),
)
@click.argument("device")
@change_options
@click.pass_obj
def stop(context: Context, /, device: str, as_json: bool, **options: Any) -> None:
    """Stop an mdev that is defined.

    The mdev is removed, under the conditions of remove, and its definition stays. To stop an
    mdev that is not active is success.
    """
    report(carry_out(context, "stop", name=device, **options), as_json=as_json)
