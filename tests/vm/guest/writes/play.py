"""Plays the script on one daemon by one client, and notes what came of each call."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import libvirt

from nodedevd.names import sanitise
from tests.vm.guest import control, vm
from tests.vm.guest.writes.calls import ACTIVE, INACTIVE, MDEVS, Client
from tests.vm.guest.writes.records import DIED, HANGS, Answer, Call, Noted, described
from tests.vm.guest.writes.virsh import client_version

OURS = ("mdev_", "mtty_")
FENCE = "net_fence2_52_54_00_00_00_fd"
QUIET_SECONDS = 1.0
"""For so long nothing is reported after a change before it counts as over. libvirtd follows devices
and definitions by threads of their own, so a fence in one says nothing of the other."""
READS = ("list", "info", "dumpxml")
AGREEMENT_SECONDS = 60.0
"""After so long what a daemon still shows otherwise than the kernel is noted."""
HANG_SECONDS = 150.0
"""After so long a daemon that answers neither the call nor a list is killed."""


class Listener:
    """Told of every change by a daemon: of both kinds of events, on one connection, in order."""

    def __init__(self, uri: str) -> None:
        vm.run_event_loop()
        self.connection = libvirt.open(uri)
        self._events: list[tuple[str, str]] = []
        self._told = threading.Condition()
        for event_id, callback in (
            (libvirt.VIR_NODE_DEVICE_EVENT_ID_LIFECYCLE, self._on_lifecycle),
            (libvirt.VIR_NODE_DEVICE_EVENT_ID_UPDATE, self._on_update),
        ):
            self.connection.nodeDeviceEventRegisterAny(None, event_id, callback, None)

    def _on_lifecycle(self, _: object, device: Any, event: int, *__: object) -> None:
        self._take(vm.WORDS[event], device.name())

    def _on_update(self, _: object, device: Any, *__: object) -> None:
        self._take("updated", device.name())

    def _take(self, event: str, name: str) -> None:
        with self._told:
            self._events.append((event, name))
            self._told.notify_all()

    def fence(self, quiet_seconds: float) -> None:
        """Wait until what has happened is told, and nothing more comes for a while."""
        self._pass("created", "add fence2 address 52:54:00:00:00:fd type dummy")
        self._pass("deleted", "del fence2")
        with self._told:
            while self._told.wait(quiet_seconds):
                pass

    def _pass(self, event: str, words: str) -> None:
        """Change the interface, and wait until that is told."""
        with self._told:
            since = len(self._events)
        vm.run("ip", "link", *words.split())
        with self._told:
            told = self._told.wait_for(
                lambda: (event, FENCE) in self._events[since:], vm.PATIENCE_SECONDS
            )
            assert told, f"no {event} {FENCE}"

    def taken(self) -> list[tuple[str, str]]:
        """Return the events of mdevs and their parent since the last time."""
        with self._told:
            events, self._events = self._events, []
        return [(event, name) for event, name in events if name.startswith(OURS)]

    def names(self, flags: int) -> set[str]:
        """Return the names of the mdevs that a list has."""
        return {one.name() for one in self.connection.listAllDevices(flags | MDEVS)}

    def close(self) -> None:
        """End the connection."""
        self.connection.close()


class Player:
    """Plays the script; `noted` has what came of each call.

    A daemon that ends meanwhile is started again, and what comes of the call that it did not
    survive is `DIED`. One that hangs is killed first, and it is `HANGS`.
    """

    def __init__(
        self,
        uri: str,
        connect: Callable[[str], Client],
        say: Callable[[str], None],
        kill: Callable[[], object],
        restart: Callable[[], None],
    ) -> None:
        self.version = client_version()
        self.noted: list[Noted] = []
        self._uri, self._connect, self._kill, self._restart = uri, connect, kill, restart
        self._client = connect(uri)
        self._listener = Listener(uri)
        self._say = say
        self._section = ""
        self._files = files()
        self._active = set(control.active())

    def section(self, title: str) -> None:
        """Begin anew: no mdevs, no definitions."""
        self._section = title
        vm.remove_mdevs()
        for definition in vm.DEFINITIONS.glob("*/*-*"):
            definition.unlink()
        self._settle()
        self._listener.taken()
        self._files, self._active = files(), set(control.active())

    def ask(self, call: Call) -> None:
        """Make a call, and note all that comes of it.

        A daemon that did not survive it is asked once more, so that the next calls find the same.
        """
        start = time.monotonic()
        answer, astray = self._asked(call)
        if astray in ([HANGS], [DIED]):
            self._revive()
            if (again := self._asked(call))[1] in ([HANGS], [DIED]):
                self._revive()
            else:
                answer, astray = again[0], [*astray, *again[1]]
        took = time.monotonic() - start
        now, active = files(), set(control.active())
        texts = {
            path: now.get(path)
            for path in sorted(now.keys() | self._files.keys())
            if now.get(path) != self._files.get(path)
        }
        moved = [f"+{one}" for one in active - self._active]
        moved += [f"-{one}" for one in self._active - active]
        events = self._listener.taken()
        text = described(self._section, call)
        self.noted.append(Noted(text, answer, events, texts, sorted(moved), astray))
        self._files, self._active = now, active
        self._say(f"{text}\n    {answer} {took:.2f} s {events} {texts or ''} {moved} {astray}")

    def _asked(self, call: Call) -> tuple[Answer, list[str]]:
        """Return what a client makes of a call, and what the daemon shows wrongly after it."""
        with self._killed_if_it_hangs() as killed:
            answer = self._client.ask(call)
            if call.verb in READS:
                return answer, []
            # What failed and has changed nothing is not waited for: were there an event of it, it
            # would be noted with the next call that is.
            changed = (files(), set(control.active())) != (self._files, self._active)
            try:
                return answer, self._settle() if changed or not answer.status else self._astray()
            except (libvirt.libvirtError, AssertionError):
                if self._listener.connection.isAlive():
                    raise
                return answer, [HANGS if killed.is_set() else DIED]

    @contextmanager
    def _killed_if_it_hangs(self) -> Iterator[threading.Event]:
        """Kill the daemon if this takes too long; the event is set then."""
        killed = threading.Event()

        def kill() -> None:
            killed.set()
            self._kill()

        timer = threading.Timer(HANG_SECONDS, kill)
        timer.start()
        try:
            yield killed
        finally:
            timer.cancel()

    @contextmanager
    def held(self, one: str, *, only_group: bool) -> Iterator[None]:
        """Have an mdev open, as a virtual machine has, or its IOMMU group alone."""
        if not only_group:
            with vm.opened(one):
                yield
            return
        group = (vm.MDEVS / one / "iommu_group").resolve().name
        opened = os.open(f"/dev/vfio/{group}", os.O_RDWR)
        try:
            yield
        finally:
            os.close(opened)

    def fill(self) -> None:
        """Create mdevs behind the daemon's back until there is no room."""
        for number in range(vm.kernel_available("mtty")["mtty-1"] or 0):
            vm.create("mtty", f"83b8f4f2-509f-382f-3c1e-e6bfe0fb{number:04x}", "mtty-1")
        self._settle()
        self._listener.taken()
        self._active = set(control.active())

    def outside(self, *command: str) -> None:
        """Run another program that changes the host, and wait until the daemon shows it."""
        vm.run(*command)
        self._settle()
        self._listener.taken()
        self._files, self._active = files(), set(control.active())

    def close(self) -> None:
        """End the connection."""
        self._listener.close()

    def _revive(self) -> None:
        """Start the daemon that has ended, and connect to it."""
        self._listener.close()
        self._restart()
        self._client = self._connect(self._uri)
        self._listener = Listener(self._uri)
        self._settle()
        self._listener.taken()

    def _settle(self) -> list[str]:
        """Wait until the daemon shows what is so; return in what it does not."""
        vm.settle()
        deadline = time.monotonic() + AGREEMENT_SECONDS
        while (astray := self._astray()) and time.monotonic() < deadline:
            time.sleep(0.05)
        self._listener.fence(QUIET_SECONDS)
        return astray

    def _astray(self) -> list[str]:
        active = {vm.libvirt_name(one, parent) for one, (parent, _) in control.active().items()}
        defined = {
            vm.libvirt_name(uuid, sanitise(parent))
            for parent, uuid in (path.split("/") for path in files())
        }
        wanted = {"active": active, "inactive": defined - active}
        shown = {
            "active": self._listener.names(ACTIVE),
            "inactive": self._listener.names(INACTIVE),
        }
        return sorted(
            f"{'+' if name in shown[state] else '-'}{state} {name}"
            for state, names in wanted.items()
            for name in names ^ shown[state]
        )


def files() -> dict[str, str]:
    """Return the text of each of mdevctl's definitions, by its path."""
    found = {}
    for path in vm.DEFINITIONS.glob("[!.]*/*"):
        if path.parent.name != "scripts.d" and path.is_file():
            found[str(path.relative_to(vm.DEFINITIONS))] = path.read_text()
    return found
