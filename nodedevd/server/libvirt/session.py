"""LibvirtSession: what a client has opened and registered for, and the answers to its calls."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Awaitable, Callable, Generator, Iterator, Sequence
from functools import partial
from typing import Any, Final, NamedTuple, Protocol, TypeVar
from urllib.parse import urlsplit

from nodedevd import __version__
from nodedevd.errors import BudgetExceeded, NoSuchDevice
from nodedevd.model.device import Device
from nodedevd.model.freshness import Freshness
from nodedevd.server.account import Holding
from nodedevd.server.conversation import ConnectedPeer
from nodedevd.server.libvirt import protocol as remote
from nodedevd.server.libvirt import write_errors as errors
from nodedevd.server.libvirt import xdr
from nodedevd.server.libvirt.devices import (
    EVENT_LIFECYCLE,
    EVENT_UPDATE,
    FILTERS,
    DeviceEvent,
    NodeDevices,
    is_persistent,
    starts_itself,
)
from nodedevd.server.libvirt.protocol import (
    ErrorCode,
    ErrorDomain,
    Header,
    MessageType,
    Packet,
    Procedure,
    RpcError,
)
from nodedevd.server.libvirt.registrations import Wanted
from nodedevd.server.libvirt.write_errors import QUOTED
from nodedevd.server.libvirt.xdr import XdrError
from nodedevd.server.reply_cache import Cacheable, ReplyCache, Shared
from nodedevd.steps import Steps, finish

LIBVIRT_VERSION: Final = 11_003_000
"""The version of libvirt whose calls are known here: major * 1000000 + minor * 1000 + micro."""
DEFAULT_URI: Final = "nodedev:///system"
FEATURES: Final = {10: "keepalive", 14: "remote event callbacks", 15: "close callback"}
"""virDrvFeature: the features that are supported."""
KEEPALIVE_FEATURE: Final = 10
URI_BYTES_MAX: Final = 1024
"""of the URI that a client opens, which is kept"""
NAME_BYTES_MAX: Final = 256
"""of a device in a registration; no device has a longer name"""
NAMES_BYTES_MAX: Final = 64 * 1024
"""of all names in the registrations of one client"""
_REGISTRATION_BYTES: Final = 512
"""Memory that a registration takes besides its name."""
REGISTRATIONS_MAX: Final = 1024
"""of one client; libvirt's library makes one for each event and device that it is asked for"""
_READ_ONLY: Final = 1  # VIR_CONNECT_RO
_INACTIVE_XML: Final = 1  # VIR_NODE_DEVICE_XML_INACTIVE

_log: Final = logging.getLogger(__name__)

A = TypeVar("A")
R = TypeVar("R")
T = TypeVar("T")


class _Registered(NamedTuple):
    """A client's registration for an event."""

    callback: int
    since: int
    """the generation at which it was made"""


class _Later(NamedTuple):
    """A result that can be made when something has ended.

    Not a coroutine: one that a client's end cancels before it has begun would be warned about.
    """

    awaited: Awaitable[None]
    make: Callable[[], Any]


class _Awaited(NamedTuple):
    """A result that something has to be done for; a function, for the same reason."""

    begin: Callable[[], Awaitable[Any]]


class Writer(Protocol):
    """Answers the calls that change the host."""

    async def answer(
        self, procedure: Procedure[Any, Any], client: ConnectedPeer, arguments: Any
    ) -> Any:
        """Return the result of one of `protocol.WRITES`. Raises RpcError, NoSuchDevice."""


class _Handler(NamedTuple):
    """A procedure and the function that answers it."""

    procedure: Procedure[Any, Any]
    handle: Callable[[Any], Any]
    before_open: bool
    """whether a client may call it before it has opened"""
    cacheable: bool
    """whether its reply may be in the cache"""


class LibvirtSession:
    """The state of one client.

    `replies` are those to GET_XML_DESC, by the payload of the call. `wake` is called after each
    change that causes an event that the client is registered for. `writes` answers calls that
    change the host, None if nothing does, and `client` is the one that calls, None if it may only
    read.

    Attributes:
        ended: whether the client has called CLOSE: nothing that follows is a call.
        keepalive: whether the client takes part in keepalive.
    """

    def __init__(
        self,
        devices: NodeDevices,
        freshness: Freshness,
        replies: ReplyCache,
        wake: Callable[[], None],
        holding: Holding | None = None,
        *,
        writes: Writer | None = None,
        client: ConnectedPeer | None = None,
    ) -> None:
        self._holding = holding or Holding()
        self._writes = writes
        self._client = client
        self._speaks_for_others = False
        self._changes_bytes = 0
        self.ended = False
        self.keepalive = False
        self._devices = devices
        self._store = devices.store
        self._freshness = freshness
        self._replies = replies
        self._wake = wake
        self._uri: str | None = None
        self._registered: dict[Wanted, _Registered] = {}
        self._callbacks: dict[int, Wanted] = {}
        self._names_bytes = 0
        self._next_callback = 0
        self._generation: int | None = None  # of the last change looked at; None: nothing is new
        self._pending: list[bytes] = []
        self._handlers: dict[int, _Handler] = {}
        self._serve_connection()
        self._serve_devices()
        if writes is not None:
            self._serve_writes(writes)

    # -- packets -----------------------------------------------------------------------

    def answer(self, packet: Packet) -> bytes | Awaitable[bytes] | Steps[bytes]:
        """Return the reply to a packet, empty if there is none; it never raises.

        An awaitable belongs to this call alone.
        """
        header = packet.header
        if header.program == remote.KEEPALIVE and header.version == remote.VERSION:
            return remote.encode_keepalive(remote.PONG) if header.procedure == remote.PING else b""
        try:
            return self._call(header, packet.payload)
        except Exception as error:
            return _failed(header, error)

    def note(self, generation: int) -> None:
        """Take notice that the change of this generation causes an event for the client."""
        if self._generation is None:
            self._generation = generation - 1
        self._wake()

    def next_event(self) -> bytes | None:
        """Return the next event that the client is registered for, or None if there is none now.

        Empty bytes are no event, but there may be one at once. Raises KeyError if it is `behind`.
        """
        if self._pending:
            return self._pending.pop()
        if self._generation is None:
            return None
        numbered = self._store.after(self._generation)
        if numbered is None:
            self._generation = None
            return None
        self._generation = numbered.generation
        self._pending = [
            packet
            for event in self._devices.events(numbered)
            for packet in self._encode_event(event, numbered.generation)
        ]
        self._pending.reverse()
        return self._pending.pop() if self._pending else b""

    @property
    def behind(self) -> bool:
        """Whether the history no longer has the next event that the client is registered for."""
        if self._generation is None:
            return False
        try:
            self._store.after(self._generation)
        except KeyError:
            return True
        return False

    def close(self) -> None:
        """Unsubscribe from events."""
        for wanted in self._registered:
            self._devices.registrations.remove(wanted, self)
        self._watch(False)
        self._registered.clear()
        self._callbacks.clear()
        self._pending.clear()
        self._generation = None
        self._changes_bytes = 0  # the connection gives back what is held
        # These refer to this object: without them, it is freed at once.
        self._handlers.clear()
        self._wake = _nobody

    def _watch(self, wanted: bool) -> None:
        """Count as a watcher of the store, or no longer."""
        if wanted:
            self._store.watch(self)
        else:
            self._store.unwatch(self)

    def _encode_event(self, event: DeviceEvent, generation: int) -> list[bytes]:
        found = (self._registered.get(wanted) for wanted in (event.wanted, event.wanted.of_any))
        callbacks = sorted([one.callback for one in found if one and one.since < generation])
        if not callbacks:
            return []
        packet = self._devices.packet(event)
        return [remote.with_callback(packet, callback) for callback in callbacks]

    # -- calls -------------------------------------------------------------------------

    def _call(
        self, header: Header, payload: bytes | None
    ) -> bytes | Awaitable[bytes] | Steps[bytes]:
        handler = self._find(header)
        if handler.cacheable and payload is not None and self._uri is not None:
            cached = self._replies.get(payload)
            if cached is not None:
                return remote.encode_reply(header, cached)
        if payload is None:
            raise _protocol_error(
                f"packet too large: the limit is {remote.PACKET_LIMIT_BYTES} bytes"
            )
        try:
            arguments = xdr.decode(handler.procedure.arguments, payload)
        except XdrError as error:
            raise _protocol_error(f"Unable to decode message payload: {error}") from error
        if self._uri is None and not handler.before_open:
            raise RpcError(
                ErrorCode.INTERNAL_ERROR, ErrorDomain.RPC, "internal error: connection not open"
            )
        result = handler.handle(arguments)
        if isinstance(result, Cacheable):
            self._replies.keep(payload, result.answer, result.until)
            return remote.encode_reply(header, result.answer.joined())
        if isinstance(result, Generator):
            return _answer_in_steps(header, handler.procedure, result)
        if isinstance(result, _Later):
            return _answer_later(header, handler.procedure, result)
        if isinstance(result, _Awaited):
            return _answer_awaited(header, handler.procedure, result)
        return remote.encode_reply(header, _encoded(handler.procedure, result))

    def _find(self, header: Header) -> _Handler:
        if header.program != remote.REMOTE or header.version != remote.VERSION:
            raise _protocol_error(f"Cannot find program {header.program} version {header.version}")
        if header.type != MessageType.CALL:
            raise _protocol_error(f"Unexpected message type {header.type}")
        if header.status != 0:
            raise _protocol_error(f"Unexpected message status {header.status}")
        if header.procedure in remote.WRITES:
            self._check_may_write(*remote.WRITES[header.procedure])
        handler = self._handlers.get(header.procedure)
        if handler is not None:
            return handler
        refused = remote.REFUSED.get(header.procedure)
        if refused is None:
            # From exactly this text, clients conclude that the call is not supported.
            raise _protocol_error(f"unknown procedure: {header.procedure}")
        raise _refusal(*refused)

    def _serve(
        self,
        procedure: Procedure[A, R],
        handle: Callable[[A], R | _Later | _Awaited | Cacheable[Shared] | Steps[Any]],
        *,
        before_open: bool = False,
        cacheable: bool = False,
    ) -> None:
        handler = _Handler(procedure, handle, before_open, cacheable)
        self._handlers[procedure.number] = handler

    # -- the connection ----------------------------------------------------------------

    def _serve_connection(self) -> None:
        self._serve(remote.AUTH_LIST, lambda _: (0,), before_open=True)  # no authentication
        self._serve(remote.SUPPORTS_FEATURE, self._supports_feature, before_open=True)
        self._serve(remote.OPEN, self._open, before_open=True)
        self._serve(remote.CLOSE, self._close, before_open=True)
        self._serve(remote.GET_TYPE, lambda _: "nodedev")
        self._serve(remote.GET_VERSION, lambda _: version_number(__version__))
        self._serve(remote.GET_LIB_VERSION, lambda _: LIBVIRT_VERSION)
        self._serve(remote.GET_URI, lambda _: self._uri or DEFAULT_URI)
        self._serve(remote.GET_HOSTNAME, lambda _: os.uname().nodename)
        self._serve(remote.IS_SECURE, lambda _: 1)  # nobody can listen in on a Unix socket
        self._serve(remote.SET_IDENTITY, self._set_identity)
        # A client sees the daemon's end by the end of its connection.
        self._serve(remote.REGISTER_CLOSE_CALLBACK, lambda _: None)
        self._serve(remote.UNREGISTER_CLOSE_CALLBACK, lambda _: None)
        self._serve(remote.REGISTER_EVENT, self._register)
        self._serve(remote.DEREGISTER_EVENT, self._deregister)

    def _supports_feature(self, feature: int) -> int:
        self.keepalive = self.keepalive or feature == KEEPALIVE_FEATURE
        return int(feature in FEATURES)

    def _open(self, call: remote.Open) -> None:
        # Other flags are ignored: clients send some that concern only themselves.
        if self._uri is not None:
            raise RpcError(
                ErrorCode.INTERNAL_ERROR, ErrorDomain.RPC, "internal error: already open"
            )
        uri = call.name or DEFAULT_URI
        if not _is_ours(uri):
            raise RpcError(
                ErrorCode.INTERNAL_ERROR,
                ErrorDomain.NONE,
                f"internal error: unexpected URI '{uri[:QUOTED]}', try {DEFAULT_URI}",
            )
        uri_bytes = len(uri.encode())
        if uri_bytes > URI_BYTES_MAX:
            raise _protocol_error(f"URI too long: {uri_bytes} bytes, the limit is {URI_BYTES_MAX}")
        self._uri = uri
        if call.flags & _READ_ONLY:
            self._client = None

    def _set_identity(self, identity: remote.Identity) -> None:
        # For reading it makes no difference: all clients have the same rights.
        _no_flags(identity.flags)
        self._speaks_for_others = True

    def _close(self, _: None) -> None:
        self.ended = True

    def _register(self, call: remote.Registration) -> int:
        if call.event_id not in (EVENT_LIFECYCLE, EVENT_UPDATE):
            raise RpcError(
                ErrorCode.INTERNAL_ERROR,
                ErrorDomain.RPC,
                f"internal error: unsupported event ID {call.event_id}",
            )
        wanted = Wanted(call.event_id, call.device)
        if wanted in self._registered:
            raise RpcError(
                ErrorCode.INVALID_ARG, ErrorDomain.NONE, "event callback already tracked"
            )
        if len(self._registered) >= REGISTRATIONS_MAX:
            raise _protocol_error(f"too many event callbacks, limit is {REGISTRATIONS_MAX}")
        name_bytes = len((call.device or "").encode())
        if name_bytes > NAME_BYTES_MAX:
            raise _protocol_error(
                f"name too long: {name_bytes} bytes, the limit is {NAME_BYTES_MAX}"
            )
        if self._names_bytes + name_bytes > NAMES_BYTES_MAX:
            raise _protocol_error(
                f"too many names in event callbacks, the limit is {NAMES_BYTES_MAX} bytes"
            )
        self._hold(len(self._registered) + 1, self._names_bytes + name_bytes)
        if not self._registered:
            self._watch(True)
        callback, self._next_callback = self._next_callback, self._next_callback + 1
        self._callbacks[callback] = wanted
        self._registered[wanted] = _Registered(callback, self._store.snapshot.generation)
        self._devices.registrations.add(wanted, self)
        return callback

    def _deregister(self, callback: int) -> None:
        wanted = self._callbacks.pop(callback, None)
        if wanted is None:
            raise RpcError(
                ErrorCode.INTERNAL_ERROR,
                ErrorDomain.RPC,
                f"internal error: node device event callback {callback} not registered",
            )
        del self._registered[wanted]
        self._devices.registrations.remove(wanted, self)
        name_bytes = len((wanted.device or "").encode())
        self._hold(len(self._registered), self._names_bytes - name_bytes)
        if not self._registered:
            self._watch(False)

    def _hold(self, registrations: int, names_bytes: int) -> None:
        """Count the memory of all registrations. Raises RpcError."""
        size = registrations * _REGISTRATION_BYTES + names_bytes
        try:
            self._holding.set("registrations", size)
        except BudgetExceeded as error:
            raise budget_error(error) from error
        self._names_bytes = names_bytes

    # -- changes -----------------------------------------------------------------------

    def _serve_writes(self, writes: Writer) -> None:
        for procedure, _ in remote.WRITES.values():
            self._serve(procedure, partial(self._write, writes, procedure))

    def _write(self, writes: Writer, procedure: Procedure[Any, Any], arguments: Any) -> _Awaited:
        assert self._client is not None, "as _check_may_write has found"
        size = sum(len(one.encode()) for one in _texts(arguments))
        self._hold_changes(size)
        return _Awaited(partial(self._change, writes, procedure, self._client, arguments, size))

    async def _change(
        self,
        writes: Writer,
        procedure: Procedure[Any, Any],
        client: ConnectedPeer,
        arguments: Any,
        size: int,
    ) -> Any:
        try:
            return await writes.answer(procedure, client, arguments)
        finally:
            self._hold_changes(-min(size, self._changes_bytes))

    def _hold_changes(self, size: int) -> None:
        """Count the arguments of changes that are under way. Raises RpcError."""
        try:
            self._holding.set("changes", self._changes_bytes + size)
        except BudgetExceeded as error:
            raise budget_error(error) from error
        self._changes_bytes += size

    def _check_may_write(self, procedure: Procedure[Any, Any], function: str) -> None:
        """Raise RpcError if this client can change nothing, before its arguments are decoded."""
        if self._writes is None:
            raise errors.unsupported_operation(
                "nodedevd changes nothing for libvirt's clients without --libvirt-writes:"
                f" {procedure.name}"
            )
        if self._client is None:
            raise errors.read_only(function)
        if self._speaks_for_others:
            # It would be done with the rights of that daemon, which is root.
            raise errors.denied(
                "another daemon asks for its client; connect to this socket to change devices"
            )

    # -- node devices ------------------------------------------------------------------

    def _serve_devices(self) -> None:
        self._serve(remote.LIST_ALL, self._list_all)
        self._serve(remote.NUM_OF_DEVICES, self._num_of_devices)
        self._serve(remote.LIST_DEVICES, self._list_devices)
        self._serve(remote.LOOKUP_BY_WWN, self._lookup_by_wwn)
        # The only cacheable procedure, so its payload is enough of a key.
        self._serve(remote.GET_XML_DESC, self._get_xml_desc, cacheable=True)
        self._serve(remote.LOOKUP_BY_NAME, lambda name: self._of(name, self._devices.name))
        self._serve(remote.GET_PARENT, lambda name: self._of(name, self._devices.parent))
        self._serve(remote.NUM_OF_CAPS, lambda name: self._of(name, self._number_of_caps))
        self._serve(remote.LIST_CAPS, lambda call: self._of(call.name, partial(self._caps, call)))
        self._serve(remote.GET_AUTOSTART, lambda name: self._of(name, starts_itself))
        self._serve(remote.IS_PERSISTENT, lambda name: self._of(name, is_persistent))
        self._serve(remote.IS_ACTIVE, lambda name: self._of(name, lambda device: device.active))

    def _of(self, name: str, answer: Callable[[Device], R]) -> R | Steps[R]:
        """Return what is answered of a device."""
        device = self._devices.find(name)
        return answer(device) if device is not None else self._of_libvirt_name(name, answer)

    def _of_libvirt_name(self, name: str, answer: Callable[[Device], R]) -> Steps[R]:
        return answer((yield from self._devices.find_by_libvirt_name(name)))

    def _list_all(self, call: remote.ListAll) -> Steps[xdr.Packed]:
        _no_flags(call.flags & ~FILTERS)
        names = yield from self._devices.select(call.flags)
        listed = _packed(names if call.need_results else ())
        return xdr.Packed(listed.data + xdr.encode(xdr.UNSIGNED_INT, len(names)))

    def _num_of_devices(self, call: remote.CapAndFlags) -> Steps[int]:
        _no_flags(call.flags)
        return len((yield from self._devices.having(call.cap)))

    def _list_devices(self, call: remote.SelectedNames) -> Steps[xdr.Packed]:
        _no_flags(call.flags)
        _cut((), call.maxnames)
        return _packed(_cut((yield from self._devices.having(call.cap)), call.maxnames))

    def _lookup_by_wwn(self, call: remote.WorldWideNames) -> Steps[str]:
        _no_flags(call.flags)
        return self._devices.name((yield from self._devices.find_scsi_host(call.wwnn, call.wwpn)))

    def _get_xml_desc(self, call: remote.NameAndFlags) -> _Later | Cacheable[Shared] | Steps[Any]:
        _no_flags(call.flags & ~_INACTIVE_XML)
        return self._of(call.name, partial(self._xml_when_fresh, call))

    def _xml_when_fresh(
        self, call: remote.NameAndFlags, device: Device
    ) -> _Later | Cacheable[Shared]:
        refreshed = self._freshness.refresh([device])
        if refreshed is not None:
            return _Later(refreshed, partial(self._fresh_xml, call))
        return Cacheable(self._xml(device, call.flags), self._freshness.fresh_until(device))

    def _fresh_xml(self, call: remote.NameAndFlags) -> xdr.Packed:
        device = self._devices.find(call.name)
        if device is None:
            device = finish(self._devices.find_by_libvirt_name(call.name))
        return xdr.Packed(self._xml(device, call.flags).joined())

    def _xml(self, device: Device, flags: int) -> Shared:
        inactive = bool(flags & _INACTIVE_XML)
        if inactive and not is_persistent(device):
            name = self._devices.name(device)
            raise RpcError(
                ErrorCode.OPERATION_INVALID,
                ErrorDomain.NODEDEV,
                f"Requested operation is not valid: node device '{name}' is not persistent",
            )
        xml = self._devices.xml(device, inactive=inactive)
        try:
            parts = remote.STRING.parts(xml)
        except XdrError as error:
            raise _not_encoded(error) from error
        if self._devices.keeps(device, xml):
            return Shared(*parts)
        return Shared(b"".join(parts), b"", b"")

    def _number_of_caps(self, device: Device) -> int:
        return len(self._devices.capabilities(device))

    def _caps(self, call: remote.NameAndMaximum, device: Device) -> Sequence[str]:
        return _cut(self._devices.capabilities(device), call.maxnames)


def _texts(arguments: Any) -> Iterator[str]:
    """Return the texts of a call that changes something."""
    fields = arguments if isinstance(arguments, tuple) else (arguments,)
    return (one for one in fields if isinstance(one, str))


def _nobody() -> None:
    """Wake nobody: the connection is closed."""


def _succeeded(call: Header, procedure: Procedure[Any, R], result: R) -> bytes:
    return remote.encode_reply(call, _encoded(procedure, result))


def _encoded(procedure: Procedure[Any, R], result: R) -> bytes:
    if isinstance(result, xdr.Packed):
        return result.data
    try:
        return xdr.encode(procedure.result, result)
    except XdrError as error:
        raise _not_encoded(error) from error


def _not_encoded(error: XdrError) -> RpcError:
    """Return the error for more names, or longer XML, than the protocol can carry."""
    return _protocol_error(f"Unable to encode message payload: {error}")


def _failed(call: Header, error: Exception) -> bytes:
    """Return the error reply for an exception; a defect is logged, and the reply has no details."""
    match error:
        case RpcError():
            pass
        case NoSuchDevice(name=name):
            error = errors.no_device(name)
        case _:
            _log.error("a call failed", exc_info=error)
            error = RpcError(
                ErrorCode.INTERNAL_ERROR, ErrorDomain.NODEDEV, "internal error: see the log"
            )
    return remote.encode_error(call, error)


def _answer_in_steps(call: Header, procedure: Procedure[Any, Any], steps: Steps[Any]) -> Steps[Any]:
    """Return the reply that a result made in steps comes to, or an awaitable of it."""
    try:
        result = yield from steps
    except Exception as error:
        return _failed(call, error)
    if isinstance(result, _Later):
        return _answer_later(call, procedure, result)
    if isinstance(result, Cacheable):
        result = xdr.Packed(result.answer.joined())
    try:
        return _succeeded(call, procedure, result)
    except Exception as error:
        return _failed(call, error)


async def _answer_later(call: Header, procedure: Procedure[Any, Any], later: _Later) -> bytes:
    try:
        await later.awaited
        return _succeeded(call, procedure, later.make())
    except Exception as error:
        return _failed(call, error)


async def _answer_awaited(call: Header, procedure: Procedure[Any, Any], awaited: _Awaited) -> bytes:
    try:
        return _succeeded(call, procedure, await awaited.begin())
    except Exception as error:
        return _failed(call, error)


def budget_error(error: BudgetExceeded) -> RpcError:
    """Return the error for a call that needs more memory than its user's clients may hold."""
    return _protocol_error(str(error))


def _protocol_error(message: str) -> RpcError:
    return RpcError(ErrorCode.RPC, ErrorDomain.RPC, message)


def _refusal(name: str, code: ErrorCode, domain: ErrorDomain) -> RpcError:
    match code:
        case ErrorCode.NO_SUPPORT:
            reason = "this function is not supported by the connection driver"
        case _:
            reason = "authentication failed: no authentication is needed"
    return RpcError(code, domain, f"{reason}: {name}")


def _no_flags(flags: int) -> None:
    if flags:
        raise RpcError(
            ErrorCode.INVALID_ARG,
            ErrorDomain.NODEDEV,
            f"invalid argument: unsupported flags (0x{flags:x})",
        )


def _packed(names: Sequence[bytes]) -> xdr.Packed:
    """Return a list of names that are in XDR already. Raises RpcError."""
    if len(names) > remote.NAMES_MAX:
        raise _protocol_error(
            f"Unable to encode message payload: an array of {len(names)} elements,"
            f" {remote.NAMES_MAX} at most"
        )
    return xdr.Packed(xdr.encode(xdr.UNSIGNED_INT, len(names)) + b"".join(names))


def _cut(names: Sequence[T], maximum: int) -> Sequence[T]:
    if not 0 <= maximum <= remote.NAMES_MAX:
        raise _protocol_error(f"too many names: {maximum} wanted, the limit is {remote.NAMES_MAX}")
    return names[:maximum]


def _is_ours(uri: str) -> bool:
    try:
        parts = urlsplit(uri)
    except ValueError:
        return False
    return parts.scheme.partition("+")[0] == "nodedev" and parts.path in ("/system", "/session")


def version_number(text: str) -> int:
    """Return a version as libvirt encodes it: major * 1000000 + minor * 1000 + micro."""
    major, minor, micro = (*map(int, re.findall("[0-9]+", text)), 0, 0, 0)[:3]
    return (major * 1000 + minor) * 1000 + micro
