"""scsi_target: a target, behind a Fibre Channel port or not."""

from __future__ import annotations

import errno

import pytest

from nodedevd.host.faults import Fault
from nodedevd.host.sysroot import Sysroot
from nodedevd.kinds.scsi_target import FcRemotePort, ScsiTarget
from nodedevd.model.device import Device
from nodedevd.tree.read import read_device, scan
from tests.support import scsi
from tests.support.faulty import FaultySysroot
from tests.support.trees import Tree
from tests.support.xml import attributes, find, native_xml, validate

ADAPTER = "/sys/devices/pci0000:00/0000:00:01.0"
RPORT = f"{ADAPTER}/host5/rport-5:0-0"
PATH = f"{RPORT}/target5:0:0"
PORT_NAME = "../fc_remote_ports/rport-5:0-0/port_name"
LISTED_IN = ["/sys/bus/scsi/devices"]


def target(tree: Tree, wwpn: str | None = "0x5000000198394b5d") -> str:
    """Make a target behind a Fibre Channel port of this name."""
    above = scsi.host(tree, 5, above=ADAPTER, fc={})
    return scsi.target(tree, scsi.remote_port(tree, above, "rport-5:0-0", wwpn), "5:0:0")


def device(sysroot: Sysroot | None = None) -> Device:
    """Scan the host and return its target."""
    return scan(sysroot or Sysroot()).lookup("scsi_target5_0_0")


def test_target_behind_a_port_shows_each_field(tree: Tree) -> None:
    """The port is no device of the tree; the host above it is."""
    assert target(tree) == PATH
    found = device()
    assert (found.path, found.parent) == (PATH, "scsi_host5")
    assert (found.types, found.errors) == (("scsi_target",), ())
    assert found.words == {"scsi_target", "fc_remote_port"}
    assert found.capability(ScsiTarget) == ScsiTarget(
        target="target5:0:0",
        fc_remote_port=FcRemotePort(rport="rport-5:0-0", wwpn="5000000198394b5d"),
    )
    text = native_xml(found)
    validate(text)
    assert text.partition("  <capability")[2] == (
        " type='scsi_target'>\n"
        "    <target>target5:0:0</target>\n"
        "    <capability type='fc_remote_port'>\n"
        "      <rport>rport-5:0-0</rport>\n"
        "      <wwpn>0x5000000198394b5d</wwpn>\n"
        "    </capability>\n"
        "  </capability>\n"
        "</device>\n"
    )


def test_target_of_a_plain_host_has_no_port(tree: Tree) -> None:
    """It is not below a remote port."""
    scsi.target(tree, scsi.host(tree, 5, above=ADAPTER), "5:0:0")
    found = device()
    assert found.capability(ScsiTarget) == ScsiTarget("target5:0:0", None)
    assert found.words == {"scsi_target"}
    assert found.errors == ()
    root = validate(native_xml(found))
    assert [one.tag for one in find(root, "capability")] == ["target"]


@pytest.mark.parametrize(
    ("wwpn", "fault"),
    [
        (None, Fault(PORT_NAME, "absent", "")),
        ("", Fault(PORT_NAME, "malformed", "empty")),
        ("5000000198394b5d", Fault(PORT_NAME, "malformed", "5000000198394b5d")),
    ],
)
def test_port_without_a_name_is_a_fault(tree: Tree, wwpn: str | None, fault: Fault) -> None:
    """Every port has one; the port is shown all the same."""
    target(tree, wwpn)
    found = device()
    assert found.errors == (fault,)
    assert found.capability(ScsiTarget) == ScsiTarget(
        "target5:0:0", FcRemotePort("rport-5:0-0", None)
    )
    shown = find(validate(native_xml(found)), ".//wwpn")
    assert attributes(shown) == {"state": "unknown"}


@pytest.mark.parametrize(("number", "code"), [(errno.EACCES, "refused"), (errno.EIO, "unreadable")])
def test_name_that_cannot_be_read_is_a_fault(tree: Tree, number: int, code: str) -> None:
    """It is named as it lies from the target."""
    target(tree)
    found = device(FaultySysroot(errors={f"{PATH}/{PORT_NAME}": number}))
    assert [(one.attribute, one.code) for one in found.errors] == [(PORT_NAME, code)]


def test_device_of_another_type_is_none(tree: Tree) -> None:
    """Its bus has hosts and logical units, too."""
    tree.device(PATH, bus="scsi", uevent={"DEVTYPE": "scsi_host"})
    assert scan(Sysroot()).names == ("computer",)


@pytest.mark.slow
def test_target_removed_while_read_is_no_device(live_tree: Tree) -> None:
    """A device removed at any point of its read is dropped, without an error."""
    target(live_tree)
    reads = FaultySysroot()
    whole = read_device(reads, PATH, LISTED_IN)
    assert whole is not None
    count = len([path for path in reads.reads if f"{path}/".startswith(f"{PATH}/")])
    assert count == 3  # itself, uevent, the name of the port
    for at in range(1, count + 1):
        assert read_device(FaultySysroot(vanishing=PATH, at=at), PATH, LISTED_IN) is None
        target(live_tree)
    assert read_device(Sysroot(), PATH, LISTED_IN) == whole
