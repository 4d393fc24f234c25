"""nodedevctl show: devices as JSON."""

from __future__ import annotations

import click

from nodedevd.cli.options import Context, always_json_option, epilog, names_or_all, print_json


@click.command(
    epilog=epilog(
        "Example: the types that a device offers",
        "nodedevctl show 0000:3b:00.0 | jq '.devices[].capabilities[].types?'",
    )
)
@click.argument("devices", metavar="[DEVICE]...", nargs=-1)
@click.option("--all", "all_devices", is_flag=True, help="Print all devices.")
@always_json_option
@click.pass_obj
def show(context: Context, devices: tuple[str, ...], all_devices: bool) -> None:
    """Print devices as JSON.

    One device or several are printed as one document, with the generation and an array of
    devices. docs/json.md describes the members; nodedevctl schema prints the JSON Schema.
    """
    print_json(context.source().snapshot_json(names_or_all(devices, all_devices)))
