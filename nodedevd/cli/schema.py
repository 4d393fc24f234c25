"""nodedevctl schema: the JSON Schema of what commands print, generated from the model itself."""

from __future__ import annotations

from typing import Any

import click
import msgspec

from nodedevd.cli.options import always_json_option, epilog, print_json
from nodedevd.client.watching import Event
from nodedevd.drawing.request import Drawing
from nodedevd.model.brief import DeviceList
from nodedevd.model.listing import Devices, XmlDocument
from nodedevd.model.status import Status
from nodedevd.questions.doctor import Report
from nodedevd.questions.fits import Fits, Types
from nodedevd.questions.hostdev.request import HostDev
from nodedevd.questions.in_use import InUse
from nodedevd.questions.node_features import NodeFeatures
from nodedevd.questions.resolve import Resolution

VERSION = 1
"""Incremented when a field is removed or changes its meaning, not for a new field."""

CHANGES = (
    *("autostart", "bind", "create", "define", "modify", "remove", "start", "stop", "unbind"),
    *("undefine", "vfs"),
)
"""The commands that change a host; all print the same."""
LAYOUT = ("layout apply", "layout check", "layout diff", "layout status")
"""The commands of `layout` that print JSON of their own; `layout schema` is for its files."""
COMMANDS = (
    *("control", "doctor", "draw", "dumpxml", "events", "fits", "hostdev", "in-use", "list"),
    *("metrics", "nfd", "record", "resolve", "show", "status", "tree", "types", "wait"),
    *LAYOUT,
    *CHANGES,
)
"""The commands that print JSON, except for this one."""
FLEET_COMMANDS = (
    *("fleet dumpxml", "fleet events", "fleet fits", "fleet hosts", "fleet list", "fleet show"),
    *("fleet types", "fleet wait"),
)
"""The commands of `nodedevctl --fleet …` that print JSON."""

_PARTIAL = frozenset({"Event", "TypeFacts"})
"""The types whose members are left out where they have no value."""


def printed_types() -> dict[str, type[msgspec.Struct]]:
    """Return the type of the JSON that each of the commands prints."""
    from nodedevd.actions.answers import LayoutOutcome, Outcome  # slow to import
    from nodedevd.cli.control_report import ControlReport
    from nodedevd.cli.layout_check import LayoutCheck
    from nodedevd.cli.layout_diff import LayoutDiff
    from nodedevd.cli.layout_report import LayoutReport
    from nodedevd.metrics.family import Metrics
    from nodedevd.tree.record import Recorded

    return {
        "control": ControlReport,
        "doctor": Report,
        "draw": Drawing,
        "dumpxml": XmlDocument,
        "events": Event,
        "fits": Fits,
        "hostdev": HostDev,
        "in-use": InUse,
        "layout apply": LayoutOutcome,
        "layout check": LayoutCheck,
        "layout diff": LayoutDiff,
        "layout status": LayoutReport,
        "list": DeviceList,
        "metrics": Metrics,
        "nfd": NodeFeatures,
        "record": Recorded,
        "resolve": Resolution,
        "show": Devices,
        "status": Status,
        "tree": DeviceList,
        "types": Types,
        "wait": DeviceList,
        **dict.fromkeys(CHANGES, Outcome),
    }


def fleet_types() -> dict[str, type[msgspec.Struct]]:
    """Return the type of the JSON that each of the commands of a fleet prints."""
    from nodedevd.cli.fleet.list import DevicesOfHosts  # slow to import
    from nodedevd.cli.fleet.wait import HostsWaitedFor
    from nodedevd.client.fleet.fitting import FleetFits, FleetTypes
    from nodedevd.client.fleet.hosts import Hosts
    from nodedevd.client.fleet.watching import FleetEvent

    return {
        "fleet dumpxml": XmlDocument,
        "fleet events": FleetEvent,
        "fleet fits": FleetFits,
        "fleet hosts": Hosts,
        "fleet list": DevicesOfHosts,
        "fleet show": Devices,
        "fleet types": FleetTypes,
        "fleet wait": HostsWaitedFor,
    }


def json_schema(command: str | None = None) -> dict[str, Any]:
    """Return the schema of what one command prints, or any of those that ask one host."""
    of_fleet = command in FLEET_COMMANDS
    printed = fleet_types() if of_fleet else printed_types()
    kinds = [printed[command]] if command is not None else list(dict.fromkeys(printed.values()))
    references, definitions = msgspec.json.schema_components(kinds, ref_template="#/$defs/{name}")
    for name, definition in definitions.items():
        if name not in _PARTIAL and "properties" in definition:
            definition["required"] = list(definition["properties"])
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": f"urn:nodedevd:schema:{'fleet' if of_fleet else 'devices'}:{VERSION}",
        "title": "Hosts of a fleet" if of_fleet else "Node devices as nodedevd reports them",
        "anyOf": list(references),
        "$defs": definitions,
    }


@click.command(
    epilog=epilog(
        "Examples: of all commands; of one; of one of several words; of a fleet",
        "nodedevctl schema > nodedevd.schema.json",
        "nodedevctl schema list",
        "nodedevctl schema 'layout diff'",
        "nodedevctl schema 'fleet hosts'",
    )
)
@click.argument(
    "command", type=click.Choice(COMMANDS + FLEET_COMMANDS), required=False, metavar="[COMMAND]"
)
@always_json_option
def schema(command: str | None) -> None:
    """Print the JSON Schema of what commands print.

    With COMMAND, that of this command alone. docs/json.md describes the members. The commands
    with --fleet are named "fleet hosts" and so on, and are not among all.
    """
    print_json(msgspec.json.encode(json_schema(command)))
