"""Client: asks a nodedevd over its socket, one blocking call after another."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterable, Iterator, Sequence
from types import TracebackType
from typing import Literal

import msgspec

from nodedevd.dialects import Format
from nodedevd.errors import NoDaemon, NodedevError, NoSuchDevice, NotInFormat
from nodedevd.listener import candidate_socket_paths
from nodedevd.model import Device
from nodedevd.source import DeviceList, Devices, Entry
from nodedevd.status import Status
from nodedevd.varlink import Malformed, Reply, ReplyDecoder, encode_call

INTERFACE = "org.nodedevd.Devices"
_REPLY_LIMIT = 1 << 30
_RECEIVE_BYTES = 1 << 18


class RemoteError(NodedevError):
    """The daemon answered with an error that has no class of its own here."""

    code = "remote-error"

    def __init__(self, error: str, parameters: bytes) -> None:
        super().__init__(error, parameters)
        self.error = error
        self.parameters = parameters

    def __str__(self) -> str:
        return f"the daemon answered {self.error} {self.parameters.decode(errors='replace')}"


class ConnectionLost(NodedevError):
    """The daemon closed the connection, or sent what is no reply."""

    code = "connection-lost"

    def __init__(self, path: str, reason: str) -> None:
        super().__init__(path, reason)
        self.path = path
        self.reason = reason

    def __str__(self) -> str:
        return f"lost the daemon on {self.path}: {self.reason}"


class _Described(msgspec.Struct):
    device: msgspec.Raw


class _Dumped(msgspec.Struct):
    xml: str


class _RawDevices(msgspec.Struct):
    generation: int
    devices: list[msgspec.Raw]


class _NoSuchDevice(msgspec.Struct):
    name: str
    nearest: list[str]


class _NotInFormat(msgspec.Struct):
    name: str
    format: str


class Told(msgspec.Struct, frozen=True):
    """One reply of `Watch`; see the interface's description."""

    generation: int
    instance: str
    event: Literal["present", "ready", "added", "changed", "removed", "resync"]
    name: str | None = None
    path: str | None = None
    parent: str | None = None
    capabilities: tuple[str, ...] | None = None
    parts: tuple[str, ...] | None = None
    device: Device | None = None
    xml: str | None = None


class Watching:
    """A connection that is being told of changes."""

    def __init__(self, client: Client) -> None:
        self._client = client

    def next(self, timeout_seconds: float | None = None) -> tuple[Told, bytes] | None:
        """Return what was told next, also as it came; None if that was nothing in time."""
        reply = self._client.receive(timeout_seconds)
        if reply is None:
            return None
        text = bytes(reply.parameters)
        return msgspec.json.decode(text, type=Told), text


class Client:
    """A connection to a daemon; a context manager.

    Raises NoDaemon when nothing answers on any of the paths.
    """

    def __init__(self, path: str | None = None) -> None:
        paths = [path] if path is not None else candidate_socket_paths()
        self.path, self._socket = _connect(paths)
        self._decoder = ReplyDecoder(_REPLY_LIMIT)

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
        """Close the connection."""
        self._socket.close()

    def status(self) -> Status:
        """Return how the daemon is doing."""
        return msgspec.json.decode(self._call("GetStatus"), type=Status)

    def entries(self, capabilities: Iterable[str] | None = None) -> DeviceList:
        """Return the devices with any of the capabilities, in brief."""
        replies = self._stream("List", _selection(capabilities))
        parts = [msgspec.json.decode(reply, type=DeviceList) for reply in replies]
        entries: list[Entry] = [entry for part in parts for entry in part.devices]
        return DeviceList(parts[-1].generation, tuple(entries))

    def devices(self, capabilities: Iterable[str] | None = None) -> Devices:
        """Return all that is known of devices."""
        parts = self._raw_devices(capabilities)
        devices = [
            msgspec.json.decode(device, type=Device) for part in parts for device in part.devices
        ]
        return Devices(parts[-1].generation, tuple(devices))

    def device_json(self, name: str) -> bytes:
        """Return one device as JSON. Raises NoSuchDevice."""
        return bytes(msgspec.json.decode(self._call("Describe", name=name), type=_Described).device)

    def devices_json(self, names: Sequence[str] | None = None) -> bytes:
        """Return a JSON document of devices, all without names. Raises NoSuchDevice."""
        parts = self._raw_devices(None, names)
        devices = [bytes(device) for part in parts for device in part.devices]
        return b'{"generation":%d,"devices":[%b]}' % (parts[-1].generation, b",".join(devices))

    def xml(self, names: Sequence[str] | None = None, *, form: Format = "nodedevd") -> str:
        """Return the XML of devices, all without names. Raises NoSuchDevice, NotInFormat."""
        replies = self._stream("DumpXML", {"names": names, "format": form})
        return "".join(msgspec.json.decode(reply, type=_Dumped).xml for reply in replies)

    def watch(
        self,
        *,
        capabilities: Iterable[str] | None = None,
        names: Iterable[str] | None = None,
        snapshot: bool = True,
        content: Literal["none", "json", "xml"] = "none",
    ) -> Watching:
        """Be told what there is and what changes; the connection is good for no other call."""
        parameters = {
            "capabilities": None if capabilities is None else list(capabilities),
            "names": None if names is None else list(names),
            "snapshot": snapshot,
            "content": content,
        }
        self._send(encode_call(f"{INTERFACE}.Watch", parameters, more=True))
        return Watching(self)

    def _raw_devices(
        self, capabilities: Iterable[str] | None, names: Sequence[str] | None = None
    ) -> list[_RawDevices]:
        replies = self._stream("Snapshot", {**_selection(capabilities), "names": names})
        return [msgspec.json.decode(reply, type=_RawDevices) for reply in replies]

    def _call(self, method: str, **parameters: object) -> bytes:
        self._send(encode_call(f"{INTERFACE}.{method}", parameters))
        return bytes(self._receive().parameters)

    def _stream(self, method: str, parameters: object) -> Iterator[bytes]:
        self._send(encode_call(f"{INTERFACE}.{method}", parameters, more=True))
        while True:
            reply = self._receive()
            yield bytes(reply.parameters)
            if not reply.continues:
                return

    def _send(self, message: bytes) -> None:
        try:
            self._socket.sendall(message)
        except OSError as error:
            raise ConnectionLost(self.path, str(error)) from error

    def _receive(self) -> Reply:
        reply = self.receive()
        assert reply is not None
        return reply

    def receive(self, timeout_seconds: float | None = None) -> Reply | None:
        """Return the next reply, None if none came in time.

        Raises NoSuchDevice, NotInFormat, RemoteError, ConnectionLost.
        """
        deadline = None if timeout_seconds is None else time.monotonic() + timeout_seconds
        while (reply := self._decoder.next()) is None:
            left = None if deadline is None else deadline - time.monotonic()
            if left is not None and left <= 0:
                return None
            try:
                self._socket.settimeout(left)
                data = self._socket.recv(_RECEIVE_BYTES)
            except TimeoutError:
                return None
            except OSError as error:
                raise ConnectionLost(self.path, str(error)) from error
            if not data:
                raise ConnectionLost(self.path, "it closed the connection")
            self._decoder.feed(data)
        if isinstance(reply, Malformed):
            raise ConnectionLost(self.path, reply.reason)
        if reply.error == f"{INTERFACE}.NoSuchDevice":
            missing = msgspec.json.decode(bytes(reply.parameters), type=_NoSuchDevice)
            raise NoSuchDevice(missing.name, missing.nearest)
        if reply.error == f"{INTERFACE}.NotInFormat":
            hidden = msgspec.json.decode(bytes(reply.parameters), type=_NotInFormat)
            raise NotInFormat(hidden.name, hidden.format)
        if reply.error is not None:
            raise RemoteError(reply.error, bytes(reply.parameters))
        return reply


def _selection(capabilities: Iterable[str] | None) -> dict[str, object]:
    return {} if capabilities is None else {"capabilities": list(capabilities)}


def _connect(paths: Sequence[str]) -> tuple[str, socket.socket]:
    reasons = []
    for path in paths:
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            connection.connect(path)
        except OSError as error:
            connection.close()
            reasons.append(error.strerror or str(error))
            continue
        return path, connection
    raise NoDaemon(paths, ", ".join(dict.fromkeys(reasons)).lower())
