"""The XML of an mdev that clients send: what is read of it, and what is refused."""

from __future__ import annotations

import pytest
from lxml import etree

from nodedevd.formats import device_xml
from nodedevd.kinds.mdev_child import MdevChild
from nodedevd.names import is_uuid
from nodedevd.server.libvirt.mdev_document import (
    ATTRIBUTES_MAX,
    SCHEMA,
    XML_BYTES_MAX,
    MdevDocument,
    read_mdev,
)
from nodedevd.server.libvirt.protocol import RpcError
from tests.support.hosts import HOSTS, snapshot_of

UUID = "5d4d1f0c-6d5b-45d5-9a64-3c6f0a3d1e01"
MDEV = (
    "<device>{head}<parent>mtty</parent><capability type='mdev'><type id='mtty-1'/>{inner}"
    "</capability></device>"
)
PLAIN = MdevDocument("mtty", "mtty-1", None, ())


def of(inner: str = "", head: str = "") -> str:
    """Return a document."""
    return MDEV.format(inner=inner, head=head)


def refused(xml: str, *, validate: bool = False) -> tuple[int, int, str]:
    """Return code, domain and text of the error of a document."""
    with pytest.raises(RpcError) as found:
        read_mdev(xml, validate=validate)
    return found.value.code, found.value.domain, found.value.message


@pytest.mark.parametrize(
    ("xml", "expected"),
    [
        (of(), PLAIN),
        (of(head="<!-- --><?pi x?><name>any</name><path>/</path><start>auto</start><foo/>"), PLAIN),
        (of("<uuid/><parent_addr>x</parent_addr><iommuGroup/><iommuGroup number='x'/>"), PLAIN),
        (of("<iommuGroup number=' 0012 '/><state>x</state>"), PLAIN),
        (of("</capability><capability type='pci'>"), PLAIN),
        (of(f"<uuid>{UUID}</uuid>"), PLAIN._replace(uuid=UUID)),
        (of(f"<uuid>\n {UUID.upper().replace('-', '')}\t</uuid>"), PLAIN._replace(uuid=UUID)),
        (of(f"<uuid>{UUID[:9]}<a>{UUID[9:]}</a></uuid>"), PLAIN._replace(uuid=UUID)),
        (of(f"<uuid>{UUID}</uuid><uuid>x</uuid>"), PLAIN._replace(uuid=UUID)),
        (
            of("<attr name='b' value=''/><attr name='a' value='&lt;1'/><attr name='b' value='2'/>"),
            PLAIN._replace(attributes=(("b", ""), ("a", "<1"), ("b", "2"))),
        ),
        (of("<attr name='x'/><attr value='y'/><attr/>"), PLAIN),
        (of().replace("<parent>mtty</parent>", "<parent/>"), PLAIN._replace(parent=None)),
        (of().replace("<parent>mtty</parent>", ""), PLAIN._replace(parent=None)),
        ('<?xml version="1.0" encoding="UTF-16"?>' + of(), PLAIN),
        ("\ufeff" + of(), PLAIN),
    ],
)
def test_document_is_read_as_by_libvirt(xml: str, expected: MdevDocument) -> None:
    """What says nothing of an mdev is ignored; the encoding is that of the protocol."""
    assert read_mdev(xml, validate=False) == expected


@pytest.mark.parametrize(
    ("xml", "expected"),
    [
        ("", (35, 22, "at line 1: Document is empty\n")),
        (
            "<device>\n <parent>x</parent\n</device>",
            (35, 22, "at line 3: expected '>'\n</device>\n^"),
        ),
        ("<foo/>", (27, 5, "XML error: expecting root element of 'device', not 'foo'")),
        ("<device/>", (1, 22, "internal error: no device capabilities for 'new device'")),
        (
            "<device><capability/></device>",
            (27, 5, "XML error: Missing required attribute 'type' in element 'capability'"),
        ),
        (
            "<device><capability type='x'/></device>",
            (27, 5, "XML error: Invalid value for attribute 'type' in element 'capability': 'x'."),
        ),
        (
            of("</capability><capability type='x'>"),
            (27, 5, "XML error: Invalid value for attribute 'type' in element 'capability': 'x'."),
        ),
        (
            of(head="<devnode>x</devnode>"),
            (27, 5, "XML error: Missing required attribute 'type' in element 'devnode'"),
        ),
        (
            of().replace("<parent>", "<parent wwpn='1'>"),
            (27, 5, "XML error: when providing parent wwpn='1', the wwnn must also be provided"),
        ),
        (
            of().replace("<type id='mtty-1'/>", "<type id=''/>"),
            (67, 22, "unsupported configuration: missing type id attribute for 'new device'"),
        ),
        (of("<uuid>x</uuid>"), (1, 22, "internal error: Invalid uuid 'x' for new mdev device")),
        (
            of("<iommuGroup number='-1'/>"),
            (1, 22, "internal error: invalid iommuGroup number attribute for 'new device'"),
        ),
        (
            of("<iommuGroup number='4294967296'/>"),
            (1, 22, "internal error: invalid iommuGroup number attribute for 'new device'"),
        ),
        (
            "<device><capability type='scsi_host'/></device>",
            (67, 22, "unsupported configuration: Unsupported device type"),
        ),
    ],
)
def test_document_that_is_none_of_an_mdev_is_refused_as_by_libvirt(
    xml: str, expected: tuple[int, int, str]
) -> None:
    """Code, domain and text."""
    assert refused(xml) == expected


ENTITIES = "".join(f'<!ENTITY a{n} "&a{n - 1};&a{n - 1};">' for n in range(1, 40))


@pytest.mark.parametrize(
    ("xml", "text"),
    [
        (f'<!DOCTYPE x [<!ENTITY a0 "a">{ENTITIES}]>' + of("&a39;"), "document type"),
        ('<!DOCTYPE x SYSTEM "file:///etc/passwd">' + of(), "document type"),
        ('<!DOCTYPE x [<!ENTITY a SYSTEM "/etc/passwd">]>' + of("&a;"), "document type"),
        (of("<!-- <!DOCTYPE -->"), "document type"),
        ('<?xml version="1.0" encoding="UTF-7"?>+ADwAIQ-DOCTYPE x+AD4' + of(), "at line 1: "),
        (of("&foo;"), "Entity 'foo' not defined"),
        ("<device>" + "<a>" * 500, "Excessive depth in document: 256"),
        (of("x" * XML_BYTES_MAX), f"the limit is {XML_BYTES_MAX}"),
        ("<device " + " ".join(f"a{n}=''" for n in range(5000)) + "/>", "too large"),
        ("<device>" + "<a/>" * 10_000 + "</device>", "too large"),
        (of("<attr name='a' value='b'/>" * 10_000), f"the limit is {XML_BYTES_MAX}"),
        (of("<attr name='a' value='b'/>" * (ATTRIBUTES_MAX + 1)), f"the limit is {ATTRIBUTES_MAX}"),
        (of("<attr name='a' value='b' value='c'/>"), "Attribute value redefined"),
        ("<device xmlns='urn:x'>" + of() + "</device>", "namespace"),
        (of("<x:uuid xmlns:x='urn:x'/>"), "'{urn:x}uuid' is in a namespace"),
        (of("<uuid x:y='' xmlns:x='urn:x'/>"), "'{urn:x}y' is in a namespace"),
        (
            of("<xi:include xmlns:xi='http://www.w3.org/2001/XInclude' href='/etc/passwd'/>"),
            "namespace",
        ),
        (of("<uuid>" + "- " * 20_000 + "</uuid>"), "Invalid uuid"),
        (of("&#0;"), "at line 1: "),
        (of("<uuid>\x01</uuid>"), "at line 1: "),
        (of("]]>"), "at line 1: "),
    ],
)
def test_hostile_document_is_refused(xml: str, text: str) -> None:
    """Whatever it wants: memory, time, files, elements that look like others."""
    assert text in refused(xml)[2]
    for validate in (False, True):
        message = refused(xml, validate=validate)[2]
        assert len(message) < 2000
        assert "root:" not in message


def test_long_line_is_shown_in_part() -> None:
    """The pointer still points to where the parser stopped."""
    message = refused("<device>" + " " * 3000 + "<a></b>")[2]
    _, shown, pointer = message.split("\n")
    assert shown[: pointer.index("^")].endswith("<a></b>")
    assert len(shown) <= 512


# -- the schema -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "xml",
    [
        of(),
        of(head="<name>x</name><foo/>"),
        of("<uuid>x</uuid>", head="<name>x</name>"),
        of("<uuid/>", head="<name>x</name>"),
        of("<attr name='a'/>", head="<name>x</name>"),
        of("</capability><capability type='mdev'>", head="<name>x</name>"),
        of("<iommuGroup/>", head="<name>x</name>"),
        "<device><name>x</name></device>",
        "<device/>",
    ],
)
def test_document_that_does_not_fit_is_refused_when_it_is_validated(xml: str) -> None:
    """With the file of the schema, and what is wrong."""
    code, domain, text = refused(xml, validate=True)
    assert (code, domain) == (92, 5)
    assert f"Unable to validate doc against {SCHEMA}\n" in text


@pytest.mark.parametrize("host", sorted(HOSTS))
def test_what_nodedevd_prints_of_an_mdev_fits(host: str) -> None:
    """So it can be edited, and given back."""
    snapshot = snapshot_of(host)
    for device in snapshot:
        mdev = device.capability(MdevChild)
        if mdev is not None and mdev.mdev_type is not None and is_uuid(mdev.uuid):
            xml = device_xml(device, snapshot, "libvirt")
            found = read_mdev(xml, validate=True)
            assert (found.type_id, found.uuid) == (mdev.mdev_type.id, mdev.uuid)
            assert len(found.attributes) == len(mdev.attributes)


def test_schema_is_one() -> None:
    """A RELAX NG that lxml knows, beside that of nodedevd's own XML."""
    assert SCHEMA.with_name("nodedevd.rng").exists()
    assert etree.RelaxNG(etree.parse(str(SCHEMA)))
