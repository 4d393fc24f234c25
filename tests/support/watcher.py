"""A watcher of a daemon: waits for events, one by one, and knows the devices after each."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from nodedevd.client import Client, Event
from nodedevd.model.device import Device
from nodedevd.model.status import Status
from tests.support.running import NODEDEVCTL, PATIENCE_SECONDS, REPOSITORY


def line(event: Event) -> str:
    """Return an event as one line: what happened, the name, and the parts that changed."""
    return " ".join([event.event, event.name or "", *(event.parts or ())]).strip()


class Watcher:
    """Watches a daemon's devices, and compares what it reports with what a test expects.

    A machine has other devices than the test's, and some values settle late, as an interface's
    speed. Both are let pass; of the test's own devices every event counts, and in its order.

    Attributes:
        devices: every device as it was last reported, by name.
    """

    def __init__(
        self,
        socket_path: Path,
        *,
        is_ours: Callable[[str], bool] = lambda name: True,
        settles: Callable[[Event], bool] = lambda event: False,
    ) -> None:
        """Begin to watch.

        Args:
            socket_path: The daemon's socket.
            is_ours: Whether a device of this name is the test's.
            settles: Whether an event of such a device may come at any time, any number of times.
        """
        self._path = str(socket_path)
        self._is_ours = is_ours
        self._settles = settles
        with Client(self._path) as client:
            self._watch = client.watch()
        self.devices: dict[str, Device] = {}
        self._generation = 0
        while (event := self._next()).event != "ready":
            assert event.event == "present"

    def __enter__(self) -> Watcher:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._watch.close()

    @property
    def ours(self) -> set[str]:
        """The names of the test's devices that are there."""
        return set(filter(self._is_ours, self.devices))

    def expect(self, *lines: str) -> None:
        """Wait for exactly these events, in this order."""
        reported: list[str] = []
        for wanted in lines:
            event = self._next_of_ours()
            while line(event) != wanted and self._settles(event):
                event = self._next_of_ours()
            reported.append(line(event))
        assert reported == list(lines), f"reported {reported}, expected {list(lines)}"

    def expect_in_any_order(self, *lines: str) -> None:
        """Wait for exactly these events."""
        missing = list(lines)
        while missing:
            event = self._next_of_ours()
            if line(event) in missing:
                missing.remove(line(event))
            else:
                assert self._settles(event), f"reported {line(event)}, expected {missing}"

    def until(self, condition: Callable[[], bool]) -> list[str]:
        """Wait until a condition on the devices holds; return the events up to then."""
        lines = []
        while not condition():
            lines.append(line(self._next_of_ours()))
        return lines

    def status(self) -> Status:
        """Ask the daemon for its status."""
        with Client(self._path) as client:
            return client.status()

    def until_status(self, condition: Callable[[Status], bool]) -> None:
        """Ask for the status again and again until a condition on it holds."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not condition(status := self.status()):
            assert time.monotonic() < deadline, status

    def _next_of_ours(self) -> Event:
        while True:
            event = self._next()
            if self._is_ours(event.name or ""):
                return event

    def _next(self) -> Event:
        event = self._watch.next(PATIENCE_SECONDS)
        assert event is not None, f"no event within {PATIENCE_SECONDS} s"
        if event.event in ("added", "changed", "removed"):
            assert event.generation > self._generation
            assert (event.name in self.devices) == (event.event != "added")
        self._generation = event.generation
        if event.event == "removed":
            del self.devices[event.name or ""]
        elif event.device is not None:
            self.devices[event.device.name] = event.device
        return event


def devices_by_scan(
    *, enter: Sequence[str] = (), environment: Mapping[str, str] | None = None
) -> dict[str, Any]:
    """Return the devices of `nodedevctl --sysroot / show --all`, by name."""
    done = subprocess.run(
        [*enter, *NODEDEVCTL, "--sysroot", "/", "show", "--all"],
        env={"PYTHONPATH": str(REPOSITORY), **(environment or {})},
        capture_output=True,
        timeout=PATIENCE_SECONDS,
    )
    assert done.returncode == 0, done.stderr
    return {device["name"]: device for device in json.loads(done.stdout)["devices"]}


def devices_of_daemon(socket_path: Path) -> dict[str, Any]:
    """Return the devices that a daemon shows, by name."""
    with Client(str(socket_path)) as client:
        devices = json.loads(client.snapshot_json())["devices"]
    return {device["name"]: device for device in devices}
