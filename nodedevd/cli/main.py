"""nodedevctl: asks a nodedevd, or scans a sysroot itself, and shows the answer."""

from __future__ import annotations

import sys
from typing import NoReturn

import click

from nodedevd import __version__
from nodedevd.cli.doctor import doctor
from nodedevd.cli.dumpxml import dumpxml
from nodedevd.cli.events import events
from nodedevd.cli.fits import fits
from nodedevd.cli.hostdev import hostdev
from nodedevd.cli.in_use import in_use
from nodedevd.cli.list import list_command
from nodedevd.cli.options import EXIT_FAILURE, EXIT_NO_DAEMON, Context, epilog
from nodedevd.cli.record import record
from nodedevd.cli.resolve import resolve
from nodedevd.cli.schema import schema
from nodedevd.cli.show import show
from nodedevd.cli.status import status
from nodedevd.cli.tree import tree
from nodedevd.cli.types import types
from nodedevd.cli.wait import wait
from nodedevd.errors import NoDaemon, NodedevError
from nodedevd.text import printable


class _Group(click.Group):
    """Turns errors that nodedevd raises on purpose into a line and an exit status."""

    def invoke(self, context: click.Context) -> object:
        try:
            return super().invoke(context)
        except NoDaemon as error:
            _fail(error, EXIT_NO_DAEMON)
        except (NodedevError, OSError) as error:
            if isinstance(error, BrokenPipeError):
                raise
            _fail(error)


def _fail(error: object, status: int = EXIT_FAILURE) -> NoReturn:
    click.echo(f"nodedevctl: {printable(str(error))}", err=True)
    sys.exit(status)


@click.group(
    cls=_Group,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog=epilog(
        "Examples:",
        "nodedevctl tree",
        "nodedevctl list --cap mdev_parent",
        "nodedevctl --sysroot / dumpxml 0000:3b:00.0",
    ),
)
@click.option(
    "--sysroot",
    metavar="DIR",
    help="Scan the host below DIR (/ is this one) in this process; needs no daemon.",
)
@click.option("--socket", metavar="PATH", help="Socket of the daemon; also $NODEDEVD_SOCKET.")
@click.version_option(__version__, prog_name="nodedevctl")
@click.pass_context
def main(context: click.Context, sysroot: str | None, socket: str | None) -> None:
    """Show the node devices of a host: PCI functions, mdev parents and mediated devices.

    DEVICE is a device's name, a uuid, mdev_<uuid>, a PCI address or a path below /sys.
    """
    if sysroot is not None and socket is not None:
        raise click.UsageError("--sysroot scans without a daemon; leave out --socket")
    context.obj = Context(sysroot=sysroot, socket=socket)


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
