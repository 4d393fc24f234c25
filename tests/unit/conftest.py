"""Tests of this folder start no process, and hear nothing of this machine's devices."""

from __future__ import annotations

import os
import socket
import sys
import threading
from collections.abc import Generator, Iterator
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from pyfakefs.fake_filesystem import FakeFilesystem

from nodedevd.host.sysroot import Sysroot
from tests.support.stuck import PATIENCE_SECONDS
from tests.support.trees import Tree

MEMORY = "/dev/shm"
"""A tmpfs, where there is one: a host of files is made and removed there in half the time."""
ROOM_BYTES = 256 << 20
"""The free memory that it takes; a container may give less."""

_STARTS = {"subprocess.Popen", "os.fork", "os.forkpty", "os.posix_spawn", "os.exec", "os.system"}


class _Guard:
    """Fails a test of this folder that starts a process or asks the kernel for devices.

    It is an audit hook, which cannot be removed, so it is switched on and off.
    """

    def __init__(self) -> None:
        self.is_on = False
        sys.addaudithook(self)

    def __call__(self, event: str, arguments: tuple[object, ...]) -> None:
        if not self.is_on:
            return
        if event in _STARTS:
            pytest.fail(f"a test below tests/unit starts a process ({event}): see CONTRIBUTING.md")
        if event == "socket.__new__" and arguments[1] == socket.AF_NETLINK:
            pytest.fail("a test below tests/unit opens a netlink socket: see CONTRIBUTING.md")


_guard = _Guard()
_before: set[threading.Thread] = set()
"""the threads that there were before the test"""


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> Generator[None, None, None]:
    """Guard a test from before its fixtures are made."""
    _guard.is_on = True
    _before.update(threading.enumerate())
    yield


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_teardown(item: pytest.Item) -> Generator[None, None, None]:
    """Guard it until they are gone, and its threads, which the next test would have beside it."""
    try:
        yield
        for thread in threading.enumerate():
            if thread not in _before:
                thread.join(PATIENCE_SECONDS)
                if thread.is_alive():
                    pytest.fail(f"a thread is left behind: {thread}")
    finally:
        _before.clear()
        _guard.is_on = False


def _has_room() -> bool:
    if not os.access(MEMORY, os.W_OK):
        return False
    found = os.statvfs(MEMORY)
    return found.f_bavail * found.f_frsize >= ROOM_BYTES


@pytest.fixture
def tmp_path() -> Iterator[Path]:
    """Return an empty directory, in memory if there is room; it goes with the test."""
    with TemporaryDirectory(prefix="nodedevd-", dir=MEMORY if _has_room() else None) as name:
        yield Path(name)
        with suppress(OSError):  # what is left is for TemporaryDirectory, which takes longer
            _empty(name)


def _empty(directory: str) -> None:
    with os.scandir(directory) as listed:
        entries = list(listed)
    for entry in entries:
        if entry.is_dir(follow_symlinks=False):
            _empty(entry.path)
            os.rmdir(entry.path)
        else:
            os.unlink(entry.path)


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Tree:
    """Return a host without devices, which takes the place of `/` as the default sysroot."""
    tree = Tree(tmp_path / "host")
    tree.directory("/sys")
    monkeypatch.setattr(Sysroot.__init__, "__defaults__", (tree.root,))
    return tree


@pytest.fixture
def live_tree(fs: FakeFilesystem) -> Tree:
    """Return a host without devices at `/` itself, in a file system that is not real.

    Only a live host is asked for more than files, such as the features of its interfaces.
    """
    tree = Tree(fs.root_dir_name)
    tree.directory("/sys")
    return tree
