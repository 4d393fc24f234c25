"""The registry of capability kinds is complete: a kind that is forgotten somewhere fails here."""

from __future__ import annotations

import importlib
import json
import pkgutil
from pathlib import Path
from typing import get_args

import pytest
from lxml import etree

import nodedevd
from nodedevd import kinds
from nodedevd.capability_words import CAPABILITY_WORDS
from nodedevd.kinds import KIND_OF, KINDS, LIBVIRT_FORMS, WORDS, AnyCapability
from nodedevd.kinds.base import Capability, Kind
from tests.support.golden import DIRECTORY
from tests.support.running import REPOSITORY
from tests.support.xml import SCHEMA

ROOT = REPOSITORY
NAMES = [kind.name for kind in KINDS]
MODULES = sorted(
    module.name
    for module in pkgutil.iter_modules(kinds.__path__)
    if module.name not in ("base", "shared")
)


def test_every_module_is_a_kind_in_the_registry() -> None:
    """A file in the package is named as its kind, and listed."""
    assert sorted(NAMES) == MODULES
    for name in MODULES:
        module = importlib.import_module(f"nodedevd.kinds.{name}")
        assert module.KIND in KINDS
        assert module.KIND.name == name


def test_union_and_tuple_hold_the_same_kinds_in_one_order() -> None:
    """JSON decodes the kinds that the registry reads and writes."""
    assert get_args(AnyCapability) == tuple(kind.capability for kind in KINDS)
    assert [KIND_OF[kind.capability].name for kind in KINDS] == NAMES


def test_words_are_unique_and_lead_to_their_kind() -> None:
    """No word of a filter means two kinds."""
    words = [word for kind in KINDS for word in (*kind.words, *kind.nested)]
    assert len(words) == len(set(words)) == len(WORDS)
    assert tuple(WORDS) == CAPABILITY_WORDS
    for kind in KINDS:
        assert {WORDS[word] for word in kind.words} == {kind.name}


@pytest.mark.parametrize("kind", KINDS, ids=NAMES)
def test_capability_is_a_frozen_value(kind: Kind[Capability]) -> None:
    """Values cross threads, so they must not change."""
    config = kind.capability.__struct_config__
    assert (config.frozen, config.gc, config.tag_field) == (True, False, "type")


@pytest.mark.parametrize("name", NAMES)
def test_kind_tells_what_it_reads(name: str) -> None:
    """The docstring has what is read, and the ABI that documents it."""
    doc = importlib.import_module(f"nodedevd.kinds.{name}").__doc__ or ""
    assert doc.startswith(f"{name}: ")
    assert "\nReads  " in doc
    assert "\nABI    " in doc


@pytest.mark.parametrize("name", NAMES)
def test_kind_has_its_tests(name: str) -> None:
    """Each has a test module of its own."""
    path = ROOT / "tests" / "unit" / "kinds" / f"test_{name}.py"
    assert path.exists(), f"write {path.relative_to(ROOT)}"


@pytest.mark.parametrize("name", NAMES)
def test_kind_occurs_in_a_sample_host(name: str) -> None:
    """Each is seen in the golden of some host."""
    goldens = sorted(DIRECTORY.glob("*/devices.json"))
    assert goldens
    types = {
        capability["type"]
        for path in goldens
        for device in json.loads(path.read_text(encoding="utf-8"))["devices"]
        for capability in device["capabilities"]
    }
    assert name in types, f"no sample host has a {name}: see docs/fixtures.md"


@pytest.mark.parametrize("name", NAMES)
def test_kind_is_described(name: str) -> None:
    """Each has a section in docs/xml.md and a definition in the schema."""
    text = (ROOT / "docs" / "xml.md").read_text(encoding="utf-8")
    assert f"\n## `{name}`\n" in text, f"describe {name} in docs/xml.md"
    namespaces = {"rng": "http://relaxng.org/ns/structure/1.0"}
    defined = etree.parse(str(SCHEMA)).xpath(
        f"//rng:define[@name='{name}']/rng:element[@name='capability']"
        f"/rng:attribute[@name='type']/rng:value[.='{name}']",
        namespaces=namespaces,
    )
    assert isinstance(defined, list)
    assert len(defined) == 1, (
        f"define {name} in {SCHEMA.relative_to(Path(nodedevd.__file__).parent)}"
    )


def test_libvirts_kinds_have_libvirts_bits() -> None:
    """The words stand in the order of VIR_CONNECT_LIST_NODE_DEVICES_CAP_… of libvirt 11.3."""
    forms = LIBVIRT_FORMS.values()
    bits = [(form.bit, form.type) for form in forms]
    bits += [(bit, word) for form in forms for word, bit in form.nested_bits.items()]
    words = (
        *("system", "pci", "usb_device", "usb", "net", "scsi_host", "scsi_target", "scsi"),
        *("storage", "fc_host", "vports", "scsi_generic", "drm", "mdev_types", "mdev", "ccw"),
        *("css", "vdpa", "ap_card", "ap_queue", "ap_matrix", "vpd", "ccwgroup", "ccwgroup_member"),
    )
    assert sorted(bits) == list(enumerate(words))
    for kind in KINDS:
        if kind.libvirt is not None:
            assert kind.libvirt.nested_bits.keys() <= kind.nested.keys()
