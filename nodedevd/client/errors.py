"""Errors that a client raises by itself, and those that it builds from error replies.

Each has a `code`, as every `NodedevError`.
"""

from __future__ import annotations

from functools import cache
from typing import Final, get_type_hints

import msgspec

from nodedevd.client.decoding import decode
from nodedevd.errors import CONTROL_INTERFACE, REPLIED, NodedevError
from nodedevd.socket_paths import INTERFACE
from nodedevd.undecodable import UNDECODABLE
from nodedevd.varlink import Reply


class RemoteError(NodedevError):
    """The daemon replied with an error that has no class here."""

    code = "remote-error"
    error: str
    parameters: bytes

    def __str__(self) -> str:
        parameters = self.parameters.decode(errors="replace")
        return f"the daemon replied with the error {self.error} {parameters}"


class ConnectionLost(NodedevError):
    """The daemon closed the connection. The next call opens another one."""

    code = "connection-lost"
    path: str
    reason: str

    def __str__(self) -> str:
        return f"lost the connection to the daemon on {self.path}: {self.reason}"


class Closed(NodedevError):
    """The client or watch was closed by the program itself."""

    code = "closed"

    def __str__(self) -> str:
        return "the client or watch is closed; open another one"


class NotUnderstood(NodedevError):
    """What arrived is not a reply, or not one that this version can decode."""

    code = "not-understood"
    reason: str

    def __str__(self) -> str:
        return (
            f"cannot decode the daemon's reply: {self.reason}; the daemon may be of another version"
        )


class TimedOut(NodedevError, TimeoutError):
    """A call, or a condition, took longer than its timeout; `what` was waited for."""

    code = "timed-out"
    what: str
    seconds: float
    state: str = ""
    """of a condition: how far it held at last, as `2 of 3 devices`"""

    def __str__(self) -> str:
        if self.state:
            return f"timed out after {self.seconds:g} s: {self.state}"
        return f"timed out after {self.seconds:g} s waiting for {self.what}"


_ERRORS: Final = {
    f"{interface}.{kind.__name__}": kind
    for kind in REPLIED
    for interface in ([kind.interface] if kind.interface else [INTERFACE, CONTROL_INTERFACE])
}


def remote_error(reply: Reply) -> NodedevError:
    """Return the error of an error reply: one of `errors.REPLIED`, else RemoteError."""
    assert reply.error is not None
    kind = _ERRORS.get(reply.error)
    if kind is not None:
        try:
            return kind(**msgspec.structs.asdict(decode(reply.parameters, _parameters_of(kind))))
        except UNDECODABLE:
            pass  # the parameters are of another version
    return RemoteError(reply.error, bytes(reply.parameters))


@cache
def _parameters_of(kind: type[NodedevError]) -> type[msgspec.Struct]:
    """Return a struct of the fields that an error reply has."""
    hints = get_type_hints(kind)
    return msgspec.defstruct(kind.__name__, [(name, hints[name]) for name in kind.reply_fields])
