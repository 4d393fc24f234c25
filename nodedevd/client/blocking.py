"""Client: asks a nodedevd over its socket, one blocking call after another."""

from __future__ import annotations

import select
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from types import TracebackType
from typing import TypeVar

from nodedevd.client import calls
from nodedevd.client.calls import Question
from nodedevd.client.conditions import Condition, Predicate, Waiting
from nodedevd.client.connection import ANSWER_LIMIT_BYTES, Connection, Replies
from nodedevd.client.deadline import Deadline
from nodedevd.client.errors import Closed, ConnectionLost, TimedOut
from nodedevd.client.watching import Content, Event, Watching
from nodedevd.errors import NodedevError, NoSuchDevice
from nodedevd.formats import Format
from nodedevd.model.device import Device
from nodedevd.model.listing import DeviceList, Devices
from nodedevd.model.status import Status
from nodedevd.questions.fits import Fits
from nodedevd.questions.hostdev import HostDev, HostDevRequest
from nodedevd.questions.in_use import InUse
from nodedevd.questions.resolve import Resolution
from nodedevd.socket_paths import candidate_socket_paths
from nodedevd.varlink import Reply

T = TypeVar("T")

_A_MOMENT_SECONDS = 1e-3  # 0 would not be a short time, but none


class _Connection(Connection):
    """A connection that waits by blocking."""

    def __init__(self, paths: Sequence[str], limit_bytes: int) -> None:
        super().__init__(paths, limit_bytes, blocking=True)
        self._poll = select.poll()
        self._poll.register(self.socket, select.POLLIN)

    def send(self, message: bytes, deadline: Deadline) -> None:
        """Send a call. Raises ConnectionLost, TimedOut."""
        left = deadline.left
        self.socket.settimeout(None if left is None else max(left, _A_MOMENT_SECONDS))
        try:
            self.socket.sendall(message)
        except TimeoutError:
            raise TimedOut(f"{self.path} to accept a call", deadline.seconds or 0) from None
        except (BrokenPipeError, ConnectionResetError):
            pass  # what it said before it went is still to be read
        except OSError as error:
            raise ConnectionLost(self.path, error.strerror or str(error)) from error
        finally:
            self.socket.setblocking(False)

    def receive(self, deadline: Deadline) -> Reply | None:
        """Return the next reply, None if none comes in time."""
        late = False
        while (reply := self.next()) is None and not late:
            left = deadline.left
            late = not self._poll.poll(None if left is None else left * 1000)
            self.read()
        return reply

    def ask(self, message: bytes, deadline: Deadline) -> Sequence[Reply]:
        """Send a call and return all replies to it. Raises ConnectionLost, TimedOut."""
        self.send(message, deadline)
        replies = Replies(self.limit_bytes)
        while True:
            reply = self.receive(deadline)
            if reply is None:
                raise TimedOut(f"a reply on {self.path}", deadline.seconds or 0)
            if replies.take(reply):
                return replies.taken


class Watch:
    """Changes, as they happen, on a connection of its own: an iterator, and a context manager.

    It ends when it is closed, by any thread, or with an error.
    """

    def __init__(self, connect: Callable[[], _Connection], watching: Watching) -> None:
        self._connect = connect
        self._watching = watching
        self._closed = False
        self._connection: _Connection | None = self._begun(Deadline(None))

    def __enter__(self) -> Watch:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def __iter__(self) -> Watch:
        return self

    def __next__(self) -> Event:
        try:
            event = self.next()
        except Closed:
            raise StopIteration from None
        assert event is not None
        return event

    @property
    def text(self) -> bytes:
        """What was told last, as it came: a JSON object, with what this version ignores."""
        return self._watching.text

    def close(self) -> None:
        """Be told no more."""
        self._closed = True
        self._drop()

    def next(self, timeout_seconds: float | None = None) -> Event | None:
        """Return what is told next, None if that is nothing within so many seconds.

        Raises NoDaemon, ConnectionLost, RemoteError, NotUnderstood; if it is called again, it
        connects again, and goes on where it was. Raises Closed.
        """
        deadline = Deadline(timeout_seconds)
        while True:
            try:
                if self._closed:
                    raise Closed
                connection = self._connection
                if connection is None:
                    connection = self._connection = self._begun(deadline)
                reply = connection.receive(deadline)
                return None if reply is None else self._watching.take(reply)
            except NodedevError as error:
                self._drop()
                if self._closed:
                    raise Closed from None
                pause = self._watching.pause(error, deadline.left)
                if pause is None:
                    raise
                if pause == 0:
                    return None
                time.sleep(pause)

    def _begun(self, deadline: Deadline) -> _Connection:
        connection = self._connect()
        try:
            connection.send(self._watching.message(), deadline)
        except BaseException:
            connection.close()
            raise
        return connection

    def _drop(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None


class Client:
    """A daemon, to be asked; a context manager.

    Calls are made one after another on one connection, whichever thread they come from. A
    connection that is lost, or was left in the middle of an answer, is replaced by the next
    call. Watches have connections of their own.

    Every call raises NoDaemon when nothing answers, ConnectionLost when the daemon goes away,
    TimedOut, NotUnderstood, and RemoteError for what has no class of its own.
    """

    def __init__(
        self,
        path: str | None = None,
        *,
        timeout_seconds: float | None = None,
        limit_bytes: int = ANSWER_LIMIT_BYTES,
    ) -> None:
        """Connect.

        Args:
            path: The daemon's socket; without, $NODEDEVD_SOCKET, root's or the user's own.
            timeout_seconds: What a call may take; None is no limit.
            limit_bytes: The largest answer that is taken.
        """
        self._paths = [path] if path is not None else candidate_socket_paths()
        self._timeout_seconds = timeout_seconds
        self._limit_bytes = limit_bytes
        self._lock = threading.Lock()
        self._closed = False
        self.path: str | None = None
        """the socket that answered last"""
        self._connection: _Connection | None = self._connect()

    def __enter__(self) -> Client:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection; watches go on."""
        self._closed = True
        self._drop()

    def status(self) -> Status:
        """Return how the daemon is doing."""
        return self._ask(calls.status())

    def list(self, capabilities: Iterable[str] | None = None) -> DeviceList:
        """Return the devices with any of the capabilities, in brief. Raises InvalidParameter."""
        return self._ask(calls.list_devices(capabilities))

    def describe(self, name: str) -> Device:
        """Return all that is known of one device. Raises NoSuchDevice."""
        return self._ask(calls.describe(name))

    def describe_json(self, name: str) -> bytes:
        """Return the same as JSON, as the daemon writes it. Raises NoSuchDevice."""
        return self._ask(calls.describe_json(name))

    def snapshot(
        self, capabilities: Iterable[str] | None = None, *, names: Iterable[str] | None = None
    ) -> Devices:
        """Return all that is known of devices, at one generation: of all, or of those chosen.

        Raises InvalidParameter, NoSuchDevice.
        """
        return self._ask(calls.snapshot(capabilities, names))

    def snapshot_json(self, names: Iterable[str] | None = None) -> bytes:
        """Return a JSON document of devices, all without names. Raises NoSuchDevice."""
        return self._ask(calls.snapshot_json(names))

    def dump_xml(self, names: Iterable[str] | None = None, *, form: Format = "nodedevd") -> str:
        """Return the XML of devices, all without names. Raises NoSuchDevice, NotInFormat.

        For one name it is the device's; for several, or all, a document of them.
        """
        return self._ask(calls.dump_xml(names, form))

    def hostdev(self, request: HostDevRequest) -> HostDev:
        """Return the domain XML that hands a device to a guest.

        Raises NoSuchDevice, NotAssignable, DoesNotFit, InvalidParameter.
        """
        return self._ask(calls.hostdev(request))

    def fits(self, wanted: str, count: int = 1) -> Fits:
        """Return where so many of a type, by id or name, could be created. Raises NoSuchType."""
        return self._ask(calls.fits(wanted, count))

    def resolve(self, text: str) -> Resolution:
        """Return which device is meant, by what other tools call it. Raises NoSuchDevice."""
        return self._ask(calls.resolve(text))

    def in_use(self, names: Iterable[str] | None = None) -> InUse:
        """Return whether devices are open, all of VFIO without names. Raises NoSuchDevice.

        Who has them open is told to root and the daemon's own user alone.
        """
        return self._ask(calls.in_use(names))

    def watch(
        self,
        *,
        capabilities: Iterable[str] | None = None,
        names: Iterable[str] | None = None,
        snapshot: bool = True,
        content: Content = "json",
        since: int | None = None,
        instance: str | None = None,
        reconnect: bool = False,
    ) -> Watch:
        """Begin to be told what there is, and then what changes.

        Args:
            capabilities: Only of devices with any of these.
            names: Only of these devices, by any name they go by.
            snapshot: Whether it begins with what there is: `present`, and `ready`.
            content: What events have of the device, besides its name.
            since: The generation of the last event that is known: what came after it is told,
                or `resync` and everything, if that is not known any more.
            instance: What came with that generation.
            reconnect: Whether to go on when the daemon goes away and comes again. What
                changed meanwhile is told; after a restart that is `resync`, and everything.
        """
        if self._closed:
            raise Closed
        watching = Watching(
            capabilities=capabilities,
            names=names,
            snapshot=snapshot,
            content=content,
            since=since,
            instance=instance,
            reconnect=reconnect,
        )
        return Watch(self._connect_watch, watching)

    def wait_for(
        self,
        condition: Condition | Predicate,
        timeout_seconds: float | None = None,
        *,
        reconnect: bool = False,
    ) -> dict[str, Device]:
        """Wait until something is so of the devices that are there; return them, by name.

        It is so at once if it is so already, and nothing is missed: what there is and what
        changes come in one stream. Raises TimedOut.

        Args:
            condition: `present`, `gone`, `at_least`, `available`, a `Condition` of one's own,
                or a function that is told of all devices.
            timeout_seconds: How long to wait; None is no limit.
            reconnect: Whether to go on waiting when the daemon goes away and comes again.
        """
        waiting = Waiting(condition, timeout_seconds)
        wanted = waiting.condition
        self._recount(waiting)
        with self.watch(
            capabilities=wanted.capabilities, names=wanted.names, reconnect=reconnect
        ) as watch:
            while not waiting.reached:
                event = watch.next(waiting.pause())
                if event is None:
                    self._recount(waiting)
                else:
                    waiting.take(event)
        return waiting.devices

    def _recount(self, waiting: Waiting) -> None:
        name = waiting.condition.recount
        if name is not None:
            with suppress(NoSuchDevice):
                self._ask(calls.describe_json(name), waiting.answer_seconds)

    def _ask(self, question: Question[T], timeout_seconds: float | None = None) -> T:
        deadline = Deadline(self._timeout_seconds if timeout_seconds is None else timeout_seconds)
        with self._lock:
            self._connection = connection = self._connected()
            try:
                replies = connection.ask(question.message, deadline)
            except BaseException:
                # What is left of this answer must not be taken for the next one.
                self._drop()
                raise
        return question.answer(replies)

    def _connected(self) -> _Connection:
        if self._closed:
            raise Closed
        return self._take() or self._connect()

    def _connect_watch(self) -> _Connection:
        with self._lock:  # the next call opens another one
            return self._take() or self._connect()

    def _take(self) -> _Connection | None:
        connection, self._connection = self._connection, None
        if connection is None or connection.idle:
            return connection
        connection.close()
        return None

    def _connect(self) -> _Connection:
        connection = _Connection(self._paths, self._limit_bytes)
        self.path = connection.path
        return connection

    def _drop(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None
