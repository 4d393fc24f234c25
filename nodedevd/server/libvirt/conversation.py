"""One client of libvirt's remote protocol: what it asked for, the answers and events; no I/O.

Packets go in, packets come out; `nodedevd.libvirt_server` carries them. A client can change
nothing, so the read-only socket differs from the other in its place alone.
"""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final, NamedTuple, TypeVar
from urllib.parse import urlsplit

from nodedevd import __version__
from nodedevd.errors import NoSuchDevice
from nodedevd.model.device import Device
from nodedevd.model.freshness import Freshness
from nodedevd.server.libvirt import protocol as remote
from nodedevd.server.libvirt import xdr
from nodedevd.server.libvirt.devices import (
    FILTERS,
    Event,
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
    RemoteError,
)
from nodedevd.server.libvirt.xdr import XdrError

SPOKEN: Final = 11_003_000
"""The version of libvirt whose calls are known here: major * 1000000 + minor * 1000 + micro."""
DEFAULT_URI: Final = "nodedev:///system"
FEATURES: Final = {10: "keepalive", 14: "remote event callbacks", 15: "close callback"}
"""virDrvFeature: those that are answered with yes."""
KEEPALIVE_FEATURE: Final = 10
EVENT_LIFECYCLE: Final = 0
EVENT_UPDATE: Final = 1
REGISTRATIONS_MAX: Final = 1024
"""Of one client; libvirt's own library makes one for each event and device it is asked for."""
_INACTIVE_XML: Final = 1  # VIR_NODE_DEVICE_XML_INACTIVE
_SHOWN: Final = 256  # characters of what a client sent, in a message

_log: Final = logging.getLogger(__name__)

A = TypeVar("A")
R = TypeVar("R")


class Behind(Exception):
    """The client did not read its events for so long that the first of them are forgotten."""


class _Lasting(str):
    """An answer that is right for a while: `until`, by time.monotonic()."""

    until: float

    @classmethod
    def to(cls, until: float, answer: str) -> _Lasting:
        lasting = cls(answer)
        lasting.until = until
        return lasting


class _Registered(NamedTuple):
    """A client's wish to be told of events."""

    event_id: int
    device: str | None
    since: int
    """the generation it was made at"""


class _Served(NamedTuple):
    """A procedure and what answers it; before the client has opened, few are."""

    procedure: Procedure[Any, Any]
    handle: Callable[[Any], Any]
    before_open: bool
    lasts: bool
    """whether it may have been answered already"""


class LibvirtSession:
    """What is kept for one client; `close` gives it up.

    Attributes:
        ended: whether the client has said goodbye: nothing it sends any more is a call.
        pings: whether the client takes part in keepalive.
    """

    def __init__(
        self,
        devices: NodeDevices,
        wake: Callable[[], None],
        freshness: Freshness,
    ) -> None:
        self.ended = False
        self.pings = False
        self._devices = devices
        self._store = devices.store
        self._wake = wake
        self._freshness = freshness
        self._uri: str | None = None
        self._registered: dict[int, _Registered] = {}
        self._next_callback = 0
        self._generation = 0
        self._pending: list[bytes] = []
        self._served: dict[int, _Served] = {}
        self._serve_connection()
        self._serve_devices()

    # -- packets -----------------------------------------------------------------------

    def answer(self, packet: Packet) -> bytes | Awaitable[bytes]:
        """Return what a packet is answered with, empty if with nothing; it never raises.

        An awaitable belongs to this call alone.
        """
        header = packet.header
        if header.program == remote.KEEPALIVE and header.version == remote.VERSION:
            return remote.encode_keepalive(remote.PONG) if header.procedure == remote.PING else b""
        try:
            return self._call(header, packet.payload)
        except Exception as error:
            return _failed(header, error)

    def next_event(self) -> bytes | None:
        """Return the next event the client wants to be told of, or None if there is none now.

        Raises Behind.
        """
        while self._registered and not self._pending:
            try:
                recent = self._store.after(self._generation)
            except KeyError:
                raise Behind from None
            if recent is None:
                return None
            self._generation = recent.generation
            self._pending = [
                packet
                for event in self._devices.events(recent)
                for packet in self._tell(event, recent.generation)
            ]
            self._pending.reverse()
        return self._pending.pop() if self._pending else None

    @property
    def behind(self) -> bool:
        """Whether events the client wants to be told of are forgotten."""
        if not self._registered:
            return False
        try:
            self._store.after(self._generation)
        except KeyError:
            return True
        return False

    def close(self) -> None:
        """Be told of nothing any more."""
        self._store.unsubscribe(self._wake)
        self._registered.clear()
        self._pending.clear()

    def _tell(self, event: Event, generation: int) -> list[bytes]:
        event_id = EVENT_UPDATE if event.lifecycle is None else EVENT_LIFECYCLE
        told = []
        for callback, wanted in self._registered.items():
            if wanted.event_id != event_id or wanted.since >= generation:
                continue
            if wanted.device not in (None, event.name):
                continue
            if event.lifecycle is None:
                update = remote.Update(callback, event.name)
                told.append(remote.encode_event(remote.EVENT_UPDATE, update))
            else:
                lifecycle = remote.Lifecycle(callback, event.name, event.lifecycle, 0)
                told.append(remote.encode_event(remote.EVENT_LIFECYCLE, lifecycle))
        return told

    # -- calls -------------------------------------------------------------------------

    def _call(self, header: Header, payload: bytes | None) -> bytes | Awaitable[bytes]:
        served = self._find(header)
        if served.lasts and payload is not None and self._uri is not None:
            known = self._devices.replies.get(payload)
            if known is not None:
                return remote.encode_reply(header, known)
        if payload is None:
            raise _protocol_error(
                f"packet too large: at most {remote.PACKET_LIMIT_BYTES} bytes are taken"
            )
        try:
            arguments = xdr.decode(served.procedure.arguments, payload)
        except XdrError as error:
            raise _protocol_error(f"Unable to decode message payload: {error}") from error
        if self._uri is None and not served.before_open:
            raise RemoteError(
                ErrorCode.INTERNAL_ERROR, ErrorDomain.RPC, "internal error: connection not open"
            )
        result = served.handle(arguments)
        if isinstance(result, Awaitable):
            return _answer_later(header, served.procedure, result)
        reply = _encoded(served.procedure, result)
        if isinstance(result, _Lasting):
            self._devices.replies.keep(payload, reply, result.until)
        return remote.encode_reply(header, reply)

    def _find(self, header: Header) -> _Served:
        if header.program != remote.REMOTE or header.version != remote.VERSION:
            raise _protocol_error(f"Cannot find program {header.program} version {header.version}")
        if header.type != MessageType.CALL:
            raise _protocol_error(f"Unexpected message type {header.type}")
        if header.status != 0:
            raise _protocol_error(f"Unexpected message status {header.status}")
        served = self._served.get(header.procedure)
        if served is not None:
            return served
        refused = remote.REFUSED.get(header.procedure)
        if refused is None:
            # These words have a client take it for a call that is not supported.
            raise _protocol_error(f"unknown procedure: {header.procedure}")
        raise _refusal(*refused)

    def _serve(
        self,
        procedure: Procedure[A, R],
        handle: Callable[[A], R | Awaitable[R]],
        *,
        before_open: bool = False,
        lasts: bool = False,
    ) -> None:
        self._served[procedure.number] = _Served(procedure, handle, before_open, lasts)

    # -- the connection ----------------------------------------------------------------

    def _serve_connection(self) -> None:
        self._serve(remote.AUTH_LIST, lambda _: (0,), before_open=True)  # no authentication
        self._serve(remote.SUPPORTS_FEATURE, self._supports_feature, before_open=True)
        self._serve(remote.OPEN, self._open, before_open=True)
        self._serve(remote.CLOSE, self._close, before_open=True)
        self._serve(remote.GET_TYPE, lambda _: "nodedev")
        self._serve(remote.GET_VERSION, lambda _: version_number(__version__))
        self._serve(remote.GET_LIB_VERSION, lambda _: SPOKEN)
        self._serve(remote.GET_URI, lambda _: self._uri or DEFAULT_URI)
        self._serve(remote.GET_HOSTNAME, lambda _: os.uname().nodename)
        self._serve(remote.IS_SECURE, lambda _: 1)  # nobody listens to a Unix socket
        # Who it is makes no difference: nobody may do more than another.
        self._serve(remote.SET_IDENTITY, lambda identity: _no_flags(identity.flags))
        # The end of the daemon is seen by the socket's.
        self._serve(remote.REGISTER_CLOSE_CALLBACK, lambda _: None)
        self._serve(remote.UNREGISTER_CLOSE_CALLBACK, lambda _: None)
        self._serve(remote.REGISTER_EVENT, self._register)
        self._serve(remote.DEREGISTER_EVENT, self._deregister)

    def _supports_feature(self, feature: int) -> int:
        self.pings = self.pings or feature == KEEPALIVE_FEATURE
        return int(feature in FEATURES)

    def _open(self, call: remote.Open) -> None:
        # Flag bits are ignored: clients send some that are their own business.
        if self._uri is not None:
            raise RemoteError(
                ErrorCode.INTERNAL_ERROR, ErrorDomain.RPC, "internal error: already open"
            )
        uri = call.name or DEFAULT_URI
        if not _is_ours(uri):
            raise RemoteError(
                ErrorCode.INTERNAL_ERROR,
                ErrorDomain.NONE,
                f"internal error: unexpected URI '{uri[:_SHOWN]}', try {DEFAULT_URI}",
            )
        self._uri = uri

    def _close(self, _: None) -> None:
        self.ended = True

    def _register(self, call: remote.Registration) -> int:
        if call.event_id not in (EVENT_LIFECYCLE, EVENT_UPDATE):
            raise RemoteError(
                ErrorCode.INTERNAL_ERROR,
                ErrorDomain.RPC,
                f"internal error: unsupported event ID {call.event_id}",
            )
        for one in self._registered.values():
            if (one.event_id, one.device) == (call.event_id, call.device):
                raise RemoteError(
                    ErrorCode.INVALID_ARG, ErrorDomain.NONE, "event callback already tracked"
                )
        if len(self._registered) >= REGISTRATIONS_MAX:
            raise _protocol_error(f"too many event callbacks, limit is {REGISTRATIONS_MAX}")
        now = self._store.snapshot.generation
        if not self._registered:
            self._generation = now
            self._store.subscribe(self._wake)
        callback, self._next_callback = self._next_callback, self._next_callback + 1
        self._registered[callback] = _Registered(call.event_id, call.device, now)
        return callback

    def _deregister(self, callback: int) -> None:
        if self._registered.pop(callback, None) is None:
            raise RemoteError(
                ErrorCode.INTERNAL_ERROR,
                ErrorDomain.RPC,
                f"internal error: node device event callback {callback} not registered",
            )
        if not self._registered:
            self._store.unsubscribe(self._wake)

    # -- node devices ------------------------------------------------------------------

    def _serve_devices(self) -> None:
        self._serve(remote.LIST_ALL, self._list_all)
        self._serve(remote.NUM_OF_DEVICES, self._num_of_devices)
        self._serve(remote.LIST_DEVICES, self._list_devices)
        self._serve(remote.LOOKUP_BY_NAME, lambda name: self._devices.name(self._find_device(name)))
        self._serve(remote.LOOKUP_BY_WWN, self._lookup_by_wwn)
        # The one that is kept: its payload need not tell of which procedure it is.
        self._serve(remote.GET_XML_DESC, self._get_xml_desc, lasts=True)
        self._serve(remote.GET_PARENT, lambda name: self._devices.parent(self._find_device(name)))
        self._serve(remote.NUM_OF_CAPS, lambda name: len(self._caps(name)))
        self._serve(remote.LIST_CAPS, lambda call: _cut(self._caps(call.name), call.maxnames))
        self._serve(remote.GET_AUTOSTART, lambda name: int(starts_itself(self._find_device(name))))
        self._serve(remote.IS_PERSISTENT, lambda name: int(is_persistent(self._find_device(name))))
        self._serve(remote.IS_ACTIVE, lambda name: int(self._find_device(name).active))

    def _list_all(self, call: remote.ListAll) -> remote.Listed:
        _no_flags(call.flags & ~FILTERS)
        names = self._devices.select(call.flags)
        return remote.Listed(names if call.need_results else (), len(names))

    def _num_of_devices(self, call: remote.Selection) -> int:
        _no_flags(call.flags)
        return len(self._devices.having(call.cap))

    def _list_devices(self, call: remote.SelectedNames) -> Sequence[str]:
        _no_flags(call.flags)
        return _cut(self._devices.having(call.cap), call.maxnames)

    def _lookup_by_wwn(self, call: remote.WorldWideNames) -> str:
        _no_flags(call.flags)
        return self._devices.name(self._devices.find_scsi_host(call.wwnn, call.wwpn))

    def _get_xml_desc(self, call: remote.NameAndFlags) -> str | Awaitable[str]:
        _no_flags(call.flags & ~_INACTIVE_XML)
        device = self._find_device(call.name)
        refreshed = self._freshness.refresh([device])
        if refreshed is not None:
            return self._xml_later(refreshed, call)
        return _Lasting.to(self._freshness.fresh_until(device), self._xml(device, call.flags))

    async def _xml_later(self, refreshed: Awaitable[None], call: remote.NameAndFlags) -> str:
        await refreshed
        return self._xml(self._find_device(call.name), call.flags)

    def _xml(self, device: Device, flags: int) -> str:
        inactive = bool(flags & _INACTIVE_XML)
        if inactive and not is_persistent(device):
            name = self._devices.name(device)
            raise RemoteError(
                ErrorCode.OPERATION_INVALID,
                ErrorDomain.NODEDEV,
                f"Requested operation is not valid: node device '{name}' is not persistent",
            )
        return self._devices.xml(device, inactive=inactive)

    def _caps(self, name: str) -> list[str]:
        return self._devices.capabilities(self._find_device(name))

    def _find_device(self, name: str) -> Device:
        return self._devices.find(name)


def _succeeded(call: Header, procedure: Procedure[Any, R], result: R) -> bytes:
    return remote.encode_reply(call, _encoded(procedure, result))


def _encoded(procedure: Procedure[Any, R], result: R) -> bytes:
    try:
        return xdr.encode(procedure.result, result)
    except XdrError as error:
        # The protocol's own bounds: more names, or longer XML, than it can carry.
        raise _protocol_error(f"Unable to encode message payload: {error}") from error


def _failed(call: Header, error: Exception) -> bytes:
    """Return the reply that tells of a failure; of a defect, the client learns nothing."""
    match error:
        case RemoteError():
            pass
        case NoSuchDevice():
            error = RemoteError(
                ErrorCode.NO_NODE_DEVICE,
                ErrorDomain.NODEDEV,
                f"Node device not found: no node device with matching name '{error.name[:_SHOWN]}'",
            )
        case _:
            _log.error("a call failed", exc_info=error)
            error = RemoteError(
                ErrorCode.INTERNAL_ERROR, ErrorDomain.NODEDEV, "internal error: see the log"
            )
    return remote.encode_error(call, error)


async def _answer_later(call: Header, procedure: Procedure[Any, R], result: Awaitable[R]) -> bytes:
    try:
        return _succeeded(call, procedure, await result)
    except Exception as error:
        return _failed(call, error)


def _protocol_error(message: str) -> RemoteError:
    return RemoteError(ErrorCode.RPC, ErrorDomain.RPC, message)


def _refusal(name: str, code: ErrorCode, domain: ErrorDomain) -> RemoteError:
    match code:
        case ErrorCode.NO_SUPPORT:
            reason = "this function is not supported by the connection driver"
        case ErrorCode.AUTH_FAILED:
            reason = "authentication failed: none is asked for"
        case _:
            reason = "Operation not supported: nodedevd shows devices and changes none"
    return RemoteError(code, domain, f"{reason}: {name}")


def _no_flags(flags: int) -> None:
    if flags:
        raise RemoteError(
            ErrorCode.INVALID_ARG,
            ErrorDomain.NODEDEV,
            f"invalid argument: unsupported flags (0x{flags:x})",
        )


def _cut(names: Sequence[str], maximum: int) -> Sequence[str]:
    if not 0 <= maximum <= remote.NAMES_MAX:
        raise _protocol_error(f"too many names: {maximum} asked for, {remote.NAMES_MAX} at most")
    return names[:maximum]


def _is_ours(uri: str) -> bool:
    try:
        parts = urlsplit(uri)
    except ValueError:
        return False
    return parts.scheme.partition("+")[0] == "nodedev" and parts.path in ("/system", "/session")


def version_number(text: str) -> int:
    """Return a version as libvirt has it: major * 1000000 + minor * 1000 + micro."""
    major, minor, micro = (*map(int, re.findall("[0-9]+", text)), 0, 0, 0)[:3]
    return (major * 1000 + minor) * 1000 + micro
