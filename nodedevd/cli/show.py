"""nodedevctl show: devices as JSON."""

from __future__ import annotations

import click

from nodedevd.cli.options import Context, epilog, named, print_json


@click.command(
    epilog=epilog(
        "Example: the types a device offers",
        "nodedevctl show 0000:3b:00.0 | jq '.capabilities[] | .types? // empty'",
    )
)
@click.argument("devices", metavar="[DEVICE]...", nargs=-1)
@click.option("--all", "everything", is_flag=True, help="All devices.")
@click.pass_obj
def show(context: Context, devices: tuple[str, ...], everything: bool) -> None:
    """Print devices as JSON.

    One device is printed as an object; several, or all, as one document with an array.
    """
    source = context.source()
    names = named(devices, everything)
    if names is not None and len(names) == 1:
        print_json(source.describe_json(names[0]))
    else:
        print_json(source.snapshot_json(names))
