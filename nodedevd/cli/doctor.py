"""nodedevctl doctor: problems on this host, each with its remedy."""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Iterable

import click
import msgspec

from nodedevd.cli.doctor_text import has_colour, report_text
from nodedevd.cli.options import EXIT_NO, Context, epilog, json_option, print_json, progress
from nodedevd.client import Client
from nodedevd.errors import NoDaemon, NodedevError
from nodedevd.host.facts import read_host
from nodedevd.host.sysroot import Sysroot
from nodedevd.model.snapshot import Snapshot
from nodedevd.model.status import Status, UnansweredRead
from nodedevd.questions.doctor import DaemonView, Report, diagnose, differences
from nodedevd.socket_paths import candidate_socket_paths

_ANSWER_SECONDS = 10.0


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
    sysroot = Sysroot(context.sysroot or "/")
    snapshot, hanging = _scan(sysroot)
    daemon = None
    if context.sysroot is None:
        daemon = _ask(context.socket, sysroot, snapshot)
    facts = read_host(sysroot)
    findings = diagnose(snapshot, facts, hanging=hanging, daemon=daemon)
    report = Report(sysroot.root, facts.container, len(snapshot), findings)
    if as_json:
        print_json(msgspec.json.encode(report))
    else:
        colour = has_colour(sys.stdout, os.environ)
        click.echo(report_text(report, snapshot, colour=colour), nl=False)
    if not report.healthy:
        sys.exit(EXIT_NO)


def _scan(sysroot: Sysroot) -> tuple[Snapshot, tuple[UnansweredRead, ...]]:
    from nodedevd.follow.supervisor import scan_in_time  # asyncio is slow to import

    return scan_in_time(sysroot, progress=progress("reading devices"))


def _ask(path: str | None, sysroot: Sysroot, fresh: Snapshot) -> DaemonView:
    """Ask the daemon for its status, and compare its devices with a scan of this host."""
    paths = [path] if path is not None else candidate_socket_paths()
    try:
        with Client(path, timeout_seconds=_ANSWER_SECONDS) as client:
            status = client.status()
            found: tuple[tuple[str, str], ...] = ()
            if status.sysroot == "/":
                found = _lasting_differences(client, sysroot, fresh)
            return DaemonView(
                tuple(paths),
                status,
                others=tuple(_others(paths, client.path, status)),
                differences=found,
            )
    except NoDaemon as error:
        refused = any(map(_is_refused, paths))
        return DaemonView(tuple(paths), reason=error.reason, refused=refused)
    except NodedevError as error:
        return DaemonView(tuple(paths), reason=str(error))


def _lasting_differences(
    client: Client, sysroot: Sysroot, fresh: Snapshot
) -> tuple[tuple[str, str], ...]:
    """Return the differences that two comparisons in a row find.

    A single comparison also finds devices that change between the scan and the call.
    """
    first = differences(fresh, Snapshot(client.snapshot().devices))
    if not first:
        return ()
    again, _ = _scan(sysroot)
    second = differences(again, Snapshot(client.snapshot().devices))
    return tuple([one for one in second if one in first])


def _others(paths: Iterable[str], asked: str | None, status: Status) -> Iterable[str]:
    """Yield the sockets on which another process than the asked daemon answers."""
    for path in paths:
        if path != asked:
            try:
                with Client(path, timeout_seconds=_ANSWER_SECONDS) as client:
                    if client.status().pid != status.pid:
                        yield path
            except NodedevError:
                continue


def _is_refused(path: str) -> bool:
    """Return whether there is a socket that this user may not connect to."""
    try:
        is_socket = stat.S_ISSOCK(os.stat(path).st_mode)
    except PermissionError:
        return True
    except OSError:
        return False
    return is_socket and not os.access(path, os.W_OK)
