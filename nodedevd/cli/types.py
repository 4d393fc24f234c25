"""nodedevctl types: the vGPU types of each card, by either framework, and what is free."""

from __future__ import annotations

from itertools import groupby

import click
import msgspec

from nodedevd.cli.card_types import folded, types_of_card
from nodedevd.cli.options import Context, epilog, json_option, print_json
from nodedevd.text import printable


@click.command(
    epilog=epilog(
        "Examples: what is free on each card; all functions of one card",
        "nodedevctl types --available",
        "nodedevctl types 0000:3b:00.4 --functions",
    )
)
@click.argument("devices", metavar="[DEVICE]...", nargs=-1)
@click.option(
    "--card",
    "cards",
    metavar="CARD",
    multiple=True,
    help="Only this card; may be repeated. Any of its functions may be given instead.",
)
@click.option(
    "--available", is_flag=True, help="Only types that can be created, or may be: not 0 AVAILABLE."
)
@click.option("--functions", is_flag=True, help="Also list the functions that offer each type.")
@json_option
@click.pass_obj
def types(
    context: Context,
    devices: tuple[str, ...],
    cards: tuple[str, ...],
    available: bool,
    functions: bool,
    as_json: bool,
) -> None:
    """List the vGPU types of each card, and what is free.

    A card is a physical function with its virtual functions, or another mdev parent. The types
    are those of mdev parents and the profiles of functions with NVIDIA's vendor VFIO. DEVICE is
    a card, or any function or mdev of it; without DEVICE, all cards are listed, with the reason
    for each that should offer vGPUs and offers none.

    AVAILABLE is the largest number of vGPUs that the card may still take, SURE the number that
    fits for sure, ACTIVE the number that exists, DEFINED the number of mdevs that are defined and
    not started, CEILING the number that an otherwise empty card takes, ON the number of functions
    that offer the type. "unknown" is a count that cannot be read. --json always has
    the functions.
    """
    source = context.source()
    names = [*devices, *cards] or None
    found = source.types(names)
    if available:
        kept = tuple([one for one in found.types if one.available != 0])
        found = msgspec.structs.replace(found, types=kept)
    for name in names or ():
        if not source.types([name]).types:
            click.echo(
                f"{printable(source.describe(name).name)} offers no vGPU types: it belongs neither"
                " to an mdev parent nor to a card with vendor VFIO",
                err=True,
            )
    if as_json:
        print_json(msgspec.json.encode(found))
        return
    if not found.types and names is None:
        none = "No type can be created." if available else "No device of this host offers vGPUs."
        click.echo(folded(none), nl=False)
    groups = [list(group) for _, group in groupby(found.types, key=lambda one: one.card)]
    text = "\n".join([types_of_card(group, functions=functions) for group in groups])
    click.echo(text, nl=False)
