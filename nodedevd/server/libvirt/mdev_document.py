"""mdev_document: the XML of an mdev that a client wants to create, define or update.

It is read as libvirt reads it: elements that say nothing of an mdev are ignored. Input is hostile.
Its size is bounded before it is parsed, and so is the number of its elements and attributes;
a document type, and with it every entity, is refused; nothing is loaded from anywhere.
`nodedevd/formats/libvirt-mdev.rng` is the schema.

Source: virNodeDeviceDefParseXML of libvirt's node_device_conf.c, virXMLParse of virxml.c,
virUUIDParse of viruuid.c.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple
from uuid import UUID

from lxml import etree

from nodedevd import formats
from nodedevd.server.libvirt.devices import CAPABILITIES
from nodedevd.server.libvirt.protocol import ErrorCode, ErrorDomain, RpcError
from nodedevd.server.libvirt.write_errors import QUOTED, unsupported

XML_BYTES_MAX: Final = 64 * 1024
"""of a document; that of an mdev with 256 attributes has 20 KiB"""
TAGS_MAX: Final = 1024
EQUALS_MAX: Final = 2048
"""Start and end tags, and attributes of XML, in a document."""
ATTRIBUTES_MAX: Final = 256
"""vendor attributes, `<attr>`, of an mdev"""
SCHEMA: Final = Path(formats.__file__).with_name("libvirt-mdev.rng")

_NEW: Final = "new device"  # libvirt's name for a device that has none yet
_UUID: Final = re.compile(r"[ \t\n\v\f\r]*((?:[- ]*[0-9a-fA-F]{2}){16})[ \t\n\v\f\r]*")
_NUMBER: Final = re.compile(r"[ \t\n\r]*0*([0-9]{1,10})[ \t\n\r]*")
_UNSIGNED_MAX: Final = (1 << 32) - 1
_SCHEMA: Final = etree.RelaxNG(etree.parse(str(SCHEMA)))


class MdevDocument(NamedTuple):
    """What a document says of an mdev."""

    parent: str | None
    """any name of the parent, as it stands"""
    type_id: str
    uuid: str | None
    """in the kernel's form"""
    attributes: tuple[tuple[str, str], ...]
    """vendor attributes and their values, in order"""


def read_mdev(xml: str, *, validate: bool) -> MdevDocument:
    """Return what a document says; with `validate` it has to fit the schema.

    Raises RpcError, for everything that is wrong with it.
    """
    root = _parse(xml)
    if root.tag != "device":
        raise _xml_error(f"expecting root element of 'device', not '{_quoted(root.tag)}'")
    if validate and not _is_of_another_kind(root) and not _SCHEMA.validate(root):
        found = "\n".join(dict.fromkeys(one.message for one in _SCHEMA.error_log))
        raise RpcError(
            ErrorCode.XML_INVALID_SCHEMA,
            ErrorDomain.XML,
            "XML document failed to validate against schema: Unable to validate doc against"
            f" {SCHEMA}\n{_quoted(found)}\n",
        )
    for node in root.findall("devnode"):
        if _attribute(node, "type") not in ("dev", "link"):
            raise _bad_value(node, "type")
    parent = root.find("parent")
    if parent is not None:
        _check_world_wide_names(parent)
    capabilities = root.findall("capability")
    if not capabilities:
        raise _internal(f"no device capabilities for '{_NEW}'")
    return _read_capabilities(capabilities, None if parent is None else _text(parent))


def _is_of_another_kind(root: etree._Element) -> bool:
    """Return whether a document describes a device that libvirt's schema knows and is no mdev."""
    first = root.find("capability")
    word = None if first is None else _attribute(first, "type")
    return word in CAPABILITIES and word != "mdev"


def _read_capabilities(capabilities: list[etree._Element], parent: str | None) -> MdevDocument:
    """Return what the first capability says; the others only have to be right."""
    documents: list[MdevDocument | None] = []
    for node in capabilities:
        word = _attribute(node, "type")
        if word not in CAPABILITIES:
            raise _bad_value(node, "type")
        documents.append(_read_mdev(node, parent) if word == "mdev" else None)
    if documents[0] is None:
        raise unsupported("Unsupported device type")
    return documents[0]


def _read_mdev(node: etree._Element, parent: str | None) -> MdevDocument:
    kind = node.find("type")
    type_id = None if kind is None else _attribute(kind, "id")
    if not type_id:
        raise unsupported(f"missing type id attribute for '{_NEW}'")
    uuid = None
    given = node.find("uuid")
    if given is not None and (text := _text(given)) is not None:
        uuid = _parse_uuid(text)
    group = node.find("iommuGroup")
    number = None if group is None else _attribute(group, "number")
    if number is not None and not _is_unsigned(number):
        raise _internal(f"invalid iommuGroup number attribute for '{_NEW}'")
    attributes = tuple(_attributes(node))
    if len(attributes) > ATTRIBUTES_MAX:
        raise _xml_error(f"{len(attributes)} elements 'attr', the limit is {ATTRIBUTES_MAX}")
    return MdevDocument(parent, type_id, uuid, attributes)


def _attributes(node: etree._Element) -> Iterator[tuple[str, str]]:
    for one in node.findall("attr"):
        name, value = _attribute(one, "name"), _attribute(one, "value")
        if name is not None and value is not None:
            yield name, value


def _check_world_wide_names(parent: etree._Element) -> None:
    """Raise RpcError unless a parent has both World Wide Names or none."""
    wwnn, wwpn = _attribute(parent, "wwnn"), _attribute(parent, "wwpn")
    for one, other, name, missing in ((wwnn, wwpn, "wwnn", "wwpn"), (wwpn, wwnn, "wwpn", "wwnn")):
        if one is not None and other is None:
            raise _xml_error(
                f"when providing parent {name}='{_quoted(one)}', the {missing} must also be"
                " provided"
            )


# -- documents ------------------------------------------------------------------------------------


def _parse(xml: str) -> etree._Element:
    """Return the root of a document. Raises RpcError."""
    data = xml.encode()
    if len(data) > XML_BYTES_MAX:
        raise _xml_error(f"the document has {len(data)} bytes, the limit is {XML_BYTES_MAX}")
    if "<!DOCTYPE" in xml:
        raise _xml_error("a document type declaration is not accepted; remove <!DOCTYPE")
    if xml.count("<") > TAGS_MAX or xml.count("=") > EQUALS_MAX:
        raise _xml_error(
            f"too large: the limit is {TAGS_MAX} tags and {EQUALS_MAX} attributes of a document"
        )
    # The encoding is fixed: one that the document declares could hide a document type.
    parser = etree.XMLParser(
        encoding="utf-8",
        resolve_entities=False,
        no_network=True,
        load_dtd=False,
        huge_tree=False,
        remove_comments=True,
        remove_pis=True,
    )
    try:
        root = etree.fromstring(data, parser)
    except etree.XMLSyntaxError as error:
        raise _malformed(error, parser.error_log, xml) from None
    for node in root.iter():
        foreign = next((one for one in (node.tag, *node.attrib) if str(one).startswith("{")), None)
        if foreign is not None:
            raise _xml_error(f"'{_quoted(str(foreign))}' is in a namespace; none is accepted")
    return root


def _malformed(error: etree.XMLSyntaxError, log: etree._ListErrorLog, xml: str) -> RpcError:
    """Return the error for a document that is not well-formed, in libvirt's form.

    libvirt shows the line, and below it where in it the parser stopped.
    """
    message, (line, column) = error.msg or "", error.position
    for first in log[:1]:
        message, line, column = first.message, first.line, first.column
    if not xml:
        return _xml_detail(line, f"{message}\n")
    lines = xml.split("\n")
    shown = lines[line - 1] if 0 < line <= len(lines) else ""
    where = min(max(column - 1, 0), len(shown))
    begin = max(where - QUOTED, 0)
    pointer = "-" * (where - begin) + "^"
    return _xml_detail(line, f"{_quoted(message)}\n{shown[begin : begin + 2 * QUOTED]}\n{pointer}")


def _xml_detail(line: int, text: str) -> RpcError:
    return RpcError(ErrorCode.XML_DETAIL, ErrorDomain.NODEDEV, f"at line {line}: {text}")


def _text(node: etree._Element) -> str | None:
    """Return the text of an element and of those inside it, None if there is none."""
    return "".join(map(str, node.itertext())) or None


def _attribute(node: etree._Element, name: str) -> str | None:
    value = node.get(name)
    return None if value is None else str(value)


def _parse_uuid(text: str) -> str:
    """Return a UUID in the kernel's form. Raises RpcError."""
    found = _UUID.fullmatch(text) if len(text) <= QUOTED else None
    if found is None:
        raise _internal(f"Invalid uuid '{_quoted(text)}' for new mdev device")
    return str(UUID(re.sub("[- ]", "", found[1])))


def _is_unsigned(text: str) -> bool:
    found = _NUMBER.fullmatch(text)
    return found is not None and int(found[1]) <= _UNSIGNED_MAX


# -- errors ---------------------------------------------------------------------------------------


def _bad_value(node: etree._Element, name: str) -> RpcError:
    value = _attribute(node, name)
    if value is None:
        return _xml_error(f"Missing required attribute '{name}' in element '{node.tag}'")
    return _xml_error(
        f"Invalid value for attribute '{name}' in element '{node.tag}': '{_quoted(value)}'."
    )


def _xml_error(detail: str) -> RpcError:
    return RpcError(ErrorCode.XML_ERROR, ErrorDomain.XML, f"XML error: {detail}")


def _internal(detail: str) -> RpcError:
    return RpcError(ErrorCode.INTERNAL_ERROR, ErrorDomain.NODEDEV, f"internal error: {detail}")


def _quoted(text: str) -> str:
    return text[:QUOTED]
