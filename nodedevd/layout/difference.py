"""difference: what is different on a card from what a layout wants, as data.

Each kind of difference is what one change of `org.nodedevd.Control` puts right. Devices are given
by their names in the tree.
"""

from __future__ import annotations

from typing import Literal, TypeAlias

import msgspec

from nodedevd.kinds.shared.mdevctl import MdevAttribute
from nodedevd.layout.wanted import Match

State: TypeAlias = Literal["in-sync", "drifted", "blocked", "pending"]
"""in-sync: nothing is to do; drifted: there is something that can be done; blocked: what is to do
cannot be done, or would take away what is open, used by the host or not the layout's; pending:
the card, its driver or its functions are not there yet"""


class _Difference(msgspec.Struct, frozen=True, tag_field="kind"):
    pass


class SetFunctions(_Difference, frozen=True, tag="set-functions"):
    """The card has another number of virtual functions."""

    card: str
    number: int
    """the wanted number"""
    before: int


class BindFunction(_Difference, frozen=True, tag="bind"):
    """A function has another driver."""

    function: str
    driver: str
    """the wanted driver"""
    before: str | None


class DefineMdev(_Difference, frozen=True, tag="define"):
    """mdevctl has no definition of an mdev."""

    parent: str
    uuid: str
    type: str
    """id"""
    autostart: bool
    attributes: tuple[MdevAttribute, ...]


class ModifyMdev(_Difference, frozen=True, tag="modify"):
    """The definition of an mdev, or the mdev that runs, is different."""

    name: str
    """name of the mdev"""
    parent: str
    uuid: str
    type: str
    """id"""
    autostart: bool
    attributes: tuple[MdevAttribute, ...]
    definition: bool
    """whether the definition is to change"""
    live: bool
    """whether the active mdev is to change"""


class StartMdev(_Difference, frozen=True, tag="start"):
    """A defined mdev is not active."""

    parent: str
    uuid: str


class CreateVgpus(_Difference, frozen=True, tag="create"):
    """vGPUs of a type are missing on a function, which takes them."""

    function: str
    type: str
    """id"""
    type_name: str | None
    count: int
    uuid: str | None = None
    """of an mdev that has no definition; None: a random one"""
    placement: int | None = None
    attributes: tuple[MdevAttribute, ...] = ()


class RemoveVgpu(_Difference, frozen=True, tag="remove"):
    """An mdev, or the profile of a function, is in the way or not named."""

    name: str
    """name of the mdev or function"""
    type: str | None
    """id, None if unknown"""
    type_name: str | None


AnyDifference: TypeAlias = (
    SetFunctions | BindFunction | DefineMdev | ModifyMdev | StartMdev | CreateVgpus | RemoveVgpu
)


class Difference(msgspec.Struct, frozen=True):
    """How one card differs from its entry of a layout."""

    file: str
    """path of the file that wants it"""
    line: int
    """line of its entry"""
    match: Match
    card: str | None
    """name of the card; None if the host has none"""
    state: State
    reasons: tuple[str, ...] = ()
    """why something cannot be done now, a sentence each"""
    differences: tuple[AnyDifference, ...] = ()
    """what can be done now, in the order in which it has to be done"""
    later: tuple[str, ...] = ()
    """what can only be planned when that is done, in words"""
