"""libvirt's format: a device as libvirt 11.3's nodedev driver shows it.

Every kind has its own form, `LibvirtForm`: which devices libvirt lists, under which name, with
which elements. A device has one capability here, and its mdev types are a part of it.
`docs/formats.md` lists where this differs from libvirt on purpose.
"""

from __future__ import annotations

from msgspec.structs import replace

from nodedevd.formats import native
from nodedevd.kinds import LIBVIRT_FORMS
from nodedevd.kinds.base import Capability
from nodedevd.model.device import Device
from nodedevd.model.snapshot import Snapshot
from nodedevd.names import device_name
from nodedevd.xml_writer import Out

shows_all = False


def _main(device: Device) -> Capability | None:
    """Return the one capability that the device has for libvirt."""
    part = None
    for capability in device.capabilities:
        form = LIBVIRT_FORMS.get(type(capability))
        if form is None:
            continue
        if not form.within_others:
            return capability
        part = capability
    return part


def shows(device: Device) -> bool:
    """Return whether libvirt lists this device."""
    capability = _main(device)
    return capability is not None and LIBVIRT_FORMS[type(capability)].shown(capability, device)


def placed(device: Device, snapshot: Snapshot) -> Device:
    """Return a device under libvirt's name, below the nearest device that libvirt lists."""
    above = snapshot.get(device.parent or "")
    while above is not None and not shows(above):
        above = snapshot.get(above.parent or "")
    name, parent = _name(device), None if above is None else _name(above)
    if not device.active:
        return replace(device, name=name, parent=parent, path=None)
    if (name, parent) == (device.name, device.parent):
        return device
    return replace(device, name=name, parent=parent)


def _name(device: Device) -> str:
    for capability in device.capabilities:
        form = LIBVIRT_FORMS.get(type(capability))
        if form is not None and form.suffix is not None:
            return device_name(device.subsystem, device.sysname or "", form.suffix(capability))
    return device.name


def written(device: Device) -> Out:
    """Return the XML of one device that is `placed`."""
    main = _main(device)
    assert main is not None, f"libvirt does not show {device.name}"
    form = LIBVIRT_FORMS[type(main)]
    out = Out()
    with out.begin("device"):
        native.write_head(device, out)
        with out.begin("capability", type=form.type):
            form.write(main, out)
            for capability in device.capabilities:
                part = LIBVIRT_FORMS.get(type(capability))
                if capability is not main and part is not None and part.within_others:
                    part.write(capability, out)
            if form.write_rest is not None:
                form.write_rest(main, out)
    return out
