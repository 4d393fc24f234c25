"""layout_report: what nodedevctl layout apply and status print."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import msgspec

from nodedevd.actions.answers import LayoutCard, LayoutOutcome, NotApplied
from nodedevd.cli.options import EXIT_FAILURE, EXIT_LEFT, EXIT_NO, EXIT_TIMEOUT
from nodedevd.layout.problem import Problem
from nodedevd.text import fold, table

_FAILURES = frozenset({"step-failed", "not-confirmed"})
_LATE = frozenset({"still-writing", "card-busy"})
NO_CARDS = "no file of the layout declares a card; see docs/layout.md\n"


class LayoutReport(msgspec.Struct, frozen=True, kw_only=True):
    """How a host differs from its layout, and what the control service has tried."""

    generation: int
    cards: tuple[LayoutCard, ...]
    problems: tuple[Problem, ...]
    not_applied: tuple[NotApplied, ...]


def is_in_sync(outcome: LayoutOutcome) -> bool:
    """Return whether all cards are as declared, and all files can be used."""
    return not outcome.problems and all(one.state == "in-sync" for one in outcome.cards)


def exit_status(outcome: LayoutOutcome) -> int:
    """Return the exit status of apply: that of the worst that came of a card."""
    codes = {refusal.code for one in outcome.cards for refusal in one.refusals}
    states = {one.state for one in outcome.cards}
    if outcome.dry_run or is_in_sync(outcome):
        return EXIT_FAILURE if outcome.problems else 0
    if any(refusal.left for one in outcome.cards for refusal in one.refusals):
        return EXIT_LEFT
    if outcome.problems or codes & _FAILURES:
        return EXIT_FAILURE
    if codes & _LATE or states <= {"in-sync", "pending"}:
        return EXIT_TIMEOUT
    return EXIT_NO


def problem_lines(outcome: LayoutOutcome) -> Iterator[str]:
    """Yield what is wrong with the files, a line each."""
    yield from map(str, outcome.problems)


def result_text(outcome: LayoutOutcome) -> str:
    """Return what was done for each card, or would be, for people."""
    if not outcome.cards:
        return "" if outcome.problems else NO_CARDS
    return "".join(f"{line}\n" for one in outcome.cards for line in _result(one, outcome.dry_run))


def status_text(report: LayoutReport) -> str:
    """Return how each card differs, for people."""
    if not report.cards:
        return "" if report.problems else NO_CARDS
    rows = [(one.state, one.entry, one.card or "-", _place(one)) for one in report.cards]
    text = table(("STATE", "ENTRY", "CARD", "FILE"), rows)
    lines = [line for one in report.cards for line in _why(one, _tried(one, report.not_applied))]
    return text + ("\n" + "".join(f"{line}\n" for line in lines) if lines else "")


def _result(card: LayoutCard, dry_run: bool) -> Iterator[str]:
    yield f"{_name(card)}: {card.state}"
    yield from _folded(f"{number}. {step}" for number, step in enumerate(card.steps, 1))
    yield from _folded(f"then {step}" for step in card.later)
    yield from _obstacles(card)


def _why(card: LayoutCard, tried: NotApplied | None) -> Iterator[str]:
    lines = [*_folded(f"to do: {step}" for step in (*card.steps, *card.later)), *_obstacles(card)]
    if tried is not None and tried.tries:
        then = "tried again" if tried.waits else "given up, see nodedevctl layout apply"
        lines += _folded([f"{then} after {tried.tries} attempts: {tried.detail}"])
    if lines:
        yield f"{_name(card)}:"
        yield from lines


def _obstacles(card: LayoutCard) -> Iterator[str]:
    yield from _folded(card.reasons)
    yield from _folded(f"{one.change}: {one.detail}" for one in card.refusals)
    yield from _folded(f"NOT undone: {step}" for one in card.refusals for step in one.left)


def _tried(card: LayoutCard, not_applied: Iterable[NotApplied]) -> NotApplied | None:
    key = (card.entry, card.card)
    return next((one for one in not_applied if (one.entry, one.card) == key), None)


def _place(card: LayoutCard) -> str:
    return f"{card.file}:{card.line}"


def _name(card: LayoutCard) -> str:
    return card.entry if card.card is None else card.card


def _folded(lines: Iterable[str]) -> Iterator[str]:
    return (fold(f"  {line}", indent="     ") for line in lines)
