"""The XML of an mdev, as clients of libvirt send it."""

from __future__ import annotations

from nodedevd.actions.requests import Attribute, Create
from nodedevd.errors import InvalidParameter
from nodedevd.names import is_uuid
from nodedevd.server.libvirt.mdev_document import ATTRIBUTES_MAX, MdevDocument, read_mdev
from nodedevd.server.libvirt.protocol import ErrorCode, ErrorDomain, RpcError
from nodedevd.xml_writer import escape_attribute
from tests.fuzz.target import Cutter, Target

_CODES = set(ErrorCode)
_DOMAINS = set(ErrorDomain)
_MESSAGE_MAX = 4096


def check(data: bytes) -> None:
    """Only declared errors; what is read is bounded, and is read the same again.

    The first byte decides whether the document is validated.
    """
    cutter = Cutter(data)
    validate = bool(cutter.byte() & 1)
    try:
        xml = cutter.rest().decode()
    except UnicodeDecodeError:
        return  # such a string is no argument of a call
    if "\0" in xml:
        return
    try:
        found = read_mdev(xml, validate=validate)
    except RpcError as error:
        assert error.code in _CODES
        assert error.domain in _DOMAINS
        assert len(error.message) <= _MESSAGE_MAX
        return
    _check(found)
    assert read_mdev(xml, validate=False) == found, "also without the schema"


def _check(found: MdevDocument) -> None:
    assert found.type_id
    assert found.parent is None or found.parent
    assert found.uuid is None or (is_uuid(found.uuid) and found.uuid == found.uuid.lower())
    assert len(found.attributes) <= ATTRIBUTES_MAX
    for name, value in found.attributes:
        try:
            attribute = Attribute(name, value)
        except InvalidParameter:
            continue
        assert not {"", ".", ".."} & set(attribute.name.split("/"))
    if found.uuid is not None:
        assert Create(type=found.type_id, uuid=found.uuid).uuid == found.uuid
    if all(map(str.isprintable, (found.type_id, found.parent or ""))):
        parent = f"<parent>{escape_attribute(found.parent)}</parent>" if found.parent else ""
        uuid = f"<uuid>{found.uuid}</uuid>" if found.uuid else ""
        inner = f"<type id='{escape_attribute(found.type_id)}'/>{uuid}"
        again = f"<device>{parent}<capability type='mdev'>{inner}</capability></device>"
        assert read_mdev(again, validate=False) == found._replace(attributes=())


TARGET = Target(
    "mdev-document",
    check,
    reads=("nodedevd/server/libvirt/mdev_document.py",),
    words=(
        *(
            b"<device>",
            b"</device>",
            b"<name>x</name>",
            b"<parent>mtty</parent>",
            b"<parent wwnn='1'",
        ),
        *(b"<capability type='mdev'>", b"</capability>", b"<type id='mtty-1'/>", b"<uuid>"),
        *(b"5d4d1f0c-6d5b-45d5-9a64-3c6f0a3d1e01", b"</uuid>", b"<attr name='a' value='b'/>"),
        *(b"<iommuGroup number='1'/>", b"<devnode type='dev'>", b"<path>", b"<driver>", b"&amp;"),
        *(b"<!DOCTYPE x [", b"<!ENTITY a 'b'>", b"<![CDATA[", b"]]>", b"<!--", b"-->", b"<?x ?>"),
        *(b" xmlns='urn:x'", b" xmlns:x='urn:x'", b"<x:a", b"&#x41;", b"encoding='UTF-7'", b"net"),
    ),
    most_bytes=1024,
    steps=(3000, 40),
    share=0.5,
)
