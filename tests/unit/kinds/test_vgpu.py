"""vgpu: a virtual function that becomes a vGPU without an mdev."""

from __future__ import annotations

import errno

import pytest

from nodedevd.host.faults import Fault
from nodedevd.host.sysroot import Sysroot
from nodedevd.kinds.shared.vgpu_types import type_facts
from nodedevd.kinds.vgpu import Vgpu, VgpuType, reread_volatile
from nodedevd.model.device import Device
from nodedevd.questions.doctor import differences
from nodedevd.tree.read import read_device, scan
from nodedevd.tree.update import update
from tests.support.faulty import FaultySysroot
from tests.support.trees import Attributes, Tree
from tests.support.xml import native_xml, validate

PF, VF, OTHER = "0000:26:00.0", "0000:26:00.4", "0000:26:00.5"
LISTED = "ID    : vGPU Name\n1147  : NVIDIA L40S-1Q\n1148  : NVIDIA L40S-2Q"
Q1 = VgpuType("1147", "NVIDIA L40S-1Q", type_facts("NVIDIA L40S-1Q", None))
Q2 = VgpuType("1148", "NVIDIA L40S-2Q", type_facts("NVIDIA L40S-2Q", None))


def function(tree: Tree, address: str, **files: str | int | bytes) -> str:
    """Make a function with these files of the interface; return its path."""
    attributes: Attributes = {f"nvidia/{name}": value for name, value in files.items()}
    return tree.pci(
        address, vendor=0x10DE, device=0x26B9, class_=0x030200, driver="nvidia",
        attributes=attributes,
    )  # fmt: skip


def card(tree: Tree, first: Attributes, second: Attributes | None = None) -> None:
    """Make a card with one or two virtual functions."""
    function(tree, PF)
    functions = [VF]
    function(tree, VF, **first)
    if second is not None:
        function(tree, OTHER, **second)
        functions.append(OTHER)
    tree.sriov(PF, functions)


def found(address: str = VF) -> Device:
    """Scan, and return the function."""
    return scan(Sysroot()).lookup(address)


def vgpu(device: Device) -> Vgpu:
    """Return the capability, which has to be there."""
    capability = device.capability(Vgpu)
    assert capability is not None
    return capability


def test_function_without_profile_lists_what_it_could_be(tree: Tree) -> None:
    """Zero means no profile, and empty files no value."""
    card(
        tree,
        {
            "creatable_vgpu_types": LISTED,
            "current_vgpu_type": 0,
            "vgpu_params": b"",
            "placement_id": b"",
            "gpu_instance_id": b"",
        },
    )
    device = found()
    assert device.errors == ()
    assert vgpu(device) == Vgpu(
        current=None, creatable=(Q1, Q2), params=None, placement_id=None, gpu_instance_id=None
    )
    text = native_xml(device)
    validate(text)
    assert text.endswith(
        "  <capability type='vgpu'>\n"
        "    <creatable>\n"
        "      <type id='1147'>\n"
        "        <name>NVIDIA L40S-1Q</name>\n"
        "        <facts class='Q' nominal_bytes='1073741824'/>\n"
        "      </type>\n"
        "      <type id='1148'>\n"
        "        <name>NVIDIA L40S-2Q</name>\n"
        "        <facts class='Q' nominal_bytes='2147483648'/>\n"
        "      </type>\n"
        "    </creatable>\n"
        "  </capability>\n"
        "</device>\n"
    )


def test_function_with_profile_shows_it_with_its_place(tree: Tree) -> None:
    """All values of one vGPU are read."""
    card(
        tree,
        {
            "creatable_vgpu_types": LISTED,
            "current_vgpu_type": 1148,
            "vgpu_params": "frame_rate_limiter=0",
            "placement_id": 12,
            "gpu_instance_id": 3,
        },
    )
    device = found()
    assert vgpu(device) == Vgpu(
        current=Q2,
        creatable=(Q1, Q2),
        params="frame_rate_limiter=0",
        placement_id="12",
        gpu_instance_id="3",
    )
    text = native_xml(device)
    validate(text)
    assert "    <current id='1148'>\n      <name>NVIDIA L40S-2Q</name>\n" in text
    assert text.endswith(
        "    <params>frame_rate_limiter=0</params>\n"
        "    <placement_id>12</placement_id>\n"
        "    <gpu_instance_id>3</gpu_instance_id>\n"
        "  </capability>\n"
        "</device>\n"
    )


def test_profile_is_named_by_another_function_of_the_card(tree: Tree) -> None:
    """A function with a profile lists none; other functions list the name of its profile."""
    card(
        tree,
        {"creatable_vgpu_types": "ID    : vGPU Name", "current_vgpu_type": 1148},
        {"creatable_vgpu_types": LISTED, "current_vgpu_type": 0},
    )
    assert (vgpu(found()).current, vgpu(found()).creatable) == (Q2, ())


def test_profile_that_nobody_lists_has_its_number_alone(tree: Tree) -> None:
    """The card is full, or the other functions cannot be read: no name is made up."""
    card(
        tree,
        {"creatable_vgpu_types": "ID    : vGPU Name", "current_vgpu_type": 1155},
        {"creatable_vgpu_types": b"1155  : \xff", "current_vgpu_type": 0},
    )
    device = found()
    assert vgpu(device).current == VgpuType("1155", None, None)
    assert device.errors == ()
    assert "    <current id='1155'/>\n" in native_xml(device)
    validate(native_xml(device))


@pytest.mark.parametrize("files", [{}, {"vgpu_params": "x"}], ids=["none", "others"])
def test_function_without_the_interface_is_none(tree: Tree, files: dict[str, str]) -> None:
    """A directory of this name alone, as on a physical function, is not the interface."""
    card(tree, files)
    assert found().capability(Vgpu) is None


@pytest.mark.parametrize("text", ["x", "-1", "", "0x47c", "1 2"])
def test_profile_that_is_no_number_is_unknown(tree: Tree, text: str) -> None:
    """It is not shown as unset: there is an error, in XML, too."""
    card(tree, {"creatable_vgpu_types": LISTED, "current_vgpu_type": text})
    device = found()
    assert (vgpu(device).current, vgpu(device).creatable) == (None, (Q1, Q2))
    assert device.errors == (Fault("nvidia/current_vgpu_type", "malformed", text or "empty"),)
    assert "    <current state='unknown'/>\n" in native_xml(device)
    validate(native_xml(device))


def test_list_with_an_odd_line_keeps_the_others(tree: Tree) -> None:
    """A malformed line is left out, with an error."""
    text = f"{LISTED}\nno number: NVIDIA\n\n1149  : NVIDIA L40S: 3Q"
    card(tree, {"creatable_vgpu_types": text, "current_vgpu_type": 0})
    device = found()
    names = [one.name for one in vgpu(device).creatable or ()]
    assert names == ["NVIDIA L40S-1Q", "NVIDIA L40S-2Q", "NVIDIA L40S: 3Q"]
    assert device.errors == (
        Fault("nvidia/creatable_vgpu_types", "malformed", "no number: NVIDIA"),
    )


def test_list_that_is_missing_is_unknown_and_not_empty(tree: Tree) -> None:
    """They are unknown, not empty."""
    card(tree, {"current_vgpu_type": 0})
    device = found()
    assert vgpu(device).creatable is None
    assert device.errors == (Fault("nvidia/creatable_vgpu_types", "absent", ""),)
    assert "    <creatable state='unknown'/>\n" in native_xml(device)
    validate(native_xml(device))


@pytest.mark.parametrize("name", ["current_vgpu_type", "creatable_vgpu_types", "placement_id"])
def test_file_that_the_driver_refuses_is_unknown_alone(tree: Tree, name: str) -> None:
    """An error of the driver makes one value unknown."""
    card(
        tree,
        {"creatable_vgpu_types": LISTED, "current_vgpu_type": 1148, "placement_id": "7"},
    )
    path = tree.resolve(VF)
    sysroot = FaultySysroot(errors={f"{path}/nvidia/{name}": 5})
    reading = read_device(sysroot, path, ["/sys/bus/pci/devices"])
    assert reading is not None
    assert [(one.attribute, one.code) for one in reading.errors] == [
        (f"nvidia/{name}", "unreadable")
    ]


@pytest.mark.parametrize("current", [0, 1148])
def test_driver_that_has_no_value_yet_is_no_fault(tree: Tree, current: int) -> None:
    """ENXIO of what only a vGPU has is the driver's word for absent."""
    values = ("vgpu_params", "placement_id", "gpu_instance_id")
    files: dict[str, str | int] = dict.fromkeys(values, "7")
    card(tree, {"creatable_vgpu_types": LISTED, "current_vgpu_type": current, **files})
    path = tree.resolve(VF)
    refusing = {f"{path}/nvidia/{name}": errno.ENXIO for name in values}
    device = scan(FaultySysroot(errors=refusing)).lookup(VF)
    assert device.errors == ()
    assert (vgpu(device).params, vgpu(device).placement_id) == (None, None)
    assert vgpu(device).gpu_instance_id is None
    assert "unknown" not in native_xml(device)
    validate(native_xml(device))
    # A count of it does not read the whole function again.
    again = FaultySysroot(errors=refusing)
    assert reread_volatile(again, path, vgpu(device)) is vgpu(device)


@pytest.mark.parametrize("name", ["current_vgpu_type", "creatable_vgpu_types"])
def test_driver_that_cannot_list_or_say_is_a_fault(tree: Tree, name: str) -> None:
    """Every function has these values: an error for them is unknown, and not none."""
    card(tree, {"creatable_vgpu_types": LISTED, "current_vgpu_type": 0})
    path = tree.resolve(VF)
    device = scan(FaultySysroot(errors={f"{path}/nvidia/{name}": errno.ENXIO})).lookup(VF)
    assert [(one.attribute, one.code) for one in device.errors] == [
        (f"nvidia/{name}", "unreadable")
    ]


def test_fault_that_is_over_is_no_longer_shown(tree: Tree) -> None:
    """A count of a function with a fault reads it as a whole."""
    card(tree, {"creatable_vgpu_types": LISTED, "current_vgpu_type": 0})
    path = tree.resolve(VF)
    failing = FaultySysroot(errors={f"{path}/nvidia/current_vgpu_type": errno.EIO})
    before = scan(failing)
    assert before.lookup(VF).errors != ()
    after = update(Sysroot(), before, set(), volatile={path}).snapshot
    assert after.lookup(VF).errors == ()


def test_function_removed_while_read_is_no_device(tree: Tree) -> None:
    """A device removed at any point of its read is dropped, without an error."""
    files: Attributes = {"creatable_vgpu_types": LISTED, "current_vgpu_type": 1150}
    at = 1
    while True:
        card(tree, files, files)
        path = tree.resolve(VF)
        sysroot = FaultySysroot(vanishing=path, at=at)
        if read_device(sysroot, path, ["/sys/bus/pci/devices"]) is not None:
            break
        at += 1
    assert at > 5


def test_same_volatile_values_are_the_same_object(tree: Tree) -> None:
    """The same values are the same object, so nothing is published."""
    card(tree, {"creatable_vgpu_types": LISTED, "current_vgpu_type": 0})
    cap = vgpu(found())
    assert reread_volatile(Sysroot(), tree.resolve(VF), cap) is cap
    tree.file(f"{tree.resolve(VF)}/nvidia/current_vgpu_type", "1147\n")
    counted = reread_volatile(Sysroot(), tree.resolve(VF), cap)
    assert counted is not None
    assert counted.current == Q1
    tree.file(f"{tree.resolve(VF)}/nvidia/current_vgpu_type", "?\n")
    assert reread_volatile(Sysroot(), tree.resolve(VF), cap) is None
    tree.remove(tree.resolve(VF))
    assert reread_volatile(Sysroot(), "/sys/devices/pci0000:00/0000:26:00.4", cap) is None


def test_profile_set_on_one_function_is_read_with_the_others_of_the_card(tree: Tree) -> None:
    """There is no event: a request for one function rereads all functions of its card."""
    card(
        tree,
        {"creatable_vgpu_types": LISTED, "current_vgpu_type": 0},
        {"creatable_vgpu_types": LISTED, "current_vgpu_type": 0},
    )
    sysroot = Sysroot()
    before = scan(sysroot)
    one, other = tree.resolve(VF), tree.resolve(OTHER)
    tree.attributes(one, {"nvidia/current_vgpu_type": 1148})
    tree.attributes(other, {"nvidia/creatable_vgpu_types": "ID    : vGPU Name\n"})

    result = update(sysroot, before, set(), volatile={one})

    assert [change.device.name for change in result.changes] == [
        "pci_0000_26_00_4",
        "pci_0000_26_00_5",
    ]
    assert vgpu(result.snapshot.lookup(VF)).current == Q2
    assert vgpu(result.snapshot.lookup(OTHER)).creatable == ()


def test_name_of_a_profile_is_remembered_when_no_function_lists_it(tree: Tree) -> None:
    """A whole-card profile leaves nothing to list; a reader that starts then has the id alone."""
    nothing = "ID    : vGPU Name\n"
    card(
        tree,
        {"creatable_vgpu_types": LISTED, "current_vgpu_type": 0},
        {"creatable_vgpu_types": LISTED, "current_vgpu_type": 0},
    )
    sysroot = Sysroot()
    before = scan(sysroot)
    one, other = tree.resolve(VF), tree.resolve(OTHER)
    tree.attributes(one, {"nvidia/current_vgpu_type": 1148, "nvidia/creatable_vgpu_types": nothing})
    tree.attributes(other, {"nvidia/creatable_vgpu_types": nothing})
    after = update(sysroot, before, {one}).snapshot
    assert vgpu(after.lookup(VF)).current == Q2
    # It moves to a function that has not listed it for long.
    tree.attributes(one, {"nvidia/current_vgpu_type": 0})
    tree.attributes(other, {"nvidia/current_vgpu_type": 1148})
    moved = update(sysroot, after, {one, other}).snapshot
    assert (vgpu(moved.lookup(VF)).current, vgpu(moved.lookup(OTHER)).current) == (None, Q2)
    fresh = scan(Sysroot())
    assert vgpu(fresh.lookup(OTHER)).current == VgpuType("1148", None, None)
    assert differences(fresh, moved) == ()


def test_poll_sees_a_profile_that_was_set_or_removed(tree: Tree) -> None:
    """One read of one file; a function whose profile is as it was is not read further."""
    card(tree, {"creatable_vgpu_types": LISTED, "current_vgpu_type": 0})
    path = tree.resolve(VF)
    idle = scan(Sysroot())
    sysroot = FaultySysroot()
    assert update(sysroot, idle, set(), polled={path}).snapshot is idle
    assert sysroot.reads == [f"{path}/nvidia/current_vgpu_type"]
    failing = FaultySysroot(errors={f"{path}/nvidia/current_vgpu_type": errno.EIO})
    assert update(failing, idle, set(), polled={path}).snapshot is idle
    tree.attributes(path, {"nvidia/current_vgpu_type": 1148})
    busy = update(Sysroot(), idle, set(), polled={path}).snapshot
    assert vgpu(busy.lookup(VF)).current == Q2
    tree.attributes(path, {"nvidia/current_vgpu_type": 0})
    assert vgpu(update(Sysroot(), busy, set(), polled={path}).snapshot.lookup(VF)).current is None
    assert update(Sysroot(), busy, set(), polled={"/sys/devices/gone"}).snapshot is busy
