"""Conditions for `wait_for`, and the state of a wait."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final, TypeAlias

import msgspec

from nodedevd.client.deadline import Deadline
from nodedevd.client.errors import TimedOut
from nodedevd.client.watching import Event
from nodedevd.errors import NodedevError
from nodedevd.kinds.mdev_child import MdevChild
from nodedevd.kinds.shared.vgpu_types import type_matches
from nodedevd.model.device import Device, is_active
from nodedevd.questions.vgpus import Offer, vgpu_functions

ANSWER_SECONDS: Final = 10.0
"""Time for the daemon to send the devices, even when the timeout is shorter."""
_RECOUNT_SECONDS: Final = 1.0

Predicate: TypeAlias = Callable[[Mapping[str, Device]], bool]
"""Returns whether a condition holds for the devices, which it gets by name."""


class Condition(msgspec.Struct, frozen=True):
    """A condition on active devices: by default an mdev that is only defined is none of them."""

    reached: Predicate
    what: str = "the condition"
    """for the error: `timed out after 5 s waiting for …`"""
    capabilities: Sequence[str] | None = None
    """`reached` gets only devices with any of these; None is all"""
    names: Sequence[str] | None = None
    """`reached` gets only these devices; None is all"""
    inactive: bool = False
    """whether `reached` gets mdevs that are only defined, too"""
    recount: str | None = None
    """a device with volatile counts, which are polled every second"""
    state: Callable[[Mapping[str, Device]], str] | None = None
    """returns how far the devices meet it, for the error: `timed out after 5 s: 2 of 3 devices`"""


def present(name: str) -> Condition:
    """Wait until a device is present; an mdev must be complete, with its type known."""
    return Condition(
        lambda devices: any(map(_complete, devices.values())),
        f"{name} to be present",
        names=[name],
        state=lambda devices: f"{name} has no type yet" if devices else f"no device {name!r}",
    )


def gone(name: str) -> Condition:
    """Wait until a device is no longer present."""
    return Condition(
        lambda devices: not devices,
        f"{name} to be gone",
        names=[name],
        state=lambda devices: f"{name} is still there",
    )


def at_least(count: int, *capabilities: str) -> Condition:
    """Wait until `count` devices with any of the capabilities are present."""
    kinds = " or ".join(capabilities)
    return Condition(
        lambda devices: len(devices) >= count,
        f"{count} devices with {kinds}",
        capabilities=capabilities,
        state=lambda devices: f"{len(devices)} of {count} devices with {kinds}",
    )


def available(parent: str, type_id: str, count: int = 1) -> Condition:
    """Wait until `count` vGPUs of a type can be created on a device.

    The device is an mdev parent, or a function with vendor VFIO.
    """
    return Condition(
        lambda devices: any(_offers(device, type_id, count) for device in devices.values()),
        f"{count} of {type_id} to be available on {parent}",
        names=[parent],
        recount=parent,
        state=lambda devices: _offered(devices, parent, type_id, count),
    )


class Waiting:
    """The devices of a condition, as a watch reports them, and the time that is left."""

    def __init__(
        self,
        condition: Condition | Predicate,
        timeout_seconds: float | None,
        on_lost: Callable[[NodedevError], None] | None = None,
    ) -> None:
        self.condition = condition if isinstance(condition, Condition) else Condition(condition)
        self.devices: dict[str, Device] = {}
        self.generation = 0
        """generation of the last event"""
        self._defined: set[str] = set()
        self._ready = False
        self._lost = False
        self._on_lost = on_lost
        self.deadline = Deadline(timeout_seconds)
        self.answer_seconds = None if timeout_seconds is None else ANSWER_SECONDS
        """the longest time for a reply of the daemon; None is no limit"""
        self._answer = Deadline(self.answer_seconds)

    @property
    def reached(self) -> bool:
        """Whether all devices are known and the condition holds."""
        return self._ready and self.condition.reached(self.devices)

    def pause(self) -> float | None:
        """Return for how many seconds to wait for the next event. Raises TimedOut."""
        left = self.deadline.left
        if not self._ready and left is not None:
            left = max(left, self._answer.left or 0)
        if left == 0:
            raise TimedOut(self.condition.what, self.deadline.seconds or 0, self._state())
        if self._ready and self.condition.recount is not None:
            return _RECOUNT_SECONDS if left is None else min(_RECOUNT_SECONDS, left)
        return left

    def lose(self, error: NodedevError) -> None:
        """Note that the daemon went away; what is known of the devices is old now."""
        self._lost = True
        if self._on_lost is not None:
            self._on_lost(error)

    def take(self, event: Event) -> None:
        """Apply an event."""
        self._lost = False
        self.generation = event.generation
        if event.event == "resync":
            self.devices.clear()
            self._defined.clear()
            self._ready = False
            return
        if event.event == "ready":
            self._ready = True
            return
        name = event.name or ""
        self.devices.pop(name, None)
        self._defined.discard(name)
        if event.device is None:
            return
        if is_active(event.path) or self.condition.inactive:
            self.devices[name] = event.device
        else:
            self._defined.add(name)

    def _state(self) -> str:
        """Return how far the condition holds; nothing if that is unknown."""
        if self._lost:
            return "the daemon does not answer"
        if not self._ready or self.condition.state is None:
            return ""
        text = self.condition.state(self.devices)
        if self.condition.names is not None and not self.devices and self._defined:
            text += f"; {', '.join(sorted(self._defined))} is defined, but not active"
        return text


def _complete(device: Device) -> bool:
    child = device.capability(MdevChild)
    return child is None or child.state == "complete"


def _offers(device: Device, wanted: str, count: int) -> bool:
    return any(
        one.available is not None and one.available >= count for one in _matching(device, wanted)
    )


def _matching(device: Device, wanted: str) -> list[Offer]:
    return [
        one
        for function in vgpu_functions([device])
        for one in function.offers
        if type_matches(wanted, one.id, one.name)
    ]


def _offered(devices: Mapping[str, Device], parent: str, wanted: str, count: int) -> str:
    if not devices:
        return f"no device {parent!r}"
    offers = [one for device in devices.values() for one in _matching(device, wanted)]
    if not offers:
        return f"{parent} does not offer {wanted}"
    known = [one.available for one in offers if one.available is not None]
    if not known:
        return f"how many {wanted} are available on {parent} is unknown"
    return f"{max(known)} of {count} {wanted} available on {parent}"
