"""The two protocols in which the daemons are called: Varlink, and libvirt's own.

The requests are bytes, encoded before anything is timed. The C program `load` sends them.
"""

from __future__ import annotations

import json
import socket
import struct
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from nodedevd.server.libvirt import protocol as remote
from nodedevd.server.libvirt import xdr
from nodedevd.server.libvirt.protocol import Header, MessageType, Procedure
from nodedevd.socket_paths import INTERFACE


class Protocol(ABC):
    """A socket, and the requests of one protocol.

    Attributes:
        framing: framing of messages, as an argument of `load`.
        greeting: requests at the start of a connection.
        names: request for the names of all devices.
        watch: request for events.
    """

    framing: str
    greeting: Sequence[bytes]
    names: bytes
    watch: bytes

    def __init__(self, path: Path) -> None:
        self.path = path

    @abstractmethod
    def dump(self, name: str) -> bytes:
        """Return the request for the XML of one device, in libvirt's format."""

    @abstractmethod
    def everything(self, names: Sequence[str]) -> list[bytes]:
        """Return the requests for the XML of every device."""

    @abstractmethod
    def cut(self, data: bytearray) -> bytes | None:
        """Remove the first complete message from the received data; None if there is none."""

    @abstractmethod
    def read_names(self, reply: bytes) -> list[str]:
        """Return the names in a reply. Raises ValueError for an error reply."""

    @abstractmethod
    def read_event(self, message: bytes) -> tuple[str, str] | None:
        """Return the event, `added` or `removed`, and the device's name; None if it is no event."""


class Varlink(Protocol):
    """nodedevd's own protocol."""

    framing = "nul"
    greeting = ()

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.names = self._call("List")
        self.watch = self._call("Watch", more=True, snapshot=False)
        self.status = self._call("GetStatus")

    @staticmethod
    def _call(method: str, *, more: bool = False, **parameters: Any) -> bytes:
        call = {"method": f"{INTERFACE}.{method}", "parameters": parameters}
        return json.dumps({**call, "more": True} if more else call).encode() + b"\0"

    def dump(self, name: str) -> bytes:
        return self._call("DumpXML", names=[name], format="libvirt")

    def everything(self, names: Sequence[str]) -> list[bytes]:
        return [self._call("DumpXML", format="libvirt")]

    def cut(self, data: bytearray) -> bytes | None:
        message, zero, rest = data.partition(b"\0")
        if not zero:
            return None
        data[:] = rest
        return bytes(message)

    def read(self, reply: bytes) -> Any:
        """Return the parameters of a reply. Raises ValueError for an error reply."""
        message = json.loads(reply)
        if "error" in message:
            raise ValueError(reply[:200])
        return message["parameters"]

    def read_names(self, reply: bytes) -> list[str]:
        return [device["name"] for device in self.read(reply)["devices"]]

    def read_event(self, message: bytes) -> tuple[str, str] | None:
        event = self.read(message)
        name = event.get("name")
        return None if name is None else (event["event"], name)


class Rpc(Protocol):
    """libvirt's protocol: packets with a header of six words, and XDR."""

    framing = "xdr"

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        opening = remote.Open("nodedev:///system", 0)
        self.greeting = (
            self._call(remote.AUTH_LIST, None),
            self._call(remote.OPEN, opening),
        )
        self.names = self._call(remote.LIST_ALL, remote.ListAll(1, 0))
        self.watch = self._call(remote.REGISTER_EVENT, remote.Registration(0, None))

    @staticmethod
    def _call(procedure: Procedure[Any, Any], arguments: Any) -> bytes:
        header = Header(remote.REMOTE, remote.VERSION, procedure.number, MessageType.CALL, 0, 0)
        return remote.encode_packet(header, xdr.encode(procedure.arguments, arguments))

    def dump(self, name: str) -> bytes:
        return self._call(remote.GET_XML_DESC, remote.NameAndFlags(name, 0))

    def everything(self, names: Sequence[str]) -> list[bytes]:
        return [self.names, *map(self.dump, names)]

    def cut(self, data: bytearray) -> bytes | None:
        size = struct.unpack_from(">I", data)[0] if len(data) >= 4 else 1 << 32
        if len(data) < size:
            return None
        message = bytes(data[:size])
        del data[:size]
        return message

    def _payload(self, reply: bytes) -> bytes:
        if struct.unpack_from(">I", reply, 24) != (0,):
            raise ValueError(reply[28:228])
        return reply[28:]

    def read_names(self, reply: bytes) -> list[str]:
        return list(xdr.decode(remote.LIST_ALL.result, self._payload(reply)).devices)

    def read_xml(self, reply: bytes) -> str:
        """Return the XML in a reply. Raises ValueError for an error reply."""
        return xdr.decode(remote.GET_XML_DESC.result, self._payload(reply))

    def read_event(self, message: bytes) -> tuple[str, str] | None:
        _, _, procedure, kind, _, _ = struct.unpack_from(">6I", message, 4)
        if (procedure, kind) != (remote.EVENT_LIFECYCLE.number, MessageType.MESSAGE):
            return None
        event = xdr.decode(remote.EVENT_LIFECYCLE.arguments, message[28:])
        return ("removed" if event.event == 1 else "added", event.device)


class Connection:
    """A connection for single calls. Raises OSError if no daemon listens."""

    def __init__(self, protocol: Protocol, timeout_seconds: float) -> None:
        self._protocol = protocol
        self._data = bytearray()
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.settimeout(timeout_seconds)
        try:
            self._socket.connect(str(protocol.path))
            for request in protocol.greeting:
                self.ask(request)
        except BaseException:
            self._socket.close()
            raise

    def __enter__(self) -> Connection:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def ask(self, request: bytes) -> bytes:
        """Send a request and return the reply."""
        self._socket.sendall(request)
        return self.receive()

    def receive(self) -> bytes:
        """Return the next message. Raises ConnectionError, TimeoutError."""
        while (message := self._protocol.cut(self._data)) is None:
            data = self._socket.recv(1 << 20)
            if not data:
                raise ConnectionError("the daemon closed the connection")
            self._data += data
        return message
