"""What of a layout can never be so on a host: file, line, key, and what to write instead."""

from __future__ import annotations

import pytest

from nodedevd.layout.check import check_layout
from nodedevd.layout.files import declared
from nodedevd.layout.problem import Problem
from tests.support.hosts import snapshot_of

A2 = '[[card]]\naddress = "0000:08:00.0"\n'
A100 = '[[card]]\naddress = "0000:41:00.0"\n'
L40S = '[[card]]\naddress = "0000:26:00.0"\n'
IDLE = '[[card]]\naddress = "0000:5e:00.0"\n'
NIC = '[[card]]\naddress = "0000:3b:00.0"\n'
P40 = '[[card]]\naddress = "0000:16:00.0"\n'


def problems_on(host: str, *texts: str) -> tuple[Problem, ...]:
    """Return what cannot be so on a host."""
    found = declared([(f"{number}.toml", text) for number, text in enumerate(texts)])
    assert found.problems == ()
    return check_layout(found.layout, snapshot_of(host))


@pytest.mark.parametrize(
    ("host", "text", "line", "key", "code", "instead"),
    [
        ("samples", A2, 2, "address", "no-such-card", "nodedevctl list"),
        ("samples", '[[card]]\nparent = "mtti"\n', 2, "parent", "no-such-card", "nodedevctl list"),
        ("vdpa-smartnic", NIC.replace("00.0", "00.3"), 1, None, "not-capable",
         'address = "0000:3b:00.0"'),
        ("samples", '[[card]]\naddress = "00:01.0"\nvirtual_functions = 1\n',
         3, "virtual_functions", "not-capable", "leave virtual_functions out"),
        ("vdpa-smartnic", f"{NIC}\nvirtual_functions = 9\n",
         4, "virtual_functions", "does-not-fit", "write 8, or less"),
        ("vgpu-vendor-vfio", f"{IDLE}virtual_functions = 8\n",
         3, "virtual_functions", "does-not-fit", 'write "all", or 0'),
        ("vgpu-sriov", f'{A2}vgpus = [\n{{ type = "A2-4Q", functions = [0, 16] }}]\n',
         4, "vgpus[0].functions[1]", "does-not-fit", "give a number below 16"),
        ("vgpu-two-generations", f'{P40}vgpus = [{{ type = "P40-1Q", functions = [0] }}]\n',
         3, "vgpus[0].functions[0]", "does-not-fit", "leave it out"),
        ("vgpu-sriov", f'{A2}[[card.vgpus]]\n\ntype = "A2-5Q"\n',
         5, "vgpus[0].type", "unknown-type", "NVIDIA A2-4Q"),
        ("vgpu-sriov",
         f'{A2}mdevs = [{{ uuid = "4b20d080-1b54-4048-85b3-a6a62d165c01", type = "mtty-1" }}]\n',
         3, "mdevs[0].type", "unknown-type", "write one of its types"),
        ("vgpu-sriov", f'{A2}vgpus = [{{ type = "A2-4Q", count = 5 }}]\n',
         3, "vgpus[0].count", "does-not-fit", "write 4, or less"),
        ("vgpu-sriov",
         f'{A2}vgpus = [{{ type = "A2-8Q" }},\n{{ type = "A2-4Q", count = 3 }}]\n',
         4, "vgpus[1].count", "does-not-fit", "write 2, or less"),
        ("vgpu-sriov", f'{A2}spare = 13\nvgpus = [{{ type = "A2-4Q", count = 4 }}]\n',
         4, "vgpus[0].count", "does-not-fit", "write 3, or less"),
        ("vgpu-two-generations", f'{P40}vgpus = [{{ type = "P40-8C", count = 4 }}]\n',
         3, "vgpus[0].count", "does-not-fit", "write 3, or less"),
        ("a100-mig", f'{A100}vgpus = [{{ type = "A100-3-20C", count = 3 }}]\n',
         3, "vgpus[0].count", "does-not-fit", "write 2, or less"),
        ("a100-mig",
         f'{A100}vgpus = [{{ type = "A100-4-20C" }}, {{ type = "A100-2-10C", count = 2 }}]\n',
         3, "vgpus[1].count", "does-not-fit", "write 1, or less"),
        ("vgpu-vendor-vfio", f'{L40S}vgpus = [{{ type = "L40S-2Q", count = 9 }}]\n',
         3, "vgpus[0].count", "does-not-fit", "write 8, or less"),
    ],
)  # fmt: skip
def test_layout_that_cannot_be_so_says_where(
    host: str, text: str, line: int, key: str | None, code: str, instead: str
) -> None:
    """By the rules of `fits`, on a card without anything else."""
    [problem] = problems_on(host, text)
    assert (problem.file, problem.line, problem.key) == ("0.toml", line, key)
    assert (problem.code, problem.message != "") == (code, True)
    assert instead in problem.instead


@pytest.mark.parametrize(
    ("host", "text"),
    [
        ("vgpu-sriov", f'{A2}vgpus = [{{ type = "A2-8Q", count = 2 }}]\n'),
        ("vgpu-sriov", f'{A2}vgpus = [{{ type = "A2-8Q" }}, {{ type = "A2-4Q", count = 2 }}]\n'),
        ("vgpu-sriov", f"{A2}virtual_functions = 0\n"),
        ("vgpu-vendor-vfio", f'{IDLE}virtual_functions = "all"\nvgpus = [{{ type = "x" }}]\n'),
        ("vgpu-two-generations", f'{L40S}vgpus = [{{ type = "NVIDIA L40S-48Q" }}]\n'),
        ("a100-mig", f'{A100}vgpus = [{{ type = "A100-1-5C", count = 6 }}]\n'),
    ],
)
def test_layout_that_may_be_so_has_no_problem(host: str, text: str) -> None:
    """Whatever is on the card now, and if it does not list its types yet."""
    assert problems_on(host, text) == ()


def test_card_that_two_files_mean_is_a_problem_of_the_second() -> None:
    """By address and by slots, which only the host brings together."""
    slots = '[[card]]\nslots = "pci0000:00/01.1/00.0/08.0/00.0"\n'
    [problem] = problems_on("vgpu-sriov", A2, slots)
    assert (problem.file, problem.line, problem.code) == ("1.toml", 1, "claimed-twice")
    assert "pci_0000_08_00_0 is wanted by 0.toml:1, too" in problem.message


def test_problem_of_every_card_of_a_model_is_told() -> None:
    """Each with the name of the card."""
    text = '[[card]]\nvendor = "0x10de"\nproduct = "0x26b9"\nvirtual_functions = 33\n'
    found = problems_on("vgpu-vendor-vfio", text)
    assert [one.message.partition(":")[0] for one in found] == [
        "pci_0000_26_00_0",
        "pci_0000_5e_00_0",
    ]
