"""nodedevctl types, fits, resolve and tree, on hosts with vGPUs of both frameworks."""

from __future__ import annotations

import re

import pytest

from tests.support.ctl import on

FITS = """\
CARD              TYPE  NAME            AVAILABLE  SURE  ACTIVE  CEILING  WHERE                WHY NOT
pci_0000_26_00_0  1150  NVIDIA L40S-4Q  5          1     1       -        pci_0000_26_00_7 +4  -
pci_0000_5e_00_0  -     -               0          0     0       -        -                    no virtual function is enabled
"""  # noqa: E501


def test_fits_prints_cards_and_an_answer() -> None:
    """A type is listed on several functions, and one vGPU certainly fits."""
    result = on("vgpu-vendor-vfio").run("fits", "--type", "l40s-4q", "--count", "2", status=5)
    assert result.stdout == FITS + "perhaps: 2 x l40s-4q may fit, 1 for certain\n"


@pytest.mark.parametrize(
    ("host", "arguments", "status", "answer"),
    [
        ("vgpu-sriov", ["A2-4Q"], 0, "yes: 1 x A2-4Q fits"),
        ("vgpu-sriov", ["A2-4Q", "--count", "3"], 5, "no: at most 2 x A2-4Q fit"),
        ("vgpu-sriov", ["A2-8Q"], 5, "no: A2-8Q fits nowhere"),
        ("samples", ["mtty-1", "--count", "21"], 0, "yes: 21 x mtty-1 fit"),
        ("igpu-gvtg", ["GVTg_V5_4"], 5, "no: GVTg_V5_4 fits nowhere"),
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
        ("vgpu-two-generations", "A2-8Q", "the card has no such type"),
        ("vgpu-two-generations", "A2-8Q", "not listed beside NVIDIA L40S-8Q"),
        ("vgpu-vendor-vfio", "A2-8Q", "no virtual function is enabled"),
        ("igpu-gvtg", "GVTg_V5_4", "full"),
        ("igpu-gvtg", "GVTg_V5_8", "i915-GVTg_V5_4 active"),
    ],
)
def test_fits_says_why_not(host: str, wanted: str, why: str) -> None:
    """Each reason is printed in words."""
    result = on(host).run("fits", "--type", wanted, status=5)
    assert any(line.endswith(f"  {why}") for line in result.stdout.splitlines())


def test_fits_of_an_unknown_type_is_a_failure_that_names_others() -> None:
    """A misspelled type must not look like a full host."""
    result = on("vgpu-pf").run("fits", "--type", "P40-5C", status=1)
    assert result.stderr.startswith(
        "nodedevctl: no device offers the type 'P40-5C'; offered are GRID P40-"
    )


def test_fits_as_json_leads_to_the_function_to_use() -> None:
    """The example in the help works."""
    found = on("vgpu-sriov").json("fits", "--type", "A2-4Q", "--json")
    assert (found["answer"], found["cards"][0]["places"][0]["device"]) == (
        "yes",
        "pci_0000_08_00_5",
    )


@pytest.mark.parametrize("arguments", [[], ["--type", "x", "--count", "0"]])
def test_fits_without_a_question_is_wrong_usage(arguments: list[str]) -> None:
    """The type is required, and the count is at least 1."""
    on("vgpu-pf").run("fits", *arguments, status=2)


def test_types_shows_profiles_of_functions_beside_mdev_types() -> None:
    """One table lists both frameworks."""
    lines = on("vgpu-two-generations").out("types").splitlines()
    assert [line.split()[:4] for line in lines if "8Q" in line or "-8C" in line] == [
        ["pci_0000_16_00_0", "nvidia-285", "GRID", "P40-8C"],
        *[[f"pci_0000_26_00_{number}", "1152", "NVIDIA", "L40S-8Q"] for number in (4, 5, 6, 7)],
    ]
    counts = {line.split()[0]: line.split()[5:7] for line in lines if "L40S-8Q" in line}
    assert counts["pci_0000_26_00_4"] == ["1", "0"]
    assert counts["pci_0000_26_00_7"] == ["0", "1"]


def test_types_as_json_tell_framework_and_facts() -> None:
    """Tools know which file to write to, without parsing the name."""
    offers = on("vgpu-two-generations").json("types", "--json")
    assert {(one["framework"], one["parent"][:14]) for one in offers} == {
        ("mdev", "pci_0000_16_00"),
        ("vendor-vfio", "pci_0000_26_00"),
    }
    by_id = {one["id"]: one for one in offers}
    assert by_id["1152"] == {
        "parent": "pci_0000_26_00_7",
        "framework": "vendor-vfio",
        "id": "1152",
        "name": "NVIDIA L40S-8Q",
        "description": None,
        "facts": {"nominal_bytes": 8 << 30, "class_letter": "Q"},
        "device_api": "vfio-pci",
        "available_instances": 0,
        "active_instances": 1,
        "devices": [],
    }
    assert by_id["nvidia-285"]["facts"]["max_instances"] == 3
    assert len(by_id["nvidia-285"]["devices"]) == by_id["nvidia-285"]["active_instances"] == 1


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
