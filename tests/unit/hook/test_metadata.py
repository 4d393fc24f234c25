"""hook.domain, hook.metadata: what a domain asks for, and what is refused; the schema agrees."""

from __future__ import annotations

from pathlib import Path

import pytest
from lxml import etree

import nodedevd
from nodedevd.actions.requests import Attribute, Create
from nodedevd.errors import BadDomain
from nodedevd.hook.domain import read_domain
from nodedevd.hook.metadata import Wanted, read_metadata
from nodedevd.names import parse_pci
from tests.support.libvirt_domain import UUID, domain_xml, managed, mdev_device, pci_device

ONE, OTHER = "27b42a51-9f6b-4c0b-8f5f-4f3a1d0e8c01", "27b42a51-9f6b-4c0b-8f5f-4f3a1d0e8c02"
FUNCTION = "0000:26:00.7"
DEVICES = mdev_device(ONE) + mdev_device(OTHER) + pci_device(FUNCTION)
MDEV = f"<n:mdev uuid='{ONE}' type='A2-4Q'/>"
SCHEMA = etree.RelaxNG(
    etree.parse(Path(nodedevd.__file__).with_name("formats") / "domain-metadata.rng")
)


def wanted(metadata: str, devices: str = DEVICES) -> tuple[Wanted, ...]:
    """Return what a domain asks for."""
    return read_metadata(read_domain(domain_xml(metadata, devices)))


def accepted(metadata: str) -> bool:
    """Return whether the schema accepts the metadata."""
    return bool(SCHEMA.validate(etree.fromstring(metadata)))


def test_domain_without_metadata_asks_for_nothing() -> None:
    """Also with mdevs of its own, and with metadata of others."""
    assert wanted("") == ()
    assert wanted(managed()) == ()


def test_domain_is_read() -> None:
    """What it has assigned, by either kind of address."""
    upper = mdev_device(ONE.upper()) + pci_device("0000:3b:00.4", "yes")
    found = read_domain(domain_xml("", upper + pci_device(FUNCTION), uuid=UUID.upper()))
    assert found.uuid == UUID
    assert found.mdevs == {ONE}
    assert found.functions == {parse_pci("0000:3b:00.4"): True, parse_pci(FUNCTION): False}


@pytest.mark.parametrize(
    ("element", "request_", "function"),
    [
        (MDEV, Create(type="A2-4Q", uuid=ONE, domain=UUID), None),
        (
            (
                f"<n:mdev uuid='{ONE.upper()}' type='nvidia-746'>"
                "<n:from device='0000:3b:00.0'/><n:from device='mtty'/></n:mdev>"
            ),
            Create(type="nvidia-746", uuid=ONE, names=["0000:3b:00.0", "mtty"], domain=UUID),
            None,
        ),
        (
            (
                f"<n:mdev uuid='{ONE}' type='t'><n:attribute name='a/b' value='c=d'/>"
                "<n:from device='x'/><n:attribute name='e' value=''/></n:mdev>"
            ),
            Create(
                type="t",
                uuid=ONE,
                names=["x"],
                attributes=[Attribute("a/b", "c=d"), Attribute("e", "")],
                domain=UUID,
            ),
            None,
        ),
        (
            (
                "<n:function address='26:00.7' type='1148'>"
                "<n:attribute name='a' value='b'/></n:function>"
            ),
            Create(type="1148", names=[FUNCTION], attributes=[Attribute("a", "b")], domain=UUID),
            FUNCTION,
        ),
    ],
)
def test_vgpu_is_asked_for(element: str, request_: Create, function: str | None) -> None:
    """As a request of the control service, for the domain."""
    assert accepted(managed(element))
    assert wanted(managed(element)) == (Wanted(request_, function),)


def test_order_is_that_of_the_metadata() -> None:
    """Comments and white space mean nothing."""
    text = managed(
        f"\n <!-- first -->\n<n:function address='{FUNCTION}' type='1'/>",
        f"<n:mdev uuid='{OTHER}' type='2'> </n:mdev><?pi?>\n",
        MDEV,
    )
    assert accepted(text)
    assert [one.request.type for one in wanted(text)] == ["1", "2", "A2-4Q"]


REFUSED = {
    "misspelt root": (managed().replace("n:managed", "n:manage"), "<nodedevd:manage>: unknown"),
    "unknown element": (
        managed("<n:vgpu/>"),
        "<nodedevd:managed>: unknown element <nodedevd:vgpu>",
    ),
    "element of others": (managed("<mdev/>"), "unknown element <mdev>"),
    "text": (managed("nvidia-746"), "<nodedevd:managed>: it has no text"),
    "text between": (managed(MDEV, "x"), "it has no text"),
    "attribute of the whole": (managed().replace("managed ", "managed a='b' "), "attribute a"),
    "no uuid": (managed("<n:mdev type='t'/>"), "<nodedevd:mdev>: the attribute uuid is missing"),
    "no type": (managed(f"<n:mdev uuid='{ONE}'/>"), "the attribute type is missing"),
    "misspelt": (managed(f"<n:mdev uuid='{ONE}' type='t' owner='x'/>"), "unknown attribute owner"),
    "bad uuid": (managed("<n:mdev uuid='x' type='t'/>"), "'x' is no UUID"),
    "empty type": (managed(f"<n:mdev uuid='{ONE}' type=''/>"), "length >= 1"),
    "long type": (managed(f"<n:mdev uuid='{ONE}' type='{'t' * 257}'/>"), "length <= 256"),
    "no device": (managed(f"<n:mdev uuid='{ONE}' type='t'><n:from/></n:mdev>"), "<nodedevd:from>"),
    "empty device": (
        managed(f"<n:mdev uuid='{ONE}' type='t'><n:from device=''/></n:mdev>"),
        "length >= 1",
    ),
    "child of from": (
        managed(f"<n:mdev uuid='{ONE}' type='t'><n:from device='x'><n:a/></n:from></n:mdev>"),
        "unknown element <nodedevd:a>",
    ),
    "way out": (
        managed(
            f"<n:mdev uuid='{ONE}' type='t'><n:attribute name='../remove' value='1'/></n:mdev>"
        ),
        "no path below the device",
    ),
    "attribute without value": (
        managed(f"<n:mdev uuid='{ONE}' type='t'><n:attribute name='a'/></n:mdev>"),
        "the attribute value is missing",
    ),
    "no address": (managed("<n:function type='t'/>"), "the attribute address is missing"),
    "bad address": (managed("<n:function address='26:00.8' type='t'/>"), "no PCI address"),
    "place of a function": (
        managed(f"<n:function address='{FUNCTION}' type='t'><n:from device='x'/></n:function>"),
        "unknown element <nodedevd:from>",
    ),
}
"""What the schema refuses, too."""


@pytest.mark.parametrize("case", REFUSED)
def test_malformed_metadata_is_refused(case: str) -> None:
    """With the element and what is wrong with it: a misspelt word must not go unnoticed."""
    metadata, reason = REFUSED[case]
    assert not accepted(metadata)
    with pytest.raises(BadDomain) as raised:
        wanted(metadata)
    assert reason in str(raised.value)


@pytest.mark.parametrize(
    ("metadata", "devices", "reason"),
    [
        (managed(MDEV), "", f"the domain has no <hostdev type='mdev'> of {ONE}"),
        (managed(MDEV), mdev_device(OTHER), f"the domain has no <hostdev type='mdev'> of {ONE}"),
        (managed(MDEV, MDEV), DEVICES, f"{ONE} is there twice"),
        (managed(MDEV, MDEV.replace(ONE, ONE.upper())), DEVICES, f"{ONE} is there twice"),
        (
            managed(f"<n:function address='{FUNCTION}' type='t'/>"),
            pci_device("0001:26:00.7"),
            f"the domain has no <hostdev type='pci'> of {FUNCTION}",
        ),
        (
            managed(f"<n:function address='{FUNCTION}' type='t'/>"),
            pci_device(FUNCTION, "yes"),
            f"the <hostdev> of {FUNCTION} needs managed='no'",
        ),
        (
            managed(*[f"<n:mdev uuid='{ONE}' type='t'/>"] * 257),
            DEVICES,
            "at most 256 vGPUs",
        ),
    ],
)
def test_metadata_that_does_not_match_its_domain_is_refused(
    metadata: str, devices: str, reason: str
) -> None:
    """Which no schema can say."""
    assert accepted(metadata)
    with pytest.raises(BadDomain) as raised:
        wanted(metadata, devices)
    assert reason in str(raised.value)


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"not XML",
        b"<domain>",
        b"<domain><name>vm1</name></domain>",
        b"<domain><uuid>vm1</uuid></domain>",
        f"<network><uuid>{UUID}</uuid></network>".encode(),
        b"<!DOCTYPE domain [<!ENTITY u '%s'>]><domain><uuid>&u;</uuid></domain>" % UUID.encode(),
        b"<a>" * 300 + b"</a>" * 300,
    ],
)
def test_what_is_no_domain_is_refused(text: bytes) -> None:
    """Nothing is expanded, opened, or taken for something else."""
    with pytest.raises(BadDomain, match="standard input is no"):
        read_domain(text)
