"""nodedevctl: the command group; it prints what a daemon, or a scan of its own, reports."""

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
from nodedevd.cli.options import (
    EXIT_FAILURE,
    EXIT_NO_DAEMON,
    EXIT_NO_SUCH_TYPE,
    Context,
    epilog,
)
from nodedevd.cli.record import record
from nodedevd.cli.resolve import resolve
from nodedevd.cli.schema import schema
from nodedevd.cli.show import show
from nodedevd.cli.status import status
from nodedevd.cli.tree import tree
from nodedevd.cli.types import types
from nodedevd.cli.wait import wait
from nodedevd.errors import NoDaemon, NodedevError, NoSuchType
from nodedevd.text import printable


class _Group(click.Group):
    """Prints a `NodedevError` or an `OSError` as one line, and exits with its status."""

    def invoke(self, context: click.Context) -> object:
        try:
            return super().invoke(context)
        except NoDaemon as error:
            _fail(error, EXIT_NO_DAEMON)
        except NoSuchType as error:
            _fail(error, EXIT_NO_SUCH_TYPE)
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
    metavar="PATH",
    help="Scan the host at PATH without a daemon. PATH is / for this host, a directory that holds"
    " sys/, or a file that record wrote.",
)
@click.option(
    "--socket",
    metavar="PATH",
    help="Ask the daemon on this socket. [default: $NODEDEVD_SOCKET; else the system's daemon,"
    " then the user's own]",
)
@click.version_option(__version__, prog_name="nodedevctl")
@click.pass_context
def main(context: click.Context, sysroot: str | None, socket: str | None) -> None:
    """Show the devices of a virtualization host and its mediated devices.

    DEVICE is a device name, a UUID, mdev_<uuid>, a PCI address or a path below /sys.
    """
    if sysroot is not None and socket is not None:
        raise click.UsageError("--sysroot scans without a daemon; omit --socket")
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
