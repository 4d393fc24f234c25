"""A Varlink service as values: interfaces, methods, answers, and no I/O.

What serves it (`nodedevd.server`) hands in decoded calls and sends what comes back.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Generic, NamedTuple, Protocol, TypeAlias, TypeVar

import msgspec

from nodedevd import errors, varlink
from nodedevd.server.reply_cache import ReplyCache
from nodedevd.varlink import Call, Malformed, VarlinkError

_log: Final = logging.getLogger(__name__)


class Peer(msgspec.Struct, frozen=True, gc=False):
    """The process at the other end when it connected, SO_PEERCRED of unix(7)."""

    pid: int
    uid: int
    gid: int


class Request(msgspec.Struct, frozen=True, gc=False):
    """Who calls, and which kind of reply is wanted."""

    peer: Peer
    more: bool = False
    oneway: bool = False


class Chunk(NamedTuple):
    """One reply of a stream: its parameters, a JSON object; `last` if none follows."""

    parameters: bytes
    last: bool


class Stream(Protocol):
    """The replies to one call with `more`, fetched when the client can take them."""

    def start(self, wake: Callable[[], None]) -> None:
        """Begin; `wake` is to be called, on the event loop, when `next` has something again."""

    def next(self) -> Chunk | None:
        """Return the next reply, or None if there is none now."""

    def close(self) -> None:
        """Give everything up, started or not: all is sent, or the client went away."""


class IterableStream:
    """The stream of replies that are all there already; there has to be one at least.

    It stays one reply ahead of what is sent, to know the last.
    """

    def __init__(self, replies: Iterable[bytes]) -> None:
        self._replies = iter(replies)
        self._ahead = next(self._replies, None)
        if self._ahead is None:
            raise ValueError("a stream has at least one reply")

    def start(self, wake: Callable[[], None]) -> None:
        """Nothing to begin."""

    def next(self) -> Chunk | None:
        """Return the next reply."""
        if self._ahead is None:
            return None
        reply, self._ahead = self._ahead, next(self._replies, None)
        return Chunk(reply, last=self._ahead is None)

    def close(self) -> None:
        """Forget the replies that were not sent."""
        self._replies, self._ahead = iter(()), None


Answer: TypeAlias = bytes | Stream
"""The parameters of the one reply, the text of a JSON object; or a stream of replies."""


class Lasting(bytes):
    """An answer that whoever sends the same call gets, until the service's state is another.

    Or until a time: `until`, by time.monotonic().
    """

    until: float

    @classmethod
    def to(cls, until: float, answer: bytes) -> Lasting:
        """Return an answer that lasts to a time."""
        lasting = cls(answer)
        lasting.until = until
        return lasting


P = TypeVar("P", bound=msgspec.Struct)


@dataclass(frozen=True)
class Method(Generic[P]):
    """A method: what its parameters decode to, and what answers it.

    The handler raises `NodedevError` or `VarlinkError`. An awaitable it returns belongs to
    this call alone and is cancelled when the client goes away. A method that only streams
    raises `ExpectedMore` for a request without `more`.
    """

    parameters: type[P]
    handler: Callable[[P, Request], Answer | Awaitable[Answer]]

    def __post_init__(self) -> None:
        if not self.parameters.__struct_config__.forbid_unknown_fields:
            raise TypeError(f"{self.parameters.__name__} would accept unknown parameters")


@dataclass(frozen=True)
class Interface:
    """An interface: its name, its text in the interface definition language, its methods.

    `methods` are by their names without the interface's.
    """

    name: str
    description: str
    methods: Mapping[str, Method[Any]]


class _NoParameters(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    pass


class _InterfaceName(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    interface: str


class _Served(NamedTuple):
    decode: Callable[[msgspec.Raw], Any]
    handle: Callable[[Any, Request], Answer | Awaitable[Answer]]


class Service:
    """Finds and runs the method of a call, and gives every failure its name on the wire.

    `org.varlink.service` is added to the interfaces. Errors of nodedevd's own are named in
    `error_namespace`, the name of an interface. `state` returns an object that is another one once
    lasting answers may be different.
    """

    def __init__(
        self,
        vendor: str,
        product: str,
        version: str,
        url: str,
        interfaces: Iterable[Interface],
        error_namespace: str,
        state: Callable[[], object] = lambda: None,
    ) -> None:
        self._namespace = error_namespace
        self.kept = ReplyCache(state)
        """replies with lasting answers"""
        self._interfaces: dict[str, Interface] = {}
        self._methods: dict[str, _Served] = {}
        for interface in (self._introspection(), *interfaces):
            self._add(interface)
        self._info = msgspec.json.encode(
            {
                "vendor": vendor,
                "product": product,
                "version": version,
                "url": url,
                "interfaces": list(self._interfaces),
            }
        )

    def call(self, call: Call, peer: Peer) -> Answer | Awaitable[Answer]:
        """Return the answer of the called method.

        Raises:
            VarlinkError: the call cannot be answered, or its handler failed.
        """
        served = self._methods.get(call.method)
        if served is None:
            raise self._not_found(call.method)
        if call.upgrade:
            raise varlink.MethodNotImplemented(call.method)
        try:
            parameters = served.decode(call.parameters)
        except msgspec.ValidationError as error:
            raise varlink.InvalidParameter(_offending(str(error))) from error
        except (ValueError, RecursionError) as error:
            # A Raw is not looked into before: a broken escape, say, shows here.
            raise self.refusal(Malformed(str(error))) from error
        try:
            return served.handle(parameters, Request(peer, call.more, call.oneway))
        except Exception as error:
            raise self.translate(error) from error

    def refusal(self, malformed: Malformed) -> VarlinkError:
        """Return the answer to a message that was not a call."""
        return VarlinkError(self._named(malformed.error_name), malformed.parameters)

    def too_many_clients(self, limit: int) -> VarlinkError:
        """Return what a client is told that is one too many."""
        return VarlinkError(self._named("TooManyClients"), {"limit": limit})

    def translate(self, error: BaseException) -> VarlinkError:
        """Return an exception as it goes over the wire.

        A `NodedevError` goes by its class and public attributes. What was not raised on
        purpose is logged with its traceback, and the client learns nothing of it.
        """
        match error:
            case VarlinkError():
                return error
            case errors.InvalidParameter():
                return varlink.InvalidParameter(error.parameter)
            case errors.ExpectedMore():
                return varlink.ExpectedMore()
            case errors.NodedevError():
                fields = {k: v for k, v in vars(error).items() if not k.startswith("_")}
                return VarlinkError(self._named(type(error).__name__), fields)
        _log.error("a call failed", exc_info=error)
        return VarlinkError(self._named("InternalError"))

    def _named(self, error: str) -> str:
        return f"{self._namespace}.{error}"

    def _not_found(self, method: str) -> VarlinkError:
        interface, dot, _ = method.rpartition(".")
        if not dot:
            return varlink.InvalidParameter("method")
        if interface not in self._interfaces:
            return varlink.InterfaceNotFound(interface)
        return varlink.MethodNotFound(method)

    def _add(self, interface: Interface) -> None:
        if interface.name in self._interfaces:
            raise ValueError(f"{interface.name} is served already")
        self._interfaces[interface.name] = interface
        for name, method in interface.methods.items():
            decoder = msgspec.json.Decoder(method.parameters)
            self._methods[f"{interface.name}.{name}"] = _Served(decoder.decode, method.handler)

    def _introspection(self) -> Interface:
        return Interface(
            name=varlink.SERVICE,
            description=Path(__file__).with_name(f"{varlink.SERVICE}.varlink").read_text("utf-8"),
            methods={
                "GetInfo": Method(_NoParameters, self._get_info),
                "GetInterfaceDescription": Method(_InterfaceName, self._describe),
            },
        )

    def _get_info(self, parameters: _NoParameters, request: Request) -> bytes:
        return self._info

    def _describe(self, parameters: _InterfaceName, request: Request) -> bytes:
        interface = self._interfaces.get(parameters.interface)
        if interface is None:
            raise varlink.InterfaceNotFound(parameters.interface)
        return msgspec.json.encode({"description": interface.description})


_AT_PATH: Final = re.compile(r" - at `\$\.([^.`\[]+)[^`]*`$")
_FIELD: Final = re.compile(r" field `(.*)`$", re.DOTALL)


def _offending(error: str) -> str:
    # msgspec tells the place in its text alone: "... - at `$.name[0]`", or, for a parameter
    # that is missing or unknown, "... field `name`". A name made to resemble a path misleads
    # its own client alone.
    found = _AT_PATH.search(error) or _FIELD.search(error)
    return found[1] if found else "parameters"
