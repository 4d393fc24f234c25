"""accel: the device node, hardware and firmware of an accelerator, with any driver."""

from __future__ import annotations

import errno

import pytest

from nodedevd.host.sysroot import Sysroot
from nodedevd.kinds.accel import Accel
from nodedevd.model.device import Device
from nodedevd.tree.read import read_device, scan
from tests.support.faulty import FaultySysroot
from tests.support.trees import Attributes, Tree
from tests.support.xml import native_xml, validate

ABOVE = "/sys/devices/pci0000:c2/0000:c2:00.1"


def accelerator(tree: Tree, attributes: Attributes) -> str:
    """Make an accelerator whose parent device has these attributes, and return its path."""
    path = tree.device(
        f"{ABOVE}/accel/accel0",
        class_="accel",
        uevent={
            "MAJOR": 261,
            "MINOR": 0,
            "DEVNAME": "accel/accel0",
            "DEVTYPE": "accel_minor",
        },
        attributes={"dev": "261:0"},
    )
    tree.kernel_link(f"{path}/device", ABOVE)
    tree.attributes(ABOVE, attributes)
    return path


def accel(tree: Tree, attributes: Attributes, sysroot: Sysroot | None = None) -> Device:
    """Make an accelerator whose device has these attributes, scan, and return it."""
    accelerator(tree, attributes)
    return scan(sysroot or Sysroot()).lookup("accel_accel0")


@pytest.mark.parametrize(
    ("attributes", "model", "version"),
    [
        (
            {"vbnv": "RyzenAI-npu4", "device_type": 1, "fw_version": "1.0.0.63"},
            "RyzenAI-npu4",
            "1.0.0.63",
        ),
        (
            {"device_type": "GAUDI2", "cpucp_ver": "hl-gaudi2-1.10.0"},
            "GAUDI2",
            "hl-gaudi2-1.10.0",
        ),
    ],
)
def test_driver_reports_hardware_and_firmware(
    tree: Tree, attributes: Attributes, model: str, version: str
) -> None:
    """The attributes are those of amdxdna or of habanalabs."""
    found = accel(tree, attributes)
    assert (found.types, found.devnode, found.errors) == (("accel",), "/dev/accel/accel0", ())
    assert found.capability(Accel) == Accel("/dev/accel/accel0", model, version)
    text = native_xml(found)
    validate(text)
    assert text.endswith(
        "  <capability type='accel'>\n"
        "    <chardev>/dev/accel/accel0</chardev>\n"
        f"    <model>{model}</model>\n"
        f"    <firmware_version>{version}</firmware_version>\n"
        "  </capability>\n"
        "</device>\n"
    )


def test_driver_without_attributes_is_not_a_fault(tree: Tree) -> None:
    """The class promises none: ivpu and qaic have none of these."""
    found = accel(tree, {})
    assert (found.capability(Accel), found.errors) == (Accel("/dev/accel/accel0", None, None), ())
    assert "model" not in native_xml(found)
    validate(native_xml(found))


def test_empty_attribute_is_no_value(tree: Tree) -> None:
    """As after a start of the firmware that failed."""
    found = accel(tree, {"device_type": "GAUDI", "cpucp_ver": ""})
    assert (found.capability(Accel), found.errors) == (
        Accel("/dev/accel/accel0", "GAUDI", None),
        (),
    )


@pytest.mark.parametrize(
    ("attribute", "tag"), [("device_type", "model"), ("cpucp_ver", "firmware_version")]
)
def test_attribute_that_cannot_be_read_is_unknown(tree: Tree, attribute: str, tag: str) -> None:
    """An error of the driver makes one value unknown."""
    path = f"{ABOVE}/accel/accel0/device/{attribute}"
    sysroot = FaultySysroot(errors={path: errno.EBUSY})
    found = accel(tree, {"device_type": "GAUDI", "cpucp_ver": "1.10.0"}, sysroot)
    assert [(one.attribute, one.code) for one in found.errors] == [
        (f"device/{attribute}", "unreadable")
    ]
    assert f"    <{tag} state='unknown'/>\n" in native_xml(found)
    validate(native_xml(found))


def test_text_that_is_not_utf8_is_escaped(tree: Tree) -> None:
    """It leaves a fault."""
    found = accel(tree, {"vbnv": b"npu\xff\n"})
    assert found.capability(Accel) == Accel("/dev/accel/accel0", r"npu\xff", None)
    assert [(one.attribute, one.code) for one in found.errors] == [("device/vbnv", "malformed")]


@pytest.mark.parametrize("name", ["accel", "accelX", "accel0-1", "card0"])
def test_other_entry_of_the_class_is_no_device(tree: Tree, name: str) -> None:
    """Only accel<N> has a node."""
    tree.device(f"{ABOVE}/accel/{name}", class_="accel")
    assert scan(Sysroot()).names == ("computer",)


def test_uevent_that_cannot_be_read_costs_only_the_node_of_the_device(tree: Tree) -> None:
    """The node of the capability is then named after the device."""
    sysroot = FaultySysroot(errors={f"{ABOVE}/accel/accel0/uevent": errno.EIO})
    found = accel(tree, {"vbnv": "npu"}, sysroot)
    assert found.capability(Accel) == Accel("/dev/accel/accel0", "npu", None)
    assert found.devnode is None


def test_accelerator_removed_while_read_is_no_device(tree: Tree) -> None:
    """An accelerator removed at any point of its read is dropped, without an error."""
    for at in range(1, 7):  # itself, uevent, four attributes
        path = accelerator(tree, {})
        sysroot = FaultySysroot(vanishing=path, at=at)
        assert read_device(sysroot, path, ["/sys/class/accel"]) is None
