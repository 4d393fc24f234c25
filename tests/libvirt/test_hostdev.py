"""hostdev: libvirt's schema and drivers take the XML that hands a device to a guest."""

from __future__ import annotations

from functools import cache

import pytest
from lxml import etree

from nodedevd.errors import DoesNotFit
from tests.support import domains
from tests.support.domains import SCHEMA, hostdev_of
from tests.support.hostdev_cases import (
    ACCEPTED as ALL_ACCEPTED,
)
from tests.support.hostdev_cases import (
    CCW,
    DASD,
    FUNCTION,
    MBOCHS,
    PCI,
    VGPU,
    Case,
    label,
    on,
    xml_of,
)
from tests.support.xml import attributes, find, parse

# Debian's libvirt is older than the display of a PCI function (10.3.0) and iommufd (12.1.0).
ACCEPTED = [
    case
    for case in ALL_ACCEPTED
    if "iommufd" not in dict(case[2]) and not (case[0] == VGPU[0] and "display" in dict(case[2]))
]


@cache
def schema() -> etree.RelaxNG:
    """Return libvirt's schema of domains."""
    return etree.RelaxNG(etree.parse(str(SCHEMA)))


@pytest.mark.needs("libvirt's schemas")
@pytest.mark.parametrize("case", ACCEPTED, ids=label)
def test_libvirts_schema_accepts_the_device(case: Case) -> None:
    """The device is in a minimal domain."""
    schema().assertValid(parse(domains.domain("guest", xml_of(case), kind="kvm")))


@pytest.mark.needs("libvirt's schemas")
def test_libvirts_schema_refuses_what_is_no_device() -> None:
    """A schema that accepts everything would prove nothing."""
    text = domains.domain("guest", on(*MBOCHS[:2]).xml, kind="kvm")
    assert schema().validate(parse(text))
    assert not schema().validate(parse(text.replace("<source>", "<source><odd/>")))
    assert not schema().validate(parse(text.replace("vfio-pci", "vfio-platform")))


def same(one: etree._Element, other: etree._Element) -> bool:
    """Return whether two elements are equal, except for white space and order of attributes."""
    return (
        (one.tag, attributes(one), (one.text or "").strip())
        == (other.tag, attributes(other), (other.text or "").strip())
        and len(one) == len(other)
        and all(map(same, one, other))
    )


@pytest.fixture(scope="module")
def defined() -> dict[str, str]:
    """Return the domains that libvirt's test driver makes of all cases."""
    return domains.defined({label(case): xml_of(case) for case in ACCEPTED})


@pytest.mark.needs("virsh")
@pytest.mark.parametrize("case", ACCEPTED, ids=label)
def test_virsh_defines_a_domain_with_the_device(case: Case, defined: dict[str, str]) -> None:
    """The domain has the device as written."""
    assert same(hostdev_of(defined[label(case)]), parse(xml_of(case)))


PLAIN = [case for case in ACCEPTED if case[0] != "s390x-ap-ccw"]


@pytest.fixture(scope="module")
def defined_by_qemu() -> dict[str, str]:
    """Return the domains that libvirt's QEMU driver makes of the cases for x86_64."""
    return domains.defined({label(case): xml_of(case) for case in PLAIN}, kind="qemu")


@pytest.mark.needs("libvirt's QEMU driver")
@pytest.mark.parametrize("case", PLAIN, ids=label)
def test_qemu_driver_defines_a_domain_with_the_device(
    case: Case, defined_by_qemu: dict[str, str]
) -> None:
    """The domain has the device as written, plus an address and display defaults."""
    wanted, found = parse(xml_of(case)), hostdev_of(defined_by_qemu[label(case)])
    assert attributes(wanted).items() <= attributes(found).items()
    for element in wanted:
        assert same(find(found, str(element.tag)), element)


@pytest.mark.needs("libvirt's QEMU driver")
def test_qemu_driver_boots_from_no_mdev_of_vfio_pci() -> None:
    """So hostdev refuses it, although the schema and the test driver accept it."""
    text = on(*MBOCHS[:2]).xml.replace("</source>\n", "</source>\n<boot order='1'/>\n")
    assert "booting from assigned devices" in domains.defined({"boot": text}, kind="qemu")["boot"]
    with pytest.raises(DoesNotFit, match="an mdev of vfio-pci, and libvirt cannot boot from it"):
        on(*MBOCHS[:2], boot_order=1)


@pytest.mark.needs("virsh")
@pytest.mark.parametrize(("device", "address"), [(MBOCHS, CCW), (DASD, PCI), (FUNCTION, CCW)])
def test_address_of_another_bus_is_refused_by_libvirt_as_by_hostdev(
    device: tuple[str, str, str | None], address: str
) -> None:
    """The error comes before the domain is defined."""
    host, name, _ = device
    with pytest.raises(DoesNotFit, match="give an address"):
        on(host, name, address=address)
    element = "<address type='ccw' cssid='0xfe' ssid='0x0' devno='0x0001'/>"
    if address == PCI:
        element = "<address type='pci' domain='0x0000' bus='0x05' slot='0x00' function='0x0'/>"
    text = on(host, name).xml.replace("</source>\n", f"</source>\n{element}\n")
    assert "error: Failed to define domain" in domains.defined({"guest": text})["guest"]
