"""doctor in a container: what it cannot have is no alarm, and its host's devices still are."""

from __future__ import annotations

from pathlib import Path

import pytest

from nodedevd.host.facts import read_host
from nodedevd.host.facts.container import read_container
from nodedevd.host.sysroot import Sysroot
from nodedevd.host.tolerant import TolerantReads
from nodedevd.questions.doctor import DaemonView, diagnose
from nodedevd.tree.read import scan
from tests.support.doctor import codes, examined
from tests.support.faulty import FaultySysroot
from tests.support.hosts import unpacked
from tests.support.mdev_card import CARD, UUID, mdev_card
from tests.support.trees import Tree


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    """Return a host with one card, in a container of Docker."""
    tree = mdev_card(tmp_path / "host")
    tree.file("/.dockerenv")
    return tree


@pytest.mark.parametrize(
    ("path", "content", "kind"),
    [
        ("/run/systemd/container", "lxc\n", "lxc"),
        ("/run/systemd/container", "systemd-nspawn\n", "systemd-nspawn"),
        ("/run/systemd/container", "\x1b[2J" * 30, "unknown"),
        ("/run/host/container-manager", "podman\n", "podman"),
        ("/run/.containerenv", "", "podman"),
        ("/.dockerenv", "", "docker"),
        ("/run/secrets/kubernetes.io/serviceaccount/namespace", "default", "kubernetes"),
    ],
)
def test_container_is_known_by_its_files(
    tmp_path: Path, path: str, content: str, kind: str
) -> None:
    """Each manager leaves a sign of its own."""
    tree = Tree(tmp_path)
    tree.directory("/sys")
    assert read_container(TolerantReads(Sysroot(tree.root))) is None
    tree.file(path, content)
    assert read_container(TolerantReads(Sysroot(tree.root))) == kind


def test_lack_of_services_is_no_finding(tree: Tree) -> None:
    """Udevd, mdevctl's rule and the daemon are the host's."""
    tree.mdev(CARD, UUID, "nvidia-1", driver="nvidia", iommu_group=2)
    tree.definition(CARD, UUID, "nvidia-1", start="auto")
    assert examined(tree, udevd=False) == ()
    outside = {one.code for one in examined(tree, udevd=False, container=None)}
    assert outside == {"udevd-not-running", "autostart-never-runs"}


def test_missing_daemon_is_a_note(tree: Tree) -> None:
    """Its socket can be mounted into the container; systemctl would be of no use."""
    sysroot = Sysroot(tree.root)
    view = DaemonView(("/run/s",), reason="no such file")
    found = diagnose(scan(sysroot), read_host(sysroot), daemon=view)
    assert codes(found) == [("note", "no-daemon", None)]
    assert (found[0].mend, "Mount" in found[0].advice) == ((), True)


def test_parts_of_sys_that_are_hidden_are_notes(tree: Tree) -> None:
    """The manager of a container hides some, and makes others unreadable."""
    attribute = f"{tree.resolve(CARD)}/mdev_supported_types/nvidia-1/available_instances"
    errors = {"/sys/class/net": 13, attribute: 13}
    sysroot = FaultySysroot(tree.root, errors=errors)
    found = diagnose(scan(sysroot), read_host(sysroot))
    assert {(one.severity, one.code) for one in found} == {
        ("note", "directory-unreadable"),
        ("note", "attribute-unreadable"),
    }


def test_missing_iommu_is_no_note(tmp_path: Path) -> None:
    """Nothing is assigned from here; a device that is bound to VFIO says otherwise."""
    tree = Tree(tmp_path)
    tree.file("/.dockerenv")
    tree.pci(CARD, vendor=0x8086, device=1, class_=0x020000)
    assert examined(tree) == ()
    tree.pci(CARD, vendor=0x8086, device=1, class_=0x020000, driver="vfio-pci")
    assert codes(examined(tree)) == [("warning", "iommu-off", None)]


def test_devices_of_the_host_are_still_judged(tmp_path: Path) -> None:
    """An agent in a container manages the cards of its node."""
    tree = unpacked("l40s-vfs-on-vfio-pci", tmp_path / "host")
    tree.directory("/run/secrets/kubernetes.io")
    assert {one.code for one in examined(tree)} == {"function-wrong-driver"}
