"""One thing has one name, and one shape, in the JSON of all commands."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from nodedevd.cli.schema import COMMANDS, json_schema

OTHER_MEANINGS = {
    "before": "what a step replaces: a text, or a number of virtual functions",
    "bus": "libvirt's name: the kind of a disk's bus, and the channel of a SCSI unit",
    "capabilities": "their types in brief, themselves in full",
    "cards": "those with room for a type or a layout, and the names of those of a change",
    "definition": "of an mdev; as text, the input of mdevctl's callouts; whether it differs",
    "device": "the device of an event, the name of a device in a fault or a finding",
    "errors": "faults, and in a status faults with the names of their devices",
    "layout": "how a card compares with its file, and in a status the numbers of such cards",
    "product": "an id with a name, and the text of DMI",
    "speed": "libvirt's and the kernel's name: of PCI Express, of a network link, of InfiniBand",
    "target": "of SCSI: the number, and the name",
    "types": "those that a parent offers, and those of a card with its room",
    "value": "the text that is written to an attribute, and the number of a metric",
    "vendor": "an id with a name, and the text of DMI or of a disk",
}
"""Names whose values have several forms, with the reason; `devices` has devices in any detail."""

VOCABULARY = {
    "active": "integer",
    "available": "integer",
    "card": "string",
    "ceiling": "integer",
    "device_api": "string",
    "generation": "integer",
    "iommu_group": "integer",
    "mdevs": "[string]",
    "name": "string",
    "parent": "string",
    "path": "string",
    "pci_function": "string",
    "sure": "integer",
    "type": "string",
    "type_name": "string",
    "uuid": "string",
    "vfio_device": "VfioDevice",
}
"""The form of the values of shared names."""

SYNONYMS = {
    "available_instances": "available",
    "active_instances": "active",
    "certain": "sure",
    "children": "mdevs",
    "device_name": "name",
    "places": "functions",
    "profile": "type",
    "type_id": "type",
    "vfio_node": "vfio_device",
}
"""Other names of the same things, that no type may have."""

WITHOUT_GENERATION = {"Report", "Recorded", "LayoutCheck"}
"""Answers about what the command itself scanned, or read."""


def shape(schema: Mapping[str, Any]) -> str:
    """Return the form of a value, whether it can be null or not."""
    if "$ref" in schema:
        return str(schema["$ref"].rpartition("/")[2])
    if "anyOf" in schema:
        return " or ".join(sorted({shape(one) for one in schema["anyOf"]} - {"null"}))
    if "enum" in schema or "const" in schema:
        return "string"
    if schema.get("type") == "array":
        return f"[{shape(schema['items'])}]" if "items" in schema else "[]"
    return str(schema.get("type", "any"))


@pytest.fixture(scope="module")
def types() -> dict[str, dict[str, Any]]:
    """Return the definitions of the schema that have members, by name."""
    definitions: dict[str, dict[str, Any]] = json_schema()["$defs"]
    return {name: one for name, one in definitions.items() if "properties" in one}


@pytest.fixture(scope="module")
def shapes(types: dict[str, dict[str, Any]]) -> dict[str, dict[str, set[str]]]:
    """Return the forms of the values of each name, with the types that have them."""
    found: dict[str, dict[str, set[str]]] = {}
    for struct, definition in types.items():
        for name, schema in definition["properties"].items():
            found.setdefault(name, {}).setdefault(shape(schema), set()).add(struct)
    return found


def test_every_name_has_values_of_one_form(shapes: dict[str, dict[str, set[str]]]) -> None:
    """Wherever a name occurs, its values have the same form."""
    several = {name: forms for name, forms in shapes.items() if len(forms) > 1}
    assert several.pop("devices").keys() == {"[Device]", "[Entry]", "[Made]", "[Resolved]", "[Use]"}
    assert several.keys() == OTHER_MEANINGS.keys(), several


def test_shared_names_have_the_form_of_the_vocabulary(
    shapes: dict[str, dict[str, set[str]]],
) -> None:
    """A name of the vocabulary means the same everywhere."""
    assert {name: list(shapes[name]) for name in VOCABULARY} == {
        name: [form] for name, form in VOCABULARY.items()
    }


def test_no_type_has_another_name_for_the_same(types: dict[str, dict[str, Any]]) -> None:
    """Ids are those of hardware; a device, a type and its counts have their one name."""
    for struct, definition in types.items():
        names = definition["properties"].keys()
        assert not names & SYNONYMS.keys(), struct
        assert "id" not in names or struct == "HardwareId"
        assert ("type_name" in names) <= ("type" in names)


def test_devices_have_the_same_names_in_brief_and_in_full(types: dict[str, dict[str, Any]]) -> None:
    """What is in several of them is called the same, and means the same state."""
    for struct in ("Device", "Entry", "Resolved", "Event"):
        names = types[struct]["properties"]
        assert names.keys() >= {"name", "parent", "path", "capabilities", "state"}
        states = names["state"]
        enum = states.get("enum") or states["anyOf"][0]["enum"]
        assert sorted(enum) == ["active", "inactive", "removing"]


@pytest.mark.parametrize("command", COMMANDS)
def test_every_answer_has_its_generation_and_its_devices(command: str) -> None:
    """Several devices and one have one shape, in every command."""
    schema = json_schema(command)
    [reference] = schema["anyOf"]
    name = shape(reference)
    properties = schema["$defs"][name]["properties"]
    assert ("generation" in properties) is (name not in WITHOUT_GENERATION)
    if command in ("list", "tree", "show", "resolve", "in-use", "wait"):
        assert properties["devices"]["type"] == "array"
