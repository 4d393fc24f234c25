"""ap_matrix: the device whose mdevs assign crypto queues to guests."""

from __future__ import annotations

import errno

import pytest

from nodedevd.host.sysroot import Sysroot
from nodedevd.kinds.ap_matrix import ApMatrix
from nodedevd.model.device import Device
from nodedevd.tree.read import read_device, scan
from tests.support.faulty import FaultySysroot
from tests.support.trees import Tree
from tests.support.xml import native_xml, validate

PATH = "/sys/devices/vfio_ap/matrix"


def matrix(tree: Tree, features: str | None = "guest_matrix dyn ap_config") -> str:
    """Make the device."""
    values = {} if features is None else {"features": features}
    return tree.device(PATH, bus="matrix", driver="vfio_ap", attributes=values)


def device(sysroot: Sysroot | None = None) -> Device:
    """Scan the host and return the device."""
    return scan(sysroot or Sysroot()).lookup("ap_matrix")


def test_matrix_shows_its_features(tree: Tree) -> None:
    """Its name is libvirt's fixed one; features are sorted."""
    matrix(tree)
    found = device()
    assert (found.path, found.driver, found.errors) == (PATH, "vfio_ap", ())
    assert found.types == ("ap_matrix",)
    assert found.capability(ApMatrix) == ApMatrix(features=("ap_config", "dyn", "guest_matrix"))
    text = native_xml(found)
    validate(text)
    assert text.partition("  <capability")[2] == (
        " type='ap_matrix'>\n"
        "    <feature name='ap_config'/>\n"
        "    <feature name='dyn'/>\n"
        "    <feature name='guest_matrix'/>\n"
        "  </capability>\n"
        "</device>\n"
    )


def test_mdev_parent_stands_behind_the_matrix(tree: Tree) -> None:
    """Its mdev types are a capability of their own."""
    tree.mdev_type(matrix(tree), "vfio_ap-passthrough", device_api="vfio-ap")
    tree.mdev_parent(PATH)
    found = device()
    assert (found.name, found.types) == ("ap_matrix", ("ap_matrix", "mdev_parent"))
    validate(native_xml(found))


@pytest.mark.parametrize("features", [None, "", " "])
def test_driver_that_tells_no_features_has_none(tree: Tree, features: str | None) -> None:
    """Before Linux 6.10 there is no such file."""
    matrix(tree, features)
    found = device()
    assert (found.capability(ApMatrix), found.errors) == (ApMatrix(features=()), ())
    validate(native_xml(found))


@pytest.mark.parametrize(("number", "code"), [(errno.EACCES, "refused"), (errno.EIO, "unreadable")])
def test_features_that_cannot_be_read_cost_nothing_else(tree: Tree, number: int, code: str) -> None:
    """The device is shown without the value, with an error."""
    matrix(tree)
    found = device(FaultySysroot(errors={f"{PATH}/features": number}))
    assert found.capability(ApMatrix) == ApMatrix(features=())
    assert [(one.attribute, one.code) for one in found.errors] == [("features", code)]
    validate(native_xml(found))


def test_matrix_removed_while_read_is_no_device(tree: Tree) -> None:
    """A matrix device removed at any point of its read is dropped, without an error."""
    for at in (1, 2, 3):  # itself, features, driver
        matrix(tree)
        sysroot = FaultySysroot(vanishing=PATH, at=at)
        assert read_device(sysroot, PATH, ["/sys/bus/matrix/devices"]) is None
