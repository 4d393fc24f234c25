"""The codec of Varlink, without I/O: bytes in, calls and replies out.

A message is one JSON object and a NUL byte (https://varlink.org/Method-Call). A decoder keeps at
most one message below its limit and what was fed last. Input is hostile until it is a `Call` or a
`Reply`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Final, Generic, TypeVar

import msgspec

MESSAGE_LIMIT_BYTES: Final = 256 * 1024
SERVICE: Final = "org.varlink.service"

_NO_PARAMETERS: Final = msgspec.Raw(b"{}")


class Call(msgspec.Struct, frozen=True, gc=False):
    """A method call; members that the specification does not have are ignored.

    `parameters` is the text of a JSON object, not yet decoded.
    """

    method: str
    parameters: msgspec.Raw = _NO_PARAMETERS
    oneway: bool = False
    more: bool = False
    upgrade: bool = False


class Reply(msgspec.Struct, frozen=True, gc=False):
    """A reply; `error` is the full name of an error, or None.

    `parameters` is the text of a JSON object, not yet decoded.
    """

    parameters: msgspec.Raw = _NO_PARAMETERS
    continues: bool = False
    error: str | None = None


class Malformed(msgspec.Struct, frozen=True):
    """A message that cannot be decoded; the decoder continues with the next.

    `limit` is the number of bytes that the message exceeds, None if its text is wrong.
    """

    reason: str
    limit: int | None = None

    @property
    def error_name(self) -> str:
        """The last part of the error's name, `MalformedMessage` or `MessageTooLarge`."""
        return "MalformedMessage" if self.limit is None else "MessageTooLarge"

    @property
    def parameters(self) -> dict[str, object]:
        """The parameters of the error: `reason`, or `limit`."""
        return {"reason": self.reason} if self.limit is None else {"limit": self.limit}


class VarlinkError(Exception):
    """An error of a reply: its full name and its parameters."""

    def __init__(self, name: str, parameters: Mapping[str, object] | None = None) -> None:
        super().__init__(name, parameters or {})
        self.name = name
        self.parameters: Mapping[str, object] = parameters or {}

    def __str__(self) -> str:
        fields = ", ".join(f"{key}={value!r}" for key, value in self.parameters.items())
        return f"{self.name}({fields})"


def service_error(name: str, **parameters: str) -> VarlinkError:
    """Return an error of org.varlink.service, the interface of every service."""
    return VarlinkError(f"{SERVICE}.{name}", parameters)


M = TypeVar("M", bound=Call | Reply)


class _Decoder(Generic[M]):
    """Cuts a byte stream at its NULs; each byte is searched once.

    Call `next` until it returns None before the next `feed`: then it keeps what has arrived of
    one message, and never more than `limit` bytes.
    """

    def __init__(self, message: msgspec.json.Decoder[M], limit: int) -> None:
        self._message: msgspec.json.Decoder[M] = message
        self._limit = limit
        self._begun = bytearray()  # what earlier feeds had of a message
        self._fed = b""
        self._start = 0  # of the next message, or of its rest, in what was fed last
        self._dropping = False  # until the NUL of a message over the limit

    @property
    def buffered(self) -> int:
        """The number of bytes that are not part of a returned message yet."""
        return len(self._begun) + len(self._fed) - self._start

    def peek(self) -> bytes:
        """Return the bytes that are not part of a returned message yet."""
        return bytes(self._begun) + self._fed[self._start :]

    def feed(self, data: bytes) -> None:
        """Add bytes that arrived."""
        self._fed = self._fed[self._start :] + data if self._fed else data
        self._start = 0

    def drop(self) -> None:
        """Drop the message of which a part has arrived, and its rest as it arrives."""
        self._begun.clear()
        self._fed, self._start = b"", 0
        self._dropping = True

    def next(self) -> M | Malformed | None:
        """Return the next message, or None if more bytes are needed."""
        text = self.take()
        return self.decode(text) if isinstance(text, bytes) else text

    def take(self) -> bytes | Malformed | None:
        """Return the text of the next message, or None if more bytes are needed."""
        fed, start = self._fed, self._start
        end = fed.find(b"\0", start)
        if end < 0:
            self._fed, self._start = b"", 0
            return self._begin(fed[start:]) if start < len(fed) else None
        self._start = end + 1
        text = fed[start:end]
        if self._dropping:
            self._dropping = False
            return self.take()
        if self._begun:
            text = bytes(self._begun) + text
            self._begun.clear()
        return text if len(text) <= self._limit else self._too_large()

    def _begin(self, part: bytes) -> Malformed | None:
        """Keep a part of a message whose end has not arrived."""
        if not self._dropping:
            self._begun += part
            if len(self._begun) > self._limit:
                self.drop()
                return self._too_large()
        return None

    def decode(self, text: bytes) -> M | Malformed:
        """Return the message of a text that `take` returned."""
        try:
            # msgspec does not check the text of a Raw: UTF-8 is checked here.
            message: M = self._message.decode(text.decode())
        except (ValueError, RecursionError, msgspec.MsgspecError) as error:
            return Malformed(str(error))
        parameters = message.parameters
        if parameters is _NO_PARAMETERS:
            return message
        given = bytes(parameters)
        if given == b"null":
            return msgspec.structs.replace(message, parameters=_NO_PARAMETERS)
        if not given.startswith(b"{"):
            return Malformed("Expected `object | null` - at `$.parameters`")
        return message

    def _too_large(self) -> Malformed:
        return Malformed(f"the message is larger than {self._limit} bytes", self._limit)


_CALL: Final = msgspec.json.Decoder(Call)
_REPLY: Final = msgspec.json.Decoder(Reply)


class CallDecoder(_Decoder[Call]):
    """Decodes the calls of a client; `limit` is the largest message in bytes, without its NUL."""

    def __init__(self, limit: int = MESSAGE_LIMIT_BYTES) -> None:
        super().__init__(_CALL, limit)


class ReplyDecoder(_Decoder[Reply]):
    """Decodes the replies of a service; `limit` is as for `CallDecoder`."""

    def __init__(self, limit: int) -> None:
        super().__init__(_REPLY, limit)


def encode_call(
    method: str, parameters: object = None, *, more: bool = False, oneway: bool = False
) -> bytes:
    """Return the message that calls `method`; `parameters` encodes to a JSON object, or is None."""
    call: dict[str, object] = {"method": method}
    if parameters is not None:
        call["parameters"] = parameters
    if more:
        call["more"] = True
    if oneway:
        call["oneway"] = True
    return msgspec.json.encode(call) + b"\0"


def encode_reply(parameters: bytes, *, continues: bool = False) -> bytes:
    """Return the reply with `parameters`, the text of a JSON object, which is not checked."""
    end = b',"continues":true}\0' if continues else b"}\0"
    return b"".join((b'{"parameters":', parameters, end))


def encode_shared_reply(before: bytes, kept: bytes, after: bytes) -> tuple[bytes, bytes, bytes]:
    """Return the same reply in three parts, of parameters in three parts: the middle as it is."""
    return b'{"parameters":' + before, kept, after + b"}\0"


def encode_long_reply(parameters: Iterable[bytes]) -> Iterator[bytes]:
    """Yield the same reply as `encode_reply` in parts; `parameters` are the parts of the text."""
    yield b'{"parameters":'
    yield from parameters
    yield b"}\0"


def encode_error(name: str, parameters: object) -> bytes:
    """Return the error reply of this full name; `parameters` encodes to a JSON object."""
    return msgspec.json.encode({"error": name, "parameters": parameters}) + b"\0"
