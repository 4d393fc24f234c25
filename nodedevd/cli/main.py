"""nodedevctl: the command group; it prints what a daemon, or a scan of its own, reports."""

from __future__ import annotations

import click

from nodedevd import __version__
from nodedevd.cli.doctor import doctor
from nodedevd.cli.dumpxml import dumpxml
from nodedevd.cli.events import events
from nodedevd.cli.fits import fits
from nodedevd.cli.group import Group
from nodedevd.cli.hostdev import hostdev
from nodedevd.cli.in_use import in_use
from nodedevd.cli.list import list_command
from nodedevd.cli.options import epilog, source_options
from nodedevd.cli.record import record
from nodedevd.cli.resolve import resolve
from nodedevd.cli.schema import schema
from nodedevd.cli.show import show
from nodedevd.cli.status import status
from nodedevd.cli.tree import tree
from nodedevd.cli.types import types
from nodedevd.cli.wait import wait


@click.group(
    cls=Group,
    params=source_options(),
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog=epilog(
        "Examples:",
        "nodedevctl tree",
        "nodedevctl list --cap mdev_parent",
        "nodedevctl --sysroot / dumpxml 0000:3b:00.0",
    ),
)
@click.version_option(__version__, prog_name="nodedevctl")
def main() -> None:
    """Show the devices of a virtualization host and its mediated devices.

    DEVICE is a device name, a UUID, mdev_<uuid>, a PCI address or a path below /sys.
    """


main.add_command(doctor)
main.add_command(dumpxml)
main.add_command(events)
main.add_command(fits)
main.add_command(hostdev)
main.add_command(in_use)
main.add_command(list_command)
main.add_command(record)
main.add_command(resolve)
main.add_command(schema)
main.add_command(show)
main.add_command(status)
main.add_command(tree)
main.add_command(types)
main.add_command(wait)
