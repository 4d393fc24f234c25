"""A directory is watched before it is there, while it is, and when it comes again."""

from __future__ import annotations

import os
import select
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from nodedevd.host.events.inotify import DirectoryMonitor
from tests.support.running import PATIENCE_SECONDS


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """Return the path of the directory that is watched; it is not there."""
    return tmp_path / "etc" / "mdevctl.d"


@pytest.fixture
def monitor(directory: Path, tmp_path: Path) -> Iterator[DirectoryMonitor]:
    """Return a monitor from before there was anything."""
    monitor = DirectoryMonitor(str(directory), str(tmp_path))
    yield monitor
    monitor.close()


def told(monitor: DirectoryMonitor) -> bool:
    """Wait until something is told, and return what is made of it."""
    ready, _, _ = select.select([monitor], [], [], PATIENCE_SECONDS)
    assert ready, "nothing was told"
    return monitor.drain()


def silent(monitor: DirectoryMonitor) -> bool:
    """Tell whether nothing is told; the kernel tells in the same moment, or never."""
    return not select.select([monitor], [], [], 0)[0]


def test_directory_that_is_there_is_watched(tmp_path: Path) -> None:
    """Together with those in it: a file written, in place or anew, renamed, or deleted."""
    parent = tmp_path / "mdevctl.d" / "mtty"
    parent.mkdir(parents=True)
    file = parent / "uuid"
    monitor = DirectoryMonitor(str(tmp_path / "mdevctl.d"), str(tmp_path))
    assert not monitor.drain()
    file.write_text("one")
    assert told(monitor)
    file.write_text("two")
    assert told(monitor)
    (tmp_path / "aside").write_text("three")
    (tmp_path / "aside").rename(file)
    assert told(monitor)
    file.unlink()
    assert told(monitor)
    parent.rmdir()
    assert told(monitor)
    monitor.close()


def test_directory_that_comes_later_is_watched(directory: Path, monitor: DirectoryMonitor) -> None:
    """Step by step, and all at once."""
    directory.parent.mkdir()
    assert told(monitor)
    directory.mkdir()
    assert told(monitor)
    (directory / "mtty").mkdir()
    assert told(monitor)
    (directory / "mtty" / "uuid").write_text("one")
    assert told(monitor)


def test_directory_that_comes_with_all_in_it_is_watched(
    directory: Path, monitor: DirectoryMonitor
) -> None:
    """What was made before the monitor could look is watched from then on."""
    (directory / "mtty").mkdir(parents=True)
    file = directory / "mtty" / "uuid"
    file.write_text("one")
    assert told(monitor)
    monitor.drain()
    file.write_text("two")
    assert told(monitor)


def test_directory_that_goes_and_comes_is_watched(
    directory: Path, monitor: DirectoryMonitor, tmp_path: Path
) -> None:
    """Deleted, renamed, or replaced together with what is above it."""
    (directory / "mtty").mkdir(parents=True)
    assert told(monitor)
    shutil.rmtree(directory)
    assert told(monitor)
    (directory / "mtty").mkdir(parents=True)
    assert told(monitor)
    directory.parent.rename(tmp_path / "aside")
    assert told(monitor)
    (directory / "mtty").mkdir(parents=True)
    assert told(monitor)
    monitor.drain()
    (directory / "mtty" / "uuid").write_text("one")
    assert told(monitor)


def test_directory_renamed_into_place_is_watched(
    directory: Path, monitor: DirectoryMonitor, tmp_path: Path
) -> None:
    """So is one below it."""
    directory.mkdir(parents=True)
    assert told(monitor)
    (tmp_path / "aside").mkdir()
    (tmp_path / "aside").rename(directory / "mtty")
    assert told(monitor)
    monitor.drain()
    (directory / "mtty" / "uuid").write_text("one")
    assert told(monitor)


def test_neighbours_of_the_directory_are_not_told_of(
    directory: Path, monitor: DirectoryMonitor, tmp_path: Path
) -> None:
    """A file written beside it, or beside what it lies in, is no change."""
    directory.mkdir(parents=True)
    assert told(monitor)
    (tmp_path / "passwd").write_text("")
    (directory.parent / "passwd").write_text("")
    (directory.parent / "mdevctl.d~").mkdir()
    assert not told(monitor)
    assert silent(monitor)


def test_file_that_is_only_read_is_not_told_of(directory: Path, monitor: DirectoryMonitor) -> None:
    """The daemon would wake itself for ever."""
    (directory / "mtty").mkdir(parents=True)
    (directory / "mtty" / "uuid").write_text("one")
    assert told(monitor)
    monitor.drain()
    assert (directory / "mtty" / "uuid").read_text() == "one"
    assert os.listdir(directory) == ["mtty"]
    assert silent(monitor)


def test_drain_without_events_is_no_change(monitor: DirectoryMonitor) -> None:
    """And does not block."""
    assert silent(monitor)
    assert not monitor.drain()


def test_full_queue_is_a_change_and_all_is_watched_again(
    directory: Path, monitor: DirectoryMonitor
) -> None:
    """The kernel drops what is too much, and says so: anything may have come and gone."""
    most = int(Path("/proc/sys/fs/inotify/max_queued_events").read_text())
    if most > 100_000:
        pytest.skip(f"the queue holds {most} events")
    parent = directory / "mtty"
    parent.mkdir(parents=True)
    assert told(monitor)
    monitor.drain()
    names = [parent / "one", parent / "other"]
    names[0].write_text("")
    for number in range(most):  # two events each, none like the one before
        names[number % 2].rename(names[(number + 1) % 2])
    (directory / "late").mkdir()  # of this nothing is told
    assert told(monitor)
    monitor.drain()
    assert silent(monitor)
    (directory / "late" / "uuid").write_text("one")
    assert told(monitor)


def test_closed_monitor_has_given_its_descriptor_back(tmp_path: Path) -> None:
    """No descriptor stays."""
    monitor = DirectoryMonitor(str(tmp_path / "d"), str(tmp_path))
    descriptor = monitor.fileno()
    monitor.close()
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(descriptor)
