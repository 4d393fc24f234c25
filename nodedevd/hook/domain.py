"""domain: what the hook needs to know of a domain, from the XML that libvirt hands to it.

Source: https://libvirt.org/hooks.html, https://libvirt.org/formatdomain.html
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple

from nodedevd.domain_metadata import NAMESPACE
from nodedevd.errors import BadDomain
from nodedevd.names import PciAddress, is_uuid, parse_pci
from nodedevd.xmltree import Element, parse_xml


class Domain(NamedTuple):
    """A domain of libvirt."""

    uuid: str
    """in lower case"""
    mdevs: frozenset[str]
    """UUIDs of the mdevs that it has assigned, in lower case"""
    functions: Mapping[PciAddress, bool]
    """the PCI functions that it has assigned, and whether libvirt binds them to vfio-pci"""
    metadata: Element | None
    """the element of nodedevd's namespace; libvirt keeps one of each"""


def read_domain(xml: bytes) -> Domain:
    """Return a domain. Raises BadDomain."""
    try:
        root = parse_xml(xml)
    except ValueError as error:
        raise BadDomain(f"standard input is no XML: {error}") from None
    uuid = (root.findtext("uuid") or "").strip()
    if root.tag != "domain" or not is_uuid(uuid):
        raise BadDomain("standard input is no <domain> with a <uuid>")
    return Domain(
        uuid=uuid.lower(),
        mdevs=frozenset(_mdevs(root)),
        functions=dict(_functions(root)),
        metadata=root.find(f"metadata/{{{NAMESPACE}}}*"),
    )


def _mdevs(root: Element) -> Iterator[str]:
    for address in root.iterfind("devices/hostdev[@type='mdev']/source/address"):
        yield address.get("uuid", "").lower()


def _functions(root: Element) -> Iterator[tuple[PciAddress, bool]]:
    for device in root.iterfind("devices/hostdev[@type='pci']"):
        address = device.find("source/address")
        found = None if address is None else _address(address)
        if found is not None:
            yield found, device.get("managed") == "yes"


def _address(address: Element) -> PciAddress | None:
    """Return the address of a function, whose parts libvirt writes as hexadecimal numbers."""
    try:
        domain, bus, slot, function = (
            int(address.get(part, ""), 16) for part in ("domain", "bus", "slot", "function")
        )
    except ValueError:
        return None
    return parse_pci(f"{domain:04x}:{bus:02x}:{slot:02x}.{function:x}")
