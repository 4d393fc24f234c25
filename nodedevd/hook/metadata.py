"""metadata: which vGPUs the metadata of a domain asks for.

`formats/domain-metadata.rng` is the schema. What no schema can say is checked here, too: each
vGPU is named once, and is one that the domain has assigned.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import msgspec

from nodedevd.actions.requests import Create
from nodedevd.domain_metadata import ATTRIBUTE, FROM, FUNCTION, MANAGED, MDEV, NAMESPACE, PREFIX
from nodedevd.errors import BadDomain, InvalidParameter
from nodedevd.hook.domain import Domain
from nodedevd.names import is_uuid, parse_pci
from nodedevd.xmltree import Element

VGPUS_AT_MOST = 256


class Wanted(NamedTuple):
    """A vGPU that a domain is to have."""

    request: Create
    function: str | None
    """address of the function that becomes the vGPU; None: it is an mdev"""


def read_metadata(domain: Domain) -> tuple[Wanted, ...]:
    """Return the vGPUs of a domain, which has metadata or not. Raises BadDomain."""
    if domain.metadata is None:
        return ()
    if _local(domain.metadata) != MANAGED:
        raise _bad(domain.metadata, f"unknown element, where <{PREFIX}:{MANAGED}> is expected")
    _check(domain.metadata, required=(), children=(MDEV, FUNCTION))
    if len(domain.metadata) > VGPUS_AT_MOST:
        raise BadDomain(f"<{_shown(domain.metadata)}>: at most {VGPUS_AT_MOST} vGPUs")
    found = tuple(_wanted(domain, element) for element in domain.metadata)
    seen = set()
    for one in found:
        subject = one.function or one.request.uuid
        if subject in seen:
            raise BadDomain(f"{subject} is there twice")
        seen.add(subject)
    return found


def _wanted(domain: Domain, element: Element) -> Wanted:
    if _local(element) == MDEV:
        _check(element, required=("uuid", "type"), children=(FROM, ATTRIBUTE))
        uuid = _uuid(domain, element)
        request = {"uuid": uuid, "names": list(_texts(element, FROM, "device")) or None}
        return Wanted(_request(domain, element, request), None)
    _check(element, required=("address", "type"), children=(ATTRIBUTE,))
    address = _function(domain, element)
    return Wanted(_request(domain, element, {"names": [address]}), address)


def _uuid(domain: Domain, element: Element) -> str:
    uuid = element.get("uuid", "").lower()
    if not is_uuid(uuid):
        raise _bad(element, f"{uuid!r} is no UUID")
    if uuid not in domain.mdevs:
        raise _bad(element, f"the domain has no <hostdev type='mdev'> of {uuid}; add or remove one")
    return uuid


def _function(domain: Domain, element: Element) -> str:
    text = element.get("address", "")
    address = parse_pci(text)
    if address is None:
        raise _bad(element, f"{text!r} is no PCI address, such as 0000:26:00.7")
    if address not in domain.functions:
        raise _bad(
            element, f"the domain has no <hostdev type='pci'> of {address}; add or remove one"
        )
    if domain.functions[address]:
        raise _bad(
            element,
            f"the <hostdev> of {address} needs managed='no', since a vGPU stays with its driver",
        )
    return str(address)


def _request(domain: Domain, element: Element, fields: Mapping[str, Any]) -> Create:
    attributes = [
        {"name": name, "value": value}
        for name, value in zip(
            _texts(element, ATTRIBUTE, "name"), _texts(element, ATTRIBUTE, "value"), strict=True
        )
    ]
    given = {
        **fields,
        "type": element.get("type"),
        "attributes": attributes or None,
        "domain": domain.uuid,
    }
    try:
        return msgspec.convert(given, Create)
    except (InvalidParameter, msgspec.ValidationError) as error:
        raise _bad(element, str(error)) from None


def _texts(element: Element, child: str, attribute: str) -> Iterator[str]:
    required = ("name", "value") if child == ATTRIBUTE else ("device",)
    for one in element.iterfind(f"{{{NAMESPACE}}}{child}"):
        _check(one, required=required, children=())
        yield one.get(attribute, "")


def _check(element: Element, *, required: tuple[str, ...], children: tuple[str, ...]) -> None:
    """Refuse what an element may not have: a misspelt word must not go unnoticed."""
    for name in required:
        if element.get(name) is None:
            raise _bad(element, f"the attribute {name} is missing")
    for name in map(str, element.attrib):
        if name not in required:
            raise _bad(element, f"unknown attribute {name}")
    for child in element:
        if child.tag not in {f"{{{NAMESPACE}}}{one}" for one in children}:
            raise _bad(element, f"unknown element <{_shown(child)}>")
    if "".join([element.text or "", *(child.tail or "" for child in element)]).strip():
        raise _bad(element, "it has no text")


def _bad(element: Element, reason: str) -> BadDomain:
    return BadDomain(f"<{_shown(element)}>: {reason}")


def _shown(element: Element) -> str:
    """Return the name of an element as nodedevd writes it."""
    tag = str(element.tag)
    return tag.replace(f"{{{NAMESPACE}}}", f"{PREFIX}:")


def _local(element: Element) -> str:
    return str(element.tag).rpartition("}")[2]
