"""nodedevd: scans the host, then serves its devices until it is told to stop.

One event loop, one scan thread; only frozen values pass between them.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import signal
import socket
import sys
import threading
from collections.abc import Sequence
from contextlib import ExitStack
from functools import partial

import click
import msgspec

from nodedevd import __version__, systemd
from nodedevd.errors import NodedevError, SocketInUse
from nodedevd.follow.follower import EventChoice, Follower
from nodedevd.follow.follower import Options as FollowOptions
from nodedevd.follow.shared_look import SharedLook
from nodedevd.host.sysroot import Sysroot
from nodedevd.logs import set_up_logging
from nodedevd.model.status import Followed, ScanTimes, Status, build_status, now
from nodedevd.model.store import Store
from nodedevd.questions.in_use import look
from nodedevd.server.acceptor import Server
from nodedevd.server.conversation import ConversationFactory
from nodedevd.server.encodings import Encodings
from nodedevd.server.libvirt.conversation import LibvirtConversations
from nodedevd.server.libvirt.devices import NodeDevices
from nodedevd.server.listener import Listener, open_listener
from nodedevd.server.varlink.conversation import VarlinkConversations
from nodedevd.server.varlink.interface import DevicesInterface
from nodedevd.server.varlink.service import Service
from nodedevd.socket_paths import INTERFACE, default_socket_path
from nodedevd.text import printable

log = logging.getLogger(__name__)

STOP_SECONDS = 5.0
"""How long a stop waits for clients, and for a read that is under way."""

EXIT_FAILURE = 1
EXIT_SOCKET_IN_USE = 3


_LIBVIRT_NAMES = ("libvirt", "libvirt-ro")
"""FileDescriptorName= of the sockets for libvirt's clients, systemd.socket(5)."""


class Options(msgspec.Struct, frozen=True):
    """What the daemon was asked for."""

    sysroot: str = "/"
    socket: str | None = None
    """None: where systemd hands one over, that; else the default path"""
    libvirt_socket: str | None = None
    """for libvirt's clients; None: one handed over as `libvirt`, or none"""
    libvirt_socket_ro: str | None = None
    """the same for those that only read, handed over as `libvirt-ro`"""
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
        self._store = Store()
        self._follower = Follower(self._sysroot, self._store, options.follow)
        # A sysroot of its own: one belongs to one thread.
        self._shared_look = SharedLook(partial(look, Sysroot(options.sysroot)))
        encodings = Encodings(self._store)
        devices = DevicesInterface(encodings, self.status, self._follower, self._shared_look.look)
        service = Service(
            vendor="nodedevd",
            product="nodedevd",
            version=__version__,
            url="",
            interfaces=[devices.interface()],
            error_namespace=INTERFACE,
        )
        self._varlink = VarlinkConversations(service, lambda: self._store.snapshot.generation)
        self._libvirt = LibvirtConversations(NodeDevices(encodings), self._follower)
        self._server = Server()

    async def run(self) -> None:
        """Scan, serve, and return once SIGTERM or SIGINT came.

        Raises NotASysroot, SocketInUse, OSError.
        """
        loop = asyncio.get_running_loop()
        Sysroot.loop_thread = threading.get_ident()
        for signum in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(signum, self._stop.set)
        self._sysroot.check()
        listening = self._listen()
        stop = asyncio.create_task(self._stop.wait())
        start = asyncio.create_task(self._start(listening))
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
            self._server.close()
            await self._server.wait_closed()
            for listener, _ in listening:
                listener.close()
            await self._shared_look.close(0)
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
                unanswered_reads=follower.reads.unanswered(),
                watchers=self._store.subscriptions,
            ),
            clients=self._server.clients,
            calls=self._varlink.calls + self._libvirt.calls,
        )

    def _listen(self) -> list[tuple[Listener, ConversationFactory]]:
        """Return the wanted listeners, each with the protocol that it serves."""
        handed = systemd.listen_sockets()
        libvirt = {name: (name, sock) for name, sock in handed if name in _LIBVIRT_NAMES}
        others = [(name, sock) for name, sock in handed if name not in _LIBVIRT_NAMES]
        first = others[0] if others else None
        path = self._options.socket
        if path is None and first is None:
            path = default_socket_path()
        paths = (path, self._options.libvirt_socket, self._options.libvirt_socket_ro)
        sockets = (first, *map(libvirt.get, _LIBVIRT_NAMES))
        protocols = (self._varlink, self._libvirt, self._libvirt)
        with ExitStack() as opened:
            listening: list[tuple[Listener, ConversationFactory]] = []
            for protocol, path, handed_over in zip(protocols, paths, sockets, strict=True):
                listener = self._listen_on(path, handed_over)
                if listener is not None:
                    opened.callback(listener.close)
                    listening.append((listener, protocol))
            opened.pop_all()
        return listening

    def _listen_on(
        self, path: str | None, handed_over: tuple[str, socket.socket] | None
    ) -> Listener | None:
        if path is not None:
            options = self._options
            return open_listener(path, mode=options.socket_mode, group=options.socket_group)
        if handed_over is None:
            return None
        name, sock = handed_over
        log.info("serving on the socket %s handed over by systemd", name or "(unnamed)")
        return Listener.adopt(sock)

    async def _start(self, listening: Sequence[tuple[Listener, ConversationFactory]]) -> None:
        # The tree stays: a collection finds nothing in it, while it grows or later.
        gc.disable()
        await self._follower.start()
        gc.freeze()
        gc.enable()
        for listener, protocol in listening:
            self._server.listen(listener.socket, protocol)
        times = self._follower.last_scan
        seconds = 0.0 if times is None else times.seconds
        state = f"{len(self._store.snapshot)} devices, read in {seconds:.3f} s"
        paths = ", ".join(listener.path for listener, _ in listening)
        log.info("serving %s on %s: %s", self._sysroot.root, paths, state)
        for fault in self.status().errors if log.isEnabledFor(logging.DEBUG) else ():
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
    "--libvirt-socket",
    metavar="PATH",
    help="Socket to serve libvirt's clients on, as virsh.",
)
@click.option(
    "--libvirt-socket-ro",
    metavar="PATH",
    help="The same for clients that only read, as virsh -r.",
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
    help="How old the counts of an mdev parent, or the profile of a vGPU, may be when served.",
)
@click.option("-v", "--verbose", count=True, help="Log more.")
@click.version_option(__version__, prog_name="nodedevd")
def main(
    sysroot: str,
    socket: str | None,
    libvirt_socket: str | None,
    libvirt_socket_ro: str | None,
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
        libvirt_socket=libvirt_socket,
        libvirt_socket_ro=libvirt_socket_ro,
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
