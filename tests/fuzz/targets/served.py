"""A small store, as both protocols serve it in the targets of conversations."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Coroutine, Iterable
from typing import Any, cast

from msgspec.structs import replace

from nodedevd.model.changes import Changed, Update
from nodedevd.model.device import Device
from nodedevd.model.snapshot import Snapshot
from nodedevd.model.store import Store
from nodedevd.server.conversation import Conversation
from tests.support.hosts import snapshot_of

HOST = "vgpu-pf"
CARD = "pci_0000_02_00_0"
MDEV = "mdev_5d4d1f0c_6d5b_45d5_9a64_3c6f0a3d1e01"


class Fresh:
    """Freshness of a host on which nothing is ever too old."""

    def refresh(self, devices: Iterable[Device]) -> Awaitable[None] | None:
        """Return None."""
        return None

    def fresh_until(self, device: Device) -> float:
        """Return infinity."""
        return math.inf


def new_store() -> Store:
    """Return a store of the sample host, with a history that is soon too short."""
    return Store(Snapshot(snapshot_of(HOST), generation=1), history=8)


def publish_change(store: Store) -> None:
    """Publish that the card has another driver."""
    before = store.snapshot.lookup(CARD)
    after = replace(before, driver="other" if before.driver != "other" else "nvidia")
    devices = [after if one is before else one for one in store.snapshot]
    snapshot = Snapshot(devices, generation=store.snapshot.generation + 1)
    store.publish(Update(snapshot, (Changed(before, after),)))


def give_result(answer: Awaitable[Any], conversation: Conversation[Any]) -> None:
    """Run an awaitable, which waits for nothing, and give the conversation what it returns."""
    try:
        cast(Coroutine[Any, Any, Any], answer).send(None)
    except StopIteration as end:
        conversation.answered(end.value)
    except Exception as error:
        conversation.failed(error)
    else:
        raise AssertionError("an answer waits, though nothing has to be read")
