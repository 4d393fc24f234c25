"""The control service in the VM: enabled by its socket, asked by its client."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import pytest

from nodedevd.actions.answers import ControlStatus, Made
from nodedevd.client import Control
from nodedevd.errors import NodedevError
from tests.vm.guest import vm

SOCKET_UNIT, UNIT = "nodedevd-control.socket", "nodedevd-control.service"
AUTOSTART = "nodedevd-control-autostart.service"
SOCKET = Path("/run/nodedevd/org.nodedevd.Control")
STATE = Path("/run/nodedevd/control")
CONFIGURATION = Path("/etc/nodedevd/control.toml")
E = TypeVar("E", bound=NodedevError)


@contextmanager
def enabled() -> Iterator[Control]:
    """Have the service enabled, and a client of it."""
    vm.run("systemctl", "enable", "-q", "--now", SOCKET_UNIT)
    try:
        with Control(timeout_seconds=vm.PATIENCE_SECONDS) as client:
            yield client
    finally:
        vm.run("systemctl", "disable", "-q", "--now", SOCKET_UNIT)
        vm.run("systemctl", "stop", UNIT)


def refused(error: type[E] | tuple[type[E], ...], call: Callable[[], object]) -> E:
    """Return the error of a call that has to be refused with one of these types."""
    with pytest.raises(error) as refusal:
        call()
    return refusal.value


def status() -> ControlStatus:
    """Ask the service for its status, on a connection of its own."""
    with Control(timeout_seconds=vm.PATIENCE_SECONDS) as client:
        return client.get_status()


def made(origin: str | None = None) -> list[Made]:
    """Return whose the mdevs and vGPUs are, of one origin or of all that is not somebody else's."""
    with Control(timeout_seconds=vm.PATIENCE_SECONDS) as client:
        found = client.list().devices
    return [one for one in found if one.origin == origin or (not origin and one.origin != "other")]


def journal() -> list[str]:
    """Return what the journal of changes holds: the numbers of those that have not ended."""
    return sorted(path.stem for path in (STATE / "journal").glob("*.json"))


def kill() -> None:
    """Kill the service, as the kernel does when memory runs out."""
    pid = int(vm.run("systemctl", "show", UNIT, "--property=MainPID", "--value"))
    assert pid
    os.kill(pid, signal.SIGKILL)
    vm.until(lambda: not Path(f"/proc/{pid}/fd").exists(), "for the service to be gone")


def defined() -> dict[tuple[str, str], dict[str, object]]:
    """Return the definitions that mdevctl lists, by parent and uuid."""
    found = {}
    for parents in json.loads(vm.run("mdevctl", "list", "--defined", "--dumpjson")):
        for parent, ones in parents.items():
            for one in ones:
                for uuid, facts in one.items():
                    found[parent, uuid] = facts
    return found


def listed() -> dict[str, tuple[str, str]]:
    """Return the active mdevs that mdevctl lists: parent and type by uuid."""
    found = {}
    for parents in json.loads(vm.run("mdevctl", "list", "--dumpjson")):
        for parent, ones in parents.items():
            for one in ones:
                for uuid, facts in one.items():
                    found[uuid] = (parent, str(facts["mdev_type"]))
    return found


def active() -> dict[str, tuple[str, str]]:
    """Return the mdevs that the kernel has: parent and type by uuid."""
    return {
        path.name: (path.resolve().parent.name, (path / "mdev_type").resolve().name)
        for path in vm.MDEVS.iterdir()
    }


@contextmanager
def configured(text: str) -> Iterator[None]:
    """Have a configuration for the service that starts next."""
    CONFIGURATION.parent.mkdir(exist_ok=True)
    CONFIGURATION.write_text(text)
    try:
        yield
    finally:
        CONFIGURATION.unlink()
