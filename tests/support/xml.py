"""The XML of devices, and the native XML as a reader sees it: parsed, and checked by its schema."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from pathlib import Path

from lxml import etree

import nodedevd
from nodedevd.formats import libvirt, native
from nodedevd.model.device import Device

SCHEMA = Path(nodedevd.__file__).with_name("formats") / "nodedevd.rng"


@cache
def _schema() -> etree.RelaxNG:
    return etree.RelaxNG(etree.parse(str(SCHEMA)))


def native_xml(device: Device, *, depth: int = 0) -> str:
    """Return the native XML of a device, as it stands so many levels in."""
    return native.written(device).at(depth)


def native_document(devices: Iterable[Device], generation: int) -> str:
    """Return the native document of several devices."""
    inner = "".join(native_xml(device, depth=1) for device in devices)
    return native.opening(generation) + inner + native.CLOSING


def libvirt_xml(device: Device) -> str:
    """Return the XML of a device in libvirt's format, where it is placed."""
    return str(libvirt.written(device))


def parse(text: str) -> etree._Element:
    """Parse XML; what is no XML fails the test."""
    return etree.fromstring(text)


def validate(text: str) -> etree._Element:
    """Return the root of a native document; one that its schema refuses fails the test."""
    root = parse(text)
    _schema().assertValid(root)
    return root


def valid(text: str) -> bool:
    """Tell whether the schema takes this document."""
    return bool(_schema().validate(parse(text)))


def find(root: etree._Element, path: str) -> etree._Element:
    """Return the element at a path; none there fails the test."""
    found = root.find(path)
    assert found is not None, f"no {path} in {etree.tostring(root, encoding=str)}"
    return found


def attributes(element: etree._Element) -> dict[str, str]:
    """Return an element's attributes."""
    return {str(name): str(value) for name, value in element.items()}
