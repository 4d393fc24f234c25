"""nodedevctl: the command group; it prints what a daemon, or a scan of its own, reports."""

from __future__ import annotations

import click

from nodedevd import __version__
from nodedevd.cli.autostart import autostart
from nodedevd.cli.bind import bind
from nodedevd.cli.control import control
from nodedevd.cli.create import create
from nodedevd.cli.define import define
from nodedevd.cli.doctor import doctor
from nodedevd.cli.draw import draw
from nodedevd.cli.dumpxml import dumpxml
from nodedevd.cli.events import events
from nodedevd.cli.fits import fits
from nodedevd.cli.group import Group
from nodedevd.cli.hostdev import hostdev
from nodedevd.cli.in_use import in_use
from nodedevd.cli.layout import layout
from nodedevd.cli.list import list_command
from nodedevd.cli.metrics import metrics
from nodedevd.cli.modify import modify
from nodedevd.cli.nfd import nfd
from nodedevd.cli.options import epilog, fleet_option, source_options
from nodedevd.cli.record import record
from nodedevd.cli.remove import remove
from nodedevd.cli.resolve import resolve
from nodedevd.cli.schema import schema
from nodedevd.cli.show import show
from nodedevd.cli.start import start
from nodedevd.cli.status import status
from nodedevd.cli.stop import stop
from nodedevd.cli.tree import tree
from nodedevd.cli.types import types
from nodedevd.cli.unbind import unbind
from nodedevd.cli.undefine import undefine
from nodedevd.cli.vfs import vfs
from nodedevd.cli.wait import wait


@click.group(
    cls=Group,
    params=[*source_options(), fleet_option()],
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog=epilog(
        "Examples:",
        "nodedevctl tree",
        "nodedevctl list --cap mdev_parent",
        "nodedevctl --sysroot / dumpxml 0000:3b:00.0",
        "nodedevctl create A2-4Q --dry-run",
    ),
)
@click.version_option(__version__, prog_name="nodedevctl")
def main() -> None:
    """Show and change the devices of a virtualization host, and its mediated devices.

    DEVICE is a device name, a UUID, mdev_<uuid>, a PCI address or a path below /sys.
    """


main.add_command(autostart)
main.add_command(bind)
main.add_command(control)
main.add_command(create)
main.add_command(define)
main.add_command(doctor)
main.add_command(draw)
main.add_command(dumpxml)
main.add_command(events)
main.add_command(fits)
main.add_command(hostdev)
main.add_command(in_use)
main.add_command(layout)
main.add_command(list_command)
main.add_command(metrics)
main.add_command(modify)
main.add_command(nfd)
main.add_command(record)
main.add_command(remove)
main.add_command(resolve)
main.add_command(schema)
main.add_command(show)
main.add_command(start)
main.add_command(status)
main.add_command(stop)
main.add_command(tree)
main.add_command(types)
main.add_command(unbind)
main.add_command(undefine)
main.add_command(vfs)
main.add_command(wait)
