"""A watcher of a daemon: what it was told, event by event, and waiting for what is to come."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from nodedevd.client import Client, Event
from nodedevd.model.device import Device
from nodedevd.model.status import Status
from tests.support.running import PATIENCE_SECONDS, REPOSITORY

NODEDEVCTL = (
    sys.executable,
    "-c",
    "from nodedevd.cli.main import main; main(prog_name='nodedevctl')",
)


def line(event: Event) -> str:
    """Return an event as one line: what happened, the name, and the parts that changed."""
    return " ".join([event.event, event.name or "", *(event.parts or ())]).strip()


class Watcher:
    """Is told of every change from the moment it is made.

    Attributes:
        devices: every device as it was last told, by name.
    """

    def __init__(self, socket_path: Path, *, ours: Callable[[str], bool] | None = None) -> None:
        """Begin to watch.

        Args:
            socket_path: The daemon's socket.
            ours: Tells by a device's name whether the test has to do with it; others, which
                somebody else on this machine may change, are not told of.
        """
        self._path = str(socket_path)
        self._ours = ours or (lambda name: True)
        with Client(self._path) as client:
            self._watch = client.watch()
        self.devices: dict[str, Device] = {}
        self._generation = 0
        while (told := self._next()).event != "ready":
            assert told.event == "present"

    def __enter__(self) -> Watcher:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._watch.close()

    def expect(self, *lines: str) -> None:
        """Wait for exactly these events, in this order."""
        told = [line(self._told()) for _ in lines]
        assert told == list(lines), f"told {told}, not {list(lines)}"

    def until(self, condition: Callable[[], bool]) -> list[str]:
        """Wait until a condition on the devices holds; return what was told up to then."""
        lines = []
        while not condition():
            lines.append(line(self._told()))
        return lines

    def status(self) -> Status:
        """Ask the daemon how it is doing."""
        with Client(self._path) as client:
            return client.status()

    def until_status(self, condition: Callable[[Status], bool]) -> None:
        """Ask for the status again and again until it is as wanted."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not condition(status := self.status()):
            assert time.monotonic() < deadline, status

    def _told(self) -> Event:
        while True:
            told = self._next()
            if self._ours(told.name or ""):
                return told

    def _next(self) -> Event:
        told = self._watch.next(PATIENCE_SECONDS)
        assert told is not None, "nothing was told"
        if told.event in ("added", "changed", "removed"):
            assert told.generation > self._generation
            assert (told.name in self.devices) == (told.event != "added")
        self._generation = told.generation
        if told.event == "removed":
            del self.devices[told.name or ""]
        elif told.device is not None:
            self.devices[told.device.name] = told.device
        return told


def scanned(
    *, enter: Sequence[str] = (), environment: Mapping[str, str] | None = None
) -> dict[str, Any]:
    """Return what `nodedevctl --sysroot / show --all` tells, by the names of the devices."""
    done = subprocess.run(
        [*enter, *NODEDEVCTL, "--sysroot", "/", "show", "--all"],
        env={"PYTHONPATH": str(REPOSITORY), **(environment or {})},
        capture_output=True,
        timeout=PATIENCE_SECONDS,
    )
    assert done.returncode == 0, done.stderr
    return {device["name"]: device for device in json.loads(done.stdout)["devices"]}


def shown(socket_path: Path) -> dict[str, Any]:
    """Return what the daemon tells of all devices, by their names."""
    with Client(str(socket_path)) as client:
        devices = json.loads(client.snapshot_json())["devices"]
    return {device["name"]: device for device in devices}
