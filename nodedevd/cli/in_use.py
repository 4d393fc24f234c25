"""nodedevctl in-use: which devices a VM has open."""

from __future__ import annotations

import os

import click
import msgspec

from nodedevd.cli.options import Context, epilog, json_option, print_json, progress
from nodedevd.host.sysroot import Sysroot
from nodedevd.questions.in_use import REASONS, InUse, Use
from nodedevd.text import table

_ASK_AGAIN = ("processes-unseen", "unanswered")
"""What this process may be able to tell where the daemon is not."""


@click.command(
    "in-use",
    epilog=epilog(
        "Examples: everything that a VM can have open; whether one mdev can be removed",
        "sudo nodedevctl in-use",
        "nodedevctl in-use --json 83b8f4f2-509f-382f-3c1e-e6bfe0fa1001 | jq -r '.devices[].open'",
    ),
)
@click.argument("devices", metavar="[DEVICE]...", nargs=-1)
@json_option
@click.pass_obj
def in_use(context: Context, devices: tuple[str, ...], as_json: bool) -> None:
    """Show whether devices are open by a VM, and by which process.

    Without DEVICE of all mdevs and all else that is bound to VFIO. OPEN is yes, no or unknown.
    No device is opened to find out: the processes are looked at. Others' processes can be looked
    into by root alone; what the daemon is not allowed to see, this command looks at itself.
    """
    source = context.source()
    answer = source.in_use(devices or None)
    if any(use.reason in _ASK_AGAIN for use in answer.devices) and context.sysroot is None:
        answer = _looked_again(answer)
    if as_json:
        print_json(msgspec.json.encode(answer))
        return
    heading = ("DEVICE", "OPEN", "PID", "PROCESS")
    click.echo(table(heading, [row for use in answer.devices for row in _rows(use)]), nl=False)
    for reason, sentence in REASONS.items():
        names = [use.device for use in answer.devices if use.reason == reason]
        if names and reason != "no-node":
            more = _unseen(answer) if reason == "processes-unseen" else ""
            click.echo(f"unknown for {', '.join(names)}: {sentence}{more}", err=True)


def _unseen(answer: InUse) -> str:
    root = "" if os.geteuid() == 0 else "; ask as root"
    return f" ({answer.unseen_processes} could not{root})"


def _looked_again(told: InUse) -> InUse:
    """Put in what this process can tell of devices of this host."""
    from nodedevd.follow.shared_look import look_in_time  # asyncio is slow to import

    own = look_in_time(Sysroot(), progress("looking at processes"))
    devices = []
    for use in told.devices:
        again = own.use(use.device, use.path)
        devices.append(again if use.reason in _ASK_AGAIN else use)
    return InUse(told.generation, own.unseen, tuple(devices))


def _rows(use: Use) -> list[tuple[str, ...]]:
    holders = [(str(one.pid), one.process) for one in use.holders] or [("-", "-")]
    return [(use.device, use.open, *holder) for holder in holders]
