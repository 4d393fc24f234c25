"""nodedevctl list: the names of devices."""

from __future__ import annotations

import click
import msgspec

from nodedevd.cli.options import Context, cap_option, checked, epilog, json_option, print_json
from nodedevd.cli.tree_drawing import sort_key


@click.command(
    "list",
    epilog=epilog(
        "Example: everything that can be divided into mediated devices",
        "nodedevctl list --cap mdev_parent",
    ),
)
@cap_option
@click.option("--inactive", is_flag=True, help="Only mdevs that are defined, but not there.")
@click.option("--all", "everything", is_flag=True, help="These, too.")
@json_option
@click.pass_obj
def list_command(
    context: Context,
    capabilities: tuple[str, ...],
    inactive: bool,
    everything: bool,
    as_json: bool,
) -> None:
    """List the names of devices that are there."""
    if inactive and everything:
        raise click.UsageError("give --inactive or --all")
    found = context.source().list(checked(capabilities))
    if not everything:
        devices = tuple([entry for entry in found.devices if entry.active is not inactive])
        found = msgspec.structs.replace(found, devices=devices)
    if as_json:
        print_json(msgspec.json.encode(found))
        return
    for name in sorted((entry.name for entry in found.devices), key=sort_key):
        click.echo(name)
