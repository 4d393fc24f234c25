"""MetricsService: wires the metrics of a daemon to sockets, and serves them.

`nodedevd.metrics.__main__` is the command.
"""

from __future__ import annotations

import asyncio
import logging
import signal
import socket
from ipaddress import ip_address
from itertools import count
from typing import Final

import msgspec

from nodedevd import __version__, systemd
from nodedevd.metrics.http import BriefConnection, HttpConversations
from nodedevd.metrics.listening import ADDRESS, BACKLOG, check_loopback, listening
from nodedevd.metrics.report import ReportInterface
from nodedevd.metrics.scrapes import Asker, Scrapes
from nodedevd.server.acceptor import Server
from nodedevd.server.account import AccountLimits
from nodedevd.server.conversation import NO_UID, Peer
from nodedevd.server.listener import Listener, open_listener
from nodedevd.server.varlink.conversation import VarlinkConversations
from nodedevd.server.varlink.service import Service
from nodedevd.socket_paths import INTERFACE

CLIENTS: Final = 64
"""Connections at once, of each protocol."""
STOP_SECONDS: Final = 2.0
_HTTP_PLACES: Final = AccountLimits(
    places=CLIENTS, kept_places=0, user_bytes=4 << 20, all_bytes=16 << 20
)
_REPORT_PLACES: Final = AccountLimits(
    places=CLIENTS, kept_places=4, user_bytes=4 << 20, all_bytes=16 << 20
)
_MESSAGE_BYTES: Final = 64 << 10

# TCP does not tell whose a client is, so that each is a user of its own, and none is favoured.
_nobodies = count(NO_UID)

log = logging.getLogger(__name__)


class Options(msgspec.Struct, frozen=True):
    """Whom the service asks, and where it answers."""

    socket: str | None = None
    """socket of the daemon; None: those that clients try"""
    listen: str | None = None
    """loopback address and port for HTTP; None: the socket from systemd, or else ADDRESS"""
    report: str | None = None
    """path of the socket for systemd-report; None: the socket from systemd, if there is one"""


class MetricsService:
    """Serves metrics; made on a running event loop."""

    def __init__(self, options: Options) -> None:
        self._options = options
        self._stop = asyncio.Event()
        self._asker = Asker(options.socket)
        self._scrapes = Scrapes(self._asker.read)
        self._http = Server(
            accounts=_HTTP_PLACES,
            identify=lambda sock: Peer(0, next(_nobodies)),
            connection=BriefConnection,
        )
        self._report = Server(accounts=_REPORT_PLACES)
        self._listeners: list[Listener] = []

    async def run(self) -> None:
        """Serve until SIGTERM, SIGINT or SIGHUP. Raises NotLoopback, BadSocketPath, SocketInUse."""
        loop = asyncio.get_running_loop()
        for signum in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            loop.add_signal_handler(signum, self._stop.set)
        try:
            self._open()
            systemd.notify("READY=1")
            interval = systemd.watchdog_interval()
            if interval is not None:
                self._feed_watchdog(interval)
            await self._stop.wait()
            systemd.notify("STOPPING=1")
        finally:
            for server in (self._http, self._report):
                server.close()
            for server in (self._http, self._report):
                await server.wait_closed()
            for listener in self._listeners:
                listener.close()
            self._scrapes.close(STOP_SECONDS)

    def _open(self) -> None:
        """Serve on the sockets from systemd, or on those of the options."""
        handed_over = systemd.listen_sockets()
        for name, sock in handed_over:
            if sock.family == socket.AF_UNIX:
                self._serve_report(Listener.adopt(sock))
            else:
                self._serve_http(sock)
            log.info("serving on the socket %s handed over by systemd", name or "(unnamed)")
        if self._options.listen is not None or not handed_over:
            self._serve_http(listening(self._options.listen or ADDRESS))
        if self._options.report is not None:
            self._serve_report(open_listener(self._options.report, backlog=BACKLOG))

    def _serve_http(self, sock: socket.socket) -> None:
        host, port, *_ = sock.getsockname()
        check_loopback(ip_address(host), f"{host}:{port}")
        self._http.listen(sock, HttpConversations(self._scrapes.text))
        log.info("serving http://%s:%d/metrics", f"[{host}]" if ":" in host else host, port)

    def _serve_report(self, listener: Listener) -> None:
        service = Service(
            vendor="nodedevd",
            product="nodedevd-metrics",
            version=__version__,
            url="",
            interfaces=[ReportInterface(self._scrapes.metrics).interface()],
            error_namespace=INTERFACE,
        )
        conversations = VarlinkConversations(service, object, message_bytes=_MESSAGE_BYTES)
        self._report.listen(listener.socket, conversations)
        self._listeners.append(listener)
        log.info("serving systemd-report on %s", listener.path)

    def _feed_watchdog(self, interval: float) -> None:
        """Notify the watchdog now, and again after half of its interval."""
        systemd.notify("WATCHDOG=1")
        asyncio.get_running_loop().call_later(interval / 2, self._feed_watchdog, interval)
