"""The JSON Schema of the model, made from the model itself."""

from __future__ import annotations

from typing import Any

import click
import msgspec

from nodedevd.cli.options import epilog, print_json
from nodedevd.model.device import Device
from nodedevd.model.listing import DeviceList, Devices
from nodedevd.model.status import Status

VERSION = 1
"""Raised when a field goes away or changes its meaning; new fields leave it alone."""


def json_schema() -> dict[str, Any]:
    """Return the schema of what `show`, `list --json` and `status --json` print."""
    kinds = (Device, Devices, DeviceList, Status)
    references, definitions = msgspec.json.schema_components(kinds, ref_template="#/$defs/{name}")
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": f"urn:nodedevd:schema:devices:{VERSION}",
        "title": "Node devices as nodedevd tells them",
        "anyOf": list(references),
        "$defs": definitions,
    }


@click.command(epilog=epilog("Example:", "nodedevctl schema > nodedevd.schema.json"))
def schema() -> None:
    """Print the JSON Schema of what show, list --json and status --json print."""
    print_json(msgspec.json.encode(json_schema()))
