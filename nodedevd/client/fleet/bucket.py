"""Bucket: a connection to a JetStream key-value bucket, and no more than a fleet needs of it.

The one module that knows NATS. A `Bucket` is one connection to one server: when that is lost, or
does not answer, its owner opens another one, to the next server. So nothing is buffered, repeated
or subscribed again behind the owner's back: it begins anew, from the state that the servers have.

Source: the JetStream wire API, https://docs.nats.io/reference/reference-protocols/nats_api_reference
"""

from __future__ import annotations

import asyncio
import json
import random
import ssl
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

import msgspec

from nodedevd.client.fleet.access import Access, check_servers, without_user
from nodedevd.client.fleet.errors import (
    FleetFull,
    FleetRefused,
    FleetUnreachable,
    NoFleet,
    NoNats,
    WrongSequence,
)
from nodedevd.client.fleet.login import login

if TYPE_CHECKING:
    from nats.aio.client import Client as Nats
    from nats.aio.msg import Msg

BEAT_SECONDS: Final = 1.0
"""How often a server tells a subscription, if nothing else, that it still serves it."""
VALUE_BYTES_AT_MOST: Final = 900_000
_CONNECT_SECONDS: Final = 3.0
_CLOSE_SECONDS: Final = 1.0
_PING_SECONDS: Final = 5
_WRONG_SEQUENCE: Final = (10071, 10164)
_FULL: Final = (10023, 10047, 10054, 10077)
_NO_STREAM: Final = 10059
_NO_MESSAGE: Final = 10037
_IS_THERE: Final = 10058


class Entry(msgspec.Struct, frozen=True):
    """What a key has."""

    value: bytes | None
    """None if the key was deleted"""
    sequence: int
    """of the bucket; 0 if the key never was there"""
    time: float
    """when it was written, by the server's clock, in seconds since 1970"""


ABSENT: Final = Entry(None, 0, 0.0)


class Info(msgspec.Struct, frozen=True):
    """The state of the bucket, as its leader tells it."""

    created: str
    last_sequence: int
    now: float
    """the server's clock, in seconds since 1970"""
    own_clock: bool
    """whether that is this machine's: servers before 2.10 do not tell theirs"""


class Delivered(msgspec.Struct, frozen=True):
    """A key that a subscription delivers."""

    key: str
    entry: Entry
    number: int
    """of the delivery, from 1; a gap is a loss"""
    pending: int
    """how many keys are still to come; 0: all that there were"""


class Bucket:
    """One connection to the bucket; `Bucket.open` makes it."""

    def __init__(self, nats: Nats, access: Access, server: str) -> None:
        self._nats = nats
        self._access = access
        self._prefix = f"$KV.{access.bucket}."
        self._stream = f"KV_{access.bucket}"
        self.server = server
        """its URL, without user and password"""
        self.lost = asyncio.Event()
        """set when the connection is lost"""
        self._violation: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    @classmethod
    async def open(cls, access: Access) -> Bucket:
        """Connect to any server, tried in random order.

        Raises FleetUnreachable, FleetRefused, BadAccess, NoNats.
        """
        check_servers(access)
        options = login(access)
        reasons: list[FleetRefused | FleetUnreachable] = []
        for server in random.sample(access.servers, len(access.servers)):
            try:
                return await cls._open(access, server, options)
            except (FleetRefused, FleetUnreachable) as error:
                reasons.append(error)
        refused = next((one for one in reasons if isinstance(one, FleetRefused)), None)
        raise refused or reasons[0]

    @classmethod
    async def _open(cls, access: Access, server: str, options: dict[str, Any]) -> Bucket:
        try:
            import nats.errors
            from nats.aio.client import Client
        except ImportError:
            raise NoNats("nats-py") from None
        client = Client()
        client._process_headers = _process_headers  # type: ignore[method-assign,assignment]
        bucket: Bucket | None = None
        failure: list[Exception] = []

        async def on_error(error: Exception) -> None:
            failure.append(error)
            if bucket is not None:
                bucket._note(error)

        async def on_lost() -> None:
            if bucket is not None:
                bucket.lost.set()

        try:
            await asyncio.wait_for(
                client.connect(
                    servers=[server],
                    allow_reconnect=False,
                    # Else it tries a server that refuses for as long as it may.
                    max_reconnect_attempts=1,
                    reconnect_time_wait=0,
                    connect_timeout=int(_CONNECT_SECONDS),
                    ping_interval=_PING_SECONDS,
                    max_outstanding_pings=2,
                    pending_size=4 << 20,
                    inbox_prefix=access.inbox_prefix.encode(),
                    error_cb=on_error,
                    disconnected_cb=on_lost,
                    closed_cb=on_lost,
                    name="nodedevd",
                    **options,
                ),
                2 * _CONNECT_SECONDS,
            )
        except BaseException as error:
            await _close(client)
            if not isinstance(error, OSError | TimeoutError | nats.errors.Error | ValueError):
                raise
            if failure and (isinstance(error, nats.errors.NoServersError) or not str(error)):
                error = failure[0]
            reason = _reason(error)
            if isinstance(error, ssl.SSLError) or "authorization" in reason.lower():
                raise FleetRefused("the connection", reason) from None
            raise FleetUnreachable(access.shown, reason) from None
        bucket = cls(client, access, without_user(server))
        if client.is_closed:
            bucket.lost.set()
        return bucket

    async def close(self) -> None:
        """Close the connection."""
        self.lost.set()
        await _close(self._nats)

    @property
    def part_bytes(self) -> int:
        """The largest value that the server takes, with room for headers."""
        return min(VALUE_BYTES_AT_MOST, max(1024, self._nats.max_payload - 1024))

    # -- what there is -----------------------------------------------------------------------

    async def info(self) -> Info:
        """Return the state of the bucket. Raises NoFleet, FleetUnreachable, FleetRefused."""
        asked = time.time()
        reply = await self._api(f"STREAM.INFO.{self._stream}")
        told = _seconds(reply["ts"]) if "ts" in reply else None
        return Info(
            created=str(reply["created"]),
            last_sequence=int(reply["state"]["last_seq"]),
            now=asked if told is None else told,
            own_clock=told is None,
        )

    async def get(self, key: str) -> Entry:
        """Return what a key has, by any replica. Raises FleetUnreachable, FleetRefused."""
        subject = f"$JS.API.DIRECT.GET.{self._stream}.{self._prefix}{key}"
        message = await self._request(subject)
        headers = message.headers or {}
        if headers.get("Status") == "404":
            return ABSENT
        try:
            sequence, when = int(headers["Nats-Sequence"]), _seconds(headers["Nats-Time-Stamp"])
        except (KeyError, ValueError):
            raise self._unreachable(f"no answer for {key}: {_described(headers)}") from None
        return Entry(None if _is_deleted(headers) else message.data, sequence, when)

    async def last_sequence(self, keys: str) -> int:
        """Return the newest sequence of the keys of a filter, as the leader knows it; 0 if none."""
        reply = await self._api(
            f"STREAM.MSG.GET.{self._stream}", {"last_by_subj": self._prefix + keys}
        )
        return int(reply["message"]["seq"]) if "message" in reply else 0

    async def subscribe(
        self,
        keys: str,
        deliver: Callable[[Delivered], None],
        beat: Callable[[int], None],
    ) -> Subscription:
        """Have all keys of a filter delivered, and every later write.

        `beat` is called at least every BEAT_SECONDS with the number of the last delivery.
        Raises FleetUnreachable, FleetRefused, NoFleet.
        """
        import nats.errors

        inbox = self._nats.new_inbox()

        async def take(message: Msg) -> None:
            headers = message.headers or {}
            # What is stored comes with its own subject, and may have any headers.
            if message.subject == inbox and headers.get("Status") == "100":
                answer = message.reply or headers.get("Nats-Consumer-Stalled")
                if answer:
                    await self._nats.publish(answer)
                beat(int(headers.get("Nats-Last-Consumer", 0)))
                return
            found = self._delivered(message)
            if found is not None:
                deliver(found)

        try:
            subscription = await self._nats.subscribe(inbox, cb=take)
        except (OSError, nats.errors.Error) as error:
            raise self._unreachable(_reason(error)) from None
        config = {
            "deliver_subject": inbox,
            "deliver_policy": "last_per_subject",
            "ack_policy": "none",
            "max_deliver": 1,
            "filter_subject": self._prefix + keys,
            "flow_control": True,
            "idle_heartbeat": int(BEAT_SECONDS * 1e9),
            "inactive_threshold": int(30e9),
            "replay_policy": "instant",
            "mem_storage": True,
            "num_replicas": 1,
        }
        created = {"stream_name": self._stream, "config": config}
        try:
            reply = await self._api(f"CONSUMER.CREATE.{self._stream}", created)
        except BaseException:
            with suppress(Exception):
                await subscription.unsubscribe()
            raise
        name = str(reply["name"])

        async def end() -> None:
            with suppress(Exception):
                await subscription.unsubscribe()
                await self._nats.publish(f"$JS.API.CONSUMER.DELETE.{self._stream}.{name}")

        return Subscription(int(reply.get("num_pending", 0)), end)

    # -- what is written ---------------------------------------------------------------------

    async def put(self, key: str, value: bytes | None, expected: int) -> int:
        """Write a key that is at the sequence `expected`, 0 if it is not there; return the new one.

        A value of None deletes it. Raises WrongSequence, FleetFull, FleetUnreachable,
        FleetRefused, NoFleet. After FleetUnreachable it is unknown whether the value was written.
        """
        headers = {"Nats-Expected-Last-Subject-Sequence": str(expected)}
        if value is None:
            headers["KV-Operation"] = "DEL"
        elif len(value) > self.part_bytes:
            raise FleetFull(key, f"it has {len(value)} bytes, more than {self.part_bytes}")
        message = await self._request(self._prefix + key, value or b"", headers)
        reply = _decoded(message.data)
        if "error" not in reply:
            return int(reply["seq"])
        code = reply["error"].get("err_code")
        if code in _WRONG_SEQUENCE:
            raise WrongSequence(key, expected)
        if code in _FULL:
            raise FleetFull(key, str(reply["error"].get("description")))
        raise self._failure(reply)

    async def make(self, *, replicas: int, max_bytes: int) -> bool:
        """Make the bucket; return False if it is there already. Raises FleetRefused and others.

        Without roll-up, with which any host that may write its own key could erase all others'.
        """
        config = {
            "name": self._stream,
            "subjects": [f"{self._prefix}>"],
            "retention": "limits",
            "storage": "file",
            "discard": "new",
            "max_msgs_per_subject": 1,
            "max_msg_size": VALUE_BYTES_AT_MOST,
            "max_bytes": max_bytes,
            "num_replicas": replicas,
            "allow_direct": True,
            "allow_rollup_hdrs": False,
            "deny_delete": True,
        }
        message = await self._request(
            f"$JS.API.STREAM.CREATE.{self._stream}", json.dumps(config).encode()
        )
        reply = _decoded(message.data)
        if "error" not in reply:
            return True
        if reply["error"].get("err_code") == _IS_THERE:
            return False
        if reply["error"].get("err_code") in _FULL:
            raise FleetFull(self._access.bucket, str(reply["error"].get("description")))
        raise self._failure(reply)

    # -- requests ----------------------------------------------------------------------------

    async def _api(self, what: str, parameters: Mapping[str, Any] | None = None) -> dict[str, Any]:
        body = json.dumps(parameters).encode() if parameters else b""
        reply = _decoded((await self._request(f"$JS.API.{what}", body)).data)
        if "error" in reply and reply["error"].get("err_code") != _NO_MESSAGE:
            raise self._failure(reply)
        return reply

    async def _request(
        self, subject: str, data: bytes = b"", headers: dict[str, str] | None = None
    ) -> Msg:
        import nats.errors

        if self.lost.is_set():
            raise self._unreachable("the connection is lost")
        timeout = self._access.timeout_seconds
        asked = asyncio.ensure_future(
            self._nats.request(subject, data, timeout=timeout, headers=headers)
        )
        lost = asyncio.ensure_future(self.lost.wait())
        first: list[asyncio.Future[Any]] = [asked, lost, self._violation]
        try:
            await asyncio.wait(first, return_when=asyncio.FIRST_COMPLETED)
            if asked.done():
                return asked.result()
            if self._violation.done():
                raise FleetRefused(f"a message to {subject}", self._violation.result())
            raise self._unreachable("the connection is lost")
        except nats.errors.NoRespondersError:
            raise self._unreachable("the servers have no leader for the bucket") from None
        except (TimeoutError, nats.errors.TimeoutError):
            raise self._unreachable(f"no answer within {timeout:g} s") from None
        except nats.errors.MaxPayloadError as error:
            raise FleetFull(subject.removeprefix(self._prefix), _reason(error)) from None
        except (OSError, nats.errors.Error) as error:
            raise self._unreachable(_reason(error)) from None
        finally:
            lost.cancel()
            asked.cancel()
            if asked.done() and not asked.cancelled():
                asked.exception()  # taken note of, also where the loss came first

    def _delivered(self, message: Msg) -> Delivered | None:
        """Return what was delivered; None for what is of no stream."""
        parts = (message.reply or "").split(".")
        # $JS.ACK.<stream>.<consumer>.<times>.<sequence>.<number>.<time>.<pending>, or with
        # <domain>.<account> after $JS.ACK, and a token at the end.
        if len(parts) >= 11:
            parts = parts[:2] + parts[4:]
        if len(parts) < 9 or not message.subject.startswith(self._prefix):
            return None
        sequence, number, nanoseconds, pending = map(int, parts[5:9])
        value = None if _is_deleted(message.headers or {}) else message.data
        return Delivered(
            message.subject.removeprefix(self._prefix),
            Entry(value, sequence, nanoseconds / 1e9),
            number,
            pending,
        )

    def _failure(self, reply: Mapping[str, Any]) -> NoFleet | FleetUnreachable | FleetRefused:
        error = reply["error"]
        if error.get("err_code") == _NO_STREAM:
            return NoFleet(self._access.bucket)
        text = f"{error.get('description')} ({error.get('err_code')})"
        if error.get("code") in (400, 403):
            return FleetRefused("a request", text)
        return self._unreachable(text)

    def _unreachable(self, reason: str) -> FleetUnreachable:
        return FleetUnreachable(self._access.shown, reason)

    def _note(self, error: Exception) -> None:
        text = str(error)
        if "permissions violation" in text.lower() and not self._violation.done():
            self._violation.set_result(text.removeprefix("nats: "))
        # All else is a loss of the connection, or a gap in what is delivered: its owner sees it.


class Subscription(msgspec.Struct, frozen=True):
    """What delivers keys, until it is ended."""

    pending: int
    """how many keys there were when it began"""
    end: Callable[[], Any]


async def _close(client: Nats) -> None:
    """Close a connection; the server may have stopped, and take nothing any more."""
    subscriptions = list(client._subs.values())
    try:
        with suppress(Exception):
            await asyncio.wait_for(client.close(), _CLOSE_SECONDS)
    finally:
        # nats-py waits for a stopped server to take what is buffered, and leaves the rest as it
        # is; so it does if this task is cancelled meanwhile.
        writer = getattr(client._transport, "_bare_io_writer", None)
        if writer is not None:
            writer.transport.abort()
        tasks = [one._wait_for_msgs_task for one in subscriptions]
        for task in (
            *tasks,
            client._reading_task,
            client._ping_interval_task,
            client._flusher_task,
        ):
            if task is not None:
                task.cancel()


async def _process_headers(block: bytes) -> dict[str, str] | None:
    """Stand in for the function of nats-py, which loses the connection to some stored headers."""
    return headers_of(block) if block else None


def headers_of(block: bytes) -> dict[str, str]:
    """Return the headers of a message, and what its first line says as `Status`.

    A server sends the headers of a stored message as its writer made them, whatever they are, and
    appends its own. So the last of a name is the one to believe, and a status is one only where
    nothing was stored.
    """
    first, *lines = block.decode("utf-8", "replace").split("\r\n")
    headers = {}
    for line in lines:
        name, _, value = line.partition(":")
        headers[name.strip()] = value.strip()
    headers.pop("Status", None)
    version, _, status = first.partition(" ")
    if version == "NATS/1.0" and status and "Nats-Sequence" not in headers:
        headers["Status"], _, headers["Description"] = status.partition(" ")
    return headers


def _reason(error: BaseException) -> str:
    return str(error).removeprefix("nats: ") or type(error).__name__


def _decoded(data: bytes) -> dict[str, Any]:
    try:
        reply = json.loads(data)
    except ValueError:
        reply = None
    if not isinstance(reply, dict):
        return {"error": {"code": 500, "description": "the answer is no JSON"}}
    return reply


def _is_deleted(headers: Mapping[str, str]) -> bool:
    return headers.get("KV-Operation") in ("DEL", "PURGE") or "Nats-Marker-Reason" in headers


def _described(headers: Mapping[str, str]) -> str:
    return " ".join(str(one) for one in headers.values())[:200]


def _seconds(text: str) -> float:
    """Return a time of the server in seconds since 1970; it has nanoseconds, which Python drops."""
    return datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp()
