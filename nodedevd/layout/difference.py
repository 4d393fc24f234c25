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


class _Difference(msgspec.Struct, frozen=True, tag_field="difference"):
    pass


class SetFunctions(_Difference, frozen=True, tag="set-functions"):
    """The card has another number of virtual functions."""

    card: str
    number: int
    """the wanted number"""
    before: int
    """the number now"""


class BindFunction(_Difference, frozen=True, tag="bind-function"):
    """A function has another driver."""

    function: str
    """name of the function"""
    driver: str
    """the wanted driver"""
    before: str | None
    """its driver now; None if it has none"""


class DefineMdev(_Difference, frozen=True, tag="define-mdev"):
    """mdevctl has no definition of an mdev."""

    parent: str
    uuid: str
    type: str
    """id"""
    autostart: bool
    """whether mdevctl is to start it with its parent"""
    attributes: tuple[MdevAttribute, ...]
    """attributes that the definition is to have, in order"""


class ModifyMdev(_Difference, frozen=True, tag="modify-mdev"):
    """The definition of an mdev, or the mdev that runs, is different."""

    name: str
    """name of the mdev"""
    parent: str
    uuid: str
    type: str
    """id"""
    autostart: bool
    """whether mdevctl is to start it with its parent"""
    attributes: tuple[MdevAttribute, ...]
    """attributes that it is to have, in order"""
    definition: bool
    """whether the definition is to change"""
    live: bool
    """whether the active mdev is to change"""


class StartMdev(_Difference, frozen=True, tag="start-mdev"):
    """A defined mdev is not active."""

    parent: str
    uuid: str


class CreateVgpus(_Difference, frozen=True, tag="create-vgpus"):
    """vGPUs of a type are missing on a function, which takes them."""

    function: str
    """name of the function"""
    type: str
    """id"""
    type_name: str | None
    count: int
    """how many are missing"""
    uuid: str | None = None
    """of an mdev that has no definition; None: a random one"""
    placement: int | None = None
    """placement id; None: the driver decides"""
    attributes: tuple[MdevAttribute, ...] = ()
    """attributes that are written to it, in order"""


class RemoveVgpu(_Difference, frozen=True, tag="remove-vgpu"):
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
    """which card the entry means"""
    card: str | None
    """name of the card; None if the host has none"""
    state: State
    """in-sync, drifted, blocked or pending"""
    reasons: tuple[str, ...] = ()
    """why something cannot be done now, a sentence each"""
    differences: tuple[AnyDifference, ...] = ()
    """what can be done now, in the order in which it has to be done"""
    later: tuple[str, ...] = ()
    """what can only be planned when that is done, in words"""
