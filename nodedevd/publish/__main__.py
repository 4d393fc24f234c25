"""nodedevd-publish: the command that publishes this host to a fleet."""

from __future__ import annotations

import asyncio
import logging
import signal
import sys
import time
from contextlib import suppress

import click
from msgspec.structs import replace

from nodedevd import __version__, systemd
from nodedevd.cli.usage import ServiceCommand
from nodedevd.client.fleet.access import check_servers
from nodedevd.client.fleet.bucket import Bucket
from nodedevd.client.fleet.errors import BadAccess, FleetUnreachable, NoNats
from nodedevd.client.fleet.login import login
from nodedevd.client.fleet.values import host_id, is_host_id
from nodedevd.errors import NodedevError
from nodedevd.host.settings_file import BadConfiguration
from nodedevd.logs import set_up_logging
from nodedevd.publish.configuration import DEFAULT_PATH, Configuration, read_configuration
from nodedevd.publish.identity import AlreadyPublishing, Identity
from nodedevd.publish.publisher import Publisher
from nodedevd.publish.source import Source

log = logging.getLogger("nodedevd")

EXIT_FAILURE = 1
EXIT_ALREADY_PUBLISHING = 3
EXIT_CONFIGURATION = 4

_START_SECONDS = 20.0

_EPILOG = """\b
Enable it, as root, when /etc/nodedevd/fleet.toml says where the servers are:
  systemctl enable --now nodedevd-publish.service

\b
Example: a server and a fleet of one host, on this machine
  nats-server -js -a 127.0.0.1 -p 4222 &
  nodedevd-publish --server nats://127.0.0.1:4222 --make-bucket
  nodedevd-publish --server nats://127.0.0.1:4222 --state-directory /tmp/publish &
  nodedevctl --fleet nats://127.0.0.1:4222 hosts

Exit status: 0 stopped by SIGTERM or SIGINT, or the bucket is there; 1 failure; 2 wrong usage;
3 another publisher of this machine runs; 4 the configuration cannot be used."""


@click.command(cls=ServiceCommand, epilog=_EPILOG)
@click.option(
    "--config",
    metavar="PATH",
    help=f"Read the configuration from PATH.  [default: {DEFAULT_PATH}, without --server]",
)
@click.option(
    "--server", "servers", metavar="URL", multiple=True, help="Publish to this server of NATS."
)
@click.option(
    "--host",
    metavar="ID",
    callback=lambda context, option, given: _checked_id(given),
    help="The id of this host.  [default: its name, with _]",
)
@click.option("--socket", metavar="PATH", help="Follow the nodedevd that serves PATH.")
@click.option("--state-directory", metavar="PATH", help="Keep the name of the publisher in PATH.")
@click.option("--make-bucket", is_flag=True, help="Make the bucket, as an administrator, and exit.")
@click.option(
    "--replicas",
    type=click.IntRange(1, 5),
    default=1,
    show_default=True,
    help="With --make-bucket: the number of servers of a cluster that keep it.",
)
@click.option(
    "--max-bytes",
    type=click.IntRange(1 << 20),
    default=1 << 30,
    show_default=True,
    help="With --make-bucket: the most bytes; leave the disk room beyond.",
)
@click.option("-v", "--verbose", count=True, help="Also log what is of interest to developers.")
@click.version_option(__version__, prog_name="nodedevd-publish")
def main(
    config: str | None,
    servers: tuple[str, ...],
    host: str | None,
    socket: str | None,
    state_directory: str | None,
    make_bucket: bool,
    replicas: int,
    max_bytes: int,
    verbose: int,
) -> None:
    """Publish the devices of this host to a fleet, a bucket of NATS JetStream."""
    set_up_logging(verbose, "nodedevd-publish")
    try:
        if servers and config is None:
            configuration = Configuration(servers=servers)
        else:
            configuration = read_configuration(config or DEFAULT_PATH)
        given = {
            "servers": servers,
            "host": host,
            "socket": socket,
            "state_directory": state_directory,
        }
        configuration = replace(configuration, **{key: one for key, one in given.items() if one})
        check_servers(configuration)
        if make_bucket:
            asyncio.run(_make(configuration, replicas, max_bytes))
        else:
            asyncio.run(_run(configuration))
    except (BadConfiguration, BadAccess) as error:
        log.error("%s", error)
        sys.exit(EXIT_CONFIGURATION)
    except AlreadyPublishing as error:
        log.error("%s", error)
        sys.exit(EXIT_ALREADY_PUBLISHING)
    except (NodedevError, OSError) as error:
        log.error("%s", error)
        sys.exit(EXIT_FAILURE)


def _checked_id(given: str | None) -> str | None:
    """Return the id of a host. Raises BadParameter if it cannot be a part of a key."""
    if given is not None and not is_host_id(given):
        raise click.BadParameter(
            f"{given!r} is no id: give 1 to 64 ASCII letters, digits, - or _, such as"
            f" {host_id(given)}"
        )
    return given


async def _make(configuration: Configuration, replicas: int, max_bytes: int) -> None:
    """Make the bucket; a server that has just started takes a while until it can."""
    until = time.monotonic() + _START_SECONDS
    while True:
        bucket = None
        try:
            bucket = await Bucket.open(configuration)
            made = await bucket.make(replicas=replicas, max_bytes=max_bytes)
            break
        except FleetUnreachable:
            if time.monotonic() > until:
                raise
            await asyncio.sleep(0.2)
        finally:
            if bucket is not None:
                await bucket.close()
    log.info("the bucket %s %s", configuration.bucket, "is made" if made else "is there already")


async def _run(configuration: Configuration) -> None:
    """Publish until a signal."""
    try:
        import nats  # noqa: F401
    except ImportError:
        raise NoNats("nats-py") from None
    login(configuration)  # what is wrong now is a mistake; later it may be an update of the file
    identity = Identity(configuration.state, configuration.own_id)
    source = Source(configuration.socket)
    publisher = Publisher(
        configuration, source, identity, on_state=lambda text: systemd.notify(f"STATUS={text}")
    )
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    tasks = [asyncio.ensure_future(source.follow()), asyncio.ensure_future(publisher.run())]
    systemd.notify("READY=1")
    interval = systemd.watchdog_interval()
    stopped = asyncio.ensure_future(stop.wait())
    try:
        while not stopped.done():
            await asyncio.wait(
                [stopped, *tasks],
                timeout=None if interval is None else interval / 2,
                return_when=asyncio.FIRST_COMPLETED,
            )
            systemd.notify("WATCHDOG=1")
            for task in tasks:
                if task.done():
                    task.result()
    finally:
        systemd.notify("STOPPING=1")
        for task in tasks:
            task.cancel()
            with suppress(asyncio.CancelledError, NodedevError):
                await task
        await publisher.leave()
        await source.close()
        identity.close()


if __name__ == "__main__":
    main()
