"""Encodings: bytes are made once, and belong to one version of a device."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from nodedevd import formats
from nodedevd.formats import FORMATS
from nodedevd.kinds.pci import Pci
from nodedevd.model.changes import Changed, Removed, Update
from nodedevd.model.device import Device, public
from nodedevd.model.snapshot import Snapshot
from nodedevd.model.store import Store
from nodedevd.server.encodings import Encodings, json_text
from tests.support.hosts import HOSTS, snapshot_of
from tests.support.search import cases
from tests.support.xml import native_xml

CARD = "pci_0000_02_00_0"
MDEV = "mdev_5d4d1f0c_6d5b_45d5_9a64_3c6f0a3d1e01"


def numbered(host: str, *, generation: int = 1) -> Snapshot:
    """Return the snapshot of a sample host, with a generation."""
    return Snapshot(snapshot_of(host), generation=generation)


def encodings_of(host: str) -> Encodings:
    """Return the encodings of a sample host."""
    return Encodings(Store(numbered(host)))


def changed(snapshot: Snapshot, name: str, **fields: object) -> Update:
    """Return the update to the next generation, in which one device has other fields."""
    before = snapshot.lookup(name)
    after = msgspec.structs.replace(before, **fields)
    devices = [after if device is before else device for device in snapshot]
    changes = (Changed(before, after),)
    return Update(Snapshot(devices, generation=snapshot.generation + 1), changes)


def device(encodings: Encodings, name: str) -> Device:
    """Return a device of the current snapshot."""
    return encodings.store.snapshot.lookup(name)


@pytest.mark.parametrize("host", cases(HOSTS))
def test_json_is_that_of_the_device(host: str) -> None:
    """Every device of a host is encoded as msgspec does it, and decodes to the same value."""
    encodings = encodings_of(host)
    for one in encodings.store.snapshot:
        assert msgspec.json.decode(encodings.json(one), type=Device) == one


@pytest.mark.parametrize("host", cases(HOSTS))
def test_xml_is_the_text_of_the_format_in_a_json_string(host: str) -> None:
    """In quotes it is a JSON string of exactly the XML, alone or as a piece of a document."""
    encodings = encodings_of(host)
    snapshot = encodings.store.snapshot
    for one in snapshot:
        alone = msgspec.json.decode(b'"%b"' % encodings.json_xml(one), type=str)
        piece = encodings.json_piece(one, snapshot, form="nodedevd")
        assert alone == native_xml(one)
        assert msgspec.json.decode(b'"%b"' % piece, type=str) == native_xml(one, depth=1)


def test_bytes_are_made_once() -> None:
    """The second request returns the same objects."""
    encodings = encodings_of("vgpu-pf")
    snapshot, card = encodings.store.snapshot, device(encodings, CARD)
    assert encodings.json(card) is encodings.json(card)
    assert encodings.entry(card) is encodings.entry(card)
    shared = encodings.shared_xml(card, form="nodedevd")
    assert encodings.shared_xml(card, form="nodedevd") is shared
    assert encodings.json_piece(card, snapshot, form="nodedevd") != encodings.json_xml(card)
    assert encodings.shared_xml(card, form="nodedevd") is shared
    assert encodings.document(card, form="nodedevd") is shared


@example("a\n  b")
@example("\n  ")
@example("\\n  ")
@example("\\")
@example("\x7f\n")
@given(st.text(alphabet='\x7fab \\n\\t"<\\\\\x00é\u2028'))
def test_piece_has_every_text_as_its_document_has_it(driver: str) -> None:
    """Also where a text has newlines and blanks as the layout has."""
    [card] = [one for one in snapshot_of("vgpu-pf") if one.name == CARD]
    snapshot = Snapshot([msgspec.structs.replace(card, driver=driver)])
    encodings = Encodings(Store(snapshot))
    card = device(encodings, CARD)
    piece = encodings.json_piece(card, snapshot, form="nodedevd")
    assert msgspec.json.decode(b'"%b"' % piece, type=str) == native_xml(card, depth=1)
    assert encodings.document(card, form="nodedevd") == native_xml(card).encode()
    alone = encodings.json_xml(card)
    assert msgspec.json.decode(b'"%b"' % alone, type=str) == native_xml(card)


def test_update_keeps_the_bytes_of_devices_that_stayed_the_same() -> None:
    """A device that an update left alone keeps its bytes; a changed one gets new bytes."""
    encodings = encodings_of("vgpu-pf")
    store = encodings.store
    before = {one.name: encodings.json(one) for one in store.snapshot}
    store.publish(changed(store.snapshot, CARD, driver="vfio-pci"))
    assert store.snapshot.generation == 2
    for one in store.snapshot:
        assert (encodings.json(one) is before[one.name]) == (one.name != CARD)
    assert b'"driver":"vfio-pci"' in encodings.json(device(encodings, CARD))


def test_subscriber_that_is_woken_gets_no_stale_bytes() -> None:
    """The cache is right before any watcher runs, here for a parent that is no longer shown."""
    encodings = encodings_of("vgpu-pf")
    store, card = encodings.store, device(encodings, CARD)
    hidden = [
        msgspec.structs.replace(one, class_code=None) if isinstance(one, Pci) else one
        for one in card.capabilities
    ]
    seen = []

    def document() -> str:
        return encodings.document(device(encodings, MDEV), form="libvirt").decode()

    store.subscribe(lambda: seen.append(document()))
    assert f"<parent>{CARD}</parent>" in document()
    store.publish(changed(store.snapshot, CARD, capabilities=tuple(hidden)))
    assert "<parent>pci_0000_00_02_0</parent>" in seen[0]


def test_device_of_an_older_snapshot_is_still_encoded_as_it_was() -> None:
    """A stream that continues over an update sends the old bytes, and the cache stays right."""
    encodings = encodings_of("vgpu-pf")
    store, old = encodings.store, device(encodings, CARD)
    store.publish(changed(store.snapshot, CARD, driver="vfio-pci"))
    assert b'"driver":"nvidia"' in encodings.json(old)
    assert b'"driver":"vfio-pci"' in encodings.json(device(encodings, CARD))
    assert b'"driver":"nvidia"' in encodings.json(old)


def test_removed_device_leaves_nothing_in_the_cache() -> None:
    """The cache is bounded by the snapshot, also while an older one is being sent."""
    encodings = encodings_of("vgpu-pf")
    old = encodings.store.snapshot
    for one in old:
        encodings.json(one)
    computer = device(encodings, "computer")
    removed = tuple([Removed(one) for one in old if one is not computer])
    generation = 1 + len(removed)
    encodings.store.publish(Update(Snapshot([computer], generation=generation), removed))
    assert list(encodings._encoded) == ["computer"]
    for one in old:
        encodings.json(one)
        encodings.json_xml(one)
    assert list(encodings._encoded) == ["computer"]


@pytest.mark.parametrize(
    "text", ["", "plain", 'a "quote"', "a\\nb", "line\nfeed", "\x1b\x00", "日本"]
)
def test_json_text_is_the_inside_of_a_string(text: str) -> None:
    """In quotes it decodes to the text."""
    assert msgspec.json.decode(b'"%b"' % json_text(text)) == text


@pytest.mark.parametrize("host", ["vgpu-sriov", "samples"])
def test_text_is_that_of_the_format_and_made_once_a_version(host: str) -> None:
    """A protocol that carries XML as it is gets the same text, from what is kept for JSON."""
    encodings = encodings_of(host)
    snapshot = encodings.store.snapshot
    for one in formats.select(snapshot, None, "libvirt"):
        text = encodings.document(one, form="libvirt")
        assert text.decode() == formats.device_xml(one, snapshot, "libvirt")
        assert encodings.document(one, form="libvirt") == text
        kept = [encodings.shared_xml(one, form="libvirt") for _ in range(2)]
        assert kept[0] is kept[1]


@pytest.mark.parametrize("host", cases(HOSTS))
def test_public_encodings_have_nothing_that_sysfs_shows_to_root_alone(host: str) -> None:
    """All else is the same; a value that is left out is unknown, with a fault that says why."""
    store = Store(numbered(host))
    whole, rest = Encodings(store), Encodings(store, only_public=True)
    for one in store.snapshot:
        shown = msgspec.json.decode(rest.json(one), type=Device)
        assert public(shown) == shown
        for form in FORMATS:
            assert (rest.placed(one, form=form) is None) == (whole.placed(one, form=form) is None)
        if public(one) is one:
            assert rest.json(one) == whole.json(one)
            assert all(
                rest.document(one, form=form) == whole.document(one, form=form)
                for form in FORMATS
                if whole.placed(one, form=form) is not None
            )
        else:
            assert {fault.code for fault in set(shown.errors) - set(one.errors)} == {"refused"}
            assert rest.json(one) != whole.json(one)


def test_host_keeps_its_serial_number_and_a_card_its_vital_product_data() -> None:
    """In JSON, XML, a piece of a document, and in a document of an older snapshot."""
    store = Store(numbered("server-storage-fc"))
    rest = Encodings(store, only_public=True)
    before = store.snapshot
    texts = []
    for _ in range(2):
        for name in ("computer", "pci_0000_01_00_0"):
            one = before.lookup(name)
            texts += [rest.json(one), rest.entry(one)]
            for form in FORMATS:
                texts += [
                    rest.json_xml(one, form=form),
                    rest.document(one, form=form),
                    rest.json_piece(one, before, form=form),
                ]
        store.publish(changed(store.snapshot, "computer", errors=()))
        store.publish(changed(store.snapshot, "pci_0000_01_00_0", parent="computer"))
    whole = b"".join(texts)
    for secret in (b"EX0000011", b"2d4f6a80", b"EXRFD0001", b"EX-ASSET-7"):
        assert secret not in whole
