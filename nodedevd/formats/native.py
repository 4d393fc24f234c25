"""The native format: in the style of `virsh nodedev-dumpxml`, with all capabilities of a device.

`docs/xml.md` describes it, `nodedevd.rng` is its schema.
"""

from __future__ import annotations

from nodedevd.kinds import KIND_OF
from nodedevd.model.device import Device
from nodedevd.model.layout import CardLayout
from nodedevd.model.snapshot import Snapshot
from nodedevd.xml_writer import Out

shows_all = True


def shows(device: Device) -> bool:
    """Return whether the format shows the device: it shows all."""
    return True


def placed(device: Device, snapshot: Snapshot) -> Device:
    """Return the device, whose name and parent are those of this format."""
    return device


def written(device: Device) -> Out:
    """Return the XML of one device."""
    faults = device.errors
    out = Out(unknown={fault.attribute for fault in faults}) if faults else Out()
    with out.begin("device"):
        write_head(device, out)
        for capability in device.capabilities:
            kind = KIND_OF[type(capability)]
            with out.begin("capability", type=kind.name):
                kind.write(capability, out)
        if device.layout is not None:
            _write_layout(device.layout, out)
        if device.errors:
            with out.begin("errors"):
                for fault in device.errors:
                    out.empty(
                        "error", attribute=fault.attribute, code=fault.code, detail=fault.detail
                    )
    return out


def _write_layout(layout: CardLayout, out: Out) -> None:
    with out.begin("layout", state=layout.state):
        out.text("file", layout.file)
        for reason in layout.reasons:
            out.text("reason", reason)


def write_head(device: Device, out: Out) -> None:
    """Write the elements before the capabilities, in libvirt's order."""
    out.text("name", device.name)
    if device.path is not None:
        out.text("path", device.path)
    if device.devnode is not None:
        out.text("devnode", device.devnode, type="dev")
    for link in device.devlinks:
        out.text("devnode", link, type="link")
    if device.parent is not None:
        out.text("parent", device.parent)
    if device.driver is not None:
        out.once(_write_driver, device.driver)


def _write_driver(name: str, out: Out) -> None:
    with out.begin("driver"):
        out.text("name", name)


def opening(generation: int) -> str:
    """Return the start tag of a document with several devices."""
    return f"<devices generation='{generation}'>\n"


CLOSING = "</devices>\n"
