"""The daemon's socket in a directory where another user has files, too."""

from __future__ import annotations

import os
import signal
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from nodedevd.errors import SocketInUse
from nodedevd.server.listener import BadSocketPath, open_listener

pytestmark = pytest.mark.needs("root")

NOBODY = 65534
ROUNDS = 500


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """Return a directory that the other user can reach."""
    for one in (tmp_path, *tmp_path.parents[:2]):
        one.chmod(0o755)
    made = tmp_path / "sockets"
    made.mkdir()
    return made


@contextmanager
def as_nobody(act: Callable[[], None]) -> Iterator[None]:
    """Do something again and again in a process of another user, within a block."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.setgroups([])
            os.setgid(NOBODY)
            os.setuid(NOBODY)
            act()
            os.write(writer, b"once")
            while True:
                act()
        finally:
            os._exit(1)
    os.close(writer)
    try:
        assert os.read(reader, 4) == b"once"
        yield
    finally:
        os.close(reader)
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)


def test_directory_of_another_user_is_refused(directory: Path) -> None:
    """Its owner may replace the socket whenever he wants; nothing is made there."""
    os.chown(directory, NOBODY, NOBODY)
    with pytest.raises(BadSocketPath, match=r"belongs to another user, with uid 65534.*; choose"):
        open_listener(str(directory / "devices"))
    assert os.listdir(directory) == []


@pytest.mark.parametrize("mode", [0o755, 0o1777])
def test_other_user_gets_no_file_of_root(directory: Path, mode: int) -> None:
    """Whenever he replaces socket and lock by links: in his own directory, and in one as /tmp."""
    if mode == 0o755:
        os.chown(directory, NOBODY, NOBODY)
    directory.chmod(mode)
    victim = directory.parent / "victim"
    victim.touch(0o600)
    path = directory / "devices"

    def attack() -> None:
        for name in (path, Path(f"{path}.lock")):
            try:
                os.symlink(victim, f"{name}.new")
                os.rename(f"{name}.new", name)
            except OSError:
                pass
            with suppress(OSError):
                os.unlink(name)

    with as_nobody(attack):
        for _ in range(ROUNDS):
            with suppress(BadSocketPath, SocketInUse):
                open_listener(str(path), mode=0o666, group=NOBODY).close()
    found = victim.stat()
    assert (stat.S_IMODE(found.st_mode), found.st_gid) == (0o600, 0)
    assert victim.read_bytes() == b""


def test_lock_of_another_user_is_refused(directory: Path) -> None:
    """He holds it, and could keep the daemon from starting with an error that misleads."""
    directory.chmod(0o1777)
    lock = directory / "devices.lock"
    lock.touch()
    os.chown(lock, NOBODY, NOBODY)
    with pytest.raises(BadSocketPath, match=r"devices\.lock"):
        open_listener(str(directory / "devices"))
    assert lock.stat().st_uid == NOBODY
