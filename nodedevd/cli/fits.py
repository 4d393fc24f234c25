"""nodedevctl fits: the cards that have room for vGPUs of a type."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from itertools import groupby

import click
import msgspec

from nodedevd.cli.card_types import COUNTS, counts, folded, indented, types_of_card
from nodedevd.cli.options import EXIT_NO, EXIT_STATUS, Context, epilog, json_option, print_json
from nodedevd.questions.count import COUNT_AT_MOST
from nodedevd.questions.fits import CardType, Fits
from nodedevd.questions.why_not import why_not


@click.command(
    epilog=epilog(
        "Examples: is there room for two; the function to create the next one on",
        "nodedevctl fits --type 'NVIDIA A2-4Q' --count 2",
        "nodedevctl fits --type A2-4Q --json | jq -r '.cards[0].functions[0].name'",
        exit_status=f"{EXIT_STATUS.removesuffix('.')}, 5 they do not fit, or not for sure, 6 no"
        " device offers such a type.",
    )
)
@click.argument("devices", metavar="[DEVICE]...", nargs=-1)
@click.option(
    "--type", "kind", metavar="TYPE", help="ID or name of the vGPU type. [default: all types]"
)
@click.option(
    "--count",
    type=click.IntRange(1, COUNT_AT_MOST),
    default=1,
    show_default=True,
    help="Number of vGPUs.",
)
@json_option
@click.pass_obj
def fits(
    context: Context, devices: tuple[str, ...], kind: str | None, count: int, as_json: bool
) -> None:
    """Show which cards have room for vGPUs of a type, or each type.

    TYPE is an ID (nvidia-1151, or 1151 alone), a name (NVIDIA L40S-8Q), or a short form of it
    (L40S-8Q; DC-1-3Q for NVIDIA RTX Pro 6000 Blackwell DC-1-3Q). Case does not matter, and
    blanks, dashes and underscores are equal. DEVICE is a card, or any function or mdev of it;
    without DEVICE, all cards are considered.

    AVAILABLE is the largest number of vGPUs that a card may still take, SURE the number that
    fits for sure: all functions of a card share its memory, and not every driver reports how
    much is left. ACTIVE is the number of vGPUs of this type that exist, CEILING the number that
    an otherwise empty card takes. DEFINED is the number of mdevs of the type that are defined and
    not started. docs/capacity.md explains how they are counted.
    """
    found = context.source().fits(kind, count, names=devices or None)
    if as_json:
        print_json(msgspec.json.encode(found))
    elif kind is None:
        groups = [list(group) for _, group in groupby(found.cards, key=lambda one: one.card)]
        click.echo("\n".join(map(types_of_card, groups)), nl=False)
        click.echo(folded(_answer_for_all(found)), nl=False)
    else:
        for card in found.cards:
            click.echo(_card(card), nl=False)
        click.echo(folded(_answer(found, kind)), nl=False)
    if found.answer != "yes":
        sys.exit(EXIT_NO)


def _card(card: CardType) -> str:
    """Return a card: its counts, and on which functions there is room, or why there is none."""
    if card.type is None:
        return folded(f"{card.card}: {why_not(card)}")
    row = (card.type, *counts(card), card.type_name or "-")
    counted = indented(("TYPE", *COUNTS, "NAME"), [row])
    return folded(f"{card.card}: {_where(card)}") + counted


def _where(card: CardType) -> str:
    if card.reason is not None:
        return why_not(card)
    free = [place.name for place in card.functions if place.available]
    if free == [card.card]:
        return f"room for {_most(card.available, card.sure)}"
    more = f" and {len(free) - 1} more functions" if len(free) > 1 else ""
    return f"room for {_most(card.available, card.sure)}, on {free[0]}{more}"


def _most(available: int | None, sure: int) -> str:
    """Return how many fit, in words."""
    if available is None:
        return f"an unknown number, {sure} for sure"
    return str(sure) if available == sure else f"at most {available}, {sure} for sure"


def _answer(found: Fits, kind: str) -> str:
    wanted = f"{found.count} x {kind}"
    sure = sum(card.sure for card in found.cards)
    if found.answer == "yes":
        return f"yes: {wanted} fits" if found.count == 1 else f"yes: {wanted} fit"
    if any(card.available is None for card in found.cards):
        return f"perhaps: {wanted} may fit, {sure} for sure; not every count can be read"
    most = sum(card.available or 0 for card in found.cards)
    if not most:
        return f"no: {kind} fits nowhere"
    but = f", {sure} for sure" if sure < most else ""
    return f"{found.answer}: at most {most} x {kind} fit{but}"


def _answer_for_all(found: Fits) -> str:
    best = [_name(card) for card in found.cards if card.sure >= found.count]
    if best:
        return f"yes: {found.count} for sure of {_list(best)}"
    if found.answer == "yes":
        return f"yes: {found.count} of one type for sure, on several cards"
    possible = [
        _name(card)
        for card in found.cards
        if card.available is None or card.available >= found.count
    ]
    if found.answer == "perhaps":
        return f"perhaps: {found.count} may fit" + (f" of {_list(possible)}" if possible else "")
    return f"no: {found.count} of one type fit nowhere"


def _name(card: CardType) -> str:
    return card.type_name or card.type or card.card


def _list(names: Sequence[str]) -> str:
    return ", ".join(dict.fromkeys(names))
