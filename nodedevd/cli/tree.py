"""nodedevctl tree: the devices below their parents."""

from __future__ import annotations

import click

from nodedevd.cli.options import Context, epilog
from nodedevd.cli.tree_drawing import draw
from nodedevd.text import printable


@click.command(epilog=epilog("Example:", "nodedevctl --sysroot / tree"))
@click.option("--all", "all_devices", is_flag=True, help="Also draw inactive mdevs.")
@click.pass_obj
def tree(context: Context, all_devices: bool) -> None:
    """Draw the device tree.

    The layout is that of virsh nodedev-list --tree. The vGPU profile that is set on a virtual
    function follows the name of the function, in brackets.
    """
    entries = [one for one in context.source().list().devices if all_devices or one.active]
    labels = {one.name: printable(f"[{one.profile}]") for one in entries if one.profile is not None}
    click.echo(draw({one.name: one.parent for one in entries}, labels), nl=False)
