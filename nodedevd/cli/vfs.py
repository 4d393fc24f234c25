"""nodedevctl vfs: the number of virtual functions of a card."""

from __future__ import annotations

from typing import Any

import click

from nodedevd.cli.changing import EXIT_STATUS_OF_CHANGES, carry_out, change_options, report
from nodedevd.cli.options import Context, ControlCommand, epilog


@click.command(
    cls=ControlCommand,
    epilog=epilog(
        "Examples: what enabling four would do; disable all",
        "nodedevctl vfs 0000:3b:00.0 4 --dry-run",
        "nodedevctl vfs 0000:3b:00.0 0",
        exit_status=EXIT_STATUS_OF_CHANGES,
    ),
)
@click.argument("card")
@click.argument("number", type=click.IntRange(min=0))
@change_options
@click.pass_obj
def vfs(context: Context, /, card: str, number: int, as_json: bool, **options: Any) -> None:
    """Set the number of virtual functions of a card.

    NUMBER is at most the device's limit; 0 disables them. To get from one number to another, all
    virtual functions are disabled in between. The change is refused while one of them is open,
    has a vGPU, or is in use by this host. On an NVIDIA card with vGPUs, NVIDIA's sriov-manage is
    run, which enables all or none.
    """
    outcome = carry_out(context, "set-virtual-functions", name=card, number=number, **options)
    report(outcome, as_json=as_json)
