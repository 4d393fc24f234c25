"""mdevctl's definitions are read as mdevctl reads them; nonsense in one is an error of that one."""

from __future__ import annotations

import errno
import json
from pathlib import Path

import pytest

from nodedevd.host.faults import Fault, Faults
from nodedevd.host.sysroot import Sysroot
from nodedevd.kinds.shared.mdevctl import (
    DIRECTORY,
    Definition,
    MdevAttribute,
    definition_path,
    find_definitions,
    read_definition,
)
from tests.support.faulty import FaultySysroot
from tests.support.trees import Tree

UUID = "27b42a51-9f6b-4c0b-8f5f-4f3a1d0e8c01"
OTHER = "a2c1a9b0-5c3e-4f27-b6d4-0d6e2f9b7c02"
PARENT = "0000:00:02.0"
PATH = f"{DIRECTORY}/{PARENT}/{UUID}"


def read(tree: Tree, content: str | bytes) -> Definition | None:
    """Read a definition of this content."""
    tree.file(PATH, content)
    return read_definition(Sysroot(), PATH)


def found(sysroot: Sysroot | None = None) -> tuple[list[str], list[Fault]]:
    """Return all definitions, and the faults."""
    faults = Faults()
    return list(find_definitions(sysroot or Sysroot(), faults)), faults


# One definition


def test_definition_shows_each_field(tree: Tree) -> None:
    """Attributes are in order, and a name may come again."""
    path = tree.definition(
        PARENT, UUID, "t-1", start="auto", attributes=[("b", "1"), ("a", ""), ("b", "3")]
    )
    assert path == definition_path(PARENT, UUID) == PATH
    assert read_definition(Sysroot(), path) == Definition(
        mdev_type="t-1",
        autostart=True,
        attributes=(MdevAttribute("b", "1"), MdevAttribute("a", ""), MdevAttribute("b", "3")),
    )


@pytest.mark.parametrize("start", ["manual", "Auto", "auto ", "", "never"])
def test_start_that_is_not_auto_is_manual(tree: Tree, start: str) -> None:
    """As mdevctl has it: any other word."""
    content = {"mdev_type": "t-1", "start": start}
    assert read(tree, json.dumps(content)) == Definition("t-1", False, ())


@pytest.mark.parametrize("attrs", ["", ', "attrs": null', ', "attrs": []', ', "other": {"a": 1}'])
def test_definition_may_have_no_attributes_and_others_members(tree: Tree, attrs: str) -> None:
    """Older and newer versions write more, or less."""
    assert read(tree, f'{{"mdev_type": "t", "start": "auto"{attrs}}}') == Definition("t", True, ())


def test_definition_cut_off_anywhere_is_nonsense(tree: Tree) -> None:
    """Mdevctl overwrites files in place: a reader may see any beginning of one."""
    whole = '{"mdev_type": "t", "start": "auto", "attrs": [{"a": "1"}]}'
    for length in range(len(whole)):
        with pytest.raises(ValueError, match=r"truncated|malformed"):
            read(tree, whole[:length])
    assert read(tree, whole) is not None


@pytest.mark.parametrize(
    "content",
    [
        "[]",
        "null",
        '"t"',
        '{"start": "auto"}',
        '{"mdev_type": "t"}',
        '{"mdev_type": 1, "start": "auto"}',
        '{"mdev_type": "t", "start": null}',
        '{"mdev_type": "t", "start": "auto", "attrs": {"a": "b"}}',
        '{"mdev_type": "t", "start": "auto", "attrs": ["a"]}',
        '{"mdev_type": "t", "start": "auto", "attrs": [{"a": 1}]}',
        '{"mdev_type": "t", "start": "auto", "attrs": [{}]}',
        '{"mdev_type": "t", "start": "auto", "attrs": [{"a": "1", "b": "2"}]}',
        '{"mdev_type": "t", "start": "auto"} more',
        b'{"mdev_type": "\xff", "start": "auto"}',
        '{"mdev_type": "\\ud800", "start": "auto"}',
        "[" * 100_000,
        '{"a":' * 100_000,
    ],
)
def test_definition_of_another_form_is_nonsense(tree: Tree, content: str | bytes) -> None:
    """No value is guessed, and only ValueError is raised."""
    with pytest.raises(ValueError, match=r"."):
        read(tree, content)


def test_file_of_more_than_a_mebibyte_is_nonsense(tree: Tree) -> None:
    """No more than that is read, whatever lies there."""
    whole = '{"mdev_type": "t", "start": "auto"}'
    assert read(tree, whole.ljust(1 << 20)) is not None
    with pytest.raises(ValueError, match="more than 1 MiB"):
        read(tree, whole.ljust((1 << 20) + 1))


def test_what_is_no_file_is_no_definition(tmp_path: Path) -> None:
    """Nothing at the path, a directory, or a file in place of the parent's directory."""
    tree, sysroot = Tree(tmp_path), Sysroot(str(tmp_path))
    assert read_definition(sysroot, PATH) is None
    tree.directory(PATH)
    assert read_definition(sysroot, PATH) is None
    tree.file(f"{DIRECTORY}/file")
    assert read_definition(sysroot, f"{DIRECTORY}/file/{UUID}") is None


@pytest.mark.parametrize("number", [errno.EACCES, errno.EIO])
def test_definition_that_cannot_be_read_raises(tree: Tree, number: int) -> None:
    """Whether there is one is not known then."""
    tree.definition(PARENT, UUID, "t")
    with pytest.raises(OSError, match=rf"Errno {number}\b"):
        read_definition(FaultySysroot(errors={PATH: number}), PATH)


# All definitions


def test_definitions_are_found_in_order(tree: Tree) -> None:
    """One uuid may be defined for several parents."""
    for parent, uuid in [("mtty", UUID), (PARENT, OTHER), (PARENT, UUID)]:
        tree.definition(parent, uuid, "t")
    paths = [definition_path(PARENT, UUID), definition_path(PARENT, OTHER)]
    assert found() == ([*paths, definition_path("mtty", UUID)], [])


def test_host_without_mdevctl_has_no_definitions(tree: Tree) -> None:
    """It is no fault to have no such directory, or a file in its place."""
    assert found() == ([], [])
    tree.directory(DIRECTORY)
    assert found() == ([], [])
    tree.remove(DIRECTORY)
    tree.file(DIRECTORY)
    assert found() == ([], [])


def test_names_that_are_no_uuid_are_not_looked_at(tree: Tree) -> None:
    """Editors leave copies; scripts.d holds the scripts of old versions."""
    tree.file(f"{DIRECTORY}/README")
    for name in (f"{UUID}~", f".{UUID}.swp", UUID.replace("-", ""), "not-a-uuid", f"{UUID}\n"):
        tree.file(f"{DIRECTORY}/{PARENT}/{name}")
    tree.file(f"{DIRECTORY}/scripts.d/{UUID}")
    tree.file(f"{DIRECTORY}/scripts.d/callouts/{UUID}")
    assert found() == ([], [])


def test_uuid_in_upper_case_is_a_fault(tree: Tree) -> None:
    """No mdev is ever called so."""
    path = tree.definition(PARENT, UUID.upper(), "t")
    assert found() == ([], [Fault(path, "malformed", "a UUID in upper case")])


@pytest.mark.parametrize("directory", [DIRECTORY, f"{DIRECTORY}/{PARENT}"])
@pytest.mark.parametrize(("number", "code"), [(errno.EACCES, "refused"), (errno.EIO, "unreadable")])
def test_directory_that_cannot_be_listed_is_a_fault(
    tree: Tree, directory: str, number: int, code: str
) -> None:
    """Definitions may be missing then."""
    tree.definition(PARENT, UUID, "t")
    sysroot = FaultySysroot(errors={directory: number})
    assert [(fault.attribute, fault.code) for fault in found(sysroot)[1]] == [(directory, code)]
