"""Service: finds the method of a call, runs it, and names errors for replies; no I/O."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Awaitable, Callable, Iterable, Mapping
from types import MethodType
from typing import Any, Final, Generic, TypeAlias, TypeVar

import msgspec

from nodedevd.errors import NodedevError
from nodedevd.server.conversation import Peer
from nodedevd.server.varlink.answers import Answer
from nodedevd.undecodable import UNDECODABLE
from nodedevd.varlink import SERVICE, Call, Malformed, VarlinkError, service_error

_log: Final = logging.getLogger(__name__)

H = TypeVar("H")
P = TypeVar("P", bound=msgspec.Struct)
R = TypeVar("R", bound=Answer | Awaitable[Answer])


class Request(msgspec.Struct, frozen=True, gc=False):
    """The client's process, and the kind of reply it wants."""

    peer: Peer
    more: bool = False
    oneway: bool = False


class Method(msgspec.Struct, Generic[P], frozen=True):
    """A method: the struct of its parameters, and its handler.

    The handler raises `NodedevError` or `VarlinkError`. An awaitable that it returns belongs to
    this call alone and is cancelled when the client goes away. A method that only streams
    raises `ExpectedMore` for a request without `more`.
    """

    parameters: type[P]
    handler: Callable[[P, Request], Answer | Awaitable[Answer]]

    def __post_init__(self) -> None:
        if not self.parameters.__struct_config__.forbid_unknown_fields:
            raise TypeError(f"{self.parameters.__name__} would accept unknown parameters")


class MethodTable:
    """The methods of an interface, each added where its handler is defined.

    methods = MethodTable()

    class Handlers:
        @methods.add("Echo", EchoParameters)
        def echo(self, parameters: EchoParameters, request: Request) -> Answer: ...

    Interface("org.example.Test", TEXT, methods.bind(Handlers()))
    """

    def __init__(self) -> None:
        self._methods: dict[str, tuple[type[Any], Callable[..., Any]]] = {}

    def add(
        self, name: str, parameters: type[P]
    ) -> Callable[[Callable[[H, P, Request], R]], Callable[[H, P, Request], R]]:
        """Return a decorator for the handler of a method."""

        def added(handler: Callable[[H, P, Request], R]) -> Callable[[H, P, Request], R]:
            self._methods[name] = parameters, handler
            return handler

        return added

    def bind(self, handlers: object) -> dict[str, Method[Any]]:
        """Return the methods, handled by an object of the class that defines the handlers."""
        return {
            name: Method(parameters, MethodType(handler, handlers))
            for name, (parameters, handler) in self._methods.items()
        }


class Interface(msgspec.Struct, frozen=True):
    """An interface: its name, its text in the interface definition language, its methods.

    `methods` are by their names without the interface's.
    """

    name: str
    description: str
    methods: Mapping[str, Method[Any]]


def description_beside(module: str, interface: str) -> str:
    """Return the text of an interface, from the file of its name beside a module's file."""
    path = os.path.join(os.path.dirname(module), f"{interface}.varlink")
    with open(path, encoding="utf-8") as file:
        return file.read()


class _NoParameters(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    pass


class _DescriptionParameters(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    interface: str


_Handler: TypeAlias = Callable[[Any, Request], Answer | Awaitable[Answer]]


class Service:
    """Answers calls to its interfaces, to which it adds org.varlink.service.

    `error_namespace` is the name of the interface that defines the errors of the methods.
    """

    def __init__(
        self,
        vendor: str,
        product: str,
        version: str,
        url: str,
        interfaces: Iterable[Interface],
        error_namespace: str,
    ) -> None:
        self._namespace = error_namespace
        self._interfaces: dict[str, Interface] = {}
        self._methods: dict[str, tuple[msgspec.json.Decoder[Any], _Handler]] = {}
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
        method = self._methods.get(call.method)
        if method is None:
            raise self._not_found(call.method)
        if call.upgrade:
            raise service_error("MethodNotImplemented", method=call.method)
        decoder, handler = method
        try:
            parameters = decoder.decode(call.parameters)
        except msgspec.ValidationError as error:
            raise service_error("InvalidParameter", parameter=_offending(str(error))) from error
        except UNDECODABLE as error:
            # The decoder of calls does not parse a Raw: a broken escape is found here.
            raise self.refusal(Malformed(str(error))) from error
        try:
            return handler(parameters, Request(peer, call.more, call.oneway))
        except Exception as error:
            raise self.translate(error) from error

    def refusal(self, malformed: Malformed) -> VarlinkError:
        """Return the error reply to a message that is not a call."""
        return VarlinkError(f"{self._namespace}.{malformed.error_name}", malformed.parameters)

    def translate(self, error: BaseException) -> VarlinkError:
        """Return the error reply for an exception.

        A `NodedevError` is named by its class, in its own interface or the error namespace. Any
        other exception is logged with its traceback, and the reply has no details of it.
        """
        if isinstance(error, VarlinkError):
            return error
        if isinstance(error, NodedevError):
            kind = type(error)
            parameters = {name: getattr(error, name) for name in kind.reply_fields}
            return VarlinkError(f"{kind.interface or self._namespace}.{kind.__name__}", parameters)
        _log.error("a call failed", exc_info=error)
        return VarlinkError(f"{self._namespace}.InternalError")

    def _not_found(self, method: str) -> VarlinkError:
        interface, dot, _ = method.rpartition(".")
        if not dot:
            return service_error("InvalidParameter", parameter="method")
        if interface not in self._interfaces:
            return service_error("InterfaceNotFound", interface=interface)
        return service_error("MethodNotFound", method=method)

    def _add(self, interface: Interface) -> None:
        if interface.name in self._interfaces:
            raise ValueError(f"the interface {interface.name} is served already")
        self._interfaces[interface.name] = interface
        for name, method in interface.methods.items():
            decoder = msgspec.json.Decoder(method.parameters)
            self._methods[f"{interface.name}.{name}"] = decoder, method.handler

    def _introspection(self) -> Interface:
        return Interface(
            name=SERVICE,
            description=description_beside(__file__, SERVICE),
            methods={
                "GetInfo": Method(_NoParameters, self._get_info),
                "GetInterfaceDescription": Method(_DescriptionParameters, self._describe),
            },
        )

    def _get_info(self, parameters: _NoParameters, request: Request) -> bytes:
        return self._info

    def _describe(self, parameters: _DescriptionParameters, request: Request) -> bytes:
        interface = self._interfaces.get(parameters.interface)
        if interface is None:
            raise service_error("InterfaceNotFound", interface=parameters.interface)
        return msgspec.json.encode({"description": interface.description})


_AT_PATH: Final = re.compile(r" - at `\$\.([^.`\[]+)[^`]*`$")
_FIELD: Final = re.compile(r" field `(.*)`$", re.DOTALL)


def _offending(error: str) -> str:
    # msgspec reports the place in its text alone: "... - at `$.name[0]`", or, for a parameter
    # that is missing or unknown, "... field `name`". A parameter whose name resembles a path
    # misleads only the client that sent it.
    found = _AT_PATH.search(error) or _FIELD.search(error)
    return found[1] if found else "parameters"
