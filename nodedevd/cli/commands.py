"""commands: those of nodedevctl, each in a module that is loaded when the command is called."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from nodedevd.cli.late import Late

COMMANDS: Final[Mapping[str, Late]] = {
    "autostart": Late(
        "nodedevd.cli.autostart:autostart",
        "Have an mdev that is defined started with its parent, or not.",
    ),
    "bind": Late("nodedevd.cli.bind:bind", "Bind a device to a driver."),
    "control": Late(
        "nodedevd.cli.control:control",
        "Show the state of the control service, and whose devices are.",
    ),
    "create": Late("nodedevd.cli.create:create", "Create vGPUs or other mdevs of a type."),
    "define": Late("nodedevd.cli.define:define", "Define an mdev, without starting it."),
    "doctor": Late(
        "nodedevd.cli.doctor:doctor", "Check this host for problems with mediated devices."
    ),
    "draw": Late("nodedevd.cli.draw:draw", "Draw this host and its vGPUs as an SVG picture."),
    "dumpxml": Late("nodedevd.cli.dumpxml:dumpxml", "Print devices as XML."),
    "events": Late("nodedevd.cli.events:events", "Print changes as they happen."),
    "fits": Late(
        "nodedevd.cli.fits:fits", "Show which cards have room for vGPUs of a type, or each type."
    ),
    "hostdev": Late(
        "nodedevd.cli.hostdev:hostdev", "Print the domain XML that assigns a device to a guest."
    ),
    "in-use": Late(
        "nodedevd.cli.in_use:in_use", "Show whether devices are open, and by which processes."
    ),
    "layout": Late("nodedevd.cli.layout:layout", "Compare the host with what it should offer."),
    "list": Late("nodedevd.cli.list:list_command", "List the names of devices, one a line."),
    "metrics": Late(
        "nodedevd.cli.metrics:metrics",
        "Print metrics for Prometheus, and for what reads OpenMetrics.",
    ),
    "modify": Late("nodedevd.cli.modify:modify", "Change the definition of an mdev."),
    "nfd": Late("nodedevd.cli.nfd:nfd", "Write counts as labels for Node Feature Discovery."),
    "record": Late("nodedevd.cli.record:record", "Record what a scan reads from this host."),
    "remove": Late(
        "nodedevd.cli.remove:remove", "Remove an mdev, or the vGPU profile of a function."
    ),
    "resolve": Late(
        "nodedevd.cli.resolve:resolve",
        "Show which device an IOMMU group, node or interface refers to.",
    ),
    "schema": Late("nodedevd.cli.schema:schema", "Print the JSON Schema of what commands print."),
    "show": Late("nodedevd.cli.show:show", "Print devices as JSON."),
    "start": Late("nodedevd.cli.start:start", "Start an mdev that is defined."),
    "status": Late(
        "nodedevd.cli.status:status", "Show the state of the daemon and its read errors."
    ),
    "stop": Late("nodedevd.cli.stop:stop", "Stop an mdev that is defined."),
    "tree": Late("nodedevd.cli.tree:tree", "Draw the device tree."),
    "types": Late(
        "nodedevd.cli.types:types", "List the vGPU types of each card, and what is free."
    ),
    "unbind": Late("nodedevd.cli.unbind:unbind", "Give a device back to the host's driver."),
    "undefine": Late("nodedevd.cli.undefine:undefine", "Remove the definition of an mdev."),
    "vfs": Late("nodedevd.cli.vfs:vfs", "Set the number of virtual functions of a card."),
    "wait": Late(
        "nodedevd.cli.wait:wait", "Wait until devices are present or gone, or a type is available."
    ),
}
"""Commands by name; a test compares the texts with those of the commands."""
