"""Daemon: wires the follower and the servers together, and runs them from start to stop.

Everything runs on one event loop, except for the threads that read the host; only frozen values
pass between them. `nodedevd.__main__` and `nodedevd.command` have the command line.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import signal
import socket
import sys
import threading
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING

import msgspec

from nodedevd import __version__, descriptors, malloc, systemd
from nodedevd.drawing.words import title_of
from nodedevd.errors import NodedevError, SocketInUse, TooFewDescriptors
from nodedevd.follow.follower import Follower
from nodedevd.follow.options import FollowOptions
from nodedevd.follow.shared_look import SharedLook, looking, read_processes, unanswered
from nodedevd.host.sysroot import Sysroot
from nodedevd.logs import lost_messages, set_up_logging
from nodedevd.model.status import Status, Tally, build_status, now
from nodedevd.model.store import Store
from nodedevd.server.acceptor import Server, connected_peer_of
from nodedevd.server.account import AccountLimits
from nodedevd.server.by_peer import ByPeer
from nodedevd.server.conversation import ConversationFactory
from nodedevd.server.encodings import Encodings
from nodedevd.server.late import Late
from nodedevd.server.listener import Listener, make_runtime_directory, open_listener
from nodedevd.server.tidying import Aging, Tidying
from nodedevd.server.varlink.conversation import VarlinkConversations
from nodedevd.server.varlink.methods import DevicesInterface, Looks
from nodedevd.server.varlink.pictures import read_facts
from nodedevd.server.varlink.service import Service
from nodedevd.socket_paths import INTERFACE, default_socket_path
from nodedevd.text import printable

if TYPE_CHECKING:
    from nodedevd.host.assignment import AssignmentFacts
    from nodedevd.host.device_nodes import DeviceNodes
    from nodedevd.server.libvirt.conversation import LibvirtConversations
    from nodedevd.server.libvirt.devices import NodeDevices
    from nodedevd.server.libvirt.session import Writer
    from nodedevd.server.libvirt.waiting import Places

log = logging.getLogger(__name__)

SWITCH_SECONDS = 0.0005
"""How long another thread keeps the interpreter when the loop wants it."""
EXIT_FAILURE = 1
EXIT_SOCKET_IN_USE = 3
STOP_SECONDS = 0.5
"""How long a stop waits for the read of one device that is in progress."""

_LIBVIRT_NAMES = ("libvirt", "libvirt-ro")
"""FileDescriptorName= of the sockets for libvirt's clients, systemd.socket(5)."""


class Options(msgspec.Struct, frozen=True):
    """What the daemon serves, and where."""

    sysroot: str = "/"
    socket: str | None = None
    """for Varlink; None: the socket from systemd, or else the default path"""
    libvirt_socket: str | None = None
    """for libvirt's clients; None: the socket `libvirt` from systemd, if there is one"""
    libvirt_socket_ro: str | None = None
    """for libvirt's clients that only read; None: the socket `libvirt-ro` from systemd"""
    libvirt_writes: bool = False
    """whether libvirt's clients may have the control service change devices"""
    socket_mode: int = 0o666
    socket_group: str | None = None
    show_root_only: bool = False
    """whether every client sees what sysfs shows to root alone"""
    follow: FollowOptions = FollowOptions()


def serve(options: Options, verbose: int = 0) -> int:
    """Serve a host until SIGTERM or SIGINT; return the exit status.

    With `verbose`, every value that cannot be read is logged, too.
    """
    set_up_logging(verbose)
    try:
        asyncio.run(_serve(options))
    except SocketInUse as error:
        log.error("%s", error)
        return EXIT_SOCKET_IN_USE
    except (NodedevError, OSError) as error:
        log.error("%s", error)
        return EXIT_FAILURE
    return 0


async def _serve(options: Options) -> None:
    await Daemon(options).run()


class Daemon:
    """One host, followed and served; made on a running event loop.

    Raises TooFewDescriptors.
    """

    def __init__(self, options: Options) -> None:
        self._options = options
        self._started = now()
        limit = descriptors.raise_limit()
        self._descriptors = descriptors.share_out(limit, writes=options.libvirt_writes)
        if self._descriptors.clients < 1:
            raise TooFewDescriptors(self._descriptors.limit)
        self._stop = asyncio.Event()
        self._sysroot = Sysroot(options.sysroot)
        self._store = Store()
        follow = msgspec.structs.replace(options.follow, hanging_at_most=self._descriptors.hanging)
        self._follower = Follower(self._sysroot, self._store, follow)
        # A Sysroot belongs to one thread, so each look has its own.
        hanging = self._descriptors.hanging_of_look
        self._processes = SharedLook(
            "in-use",
            looking(Sysroot(options.sysroot), read_processes),
            unanswered=unanswered,
            hanging_at_most=hanging,
        )
        self._assignment = SharedLook(
            "assignment",
            looking(Sysroot(options.sysroot), _read_assignment_facts),
            unanswered=_no_assignment_facts,
            hanging_at_most=hanging,
        )
        self._nodes = SharedLook(
            "device-nodes",
            looking(Sysroot(options.sysroot), _read_device_nodes),
            hanging_at_most=hanging,
        )
        self._facts = SharedLook(
            "facts",
            looking(Sysroot(options.sysroot), read_facts),
            hanging_at_most=hanging,
        )
        self._caches: list[Aging] = []
        self._places: Places | None = None
        self._protocols: list[ConversationFactory] = []
        whole = self._protocols_over(Encodings(self._store))
        if options.show_root_only:
            self._varlink, self._libvirt, self._libvirt_ro = whole
        else:
            rest = self._protocols_over(Encodings(self._store, only_public=True))
            self._varlink, self._libvirt, self._libvirt_ro = map(ByPeer, whole, rest)
        self._server = Server(
            accounts=AccountLimits(places=self._descriptors.clients),
            identify=connected_peer_of if options.libvirt_writes else None,
        )
        self._tidying = Tidying(self._caches, malloc.trim)
        self._server.tidy = self._tidying.later
        self._listening: list[tuple[ConversationFactory, Listener]] = []

    async def run(self) -> None:
        """Serve the host until SIGTERM or SIGINT; SIGHUP has all of it read again.

        Raises NotASysroot, SocketInUse, BadSocketPath, OSError.
        """
        start = asyncio.create_task(self._start())
        for signum in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(signum, self._on_signal, start)
        asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, self._on_hangup)
        try:
            with suppress(asyncio.CancelledError):
                await start
            await self._stop.wait()
            log.info("stopping")
            systemd.notify("STOPPING=1")
        finally:
            await self._close()

    def status(self, tally: Tally | None = None) -> Status:
        """Return the state of the daemon and what it could not read.

        `tally` is that of the current snapshot, if the caller has it.
        """
        left_out, dropped = lost_messages()
        return build_status(
            self._store.snapshot,
            sysroot=self._sysroot.root,
            started=self._started,
            last_scan=self._follower.last_scan,
            followed=self._follower.followed,
            clients=self._server.clients,
            calls=sum(protocol.calls for protocol in self._protocols),
            tally=tally,
            log_left_out=left_out,
            log_dropped=dropped,
        )

    def _protocols_over(
        self, encodings: Encodings
    ) -> tuple[ConversationFactory, ConversationFactory, ConversationFactory]:
        """Return Varlink and libvirt's protocol, the latter also for clients that only read.

        All of these see these encodings.
        """
        varlink = self._varlink_conversations(encodings)
        libvirt = Late(partial(self._libvirt_conversations, encodings))
        libvirt_ro = Late(lambda: self._libvirt_for_readers(libvirt.made))
        self._caches += (encodings, varlink.replies)
        self._protocols.append(varlink)
        return varlink, libvirt, libvirt_ro

    def _libvirt_conversations(self, encodings: Encodings) -> LibvirtConversations:
        # A daemon without clients of libvirt imports nothing of it.
        from nodedevd.server.libvirt.conversation import LibvirtConversations
        from nodedevd.server.libvirt.devices import NodeDevices

        devices = NodeDevices(encodings)
        writes = self._writes_of(devices) if self._options.libvirt_writes else None
        libvirt = LibvirtConversations(devices, self._follower.volatile, writes=writes)
        self._caches.append(libvirt.replies)
        self._protocols.append(libvirt)
        return libvirt

    def _libvirt_for_readers(self, libvirt: LibvirtConversations) -> LibvirtConversations:
        readers = libvirt.for_readers()
        self._protocols.append(readers)
        return readers

    def _writes_of(self, devices: NodeDevices) -> Writer:
        # What changes devices is imported by a daemon that is to.
        from nodedevd.client.asynchronous_control import AsyncControl
        from nodedevd.server.libvirt.waiting import Places
        from nodedevd.server.libvirt.writes import Writes

        self._places = self._places or Places()
        return Writes(devices, lambda client: AsyncControl(speaks_for=client), self._places)

    def _varlink_conversations(self, encodings: Encodings) -> VarlinkConversations:
        looks = Looks(
            processes=self._processes.begin,
            assignment=self._assignment.begin,
            nodes=self._nodes.begin,
            facts=self._facts.begin,
        )
        title = title_of(self._sysroot.root, os.uname().nodename)
        devices = DevicesInterface(
            encodings, self.status, self._follower.volatile, looks, title=title
        )
        self._caches.append(devices.pictures)
        service = Service(
            vendor="nodedevd",
            product="nodedevd",
            version=__version__,
            url="",
            interfaces=[devices.interface()],
            error_namespace=INTERFACE,
        )
        return VarlinkConversations(service, lambda: self._store.snapshot.generation)

    # -- start and stop ----------------------------------------------------------------

    async def _start(self) -> None:
        """Listen, read the host, then serve: clients that connect earlier wait."""
        malloc.set_thresholds()
        Sysroot.loop_thread = threading.get_ident()
        # By default a thread that reads the host keeps the loop waiting for 5 ms after each
        # system call of the loop.
        sys.setswitchinterval(SWITCH_SECONDS)
        self._sysroot.check()
        self._listen()
        await self._read_host()
        for protocol, listener in self._listening:
            self._server.listen(listener.socket, protocol)
        self._report_ready()
        interval = systemd.watchdog_interval()
        if interval is not None:
            self._feed_watchdog(interval)

    def _listen(self) -> None:
        """Open the socket of each protocol that has one, or take it over from systemd."""
        options = self._options
        handed_over = systemd.listen_sockets()
        libvirt = {name: (name, sock) for name, sock in handed_over if name in _LIBVIRT_NAMES}
        varlink = next((one for one in handed_over if one[0] not in _LIBVIRT_NAMES), None)
        path = options.socket
        if path is None and varlink is None:
            path = default_socket_path()
            if make_runtime_directory(path):
                log.info("created the directory %s", os.path.dirname(path))
        paths = (path, options.libvirt_socket, options.libvirt_socket_ro)
        sockets = (varlink, *map(libvirt.get, _LIBVIRT_NAMES))
        protocols = (self._varlink, self._libvirt, self._libvirt_ro)
        for protocol, path, from_systemd in zip(protocols, paths, sockets, strict=True):
            if path is not None:
                mode, group = options.socket_mode, options.socket_group
                self._listening.append((protocol, open_listener(path, mode=mode, group=group)))
            elif from_systemd is not None:
                self._listening.append((protocol, _adopted(*from_systemd)))

    async def _read_host(self) -> None:
        # The tree stays in memory: garbage collections would search it and find nothing.
        gc.disable()  # as it is since the imports
        await self._follower.start()
        gc.freeze()
        gc.enable()

    def _report_ready(self) -> None:
        seconds = self._follower.last_scan.seconds
        state = f"{len(self._store.snapshot)} devices, read in {seconds:.3f} s"
        paths = ", ".join(listener.path for _, listener in self._listening)
        log.info("serving %s on %s: %s", self._sysroot.root, paths, state)
        limit, clients = self._descriptors.limit, self._descriptors.clients
        if clients < descriptors.CLIENTS_AT_MOST:
            log.warning(
                "the limit on open files, %d, leaves room for %d clients; LimitNOFILE= raises it",
                limit,
                clients,
            )
        for fault in self.status().errors if log.isEnabledFor(logging.DEBUG) else ():
            attribute, detail = printable(fault.attribute), printable(fault.detail)
            log.debug("%s: %s: %s %s", fault.device or "host", attribute, fault.code, detail)
        systemd.notify(f"READY=1\nSTATUS={state}")

    def _feed_watchdog(self, interval: float) -> None:
        """Notify the watchdog now, and again after half of its interval."""
        systemd.notify("WATCHDOG=1")
        asyncio.get_running_loop().call_later(interval / 2, self._feed_watchdog, interval)

    def _on_signal(self, start: asyncio.Task[None]) -> None:
        start.cancel()  # The first scan may be in progress.
        self._stop.set()

    def _on_hangup(self) -> None:
        log.info("SIGHUP: reading the whole host again")
        self._follower.reread()

    async def _close(self) -> None:
        self._tidying.close()
        self._server.close()
        await self._server.wait_closed()
        for _, listener in self._listening:
            listener.close()
        for look in (self._processes, self._assignment, self._nodes, self._facts):
            await look.close(0)
        await self._follower.close(STOP_SECONDS)
        Sysroot.loop_thread = None


# What a look reads with is loaded when a client first needs one.


def _read_assignment_facts(sysroot: Sysroot) -> AssignmentFacts:
    from nodedevd.host.assignment import read_assignment_facts

    return read_assignment_facts(sysroot)


def _no_assignment_facts() -> AssignmentFacts:
    from nodedevd.host.assignment import AssignmentFacts

    return AssignmentFacts()


def _read_device_nodes(sysroot: Sysroot) -> DeviceNodes:
    from nodedevd.host.device_nodes import read_device_nodes

    return read_device_nodes(sysroot)


def _adopted(name: str, sock: socket.socket) -> Listener:
    log.info("serving on the socket %s handed over by systemd", name or "(unnamed)")
    return Listener.adopt(sock)
