"""nodedevctl fits: the cards that have room for vGPUs of a type."""

from __future__ import annotations

import sys

import click
import msgspec

from nodedevd.cli.options import EXIT_NO, EXIT_STATUS, Context, epilog, json_option, print_json
from nodedevd.questions.fits import COUNT_AT_MOST, Card, Fits
from nodedevd.text import printable, table


@click.command(
    epilog=epilog(
        "Examples: is there room for two; the function to create the next one on",
        "nodedevctl fits --type 'NVIDIA A2-4Q' --count 2",
        "nodedevctl fits --type A2-4Q --json | jq -r '.cards[0].places[0].device'",
        exit_status=f"{EXIT_STATUS.removesuffix('.')}, 5 they do not fit, or not for sure.",
    )
)
@click.option("--type", "kind", required=True, metavar="TYPE", help="ID or name of the vGPU type.")
@click.option(
    "--count",
    type=click.IntRange(1, COUNT_AT_MOST),
    default=1,
    show_default=True,
    help="Number of vGPUs.",
)
@json_option
@click.pass_obj
def fits(context: Context, kind: str, count: int, as_json: bool) -> None:
    """Show which cards have room for vGPUs of a type.

    In a type's name, case does not matter, blanks, dashes and underscores are equal, and the
    vendor's word (GRID, NVIDIA) may be left out.

    AVAILABLE is the largest number of vGPUs that a card may still take, SURE the number that
    fits for certain: all functions of a card share its memory, and not every driver reports how
    much is left. ACTIVE is the number of vGPUs of this type that exist, CEILING the number that
    an otherwise empty card takes.
    """
    found = context.source().fits(kind, count)
    if as_json:
        print_json(msgspec.json.encode(found))
    else:
        heading = (
            *("CARD", "TYPE", "NAME", "AVAILABLE", "SURE", "ACTIVE", "CEILING", "WHERE"),
            "WHY NOT",
        )
        click.echo(table(heading, [_row(card) for card in found.cards]), nl=False)
        click.echo(printable(_answer(found)))
    if found.answer != "yes":
        sys.exit(EXIT_NO)


def _row(card: Card) -> tuple[str, ...]:
    types = dict.fromkeys(place.type for place in card.places)
    names = dict.fromkeys(place.name for place in card.places if place.name is not None)
    free = [place.device for place in card.places if place.available]
    more = f" +{len(free) - 1}" if len(free) > 1 else ""
    return (
        card.card,
        ", ".join(types) or "-",
        ", ".join(names) or "-",
        "unknown" if card.available is None else str(card.available),
        str(card.certain),
        str(card.active),
        "-" if card.ceiling is None else str(card.ceiling),
        f"{free[0]}{more}" if free else "-",
        _why_not(card),
    )


def _why_not(card: Card) -> str:
    others = ", ".join(card.others)
    match card.reason:
        case None:
            return "-"
        case "not-offered":
            return "the card has no such type"
        case "not-listed":
            return f"not listed beside {others}"
        case "other-profile-active":
            return f"{others} active"
        case "full":
            return "full"
        case "none-available":
            return "the driver reports none available"
        case "no-vf-enabled":
            return "no virtual function is enabled"
        case "unknown":
            return "the available count cannot be read"


def _answer(found: Fits) -> str:
    wanted = f"{found.count} x {found.type}"
    match found.answer:
        case "yes":
            return f"yes: {wanted} fits" if found.count == 1 else f"yes: {wanted} fit"
        case "perhaps":
            sure = sum(card.certain for card in found.cards)
            return f"perhaps: {wanted} may fit, {sure} for certain"
        case "no":
            most = sum(card.available or 0 for card in found.cards)
            return (
                f"no: at most {most} x {found.type} fit"
                if most
                else f"no: {found.type} fits nowhere"
            )
