"""css: one subchannel of an IBM Z, of any type, with any driver."""

from __future__ import annotations

import errno

import pytest

from nodedevd.host.faults import Fault
from nodedevd.host.sysroot import Sysroot
from nodedevd.kinds.css import Css
from nodedevd.model.device import Device
from nodedevd.tree.read import read_device, scan
from tests.support.faulty import FaultySysroot
from tests.support.trees import Tree, Value
from tests.support.xml import native_xml, validate

PATH = "/sys/devices/css0/0.0.0070"


def subchannel(
    tree: Tree, *, path: str = PATH, driver: str | None = "io_subchannel", **changed: Value | None
) -> str:
    """Make an I/O subchannel; attributes that are None are left out."""
    values = {"type": 0, "dev_busid": "0.0.2b09", **changed}
    present = {key: value for key, value in values.items() if value is not None}
    return tree.device(path, bus="css", driver=driver, attributes=present)


def device(sysroot: Sysroot | None = None) -> Device:
    """Scan the host and return its subchannel."""
    return scan(sysroot or Sysroot()).lookup("css_0_0_0070")


def css(of: Device) -> Css:
    """Return the capability, and expect it."""
    found = of.capability(Css)
    assert found is not None
    return found


def test_whole_subchannel_shows_each_field(tree: Tree) -> None:
    """Its own address, and that of the device behind it."""
    subchannel(tree)
    found = device()
    assert (found.path, found.driver, found.errors) == (PATH, "io_subchannel", ())
    assert css(found) == Css(address="0.0.0070", channel_dev_addr="0.0.2b09", subchannel_type=0)
    text = native_xml(found)
    validate(text)
    assert text.partition("  <capability")[2] == (
        " type='css'>\n"
        "    <cssid>0x0</cssid>\n"
        "    <ssid>0x0</ssid>\n"
        "    <devno>0x0070</devno>\n"
        "    <channel_dev_addr>\n"
        "      <cssid>0x0</cssid>\n"
        "      <ssid>0x0</ssid>\n"
        "      <devno>0x2b09</devno>\n"
        "    </channel_dev_addr>\n"
        "    <subchannel_type>0</subchannel_type>\n"
        "  </capability>\n"
        "</device>\n"
    )


@pytest.mark.parametrize(
    ("driver", "kind"), [("chsc_subchannel", 1), ("eadm_subchannel", 3), ("vfio_ccw", 0), (None, 0)]
)
def test_subchannel_of_any_driver_is_shown(tree: Tree, driver: str | None, kind: int) -> None:
    """CHSC and ADM subchannels carry no I/O, and are devices all the same."""
    subchannel(tree, driver=driver, type=kind, dev_busid="none")
    found = device()
    assert (found.driver, found.errors) == (driver, ())
    assert css(found) == Css(address="0.0.0070", channel_dev_addr=None, subchannel_type=kind)
    assert validate(native_xml(found)).find("capability/channel_dev_addr") is None


def test_mdev_parent_stands_behind_the_subchannel(tree: Tree) -> None:
    """vfio_ccw makes a parent of it, which is a second capability."""
    path = subchannel(tree, driver="vfio_ccw")
    tree.mdev_type(path, "vfio_ccw-io", device_api="vfio-ccw")
    tree.mdev_parent(path)
    found = device()
    assert (found.types, found.name) == (("css", "mdev_parent"), "css_0_0_0070")
    validate(native_xml(found))


def test_kernel_that_tells_little_is_no_fault(tree: Tree) -> None:
    """dev_busid came with Linux 5.13."""
    subchannel(tree, type=None, dev_busid=None)
    found = device()
    assert css(found) == Css(address="0.0.0070", channel_dev_addr=None, subchannel_type=None)
    assert found.errors == ()
    validate(native_xml(found))


def test_subchannel_whose_name_is_no_address_is_shown_without(tree: Tree) -> None:
    """The other values are read."""
    subchannel(tree, path="/sys/devices/css0/defunct")
    (found,) = scan(Sysroot()).select(["css"])
    assert (css(found).address, css(found).channel_dev_addr) == (None, "0.0.2b09")
    assert [(one.attribute, one.code) for one in found.errors] == [("", "malformed")]
    assert validate(native_xml(found)).find("capability/devno") is None


@pytest.mark.parametrize("text", ["0.0.2b0", "0:0:2b09", "", "nobody"])
def test_device_address_that_makes_no_sense_is_a_fault(tree: Tree, text: str) -> None:
    """A malformed address is unknown; the other values are read."""
    subchannel(tree, dev_busid=text)
    found = device()
    assert (css(found).channel_dev_addr, css(found).subchannel_type) == (None, 0)
    assert found.errors == (Fault("dev_busid", "malformed", text),)
    validate(native_xml(found))


@pytest.mark.parametrize(("number", "code"), [(errno.EACCES, "refused"), (errno.EIO, "unreadable")])
@pytest.mark.parametrize(
    ("attribute", "element"), [("dev_busid", "channel_dev_addr"), ("type", "subchannel_type")]
)
def test_attribute_that_cannot_be_read_costs_no_other(
    tree: Tree, attribute: str, element: str, number: int, code: str
) -> None:
    """One error of the driver makes one field unknown."""
    subchannel(tree)
    found = device(FaultySysroot(errors={f"{PATH}/{attribute}": number}))
    assert [(one.attribute, one.code) for one in found.errors] == [(attribute, code)]
    root = validate(native_xml(found))
    assert [one.tag for one in root.findall(".//*[@state='unknown']")] == [element]


def test_subchannel_removed_while_read_is_no_device(tree: Tree) -> None:
    """A subchannel removed at any point of its read is dropped, without an error."""
    for at in range(1, 5):  # itself, dev_busid, type, driver
        subchannel(tree)
        sysroot = FaultySysroot(vanishing=PATH, at=at)
        assert read_device(sysroot, PATH, ["/sys/bus/css/devices"]) is None
