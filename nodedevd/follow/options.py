"""FollowOptions: how closely the host is followed."""

from __future__ import annotations

from typing import Literal

import msgspec

from nodedevd.descriptors import HANGING_AT_MOST
from nodedevd.follow.hangs import STUCK_SECONDS
from nodedevd.host.events.udev import RECEIVE_BUFFER_BYTES

EventChoice = Literal["auto", "udev", "kernel", "none"]
"""Whose uevents to receive. `auto`: udevd's if it runs, else the kernel's; none for a recorded
host."""


class FollowOptions(msgspec.Struct, frozen=True):
    """How closely the host is followed."""

    events: EventChoice = "auto"
    reconcile_seconds: float = 300.0
    """interval between planned scans of the whole host; 0: no planned scans"""
    poll_seconds: float = 5.0
    """interval between looks at what changes without an event, and clients wait for: the profile
    that is set on a function with vendor VFIO, the begin of an mdev's removal; 0: none"""
    count_age_seconds: float = 1.0
    """maximum age of volatile values when a client reads them"""
    buffer_bytes: int = RECEIVE_BUFFER_BYTES
    """requested size of the receive buffer for uevents"""
    stuck_seconds: float = STUCK_SECONDS
    """time after which a device whose read hangs is left out"""
    hanging_at_most: int = HANGING_AT_MOST
    """reads that may hang at the same time; beyond it, the host is not read until one returns"""
