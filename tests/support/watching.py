"""A watcher: applies the events of a watch to a mirror of the devices."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

from nodedevd.model.device import Device
from nodedevd.server.varlink.answers import NO_REPLY
from nodedevd.server.varlink.watch import WatchStream


class Mirror:
    """The devices as a client knows them that asked for their JSON.

    What contradicts what it was told before fails the test.
    """

    def __init__(self) -> None:
        self.devices: dict[str, Device] = {}
        self.generation = 0
        self.ready = False
        self.resyncs = 0
        self.events: list[tuple[str, str]] = []
        """what was told after `ready`, and the name"""

    def take(self, watch: WatchStream) -> Iterator[int]:
        """Apply all replies that there are now; yield the generation after each."""
        while (chunk := watch.next()) is not None:
            if chunk is NO_REPLY:
                continue
            self.apply(msgspec.json.decode(chunk.parameters))
            if self.ready:
                yield self.generation

    def apply(self, reply: dict[str, Any]) -> None:
        """Apply one reply."""
        event, generation = reply["event"], reply["generation"]
        if event == "resync":
            self.devices = {}
            self.ready = False
            self.resyncs += 1
        elif event == "ready":
            self.ready = True
        elif event == "present":
            assert not self.ready
            self._put(reply)
        else:
            assert self.ready
            assert generation > self.generation
            self.events.append((event, reply["name"]))
            if event == "removed":
                name = reply["name"]
                del self.devices[name]
                assert all(device.parent != name for device in self.devices.values())
            else:
                assert (reply["name"] in self.devices) == (event == "changed")
                assert bool(reply.get("parts")) == (event == "changed")
                self._put(reply)
        self.generation = generation

    def _put(self, reply: dict[str, Any]) -> None:
        device = msgspec.convert(reply["device"], Device)
        assert device.name == reply["name"]
        assert device.parent is None or device.parent in self.devices
        self.devices[device.name] = device
