"""nodedevctl in-use: which devices are open, and by which processes."""

from __future__ import annotations

import os
from collections.abc import Sequence

import click
import msgspec

from nodedevd.cli.options import Context, epilog, json_option, print_json, progress
from nodedevd.cli.source import Source
from nodedevd.client import Client
from nodedevd.host.processes import Process
from nodedevd.host.sysroot import Sysroot
from nodedevd.questions.in_use import REASONS, InUse, Use
from nodedevd.text import printable, table

RETRY_REASONS = ("processes-unseen", "unanswered")
"""For these reasons of the daemon, this process may still find out."""


@click.command(
    "in-use",
    epilog=epilog(
        "Examples: all mdevs and devices of VFIO; whether one function is open",
        "sudo nodedevctl in-use",
        "nodedevctl in-use --json 0000:3b:00.4 | jq -r '.devices[].open'",
    ),
)
@click.argument("devices", metavar="[DEVICE]...", nargs=-1)
@json_option
@click.pass_obj
def in_use(context: Context, devices: tuple[str, ...], as_json: bool) -> None:
    """Show whether devices are open, and by which processes.

    Without DEVICE, all mdevs and all devices that are bound to VFIO are shown. OPEN is yes, no
    or unknown. VM is the name that a QEMU process has on its command line; --json has its uuid,
    too.

    No device is opened to find out: the answer comes from the open files of all processes. Only
    root can read those of other users' processes. If the daemon may not, this command reads them
    itself.
    """
    answer = in_use_of(context.source(), devices or None)
    if as_json:
        print_json(msgspec.json.encode(answer))
        return
    heading = ("DEVICE", "OPEN", "PID", "PROCESS", "VM")
    click.echo(table(heading, [row for use in answer.devices for row in _rows(use)]), nl=False)
    for reason, sentence in REASONS.items():
        names = [use.name for use in answer.devices if use.reason == reason]
        if names and reason != "no-node":
            more = _unreadable(answer) if reason == "processes-unseen" else ""
            click.echo(printable(f"unknown for {', '.join(names)}: {sentence}{more}"), err=True)


def in_use_of(source: Source, names: Sequence[str] | None) -> InUse:
    """Return which devices are open, as far as the daemon or this process can see.

    Raises NoSuchDevice.
    """
    answer = source.in_use(names)
    if any(use.reason in RETRY_REASONS for use in answer.devices) and isinstance(source, Client):
        answer = _retry(answer)
    return answer


def _unreadable(answer: InUse) -> str:
    advice = "" if os.geteuid() == 0 else "; run this as root"
    return f" ({answer.unseen_processes} processes{advice})"


def _retry(answer: InUse) -> InUse:
    """Replace what the daemon could not find out by what this process finds out."""
    from nodedevd.follow.shared_look import look_in_time  # asyncio is slow to import

    own = look_in_time(Sysroot(), progress("reading processes"))
    devices = [
        own.use(use.name, use.path) if use.reason in RETRY_REASONS else use
        for use in answer.devices
    ]
    return InUse(answer.generation, own.unseen, tuple(devices))


def _vm(process: Process) -> str:
    vm = process.vm
    return "-" if vm is None else vm.name or vm.uuid or "-"


def _rows(use: Use) -> list[tuple[str, ...]]:
    holders = [(str(one.pid), one.process, _vm(one)) for one in use.holders] or [("-", "-", "-")]
    return [(use.name, use.open, *holder) for holder in holders]
