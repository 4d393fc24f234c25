"""Where root records to, another user may own a directory or a link, and change it meanwhile."""

from __future__ import annotations

import os
import stat
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from nodedevd.tree.record import RecordingSysroot
from tests.support.ctl import on

pytestmark = pytest.mark.needs("root")
SOMEBODY = 65534
HOST = "vgpu-pf"
LINK_OF_SOMEBODY = "is a symbolic link of uid 65534, who could change where it leads"


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    """Return a directory of root with a file that must stay as it is."""
    directory = tmp_path / "root-only"
    directory.mkdir(mode=0o700)
    (directory / "file").write_text("important\n")
    return directory


@pytest.fixture
def public(tmp_path: Path) -> Path:
    """Return a directory that everybody may write into, as /tmp."""
    directory = tmp_path / "public"
    directory.mkdir()
    directory.chmod(0o1777)
    return directory


def give(path: Path, uid: int = SOMEBODY) -> Path:
    """Give a file, a directory or a link to another user."""
    os.chown(path, uid, uid, follow_symlinks=False)
    return path


def link(path: Path, to: Path | str, uid: int = SOMEBODY) -> Path:
    """Make a link of another user."""
    path.symlink_to(to)
    return give(path, uid)


def meanwhile(monkeypatch: pytest.MonkeyPatch, act: Callable[[], Any]) -> None:
    """Do something before the host is read: the target has been looked at, and is not yet there."""
    check = RecordingSysroot.check
    left = [act]

    def checked(sysroot: RecordingSysroot) -> None:
        while left:
            left.pop()()
        check(sysroot)

    monkeypatch.setattr(RecordingSysroot, "check", checked)


def unchanged(secret: Path) -> bool:
    """Return whether nothing was written into root's directory."""
    return os.listdir(secret) == ["file"] and (secret / "file").read_text() == "important\n"


def state(path: Path) -> tuple[int, ...]:
    """Return what changes when something is written, not when it is read, as the time of access."""
    found = path.lstat()
    times = (found.st_mtime_ns, found.st_ctime_ns)
    return (found.st_ino, found.st_mode, found.st_nlink, found.st_uid, found.st_size, *times)


def refused(target: Path | str, why: str) -> None:
    """Record, which must fail with a message."""
    result = on(HOST).run("record", str(target), status=1)
    assert why in result.stderr, result.stderr


@pytest.mark.parametrize("name", ["host", "host/", "host.ttar", "host.ttar/", "host/.", "./host"])
def test_empty_directory_of_another_user_is_refused(public: Path, secret: Path, name: str) -> None:
    """Its owner could put links into it while root writes."""
    path = public / name.strip("/.").removesuffix(".ttar")
    path = Path(f"{path}.ttar") if ".ttar" in name else path
    path.mkdir()
    give(path)
    refused(f"{public}/{name}", "it belongs to uid 65534, who could put links into it; record")
    assert os.listdir(path) == []


@pytest.mark.parametrize("name", ["host", "host.ttar", "host/", "host/new", "host/new.ttar"])
@pytest.mark.parametrize("to", ["root-only", "root-only/file", "root-only/new", "empty"])
def test_link_of_another_user_is_not_followed(
    public: Path, secret: Path, tmp_path: Path, name: str, to: str
) -> None:
    """Neither as the target nor on the way to it, wherever it leads."""
    (tmp_path / "empty").mkdir()
    planted = link(public / name.split("/")[0], tmp_path / to)
    refused(f"{public}/{name}", LINK_OF_SOMEBODY)
    assert planted.is_symlink()
    assert unchanged(secret)
    assert os.listdir(tmp_path / "empty") == []
    assert os.listdir(public) == [planted.name]


def test_links_of_root_are_followed_on_the_way(public: Path, tmp_path: Path) -> None:
    """As /var/run; a link at the target itself is not replaced."""
    (tmp_path / "there").mkdir()
    link(tmp_path / "way", "there/../there", uid=0)
    on(HOST).run("record", f"{tmp_path}/way/host.ttar")
    on(HOST).run("record", f"{tmp_path}/way/host")
    assert sorted(os.listdir(tmp_path / "there")) == ["host", "host.ttar"]
    link(tmp_path / "host.ttar", "there/another.ttar", uid=0)
    refused(tmp_path / "host.ttar", "host.ttar already exists; record into a new file")
    link(tmp_path / "loop", "loop", uid=0)
    refused(f"{tmp_path}/loop/host.ttar", "Too many levels of symbolic links")


@pytest.mark.parametrize("kind", ["file", "fifo", "socket", "directory with a file"])
@pytest.mark.parametrize("name", ["host", "host.ttar"])
def test_what_is_there_already_is_neither_opened_nor_overwritten(
    public: Path, kind: str, name: str
) -> None:
    """To open a FIFO would wait for its other end."""
    path = public / name
    if kind == "file":
        path.write_text("mine\n")
    elif kind == "directory with a file":
        path.mkdir()
        (path / "file").write_text("mine\n")
    else:
        os.mknod(path, 0o666 | (stat.S_IFIFO if kind == "fifo" else stat.S_IFSOCK))
    before = state(path)
    expected = "is not an empty directory" if name == "host" or path.is_dir() else "already exists"
    refused(path, expected)
    assert state(path) == before
    assert os.listdir(public) == [name]


@pytest.mark.parametrize("name", ["host", "host.ttar"])
@pytest.mark.parametrize("planted", ["file", "link", "directory", "full directory"])
def test_target_planted_during_the_scan_is_left_alone(
    public: Path, secret: Path, monkeypatch: pytest.MonkeyPatch, name: str, planted: str
) -> None:
    """Even an empty directory, which rename(2) would replace."""
    target = public / name

    def plant() -> None:
        if planted == "file":
            target.write_text("mine\n")
        elif planted == "link":
            link(target, secret / "file")
        else:
            target.mkdir()
            give(target)
            if planted == "full directory":
                link(target / "sys", secret)

    meanwhile(monkeypatch, plant)
    refused(target, "is not an empty directory" if name == "host" else "already exists")
    assert unchanged(secret)
    assert os.listdir(public) == [name]
    assert target.is_dir() is ("directory" in planted)


@pytest.mark.parametrize("name", ["host", "host.ttar"])
def test_directory_that_is_swapped_for_a_link_leads_nowhere_else(
    public: Path, secret: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """The directory that was found first is the one that is written into."""
    home = public / "home"
    home.mkdir()
    give(home)

    def swap() -> None:
        home.rename(public / "moved")
        link(home, secret)

    meanwhile(monkeypatch, swap)
    on(HOST).run("record", str(home / name))
    assert unchanged(secret)
    assert os.listdir(public / "moved") == [name]


@pytest.mark.parametrize("name", ["host", "host.ttar"])
def test_directory_of_another_user_may_hold_a_new_recording(public: Path, name: str) -> None:
    """As with sudo in one's own directory; only root can read what is written."""
    home = give_directory(public / "home")
    on(HOST).run("record", str(home / name))
    status = (home / name).lstat()
    assert (status.st_uid, stat.S_IMODE(status.st_mode)) == (0, 0o700 if name == "host" else 0o600)
    assert os.listdir(home) == [name]


def give_directory(path: Path) -> Path:
    """Make a directory of another user."""
    path.mkdir()
    return give(path)


def test_links_planted_in_a_new_directory_are_not_followed(
    public: Path, secret: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody else can write into it from the first moment on, whatever the umask."""
    modes: set[int] = set()
    mkdir = os.mkdir

    def watched(path: Any, *arguments: Any, **ways: Any) -> None:
        mkdir(path, *arguments, **ways)
        modes.update(stat.S_IMODE(one.lstat().st_mode) for one in public.iterdir() if one.is_dir())

    monkeypatch.setattr(os, "mkdir", watched)
    before = os.umask(0)
    try:
        on(HOST).run("record", str(public / "host"))
    finally:
        os.umask(before)
    assert modes == {0o700}


def test_disk_that_is_full_has_nothing_left(tmp_path: Path) -> None:
    """A real one: the message says why, and nothing remains."""
    small = tmp_path / "small"
    small.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=8k,nr_inodes=100", "none", str(small)]
    if subprocess.run(mount, capture_output=True).returncode != 0:
        pytest.skip("this kernel permits no mount")
    try:
        for name in ("host", "host.ttar"):
            refused(small / name, "No space left on device")
            assert os.listdir(small) == []
    finally:
        subprocess.run(["umount", str(small)], check=True)
