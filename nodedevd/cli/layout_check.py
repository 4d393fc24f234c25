"""nodedevctl layout check: what is wrong with layout files."""

from __future__ import annotations

import sys
from typing import BinaryIO

import click
import msgspec

from nodedevd.cli.layout_files import files_argument, layout_meant, no_files, tree_of
from nodedevd.cli.options import EXIT_NO, EXIT_STATUS, Context, epilog, json_option, print_json
from nodedevd.layout.check import check_layout
from nodedevd.layout.problem import Problem
from nodedevd.text import fold, printable


class LayoutCheck(msgspec.Struct, frozen=True):
    """What is wrong with a layout."""

    paths: tuple[str, ...]
    """paths of the files that were checked"""
    entries: int
    """number of entries in the files without problems"""
    problems: tuple[Problem, ...]
    """what is wrong with them"""


@click.command(
    epilog=epilog(
        "Examples: the layout of this host; a file on a recorded host; a file alone",
        "nodedevctl layout check",
        "nodedevctl --sysroot host.ttar layout check a2.toml",
        "nodedevctl layout check --files-only a2.toml",
        exit_status=f"{EXIT_STATUS.removesuffix('.')}, 5 there are problems.",
    )
)
@files_argument
@click.option("--files-only", is_flag=True, help="Check the files alone, and against no host.")
@json_option
@click.pass_obj
def check(context: Context, files: tuple[BinaryIO, ...], files_only: bool, as_json: bool) -> None:
    """Check the layout of this host, or FILEs.

    The files are checked by themselves, and then against the host: whether it has the cards, and
    whether these offer the types, with room for as many. FILE may be -, standard input.
    """
    declared = layout_meant(context, files)
    problems = declared.problems
    if not files_only:
        problems += check_layout(declared.layout, tree_of(context.source()))
    found = LayoutCheck(declared.files, len(declared.layout.cards), problems)
    if as_json:
        print_json(msgspec.json.encode(found))
    else:
        for one in problems:
            click.echo(fold(printable(str(one)), indent="  "))
        click.echo(fold(_summary(found)))
    if problems:
        sys.exit(EXIT_NO)


def _summary(found: LayoutCheck) -> str:
    if not found.paths:
        return no_files()
    if not found.problems:
        files, entries = _number(len(found.paths), "file"), found.entries
        return f"{files}, {entries} {'entry' if entries == 1 else 'entries'}: no problems"
    return _number(len(found.problems), "problem")


def _number(count: int, noun: str) -> str:
    return f"{count} {noun}" + ("" if count == 1 else "s")
