"""nodedevctl show: devices as JSON."""

from __future__ import annotations

import click

from nodedevd.cli.options import Context, epilog, names_or_all, print_json


@click.command(
    epilog=epilog(
        "Example: the types that a device offers",
        "nodedevctl show 0000:3b:00.0 | jq '.capabilities[] | .types? // empty'",
    )
)
@click.argument("devices", metavar="[DEVICE]...", nargs=-1)
@click.option("--all", "all_devices", is_flag=True, help="Print all devices.")
@click.pass_obj
def show(context: Context, devices: tuple[str, ...], all_devices: bool) -> None:
    """Print devices as JSON.

    One device is printed as an object. Several devices, or all, are printed as one document
    with an array. nodedevctl schema prints the JSON Schema.
    """
    source = context.source()
    names = names_or_all(devices, all_devices)
    if names is not None and len(names) == 1:
        print_json(source.describe_json(names[0]))
    else:
        print_json(source.snapshot_json(names))
