"""nodedevctl doctor: what a user sees, and the page that explains it."""

from __future__ import annotations

import json
import re
import shlex
from collections import Counter
from io import StringIO
from pathlib import Path
from typing import get_args

import click
import msgspec
import pytest
from click.testing import CliRunner

from nodedevd.cli.doctor_text import has_colour, report_text
from nodedevd.cli.main import main
from nodedevd.host.sysroot import Sysroot
from nodedevd.questions.doctor import Code, Report, Severity
from nodedevd.tree.read import scan
from tests.support.ctl import Ctl, on
from tests.support.doctor import examined
from tests.support.hosts import HOSTS
from tests.support.mdev_card import CARD, CARD_NAME, NVIDIA_CARD, UUID, mdev_card
from tests.support.running import REPOSITORY
from tests.support.trees import Tree

PAGE = (REPOSITORY / "docs" / "doctor.md").read_text(encoding="utf-8")


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    """Return a host with one card, which is an mdev parent with one type."""
    return mdev_card(tmp_path / "host")


def doctor(tree: Tree, *options: str, status: int) -> str:
    """Examine a host, which has to end with this exit status; return what is printed."""
    return Ctl(["--sysroot", tree.root]).run("doctor", *options, status=status).stdout


def test_command_on_a_healthy_host_prints_one_line(tree: Tree) -> None:
    """There is nothing else to read."""
    out = doctor(tree, status=0)
    assert out == "No problems found; 2 devices checked.\n"


def test_notes_alone_are_no_problem(tmp_path: Path) -> None:
    """They are printed, and the exit status is that of a healthy host."""
    tree = Tree(tmp_path)
    tree.pci(CARD, vendor=0x8086, device=1, class_=0x020000)
    verdict, blank, heading, note, advice, *_ = doctor(tree, status=0).splitlines()
    assert verdict == "No problems found, 1 note; 2 devices checked."
    assert (blank, heading) == ("", "This host")
    assert note == "  note: no IOMMU: PCI devices cannot be assigned to a VM [iommu-off]"
    assert advice.startswith("    Enable VT-d")


def test_findings_of_a_card_are_one_with_one_command(tmp_path: Path) -> None:
    """The text has them once, with a loop over the functions; JSON has each of them."""
    tree = Tree(tmp_path)
    tree.pci(CARD, driver="nvidia", iommu_group=1, **NVIDIA_CARD)
    addresses = [f"0000:3b:{number // 8:02x}.{number % 8}" for number in range(4, 10)]
    vfs = [
        tree.pci(address, driver="vfio-pci", iommu_group=2 + number, **NVIDIA_CARD)
        for number, address in enumerate(addresses)
    ]
    tree.sriov(CARD, vfs)
    assert (
        doctor(tree, status=5)
        == """\
Found 1 warning; 8 devices checked.

pci_0000_3b_00_0
  warning: pci_0000_3b_00_4, pci_0000_3b_00_5, pci_0000_3b_00_6,
    pci_0000_3b_00_7 and 2 more: bound to vfio-pci, not to nvidia: a virtual
    function takes a vGPU only while it is bound to nvidia, also when a VM uses
    the vGPU [function-wrong-driver]
    Bind it to nvidia; remove what binds it elsewhere, such as driverctl or
    vfio-pci's ids=. Enabling the virtual functions anew also binds them:
    /usr/lib/nvidia/sriov-manage -e.
      for one in 0000:3b:00.4 0000:3b:00.5 0000:3b:00.6 0000:3b:00.7 \\
        0000:3b:01.0 0000:3b:01.1; do
        echo nvidia > /sys/bus/pci/devices/$one/driver_override
        echo $one > /sys/bus/pci/devices/$one/driver/unbind
        echo $one > /sys/bus/pci/drivers_probe
      done
"""
    )
    report = json.loads(doctor(tree, "--json", status=5))
    assert [one["device"] for one in report["findings"]] == [
        f"pci_{address.translate(str.maketrans(':.', '__'))}" for address in addresses
    ]
    assert {one["card"] for one in report["findings"]} == {CARD_NAME}


def test_commands_that_differ_in_more_are_listed(tmp_path: Path) -> None:
    """Each uuid and parent has a command of its own; of many, JSON has the rest."""
    tree = Tree(tmp_path)
    tree.pci(CARD, driver="nvidia", iommu_group=1, **NVIDIA_CARD)
    vfs = [f"0000:3b:01.{number}" for number in range(6)]
    for number, address in enumerate(vfs):
        tree.pci(address, driver="nvidia", iommu_group=2 + number, **NVIDIA_CARD)
        tree.mdev_parent(address)
        tree.mdev_type(address, "nvidia-1")
        uuid = f"83c32df7-d52e-4ec1-9668-1f3c7e4df10{number}"
        tree.definition(address, uuid, "nvidia-1", start="auto")
    tree.sriov(CARD, vfs)
    out = doctor(tree, status=5)
    assert out.count("definition-not-started") == 1
    assert out.count("mdevctl start -u") == 4
    assert out.count("journalctl") == 1
    assert "# and 2 more: nodedevctl doctor --json" in out


def test_text_folds_at_80_columns_and_commands_stay_one_word_list(tmp_path: Path) -> None:
    """A shell takes the folded command as the one in JSON, quotes included."""
    tree = Tree(tmp_path)
    tree.directory("/sys/bus/mdev")
    tree.definition("a parent; with 'quotes' " + "x" * 30, UUID, "nvidia-1")
    out = doctor(tree, status=0)
    assert max(map(len, out.splitlines())) <= 80
    report = json.loads(doctor(tree, "--json", status=0))
    (command,) = report["findings"][0]["mend"]
    pasted = out[out.index("      mdevctl undefine") :].replace("\\\n", "")
    assert shlex.split(pasted) == shlex.split(command)


@pytest.mark.parametrize(
    ("environment", "coloured"),
    [({}, True), ({"NO_COLOR": "1"}, False), ({"NO_COLOR": ""}, True), ({"TERM": "dumb"}, False)],
)
def test_colour_is_for_terminals_without_no_color(
    environment: dict[str, str], coloured: bool
) -> None:
    """A pipe or a file never has colour; NO_COLOR counts unless it is empty."""

    class Terminal(StringIO):
        def isatty(self) -> bool:
            return True

    assert has_colour(Terminal(), environment) is coloured
    assert not has_colour(StringIO(), environment)


def test_severities_are_what_is_coloured(tree: Tree) -> None:
    """The rest of the text is the same with and without colour."""
    tree.remove(f"{tree.resolve(CARD)}/mdev_supported_types/nvidia-1")
    snapshot = scan(Sysroot(tree.root))
    report = Report("/", None, len(snapshot), examined(tree))
    coloured = report_text(report, snapshot, colour=True)
    assert "  \x1b[33m\x1b[1mwarning\x1b[0m: it is listed" in coloured
    assert click.unstyle(coloured) == report_text(report, snapshot, colour=False)
    assert doctor(tree, status=5) == click.unstyle(coloured)


def test_view_of_a_container_is_said_so_in_one_sentence(tree: Tree) -> None:
    """It comes right after the verdict; JSON names the container."""
    tree.file("/run/systemd/container", "lxc\n")
    verdict, *lines = doctor(tree, status=0).splitlines()
    assert verdict == "No problems found; 2 devices checked."
    assert " ".join(lines).startswith("This is the view of a container (lxc): ")
    assert json.loads(doctor(tree, "--json", status=0))["container"] == "lxc"


def test_control_characters_of_a_host_stay_out_of_the_terminal(tree: Tree) -> None:
    """They are printed escaped."""
    tree.mdev_type(CARD, "a", available="\x1b[2J")
    out = doctor(tree, status=5)
    assert "\x1b" not in out
    assert r"\x1b[2J" in out


@pytest.mark.parametrize("host", HOSTS)
def test_sample_host_is_checked_without_its_processes(host: str) -> None:
    """There are no findings about udevd, root or a daemon; the JSON is the report."""
    result = CliRunner().invoke(main, [*on(host).options, "doctor", "--json"])
    report = msgspec.json.decode(result.stdout, type=Report, strict=True)
    live = {"udevd-not-running", "not-root", "no-daemon"}
    assert live.isdisjoint(one.code for one in report.findings)
    order = [get_args(Severity).index(one.severity) for one in report.findings]
    assert order == sorted(order)
    assert result.exit_code == (0 if report.healthy else 5)


ARGUED = re.findall(r"^\| `([a-z0-9-]+)` \| `([a-z-]+)` \| (\d+) \| ", PAGE, re.MULTILINE)
"""Host, code and number of the findings that the page argues."""


@pytest.mark.parametrize("host", HOSTS)
def test_sample_host_has_exactly_the_findings_that_the_page_argues(host: str) -> None:
    """Every problem of the host is found, and no other: a false alarm has no argument."""
    report = CliRunner().invoke(main, [*on(host).options, "doctor", "--json"])
    found = Counter(one["code"] for one in json.loads(report.stdout)["findings"])
    assert found == {code: int(number) for name, code, number in ARGUED if name == host}


def test_page_lists_exactly_the_codes() -> None:
    """Every code has a row, and every row a code."""
    rows = re.findall(r"^\| `([a-z-]+)` \| (?:problem|warning|note)", PAGE, re.MULTILINE)
    assert sorted(rows) == sorted(get_args(Code))


def test_page_shows_what_the_command_prints() -> None:
    """The example is real output."""
    (example,) = re.findall(r"^```\n\$ nodedevctl (.*)\n((?:.*\n)*?)```", PAGE, re.MULTILINE)
    assert Ctl([]).run(*example[0].split(), status=5).stdout == example[1]


def test_page_explains_the_severities_and_the_exit_status() -> None:
    """Scripts depend on both."""
    for severity in get_args(Severity):
        assert f"`{severity}`" in PAGE
    assert "exit status is 5" in PAGE
