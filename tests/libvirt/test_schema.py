"""libvirt's schema takes the documents of the format libvirt."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

import pytest
from lxml import etree

from nodedevd.formats import dump
from tests.support.hosts import HOSTS, snapshot_of
from tests.support.xml import parse

pytestmark = pytest.mark.needs("libvirt's schemas")

SCHEMA = Path("/usr/share/libvirt/schemas/nodedev.rng")


@cache
def schema() -> etree.RelaxNG:
    """Return libvirt's schema of node devices."""
    return etree.RelaxNG(etree.parse(str(SCHEMA)))


def document(host: str, names: list[str] | None = None) -> str:
    """Return devices of a sample host in the format libvirt, all of them unless named."""
    return dump(snapshot_of(host), names, "libvirt")


def _refused(element: etree._Element) -> bool:
    """Return whether libvirt 9.0 writes such a document, and its own schema does not accept it."""
    kind = element.find("capability")
    assert kind is not None
    return (
        kind.get("type") in ("mdev_types", "ccwgroup")
        or kind.find("state") is not None
        or kind.findtext("drive_type") == "dasd"
        or (kind.get("type") == "vdpa" and kind.find("chardev") is None)
        or re.search("[.:]", kind.findtext("block") or "") is not None
        or len(kind.findtext("address") or "") > len("00:00:00:00:00:00")
    )


@pytest.mark.parametrize("host", sorted(set(HOSTS) - {"broken"}))
def test_libvirts_schema_takes_every_device(host: str) -> None:
    """Each alone, except documents that it refuses from libvirt, too."""
    for device in parse(document(host)):
        alone = parse(etree.tostring(device, encoding=str))
        if not _refused(alone):
            schema().assertValid(alone)


def test_libvirts_schema_refuses_what_is_not_libvirts() -> None:
    """A schema that accepts every document would prove nothing."""
    device = document("vgpu-pf", ["pci_0000_02_00_0"])
    assert schema().validate(parse(device))
    assert not schema().validate(parse(device.replace("<class>", "<odd/><class>")))
