"""A picture is made in steps, between which a server answers others: none is long."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from types import FrameType
from typing import Any

import msgspec
import pytest

from nodedevd.drawing.draw import draw_in_steps
from nodedevd.drawing.request import DrawRequest
from nodedevd.drawing.seen import Host
from nodedevd.kinds.ap_queue import ApQueue
from nodedevd.kinds.base import Capability
from nodedevd.kinds.css import Css
from nodedevd.kinds.mdev_child import MdevChild
from nodedevd.model.device import Device
from nodedevd.model.snapshot import Snapshot
from nodedevd.questions.doctor.finding import Finding
from tests.support.hosts import snapshot_of

MANY = 1000
CALLS = 7000
"""A step takes a millisecond for about so many."""


def longest_step(host: Host) -> int:
    """Return how many functions the longest step of a picture calls, those in C included."""
    calls = longest = 0

    def count(frame: FrameType, event: str, argument: Any) -> None:
        nonlocal calls
        calls += event in ("call", "c_call")

    steps = draw_in_steps(host, DrawRequest())
    before = sys.getprofile()
    sys.setprofile(count)
    try:
        for _ in steps:
            longest, calls = max(longest, calls), 0
    finally:
        sys.setprofile(before)
    return max(longest, calls)


def with_capability(device: Device, own: Capability, name: str, place: str = "") -> Device:
    """Return a device like another, with a capability in place of one of the same class."""
    others = tuple([one for one in device.capabilities if type(one) is not type(own)])
    return msgspec.structs.replace(
        device,
        name=name,
        sysname=place or name,
        path=f"{(device.path or '/sys/devices/x/x').rpartition('/')[0]}/{name}",
        capabilities=(own, *others),
    )


def mdevs(host: str, state: str) -> Iterator[Device]:
    """Yield the devices of a sample host, and many more of its first mdev in a state."""
    devices = list(snapshot_of(host))
    yield from devices
    for model in devices:
        mdev = model.capability(MdevChild)
        if mdev is not None and mdev.state == state:
            break
    else:
        raise AssertionError(state)
    for number in range(MANY):
        uuid = f"{number:08x}-0000-4000-8000-000000000000"
        own = msgspec.structs.replace(mdev, uuid=uuid, waits_for=None)
        yield with_capability(model, own, f"mdev_{uuid.replace('-', '_')}", uuid)


def queues(adapters: int, domains: int) -> Iterator[Device]:
    """Yield the devices of a sample host, with a matrix of so many queues, all of one mdev."""
    devices = list(snapshot_of("s390x-ap-ccw"))
    [model, *_] = [one for one in devices if one.capability(ApQueue) is not None]
    queue = model.capability(ApQueue)
    assert queue is not None
    names = []
    for adapter in range(adapters):
        for domain in range(domains):
            own = msgspec.structs.replace(queue, adapter=adapter, domain=domain)
            names.append(f"{adapter:02x}.{domain:04x}")
            yield with_capability(model, own, f"ap_queue_{adapter:02x}_{domain:04x}", names[-1])
    for device in devices:
        mdev = device.capability(MdevChild)
        if mdev is not None and mdev.queues:
            own_mdev = msgspec.structs.replace(mdev, queues=tuple(names))
            yield with_capability(device, own_mdev, device.name, device.sysname or "")
        elif device.capability(ApQueue) is None:
            yield device


def subchannels() -> Iterator[Device]:
    """Yield the devices of a sample host, and many more of its subchannels for guests."""
    devices = list(snapshot_of("s390x-ap-ccw"))
    yield from devices
    [model, *_] = [one for one in devices if {"css", "mdev_parent"} <= {*one.types}]
    css = model.capability(Css)
    assert css is not None
    for number in range(MANY):
        own = msgspec.structs.replace(css, address=f"0.1.{number:04x}")
        yield with_capability(model, own, f"css_0_1_{number:04x}", f"0.1.{number:04x}")


@pytest.mark.slow
@pytest.mark.parametrize(
    "devices",
    [
        pytest.param(mdevs("vgpu-sriov", "inactive"), id="definitions"),
        pytest.param(mdevs("vgpu-pf", "complete"), id="mdevs"),
        pytest.param(queues(32, 32), id="queues"),
        pytest.param(queues(1, MANY), id="queues of one adapter"),
        pytest.param(subchannels(), id="subchannels"),
    ],
)
def test_no_step_grows_with_what_a_card_has(devices: Iterator[Device]) -> None:
    """A thousand mdevs of a card, queues, subchannels, or findings that say the same."""
    snapshot = Snapshot(devices)
    findings = [Finding("note", "no-mdev", one.name, None, "the same", "") for one in snapshot]
    assert longest_step(Host(title="x", snapshot=snapshot, findings=tuple(findings))) < CALLS
