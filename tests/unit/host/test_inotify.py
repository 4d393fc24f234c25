"""inotify: a directory is watched before it exists, while it exists, and when it is made again."""

from __future__ import annotations

import errno
import os
import select
import shutil
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from nodedevd.host.events.inotify import DirectoryMonitor
from tests.support.running import PATIENCE_SECONDS


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """Return the path of the watched directory, which does not exist."""
    return tmp_path / "etc" / "mdevctl.d"


@pytest.fixture
def monitor(directory: Path, tmp_path: Path) -> Iterator[DirectoryMonitor]:
    """Return a monitor that was opened before the directory existed."""
    monitor = DirectoryMonitor(["/etc/mdevctl.d"], str(tmp_path))
    yield monitor
    monitor.close()


def drained(monitor: DirectoryMonitor) -> bool:
    """Take what has arrived, and return whether any of it concerns the directory."""
    return bool(list(monitor.drain()))


def reported(monitor: DirectoryMonitor) -> bool:
    """Wait for an event; return whether it concerns the directory."""
    ready, _, _ = select.select([monitor], [], [], PATIENCE_SECONDS)
    assert ready, "no event arrived"
    return drained(monitor)


def silent(monitor: DirectoryMonitor) -> bool:
    """Return whether there is no event; the kernel sends it at once, or never."""
    return not select.select([monitor], [], [], 0)[0]


def test_existing_directory_is_watched(tmp_path: Path) -> None:
    """With its subdirectories: a file is written, in place or anew, renamed, or deleted.

    Owner and permissions count: they may say that a file cannot be read, or is not to be trusted.
    """
    parent = tmp_path / "mdevctl.d" / "mtty"
    parent.mkdir(parents=True)
    file = parent / "uuid"
    monitor = DirectoryMonitor(["/mdevctl.d"], str(tmp_path))
    assert not drained(monitor)
    file.write_text("one")
    assert reported(monitor)
    file.write_text("two")
    assert reported(monitor)
    (tmp_path / "aside").write_text("three")
    (tmp_path / "aside").rename(file)
    assert reported(monitor)
    for one in (file, parent, parent.parent):
        one.chmod(0o700)
        assert reported(monitor)
    file.unlink()
    assert reported(monitor)
    parent.rmdir()
    assert reported(monitor)
    monitor.close()


def test_directory_that_comes_later_is_watched(directory: Path, monitor: DirectoryMonitor) -> None:
    """One level after another."""
    directory.parent.mkdir()
    assert reported(monitor)
    directory.mkdir()
    assert reported(monitor)
    (directory / "mtty").mkdir()
    assert reported(monitor)
    (directory / "mtty" / "uuid").write_text("one")
    assert reported(monitor)


def test_directory_that_comes_with_subdirectories_is_watched(
    directory: Path, monitor: DirectoryMonitor
) -> None:
    """A subdirectory that was made before the monitor saw its parent is watched, too."""
    (directory / "mtty").mkdir(parents=True)
    file = directory / "mtty" / "uuid"
    file.write_text("one")
    assert reported(monitor)
    drained(monitor)
    file.write_text("two")
    assert reported(monitor)


def test_directory_that_goes_and_comes_is_watched(
    directory: Path, monitor: DirectoryMonitor, tmp_path: Path
) -> None:
    """Deleted, renamed, or replaced together with its parent."""
    (directory / "mtty").mkdir(parents=True)
    assert reported(monitor)
    shutil.rmtree(directory)
    assert reported(monitor)
    (directory / "mtty").mkdir(parents=True)
    assert reported(monitor)
    directory.parent.rename(tmp_path / "aside")
    assert reported(monitor)
    (directory / "mtty").mkdir(parents=True)
    assert reported(monitor)
    drained(monitor)
    (directory / "mtty" / "uuid").write_text("one")
    assert reported(monitor)


def test_directory_renamed_into_place_is_watched(
    directory: Path, monitor: DirectoryMonitor, tmp_path: Path
) -> None:
    """So is a subdirectory."""
    directory.mkdir(parents=True)
    assert reported(monitor)
    (tmp_path / "aside").mkdir()
    (tmp_path / "aside").rename(directory / "mtty")
    assert reported(monitor)
    drained(monitor)
    (directory / "mtty" / "uuid").write_text("one")
    assert reported(monitor)


def test_neighbours_of_the_directory_are_not_reported(
    directory: Path, monitor: DirectoryMonitor, tmp_path: Path
) -> None:
    """A file written beside it or beside its parent is no change."""
    directory.mkdir(parents=True)
    assert reported(monitor)
    (tmp_path / "passwd").write_text("")
    (directory.parent / "passwd").write_text("")
    (directory.parent / "mdevctl.d~").mkdir()
    assert not reported(monitor)
    assert silent(monitor)


def test_file_that_is_only_read_is_not_reported(directory: Path, monitor: DirectoryMonitor) -> None:
    """The daemon would wake itself without end."""
    (directory / "mtty").mkdir(parents=True)
    (directory / "mtty" / "uuid").write_text("one")
    assert reported(monitor)
    drained(monitor)
    assert (directory / "mtty" / "uuid").read_text() == "one"
    assert os.listdir(directory) == ["mtty"]
    assert silent(monitor)


def test_drain_without_events_is_no_change(monitor: DirectoryMonitor) -> None:
    """It does not block."""
    assert silent(monitor)
    assert not drained(monitor)


@pytest.mark.slow
def test_full_queue_is_a_change_and_all_is_watched_again(
    directory: Path, monitor: DirectoryMonitor
) -> None:
    """The kernel reports that it dropped events: anything may have changed."""
    most = int(Path("/proc/sys/fs/inotify/max_queued_events").read_text())
    if most > 100_000:
        pytest.skip(f"the queue holds {most} events")
    parent = directory / "mtty"
    parent.mkdir(parents=True)
    assert reported(monitor)
    drained(monitor)
    names = [parent / "one", parent / "other"]
    names[0].write_text("")
    for number in range(most):  # two events each, none equal to the one before
        names[number % 2].rename(names[(number + 1) % 2])
    (directory / "late").mkdir()  # its event is dropped
    assert reported(monitor)
    drained(monitor)
    assert silent(monitor)
    (directory / "late" / "uuid").write_text("one")
    assert reported(monitor)


def test_closed_monitor_has_given_its_descriptor_back(tmp_path: Path) -> None:
    """The descriptor is closed."""
    monitor = DirectoryMonitor(["/d"], str(tmp_path))
    descriptor = monitor.fileno()
    monitor.close()
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(descriptor)


@pytest.mark.parametrize("linked", ["etc", "etc/mdevctl.d"])
def test_link_does_not_lead_out_of_the_sysroot(tmp_path: Path, linked: str) -> None:
    """Whoever made the sysroot learns nothing about other directories; inside, links lead on."""
    root, outside = tmp_path / "host", tmp_path / "outside"
    inside = root / "outside"
    for one in (outside, inside):
        (one / "mdevctl.d" / "mtty").mkdir(parents=True)
    target = outside if linked == "etc" else outside / "mdevctl.d"
    (root / linked).parent.mkdir(parents=True, exist_ok=True)
    (root / linked).symlink_to(target)
    monitor = DirectoryMonitor(["/etc/mdevctl.d"], str(root))
    (outside / "mdevctl.d" / "mtty" / "uuid").touch()
    (outside / "mdevctl.d" / "new").mkdir()
    assert silent(monitor)
    (root / linked).unlink()
    (root / linked).symlink_to(str(target).removeprefix(str(tmp_path)))
    assert reported(monitor)
    (inside / "mdevctl.d" / "mtty" / "uuid").touch()
    assert reported(monitor)
    monitor.close()


def test_directory_that_cannot_be_watched_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The limit on watches is no absence: changes would be missed."""
    module = "nodedevd.host.events.inotify.ctypes"
    libc = SimpleNamespace(inotify_init1=os.eventfd, inotify_add_watch=lambda *arguments: -1)
    monkeypatch.setattr(f"{module}.CDLL", lambda *arguments, **options: libc)
    monkeypatch.setattr(f"{module}.get_errno", lambda: errno.ENOSPC)
    with pytest.raises(OSError, match="No space left"):
        DirectoryMonitor(["/etc/mdevctl.d"], str(tmp_path))


def test_directories_of_one_monitor_are_told_apart(tmp_path: Path) -> None:
    """They share ancestors, come and go, and links may make two of them one."""
    paths = ["/etc/a.d", "/etc/b.d", "/usr/lib/a.d"]
    monitor = DirectoryMonitor(paths, str(tmp_path))

    def concerned() -> set[str]:
        ready, _, _ = select.select([monitor], [], [], PATIENCE_SECONDS)
        assert ready, "no event arrived"
        return set(monitor.drain())

    a, b, library = (tmp_path / path[1:] for path in paths)
    a.parent.mkdir()
    assert concerned() == {"/etc/a.d", "/etc/b.d"}
    library.mkdir(parents=True)
    assert concerned() == {"/usr/lib/a.d"}
    a.mkdir()
    assert concerned() == {"/etc/a.d"}
    (a / "file").write_text("")
    assert concerned() == {"/etc/a.d"}
    (library / "below").mkdir()
    assert concerned() == {"/usr/lib/a.d"}
    (library / "below" / "file").write_text("")
    assert concerned() == {"/usr/lib/a.d"}
    (tmp_path / "etc" / "other").write_text("")
    assert concerned() == set()
    b.symlink_to("a.d")
    assert concerned() >= {"/etc/b.d"}
    (a / "file").unlink()
    assert concerned() == {"/etc/a.d", "/etc/b.d"}
    monitor.close()
