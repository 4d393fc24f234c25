"""Many creators at one parent: through the service, through sysfs, and through mdevctl."""

from __future__ import annotations

import errno
import subprocess
import threading
from collections.abc import Callable

import pytest

from nodedevd.client import Control
from nodedevd.errors import CardBusy, NodedevError, NoRoom
from tests.vm.guest import control, vm

CREATORS, SLOTS, OTHERS = 50, 10, 3
TYPE, OFFERED = "mtty-1", 24
pytestmark = [pytest.mark.usefixtures("no_mdevs"), pytest.mark.exhaustive]

Creator = Callable[[str], str | None]
"""Creates an mdev of a uuid; returns why it could not."""


def by_service(one: str) -> str | None:
    """Ask the service."""
    with Control(timeout_seconds=vm.PATIENCE_SECONDS) as client:
        try:
            client.create(TYPE, ["mtty"], uuid=one, owner="race")
        except (NoRoom, CardBusy) as error:
            return type(error).__name__
    return None


def by_sysfs(one: str) -> str | None:
    """Write to the kernel."""
    try:
        vm.create("mtty", one, TYPE)
    except OSError as error:
        return errno.errorcode[error.errno or 0]
    return None


def by_mdevctl(one: str) -> str | None:
    """Run mdevctl."""
    command = ["mdevctl", "start", "-u", one, "-p", "mtty", "-t", TYPE]
    done = subprocess.run(command, capture_output=True, text=True, timeout=vm.PATIENCE_SECONDS)
    return done.stderr.strip() or None


def test_fifty_creators_get_the_last_ten_slots() -> None:
    """Ten get one, each other is told why not; what one way has made, another removes."""
    for _ in range(OFFERED - SLOTS):
        vm.create("mtty", vm.new_uuid(), TYPE)
    assert vm.kernel_available("mtty")[TYPE] == SLOTS
    reasons: dict[str, str | None] = {}
    failures: list[BaseException] = []
    # The others are quicker, and must not get all.
    creators = [by_sysfs, by_mdevctl] * OTHERS + [by_service] * (CREATORS - 2 * OTHERS)
    start = threading.Barrier(CREATORS)

    def create(creator: Creator, one: str) -> None:
        try:
            start.wait()
            reasons[one] = creator(one)
        except BaseException as error:
            failures.append(error)

    with control.enabled():
        threads = [
            threading.Thread(target=create, args=(creator, vm.new_uuid())) for creator in creators
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert failures == []
        made = {one for one, reason in reasons.items() if reason is None}
        assert made == reasons.keys() & control.active().keys()
        assert len(made) == SLOTS
        assert vm.kernel_available("mtty")[TYPE] == 0
        told = {reason.splitlines()[0] for reason in reasons.values() if reason is not None}
        assert all(
            reason in ("NoRoom", "CardBusy", "ENOSPC") or reason.startswith("Error")
            for reason in told
        ), told
        ours = {one.name for one in control.made() if one.origin == "client"}
        assert ours <= {vm.mdev_name(one) for one in made}
        assert len(ours) >= SLOTS - 2 * OTHERS
        with Control(timeout_seconds=vm.PATIENCE_SECONDS) as client:
            for one in made:
                try:
                    client.remove(one, owner="race", force=vm.mdev_name(one) not in ours)
                except NodedevError as error:
                    failures.append(error)
        assert failures == []
        assert vm.kernel_available("mtty")[TYPE] == SLOTS
        assert (control.journal(), control.made(origin="client")) == ([], [])
    vm.figures.append(f"fifty creators for ten slots: {len(ours)} made by the service; told {told}")
