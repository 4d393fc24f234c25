"""nodedevctl draw: a picture of the host, as SVG."""

from __future__ import annotations

import os
from typing import get_args

import click
import msgspec

from nodedevd.cli.options import Context, epilog, json_option, print_json, print_xml, progress
from nodedevd.client import Client
from nodedevd.drawing.request import NARROWEST, WIDEST, WIDTH, Drawing, DrawRequest, Theme
from nodedevd.host.sysroot import Sysroot


@click.command(
    epilog=epilog(
        "Examples: this host; one card, for a dark page; a recording",
        "nodedevctl draw --output host.svg",
        "nodedevctl draw --card 0000:3b:00.0 --theme dark --width 640 -o card.svg",
        "nodedevctl --sysroot host.ttar draw > host.svg",
    )
)
@click.option(
    "-o",
    "--output",
    type=click.Path(dir_okay=False, allow_dash=True),
    metavar="FILE",
    default="-",
    help="Write the picture to FILE, and replace one that is there. [default: standard output]",
)
@click.option(
    "--card",
    metavar="DEVICE",
    help="Draw only the card that DEVICE belongs to: a card, or any function or mdev of it.",
)
@click.option(
    "--theme",
    type=click.Choice(get_args(Theme)),
    default="auto",
    show_default=True,
    help="Colours; auto follows the browser that shows the picture.",
)
@click.option(
    "--width",
    type=click.IntRange(NARROWEST, WIDEST),
    default=WIDTH,
    show_default=True,
    help="Width in pixels; letters keep their size.",
)
@json_option
@click.pass_obj
def draw(
    context: Context, output: str, card: str | None, theme: Theme, width: int, as_json: bool
) -> None:
    """Draw this host and its vGPUs as an SVG picture.

    A card is a panel: where it is, its memory with a slice for each vGPU, what still fits, and
    its virtual functions. What `nodedevctl doctor` finds stands at the top. A host without vGPUs
    shows its SR-IOV cards, network interfaces and disks instead. Run it as root to see which
    vGPUs are open, and by which VM. docs/drawing.md explains the picture.

    With --json, the picture is a text in JSON, with the generation of the tree.
    """
    request = DrawRequest(width=width, theme=theme, card=card)
    source = context.source()
    drawing = source.draw(request)
    if isinstance(source, Client) and drawing.unseen_processes:
        drawing = _drawn_here(source, request) or drawing
    if as_json:
        print_json(msgspec.json.encode(drawing))
    elif output == "-":
        print_xml(drawing.svg)
    else:
        with open(output, "w", encoding="utf-8") as file:
            file.write(drawing.svg)


def _drawn_here(client: Client, request: DrawRequest) -> Drawing | None:
    """Draw the daemon's devices with this process's look at who has them open.

    The daemon usually may not see the open files of other users' processes; root may. Returns
    None if the daemon serves another host.
    """
    if client.status().sysroot != "/":
        return None
    # What a daemon that sees all processes saves.
    from nodedevd.cli.picture import picture_of
    from nodedevd.drawing.words import title_of
    from nodedevd.follow.in_time import read_in_time
    from nodedevd.follow.shared_look import look_in_time
    from nodedevd.host.facts import read_host
    from nodedevd.model.snapshot import Snapshot

    sysroot = Sysroot()
    usage = look_in_time(sysroot, progress("reading processes"))
    facts, hanging = read_in_time(sysroot, read_host)
    devices = client.snapshot()
    return picture_of(
        Snapshot(devices.devices, generation=devices.generation),
        request,
        title=title_of("/", os.uname().nodename),
        facts=facts,
        usage=usage,
        hanging=hanging,
    )
