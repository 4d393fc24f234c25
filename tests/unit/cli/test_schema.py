"""The JSON Schema, checked against all JSON that the commands print."""

from __future__ import annotations

import json
from functools import cache
from typing import Any

import msgspec
import pytest
from click.testing import CliRunner
from jsonschema_rs import Draft202012Validator, ValidationError, meta

from nodedevd.cli.embedded import Embedded
from nodedevd.cli.fleet.commands import COMMANDS as COMMANDS_OF_FLEETS
from nodedevd.cli.main import main
from nodedevd.cli.schema import (
    COMMANDS,
    FLEET_COMMANDS,
    VERSION,
    fleet_types,
    json_schema,
    printed_types,
)
from nodedevd.kinds import KINDS
from nodedevd.model.device import Device
from nodedevd.model.listing import Devices
from tests.support.ctl import every_command
from tests.support.hosts import HOSTS, host_file
from tests.support.search import cases


def printed(*arguments: str) -> Any:
    """Return the decoded JSON that a command prints."""
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


@cache
def validator() -> Draft202012Validator:
    """Return a validator for the schema that `nodedevctl schema` prints."""
    schema = printed("schema")
    meta.validate(schema)
    return Draft202012Validator(schema, validate_formats=True)


@cache
def validator_of(name: str) -> Draft202012Validator:
    """Return a validator for one definition of the schema."""
    schema = printed("schema")
    del schema["anyOf"]
    return Draft202012Validator({**schema, "$ref": f"#/$defs/{name}"})


@pytest.fixture(params=cases(HOSTS))
def sysroot(request: pytest.FixtureRequest) -> str:
    """Return the path of each sample host in turn."""
    return str(host_file(request.param))


def test_schema_is_a_schema_of_its_draft() -> None:
    """The printed schema is the one of the module, and a valid JSON Schema."""
    schema = printed("schema")
    assert schema == json.loads(json.dumps(json_schema()))
    assert schema["$id"].endswith(f":{VERSION}")
    meta.validate(schema)


def test_schema_defines_every_capability_by_its_type() -> None:
    """The member `type` tells capabilities apart, for every kind."""
    capability = json_schema()["$defs"]["Device"]["properties"]["capabilities"]["items"]
    assert set(capability["discriminator"]["mapping"]) == {kind.name for kind in KINDS}


@pytest.mark.exhaustive
@pytest.mark.parametrize(
    ("command", "definition"),
    [
        (["show", "--all"], "Devices"),
        (["list", "--json", "--all"], "DeviceList"),
        (["list", "--json", "--cap", "mdev"], "DeviceList"),
        (["tree", "--json"], "DeviceList"),
        (["status", "--json"], "Status"),
        (["dumpxml", "--all", "--json"], "XmlDocument"),
        (["in-use", "--json"], "InUse"),
        (["resolve", "computer", "--json"], "Resolution"),
        (["types", "--json"], "Types"),
        (["nfd", "--json"], "NodeFeatures"),
    ],
)
def test_document_of_a_host_is_valid(sysroot: str, command: list[str], definition: str) -> None:
    """The output of each command is valid against the schema and its own definition."""
    document = printed("--sysroot", sysroot, *command)
    validator().validate(document)
    validator_of(definition).validate(document)
    Draft202012Validator(printed("schema", command[0])).validate(document)


def test_schema_covers_every_command_that_prints_json() -> None:
    """Each command with --json is among them, and so is `schema COMMAND`."""
    every = every_command()
    with_json = {
        name
        for name, command in every.items()
        if any("--json" in parameter.opts for parameter in command.params)
    }
    # What `layout show` prints is a file, whose schema is that of `layout schema`.
    others = {"schema", "layout schema", "layout show"}
    assert with_json - others == set(COMMANDS) == set(printed_types())
    assert with_json == set(every)
    references = {one["$ref"].rpartition("/")[2] for one in json_schema()["anyOf"]}
    assert references == {one.__name__ for one in printed_types().values()}


def test_schema_covers_every_command_of_a_fleet_that_prints_json() -> None:
    """Each has a schema of its own, by the name of its command behind `fleet`."""
    every = {f"fleet {name}" for name in fleet_commands()}
    assert every == set(FLEET_COMMANDS) == set(fleet_types())
    for command, kind in fleet_types().items():
        schema = printed("schema", command)
        meta.validate(schema)
        assert schema["anyOf"] == [{"$ref": f"#/$defs/{kind.__name__}"}]
        assert schema["$id"].startswith("urn:nodedevd:schema:fleet:")


def fleet_commands() -> list[str]:
    """Return the names of the commands with --fleet that print JSON."""
    return [
        name
        for name, command in COMMANDS_OF_FLEETS.items()
        if any("--json" in parameter.opts for parameter in command.params)
    ]


def test_each_device_of_a_host_is_valid_and_reads_back(sysroot: str) -> None:
    """`show DEVICE` prints a valid document, which decodes to the scanned device."""
    embedded = Embedded(sysroot)
    for device in embedded.tree:
        text = embedded.snapshot_json([device.name])
        document = json.loads(text)
        validator().validate(document)
        validator_of("Devices").validate(document)
        assert msgspec.json.decode(text, type=Devices).devices == (device,)
        assert msgspec.convert(document, Devices).devices == (device,)


def device_document() -> dict[str, Any]:
    """Return a device that is an mdev parent."""
    document = printed("--sysroot", str(host_file("vgpu-pf")), "show", "0000:02:00.0")
    device: dict[str, Any] = document["devices"][0]
    return device


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (["name"], None),
        (["name"], 7),
        (["path"], ["/sys"]),
        (["errors"], None),
        (["errors"], [{"attribute": "x", "code": "odd", "detail": ""}]),
        (["capabilities"], {}),
        (["capabilities", 0, "type"], "usb"),
        (["capabilities", 0, "numa_node"], "0"),
        (["capabilities", 1, "types", 0, "available"], "many"),
        (["capabilities", 1, "types", 0, "available"], 1.5),
        (["capabilities", 1, "types", 0, "mdevs"], [1]),
        (["capabilities", 1, "mdevs"], None),
    ],
)
def test_document_with_a_wrong_value_is_not_valid(path: list[str | int], value: object) -> None:
    """The schema, and the model when it decodes, reject a field of a wrong type."""
    document: Any = device_document()
    validator_of("Device").validate(document)
    *way, last = path
    part = document
    for step in way:
        part = part[step]
    assert last in part if isinstance(part, dict) else len(part) > int(last)
    part[last] = value
    with pytest.raises(ValidationError):
        validator_of("Device").validate(document)
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert(document, Device)


@pytest.mark.parametrize("field", Device.__struct_fields__)
def test_document_without_a_field_is_not_valid(field: str) -> None:
    """Every field is always present; an absent value is null."""
    document = device_document()
    del document[field]
    with pytest.raises(ValidationError):
        validator_of("Device").validate(document)
