"""nodedevctl --fleet show: devices of a host as JSON."""

from __future__ import annotations

import click

from nodedevd.cli.fleet.common import EXIT_STATUS_OF_FLEETS
from nodedevd.cli.fleet.tree_of import tree_of
from nodedevd.cli.options import Context, always_json_option, epilog, names_or_all, print_json


@click.command(
    epilog=epilog(
        "Example:",
        "nodedevctl --fleet nats://127.0.0.1:4222 show kvm3 0000:3b:00.0",
        exit_status=EXIT_STATUS_OF_FLEETS,
    )
)
@click.argument("host")
@click.argument("devices", metavar="[DEVICE]...", nargs=-1)
@click.option("--all", "all_devices", is_flag=True, help="Print all devices.")
@always_json_option
@click.pass_obj
def show(context: Context, host: str, devices: tuple[str, ...], all_devices: bool) -> None:
    """Print devices of a host as JSON, as it has published them.

    The state of a host that is not alive is printed to standard error.
    """
    names = names_or_all(devices, all_devices)
    print_json(tree_of(context, host).snapshot_json(names))
