"""nodedevctl types, fits, resolve and tree, on hosts with vGPUs of both frameworks."""

from __future__ import annotations

import re

import pytest

from tests.support.ctl import Ctl, on
from tests.support.trees import Tree

MDEV = "27b42a51-9f6b-4c0b-8f5f-4f3a1d0e8c01"

FITS = """\
pci_0000_26_00_0: room for at most 5, 1 for sure, on pci_0000_26_00_7 and 4 more functions
  TYPE  AVAILABLE  SURE  ACTIVE  DEFINED  CEILING  NAME
  1150  5          1     1       0        -        NVIDIA L40S-4Q
pci_0000_5e_00_0: no virtual function is enabled
perhaps: at most 5 x l40s-4q fit, 1 for sure
"""


def test_fits_prints_cards_and_an_answer() -> None:
    """A type is listed on several functions, and one vGPU fits for sure."""
    result = on("vgpu-vendor-vfio").run("fits", "--type", "l40s-4q", "--count", "2", status=5)
    assert result.stdout == FITS


@pytest.mark.parametrize(
    ("host", "arguments", "status", "answer"),
    [
        ("vgpu-sriov", ["A2-4Q"], 0, "yes: 1 x A2-4Q fits"),
        ("vgpu-sriov", ["A2-4Q", "--count", "3"], 5, "no: at most 2 x A2-4Q fit"),
        ("vgpu-sriov", ["A2-8Q"], 5, "no: A2-8Q fits nowhere"),
        ("vgpu-vendor-vfio", ["1150", "--count", "6"], 5, "no: at most 5 x 1150 fit, 1 for sure"),
        ("samples", ["mtty-1", "--count", "21"], 0, "yes: 21 x mtty-1 fit"),
        ("igpu-gvtg", ["GVTg_V5_4"], 5, "no: GVTg_V5_4 fits nowhere"),
        ("vgpu-pf", ["283", "0000:02:00.0"], 0, "yes: 1 x 283 fits"),
    ],
)
def test_fits_exits_by_its_answer(
    host: str, arguments: list[str], status: int, answer: str
) -> None:
    """The exit status alone is enough for a script."""
    result = on(host).run("fits", "--type", *arguments, status=status)
    assert result.stdout.splitlines()[-1] == answer


@pytest.mark.parametrize(
    ("host", "wanted", "why"),
    [
        ("vgpu-sriov", "A2-8Q", "NVIDIA A2-4Q active"),
        ("vgpu-two-generations", "P40-1Q", "the card has no such type"),
        ("vgpu-two-generations", "L40S-48Q", "not listed beside NVIDIA L40S-8Q"),
        ("vgpu-vendor-vfio", "A2-8Q", "no virtual function is enabled"),
        ("igpu-gvtg", "GVTg_V5_4", "full"),
        ("igpu-gvtg", "GVTg_V5_8", "i915-GVTg_V5_4 active"),
    ],
)
def test_fits_says_why_not(host: str, wanted: str, why: str) -> None:
    """Each reason is printed in words."""
    out = on(host).run("fits", "--type", wanted, status=5).stdout
    assert any(line.endswith(f": {why}") for line in out.splitlines())


@pytest.mark.parametrize(
    ("host", "wanted"), [("vgpu-pf", "P40-5C"), ("vgpu-vendor-vfio", "nonsense")]
)
def test_fits_of_an_unknown_type_has_its_own_status_and_names_others(
    host: str, wanted: str
) -> None:
    """A misspelled type must not look like a full host."""
    result = on(host).run("fits", "--type", wanted, status=6)
    assert result.stderr.startswith(
        f"nodedevctl: no device offers the type '{wanted}'; the nearest are "
    )


def test_fits_as_json_leads_to_the_function_to_use() -> None:
    """The example in the help works."""
    found = on("vgpu-sriov").json("fits", "--type", "A2-4Q", "--json")
    assert (found["answer"], found["cards"][0]["functions"][0]["name"]) == (
        "yes",
        "pci_0000_08_00_5",
    )


def test_fits_of_all_types_names_those_that_fit() -> None:
    """The table is that of `types`."""
    out = on("vgpu-sriov").out("fits", "--count", "2")
    table, _, answer = out.rpartition("yes: ")
    assert table == on("vgpu-sriov").out("types")
    assert answer == "2 for sure of NVIDIA A2-4Q, NVIDIA A2-4A, NVIDIA A2-4C\n"
    result = on("vgpu-sriov").run("fits", "--count", "5", status=5)
    assert result.stdout.endswith("\nno: 5 of one type fit nowhere\n")


def test_fits_of_all_types_may_need_several_cards(tree: Tree) -> None:
    """Each subchannel of vfio-ccw takes one."""
    for number in range(3):
        path = tree.device(f"/sys/devices/css0/0.0.000{number}", bus="css", driver="vfio_ccw")
        tree.mdev_type(path, "vfio_ccw-io", name="I/O subchannel (Non-QDIO)")
    ctl = Ctl(["--sysroot", tree.root])
    assert ctl.out("fits", "--count", "3").endswith(
        "\nyes: 3 of one type for sure, on several cards\n"
    )
    ctl.run("fits", "--count", "4", status=5)


@pytest.mark.parametrize("arguments", [["--type"], ["--type", "x", "--count", "0"]])
def test_fits_without_a_question_is_wrong_usage(arguments: list[str]) -> None:
    """The count is at least 1."""
    on("vgpu-pf").run("fits", *arguments, status=2)


def test_types_shows_profiles_of_functions_beside_mdev_types() -> None:
    """Each card has its framework."""
    out = on("vgpu-two-generations").out("types")
    pascal, ada = out.split("\n\n")
    assert pascal.startswith("pci_0000_16_00_0 (mdev)\n")
    assert ada.startswith("pci_0000_26_00_0 (vendor-vfio, 4 functions)\n")
    lines = [line.split() for line in out.splitlines()]
    assert ["nvidia-285", "2", "2", "1", "0", "3", "1", "GRID", "P40-8C"] in lines
    assert ["1152", "3", "1", "1", "0", "-", "4", "NVIDIA", "L40S-8Q"] in lines


def test_types_shows_functions_on_request() -> None:
    """Sixteen functions of an A2 would make 240 lines."""
    assert len(on("vgpu-sriov").out("types").splitlines()) < 20
    out = on("vgpu-sriov").out("types", "0000:08:00.4", "--functions")
    lines = [line.split() for line in out.splitlines()]
    assert ["pci_0000_08_00_4", "nvidia-746", "0", "1", "NVIDIA", "A2-4Q"] in lines
    assert ["pci_0000_08_00_5", "nvidia-746", "1", "0", "NVIDIA", "A2-4Q"] in lines


def test_types_shows_what_is_available() -> None:
    """The other types of the card are left out."""
    out = on("vgpu-sriov").out("types", "--available")
    assert [line.split()[0] for line in out.splitlines()[2:]] == [
        "nvidia-746", "nvidia-751", "nvidia-754",
    ]  # fmt: skip


@pytest.mark.parametrize("name", ["0000:08:00.0", "0000:08:00.5", "pci_0000_08_00_4", MDEV])
def test_types_and_fits_take_any_function_mdev_or_card(name: str) -> None:
    """All mean the card that they belong to."""
    ctl = on("vgpu-sriov")
    assert ctl.out("types", name) == ctl.out("types", "pci_0000_08_00_0") == ctl.out("types")
    assert ctl.out("fits", "--type", "A2-4Q", name) == ctl.out("fits", "--type", "A2-4Q")


def test_types_of_a_card_without_vgpus_says_why() -> None:
    """It has a line among the others."""
    assert on("vgpu-vendor-vfio").out("types", "0000:5e:00.0") == (
        "pci_0000_5e_00_0 offers no vGPUs: no virtual function is enabled\n"
    )


def test_types_and_fits_fit_80_columns(tree: Tree) -> None:
    """A long name continues on the next line."""
    name = "NVIDIA RTX Pro 6000 Blackwell DC-1-24Q"
    tree.pci(
        "0000:26:00.4", vendor=0x10DE, device=0x2BB5, class_=0x030200, driver="nvidia",
        attributes={"nvidia/current_vgpu_type": 0, "nvidia/creatable_vgpu_types": f"1561 : {name}"},
    )  # fmt: skip
    ctl = Ctl(["--sysroot", tree.root], columns=80)
    for arguments in (["types"], ["types", "--functions"], ["fits"], ["fits", "--type", "1561"]):
        out = ctl.out(*arguments)
        assert all(len(line) <= 80 for line in out.splitlines())
        assert name in " ".join(out.split())


def test_types_counts_what_is_defined(tree: Tree) -> None:
    """An inactive mdev takes capacity when it is started."""
    tree.pci("0000:02:00.0", vendor=0x10DE, device=0x1B38, class_=0x030200, driver="nvidia")
    tree.mdev_type("0000:02:00.0", "nvidia-283", name="GRID P40-4C", available=4)
    tree.mdev_parent("0000:02:00.0")
    tree.definition("0000:02:00.0", MDEV, "nvidia-283")
    ctl = Ctl(["--sysroot", tree.root])
    heading, line = [line.split() for line in ctl.out("types").splitlines()[1:]]
    assert heading[4] == "DEFINED"
    assert line == ["nvidia-283", "4", "4", "0", "1", "-", "1", "GRID", "P40-4C"]
    assert ctl.json("types", "--json")["types"][0]["defined"] == 1
    assert ctl.json("fits", "--type", "283", "--json")["cards"][0]["defined"] == 1


def test_types_as_json_tell_framework_and_facts() -> None:
    """Tools know which file to write to, without parsing the name."""
    found = on("vgpu-two-generations").json("types", "--json")["types"]
    assert {(one["framework"], one["card"]) for one in found} == {
        ("mdev", "pci_0000_16_00_0"),
        ("vendor-vfio", "pci_0000_26_00_0"),
    }
    by_id = {one["type"]: one for one in found}
    functions = by_id["1152"].pop("functions")
    assert by_id["1152"] == {
        "card": "pci_0000_26_00_0",
        "framework": "vendor-vfio",
        "type": "1152",
        "type_name": "NVIDIA L40S-8Q",
        "available": 3,
        "sure": 1,
        "active": 1,
        "defined": 0,
        "ceiling": None,
        "reason": None,
        "driver": None,
        "others": [],
        "device_api": "vfio-pci",
        "description": None,
        "facts": {"nominal_bytes": 8 << 30, "class_letter": "Q"},
    }
    assert functions[-1] == {
        "name": "pci_0000_26_00_7",
        "framework": "vendor-vfio",
        "type": "1152",
        "type_name": "NVIDIA L40S-8Q",
        "available": 0,
        "active": 1,
    }
    assert by_id["nvidia-285"]["facts"]["max_instances"] == 3


def test_tree_shows_the_profile_of_a_function() -> None:
    """It shows the name of the profile, or its number if no name is known."""
    lines = on("vgpu-vendor-vfio").out("tree").splitlines()
    assert "  |   +- pci_0000_26_00_4 [NVIDIA L40S-2Q]" in lines
    assert "  |   +- pci_0000_26_00_6 [1155]" in lines
    assert "  |   +- pci_0000_26_00_7" in lines


def test_resolve_prints_device_parent_and_type() -> None:
    """There is one line for each device."""
    lines = on("vgpu-sriov").out("resolve", "/dev/vfio/64").splitlines()
    assert lines[0].split("  ")[0] == "DEVICE"
    assert re.split("  +", lines[1]) == [
        "mdev_27b42a51_9f6b_4c0b_8f5f_4f3a1d0e8c01",
        "pci_0000_08_00_4",
        "NVIDIA A2-4Q",
        "64",
        "pci_0000_08_00_4",
        "nvidia-vgpu-vfio",
    ]
    found = on("vgpu-sriov").json("resolve", "64", "--json")
    assert found["devices"][0]["uuid"] == "27b42a51-9f6b-4c0b-8f5f-4f3a1d0e8c01"


def test_resolve_of_nothing_is_a_failure() -> None:
    """The error names the identifier."""
    result = on("server-storage-fc").run("resolve", "/dev/vfio/7000", status=1)
    assert result.stderr == "nodedevctl: no device named '/dev/vfio/7000'\n"
