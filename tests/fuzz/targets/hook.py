"""Domains as libvirt hands them to the hook, whose metadata anybody may have written."""

from __future__ import annotations

from pathlib import Path

from lxml import etree

import nodedevd
from nodedevd.errors import BadDomain
from nodedevd.hook.domain import read_domain
from nodedevd.hook.metadata import VGPUS_AT_MOST, read_metadata
from nodedevd.names import is_uuid
from tests.fuzz.target import Target
from tests.support.libvirt_domain import domain_xml, mdev_device, pci_device

_UUID = "27b42a51-9f6b-4c0b-8f5f-4f3a1d0e8c01"
_DEVICES = mdev_device(_UUID) + pci_device("0000:26:00.7")
_SCHEMA = etree.RelaxNG(
    etree.parse(Path(nodedevd.__file__).with_name("formats") / "domain-metadata.rng")
)
_ROOT = b"<n:managed xmlns:n='urn:nodedevd:domain:1'>"


def check(data: bytes) -> None:
    """What is accepted is bounded, the schema accepts it, and it is the domain's own.

    The input is the whole domain if it begins as one, else a part of its metadata.
    """
    if not data.startswith(b"<domain"):
        before, after = domain_xml("METADATA", _DEVICES).split(b"METADATA")
        data = before + _ROOT + data + b"</n:managed>" + after
    try:
        domain = read_domain(data)
        wanted = read_metadata(domain)
    except BadDomain as error:
        assert len(str(error)) <= 8 * len(data) + 500
        return
    assert is_uuid(domain.uuid)
    assert len(wanted) <= VGPUS_AT_MOST
    assert wanted == () or domain.metadata is not None
    if domain.metadata is not None:
        alone = etree.fromstring(etree.tostring(domain.metadata, with_tail=False))
        _SCHEMA.assertValid(alone)
    for one in wanted:
        assert one.request.domain == domain.uuid
        assert (one.request.uuid is None) is (one.function is not None)
        assert one.request.uuid is None or one.request.uuid in domain.mdevs
        assert one.function is None or one.request.names == [one.function]


TARGET = Target(
    "hook",
    check,
    reads=(
        *("nodedevd/hook/domain.py", "nodedevd/hook/metadata.py"),
        "nodedevd/xmltree.py",
    ),
    words=(
        f"<n:mdev uuid='{_UUID}' type='A2-4Q'>".encode(),
        b"<n:from device='0000:3b:00.0'/>",
        b"<n:attribute name='a/b' value='c'/>",
        b"</n:mdev>",
        b"<n:function address='0000:26:00.7' type='1148'/>",
        *(b"<!--", b"-->", b"<![CDATA[", b"]]>", b"&#10;", b"&lt;", b"&x;", b"xmlns:m='urn:x'"),
        b"<domain><uuid>6f1d0c1e-7a5b-4c55-9b0e-3d8f0f3c7a01</uuid><metadata>",
        _ROOT,
        b"</n:managed></metadata><devices/></domain>",
    ),
    most_bytes=512,
    share=0.5,
)
