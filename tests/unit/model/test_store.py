"""Store: the current snapshot, its bounded history, and the order of notifications."""

from __future__ import annotations

import pytest

from nodedevd.kinds.system import System
from nodedevd.model.changes import Added, Change, Changed, Removed, Update
from nodedevd.model.device import Device
from nodedevd.model.snapshot import Snapshot
from nodedevd.model.store import NumberedChange, Store


def device(name: str, driver: str | None = None) -> Device:
    """Return a device."""
    return Device(name, f"/sys/{name}", None, None, name, driver, (System(),), (), None, ())


def publish(store: Store, *changes: Change) -> None:
    """Publish changes, each with a generation of its own."""
    devices = {one.name: one for one in store.snapshot}
    for change in changes:
        devices[change.device.name] = change.device
        if isinstance(change, Removed):
            del devices[change.device.name]
    generation = store.snapshot.generation + len(changes)
    store.publish(Update(Snapshot(devices.values(), generation=generation), changes))


def test_each_change_follows_a_generation_of_its_own() -> None:
    """The history continues behind any generation it knows, up to the current one."""
    store = Store(Snapshot(generation=1))
    added = Added(device("a"))
    changed = Changed(added.device, device("a", "nvidia"))
    removed = Removed(changed.device)
    publish(store, added)
    publish(store, changed, removed)
    assert [store.after(one) for one in range(1, 5)] == [
        NumberedChange(2, added),
        NumberedChange(3, changed),
        NumberedChange(4, removed),
        None,
    ]


@pytest.mark.parametrize("generation", [-1, 0, 1, 5, 1 << 70])
def test_generation_that_the_history_does_not_reach_is_a_key_error(generation: int) -> None:
    """It is too old, or not one of this store."""
    store = Store(Snapshot(generation=1), history=2)
    publish(store, *[Added(device(name)) for name in "abc"])
    assert store.after(2) is not None
    with pytest.raises(KeyError):
        store.after(generation)


def test_observers_run_between_the_new_snapshot_and_the_wakes() -> None:
    """Caches are right before any subscriber runs, whichever subscribed first."""
    store = Store(Snapshot(generation=1))
    calls: list[tuple[str, int]] = []

    def observe(before: Snapshot, update: Update) -> None:
        assert store.snapshot is update.snapshot
        calls.append(("observed", before.generation))

    store.subscribe(lambda: calls.append(("woken", store.snapshot.generation)))
    store.observe(observe)
    publish(store, Added(device("a")))
    assert calls == [("observed", 1), ("woken", 2)]


def test_update_without_changes_wakes_nobody() -> None:
    """Its snapshot is served all the same: its read errors may differ."""
    store = Store(Snapshot(generation=1))
    store.subscribe(lambda: pytest.fail("woken"))
    snapshot = Snapshot(generation=1)
    store.publish(Update(snapshot, ()))
    assert store.snapshot is snapshot


def test_unsubscribed_function_is_not_called() -> None:
    """Also when the call before it unsubscribes it; to unsubscribe twice is a no-op."""
    store = Store(Snapshot(generation=1))
    calls: list[int] = []

    def wake() -> None:
        calls.append(store.snapshot.generation)
        store.unsubscribe(wake)

    store.subscribe(wake)
    assert store.subscriptions == 1
    publish(store, Added(device("a")))
    publish(store, Added(device("b")))
    store.unsubscribe(wake)
    assert (calls, store.subscriptions) == ([2], 0)
