"""AsyncClient and AsyncWatch: ask a daemon, and follow its devices, on asyncio.

`make blocking-client` writes `blocking.py` from this file.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress
from types import TracebackType

import msgspec

from nodedevd.client import question
from nodedevd.client.asynchronous_backend import AsyncConnection, connect_now, sleep
from nodedevd.client.asynchronous_caller import AsyncCaller
from nodedevd.client.conditions import Condition, Predicate, Waiting
from nodedevd.client.connection import ANSWER_LIMIT_BYTES
from nodedevd.client.deadline import Deadline
from nodedevd.client.errors import Closed
from nodedevd.client.question import Question, words
from nodedevd.client.watching import PASSING, Event, Watching
from nodedevd.drawing.request import Drawing, DrawRequest
from nodedevd.errors import NodedevError, NoSuchDevice
from nodedevd.formats import Format
from nodedevd.model.brief import DeviceList
from nodedevd.model.device import Device
from nodedevd.model.listing import Content, Devices, XmlDocument, entry
from nodedevd.model.status import Status
from nodedevd.questions.fits import Fits, Types
from nodedevd.questions.hostdev.request import HostDev, HostDevRequest
from nodedevd.questions.in_use import InUse
from nodedevd.questions.resolve import Resolution
from nodedevd.socket_paths import candidate_socket_paths


class AsyncWatch:
    """Yields the devices and their changes, as they happen, on a connection of its own.

    It is an asynchronous iterator and context manager. It ends when it is closed, by any task,
    or with an error. A cancelled `next` loses nothing.
    """

    def __init__(
        self,
        connect: Callable[[Deadline], Awaitable[AsyncConnection]],
        watching: Watching,
        deadline: Deadline,
    ) -> None:
        self._connect = connect
        self._watching = watching
        self._deadline = deadline
        self._closed = False
        self._connection: AsyncConnection | None = None
        connect_now(self)

    async def __aenter__(self) -> AsyncWatch:
        if self._connection is None:
            await self._start(self._deadline)
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
        """The last event as it arrived: a JSON object, with members this version ignores."""
        return self._watching.text

    def close(self) -> None:
        """End the watch."""
        self._closed = True
        self._drop()

    async def next(self, timeout_seconds: float | None = None) -> Event | None:
        """Return the next event, None if there is none within so many seconds.

        Raises NoDaemon, ConnectionLost, RemoteError, NotUnderstood; when it is called again, it
        connects again, and continues where it was. Raises Closed.
        """
        deadline = Deadline(timeout_seconds)
        while True:
            try:
                connection = self._connection
                if connection is None:
                    connection = await self._start(deadline)
                reply = await connection.receive(deadline)
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
                await sleep(pause)

    async def _start(self, deadline: Deadline) -> AsyncConnection:
        if self._closed:
            raise Closed
        connection = await self._connect(deadline)
        try:
            await connection.send(self._watching.message(), deadline)
        except BaseException:
            connection.close()
            raise
        self._connection = connection
        if self._closed:  # meanwhile, when `close` did not find the connection yet
            self._drop()
            raise Closed
        return connection

    def _drop(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()


class AsyncClient(AsyncCaller):
    """Asks a daemon; an asynchronous context manager.

    Calls are made one after another on one connection, from any task. A connection that is
    lost, or that a call left in the middle of its answer, is replaced by the next call. Watches
    have connections of their own, and continue when the client is closed.

    Every call raises NoDaemon when no daemon answers, ConnectionLost when the daemon goes away,
    TimedOut, NotUnderstood, and RemoteError for an error that has no class of its own.
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
            path: The daemon's socket; by default $NODEDEVD_SOCKET, root's or the user's own.
            timeout_seconds: The longest time for a call; None is no limit.
            limit_bytes: The largest answer that is accepted.
        """
        super().__init__(
            [path] if path is not None else candidate_socket_paths(),
            timeout_seconds=timeout_seconds,
            limit_bytes=limit_bytes,
        )

    # -- the methods of the interface ----------------------------------------------------

    async def status(self) -> Status:
        """Return the state of the daemon."""
        return await self._ask(Question("GetStatus", Status, question.only))

    async def list(self, capabilities: Iterable[str] | None = None) -> DeviceList:
        """Return the devices with any of the capabilities, in brief. Raises InvalidParameter."""
        return await self._ask(question.in_brief(capabilities))

    async def describe(self, name: str) -> Device:
        """Return everything known about one device. Raises NoSuchDevice."""
        return await self._ask(_describe(name))

    async def snapshot(
        self,
        capabilities: Iterable[str] | None = None,
        *,
        names: Iterable[str] | None = None,
    ) -> Devices:
        """Return everything known about devices at one generation: all, or those selected.

        Raises InvalidParameter, NoSuchDevice.
        """
        return await self._ask(
            Question(
                "Snapshot",
                Devices,
                question.joined,
                more=True,
                capabilities=words(capabilities),
                names=words(names),
            )
        )

    async def snapshot_json(self, names: Iterable[str] | None = None) -> bytes:
        """Return a JSON document of the named devices, by default all. Raises NoSuchDevice."""
        names = words(names)
        return await self._ask(
            Question("Snapshot", question.RawDevices, question.joined_json, more=True, names=names)
        )

    async def dump_xml(
        self,
        names: Iterable[str] | None = None,
        *,
        form: Format = "nodedevd",
    ) -> str:
        """Return the XML of the named devices, by default all.

        For one name it is the device's, otherwise a document of the devices. Raises
        NoSuchDevice, NotInFormat.
        """
        return await self._ask(
            Question(
                "DumpXML",
                question.DumpXmlReply,
                question.joined_xml,
                more=True,
                names=words(names),
                format=form,
            )
        )

    async def xml_document(
        self,
        names: Iterable[str] | None = None,
        *,
        form: Format = "nodedevd",
    ) -> XmlDocument:
        """Return the same with its generation. Raises NoSuchDevice, NotInFormat."""
        return await self._ask(
            Question(
                "DumpXML",
                XmlDocument,
                question.joined_document,
                more=True,
                names=words(names),
                format=form,
            )
        )

    async def hostdev(self, request: HostDevRequest) -> HostDev:
        """Return the domain XML that assigns a device to a guest.

        Raises NoSuchDevice, NoSuchType, NotAssignable, DoesNotFit, InvalidParameter.
        """
        parameters = msgspec.structs.asdict(request)
        return await self._ask(Question("HostDev", HostDev, question.only, **parameters))

    async def draw(self, request: DrawRequest | None = None) -> Drawing:
        """Return a picture of the host, or of one of its cards, as SVG.

        Raises NoSuchDevice, InvalidParameter.
        """
        parameters = msgspec.structs.asdict(request or DrawRequest())
        return await self._ask(Question("Draw", Drawing, question.only, **parameters))

    async def types(self, names: Iterable[str] | None = None) -> Types:
        """Return the room of each card for each of its vGPU types.

        Args:
            names: Only the cards that these devices belong to: functions, cards, mdevs.

        Raises NoSuchDevice.
        """
        return await self._ask(Question("Types", Types, question.only, names=words(names)))

    async def fits(
        self,
        wanted: str | None = None,
        count: int = 1,
        *,
        names: Iterable[str] | None = None,
    ) -> Fits:
        """Return where `count` vGPUs of a type, by id or name, could be created.

        Args:
            wanted: The type; all types without it.
            count: The number of vGPUs.
            names: Only the cards that these devices belong to: functions, cards, mdevs.

        Raises NoSuchType, NoSuchDevice.
        """
        names = words(names)
        return await self._ask(
            Question("Fits", Fits, question.only, type=wanted, count=count, names=names)
        )

    async def resolve(self, text: str) -> Resolution:
        """Return the devices that another tool's name means. Raises NoSuchDevice."""
        return await self._ask(Question("Resolve", Resolution, question.only, text=text))

    async def in_use(self, names: Iterable[str] | None = None) -> InUse:
        """Return whether the named devices are open, by default all that VFIO drives.

        Only root and the daemon's own user get the processes. Raises NoSuchDevice.
        """
        return await self._ask(Question("InUse", InUse, question.only, names=words(names)))

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
        on_lost: Callable[[NodedevError], None] | None = None,
    ) -> AsyncWatch:
        """Return a watch: the devices, and then their changes.

        It connects when it is entered, or first asked.

        Args:
            capabilities: Only devices with any of these.
            names: Only these devices, by any of their names.
            snapshot: Whether it begins with the devices: `present`, and `ready`.
            content: What events have of the device, besides its name.
            since: The generation of the last known event: it begins with what followed, or with
                `resync` and all devices if the daemon's history does not reach back so far.
            instance: What came with that generation.
            reconnect: Whether to connect again when the daemon goes away. What changed
                meanwhile follows; after a restart of the daemon that is `resync`, and all devices.
            on_lost: Called when the daemon goes away, before the first attempt to reconnect.
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
            on_lost=on_lost,
        )
        return AsyncWatch(self._connect_watch, watching, Deadline(self._timeout_seconds))

    async def wait_for(
        self,
        condition: Condition | Predicate,
        timeout_seconds: float | None = None,
        *,
        reconnect: bool = False,
        on_lost: Callable[[NodedevError], None] | None = None,
    ) -> dict[str, Device]:
        """Wait until a condition holds for the devices; return them by name.

        It returns at once if the condition holds already, and misses nothing: the devices and
        their changes come in one stream. Raises TimedOut.

        Args:
            condition: `present`, `gone`, `at_least`, `available`, a `Condition` of your own,
                or a function of all devices by name.
            timeout_seconds: The longest time to wait; None is no limit.
            reconnect: Whether to continue when the daemon goes away and comes back.
            on_lost: Called when the daemon goes away, before the first attempt to reconnect.
        """
        waiting = await self._wait(Waiting(condition, timeout_seconds, on_lost), reconnect)
        return waiting.devices

    async def wait_for_list(
        self,
        condition: Condition | Predicate,
        timeout_seconds: float | None = None,
        *,
        reconnect: bool = False,
        on_lost: Callable[[NodedevError], None] | None = None,
    ) -> DeviceList:
        """Wait in the same way; return the devices in brief, at one generation. Raises TimedOut."""
        waiting = await self._wait(Waiting(condition, timeout_seconds, on_lost), reconnect)
        devices = sorted(waiting.devices.values(), key=lambda device: device.name)
        return DeviceList(waiting.generation, tuple([entry(device) for device in devices]))

    async def _wait(self, waiting: Waiting, reconnect: bool) -> Waiting:
        wanted = waiting.condition
        await self._recount(waiting)
        watching = Watching(
            capabilities=wanted.capabilities,
            names=wanted.names,
            snapshot=True,
            content="json",
            since=None,
            instance=None,
            reconnect=reconnect,
            on_lost=waiting.lose,
        )
        async with AsyncWatch(self._connect_watch, watching, waiting.deadline) as watch:
            while not waiting.reached:
                event = await watch.next(waiting.pause())
                if event is None:
                    with suppress(*PASSING if reconnect else ()):
                        await self._recount(waiting)
                else:
                    waiting.take(event)
        return waiting

    async def _recount(self, waiting: Waiting) -> None:
        """Make the daemon read volatile counts again; the watch reports what changed."""
        name = waiting.condition.recount
        if name is not None:
            with suppress(NoSuchDevice):
                await self._ask(_describe(name), waiting.answer_seconds)

    # -- connections -----------------------------------------------------------------------

    async def _connect_watch(self, deadline: Deadline) -> AsyncConnection:
        if self._lock.locked():
            return await self._connect(deadline)
        async with self._lock:  # the next call opens another connection
            return self._take() or await self._connect(deadline)


def _describe(name: str) -> Question[Device]:
    return Question("Describe", Devices, question.device, name=name)
