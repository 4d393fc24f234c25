"""Processes that write: the kernel's answers, drivers that hang, a service that is killed."""

from __future__ import annotations

import errno
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from nodedevd.control.directory import Directory
from nodedevd.control.locks import Locks
from nodedevd.control.steps.base import StepRefused
from nodedevd.control.writers import IDLE_AT_MOST, WriterEnded, Writers
from nodedevd.errors import CardBusy
from tests.support.descriptors import opened
from tests.support.running import PATIENCE_SECONDS


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Return a sysroot with an attribute, and one whose driver hangs: a FIFO without a reader."""
    device = tmp_path / "sys/devices/card"
    device.mkdir(parents=True)
    (device / "attribute").write_text("old")
    os.mkfifo(device / "hangs")
    (tmp_path / "outside").write_text("old")
    (device / "link").symlink_to(tmp_path / "outside")
    (device / "driver").symlink_to("/sys/devices/other")
    (tmp_path / "sys/devices/other").mkdir()
    (tmp_path / "sys/devices/other/unbind").write_text("old")
    return tmp_path


@pytest.fixture
def writers(root: Path) -> Iterator[Writers]:
    """Return the writers of that host."""
    found = Writers(str(root))
    yield found
    found.close()


def release(root: Path) -> bytes:
    """Have the driver answer: read what it was given."""
    with open(root / "sys/devices/card/hangs", "rb") as stream:
        return stream.read()


def children() -> set[int]:
    """Return the processes that this one has started and that are alive.

    Those of a thread that ends meanwhile pass to another, which may have been read before.
    """
    while True:
        found = set()
        try:
            for task in os.listdir("/proc/self/task"):
                with open(f"/proc/self/task/{task}/children", encoding="ascii") as stream:
                    found |= set(map(int, stream.read().split()))
        except (FileNotFoundError, ProcessLookupError):
            continue
        return found


def test_value_is_written_as_it_is_and_nothing_is_truncated(root: Path, writers: Writers) -> None:
    """In one write(2), as sysfs wants it."""
    writers.write("card", "/sys/devices/card/attribute", "n")
    assert (root / "sys/devices/card/attribute").read_text() == "nld"


@pytest.mark.parametrize(
    ("path", "number"),
    [
        ("/sys/devices/card/absent", errno.ENOENT),
        ("/sys/devices/absent/attribute", errno.ENOENT),
        ("/sys/devices/card/link", errno.ELOOP),
        ("/sys/devices/card/driver/unbind", errno.ENOTDIR),
        ("/sys/devices/card", errno.EISDIR),
        ("/outside", errno.EXDEV),
        ("/sys/../outside", errno.EXDEV),
        ("/sys/devices//card/attribute", errno.EXDEV),
        ("sys/devices/card/attribute", errno.EXDEV),
    ],
)
def test_path_that_leads_elsewhere_is_refused(
    root: Path, writers: Writers, path: str, number: int
) -> None:
    """No link is followed on the way, nothing is created, and only /sys is written to."""
    before = sorted(root.rglob("*"))
    with pytest.raises(OSError, match=re.escape(path)) as refused:
        writers.write("card", path, "new")
    assert refused.value.errno == number
    assert (root / "outside").read_text() == "old"
    assert (root / "sys/devices/other/unbind").read_text() == "old"
    assert sorted(root.rglob("*")) == before


def test_writer_is_kept_for_its_card(writers: Writers) -> None:
    """And no more of them than a few."""
    before = children()
    for _ in range(3):
        writers.write("card", "/sys/devices/card/attribute", "new")
    assert len(children() - before) == 1
    for number in range(IDLE_AT_MOST + 3):
        writers.write(f"card-{number}", "/sys/devices/card/attribute", "new")
    assert len(children() - before) == IDLE_AT_MOST
    writers.close()
    assert children() == before


def test_writer_that_was_killed_while_idle_is_replaced(writers: Writers) -> None:
    """The next write is not lost, and not done twice."""
    before = children()
    writers.write("card", "/sys/devices/card/attribute", "new")
    [pid] = children() - before
    os.kill(pid, signal.SIGKILL)
    os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
    writers.write("card", "/sys/devices/card/attribute", "abc")
    assert len(children() - before) == 1


def test_writer_that_is_killed_while_it_writes_is_told_apart_from_an_answer(
    root: Path, writers: Writers
) -> None:
    """Nobody knows whether the write took place."""
    before, raised = children(), []

    def write() -> None:
        try:
            writers.write("card", "/sys/devices/card/hangs", "1")
        except WriterEnded as error:
            raised.append(error)

    thread = threading.Thread(target=write)
    thread.start()
    while not children() - before:
        pass
    [pid] = children() - before
    os.kill(pid, signal.SIGKILL)
    thread.join(PATIENCE_SECONDS)
    assert [error.path for error in raised] == ["/sys/devices/card/hangs"]


def test_hanging_write_costs_its_card_alone(root: Path, writers: Writers) -> None:
    """Another card is written to meanwhile; the signals that end a service do not end the write."""
    before = children()
    ended = threading.Event()

    def write() -> None:
        writers.write("card", "/sys/devices/card/hangs", "1")
        ended.set()

    threading.Thread(target=write, daemon=True).start()
    while not children() - before:
        pass
    [pid] = children() - before
    while b"writer.py" not in Path(f"/proc/{pid}/cmdline").read_bytes():
        pass
    writers.write("other", "/sys/devices/card/attribute", "new")
    assert not ended.is_set()
    assert release(root) == b"1"
    assert ended.wait(PATIENCE_SECONDS)


def test_writer_that_cannot_be_started_is_no_answer_of_the_kernel(root: Path) -> None:
    """The program is missing: nothing was written."""
    writers = Writers(str(root), ("/nonexistent/python",))
    with pytest.raises(StepRefused, match="no process could be started"):
        writers.write("card", "/sys/devices/card/attribute", "new")


_SERVICE = """
import sys
from nodedevd.control.directory import Directory
from nodedevd.control.locks import Locks
from nodedevd.control.writers import Writers
locked = Locks(Directory(sys.argv[2])).take(["card"], 0)
print("locked", flush=True)
Writers(sys.argv[1]).write("card", "/sys/devices/card/hangs", "1", locked.descriptors)
"""


def test_card_stays_locked_while_the_writer_of_a_killed_service_hangs(
    root: Path, tmp_path: Path
) -> None:
    """And is free as soon as its driver answers, without anybody doing anything."""
    directory = tmp_path / "locks"
    service = subprocess.Popen(
        [sys.executable, "-c", _SERVICE, str(root), str(directory)], stdout=subprocess.PIPE
    )
    with service:
        try:
            assert service.stdout is not None
            assert service.stdout.readline() == b"locked\n"
            children_of = Path(f"/proc/{service.pid}/task/{service.pid}/children")
            while not children_of.read_text().split():
                pass
            [writer] = map(int, children_of.read_text().split())
            while b"writer.py" not in Path(f"/proc/{writer}/cmdline").read_bytes():
                pass  # until execve(2) it has all that its parent has open
            # The writer has the lock when the request has reached it.
            while str(directory / "card") not in opened(writer):
                pass
        finally:
            service.kill()
        service.wait(PATIENCE_SECONDS)
    locks = Locks(Directory(str(directory)))
    with pytest.raises(CardBusy):
        locks.take(["card"], 0)
    os.kill(writer, signal.SIGTERM)
    with pytest.raises(CardBusy):
        locks.take(["card"], 0)
    assert release(root) == b"1"
    locks.take(["card"], PATIENCE_SECONDS).release()
