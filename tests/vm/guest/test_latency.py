"""From the return of the write that creates an mdev to the event at a client, of both daemons."""

from __future__ import annotations

import threading
import time
from functools import partial
from statistics import median, quantiles

import pytest

from nodedevd.client import Client
from tests.vm.guest import vm

ROUNDS = 20

pytestmark = [pytest.mark.usefixtures("no_mdevs"), pytest.mark.exhaustive]


def test_both_tell_of_every_mdev(libvirtd: vm.Libvirt) -> None:
    """What is measured is printed, not judged."""
    told: dict[str, float] = {}
    with (
        Client(str(vm.SOCKET)) as client,
        client.watch(capabilities=["mdev_child"], snapshot=False) as watch,
    ):

        def take() -> None:
            while len(told) < ROUNDS:
                event = watch.next(vm.PATIENCE_SECONDS)
                assert event is not None
                if event.event == "added":
                    told[event.name or ""] = time.monotonic()

        taking = threading.Thread(target=take)
        taking.start()
        ours, theirs = [], []
        for _ in range(ROUNDS):
            one = vm.new_uuid()
            vm.create("mtty", one)
            created = time.monotonic()
            vm.until(partial(told.__contains__, vm.mdev_name(one)))
            ours.append(told[vm.mdev_name(one)] - created)
            theirs.append(libvirtd.wait("created", vm.libvirt_name(one, "mtty")) - created)
            vm.remove(one)
            libvirtd.wait("deleted", vm.libvirt_name(one, "mtty"))
            vm.settle()
        taking.join()
    vm.figures.append(f"create returned to event at a client, ms, {ROUNDS} mdevs: median, p95")
    for daemon, seconds in (("nodedevd", ours), ("libvirtd", theirs)):
        p95 = quantiles(seconds, n=20)[-1]
        vm.figures.append(f"  {daemon}  {median(seconds) * 1000:8.1f} {p95 * 1000:8.1f}")
