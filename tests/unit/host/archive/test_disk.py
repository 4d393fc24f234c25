"""disk: packed and unpacked again, a directory is the same; nothing is left of what failed."""

from __future__ import annotations

import errno
import os
import signal
import socket
import stat
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings

from nodedevd.errors import AlreadyExists, NotEmpty, NotRecordable
from nodedevd.host.archive import disk
from nodedevd.host.archive.disk import pack, unpack, write_archive
from nodedevd.host.archive.text import format_archive, read_archive
from nodedevd.host.archive.tree import Archive
from tests.support.archives import archives

IS_ROOT = os.geteuid() == 0
PATIENT = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])  # a busy machine


@pytest.fixture
def archive() -> Archive:
    """Return one of each."""
    archive = Archive("A host\n")
    archive.add_directory("/sys")
    archive.add_directory("/sys/class", 0o555)
    archive.add_directory("/sys/class/empty")
    archive.add_file("/sys/class/file", b"value\n")
    archive.add_file("/sys/secret", b"\0\xff", 0o400)
    archive.add_link("/sys/link", "class/file")
    archive.add_link("/sys/loop", "loop")
    return archive


def on_disk(root: str | Path) -> dict[str, tuple[str, bytes | str]]:
    """Return permissions and content of everything below a directory, by lstat(2) and the like."""
    found: dict[str, tuple[str, bytes | str]] = {}
    for above, directories, files in os.walk(root):
        for name in [*directories, *files]:
            path = os.path.join(above, name)
            mode = stat.filemode(os.lstat(path).st_mode)
            content: bytes | str = b""
            if os.path.islink(path):
                content = os.readlink(path)
            elif os.path.isfile(path):
                content = Path(path).read_bytes()
            found[os.path.relpath(path, root)] = (mode, content)
    return found


# A directory, packed and unpacked


def test_archive_is_unpacked_as_it_is(archive: Archive, tmp_path: Path) -> None:
    """Whatever the umask."""
    before = os.umask(0o077)
    try:
        unpack(archive, str(tmp_path / "a"))
    finally:
        os.umask(before)
    assert on_disk(tmp_path / "a") == {
        "sys": ("drwxr-xr-x", b""),
        "sys/class": ("dr-xr-xr-x", b""),
        "sys/class/empty": ("drwxr-xr-x", b""),
        "sys/class/file": ("-rw-r--r--", b"value\n"),
        "sys/link": ("lrwxrwxrwx", "class/file"),
        "sys/loop": ("lrwxrwxrwx", "loop"),
        "sys/secret": ("-r--------", b"\0\xff"),
    }


@pytest.mark.exhaustive
@PATIENT
@given(archives(permissions=IS_ROOT))
def test_every_directory_packed_and_unpacked_is_the_same(archive: Archive) -> None:
    """Through a file: names, contents, links; permissions, which only root may do without."""
    with tempfile.TemporaryDirectory() as directory:
        one, two, file = (os.path.join(directory, name) for name in ("one", "two", "x.ttar"))
        unpack(archive, one)
        write_archive(pack(one), file)
        unpack(read_archive(file), two)
        assert on_disk(one) == on_disk(two)
        assert format_archive(read_archive(file)) == format_archive(archive)


@pytest.mark.parametrize("kind", ["fifo", "socket"])
def test_what_no_archive_can_hold_is_not_packed(tmp_path: Path, kind: str) -> None:
    """A recording has none either."""
    (tmp_path / "sys").mkdir()
    if kind == "fifo":
        os.mkfifo(tmp_path / "sys/x")
    else:
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(str(tmp_path / "sys/x"))
    with pytest.raises(NotRecordable, match="'/sys/x' is neither a file nor a directory nor"):
        pack(str(tmp_path))


@pytest.mark.parametrize("text", ["/etc/passwd", "../../x", "a/../b"])
def test_link_that_can_lead_out_is_not_packed(tmp_path: Path, text: str) -> None:
    """Whoever unpacks it could be led astray."""
    (tmp_path / "sys").mkdir()
    (tmp_path / "sys/x").symlink_to(text)
    with pytest.raises(NotRecordable, match=r"'/sys/x': the link .* is absolute, climbs out"):
        pack(str(tmp_path))


@pytest.mark.parametrize("there", ["file", "link", "directory"])
def test_archive_is_unpacked_into_a_new_or_empty_directory_only(
    archive: Archive, tmp_path: Path, there: str
) -> None:
    """What is there stays as it is, and is not written through."""
    outside = tmp_path / "outside"
    outside.mkdir()
    target = tmp_path / "target"
    if there == "file":
        target.write_text("mine\n")
    else:
        target.mkdir()
        if there == "link":
            (target / "sys").symlink_to(outside)
        else:
            (target / "sys").mkdir()
    before = on_disk(tmp_path)
    with pytest.raises(NotEmpty):
        unpack(archive, str(target))
    assert on_disk(tmp_path) == before


@pytest.mark.parametrize("target", ["there", "new"])
def test_nothing_is_left_of_an_archive_that_could_not_be_unpacked(
    archive: Archive, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, target: str
) -> None:
    """Such as by Ctrl-C."""
    (tmp_path / "there").mkdir()
    before = on_disk(tmp_path)
    inode = (tmp_path / "there").stat().st_ino

    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "symlink", interrupted)
    archive.add_file("/file", b"at the top, and written first")
    with pytest.raises(KeyboardInterrupt):
        unpack(archive, str(tmp_path / target))
    assert on_disk(tmp_path) == before
    assert (tmp_path / "there").stat().st_ino == inode


# Files


@pytest.mark.parametrize("umask", [0, 0o022, 0o777])
def test_file_is_written_whole_for_its_owner_alone(
    archive: Archive, tmp_path: Path, umask: int
) -> None:
    """Whatever the umask: a raw recording identifies the machine."""
    before = os.umask(umask)
    try:
        write_archive(archive, str(tmp_path / "host.ttar"))
        assert os.umask(umask) == umask
    finally:
        os.umask(before)
    assert on_disk(tmp_path) == {"host.ttar": ("-rw-------", format_archive(archive))}
    assert read_archive(str(tmp_path / "host.ttar")).about == "A host\n"


def test_file_may_be_named_from_where_the_process_is(
    archive: Archive, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A name without a directory."""
    monkeypatch.chdir(tmp_path)
    write_archive(archive, "host.ttar")
    assert os.listdir(tmp_path) == ["host.ttar"]


@pytest.mark.parametrize("hard_links", [True, False])
def test_file_is_never_overwritten(
    archive: Archive, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, hard_links: bool
) -> None:
    """Nor is a link, wherever it leads; on any file system."""
    if not hard_links:
        monkeypatch.setattr(os, "link", refuse_links)
    (tmp_path / "file.ttar").write_text("mine\n")
    (tmp_path / "link.ttar").symlink_to("nowhere")
    before = on_disk(tmp_path)
    for name in ("file", "link"):
        with pytest.raises(AlreadyExists, match=rf"/{name}\.ttar already exists; record into"):
            write_archive(archive, str(tmp_path / f"{name}.ttar"))
    assert on_disk(tmp_path) == before


def refuse_links(*_: object, **__: object) -> None:
    """Do as a file system without hard links."""
    raise OSError(errno.EPERM, os.strerror(errno.EPERM))


@pytest.mark.parametrize(
    "missing", ["hard links", "unnamed files", "hard links and RENAME_NOREPLACE"]
)
def test_file_is_written_on_any_file_system(
    archive: Archive, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, missing: str
) -> None:
    """A stick has no hard links, NFS neither unnamed files nor RENAME_NOREPLACE."""
    if "hard links" in missing:
        refused = iter([errno.EPERM])

        def link(*arguments: Any, link: Any = os.link, **ways: Any) -> None:
            if missing == "hard links" or next(refused, None) is not None:
                refuse_links()
            link(*arguments, **ways)

        monkeypatch.setattr(os, "link", link)
    else:
        monkeypatch.setattr(disk, "_UNNAMED", os.O_WRONLY)  # EISDIR, as of file systems without
    if "NOREPLACE" in missing:
        monkeypatch.setattr(disk, "_RENAME_NOREPLACE", 1 << 10)  # EINVAL
    write_archive(archive, str(tmp_path / "host.ttar"))
    with pytest.raises(AlreadyExists):
        write_archive(archive, str(tmp_path / "host.ttar"))
    assert on_disk(tmp_path) == {"host.ttar": ("-rw-------", format_archive(archive))}


@pytest.mark.parametrize("call", ["write", "fsync", "link"])
@pytest.mark.parametrize("unnamed", [True, False])
@pytest.mark.parametrize(
    "error", [KeyboardInterrupt(), OSError(errno.ENOSPC, "full"), OSError(errno.EIO, "broken")]
)
def test_nothing_is_left_of_a_file_that_could_not_be_written(
    archive: Archive,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    call: str,
    unnamed: bool,
    error: BaseException,
) -> None:
    """Ctrl-C was pressed, or the disk is full or broken."""

    def failing(*_: object, **__: object) -> None:
        raise error

    if not unnamed:
        monkeypatch.setattr(disk, "_UNNAMED", os.O_WRONLY)
        monkeypatch.setattr(disk, "_RENAME_NOREPLACE", 1 << 10)
    monkeypatch.setattr(os, call, failing)
    with pytest.raises(type(error)):
        write_archive(archive, str(tmp_path / "host.ttar"))
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("target", ["host.ttar", "host", "there"])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_signal_during_the_write_leaves_nothing(
    archive: Archive, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, target: str
) -> None:
    """Its handler runs when everything is removed, and not between two calls."""
    (tmp_path / "there").mkdir()
    before = on_disk(tmp_path)
    seen = []
    for name in ("fsync", "symlink"):
        call = getattr(os, name)

        def interrupted(*arguments: Any, call: Any = call, **ways: Any) -> None:
            signal.raise_signal(number)
            signal.raise_signal(number)  # of somebody impatient
            call(*arguments, **ways)

        monkeypatch.setattr(os, name, interrupted)
    handler = signal.signal(number, lambda *_: seen.append(on_disk(tmp_path)))
    try:
        with pytest.raises(InterruptedError):
            (write_archive if target.endswith(".ttar") else unpack)(archive, str(tmp_path / target))
    finally:
        signal.signal(number, handler)
    assert on_disk(tmp_path) == before
    assert seen == [before]


def test_signal_that_is_ignored_does_not_end_the_write(archive: Archive, tmp_path: Path) -> None:
    """As by nohup(1)."""
    handler = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        signal.raise_signal(signal.SIGHUP)
        unpack(archive, str(tmp_path / "host"))
    finally:
        signal.signal(signal.SIGHUP, handler)
    assert len(on_disk(tmp_path)) == 8


def test_file_that_could_not_be_read_again_is_not_written(
    archive: Archive, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """There is a way that works."""
    monkeypatch.setattr(disk, "LIMIT_BYTES", 10)
    with pytest.raises(NotRecordable, match="larger than 0 MiB; record into a directory"):
        write_archive(archive, str(tmp_path / "host.ttar"))
    assert os.listdir(tmp_path) == []
