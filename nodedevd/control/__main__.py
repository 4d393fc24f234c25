"""nodedevd-control: the command that starts the service which changes the host."""

from __future__ import annotations

import asyncio
import logging
import sys

import click

from nodedevd import __version__
from nodedevd.cli.usage import ServiceCommand, file_mode
from nodedevd.control.configuration import DEFAULT_PATH, BadConfiguration
from nodedevd.control.daemon import ControlDaemon, Options
from nodedevd.errors import NodedevError, SocketInUse
from nodedevd.logs import set_up_logging

log = logging.getLogger("nodedevd")

EXIT_FAILURE = 1
EXIT_SOCKET_IN_USE = 3
EXIT_CONFIGURATION = 4

_EPILOG = """\b
Enable it, as root; systemd starts it for the first call:
  systemctl enable --now nodedevd-control.socket

\b
Example: serve a copy of a host's files, and ask what a change would do
  mkdir -p /tmp/host && cp -r FILES/sys /tmp/host
  nodedevd-control --sysroot /tmp/host --socket /tmp/control.sock
  NODEDEVD_CONTROL_SOCKET=/tmp/control.sock nodedevctl create TYPE --dry-run

Exit status: 0 stopped by SIGTERM, SIGINT or SIGHUP, or idle; 1 failure; 2 wrong usage;
3 another service has the socket; 4 the configuration cannot be used."""


@click.command(cls=ServiceCommand, epilog=_EPILOG)
@click.option(
    "--sysroot",
    default="/",
    show_default=True,
    metavar="PATH",
    help="Change the host at PATH, a directory that holds sys/.",
)
@click.option(
    "--socket",
    metavar="PATH",
    help="Serve Varlink on PATH.  [default: the socket from systemd, or else"
    " /run/nodedevd/org.nodedevd.Control]",
)
@click.option(
    "--socket-mode",
    default="660",
    show_default=True,
    callback=file_mode,
    metavar="MODE",
    help="Create the socket with this file mode, in octal.",
)
@click.option(
    "--socket-group",
    metavar="GROUP",
    help="Create the socket with this group.  [default: the group of the service]",
)
@click.option(
    "--config",
    metavar="PATH",
    help=f"Read the configuration from PATH.  [default: {DEFAULT_PATH}, if it is there]",
)
@click.option(
    "--reader",
    metavar="PATH",
    help="Follow the nodedevd that serves PATH.  [default: the one that clients find, if it serves"
    " the same host; without one the host is scanned]",
)
@click.option("--scan", is_flag=True, help="Scan the host, and follow no nodedevd.")
@click.option("-v", "--verbose", count=True, help="Also log what is of interest to developers.")
@click.version_option(__version__, prog_name="nodedevd-control")
def main(
    sysroot: str,
    socket: str | None,
    socket_mode: int,
    socket_group: str | None,
    config: str | None,
    reader: str | None,
    scan: bool,
    verbose: int,
) -> None:
    """Change the node devices of this host for clients on a Unix socket."""
    set_up_logging(verbose, "nodedevd-control")
    options = Options(
        sysroot=sysroot,
        socket=socket,
        socket_mode=socket_mode,
        socket_group=socket_group,
        configuration=config,
        reader=reader,
        scan=scan,
    )
    try:
        asyncio.run(_run(options))
    except SocketInUse as error:
        log.error("%s", error)
        sys.exit(EXIT_SOCKET_IN_USE)
    except BadConfiguration as error:
        log.error("%s", error)
        sys.exit(EXIT_CONFIGURATION)
    except (NodedevError, OSError) as error:
        log.error("%s", error)
        sys.exit(EXIT_FAILURE)


async def _run(options: Options) -> None:
    await ControlDaemon(options).run()


if __name__ == "__main__":
    main()
