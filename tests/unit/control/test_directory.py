"""A directory of small files: whose it has to be, and when its descriptor is closed."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from nodedevd.control.directory import Directory
from nodedevd.errors import UnsafePath
from tests.support.descriptors import descriptors


def test_descriptor_ends_with_the_last_reference(tmp_path: Path) -> None:
    """A service that starts anew in one process, as in tests, leaves none behind."""
    before = descriptors()
    for _ in range(3):
        Directory(str(tmp_path)).replace("one", b"1")
    assert descriptors() == before
    directory = Directory(str(tmp_path))
    assert directory.read("one") == b"1"
    directory.close()
    directory.close()
    assert descriptors() == before


def test_missing_directory_is_made_if_that_is_asked_for(tmp_path: Path) -> None:
    """Made, it is its owner's alone."""
    path = tmp_path / "new"
    with pytest.raises(FileNotFoundError):
        Directory(str(path), make=False)
    Directory(str(path))
    assert path.stat().st_mode & 0o777 == 0o700
    Directory(str(path), make=False)


def test_directory_that_others_may_write_to_is_refused(tmp_path: Path) -> None:
    """And its descriptor is closed."""
    before = descriptors()
    tmp_path.chmod(0o777)
    with pytest.raises(UnsafePath, match="another user may write to it"):
        Directory(str(tmp_path))
    assert descriptors() == before


def test_file_is_replaced_as_a_whole(tmp_path: Path) -> None:
    """Nothing unfinished is among the names, and nothing is left if it cannot be renamed."""
    directory = Directory(str(tmp_path))
    directory.create("one", b"1")
    with pytest.raises(FileExistsError):
        directory.create("one", b"2")
    directory.replace("one", b"3")
    assert (directory.names(), directory.read("one")) == (["one"], b"3")
    directory.remove("one")
    directory.remove("one")
    assert directory.read("one") is None
    assert os.listdir(tmp_path) == []


def test_threads_that_list_it_at_once_miss_nothing(tmp_path: Path) -> None:
    """A record that is missed is a device that nobody owns."""
    directory = Directory(str(tmp_path))
    names = [f"{number:04}" for number in range(500)]
    for name in names:
        (tmp_path / name).touch()

    def missed(_: int) -> int:
        return sum(directory.names() != names for _ in range(50))

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(missed, range(8))) == 0
