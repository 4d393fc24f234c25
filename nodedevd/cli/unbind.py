"""nodedevctl unbind: gives a device back to the host."""

from __future__ import annotations

from typing import Any

import click

from nodedevd.cli.changing import EXIT_STATUS_OF_CHANGES, carry_out, change_options, report
from nodedevd.cli.options import Context, ControlCommand, epilog


@click.command(
    cls=ControlCommand,
    epilog=epilog(
        "Example: the function and the rest of its IOMMU group, after the VM has ended",
        "nodedevctl unbind 0000:3b:00.0 --group",
        exit_status=EXIT_STATUS_OF_CHANGES,
    ),
)
@click.argument("device")
@click.option(
    "--group",
    is_flag=True,
    default=None,
    help="Also give back the other devices of its IOMMU group.",
)
@change_options
@click.pass_obj
def unbind(
    context: Context, /, device: str, group: bool | None, as_json: bool, **options: Any
) -> None:
    """Give a device back to the host's driver.

    This undoes bind: the device is unbound from the driver for guests, such as vfio-pci, and the
    kernel binds it to the driver that matches it, if one is loaded. A device that has a driver of
    the host keeps it. The change is refused while the device is open.
    """
    outcome = carry_out(context, "unbind", name=device, group=group, **options)
    report(outcome, as_json=as_json)
