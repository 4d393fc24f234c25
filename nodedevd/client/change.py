"""change: a change of the host as a question to the control service, without I/O."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TypeAlias, TypedDict, TypeVar

import msgspec

from nodedevd.actions.answers import LayoutOutcome, Outcome
from nodedevd.actions.requests import ApplyLayout, Attribute, Request
from nodedevd.client import question
from nodedevd.client.question import Question
from nodedevd.errors import CONTROL_INTERFACE

T = TypeVar("T")

Attributes: TypeAlias = Mapping[str, str] | Iterable[tuple[str, str]]
"""Vendor attributes and their values, in the order in which they are written."""


class Nothing(msgspec.Struct):
    """A reply without parameters."""


class Options(TypedDict, total=False):
    """What every change takes."""

    owner: str | None
    """a word that is kept with what is made; a later change has to give the same"""
    generation: int | None
    """that of the answer which made the device: another device at its place is not changed"""
    force: bool | None
    """whether to change what is in use, or belongs to others"""
    dry_run: bool | None
    """whether to return the steps without taking them"""


def change(request: Request) -> Question[Outcome]:
    """Return the call that asks for a change."""
    given = {name: getattr(request, name) for name in request.__struct_fields__}
    return Question(
        type(request).__name__, Outcome, question.only, interface=CONTROL_INTERFACE, **given
    )


def application(request: ApplyLayout) -> Question[LayoutOutcome]:
    """Return the call that asks for the layout to be applied."""
    given = {name: getattr(request, name) for name in request.__struct_fields__}
    return Question(
        "ApplyLayout", LayoutOutcome, question.only, interface=CONTROL_INTERFACE, **given
    )


def about(method: str, reply: type[T]) -> Question[T]:
    """Return a call of the control service that changes nothing."""
    return Question(method, reply, question.only, interface=CONTROL_INTERFACE)


def may_call(method: str) -> Question[Nothing]:
    """Return the call that asks whether the caller may call a method."""
    return Question("Authorise", Nothing, question.only, interface=CONTROL_INTERFACE, method=method)


def attributes_of(given: Attributes | None) -> list[Attribute] | None:
    """Return attributes as they are in a request. Raises InvalidParameter."""
    if given is None:
        return None
    pairs = given.items() if isinstance(given, Mapping) else given
    return [Attribute(name, value) for name, value in pairs]
