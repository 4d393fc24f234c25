"""nodedevctl bind: binds a device to a driver."""

from __future__ import annotations

from typing import Any

import click

from nodedevd.cli.changing import EXIT_STATUS_OF_CHANGES, carry_out, change_options, report
from nodedevd.cli.options import Context, ControlCommand, epilog


@click.command(
    cls=ControlCommand,
    epilog=epilog(
        "Example: hand a function and all of its IOMMU group to VFIO",
        "nodedevctl bind 0000:3b:00.0 vfio-pci --group",
        exit_status=EXIT_STATUS_OF_CHANGES,
    ),
)
@click.argument("device")
@click.argument("driver")
@click.option(
    "--group", is_flag=True, default=None, help="Also bind the other devices of its IOMMU group."
)
@change_options
@click.pass_obj
def bind(
    context: Context, /, device: str, driver: str, group: bool | None, as_json: bool, **options: Any
) -> None:
    """Bind a device to a driver.

    DRIVER must be loaded. The device is unbound from its present driver, and bound to that again
    if the new one fails. The change is refused while the device is open, or in use by this host:
    mounted, swap space, an interface with an address or in a bridge. It lasts until the host
    reboots.
    """
    outcome = carry_out(context, "bind", name=device, driver=driver, group=group, **options)
    report(outcome, as_json=as_json)
