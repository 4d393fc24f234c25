"""card_types: cards and their types as text, for `types` and `fits`."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Sequence

from nodedevd.questions.fits import CardType
from nodedevd.questions.why_not import why_not
from nodedevd.text import columns, fold, printable, table

_INDENT = "  "


def number(value: int | None) -> str:
    """Return a count as a cell; None is unknown."""
    return "unknown" if value is None else str(value)


def counts(card: CardType) -> tuple[str, ...]:
    """Return the cells of the columns COUNTS."""
    ceiling = "-" if card.ceiling is None else str(card.ceiling)
    return (
        number(card.available),
        str(card.sure),
        str(card.active),
        str(card.defined),
        ceiling,
    )


COUNTS = ("AVAILABLE", "SURE", "ACTIVE", "DEFINED", "CEILING")


def types_of_card(cards: Sequence[CardType], *, functions: bool = False) -> str:
    """Return the types of one card: a heading, and a line for each type.

    With `functions`, the functions that offer each type follow.
    """
    offered = [card for card in cards if card.type is not None]
    if not offered:
        first = cards[0]
        return folded(f"{first.card} offers no vGPUs: {why_not(first)}")
    names = dict.fromkeys(place.name for card in offered for place in card.functions)
    alone = list(names) == [offered[0].card]
    where = "" if alone else f", {len(names)} function{'s' if len(names) > 1 else ''}"
    rows = [
        (card.type or "-", *counts(card), str(len(card.functions)), card.type_name or "-")
        for card in offered
    ]
    text = printable(f"{offered[0].card} ({offered[0].framework}{where})") + "\n"
    text += indented(("TYPE", *COUNTS, "ON", "NAME"), rows)
    if functions:
        places = [place for card in offered for place in card.functions]
        rows = [
            (one.name, one.type, number(one.available), str(one.active), one.type_name or "-")
            for one in places
        ]
        text += "\n" + indented(("FUNCTION", "TYPE", "AVAILABLE", "ACTIVE", "NAME"), rows)
    return text


def indented(heading: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table, indented."""
    return textwrap.indent(table(heading, rows, width=columns() - len(_INDENT)), _INDENT)


def folded(text: str, indent: str = "") -> str:
    """Return a sentence in lines that fit; further lines are indented."""
    width = columns() - len(indent)
    return textwrap.indent(fold(text, indent=_INDENT, width=width), indent) + "\n"
