"""nodedevctl remove: removes an mdev or a vGPU."""

from __future__ import annotations

from typing import Any

import click

from nodedevd.cli.changing import EXIT_STATUS_OF_CHANGES, carry_out, change_options, report
from nodedevd.cli.options import Context, ControlCommand, epilog


@click.command(
    cls=ControlCommand,
    epilog=epilog(
        "Examples: what was made for an owner; an mdev that a script made by hand",
        "nodedevctl remove 4b20d080-1b54-4048-85b3-a6a62d165c01 --owner guest1",
        "nodedevctl remove pci_0000_26_00_7 --force",
        exit_status=EXIT_STATUS_OF_CHANGES,
    ),
)
@click.argument("device")
@change_options
@click.pass_obj
def remove(context: Context, /, device: str, as_json: bool, **options: Any) -> None:
    """Remove an mdev, or the vGPU profile of a function.

    DEVICE must not be open, and must have been made here for the same owner, or without one;
    --force overrides both. A driver waits with the removal of a device that is open until it
    is closed, so --force may leave the card busy for as long as the VM runs. A definition of
    the mdev stays; see undefine.
    """
    report(carry_out(context, "remove", name=device, **options), as_json=as_json)
