"""Conditions: what `wait_for` waits for, and how far a waiting is."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final, TypeAlias

import msgspec

from nodedevd.client.deadline import Deadline
from nodedevd.client.errors import TimedOut
from nodedevd.client.watching import Event
from nodedevd.kinds.mdev_child import MdevChild
from nodedevd.kinds.shared.vgpu_types import type_matches
from nodedevd.model.device import Device, is_active
from nodedevd.questions.vgpus import vgpu_functions

ANSWER_SECONDS: Final = 10.0
"""What there is is heard for so long, even by who has no time to wait for more."""
_RECOUNT_SECONDS: Final = 1.0

Predicate: TypeAlias = Callable[[Mapping[str, Device]], bool]
"""Says of the devices that are there, by name, whether it is so."""


class Condition(msgspec.Struct, frozen=True):
    """What is waited for: something that is to be so of the devices that are there.

    An mdev that is defined, but not there, is none of them.
    """

    reached: Predicate
    what: str = "the condition"
    """for the error: `timed out after 5 s waiting for …`"""
    capabilities: Sequence[str] | None = None
    """which devices `reached` is to be told of; None is all"""
    names: Sequence[str] | None = None
    """these alone"""
    recount: str | None = None
    """a parent whose counts change without an event: it is asked for every second"""


def present(name: str) -> Condition:
    """Wait until a device is there; an mdev has to be complete, its type known."""
    return Condition(
        lambda devices: any(map(_complete, devices.values())), f"{name} to be present", names=[name]
    )


def gone(name: str) -> Condition:
    """Wait until a device is not there."""
    return Condition(lambda devices: not devices, f"{name} to be gone", names=[name])


def at_least(count: int, *capabilities: str) -> Condition:
    """Wait until so many devices with any of the capabilities are there."""
    return Condition(
        lambda devices: len(devices) >= count,
        f"{count} devices with {' or '.join(capabilities)}",
        capabilities=capabilities,
    )


def available(parent: str, type_id: str, count: int = 1) -> Condition:
    """Wait until a parent, or a function with vendor VFIO, can have so many more of a type."""
    return Condition(
        lambda devices: any(_offers(device, type_id, count) for device in devices.values()),
        f"{count} of {type_id} to be available on {parent}",
        names=[parent],
        recount=parent,
    )


class Waiting:
    """The devices that a condition is about, as a watch tells of them."""

    def __init__(self, condition: Condition | Predicate, timeout_seconds: float | None) -> None:
        self.condition = condition if isinstance(condition, Condition) else Condition(condition)
        self.devices: dict[str, Device] = {}
        self._ready = False
        self._deadline = Deadline(timeout_seconds)
        self.answer_seconds = None if timeout_seconds is None else ANSWER_SECONDS
        """how long the daemon may take to answer at all; None is no limit"""
        self._answer = Deadline(self.answer_seconds)

    @property
    def reached(self) -> bool:
        """Whether it is so, of all that is there."""
        return self._ready and self.condition.reached(self.devices)

    def pause(self) -> float | None:
        """Return for how many seconds to wait for the next event. Raises TimedOut."""
        left = self._deadline.left
        if not self._ready and left is not None:
            left = max(left, self._answer.left or 0)
        if left == 0:
            raise TimedOut(self.condition.what, self._deadline.seconds or 0)
        if self._ready and self.condition.recount is not None:
            return _RECOUNT_SECONDS if left is None else min(_RECOUNT_SECONDS, left)
        return left

    def take(self, event: Event) -> None:
        """Take in what is told."""
        if event.event == "resync":
            self.devices.clear()
            self._ready = False
        elif event.event == "ready":
            self._ready = True
        elif event.device is None or not is_active(event.path):
            self.devices.pop(event.name or "", None)
        else:
            self.devices[event.device.name] = event.device


def _complete(device: Device) -> bool:
    child = device.capability(MdevChild)
    return child is None or child.state == "complete"


def _offers(device: Device, wanted: str, count: int) -> bool:
    return any(
        type_matches(wanted, one.id, one.name)
        and one.available is not None
        and one.available >= count
        for function in vgpu_functions([device])
        for one in function.offers
    )
