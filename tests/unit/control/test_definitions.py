"""A definition is written whole, by no other path than its own, and never over another's change."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from nodedevd.control import definitions
from nodedevd.control.definitions import (
    ASIDE,
    DefinitionChanged,
    Unusable,
    read_definition,
    read_definitions,
    write_definition,
)

UUID = "27b42a51-9f6b-4c0b-8f5f-4f3a1d0e8c01"
OTHER = "a2c1a9b0-5c3e-4f27-b6d4-0d6e2f9b7c02"
PARENT = "0000:41:00.4"
TEXT = '{\n  "mdev_type": "nvidia-592",\n  "start": "auto",\n  "attrs": []\n}'
NEW = TEXT.replace("auto", "manual")
THEIRS = TEXT.replace("592", "593")


@pytest.fixture
def directory(tmp_path: Path) -> Iterator[str]:
    """The directory of definitions, which does not exist yet; nothing is left aside in it."""
    directory = tmp_path / "mdevctl.d"
    yield str(directory)
    aside = directory.joinpath(*ASIDE)
    assert not aside.exists() or os.listdir(aside) == []


@pytest.fixture
def file(directory: str) -> Path:
    """The file of the definition."""
    return Path(directory, PARENT, UUID)


def write(directory: str, text: str | None, before: str | None) -> None:
    """Write the definition."""
    write_definition(directory, PARENT, UUID, text, before)


def just_before(monkeypatch: pytest.MonkeyPatch, call: str, act: Callable[[], object]) -> None:
    """Have somebody do something just before the first of these system calls."""
    original = getattr(os, call)
    done: list[object] = []

    def then(*arguments: object, **named: object) -> object:
        if not done:
            done.append(act())
        return original(*arguments, **named)

    monkeypatch.setattr(f"nodedevd.control.definitions.os.{call}", then)


# What is written


def test_new_definition_has_its_directory_and_permissions(directory: str, file: Path) -> None:
    """As mdevctl makes them, whatever the umask."""
    before = os.umask(0o077)
    try:
        write(directory, TEXT, None)
    finally:
        os.umask(before)
    assert file.read_bytes() == TEXT.encode()
    assert stat.S_IMODE(file.stat().st_mode) == 0o644
    assert stat.S_IMODE(file.parent.stat().st_mode) == 0o755
    assert stat.S_IMODE(file.parent.parent.stat().st_mode) == 0o755
    assert os.listdir(file.parent) == [UUID]


def test_definition_is_replaced_as_a_whole(directory: str, file: Path) -> None:
    """Whoever has the old file open reads the old text to its end."""
    write(directory, TEXT, None)
    with file.open() as stream:
        write(directory, NEW, TEXT)
        assert stream.read() == TEXT
    assert file.read_text() == NEW
    assert os.listdir(file.parent) == [UUID]


@pytest.mark.parametrize(
    ("mode", "kept"), [(0o600, 0o600), (0o640, 0o640), (0o666, 0o644), (0o400, 0o600)]
)
def test_permissions_are_kept_but_not_those_to_write(
    directory: str, file: Path, mode: int, kept: int
) -> None:
    """Mdevctl writes in place, so they would stay; nobody but root gets to write."""
    write(directory, TEXT, None)
    file.chmod(mode)
    write(directory, NEW, TEXT)
    assert stat.S_IMODE(file.stat().st_mode) == kept


def test_removed_definition_leaves_the_parents_directory(directory: str, file: Path) -> None:
    """As mdevctl does, which then finds an empty one."""
    write(directory, TEXT, None)
    write(directory, None, TEXT)
    assert os.listdir(file.parent) == []


def test_other_definitions_are_not_touched(directory: str, file: Path) -> None:
    """Neither those of the same parent, malformed ones, nor the same UUID of another parent."""
    write_definition(directory, "mtty", UUID, TEXT, None)
    file.parent.mkdir()
    (file.parent / OTHER).write_text("{ broken")
    (file.parent / "notes").write_text("x")
    write(directory, TEXT, None)
    write(directory, NEW, TEXT)
    write(directory, None, NEW)
    assert Path(directory, "mtty", UUID).read_text() == TEXT
    assert (file.parent / OTHER).read_text() == "{ broken"
    assert sorted(os.listdir(file.parent)) == [OTHER, "notes"]


def test_text_and_directory_are_synced(
    directory: str, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The text before it gets its name, the name before the answer."""
    calls: list[str] = []

    def note(call: str) -> None:
        original = getattr(os, call)

        def noted(*arguments: object, **named: object) -> object:
            calls.append(call)
            return original(*arguments, **named)

        monkeypatch.setattr(f"nodedevd.control.definitions.os.{call}", noted)

    write(directory, TEXT, None)
    for call in ("fsync", "link", "rename"):
        note(call)
    write(directory, NEW, TEXT)
    assert calls == ["fsync", "fsync", "link", "rename", "fsync"]  # of the directory above, first


# Which path


@pytest.mark.parametrize(
    "parent",
    ["", ".", "..", "../x", "a/b", "/etc", "a\nb", "a\0b", ".nodedevd", "scripts.d", "x" * 256],
)
@pytest.mark.parametrize("text", [TEXT, None])
def test_parent_that_is_no_name_is_refused(tmp_path: Path, parent: str, text: str | None) -> None:
    """Nothing is made, inside the directory or out of it."""
    directory = tmp_path / "etc" / "mdevctl.d"
    directory.mkdir(parents=True)
    with pytest.raises(ValueError, match="no kernel name"):
        write_definition(str(directory), parent, UUID, text, None if text else TEXT)
    with pytest.raises(ValueError, match="no kernel name"):
        read_definition(str(directory), parent, UUID)
    assert [str(one.relative_to(tmp_path)) for one in tmp_path.rglob("*")] == [
        "etc",
        "etc/mdevctl.d",
    ]


@pytest.mark.parametrize("uuid", ["", "..", "../x", UUID.upper(), UUID + "\n", "new"])
def test_file_that_is_no_uuid_is_refused(directory: str, uuid: str) -> None:
    """A UUID is in lower case, as mdevctl writes it."""
    with pytest.raises(ValueError, match="no UUID"):
        write_definition(directory, PARENT, uuid, TEXT, None)


def test_link_in_place_of_the_definition_is_not_followed(directory: str, file: Path) -> None:
    """Mdevctl does not see it; it is left."""
    outside = Path(directory).parent / "outside"
    outside.write_text(TEXT)
    write_definition(directory, PARENT, OTHER, TEXT, None)
    file.symlink_to(outside)
    for text, before in ((NEW, TEXT), (NEW, None), (None, TEXT)):
        with pytest.raises(Unusable, match="link"):
            write(directory, text, before)
    assert read_definition(directory, PARENT, UUID) is None
    assert outside.read_text() == TEXT
    assert file.is_symlink()


def test_link_in_place_of_the_parents_directory_is_not_followed(directory: str) -> None:
    """Nothing is written where it leads."""
    outside = Path(directory).parent / "outside"
    outside.mkdir()
    Path(directory).mkdir()
    Path(directory, PARENT).symlink_to(outside)
    with pytest.raises(OSError, match="directory"):
        write(directory, TEXT, None)
    assert list(outside.iterdir()) == []
    assert read_definition(directory, PARENT, UUID) is None


def test_pipe_in_place_of_the_definition_does_not_hang(directory: str, file: Path) -> None:
    """It is no definition, and neither is a directory."""
    file.parent.mkdir(parents=True)
    os.mkfifo(file)
    assert read_definition(directory, PARENT, UUID) is None
    with pytest.raises(Unusable, match="regular"):
        write(directory, TEXT, None)
    file.unlink()
    file.mkdir()
    assert read_definitions(directory, UUID) == {}


@pytest.mark.parametrize("which", [0, 1])
def test_directory_that_others_may_change_is_refused(
    directory: str, file: Path, which: int
) -> None:
    """They could swap what is in it while root works there."""
    write(directory, TEXT, None)
    (file.parent, file.parent.parent)[which].chmod(0o777)
    with pytest.raises(Unusable, match="every user"):
        write(directory, NEW, TEXT)
    assert file.read_text() == TEXT


def test_nothing_is_made_in_a_directory_that_others_may_change(directory: str) -> None:
    """They could put a link in its place before its permissions are set."""
    Path(directory).mkdir()
    os.chmod(directory, 0o777)
    with pytest.raises(Unusable, match="every user"):
        write(directory, TEXT, None)
    assert os.listdir(directory) == []


# Beside others


@pytest.mark.parametrize("text", [NEW, None])
@pytest.mark.parametrize("now", [THEIRS, "", None])
def test_definition_that_is_not_as_planned_is_left(
    directory: str, file: Path, text: str | None, now: str | None
) -> None:
    """Changed, just emptied by a mdevctl that is about to write, or removed."""
    write(directory, TEXT, None)
    if now is None:
        file.unlink()
    else:
        file.write_text(now)
    with pytest.raises(DefinitionChanged):
        write(directory, text, TEXT)
    assert (file.read_text() if file.exists() else None) == now
    assert set(os.listdir(file.parent)) <= {UUID}


def test_definition_that_appears_is_left(directory: str, file: Path) -> None:
    """A new one never replaces one."""
    file.parent.mkdir(parents=True)
    file.write_text(THEIRS)
    with pytest.raises(DefinitionChanged):
        write(directory, TEXT, None)
    assert file.read_text() == THEIRS


def test_definition_that_appears_at_the_last_moment_is_left(
    directory: str, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The link that gives a new one its name fails then."""
    just_before(monkeypatch, "link", lambda: file.write_text(THEIRS))
    with pytest.raises(DefinitionChanged):
        write(directory, TEXT, None)
    assert file.read_text() == THEIRS
    assert os.listdir(file.parent) == [UUID]


@pytest.mark.parametrize("call", ["link", "rename"])
def test_definition_that_is_changed_at_the_last_moment_is_put_back(
    directory: str, file: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    """It has the other's text again, which is what mdevctl's user was told."""
    write(directory, TEXT, None)
    just_before(monkeypatch, call, lambda: file.write_text(THEIRS))
    with pytest.raises(DefinitionChanged):
        write(directory, NEW, TEXT)
    assert file.read_text() == THEIRS
    assert os.listdir(file.parent) == [UUID]


def test_definition_that_is_changed_at_the_last_moment_is_not_removed(
    directory: str, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is there again, with the other's text."""
    write(directory, TEXT, None)
    just_before(monkeypatch, "rename", lambda: file.write_text(THEIRS))
    with pytest.raises(DefinitionChanged):
        write(directory, None, TEXT)
    assert file.read_text() == THEIRS
    assert os.listdir(file.parent) == [UUID]


@pytest.mark.parametrize("text", [NEW, None])
def test_what_mdevctl_is_writing_is_not_lost(
    directory: str, file: Path, monkeypatch: pytest.MonkeyPatch, text: str | None
) -> None:
    """It has opened the file, which empties it, and writes after ours was refused."""
    write(directory, TEXT, None)
    opened: list[int] = []
    just_before(
        monkeypatch, "rename", lambda: opened.append(os.open(file, os.O_WRONLY | os.O_TRUNC))
    )
    with pytest.raises(DefinitionChanged):
        write(directory, text, TEXT)
    os.write(opened[0], THEIRS.encode())
    os.close(opened[0])
    assert file.read_text() == THEIRS


def test_definition_that_was_removed_and_made_anew_stays(
    directory: str, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Removing ours finds another's change, and, before that is put back, a newer definition."""
    write(directory, TEXT, None)
    original = definitions._read

    def read(place: int, name: str) -> str | None:
        if name != UUID:
            file.write_text(THEIRS)
            return "changed"
        return original(place, name)

    monkeypatch.setattr(definitions, "_read", read)
    with pytest.raises(DefinitionChanged):
        write(directory, None, TEXT)
    assert file.read_text() == THEIRS
    assert os.listdir(file.parent) == [UUID]


def test_parents_directory_that_goes_is_a_change(
    directory: str, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Removing a definition whose directory somebody removes reports it, and makes nothing."""
    write(directory, TEXT, None)
    file.unlink()
    file.parent.rmdir()
    with pytest.raises(DefinitionChanged):
        write(directory, None, TEXT)
    assert not file.parent.exists()


def test_rest_of_a_killed_process_is_cleared_away(directory: str, file: Path) -> None:
    """It was killed before its new file had a name."""
    write(directory, TEXT, None)
    aside = Path(directory, *ASIDE)
    (aside / "new").write_text("half")
    (aside / "old").hardlink_to(file)
    write(directory, NEW, TEXT)
    assert file.read_text() == NEW
    assert os.listdir(aside) == []


def test_full_disk_leaves_the_definition(
    directory: str, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The old text is there, and nothing else."""
    write(directory, TEXT, None)

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("nodedevd.control.definitions.os.fsync", full)
    with pytest.raises(OSError, match="No space"):
        write(directory, NEW, TEXT)
    assert file.read_text() == TEXT
    assert os.listdir(file.parent) == [UUID]


# What is read


def test_all_definitions_of_a_uuid_are_read(directory: str) -> None:
    """One for each parent; those of other UUIDs, and the scripts' directory, are not looked at."""
    assert read_definitions(directory, UUID) == {}
    write_definition(directory, PARENT, UUID, TEXT, None)
    write_definition(directory, "mtty", UUID, NEW, None)
    write_definition(directory, "mtty", OTHER, NEW, None)
    Path(directory, "scripts.d").mkdir()
    Path(directory, "scripts.d", UUID).write_text("no definition")
    Path(directory, "README").write_text("no directory")
    assert read_definitions(directory, UUID) == {(PARENT, UUID): TEXT, ("mtty", UUID): NEW}


@pytest.mark.slow
def test_definition_that_is_not_utf_8_can_be_removed(directory: str, file: Path) -> None:
    """Its text has replacement characters, and is still told from another."""
    file.parent.mkdir(parents=True)
    file.write_bytes(b"\xff\xfe{")
    text = read_definitions(directory, UUID)[PARENT, UUID]
    assert text == "\ufffd\ufffd{"
    write(directory, None, text)
    assert not file.exists()


def test_text_that_is_cut_off_is_read_again(
    directory: str, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Mdevctl is just writing it."""
    write(directory, TEXT, None)
    file.write_text(TEXT[:20])
    waits: list[float] = []

    def wait(seconds: float) -> None:
        waits.append(seconds)
        file.write_text(THEIRS)

    monkeypatch.setattr("nodedevd.control.definitions.time.sleep", wait)
    assert read_definitions(directory, UUID) == {(PARENT, UUID): THEIRS}
    assert len(waits) == 1
