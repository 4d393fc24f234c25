"""Answers: what the control service says of a change, of itself, and of what was made here."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from nodedevd.actions.ownership import Origin
from nodedevd.actions.plan import Action, Step
from nodedevd.layout.difference import State
from nodedevd.layout.problem import Problem
from nodedevd.model.device import Device


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """The answer to every change: what the tree shows afterwards, and what was done.

    After a dry run, the devices are as they are now, and the steps those that it would take.
    """

    generation: int
    """of the tree, or at which a device that existed already was made; give it to change that
    device only while it is the same one"""
    devices: tuple[Device, ...]
    """those that the action is about, as `Describe` gives them; what was removed is not there"""
    steps: tuple[str, ...]
    """in words; none if all was so already"""
    plan: tuple[Step, ...]
    """the same steps as data"""
    dry_run: bool
    """whether nothing was done"""
    notes: tuple[str, ...] = ()
    """sentences for people: what the plan could not make sure of"""


class InProgress(msgspec.Struct, frozen=True, kw_only=True):
    """A change that is in progress, or whose write hangs in a driver."""

    action: Action
    cards: tuple[str, ...]
    """names of the cards that take no other change meanwhile"""
    step: str
    """the step that it is at, in words"""
    seconds: float
    """since that step began"""
    hangs: bool
    """whether the driver has not answered within the limit"""
    uid: int
    """user who asked for it"""
    pid: int
    """process that asked for it"""


class Leftover(msgspec.Struct, frozen=True, kw_only=True):
    """A change that failed, and could not be undone altogether."""

    number: int
    """its number in the journal"""
    action: Action | None
    """null for an entry of the journal that cannot be read"""
    cards: tuple[str, ...]
    """names of the cards that it is about"""
    left: tuple[str, ...]
    """steps that were not undone, in words, with why"""
    since: str | None
    """time in UTC, ISO 8601; null as `action`"""


class NotStarted(msgspec.Struct, frozen=True, kw_only=True):
    """An mdev that is to be started along with its parent, and is not yet, or could not be."""

    uuid: str
    parent: str
    """kernel name of the parent"""
    detail: str
    """what it waits for, or why it could not be started"""
    tries: int
    """attempts so far"""
    waits: bool
    """whether it will be tried again"""


class NotApplied(msgspec.Struct, frozen=True, kw_only=True):
    """A card of the layout that the service follows, and that is not as it should be."""

    entry: str
    """how the file names the card"""
    card: str | None
    """name of the card in the tree; null if the host has none"""
    state: State
    detail: str
    """what it waits for, or why it could not be put right"""
    tries: int
    """attempts so far"""
    waits: bool
    """whether it will be tried again; if not, `nodedevctl layout apply` does"""


class ControlStatus(msgspec.Struct, frozen=True, kw_only=True):
    """The state of the control service."""

    version: str
    """of nodedevd"""
    pid: int
    sysroot: str
    started: str
    """time in UTC, ISO 8601"""
    source: Literal["daemon", "scan"]
    """whether its tree is the daemon's, or from scans of its own"""
    clients: int
    """connected now"""
    changes: int
    """made since the start"""
    failures: int
    """changes since the start that were refused, or failed"""
    queued: int
    """changes that wait for others to end"""
    in_progress: tuple[InProgress, ...]
    leftovers: tuple[Leftover, ...]
    not_started: tuple[NotStarted, ...]
    not_applied: tuple[NotApplied, ...] = ()
    """cards of the layout, while nodedevd-layout.service is active"""
    configuration: dict[str, Any]
    """what holds of control.toml, defaults included"""


class Made(msgspec.Struct, frozen=True, kw_only=True):
    """A vGPU or mdev, and whose it is; of another origin than `other`, also any other device."""

    name: str
    """of the device in the tree"""
    origin: Origin
    """who made it: a client, a start of a definition, a hook for a domain, a layout, or others"""
    owner: str | None = None
    """the word that its maker gave"""
    uid: int | None = None
    """user who asked for it; null if nodedevd did not make it"""
    type: str | None = None
    """id of its type"""
    generation: int | None = None
    """of the tree that showed it first; null if nodedevd did not make it"""
    made: str | None = None
    """time in UTC, ISO 8601"""


class MadeList(msgspec.Struct, frozen=True, kw_only=True):
    """Whose the devices of a host are."""

    generation: int
    devices: tuple[Made, ...]


class Refusal(msgspec.Struct, frozen=True, kw_only=True):
    """A change for a layout that was refused, or that failed and was undone."""

    change: str
    """what was to be done, in words"""
    code: str
    """of the error, such as made-by-other"""
    detail: str
    """what failed, and why"""
    undone: tuple[str, ...] = ()
    """steps that were undone, in words"""
    left: tuple[str, ...] = ()
    """steps that could not be, in words, with why"""


class LayoutCard(msgspec.Struct, frozen=True, kw_only=True):
    """A card of the layout, and what was done for it."""

    file: str
    """path of the file that declares it"""
    line: int
    """line of its entry"""
    entry: str
    """how the file names it"""
    card: str | None
    """name of the card in the tree; null if the host has none"""
    state: State
    """after what was done; after a dry run, as it is now"""
    reasons: tuple[str, ...]
    """why something is not as it should be, a sentence each"""
    steps: tuple[str, ...]
    """what was done, in words; after a dry run, what would be"""
    later: tuple[str, ...]
    """after a dry run, what can only be planned when these steps are done, in words"""
    refusals: tuple[Refusal, ...]
    """changes that were refused, or failed"""


class LayoutOutcome(msgspec.Struct, frozen=True, kw_only=True):
    """The answer to ApplyLayout."""

    generation: int
    """of the tree"""
    dry_run: bool
    """whether nothing was done"""
    cards: tuple[LayoutCard, ...]
    """in the order of the files"""
    problems: tuple[Problem, ...]
    """of the files; cards that they declare are left alone"""
