"""doctor: what of mdevctl's installation keeps definitions from doing what they say."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from nodedevd.host.facts.mdevctl import Mdevctl, read_mdevctl
from nodedevd.host.sysroot import Sysroot
from nodedevd.host.tolerant import TolerantReads
from nodedevd.tree.record import record
from tests.support.doctor import codes, examined
from tests.support.mdev_card import CARD, UUID, mdev_card
from tests.support.trees import Tree

RULE = "/usr/lib/udev/rules.d/60-mdevctl.rules"
RULES = (
    "# /usr/bin/mdevctl start-parent-mdevs is run for each parent\n"
    'ACTION=="change", ENV{{MDEV_STATE}}=="registered", TEST=="/etc/mdevctl.d/$kernel",'
    " RUN+=\"/bin/sh -c '{{ {0} start-parent-mdevs %k 2>&3 | logger -t mdevctl; }} 3>&1'\"\n"
)
SCRIPTS = "/etc/mdevctl.d/scripts.d"


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    """Return a host with one card, an active mdev with autostart, and mdevctl as it should be."""
    tree = mdev_card(tmp_path / "host")
    tree.mdev(CARD, UUID, "nvidia-1", driver="nvidia", iommu_group=2)
    tree.definition(CARD, UUID, "nvidia-1", start="auto")
    tree.file("/usr/sbin/mdevctl")
    tree.file(RULE, RULES.format("/usr/sbin/mdevctl"))
    tree.directory(f"{SCRIPTS}/callouts")
    tree.directory(f"{SCRIPTS}/notifiers")
    return tree


def test_complete_installation_has_no_findings(tree: Tree) -> None:
    """The rule runs a program that exists."""
    assert examined(tree) == ()


def move(tree: Tree, source: str, target: str) -> None:
    """Move a file of the host."""
    tree.directory(os.path.dirname(target))
    os.rename(tree.at(source), tree.at(target))


def test_rule_that_runs_no_program_is_found(tree: Tree) -> None:
    """As in Debian 12 and 13: the package installs the program elsewhere."""
    move(tree, "/usr/sbin/mdevctl", "/usr/bin/mdevctl")
    (found,) = examined(tree)
    assert (found.severity, found.code) == ("warning", "autostart-never-runs")
    assert (
        f"1 definition has autostart, but none is started along with its parent: {RULE} runs"
        in (found.text)
    )
    assert found.mend == ("ln -s /usr/bin/mdevctl /usr/sbin/mdevctl",)
    tree.link("/usr/sbin/mdevctl", "../bin/mdevctl")
    assert examined(tree) == ()


def test_rule_does_not_matter_if_nodedevd_starts_definitions(tree: Tree) -> None:
    """The unit that makes this directory is enabled."""
    tree.remove("/usr/sbin/mdevctl")
    tree.directory("/run/nodedevd/autostart")
    assert examined(tree) == ()


def test_merged_directories_of_programs_are_followed(tree: Tree) -> None:
    """Where /usr/sbin is a link to bin, the program is found by either name."""
    move(tree, "/usr/sbin/mdevctl", "/usr/bin/mdevctl")
    os.rmdir(tree.at("/usr/sbin"))
    tree.link("/usr/sbin", "bin")
    assert examined(tree) == ()


def test_rule_does_not_matter_without_autostart(tree: Tree) -> None:
    """Nothing would be started by it."""
    tree.remove("/usr/sbin/mdevctl")
    tree.definition(CARD, UUID, "nvidia-1", start="manual")
    assert examined(tree) == ()


def test_rule_that_is_masked_or_replaced_counts(tree: Tree) -> None:
    """Udev reads the first file of a name: that of the administrator."""
    tree.link("/etc/udev/rules.d/60-mdevctl.rules", "/dev/null")
    (found,) = examined(tree)
    assert (found.code, found.mend) == ("autostart-never-runs", ())
    assert "mdevctl has no udev rule" in found.text
    tree.file("/etc/udev/rules.d/60-mdevctl.rules", RULES.format("/opt/bin/mdevctl"))
    (found,) = examined(tree)
    assert "/opt/bin/mdevctl, which does not exist" in found.text


@pytest.mark.parametrize("udevd", [True, None])
def test_mdevctl_that_is_not_installed_is_found_on_this_host(
    tree: Tree, udevd: bool | None
) -> None:
    """A recorded host may just leave it out."""
    tree.remove("/usr/sbin/mdevctl")
    tree.remove(RULE)
    found = [one.code for one in examined(tree, udevd=udevd)]
    assert found == ([] if udevd is None else ["autostart-never-runs"])


def test_missing_directories_of_scripts_are_found(tree: Tree) -> None:
    """Mdevctl checks them before anything else; either place will do."""
    tree.remove(f"{SCRIPTS}/notifiers")
    assert codes(examined(tree)) == [("problem", "mdevctl-refuses", None)]
    tree.directory("/usr/lib/mdevctl/scripts.d/callouts")
    tree.directory("/usr/lib/mdevctl/scripts.d/notifiers")
    assert examined(tree) == ()


def test_scripts_that_mdevctl_does_not_run_are_found(tree: Tree) -> None:
    """One is not executable, one is in the wrong place, one is right."""
    for path, mode in (("callouts/10-veto", 0o644), ("20-lost", 0o755), ("notifiers/30", 0o755)):
        os.chmod(tree.at(tree.file(f"{SCRIPTS}/{path}")), mode)
    warning, note = examined(tree)
    assert codes([warning, note]) == [
        ("warning", "script-not-run", None),
        ("note", "script-not-run", None),
    ]
    assert warning.mend == (f"chmod +x {SCRIPTS}/callouts/10-veto",)
    assert f"{SCRIPTS}/20-lost" in note.text


def test_script_behind_a_link_is_judged_by_its_target(tree: Tree) -> None:
    """The permissions of the link mean nothing."""
    os.chmod(tree.at(tree.file("/opt/veto")), 0o755)
    tree.link(f"{SCRIPTS}/callouts/10-veto", "/opt/veto")
    assert examined(tree) == ()
    tree.link(f"{SCRIPTS}/callouts/20-gone", "/opt/gone")
    assert codes(examined(tree)) == [("warning", "script-not-run", None)]


@pytest.mark.parametrize("path", [f"{CARD}/{UUID}", CARD, "scripts.d", "scripts.d/callouts/10"])
def test_files_that_everybody_may_change_are_found(tree: Tree, path: str) -> None:
    """Root acts on them."""
    os.chmod(tree.at(tree.file(f"{SCRIPTS}/callouts/10")), 0o755)
    os.chmod(tree.at(f"/etc/mdevctl.d/{path}"), 0o777)
    (found,) = examined(tree)
    assert (found.severity, found.code) == ("warning", "writable-by-everyone")
    assert found.mend == (f"chmod o-w /etc/mdevctl.d/{path}",)


def test_recording_keeps_what_is_said_of_mdevctl(tree: Tree, tmp_path: Path) -> None:
    """The findings are those of the host."""
    move(tree, "/usr/sbin/mdevctl", "/usr/bin/mdevctl")
    os.chmod(tree.at(tree.file(f"{SCRIPTS}/callouts/10-run")), 0o755)
    os.chmod(tree.at(tree.file(f"{SCRIPTS}/callouts/20-not-run")), 0o644)
    os.chmod(tree.at(tree.file(f"{SCRIPTS}/callouts/30-open")), 0o757)
    host = read_mdevctl(TolerantReads(Sysroot(tree.root)))
    for copy in (str(tmp_path / "copy"), str(tmp_path / "copy.ttar")):
        record(tree.root, copy, raw=True)
        assert read_mdevctl(TolerantReads(Sysroot(copy))) == host
    assert host.missing_program == "/usr/sbin/mdevctl"
    assert host.not_executable == (f"{SCRIPTS}/callouts/20-not-run",)
    assert host.writable == (f"{SCRIPTS}/callouts/30-open",)


def test_host_without_mdevctl_has_nothing_to_say(tmp_path: Path) -> None:
    """As most recorded hosts."""
    tree = Tree(tmp_path / "bare")
    tree.directory("/sys")
    assert read_mdevctl(TolerantReads(Sysroot(tree.root))) == Mdevctl()
