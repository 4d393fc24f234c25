"""formats: the XML of devices, with one module for each format."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal, Protocol, TypeAlias

from nodedevd.errors import NotInFormat
from nodedevd.formats import libvirt, native
from nodedevd.model.device import Device
from nodedevd.model.snapshot import Snapshot
from nodedevd.xml_writer import Out

Format: TypeAlias = Literal["nodedevd", "libvirt"]


class XmlFormat(Protocol):
    """The functions that the module of a format has; `docs/formats.md` compares the formats."""

    shows_all: bool
    """whether it shows every device"""

    def shows(self, device: Device) -> bool:
        """Return whether the format shows the device."""

    def placed(self, device: Device, snapshot: Snapshot) -> Device:
        """Return a device that is shown with its name and its parent in the format."""

    def written(self, device: Device) -> Out:
        """Return the XML of one device that is `placed`."""


FORMATS: Mapping[Format, XmlFormat] = {"nodedevd": native, "libvirt": libvirt}


def select(snapshot: Snapshot, names: Sequence[str] | None, form: Format) -> list[Device]:
    """Return the devices of these names, each once; for None all devices that the format shows.

    Raises NoSuchDevice, and NotInFormat for a device that the format does not show.
    """
    format_ = FORMATS[form]
    if names is None:
        return [device for device in snapshot if format_.shows(device)]
    found = map(snapshot.lookup, names)
    devices = list({device.name: device for device in found}.values())
    for device in devices:
        if not format_.shows(device):
            raise NotInFormat(device.name, form)
    return devices


def device_xml(device: Device, snapshot: Snapshot, form: Format, *, depth: int = 0) -> str:
    """Return the XML of a device that the format shows, indented by `depth` levels."""
    format_ = FORMATS[form]
    return format_.written(format_.placed(device, snapshot)).at(depth)


def dump(snapshot: Snapshot, names: Sequence[str] | None, form: Format) -> str:
    """Return `<device>` for one name; `<devices>` for several names, and for None with all.

    Raises NoSuchDevice, NotInFormat.
    """
    devices = select(snapshot, names, form)
    if names is not None and len(names) == 1:
        return device_xml(devices[0], snapshot, form)
    inner = [device_xml(device, snapshot, form, depth=1) for device in devices]
    return native.opening(snapshot.generation) + "".join(inner) + native.CLOSING
