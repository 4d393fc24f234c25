"""AsyncClient: asks a nodedevd over its socket, for programs that run on asyncio."""

from __future__ import annotations

import asyncio
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


class _Connection(Connection):
    """A connection that waits on the event loop."""

    def __init__(self, paths: Sequence[str], limit_bytes: int) -> None:
        super().__init__(paths, limit_bytes, blocking=False)
        self._waiter: asyncio.Future[None] | None = None

    def close(self) -> None:
        """Close it; a task that waits for something on it is told so."""
        waiter = self._waiter
        self._stop_waiting()
        super().close()
        if waiter is not None and not waiter.done():
            waiter.set_exception(Closed())

    async def send(self, message: bytes, deadline: Deadline) -> None:
        """Send a call. Raises ConnectionLost, TimedOut."""
        try:
            async with asyncio.timeout(deadline.left):
                await asyncio.get_running_loop().sock_sendall(self.socket, message)
        except TimeoutError:
            raise TimedOut(f"{self.path} to accept a call", deadline.seconds or 0) from None
        except (BrokenPipeError, ConnectionResetError):
            pass  # what it said before it went is still to be read
        except OSError as error:
            raise ConnectionLost(self.path, error.strerror or str(error)) from error

    async def receive(self, deadline: Deadline) -> Reply | None:
        """Return the next reply, None if none comes in time.

        Nothing is lost if this is cancelled: what has arrived stays until it is asked for.
        """
        late = False
        while (reply := self.next()) is None and not late:
            try:
                async with asyncio.timeout(deadline.left):
                    await self._readable()
            except TimeoutError:
                late = True
            self.read()
        return reply

    async def _readable(self) -> None:
        if self._waiter is not None:
            raise RuntimeError("another task waits for what this one asks for")
        loop = asyncio.get_running_loop()
        self._waiter = waiter = loop.create_future()
        loop.add_reader(self.socket, _wake, waiter)
        try:
            await waiter
        finally:
            self._stop_waiting()

    def _stop_waiting(self) -> None:
        if self._waiter is not None:
            self._waiter.get_loop().remove_reader(self.socket)
            self._waiter = None

    async def ask(self, message: bytes, deadline: Deadline) -> Sequence[Reply]:
        """Send a call and return all replies to it. Raises ConnectionLost, TimedOut."""
        await self.send(message, deadline)
        replies = Replies(self.limit_bytes)
        while True:
            reply = await self.receive(deadline)
            if reply is None:
                raise TimedOut(f"a reply on {self.path}", deadline.seconds or 0)
            if replies.take(reply):
                return replies.taken


def _wake(waiter: asyncio.Future[None]) -> None:
    if not waiter.done():
        waiter.set_result(None)


class AsyncWatch:
    """Changes, as they happen, on a connection of its own: an asynchronous iterator.

    It is an asynchronous context manager, too. It ends when it is closed, or with an error; it
    goes on after its task was cancelled while it waited.
    """

    def __init__(self, connect: Callable[[], _Connection], watching: Watching) -> None:
        self._connect = connect
        self._watching = watching
        self._closed = False
        self._connection: _Connection | None = None

    async def __aenter__(self) -> AsyncWatch:
        self._connection = await self._begun(Deadline(None))
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def __aiter__(self) -> AsyncWatch:
        return self

    async def __anext__(self) -> Event:
        try:
            event = await self.next()
        except Closed:
            raise StopAsyncIteration from None
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

    async def next(self, timeout_seconds: float | None = None) -> Event | None:
        """Return what is told next, None if that is nothing within so many seconds.

        Raises NoDaemon, ConnectionLost, RemoteError, NotUnderstood; if it is called again, it
        connects again, and goes on where it was. Raises Closed.
        """
        deadline = Deadline(timeout_seconds)
        while True:
            try:
                if self._closed:
                    raise Closed
                if self._connection is None:
                    self._connection = await self._begun(deadline)
                reply = await self._connection.receive(deadline)
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
                await asyncio.sleep(pause)

    async def _begun(self, deadline: Deadline) -> _Connection:
        connection = self._connect()
        try:
            await connection.send(self._watching.message(), deadline)
        except BaseException:
            connection.close()
            raise
        return connection

    def _drop(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None


class AsyncClient:
    """A daemon, to be asked; an asynchronous context manager. `Client` for asyncio.

    Calls are made one after another on one connection, whichever task they come from. A
    connection that is lost, or whose call was cancelled, is replaced by the next call. Watches
    have connections of their own.

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
        """Prepare; it connects when it is entered, or first asked.

        Args:
            path: The daemon's socket; without, $NODEDEVD_SOCKET, root's or the user's own.
            timeout_seconds: What a call may take; None is no limit.
            limit_bytes: The largest answer that is taken.
        """
        self._paths = [path] if path is not None else candidate_socket_paths()
        self._timeout_seconds = timeout_seconds
        self._limit_bytes = limit_bytes
        self._lock = asyncio.Lock()
        self._closed = False
        self._connection: _Connection | None = None
        self.path: str | None = None
        """the socket that answered last"""

    async def __aenter__(self) -> AsyncClient:
        self._connection = self._connected()
        return self

    async def __aexit__(
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

    async def status(self) -> Status:
        """Return how the daemon is doing."""
        return await self._ask(calls.status())

    async def list(self, capabilities: Iterable[str] | None = None) -> DeviceList:
        """Return the devices with any of the capabilities, in brief. Raises InvalidParameter."""
        return await self._ask(calls.list_devices(capabilities))

    async def describe(self, name: str) -> Device:
        """Return all that is known of one device. Raises NoSuchDevice."""
        return await self._ask(calls.describe(name))

    async def describe_json(self, name: str) -> bytes:
        """Return the same as JSON, as the daemon writes it. Raises NoSuchDevice."""
        return await self._ask(calls.describe_json(name))

    async def snapshot(
        self, capabilities: Iterable[str] | None = None, *, names: Iterable[str] | None = None
    ) -> Devices:
        """Return all that is known of devices, at one generation: of all, or of those chosen.

        Raises InvalidParameter, NoSuchDevice.
        """
        return await self._ask(calls.snapshot(capabilities, names))

    async def snapshot_json(self, names: Iterable[str] | None = None) -> bytes:
        """Return a JSON document of devices, all without names. Raises NoSuchDevice."""
        return await self._ask(calls.snapshot_json(names))

    async def dump_xml(
        self, names: Iterable[str] | None = None, *, form: Format = "nodedevd"
    ) -> str:
        """Return the XML of devices, all without names. Raises NoSuchDevice, NotInFormat.

        For one name it is the device's; for several, or all, a document of them.
        """
        return await self._ask(calls.dump_xml(names, form))

    async def hostdev(self, request: HostDevRequest) -> HostDev:
        """Return the domain XML that hands a device to a guest.

        Raises NoSuchDevice, NotAssignable, DoesNotFit, InvalidParameter.
        """
        return await self._ask(calls.hostdev(request))

    async def fits(self, wanted: str, count: int = 1) -> Fits:
        """Return where so many of a type, by id or name, could be created. Raises NoSuchType."""
        return await self._ask(calls.fits(wanted, count))

    async def resolve(self, text: str) -> Resolution:
        """Return which device is meant, by what other tools call it. Raises NoSuchDevice."""
        return await self._ask(calls.resolve(text))

    async def in_use(self, names: Iterable[str] | None = None) -> InUse:
        """Return whether devices are open, all of VFIO without names. Raises NoSuchDevice.

        Who has them open is told to root and the daemon's own user alone.
        """
        return await self._ask(calls.in_use(names))

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
    ) -> AsyncWatch:
        """Be told what there is, and then what changes; see `Client.watch`.

        It connects when it is entered, or first asked.
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
        return AsyncWatch(self._connect_watch, watching)

    async def wait_for(
        self,
        condition: Condition | Predicate,
        timeout_seconds: float | None = None,
        *,
        reconnect: bool = False,
    ) -> dict[str, Device]:
        """Wait until something is so of the devices that are there; see `Client.wait_for`."""
        waiting = Waiting(condition, timeout_seconds)
        wanted = waiting.condition
        await self._recount(waiting)
        async with self.watch(
            capabilities=wanted.capabilities, names=wanted.names, reconnect=reconnect
        ) as watch:
            while not waiting.reached:
                event = await watch.next(waiting.pause())
                if event is None:
                    await self._recount(waiting)
                else:
                    waiting.take(event)
        return waiting.devices

    async def _recount(self, waiting: Waiting) -> None:
        name = waiting.condition.recount
        if name is not None:
            with suppress(NoSuchDevice):
                await self._ask(calls.describe_json(name), waiting.answer_seconds)

    async def _ask(self, question: Question[T], timeout_seconds: float | None = None) -> T:
        deadline = Deadline(self._timeout_seconds if timeout_seconds is None else timeout_seconds)
        async with self._lock:
            self._connection = connection = self._connected()
            try:
                replies = await connection.ask(question.message, deadline)
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
        if self._lock.locked():
            return self._connect()
        return self._take() or self._connect()  # the next call opens another one

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
