"""nodedevd: scans the host, then serves its devices until it is told to stop.

One event loop, one scan thread; only frozen values pass between them.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import signal
import sys
import threading

import click
import msgspec

from nodedevd import __version__, systemd
from nodedevd.errors import NodedevError, SocketInUse
from nodedevd.follow import EventChoice, Follower
from nodedevd.follow import Options as FollowOptions
from nodedevd.interface import NAME, DevicesInterface
from nodedevd.listener import Listener, default_socket_path, open_listener
from nodedevd.logs import set_up_logging
from nodedevd.server import Server
from nodedevd.service import Service
from nodedevd.status import Followed, ScanTimes, Status, build_status, now
from nodedevd.store import Store
from nodedevd.sysroot import Sysroot
from nodedevd.table import printable

log = logging.getLogger(__name__)

STOP_SECONDS = 5.0
"""How long a stop waits for clients, and for a read that is under way."""

EXIT_FAILURE = 1
EXIT_SOCKET_IN_USE = 3


class Options(msgspec.Struct, frozen=True):
    """What the daemon was asked for."""

    sysroot: str = "/"
    socket: str | None = None
    """None: where systemd hands one over, that; else the default path"""
    socket_mode: int = 0o666
    socket_group: str | None = None
    follow: FollowOptions = FollowOptions()


class Daemon:
    """The parts, wired together; `run` takes them from start to stop."""

    def __init__(self, options: Options) -> None:
        self._options = options
        self._sysroot = Sysroot(options.sysroot)
        self._started = now()
        self._stop = asyncio.Event()
        self._serving = False
        self._store = Store()
        self._follower = Follower(self._sysroot, self._store, options.follow)
        devices = DevicesInterface(self._store, self.status, self._follower.fresh)
        self._server = Server(
            Service(
                vendor="nodedevd",
                product="nodedevd",
                version=__version__,
                url="",
                interfaces=[devices.interface()],
                error_namespace=NAME,
            )
        )

    async def run(self) -> None:
        """Scan, serve, and return once SIGTERM or SIGINT came.

        Raises NotASysroot, SocketInUse, OSError.
        """
        loop = asyncio.get_running_loop()
        Sysroot.loop_thread = threading.get_ident()
        for signum in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(signum, self._stop.set)
        self._sysroot.check()
        listener = self._listen()
        stop = asyncio.create_task(self._stop.wait())
        start = asyncio.create_task(self._start(listener))
        try:
            await asyncio.wait({start, stop}, return_when=asyncio.FIRST_COMPLETED)
            if start.done():
                start.result()
                await stop
        finally:
            log.info("stopping")
            systemd.notify("STOPPING=1")
            for task in (start, stop):
                task.cancel()
            await asyncio.gather(start, stop, return_exceptions=True)
            if self._serving:
                self._server.close()
                await self._server.wait_closed()
            listener.close()
            await self._follower.close(STOP_SECONDS)
            Sysroot.loop_thread = None

    def status(self) -> Status:
        """Return how the daemon is doing."""
        follower, counters = self._follower, self._follower.counters
        return build_status(
            self._store.snapshot,
            sysroot=self._sysroot.root,
            started=self._started,
            last_scan=follower.last_scan or ScanTimes(finished=self._started, seconds=0.0),
            followed=Followed(
                event_source=follower.event_source,
                events=counters.events,
                last_event=counters.last_event,
                updates=counters.updates,
                overflows=counters.overflows,
                monitor_errors=counters.monitor_errors,
                rescans=counters.rescans,
                missed_changes=counters.missed,
                unanswered_reads=follower.unanswered(),
                watchers=self._store.subscriptions,
            ),
            clients=self._server.clients,
            calls=self._server.calls,
        )

    def _listen(self) -> Listener:
        if self._options.socket is None:
            for name, sock in systemd.listen_sockets():
                log.info("serving on the socket %s handed over by systemd", name or "(unnamed)")
                return Listener.adopt(sock)
        path = self._options.socket or default_socket_path()
        return open_listener(path, mode=self._options.socket_mode, group=self._options.socket_group)

    async def _start(self, listener: Listener) -> None:
        await self._follower.start()
        # The tree stays: keep it out of every later collection.
        gc.collect()
        gc.freeze()
        await self._server.start(listener.socket)
        self._serving = True
        status = self.status()
        state = f"{status.devices} devices, read in {status.last_scan.seconds:.3f} s"
        log.info("serving %s on %s: %s", self._sysroot.root, listener.path, state)
        for fault in status.errors:
            attribute, detail = printable(fault.attribute), printable(fault.detail)
            log.debug("%s: %s: %s %s", fault.device or "host", attribute, fault.code, detail)
        systemd.notify(f"READY=1\nSTATUS={state}")
        self._feed_watchdog(systemd.watchdog_interval())

    def _feed_watchdog(self, seconds: float | None) -> None:
        if seconds is not None:
            systemd.notify("WATCHDOG=1")
            asyncio.get_running_loop().call_later(seconds / 2, self._feed_watchdog, seconds)


def _mode(context: click.Context, parameter: click.Parameter, value: str) -> int:
    try:
        mode = int(value, 8)
    except ValueError:
        mode = -1
    if not 0 <= mode <= 0o777:
        raise click.BadParameter(f"{value!r} is no file mode; give three octal digits, as 660")
    return mode


_EPILOG = """\b
Example: serve a recorded host, and look at it
  nodedevd --sysroot fixtures/sysfs/vgpu-sriov --socket /tmp/nodedevd.sock
  nodedevctl --socket /tmp/nodedevd.sock tree

Exit status: 0 stopped by SIGTERM or SIGINT, 1 failure, 2 wrong usage, 3 another daemon
serves the socket."""


@click.command(
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog=_EPILOG,
)
@click.option(
    "--sysroot",
    default="/",
    show_default=True,
    metavar="DIR",
    help="Host to serve: a directory that holds sys/.",
)
@click.option(
    "--socket",
    metavar="PATH",
    help="Socket to serve on, instead of one from systemd or the default.",
)
@click.option(
    "--socket-mode",
    default="666",
    show_default=True,
    callback=_mode,
    metavar="MODE",
    help="Who may connect. What is served can be read in sysfs by every user.",
)
@click.option("--socket-group", metavar="GROUP", help="Group of the socket.")
@click.option(
    "--events",
    type=click.Choice(["auto", "udev", "kernel", "none"]),
    default="auto",
    show_default=True,
    help="Whose uevents to follow. auto: udevd's if it runs, else the kernel's; none for a "
    "recorded host.",
)
@click.option(
    "--reconcile",
    type=click.FloatRange(min=0),
    default=300.0,
    show_default=True,
    metavar="SECONDS",
    help="How often to look for changes of which no uevent told; 0: never.",
)
@click.option(
    "--count-age",
    type=click.FloatRange(min=0),
    default=1.0,
    show_default=True,
    metavar="SECONDS",
    help="How old the counts of an mdev parent may be when they are served.",
)
@click.option("-v", "--verbose", count=True, help="Log more.")
@click.version_option(__version__, prog_name="nodedevd")
def main(
    sysroot: str,
    socket: str | None,
    socket_mode: int,
    socket_group: str | None,
    events: EventChoice,
    reconcile: float,
    count_age: float,
    verbose: int,
) -> None:
    """Serve the node devices of this host over a Unix socket."""
    set_up_logging(verbose)
    options = Options(
        sysroot=sysroot,
        socket=socket,
        socket_mode=socket_mode,
        socket_group=socket_group,
        follow=FollowOptions(
            events=events, reconcile_seconds=reconcile, count_age_seconds=count_age
        ),
    )
    try:
        asyncio.run(_run(options))
    except SocketInUse as error:
        log.error("%s", error)
        sys.exit(EXIT_SOCKET_IN_USE)
    except (NodedevError, OSError) as error:
        log.error("%s", error)
        sys.exit(EXIT_FAILURE)


async def _run(options: Options) -> None:
    await Daemon(options).run()
