"""nodedevctl schema: the JSON Schema of the model, generated from the model itself."""

from __future__ import annotations

from typing import Any

import click
import msgspec

from nodedevd.cli.options import epilog, print_json
from nodedevd.model.device import Device
from nodedevd.model.listing import DeviceList, Devices
from nodedevd.model.status import Status
from nodedevd.questions.fits import Fits, Types

VERSION = 1
"""Incremented when a field is removed or changes its meaning, not for a new field."""


def json_schema() -> dict[str, Any]:
    """Return the schema of the JSON of show, list, status, types and fits."""
    kinds = (Device, Devices, DeviceList, Status, Types, Fits)
    references, definitions = msgspec.json.schema_components(kinds, ref_template="#/$defs/{name}")
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": f"urn:nodedevd:schema:devices:{VERSION}",
        "title": "Node devices as nodedevd reports them",
        "anyOf": list(references),
        "$defs": definitions,
    }


@click.command(epilog=epilog("Example:", "nodedevctl schema > nodedevd.schema.json"))
def schema() -> None:
    """Print the JSON Schema of the JSON that other commands print.

    It describes the output of show, and of list, status, types and fits with --json.
    """
    print_json(msgspec.json.encode(json_schema()))
