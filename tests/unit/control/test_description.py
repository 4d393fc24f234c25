"""org.nodedevd.Control.varlink against the code: methods, replies, types and errors."""

from __future__ import annotations

from typing import Any, get_type_hints

import msgspec
import pytest
from varlink import scanner

from nodedevd.actions.answers import (
    ControlStatus,
    InProgress,
    LayoutCard,
    LayoutOutcome,
    Leftover,
    Made,
    MadeList,
    NotApplied,
    NotStarted,
    Outcome,
    Refusal,
)
from nodedevd.actions.requests import METHODS, REQUESTS, Attribute, ForDomain, Request
from nodedevd.client.change import Nothing
from nodedevd.control import polkit
from nodedevd.control.methods import ControlInterface
from nodedevd.errors import (
    CONTROL_INTERFACE,
    REPLIED,
    BudgetExceeded,
    NoSuchDevice,
    NoSuchType,
    TooManyClients,
)
from nodedevd.host.faults import Fault
from nodedevd.layout.problem import Problem
from nodedevd.model.device import Device
from nodedevd.model.layout import CardLayout
from nodedevd.server.varlink.service import Interface, Service
from nodedevd.varlink import Malformed
from tests.support.idl import drift, of_kind

TYPES: tuple[type[msgspec.Struct], ...] = (
    *(Attribute, CardLayout, Device, Fault, InProgress, Leftover, Made, NotStarted),
    *(NotApplied, Refusal, LayoutCard, Problem),
)
REPLIES: dict[str, type[msgspec.Struct]] = {
    **dict.fromkeys(REQUESTS, Outcome),
    "ApplyLayout": LayoutOutcome,
    "GetStatus": ControlStatus,
    "SpeakFor": Nothing,
    "Authorise": Nothing,
    "List": MadeList,
}
OTHERS = (NoSuchDevice, NoSuchType, TooManyClients, BudgetExceeded)
"""Errors without an interface of their own that a change, or the server, can raise."""


@pytest.fixture(scope="module")
def served() -> Interface:
    """Return the interface as it is served."""
    return ControlInterface(None, None, None, None, ()).interface()  # type: ignore[arg-type]  # not called


@pytest.fixture(scope="module")
def members(served: Interface) -> dict[str, Any]:
    """Return the members of the text, as the reference implementation parses it."""
    parsed = scanner.Interface(served.description)
    assert parsed.name == served.name == CONTROL_INTERFACE
    return dict(parsed.members)


def test_every_method_is_served_with_the_parameters_of_the_text(
    members: dict[str, Any], served: Interface
) -> None:
    """Names and types."""
    described = of_kind(members, scanner._Method)
    assert set(described) == set(served.methods)
    assert [
        line
        for name, method in served.methods.items()
        for line in drift(name, described[name].in_type, method.parameters)
    ] == []


def test_every_reply_has_the_fields_of_the_text(members: dict[str, Any]) -> None:
    """For each method the struct that is encoded, and that a client decodes."""
    described = of_kind(members, scanner._Method)
    assert set(described) == set(REPLIES)
    assert [
        line
        for name, struct in REPLIES.items()
        for line in drift(name, described[name].out_type, struct)
    ] == []


def test_every_type_has_the_fields_of_the_text(members: dict[str, Any]) -> None:
    """A type goes by the name of its struct."""
    described = of_kind(members, scanner._Alias)
    structs = {struct.__name__: struct for struct in TYPES}
    assert set(described) == set(structs)
    assert [
        line
        for name, struct in structs.items()
        for line in drift(name, described[name].type, struct)
    ] == []


def test_every_error_is_described(members: dict[str, Any], served: Interface) -> None:
    """Those of changes, with their fields and types, and those of the server itself."""
    described = of_kind(members, scanner._Error)
    own = [one for one in REPLIED if one.interface == CONTROL_INTERFACE or one in OTHERS]
    service = Service("V", "P", "1", "", [served], CONTROL_INTERFACE)
    others = [
        service.refusal(Malformed("no JSON")),
        service.refusal(Malformed("too long", 1)),
        service.translate(RuntimeError("a defect")),
    ]
    names = {kind.__name__ for kind in own} | {one.name.rpartition(".")[2] for one in others}
    assert set(described) == names
    for kind in own:
        hints = get_type_hints(kind)
        struct = msgspec.defstruct(
            kind.__name__, [(name, hints[name]) for name in kind.reply_fields]
        )
        assert list(drift(kind.__name__, described[kind.__name__].type, struct)) == []
        raised = service.translate(kind(**dict.fromkeys(kind.reply_fields, "")))  # type: ignore[arg-type]
        assert raised.name == f"{CONTROL_INTERFACE}.{kind.__name__}"


def test_every_request_has_a_method_and_permissions() -> None:
    """A new request cannot be forgotten by either."""

    def below(kind: type[Request]) -> set[type[Request]]:
        return {kind}.union(*map(below, kind.__subclasses__()))

    assert set(REQUESTS.values()) == below(Request) - {Request, ForDomain}
    assert set(polkit.PERMISSIONS) == {*METHODS, "GetStatus", "List"}
    assert len({kind.action for kind in REQUESTS.values()}) == len(REQUESTS)
