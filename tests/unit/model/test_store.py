"""The store: encoded bytes are made once, and belong to one version of a device."""

from __future__ import annotations

import msgspec
import pytest

from nodedevd import formats
from nodedevd.model.changes import Changed, Removed
from nodedevd.model.device import Device
from nodedevd.model.snapshot import Snapshot
from nodedevd.model.store import Store, json_text
from nodedevd.tree.graft import Update
from tests.support.hosts import HOSTS, snapshot_of
from tests.support.xml import native_xml

CARD = "pci_0000_02_00_0"


def changed(snapshot: Snapshot, name: str, **fields: object) -> Update:
    """Return the update to the next generation, in which one device is another."""
    before = snapshot.lookup(name)
    after = msgspec.structs.replace(before, **fields)
    devices = [after if device is before else device for device in snapshot]
    changes = (Changed(before, after),)
    return Update(Snapshot(devices, generation=snapshot.generation + 1), changes)


def device(store: Store, name: str) -> Device:
    """Return a device of the current snapshot."""
    return store.snapshot.lookup(name)


@pytest.mark.parametrize("host", HOSTS)
def test_json_is_that_of_the_device(host: str) -> None:
    """Every device of a host is encoded as msgspec does it, and reads back the same."""
    store = Store(snapshot_of(host))
    for one in store.snapshot:
        assert msgspec.json.decode(store.json(one), type=Device) == one


@pytest.mark.parametrize("host", HOSTS)
@pytest.mark.parametrize("depth", [0, 1])
def test_xml_is_the_text_of_the_dialect_in_a_json_string(host: str, depth: int) -> None:
    """In quotes it is a JSON string of exactly the XML at that depth."""
    store = Store(snapshot_of(host))
    for one in store.snapshot:
        text = msgspec.json.decode(b'"%b"' % store.xml(one, within=depth == 1), type=str)
        assert text == native_xml(one, depth=depth)


def test_bytes_are_made_once() -> None:
    """Asked again, the store returns the very same objects."""
    store = Store(snapshot_of("vgpu-pf"))
    card = device(store, CARD)
    assert store.json(card) is store.json(card)
    assert store.xml(card, within=True) is store.xml(card, within=True)
    assert store.text(card, form="nodedevd") is store.text(card, form="nodedevd")
    assert store.xml(card, within=True) != store.xml(card)


def test_publish_keeps_the_bytes_of_devices_that_stayed_the_same() -> None:
    """A device that an update left alone keeps its bytes; a changed one gets new ones."""
    store = Store(snapshot_of("vgpu-pf"))
    first = store.snapshot
    before = {one.name: store.json(one) for one in first}
    store.publish(changed(first, CARD, driver="vfio-pci"))
    assert store.snapshot.generation == 2
    for one in store.snapshot:
        assert (store.json(one) is before[one.name]) == (one.name != CARD)
    assert b'"driver":"vfio-pci"' in store.json(device(store, CARD))


def test_device_of_an_older_snapshot_is_still_encoded_as_it_was() -> None:
    """A stream that goes on over an update sends what it began with, and spoils nothing."""
    store = Store(snapshot_of("vgpu-pf"))
    old = device(store, CARD)
    store.publish(changed(store.snapshot, CARD, driver="vfio-pci"))
    assert b'"driver":"nvidia"' in store.json(old)
    assert b'"driver":"vfio-pci"' in store.json(device(store, CARD))
    assert b'"driver":"nvidia"' in store.json(old)


def test_device_that_is_gone_leaves_nothing_in_the_store() -> None:
    """What is kept is bounded by the snapshot, also while an older one is being sent."""
    store = Store(snapshot_of("vgpu-pf"))
    old = store.snapshot
    for one in old:
        store.json(one)
    computer = device(store, "computer")
    gone = tuple([Removed(one) for one in old if one is not computer])
    store.publish(Update(Snapshot([computer], generation=1 + len(gone)), gone))
    for one in old:
        store.json(one)
        store.xml(one)
    assert list(store._encoded) == ["computer"]


@pytest.mark.parametrize(
    "text", ["", "plain", 'a "quote"', "a\\nb", "line\nfeed", "\x1b\x00", "日本"]
)
def test_json_text_is_the_inside_of_a_string(text: str) -> None:
    """In quotes it decodes to the text."""
    assert msgspec.json.decode(b'"%b"' % json_text(text)) == text


@pytest.mark.parametrize("host", ["vgpu-sriov", "samples"])
def test_text_is_that_of_the_format_and_made_once_a_version(host: str) -> None:
    """A protocol that carries XML as it is gets the same text, from the same object."""
    snapshot = snapshot_of(host)
    store = Store(snapshot)
    for device in formats.select(snapshot, None, "libvirt"):
        text = store.text(device, form="libvirt")
        assert text == formats.device_xml(device, snapshot, "libvirt")
        assert store.text(device, form="libvirt") is text
