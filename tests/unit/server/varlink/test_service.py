"""Service: which method answers, and which error is replied."""

from __future__ import annotations

import logging
from collections.abc import Awaitable
from typing import Any

import msgspec
import pytest

from nodedevd import errors, varlink
from nodedevd.server.conversation import Peer
from nodedevd.server.varlink.answers import Answer
from nodedevd.server.varlink.service import Interface, Method, Request, Service
from nodedevd.varlink import SERVICE, Call, Malformed, VarlinkError

PEER = Peer(pid=1, uid=2)


class Filter(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A nested parameter."""

    limits: dict[str, int]


class Parameters(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Parameters of each shape."""

    name: str
    numbers: list[int] = []
    filter: Filter | None = None


class Nothing(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """No parameters."""


class Odd(errors.NodedevError):
    """An error with an attribute that is not a field."""

    parts: tuple[str, ...]

    def __str__(self) -> str:
        self.secret = "s"
        return self.secret


def echo(parameters: Parameters, request: Request) -> Answer:
    """Answer the parameters and the request."""
    return msgspec.json.encode({"parameters": parameters, "request": request})


def failing(error: Exception) -> Method[Nothing]:
    """Return a method that raises."""

    def fail(parameters: Nothing, request: Request) -> Answer:
        raise error

    return Method(Nothing, fail)


METHODS: dict[str, Method[Any]] = {
    "Echo": Method(Parameters, echo),
    "NoSuchDevice": failing(errors.NoSuchDevice("mdev_1", ("mdev_2",))),
    "InvalidParameter": failing(errors.InvalidParameter("format", "unknown")),
    "ExpectedMore": failing(errors.ExpectedMore()),
    "PermissionDenied": failing(VarlinkError(f"{SERVICE}.PermissionDenied")),
    "Odd": failing(Odd(("a", "b"))),
    "Defect": failing(KeyError("internal detail")),
}


def service(*interfaces: Interface) -> Service:
    """Return a service of one interface and those given."""
    test = Interface("org.example.Test", "interface org.example.Test\n", METHODS)
    return Service("V", "P", "1", "https://example.org", (test, *interfaces), "org.example.Test")


def call(method: str, parameters: bytes = b"{}", **flags: bool) -> Any:
    """Call, and return the decoded parameters of the reply."""
    answer = service().call(Call(method, msgspec.Raw(parameters), **flags), PEER)
    assert isinstance(answer, bytes)
    return msgspec.json.decode(answer)


def error(method: str, parameters: bytes = b"{}", **flags: bool) -> tuple[str, dict[str, Any]]:
    """Call, and return name and parameters of the error, as they arrive."""
    with pytest.raises(VarlinkError) as raised:
        service().call(Call(method, msgspec.Raw(parameters), **flags), PEER)
    reply = varlink.encode_error(raised.value.name, raised.value.parameters)
    decoded = msgspec.json.decode(reply[:-1])
    return decoded["error"], decoded["parameters"]


def test_call_reaches_its_handler_with_parameters_and_request() -> None:
    """The handler sees decoded parameters, the peer and the flags."""
    assert call("org.example.Test.Echo", b'{"name":"a","numbers":[1]}', more=True) == {
        "parameters": {"name": "a", "numbers": [1], "filter": None},
        "request": {"peer": {"pid": 1, "uid": 2}, "more": True, "oneway": False},
    }


def test_awaitable_answer_is_handed_through() -> None:
    """The service does not wait for it."""
    pending: list[Awaitable[Answer]] = []

    async def later(parameters: Nothing, request: Request) -> Answer:
        return b"{}"

    slow = Interface("org.example.Slow", "", {"Later": Method(Nothing, later)})
    answer = service(slow).call(Call("org.example.Slow.Later"), PEER)
    assert isinstance(answer, Awaitable)
    pending.append(answer)
    with pytest.raises(StopIteration) as stopped:
        pending[0].__await__().send(None)
    assert stopped.value.value == b"{}"


def test_info_lists_the_interfaces() -> None:
    """GetInfo returns the service's data and all interfaces, its own first."""
    assert call("org.varlink.service.GetInfo") == {
        "vendor": "V",
        "product": "P",
        "version": "1",
        "url": "https://example.org",
        "interfaces": ["org.varlink.service", "org.example.Test"],
    }


def test_description_is_the_interface_definition() -> None:
    """GetInterfaceDescription returns the text, also of org.varlink.service."""
    method = "org.varlink.service.GetInterfaceDescription"
    assert call(method, b'{"interface":"org.example.Test"}') == {
        "description": "interface org.example.Test\n"
    }
    own = call(method, b'{"interface":"org.varlink.service"}')["description"]
    assert "interface org.varlink.service\n" in own
    for name in ("PermissionDenied", "ExpectedMore", "InvalidParameter", "MethodNotFound"):
        assert f"error {name} (" in own
    assert error(method, b'{"interface":"org.example.None"}') == (
        "org.varlink.service.InterfaceNotFound",
        {"interface": "org.example.None"},
    )


@pytest.mark.parametrize(
    ("method", "expected"),
    [
        ("org.example.None.Echo", ("InterfaceNotFound", {"interface": "org.example.None"})),
        (".Echo", ("InterfaceNotFound", {"interface": ""})),
        ("org.example.Test.None", ("MethodNotFound", {"method": "org.example.Test.None"})),
        ("org.example.Test.", ("MethodNotFound", {"method": "org.example.Test."})),
        ("Echo", ("InvalidParameter", {"parameter": "method"})),
        ("", ("InvalidParameter", {"parameter": "method"})),
    ],
)
def test_unknown_method_is_told_from_unknown_interface(
    method: str, expected: tuple[str, dict[str, str]]
) -> None:
    """The error names what is missing."""
    name, parameters = expected
    assert error(method) == (f"org.varlink.service.{name}", parameters)


@pytest.mark.parametrize(
    ("parameters", "offending"),
    [
        (b"{}", "name"),
        (b'{"name":1}', "name"),
        (b'{"name":null}', "name"),
        (b'{"name":"a","numbers":{}}', "numbers"),
        (b'{"name":"a","numbers":[1,"2"]}', "numbers"),
        (b'{"name":"a","numbers":[1.5]}', "numbers"),
        (b'{"name":"a","filter":{}}', "filter"),
        (b'{"name":"a","filter":{"limits":{"x":"y"}}}', "filter"),
        (b'{"name":"a","filter":{"limits":{},"more":1}}', "filter"),
        (b'{"name":"a","colour":1}', "colour"),
        (b'{"name":"a","two words":1}', "two words"),
        (b'{"name":"a","x`y":1}', "x`y"),
    ],
)
def test_wrong_parameter_is_named(parameters: bytes, offending: str) -> None:
    """Missing, of a wrong type, or unknown: the error names the parameter."""
    assert error("org.example.Test.Echo", parameters) == (
        "org.varlink.service.InvalidParameter",
        {"parameter": offending},
    )


@pytest.mark.parametrize("parameters", [b'{"name":"\\ud800"}', b'{"name":"\\ud800\\u0041"}'])
def test_broken_text_in_parameters_is_malformed(parameters: bytes) -> None:
    """An error found when parameters are decoded is replied like any malformed message."""
    name, fields = error("org.example.Test.Echo", parameters)
    assert name == "org.example.Test.MalformedMessage"
    assert fields["reason"]


def test_upgrade_is_not_implemented() -> None:
    """No method hands over its connection."""
    assert error("org.example.Test.Echo", b'{"name":"a"}', upgrade=True) == (
        "org.varlink.service.MethodNotImplemented",
        {"method": "org.example.Test.Echo"},
    )


@pytest.mark.parametrize(
    ("method", "expected", "parameters"),
    [
        (
            "NoSuchDevice",
            "org.example.Test.NoSuchDevice",
            {"name": "mdev_1", "nearest": ["mdev_2"]},
        ),
        ("InvalidParameter", "org.varlink.service.InvalidParameter", {"parameter": "format"}),
        ("ExpectedMore", "org.varlink.service.ExpectedMore", {}),
        ("PermissionDenied", "org.varlink.service.PermissionDenied", {}),
        ("Odd", "org.example.Test.Odd", {"parts": ["a", "b"]}),
    ],
)
def test_deliberate_error_arrives_by_name(
    method: str, expected: str, parameters: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    """Deliberate errors keep their fields, and are not logged."""
    assert error(f"org.example.Test.{method}") == (expected, parameters)
    assert not caplog.records


def test_defect_is_logged_and_not_told(caplog: pytest.LogCaptureFixture) -> None:
    """The log has the traceback; the client gets only a name."""
    assert error("org.example.Test.Defect") == ("org.example.Test.InternalError", {})
    (record,) = caplog.records
    assert record.levelno == logging.ERROR
    assert record.exc_info is not None
    assert isinstance(record.exc_info[1], KeyError)


def test_malformed_messages_are_refused_by_name() -> None:
    """The decoder's errors are those of the service's own interface."""
    text, size = Malformed("no JSON"), Malformed("large", limit=10)
    refusals = [service().refusal(malformed) for malformed in (text, size)]
    assert [(refusal.name, refusal.parameters) for refusal in refusals] == [
        ("org.example.Test.MalformedMessage", {"reason": "no JSON"}),
        ("org.example.Test.MessageTooLarge", {"limit": 10}),
    ]


@pytest.mark.parametrize("name", ["org.example.Test", "org.varlink.service"])
def test_interface_served_twice_is_refused(name: str) -> None:
    """The error has the name."""
    with pytest.raises(ValueError, match=name):
        service(Interface(name, "", {}))


def test_parameters_that_accept_anything_are_refused() -> None:
    """A method must know all its parameters."""

    class Lax(msgspec.Struct):
        name: str

    def handle(parameters: Lax, request: Request) -> Answer:
        return b"{}"

    with pytest.raises(TypeError, match="Lax"):
        Method(Lax, handle)
