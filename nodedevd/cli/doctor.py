"""nodedevctl doctor: what stands in the way on this host, and what to do about it."""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Iterable

import click
import msgspec

from nodedevd.cli.options import EXIT_NO, Context, epilog, json_option, print_json, progress
from nodedevd.client import Client
from nodedevd.errors import NoDaemon, NodedevError
from nodedevd.host.facts import read_host
from nodedevd.host.sysroot import Sysroot
from nodedevd.model.snapshot import Snapshot
from nodedevd.model.status import Status, UnansweredRead
from nodedevd.questions.doctor import DaemonView, Finding, Report, diagnose, differing
from nodedevd.socket_paths import candidate_socket_paths
from nodedevd.text import printable

_ANSWER_SECONDS = 10.0
_DEVICES_SHOWN = 4


@click.command(
    epilog=epilog(
        "Examples: this host; a recorded one; the codes of what is wrong",
        "sudo nodedevctl doctor",
        "nodedevctl --sysroot /tmp/host doctor",
        "nodedevctl doctor --json | jq -r '.findings[].code'",
        exit_status="""Exit status: 0 done, and nothing stands in the way (there may be notes),
1 failure, 2 wrong usage, 5 the answer is no: something does.""",
    )
)
@json_option
@click.pass_obj
def doctor(context: Context, as_json: bool) -> None:
    """Tell what stands in the way of mediated devices on this host, and what to do about it.

    The host is scanned anew, and what the daemon shows is compared with that; that there is no
    daemon is a finding. A problem is broken, a warning will not work or may be wrong, a note may
    be as it is wanted. docs/doctor.md lists what can be found, by its code.
    """
    sysroot = Sysroot(context.sysroot or "/")
    snapshot, hanging = _scan(sysroot)
    daemon = None
    if context.sysroot is None:
        daemon = _ask(context.socket, sysroot, snapshot)
    findings = diagnose(snapshot, read_host(sysroot), hanging=hanging, daemon=daemon)
    report = Report(sysroot.root, len(snapshot), findings)
    if as_json:
        print_json(msgspec.json.encode(report))
    else:
        click.echo(_text(report), nl=False)
    if not report.healthy:
        sys.exit(EXIT_NO)


def _scan(sysroot: Sysroot) -> tuple[Snapshot, tuple[UnansweredRead, ...]]:
    from nodedevd.follow.supervisor import scan_in_time  # asyncio is slow to import

    return scan_in_time(sysroot, progress=progress("reading devices"))


def _ask(path: str | None, sysroot: Sysroot, fresh: Snapshot) -> DaemonView:
    """Ask the daemon how it is, and compare what it shows with a scan."""
    paths = [path] if path is not None else candidate_socket_paths()
    try:
        with Client(path, timeout_seconds=_ANSWER_SECONDS) as client:
            status = client.status()
            differences: tuple[tuple[str, str], ...] = ()
            if status.sysroot == "/":
                differences = _differences(client, sysroot, fresh)
            return DaemonView(
                tuple(paths),
                status,
                others=tuple(_others(paths, client.path, status)),
                differing=differences,
            )
    except NoDaemon as error:
        refused = any(map(_is_barred, paths))
        return DaemonView(tuple(paths), reason=error.reason, refused=refused)
    except NodedevError as error:
        return DaemonView(tuple(paths), reason=str(error))


def _differences(client: Client, sysroot: Sysroot, fresh: Snapshot) -> tuple[tuple[str, str], ...]:
    """Compare; what changed meanwhile is no difference, so it has to be seen twice."""
    first = differing(fresh, Snapshot(client.snapshot().devices))
    if not first:
        return ()
    again, _ = _scan(sysroot)
    second = differing(again, Snapshot(client.snapshot().devices))
    return tuple([one for one in second if one in first])


def _others(paths: Iterable[str], asked: str | None, status: Status) -> Iterable[str]:
    for path in paths:
        if path != asked:
            try:
                with Client(path, timeout_seconds=_ANSWER_SECONDS) as client:
                    if client.status().pid != status.pid:
                        yield path
            except NodedevError:
                continue


def _is_barred(path: str) -> bool:
    """Tell whether a socket is there that this user may not connect to."""
    try:
        is_socket = stat.S_ISSOCK(os.stat(path).st_mode)
    except PermissionError:
        return True
    except OSError:
        return False
    return is_socket and not os.access(path, os.W_OK)


def _text(report: Report) -> str:
    lines = []
    for finding, devices in _grouped(report.findings):
        shown = ", ".join(devices[:_DEVICES_SHOWN])
        if len(devices) > _DEVICES_SHOWN:
            shown += f" and {len(devices) - _DEVICES_SHOWN} more"
        about = f"{shown}: " if devices else ""
        lines += [
            f"{finding.severity}: {printable(about + finding.text)} [{finding.code}]",
            f"  {printable(finding.advice)}",
        ]
    if report.healthy:
        lines.append(f"Nothing stands in the way: {report.devices} devices were looked at.")
    return "".join(f"{line}\n" for line in lines)


def _grouped(findings: Iterable[Finding]) -> Iterable[tuple[Finding, list[str]]]:
    """Put together what is the same of several devices, as of all functions of one card."""
    groups: dict[tuple[str, ...], tuple[Finding, list[str]]] = {}
    for one in findings:
        key = (one.severity, one.code, one.text)
        _, devices = groups.setdefault(key, (one, []))
        if one.device is not None:
            devices.append(one.device)
    return groups.values()
