"""nodedevctl list: the names of devices."""

from __future__ import annotations

import click
import msgspec

from nodedevd.cli.options import (
    Context,
    cap_option,
    epilog,
    json_option,
    print_json,
    split_capabilities,
    state_mark,
)
from nodedevd.cli.tree_drawing import sort_key
from nodedevd.text import printable


@click.command(
    "list",
    epilog=epilog(
        "Example: the devices that can be divided into mediated devices",
        "nodedevctl list --cap mdev_parent",
    ),
)
@cap_option
@click.option(
    "--inactive",
    is_flag=True,
    help="List only inactive mdevs: mdevctl has a definition, the device does not exist.",
)
@click.option("--all", "all_devices", is_flag=True, help="Also list inactive mdevs.")
@json_option
@click.pass_obj
def list_command(
    context: Context,
    capabilities: tuple[str, ...],
    inactive: bool,
    all_devices: bool,
    as_json: bool,
) -> None:
    """List the names of devices, one a line.

    With --all, the state of a device that is not active follows its name, in parentheses.
    """
    if inactive and all_devices:
        raise click.UsageError("--inactive and --all exclude each other; give one of them")
    found = context.brief_source().list(split_capabilities(capabilities))
    if not all_devices:
        devices = tuple(
            [entry for entry in found.devices if (entry.state == "inactive") is inactive]
        )
        found = msgspec.structs.replace(found, devices=devices)
    if as_json:
        print_json(msgspec.json.encode(found))
        return
    for entry in sorted(found.devices, key=lambda one: sort_key(one.name)):
        mark = state_mark(entry.state) if all_devices else ""
        click.echo(printable(f"{entry.name}{mark}"))
