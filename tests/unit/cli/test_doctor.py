"""nodedevctl doctor: what a user sees, and the page that explains it."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import get_args

import msgspec
import pytest
from click.testing import CliRunner

from nodedevd.cli.main import main
from nodedevd.questions.doctor import Code, Report, Severity
from tests.support.ctl import Ctl, on
from tests.support.hosts import HOSTS
from tests.support.mdev_card import CARD, mdev_card
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
    assert out == "No problems found, 2 devices checked.\n"


def test_notes_alone_are_no_problem(tmp_path: Path) -> None:
    """They are printed, and the exit status is that of a healthy host."""
    tree = Tree(tmp_path)
    tree.pci(CARD, vendor=0x8086, device=1, class_=0x020000)
    first, advice, last = doctor(tree, status=0).splitlines()
    assert first == "note: no IOMMU: PCI devices cannot be assigned to a VM [iommu-off]"
    assert "intel_iommu=on" in advice
    assert last == "No problems found, 2 devices checked."


def test_same_finding_of_many_devices_is_printed_once(tmp_path: Path) -> None:
    """The text has one line for all functions of a card; JSON has each of them."""
    tree = Tree(tmp_path)
    for number in range(6):
        parent = tree.device(f"/sys/devices/virtual/mtty/mtty{number}", class_="mtty")
        tree.mdev_parent(parent)
    out = doctor(tree, status=5)
    assert out.splitlines()[0] == (
        "warning: mtty_mtty0, mtty_mtty1, mtty_mtty2, mtty_mtty3 and 2 more: it is listed as an"
        " mdev parent, but offers no types [parent-without-types]"
    )
    assert len(out.splitlines()) == 2
    report = json.loads(doctor(tree, "--json", status=5))
    assert [one["device"] for one in report["findings"]] == [f"mtty_mtty{n}" for n in range(6)]


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


HOSTS_WITH_FINDINGS: dict[str, set[str]] = {
    "vgpu-pf": set(),
    "igpu-gvtg": set(),
    "s390x-ap-ccw": set(),
    "s390x-full": set(),
    "server-storage-fc": set(),
    "laptop-usb-wifi": {"iommu-off"},
    "vgpu-sriov": {
        "definition-not-started",
        "definition-without-parent",
        "definition-without-capacity",
    },
    "samples": {"definition-not-started", "definition-without-type", "iommu-off"},
}


@pytest.mark.parametrize("host", HOSTS_WITH_FINDINGS)
def test_sample_host_has_exactly_its_built_in_findings(host: str) -> None:
    """Every problem of the host is found, and no other."""
    report = CliRunner().invoke(main, [*on(host).options, "doctor", "--json"])
    found = {one["code"] for one in json.loads(report.stdout)["findings"]}
    assert found == HOSTS_WITH_FINDINGS[host]


def test_page_lists_exactly_the_codes() -> None:
    """Every code has a row, and every row a code."""
    rows = re.findall(r"^\| `([a-z-]+)` \|", PAGE, re.MULTILINE)
    assert rows == list(get_args(Code))


def test_page_shows_what_the_command_prints() -> None:
    """The example is real output."""
    (example,) = re.findall(r"^```\n\$ nodedevctl (.*)\n((?:.*\n)*?)```", PAGE, re.MULTILINE)
    assert Ctl([]).out(*example[0].split()) == example[1]


def test_page_explains_the_severities_and_the_exit_status() -> None:
    """Scripts depend on both."""
    for severity in get_args(Severity):
        assert f"`{severity}`" in PAGE
    assert "exit status is 5" in PAGE
