"""What a client raises, besides NoDaemon, and what the daemon's error replies become.

Each has a `code`, as every `NodedevError` has.
"""

from __future__ import annotations

from typing import Final, Protocol

import msgspec

from nodedevd.client.decoding import decode
from nodedevd.errors import (
    DoesNotFit,
    InvalidParameter,
    NodedevError,
    NoSuchDevice,
    NotAssignable,
    NotInFormat,
)
from nodedevd.questions.fits import NoSuchType
from nodedevd.varlink import SERVICE, Reply

INTERFACE: Final = "org.nodedevd.Devices"


class RemoteError(NodedevError):
    """The daemon answered with an error that has no class of its own here."""

    code = "remote-error"

    def __init__(self, error: str, parameters: bytes) -> None:
        super().__init__(error, parameters)
        self.error = error
        self.parameters = parameters

    def __str__(self) -> str:
        return f"the daemon answered {self.error} {self.parameters.decode(errors='replace')}"


class TooManyClients(NodedevError):
    """The daemon serves as many clients as it may; ask later."""

    code = "too-many-clients"

    def __init__(self, limit: int) -> None:
        super().__init__(limit)
        self.limit = limit

    def __str__(self) -> str:
        return f"the daemon serves {self.limit} clients already; try again when some are gone"


class ConnectionLost(NodedevError):
    """The daemon closed the connection. The next call opens another one."""

    code = "connection-lost"

    def __init__(self, path: str, reason: str) -> None:
        super().__init__(path, reason)
        self.path = path
        self.reason = reason

    def __str__(self) -> str:
        return f"lost the daemon on {self.path}: {self.reason}"


class Closed(NodedevError):
    """The client or watch was closed by this program itself."""

    code = "closed"

    def __str__(self) -> str:
        return "this was closed already; make another one to ask again"


class NotUnderstood(NodedevError):
    """What came is no answer, or not one that this version can read."""

    code = "not-understood"

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason

    def __str__(self) -> str:
        return f"cannot understand the answer of a daemon of another version: {self.reason}"


class TimedOut(NodedevError, TimeoutError):
    """A call, or a condition, took longer than its timeout; `what` was waited for."""

    code = "timed-out"

    def __init__(self, what: str, seconds: float) -> None:
        super().__init__(what, seconds)
        self.what = what
        self.seconds = seconds

    def __str__(self) -> str:
        return f"timed out after {self.seconds:g} s waiting for {self.what}"


class _NoSuchDevice(msgspec.Struct):
    name: str
    nearest: list[str]

    def error(self) -> NodedevError:
        return NoSuchDevice(self.name, self.nearest)


class _NotInFormat(msgspec.Struct):
    name: str
    format: str

    def error(self) -> NodedevError:
        return NotInFormat(self.name, self.format)


class _NotAssignable(msgspec.Struct):
    name: str
    reason: str
    detail: str

    def error(self) -> NodedevError:
        return NotAssignable(self.name, self.reason, self.detail)


class _DoesNotFit(msgspec.Struct):
    name: str
    parameter: str
    detail: str

    def error(self) -> NodedevError:
        return DoesNotFit(self.name, self.parameter, self.detail)


class _NoSuchType(msgspec.Struct):
    type: str
    offered: list[str]

    def error(self) -> NodedevError:
        return NoSuchType(self.type, tuple(self.offered))


class _InvalidParameter(msgspec.Struct):
    parameter: str

    def error(self) -> NodedevError:
        return InvalidParameter(self.parameter)


class _TooManyClients(msgspec.Struct):
    limit: int

    def error(self) -> NodedevError:
        return TooManyClients(self.limit)


class _Known(Protocol):
    """The parameters of an error that has a class here."""

    def error(self) -> NodedevError:
        """Return the error itself."""


_ERRORS: Final[dict[str, type[_Known]]] = {
    f"{INTERFACE}.NoSuchDevice": _NoSuchDevice,
    f"{INTERFACE}.NotInFormat": _NotInFormat,
    f"{INTERFACE}.NoSuchType": _NoSuchType,
    f"{INTERFACE}.NotAssignable": _NotAssignable,
    f"{INTERFACE}.DoesNotFit": _DoesNotFit,
    f"{INTERFACE}.TooManyClients": _TooManyClients,
    f"{SERVICE}.InvalidParameter": _InvalidParameter,
}


def remote_error(reply: Reply) -> NodedevError:
    """Return the error that an error reply is."""
    assert reply.error is not None
    kind = _ERRORS.get(reply.error)
    try:
        if kind is not None:
            return decode(reply.parameters, kind).error()
    except (ValueError, RecursionError):
        pass  # of another version: shown as it came
    return RemoteError(reply.error, bytes(reply.parameters))
