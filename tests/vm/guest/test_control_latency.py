"""How long a change takes until it is answered, of the control service and of mdevctl."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from statistics import median, quantiles

import pytest

from tests.vm.guest import control, vm

ROUNDS = 20

pytestmark = [pytest.mark.usefixtures("no_mdevs"), pytest.mark.exhaustive]


def seconds(call: Callable[[], object]) -> float:
    """Return how long a call takes."""
    start = time.monotonic()
    call()
    return time.monotonic() - start


def test_answers_of_both_are_timed() -> None:
    """What is measured is printed, not judged; turn by turn, so that both have the same machine.

    The service answers when the device tree shows the change; mdevctl when the kernel has made it.
    """
    ours: dict[str, list[float]] = {"create": [], "remove": []}
    theirs: dict[str, list[float]] = {"start": [], "stop": []}
    with control.enabled() as client:
        client.get_status()  # systemd starts the service
        for one in [vm.new_uuid() for _ in range(ROUNDS)]:
            ours["create"].append(seconds(partial(client.create, "mtty-2", ["mtty"], uuid=one)))
            ours["remove"].append(seconds(partial(client.remove, one)))
            start = ("mdevctl", "start", "-u", one, "-p", "mtty", "-t", "mtty-2")
            theirs["start"].append(seconds(partial(vm.run, *start)))
            theirs["stop"].append(seconds(partial(vm.run, "mdevctl", "stop", "-u", one)))
    vm.figures.append(f"change asked for to answer, ms, {ROUNDS} mdevs: median, p95")
    for who, calls in (("nodedevd-control", ours), ("mdevctl", theirs)):
        for what, times in calls.items():
            p95 = quantiles(times, n=20)[-1]
            vm.figures.append(f"  {who} {what}  {median(times) * 1000:8.1f} {p95 * 1000:8.1f}")
