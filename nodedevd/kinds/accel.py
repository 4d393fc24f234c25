"""accel: a compute accelerator, such as the NPU of a laptop or a card for AI training.

Reads  uevent (DEVNAME), device/{vbnv,device_type,fw_version,cpucp_ver}
ABI    Documentation/accel/introduction.rst, drivers/accel/drm_accel.c. Attributes of the device
       are the driver's: drivers/accel/amdxdna/amdxdna_sysfs.c for vbnv and fw_version,
       Documentation/ABI/testing/sysfs-driver-habanalabs for device_type and cpucp_ver
"""

from __future__ import annotations

import re

from nodedevd.host.node import Node
from nodedevd.kinds.base import Capability, Kind
from nodedevd.xml_writer import Out

_NAME = re.compile("accel[0-9]+")
# amdxdna has a device_type, too, but a number.
_MODEL = ("device/vbnv", "device/device_type")
_FIRMWARE = ("device/fw_version", "device/cpucp_ver")


class Accel(Capability, frozen=True, gc=False, tag="accel"):
    """A compute accelerator."""

    chardev: str
    """device node, /dev/accel/accel<N>"""
    model: str | None
    """the driver's name for the hardware, such as RyzenAI-npu4 or GAUDI2; None if it has none"""
    firmware_version: str | None
    """version of its firmware; None if the driver does not report it"""


def read(node: Node) -> Accel | None:
    """Read an accelerator; None for other entries of the class."""
    if _NAME.fullmatch(node.sysname) is None:
        return None
    return Accel(
        chardev=f"/dev/{node.uevent.get('DEVNAME') or f'accel/{node.sysname}'}",
        model=_read_first(node, _MODEL),
        firmware_version=_read_first(node, _FIRMWARE),
    )


def _read_first(node: Node, attributes: tuple[str, ...]) -> str | None:
    """Return the first of several attributes, of which each driver has one."""
    for attribute in attributes:
        text = node.read(attribute)
        if text:
            return text
    return None


def write(cap: Accel, out: Out) -> None:
    """Write the device node, then the hardware and its firmware."""
    out.text("chardev", cap.chardev)
    _write_first("model", cap.model, _MODEL, out)
    _write_first("firmware_version", cap.firmware_version, _FIRMWARE, out)


def _write_first(tag: str, value: str | None, attributes: tuple[str, ...], out: Out) -> None:
    unknown = [one for one in attributes if one in out.unknown]
    out.value(tag, value, unknown[0] if unknown else attributes[0])


KIND = Kind(capability=Accel, read=read, write=write, subsystems=frozenset({"accel"}))
