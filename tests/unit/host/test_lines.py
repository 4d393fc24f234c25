"""lines: text that anyone may write, such as a label or a mount point, makes no new lines."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import nodedevd
from nodedevd.host.assignment.interfaces import read_interfaces
from nodedevd.host.assignment.mounts import Mount, parse_mountinfo, read_swaps
from nodedevd.host.facts.mdevctl import read_mdevctl
from nodedevd.host.lines import fields_of, lines_of
from nodedevd.host.node import Node
from nodedevd.host.sysroot import Sysroot
from nodedevd.host.tolerant import TolerantReads
from nodedevd.host.udev_db import parse
from nodedevd.kinds.vgpu import parse_types
from tests.support.trees import Tree
from tests.unit.host.test_processes import NODE, FakeProc

SEPARATORS = "\v\f\r\x1c\x1d\x1e\x1f\x85\xa0\u1680\u2003\u2028\u2029\u202f\u3000"
"""What str.splitlines or str.split divides at, and the kernel does not."""
ALLOWED = {
    "host/pci_ids.py": "split",
    "kinds/shared/vgpu_types.py": "split",  # words of a name that a person shortens
}
"""Modules that may call these; the text is no file with lines or fields."""

every_separator = pytest.mark.parametrize("separator", SEPARATORS, ids=ascii)


def test_lines_end_with_a_newline() -> None:
    """The last line may lack it; an empty text has no line."""
    assert lines_of("") == []
    assert lines_of("\n") == [""]
    assert lines_of("a\n\nb\n") == lines_of("a\n\nb") == ["a", "", "b"]
    assert lines_of(f"a{SEPARATORS}b\n") == [f"a{SEPARATORS}b"]


def test_fields_are_divided_at_blanks_and_tabs() -> None:
    """Several count as one."""
    assert fields_of("\ta  b\t c ") == ["a", "b", "c"]
    assert fields_of(" ") == []
    assert fields_of(f"a{SEPARATORS}b") == [f"a{SEPARATORS}b"]


@every_separator
def test_label_forges_no_property_and_no_link(separator: str) -> None:
    """Anyone may give a file system a label."""
    forged = separator.join(["x", "E:ID_SERIAL=forged", "S:disk/by-id/forged"])
    found = parse(f"S:sda\nE:ID_SERIAL=real\nE:ID_FS_LABEL={forged}\n")
    assert found.properties == {"ID_SERIAL": "real", "ID_FS_LABEL": forged}
    assert found.links == ("/dev/sda",)


@every_separator
def test_value_forges_no_variable_of_uevent(tree: Tree, separator: str) -> None:
    """The kernel's own variables come first, and count even if a driver writes one again."""
    path = tree.device("/sys/devices/virtual/input/input7", class_="input")
    name = f'NAME="x{separator}DEVNAME=sda"'
    tree.attributes(path, {"uevent": f"MAJOR=13\n{name}\nMAJOR=8\n"})
    found = Node(Sysroot(), path).uevent
    assert found == {"MAJOR": "13", "NAME": name.partition("=")[2]}


@every_separator
def test_mount_point_forges_no_mount(separator: str) -> None:
    """Escaped are blanks, tabs, newlines and backslashes, and no other character."""
    line = f"36 25 8:1 / /media/a{separator}b\\040\\134040 rw - vfat /dev/sda1 rw\n"
    point = f"/media/a{separator}b \\040"
    assert parse_mountinfo(line) == [Mount("8:1", "/", point, "vfat", "/dev/sda1")]


@every_separator
def test_mount_point_does_not_end_a_look_at_processes(tmp_path: Path, separator: str) -> None:
    """Any user with fusermount(1) has mounts in the host's own namespace."""
    proc = FakeProc(tmp_path)
    mounts = proc.root / "self" / "mountinfo"
    mine = f"99 1 0:50 / /home/u/a{separator}b rw - fuse.x x rw,user_id=1000\n"
    mounts.write_text(f"{mine}{mounts.read_text()}{mine}")
    proc.process({3: "/dev/full"})
    look = proc.look({NODE: None, "/dev/full": None})
    assert [sorted(one.nodes) for one in look.open_files] == [["/dev/full"]]
    assert not look.hidden


@every_separator
def test_swap_file_has_one_name(tree: Tree, separator: str) -> None:
    """The kernel escapes blanks in the path."""
    heading = "Filename\t\t\t\tType\t\tSize\tUsed\tPriority\n"
    tree.file("/proc/swaps", f"{heading}/a{separator}b\\040c   file\t\t8\t0\t-2\n")
    assert read_swaps(Sysroot()) == [f"/a{separator}b c"]


@pytest.mark.parametrize("separator", [one for one in SEPARATORS if one not in "\v\f\r\xa0"])
def test_interface_has_one_name(tree: Tree, separator: str) -> None:
    """Its name may have every byte but a slash and what the kernel takes for a blank."""
    name = f"a{separator}eth0"
    tree.device(f"/sys/devices/virtual/net/{name}", class_="net")
    tree.device("/sys/devices/virtual/net/eth0", class_="net")
    tree.file("/proc/net/route", f"Iface\tDestination\n{name}\t00000000\n")
    tree.file("/proc/net/if_inet6", f"{'0' * 32} 03 40 00 80 {name:>8}\n")
    found, _ = read_interfaces(TolerantReads(Sysroot()))
    assert {one.name for one in found.values() if one.has_address} == {name}


@every_separator
def test_type_forges_no_other_type(separator: str) -> None:
    """A line is one type."""
    name = f"NVIDIA A40-1Q{separator}999 : forged"
    found, _ = parse_types(f"ID    : vGPU Name\n557   : {name}\n")
    assert [(one.id, one.name) for one in found] == [("557", name)]


@every_separator
def test_comment_of_a_rule_stays_one(tree: Tree, separator: str) -> None:
    """A rule in a comment is none."""
    call = 'RUN+="/usr/sbin/mdevctl start-parent-mdevs %k"'
    tree.file("/usr/lib/udev/rules.d/60-mdevctl.rules", f"# old:{separator}{call}\n")
    assert read_mdevctl(TolerantReads(Sysroot())).rule is None


@pytest.mark.slow
def test_no_module_divides_text_at_unicode_blanks() -> None:
    """`lines_of` and `fields_of` cut files."""
    assert [one for one in _divisions() if ALLOWED.get(one[0]) != one[1]] == []


def _divisions() -> Iterator[tuple[str, str]]:
    """Yield modules that call splitlines(), or split() without a separator."""
    package = Path(nodedevd.__file__).parent
    for path in package.rglob("*.py"):
        text = path.read_text()
        for node in ast.walk(ast.parse(text)) if "split" in text else ():
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
                name = node.func.attr
                if name == "splitlines" or (name == "split" and not (node.args or node.keywords)):
                    yield str(path.relative_to(package)), name
