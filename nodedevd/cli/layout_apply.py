"""nodedevctl layout apply: makes the host offer what its layout declares."""

from __future__ import annotations

import sys

import click
import msgspec

from nodedevd.cli.changing import service_or_this_process
from nodedevd.cli.layout_report import exit_status, problem_lines, result_text
from nodedevd.cli.options import Context, ControlCommand, epilog, json_option, print_json
from nodedevd.cli.waiting import waiting
from nodedevd.text import printable


@click.command(
    name="apply",
    cls=ControlCommand,
    epilog=epilog(
        "Examples: what would be done; do it; one card alone",
        "nodedevctl layout apply --dry-run",
        "nodedevctl layout apply",
        "nodedevctl layout apply --card 0000:3b:00.0",
        exit_status="Exit status: 0 the host is as declared, 1 a change failed, or a file cannot be"
        " used, 2 wrong usage, 3 no control service answers, 4 a card is not there yet, or a driver"
        " has not answered, 5 something is refused or blocked, 7 failed, and not all could be"
        " undone. With --dry-run: 0, or 1 if a file cannot be used.",
    ),
)
@click.option("--card", metavar="CARD", help="Apply the layout to this card alone.")
@click.option(
    "--dry-run",
    is_flag=True,
    default=None,
    help="Print the steps, and change nothing.",
)
@click.option(
    "--timeout",
    type=click.FloatRange(min=0, max=3600),
    metavar="SECONDS",
    help="Wait so long for cards, drivers and functions that are not there yet. [default: 0]",
)
@json_option
@click.pass_obj
def apply(
    context: Context,
    card: str | None,
    dry_run: bool | None,
    timeout: float | None,
    as_json: bool,
) -> None:
    """Make the host offer what its layout declares.

    The files are /etc/nodedevd/layout.d/*.toml. What is so already is left as it is; a device
    that is open, or belongs to somebody else, is not touched, and what stands in the way is
    printed. A card that fails does not keep the others back. It is safe to repeat.
    """
    from nodedevd.actions.requests import ApplyLayout  # most commands ask for no change

    request = ApplyLayout(card=card, dry_run=dry_run, wait_seconds=timeout)
    asked = service_or_this_process(context, may_plan=bool(dry_run))
    try:
        with waiting("layout apply"):
            outcome = asked.apply(request)
    except KeyboardInterrupt:  # this process itself holds signals back while it changes anything
        if not dry_run:
            click.echo("\nthe service goes on with the layout: nodedevctl control", err=True)
        raise
    if as_json:
        print_json(msgspec.json.encode(outcome))
    else:
        for line in problem_lines(outcome):
            click.echo(f"nodedevctl: {printable(line)}", err=True)
        click.echo(result_text(outcome), nl=False)
    sys.exit(exit_status(outcome))
