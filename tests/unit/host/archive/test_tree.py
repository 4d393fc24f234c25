"""tree: the files of an archive, as the kernel would show them."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable

import pytest

from nodedevd.host.archive.tree import Archive, leads_out


@pytest.fixture
def archive() -> Archive:
    """Return one of each."""
    archive = Archive()
    archive.add_directory("/sys")
    archive.add_directory("/sys/class", 0o500)
    archive.add_file("/sys/file", b"value\n")
    archive.add_file("/sys/secret", b"S1\n", 0o400)
    archive.add_file("/sys/remove", b"", 0o200)
    archive.add_link("/sys/link", "class")
    return archive


def failure(read: Callable[[], object]) -> str:
    """Return the name of the errno that a read fails with."""
    with pytest.raises(OSError) as caught:  # noqa: PT011 - the caller looks at the errno
        read()
    return errno.errorcode[caught.value.errno or 0]


def test_what_was_added_is_read(archive: Archive) -> None:
    """Directories, files and links."""
    assert archive.listdir("/") == ["sys"]
    assert archive.listdir("/sys") == ["class", "file", "secret", "remove", "link"]
    assert archive.read("/sys/file") == b"value\n"
    assert archive.read("/sys/file", 3) == b"val"
    assert archive.readlink("/sys/link") == "class"


@pytest.mark.parametrize(
    ("path", "read", "listdir", "readlink", "lstat"),
    [
        ("/sys", "EISDIR", None, "EINVAL", None),
        ("/sys/file", None, "ENOTDIR", "EINVAL", None),
        ("/sys/link", "ELOOP", "ENOTDIR", None, None),
        ("/sys/gone", "ENOENT", "ENOENT", "ENOENT", "ENOENT"),
        ("/sys/gone/below", "ENOENT", "ENOENT", "ENOENT", "ENOENT"),
        ("/sys/file/below/it", "ENOTDIR", "ENOTDIR", "ENOTDIR", "ENOTDIR"),
        ("/sys/remove", "EACCES", "ENOTDIR", "EINVAL", None),
    ],
)
def test_what_cannot_be_read_fails_as_on_a_host(
    archive: Archive,
    path: str,
    read: str | None,
    listdir: str | None,
    readlink: str | None,
    lstat: str | None,
) -> None:
    """By the errno of open(2) with O_NOFOLLOW, readdir(3), readlink(2) and lstat(2)."""
    calls: list[tuple[Callable[[], object], str | None]] = [
        (lambda: archive.read(path, 100), read),
        (lambda: archive.listdir(path), listdir),
        (lambda: archive.readlink(path), readlink),
        (lambda: archive.lstat(path), lstat),
    ]
    for call, number in calls:
        if number is None:
            call()
        else:
            assert failure(call) == number


def test_file_that_nobody_may_read_is_refused(archive: Archive) -> None:
    """As sysfs does even to root; what root alone may read is read."""
    assert failure(lambda: archive.read("/sys/remove", 100)) == "EACCES"
    assert archive.read("/sys/secret") == b"S1\n"


def test_type_and_permissions_are_shown(archive: Archive) -> None:
    """As by ls."""
    shown = {path: stat.filemode(archive.lstat(path).st_mode) for path, _, _ in archive.walk()}
    assert shown == {
        "/sys": "drwxr-xr-x",
        "/sys/class": "dr-x------",
        "/sys/file": "-rw-r--r--",
        "/sys/link": "lrwxrwxrwx",
        "/sys/remove": "--w-------",
        "/sys/secret": "-r--------",
    }
    assert archive.lstat("/sys/file").st_size == 6


@pytest.mark.parametrize("path", ["", "/", "sys", "/sys/", "/sys//x", "/sys/./x", "/sys/x\0"])
def test_path_that_is_none_is_refused(archive: Archive, path: str) -> None:
    """And nothing is added."""
    before = list(archive.walk())
    with pytest.raises(ValueError, match="has a part that is no name"):
        archive.add_directory(path)
    with pytest.raises(ValueError, match="has a part that is no name"):
        archive.add_file(path, b"")
    with pytest.raises(ValueError, match="has a part that is no name"):
        archive.add_link(path, "x")
    assert list(archive.walk()) == before


@pytest.mark.parametrize(
    ("text", "out"),
    [
        ("x", False),
        ("../../x", False),
        ("../../..", False),
        ("../../../..", True),
        ("../../../../x", True),
        (".//../.././..", False),
        (".//../.././../..", True),
        ("/sys", True),
        ("x/..", True),
        ("../x/../y", True),
        ("../..x/...", False),
    ],
)
def test_link_that_can_lead_out_is_told_from_one_that_cannot(text: str, out: bool) -> None:
    """The directory of the link has two above it, and the root."""
    assert leads_out("/sys/class/net/link", text) is out


def test_link_behind_another_cannot_lead_out() -> None:
    """Why a link must not go up after it went down: `a` is the root, so `a/..` is above it."""
    archive = Archive()
    archive.add_directory("/sys")
    archive.add_link("/sys/a", "..")
    with pytest.raises(ValueError, match="goes up after it went down"):
        archive.add_link("/sys/b", "a/../etc")


def test_path_as_long_as_the_kernel_takes_is_held() -> None:
    """And none that is longer: nothing could unpack it."""
    archive = Archive()
    path = ""
    for _ in range(15):
        path += "/" + "d" * 255
        archive.add_directory(path)
    archive.add_file(f"{path}/{'f' * 254}", b"")
    with pytest.raises(ValueError, match="is too long"):
        archive.add_file(f"{path}/{'f' * 255}", b"")
    with pytest.raises(ValueError, match="is too long"):
        archive.add_file("/" + os.fsdecode(b"\xff" * 256), b"")
