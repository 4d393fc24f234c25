"""nodedevctl doctor: problems on this host, each with its remedy."""

from __future__ import annotations

import os
import sys

import click
import msgspec

from nodedevd.cli.options import EXIT_NO, Context, epilog, json_option, print_json, progress


@click.command(
    epilog=epilog(
        "Examples: this host; a recording; the codes of all findings",
        "sudo nodedevctl doctor",
        "nodedevctl --sysroot /tmp/host doctor",
        "nodedevctl doctor --json | jq -r '.findings[].code'",
        exit_status="""Exit status: 0 no problem or warning (there may be notes), 1 failure, 2 wrong
usage, 5 there is a problem or warning.""",
    )
)
@json_option
@click.pass_obj
def doctor(context: Context, as_json: bool) -> None:
    """Check this host for problems with mediated devices.

    The host is scanned anew, and the result is compared with what the daemon serves. A missing
    daemon is a finding, too.

    A problem means that something is broken, a warning that something will not work or may be
    wrong, a note that something may be intended. The verdict comes first, then the findings of
    each card: what is so, what to do next, and the commands for it, to paste into a shell of
    root. docs/doctor.md lists all findings by their code.
    """
    # The checks are many modules, which other commands need not wait for.
    from nodedevd.cli.doctor_report import examine
    from nodedevd.cli.doctor_text import has_colour, report_text

    report, snapshot = examine(
        context.sysroot, context.socket, progress=progress("reading devices")
    )
    if as_json:
        print_json(msgspec.json.encode(report))
    else:
        colour = has_colour(sys.stdout, os.environ)
        click.echo(report_text(report, snapshot, colour=colour), nl=False)
    if not report.healthy:
        sys.exit(EXIT_NO)
