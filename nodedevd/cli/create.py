"""nodedevctl create: makes vGPUs and other mdevs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from nodedevd.cli.changing import (
    EXIT_STATUS_OF_CHANGES,
    attribute_option,
    carry_out,
    change_options,
    report,
)
from nodedevd.cli.options import Context, ControlCommand, epilog, print_xml
from nodedevd.errors import NodedevError
from nodedevd.questions.hostdev.request import HostDevRequest
from nodedevd.text import printable

if TYPE_CHECKING:
    from nodedevd.actions.answers import Outcome


@click.command(
    cls=ControlCommand,
    epilog=epilog(
        "Examples: a vGPU for a VM, and its domain XML; two, and first their plan",
        "nodedevctl create A2-4Q --owner guest1 --hostdev > vgpu.xml",
        "nodedevctl create nvidia-746 0000:08:00.0 --count 2 --dry-run",
        exit_status=EXIT_STATUS_OF_CHANGES,
    ),
)
@click.argument("wanted", metavar="TYPE")
@click.argument("devices", metavar="[DEVICE]...", nargs=-1)
@click.option("--uuid", metavar="UUID", help="UUID of the mdev. [default: a new one]")
@click.option(
    "--count",
    type=click.IntRange(min=1),
    metavar="N",
    help="Number of vGPUs; all are made, or none. [default: 1]",
)
@attribute_option("Write an attribute of the mdev when it has been created.")
@click.option(
    "--hostdev",
    is_flag=True,
    help="Print the domain XML that assigns what was made to a guest, instead of its name.",
)
@change_options
@click.pass_obj
def create(
    context: Context,
    /,
    wanted: str,
    devices: tuple[str, ...],
    uuid: str | None,
    count: int | None,
    attributes: list[dict[str, str]] | None,
    hostdev: bool,
    as_json: bool,
    dry_run: bool | None,
    **options: Any,
) -> None:
    """Create vGPUs or other mdevs of a type.

    TYPE is an ID or a name, as for fits. DEVICE is a card, an mdev parent or a virtual function;
    without DEVICE, all cards are considered, and those are taken that have room for sure. An
    mdev is created, or, on a function with vendor VFIO, a profile is set.

    The names of the devices are printed, one a line. They vanish when the host reboots; see
    define for mdevs that come back. An mdev of this UUID, parent and type that exists already
    is success, so give a UUID where the command may be repeated.
    """
    if hostdev and (dry_run or as_json):
        raise click.UsageError("--hostdev prints the XML of what was made; omit --dry-run, --json")
    outcome = carry_out(
        context,
        "create",
        type=wanted,
        names=devices or None,
        uuid=uuid,
        count=count,
        attributes=attributes,
        dry_run=dry_run,
        **options,
    )
    if hostdev:
        try:
            _print_hostdevs(outcome, context.sysroot)
        except NodedevError:
            names = ", ".join(device.name for device in outcome.devices)
            was, its = ("was", "its") if len(outcome.devices) == 1 else ("were", "their")
            text = f"{names} {was} created, but {its} XML cannot be printed"
            click.echo(f"note: {printable(text)}", err=True)
            raise
    else:
        report(outcome, as_json=as_json, names=True)


def _print_hostdevs(outcome: Outcome, sysroot: str | None) -> None:
    """Print the XML of each device, as the daemon or a scan sees it now."""
    source = Context(sysroot=sysroot).source()
    notes = [*outcome.notes]
    xml = ""
    for device in outcome.devices:
        answer = source.hostdev(HostDevRequest(name=device.name))
        notes += answer.notes
        xml += answer.xml
    for note in dict.fromkeys(notes):
        click.echo(f"note: {printable(note)}", err=True)
    print_xml(xml)
