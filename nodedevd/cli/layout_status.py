"""nodedevctl layout status: whether the host offers what its layout declares."""

from __future__ import annotations

import sys

import click
import msgspec

from nodedevd.cli.changing import service_or_this_process
from nodedevd.cli.layout_report import LayoutReport, is_in_sync, problem_lines, status_text
from nodedevd.cli.options import (
    EXIT_NO,
    Context,
    ControlCommand,
    epilog,
    json_option,
    print_json,
)
from nodedevd.errors import NotAllowed
from nodedevd.text import printable


@click.command(
    name="status",
    cls=ControlCommand,
    epilog=epilog(
        "Examples: all cards; a script that asks about one",
        "nodedevctl layout status",
        "nodedevctl layout status --card 0000:3b:00.0 > /dev/null || echo drifted",
        exit_status="Exit status: 0 the host is as declared, 1 failure, 2 wrong usage, 3 no control"
        " service answers, 5 it is not as declared, or a file cannot be used.",
    ),
)
@click.option("--card", metavar="CARD", help="Show this card alone.")
@json_option
@click.pass_obj
def status(context: Context, card: str | None, as_json: bool) -> None:
    """Show whether the host offers what its layout declares.

    A card is in-sync; drifted, if apply can put it right; blocked, if what stands in the way is
    open, used by the host, or belongs to somebody else; or pending, if the card, its driver or
    its functions are not there yet. What the control service has tried is shown, too.
    """
    from nodedevd.actions.requests import ApplyLayout

    asked = service_or_this_process(context, may_plan=True)
    outcome = asked.apply(ApplyLayout(card=card, dry_run=True))
    try:
        not_applied = asked.get_status().not_applied
    except (NotAllowed, click.UsageError):  # another host, or not root: nobody follows it here
        not_applied = ()
    report = LayoutReport(
        generation=outcome.generation,
        cards=outcome.cards,
        problems=outcome.problems,
        not_applied=not_applied,
    )
    if as_json:
        print_json(msgspec.json.encode(report))
    else:
        for line in problem_lines(outcome):
            click.echo(f"nodedevctl: {printable(line)}", err=True)
        click.echo(status_text(report), nl=False)
    sys.exit(0 if is_in_sync(outcome) else EXIT_NO)
