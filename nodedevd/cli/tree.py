"""nodedevctl tree: the devices below their parents."""

from __future__ import annotations

import click

from nodedevd.cli.options import Context, epilog
from nodedevd.cli.tree_drawing import draw
from nodedevd.text import printable


@click.command(epilog=epilog("Example:", "nodedevctl --sysroot / tree"))
@click.option("--all", "everything", is_flag=True, help="Also mdevs that are only defined.")
@click.pass_obj
def tree(context: Context, everything: bool) -> None:
    """Draw the devices that are there below their parents."""
    shown = [one for one in context.source().list().devices if everything or one.active]
    labels = {one.name: printable(f"[{one.profile}]") for one in shown if one.profile is not None}
    click.echo(draw({one.name: one.parent for one in shown}, labels), nl=False)
