"""nodedevctl layout diff: what is different on a host from its layout."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import BinaryIO

import click
import msgspec

from nodedevd.cli.layout_files import files_argument, layout_meant, no_files, tree_of
from nodedevd.cli.options import EXIT_NO, EXIT_STATUS, Context, epilog, json_option, print_json
from nodedevd.cli.source import Source
from nodedevd.follow.in_time import read_in_time
from nodedevd.host.assignment import read_assignment_facts
from nodedevd.host.sysroot import Sysroot
from nodedevd.layout.compare import compare_layout
from nodedevd.layout.difference import Difference
from nodedevd.layout.facts import Answered, LayoutFacts
from nodedevd.layout.problem import Problem
from nodedevd.layout.words import step_words
from nodedevd.text import fold, printable


class LayoutDiff(msgspec.Struct, frozen=True):
    """How a host differs from its layout."""

    generation: int
    problems: tuple[Problem, ...]
    """what is wrong with files; these have no cards here"""
    cards: tuple[Difference, ...]
    """how each card that is wanted differs"""


@click.command(
    epilog=epilog(
        "Examples: what is different on this host; what a file changes on another",
        "nodedevctl layout diff",
        "nodedevctl --sysroot host.ttar layout diff a2.toml --json",
        exit_status=f"{EXIT_STATUS.removesuffix('.')}, 5 something is different, or a file has"
        " problems.",
    )
)
@files_argument
@json_option
@click.pass_obj
def diff(context: Context, files: tuple[BinaryIO, ...], as_json: bool) -> None:
    """Show what is different from the layout of this host, or FILEs.

    Each card is in sync; drifted, with the steps that are to do, in their order; blocked by what
    is open, in use or without room; or pending, since the card, its driver or its functions are
    not there yet. FILE may be -, standard input.
    """
    declared = layout_meant(context, files)
    source = context.source()
    tree = tree_of(source)
    found = LayoutDiff(
        tree.generation,
        declared.problems,
        compare_layout(declared.layout, tree, _facts(context, source)),
    )
    if as_json:
        print_json(msgspec.json.encode(found))
    else:
        for line in _lines(found):
            click.echo(line)
        if not declared.files:
            click.echo(fold(no_files()))
    if found.problems or any(one.state != "in-sync" for one in found.cards):
        sys.exit(EXIT_NO)


def _facts(context: Context, source: Source) -> LayoutFacts:
    """Return what this host uses; nothing is known of another one."""
    if context.sysroot not in (None, "/"):
        return LayoutFacts()
    assignment, _ = read_in_time(Sysroot("/"), read_assignment_facts)
    return LayoutFacts(usage=Answered(source.in_use()), assignment=assignment)


def _lines(found: LayoutDiff) -> Iterator[str]:
    for problem in found.problems:
        yield fold(printable(str(problem)), indent="  ")
    for card in found.cards:
        name = card.card or str(card.match)
        yield fold(printable(f"{name}: {card.state} ({card.file}:{card.line})"), indent="  ")
        for number, step in enumerate(card.differences, 1):
            yield _item(f"{number}. {step_words(step)}")
        for text in card.later:
            yield _item(f"then {text}")
        for reason in card.reasons:
            yield _item(reason)


def _item(text: str) -> str:
    first, *rest = fold(printable(text), indent="  ").split("\n")
    return "\n".join(f"  {line}" for line in (first, *rest))
