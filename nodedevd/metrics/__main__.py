"""nodedevd-metrics: the command that serves metrics to Prometheus, and to systemd-report."""

from __future__ import annotations

import asyncio
import logging
import sys

import click

from nodedevd import __version__
from nodedevd.cli.usage import ServiceCommand
from nodedevd.errors import NodedevError, SocketInUse
from nodedevd.logs import set_up_logging
from nodedevd.metrics.listening import ADDRESS
from nodedevd.metrics.text import check_libraries

EXIT_FAILURE = 1
EXIT_SOCKET_IN_USE = 3

log = logging.getLogger("nodedevd.metrics")

_EPILOG = """\b
Example: serve without systemd, and fetch the metrics
  nodedevd-metrics --listen 127.0.0.1:9836 &
  curl http://127.0.0.1:9836/metrics

Exit status: 0 stopped by a signal, 1 failure, 2 wrong usage, 3 another process serves the
socket."""


@click.command(cls=ServiceCommand, epilog=_EPILOG)
@click.option(
    "--socket",
    metavar="PATH",
    help="Ask the daemon on this socket.  [default: $NODEDEVD_SOCKET; else the system's daemon,"
    " then the user's own]",
)
@click.option(
    "--listen",
    metavar="ADDRESS:PORT",
    help="Serve HTTP on this loopback address. Port 0 is a free one, which the log has."
    f"  [default: the socket from systemd, or else {ADDRESS}]",
)
@click.option(
    "--report",
    metavar="PATH",
    help="Serve io.systemd.Metrics on this Unix socket.  [default: the socket from systemd, if"
    " there is one]",
)
@click.option("-v", "--verbose", count=True, help="Also log what is of interest to developers.")
@click.version_option(__version__, prog_name="nodedevd-metrics")
def main(socket: str | None, listen: str | None, report: str | None, verbose: int) -> None:
    """Serve the metrics of a nodedevd on this host: docs/metrics.md.

    The daemon is asked when a client asks. While no daemon answers, HTTP requests fail with 503.
    """
    set_up_logging(verbose, "nodedevd-metrics")
    try:
        check_libraries()
        asyncio.run(_run(socket, listen, report))
    except SocketInUse as error:
        log.error("%s", error)
        sys.exit(EXIT_SOCKET_IN_USE)
    except (NodedevError, OSError) as error:
        log.error("%s", error)
        sys.exit(EXIT_FAILURE)


async def _run(socket: str | None, listen: str | None, report: str | None) -> None:
    from nodedevd.metrics.service import MetricsService, Options  # needs h11

    await MetricsService(Options(socket, listen, report)).run()


if __name__ == "__main__":
    main()
