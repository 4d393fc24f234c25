"""ControlDaemon: wires what makes changes to the server, and runs it from start to idleness.

`nodedevd.control.__main__` is the command.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import threading
import time
from contextlib import suppress
from functools import partial
from typing import Final

import msgspec

from nodedevd import __version__, descriptors, systemd
from nodedevd.actions.answers import ControlStatus, LayoutOutcome, MadeList, Outcome
from nodedevd.actions.requests import ApplyLayout, Request
from nodedevd.control import polkit
from nodedevd.control.acting import STATE, Acting
from nodedevd.control.asker import Asker, asker_of, this_process
from nodedevd.control.authorise import AuthorisedService, Authoriser
from nodedevd.control.autostart import Autostart
from nodedevd.control.configuration import DEFAULT_PATH, read_configuration
from nodedevd.control.connection import ControlConnection
from nodedevd.control.layouts import Layouts
from nodedevd.control.methods import ControlInterface
from nodedevd.control.view import View
from nodedevd.control.workers import Workers
from nodedevd.errors import CONTROL_INTERFACE, TooFewDescriptors
from nodedevd.host.sysroot import Sysroot
from nodedevd.server.acceptor import Server
from nodedevd.server.account import AccountLimits
from nodedevd.server.listener import Listener, make_runtime_directory, open_listener
from nodedevd.server.varlink.conversation import VarlinkConversations
from nodedevd.socket_paths import control_socket_path

log = logging.getLogger(__name__)

AUTOSTART: Final = "run/nodedevd/autostart"
"""Directory below the sysroot, made by nodedevd-control-autostart.service; see `Autostart`."""
LAYOUT: Final = "run/nodedevd/layout"
"""Directory below the sysroot, made by nodedevd-layout.service; see `Layouts`."""
MESSAGE_BYTES: Final = 64 << 10
CLIENTS: Final = 256
_USER_BYTES: Final = 4 << 20
_ALL_BYTES: Final = 16 << 20
LOOKS: Final = 8
"""Threads for what changes nothing, and as many for root's; one user has half of them."""
STOP_SECONDS: Final = 20.0
"""How long a stop waits for changes in progress; the next start takes up what is left of them."""
RECOVER_SECONDS: Final = 30.0
"""How long a start waits for interrupted changes to be taken up."""
_ANSWER_LOOKS: Final = 100
_ANSWER_SECONDS: Final = 1.0
"""How long a stop waits for the answers to be sent; calls that were never begun get none."""
_LOOK_FOR_DIRECTORY: Final = 5.0
_LOOK_AT_MOST: Final = 1.0
_LOOKS_WHILE_IDLE: Final = 20


class Options(msgspec.Struct, frozen=True):
    """What the service changes, and for whom."""

    sysroot: str = "/"
    socket: str | None = None
    """None: the socket from systemd, or else the default path"""
    socket_mode: int = 0o660
    socket_group: str | None = None
    configuration: str | None = None
    """path of the configuration; None: the default one, if it is there"""
    reader: str | None = None
    """socket of the daemon that reads; None: those that clients try"""
    scan: bool = False
    """whether the host is scanned although there is a daemon"""


class ControlDaemon:
    """One host, changed for clients; made on a running event loop.

    Raises BadConfiguration, TooFewDescriptors, UnsafePath, OSError.
    """

    def __init__(self, options: Options) -> None:
        self._options = options
        path = options.configuration
        self._configuration = read_configuration(path or DEFAULT_PATH, required=path is not None)
        limits = self._configuration.limits
        clients = min(CLIENTS, descriptors.share_out(descriptors.raise_limit()).clients)
        if clients < 1:
            raise TooFewDescriptors(descriptors.raise_limit())
        Sysroot(options.sysroot).check()
        view = View(
            options.sysroot,
            options.reader,
            daemon=not options.scan,
            directory=os.path.join(os.path.abspath(options.sysroot), STATE),
        )
        self._acting = Acting(options.sysroot, configuration=self._configuration, view=view)
        root = os.path.abspath(options.sysroot)
        autostart, layout = os.path.join(root, AUTOSTART), os.path.join(root, LAYOUT)
        self._autostart = Autostart(
            view,
            lambda request: self._acting.act(request, this_process()),
            options.sysroot,
            autostart,
        )
        self._layouts = Layouts(
            view, self._acting.apply_card, self._acting.claims, options.sysroot, layout
        )
        self._acting.not_started = self._autostart.not_started
        self._acting.not_applied = self._layouts.not_applied
        self._following = {autostart: self._autostart.run, layout: self._layouts.run}
        self._stop = asyncio.Event()
        self._changes = Workers("change", limits.actions, limits.actions_per_user)
        self._looks = Workers("look", LOOKS, LOOKS // 2)
        self._server = Server(
            accounts=AccountLimits(places=clients, user_bytes=_USER_BYTES, all_bytes=_ALL_BYTES),
            identify=asker_of,
            connection=ControlConnection,
        )
        self._listener: Listener | None = None
        self._activated = False
        self._busy_until = time.monotonic()

    async def run(self) -> None:
        """Serve until SIGTERM, SIGINT or SIGHUP; when systemd starts it again, until it is idle.

        Raises SocketInUse, BadSocketPath, NodedevError, OSError.
        """
        loop = asyncio.get_running_loop()
        for signum in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            loop.add_signal_handler(signum, self._stop.set)
        try:
            self._listener = self._open()
            await self._recover()
            self._serve(self._listener)
            await self._stop.wait()
            log.info("stopping")
            systemd.notify("STOPPING=1")
        finally:
            await self._close()

    # -- what `methods.Changes` wants ------------------------------------------------------------

    def act(self, request: Request, asker: Asker) -> Outcome:
        """Make a change; see `Acting.act`."""
        return self._acting.act(request, asker)

    def apply_layout(self, request: ApplyLayout, asker: Asker) -> LayoutOutcome:
        """Make the host as its layout declares it; see `Acting.apply_layout`."""
        return self._acting.apply_layout(request, asker)

    def made(self) -> MadeList:
        """Return whose the devices are; see `Acting.made`."""
        return self._acting.made()

    def status(self) -> ControlStatus:
        """Return the state of the service."""
        return self._acting.status(clients=self._server.clients, queued=self._changes.queued)

    # -- start and stop --------------------------------------------------------------------------

    def _open(self) -> Listener:
        """Open the socket, or take it over from systemd."""
        handed_over = systemd.listen_sockets()
        path = self._options.socket
        if path is None and handed_over:
            name, sock = handed_over[0]
            self._activated = True
            log.info("serving on the socket %s handed over by systemd", name or "(unnamed)")
            return Listener.adopt(sock)
        if path is None:
            path = control_socket_path()
            if make_runtime_directory(path):
                log.info("created the directory %s", os.path.dirname(path))
        options = self._options
        return open_listener(path, mode=options.socket_mode, group=options.socket_group)

    def _serve(self, listener: Listener) -> None:
        authoriser = Authoriser(
            self._configuration,
            lambda method, asker: self._looks.run(asker.uid, partial(polkit.check, method, asker)),
        )
        interface = ControlInterface(
            self, self._changes, self._looks, authoriser, self._configuration.libvirt_sockets
        ).interface()
        service = AuthorisedService(
            authoriser,
            vendor="nodedevd",
            product="nodedevd-control",
            version=__version__,
            url="",
            interfaces=[interface],
            error_namespace=CONTROL_INTERFACE,
        )
        # Every reply is a client's own.
        conversations = VarlinkConversations(service, object, message_bytes=MESSAGE_BYTES)
        self._server.listen(listener.socket, conversations)
        for directory in self._following:
            self._follow(directory)
        log.info("changing %s for clients of %s", self._options.sysroot, listener.path)
        systemd.notify("READY=1")
        interval = systemd.watchdog_interval()
        if interval is not None:
            self._feed_watchdog(interval)
        idle_seconds = self._configuration.limits.idle_seconds
        # Nobody would start it again for the next client, if systemd does not have the socket.
        if self._activated and idle_seconds:
            self._busy_until = time.monotonic()
            self._end_when_idle(idle_seconds, min(_LOOK_AT_MOST, idle_seconds / _LOOKS_WHILE_IDLE))

    def _follow(self, directory: str) -> None:
        """Follow the host for what is to be done by itself, if that is wanted; else look later."""
        if os.path.isdir(directory):
            follow, name = self._following[directory], os.path.basename(directory)
            threading.Thread(target=follow, name=name, daemon=True).start()
        else:
            asyncio.get_running_loop().call_later(_LOOK_FOR_DIRECTORY, self._follow, directory)

    def _end_when_idle(self, seconds: float, interval: float) -> None:
        """Stop if there has been nothing to do for so long; else look again later."""
        now = time.monotonic()
        if self._busy:
            self._busy_until = now
        elif now - self._busy_until >= seconds:
            log.info("idle for %g s", seconds)
            self._stop.set()
            return
        asyncio.get_running_loop().call_later(interval, self._end_when_idle, seconds, interval)

    @property
    def _busy(self) -> bool:
        if self._server.clients or self._changes.busy or self._looks.busy or self._layouts.busy:
            return True
        try:
            return self._acting.busy
        except OSError:
            return True

    def _feed_watchdog(self, interval: float) -> None:
        """Notify the watchdog now, and again after half of its interval."""
        systemd.notify("WATCHDOG=1")
        asyncio.get_running_loop().call_later(interval / 2, self._feed_watchdog, interval)

    async def _recover(self) -> None:
        """Take up what a killed service has left, before anybody asks for more.

        A driver can hang in that, too. Then only its card waits: it stays locked.
        """
        future = self._looks.run(0, self._acting.recover)
        stop = asyncio.ensure_future(self._stop.wait())
        await asyncio.wait(
            (future, stop), timeout=RECOVER_SECONDS, return_when=asyncio.FIRST_COMPLETED
        )
        stop.cancel()
        if future.done():
            future.result()
        elif not self._stop.is_set():
            log.warning("an interrupted change is still being taken up: a driver does not answer")

    async def _close(self) -> None:
        self._autostart.stop()
        self._layouts.stop()
        # Changes in progress get their time, and their clients the answers.
        if not await self._changes.close(STOP_SECONDS):
            log.warning("a change is still in progress; the next start takes it up")
        for _ in range(_ANSWER_LOOKS):
            if self._server.answering:
                await asyncio.sleep(_ANSWER_SECONDS / _ANSWER_LOOKS)
        await self._looks.close(0)
        self._server.close()
        await self._server.wait_closed()
        if self._listener is not None:
            self._listener.close()
        with suppress(OSError):
            self._acting.close()
