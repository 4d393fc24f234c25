"""nodedevctl layout show: the layout of what a host has now."""

from __future__ import annotations

import tomllib

import click
import msgspec

from nodedevd.cli.layout_files import tree_of
from nodedevd.cli.options import Context, epilog, json_option, print_json
from nodedevd.layout.shown import By, layout_shown, layout_text


@click.command(
    epilog=epilog(
        "Examples: of all cards, to be kept; of one, named by where it is plugged in",
        "nodedevctl layout show > /etc/nodedevd/layout.d/host.toml",
        "nodedevctl layout show 0000:3b:00.0 --by slots",
    )
)
@click.argument("devices", metavar="[DEVICE]...", nargs=-1)
@click.option(
    "--by",
    type=click.Choice(("address", "slots", "model")),
    default="address",
    show_default=True,
    help="How cards are named: by PCI address, by the slots on the way to them, or by vendor and"
    " product; cards with mdevs, and those of a model that are not alike, have addresses then.",
)
@json_option
@click.pass_obj
def show(context: Context, devices: tuple[str, ...], by: By, as_json: bool) -> None:
    """Print a layout of what the host has now, as a file of layout.d.

    It changes nothing on this host as it is. Shown are cards with virtual functions, vGPUs,
    definitions of mdevs, or a VFIO driver; DEVICE is a card, or any function or mdev of it. What a
    layout cannot say is in comments.
    """
    text = layout_text(layout_shown(tree_of(context.source()), devices or None, by))
    if as_json:
        print_json(msgspec.json.encode(tomllib.loads(text)))
    else:
        click.echo(text, nl=False)
