"""An archive of a recording: a text file that anyone may have sent."""

from __future__ import annotations

from nodedevd.errors import BadArchive
from nodedevd.host.archive.text import format_archive, parse_archive
from nodedevd.host.archive.tree import Archive, Content
from tests.fuzz.target import Target

_LONGEST_REASON = 600


def check(data: bytes) -> None:
    """It is an archive that is written as it was read, or BadArchive with a line."""
    try:
        found = parse_archive(data, "a")
    except BadArchive as error:
        assert len(str(error)) <= _LONGEST_REASON
        str(error).encode()
        return
    entries = list(found.walk())
    sizes = [len(content) for _, content, _ in entries if isinstance(content, bytes)]
    assert sum(sizes) <= len(data)
    assert len(entries) <= data.count(b"\n")
    text = format_archive(found)
    again = parse_archive(text, "a")
    assert list(map(_in_order, again.walk())) == list(map(_in_order, entries))
    assert format_archive(again) == text
    for path, content, _ in entries:
        _check_read(found, path, content)


def _in_order(entry: tuple[str, Content, int]) -> tuple[str, Content, int]:
    path, content, mode = entry
    return path, sorted(content) if isinstance(content, list) else content, mode


def _check_read(found: Archive, path: str, content: Content) -> None:
    found.lstat(path)
    try:
        if isinstance(content, list):
            assert sorted(found.listdir(path)) == sorted(content)
        elif isinstance(content, str):
            assert found.readlink(path) == content
        else:
            assert found.read(path) == content
    except PermissionError:
        assert isinstance(content, bytes)


TARGET = Target(
    "archive",
    check,
    reads=("nodedevd/host/archive/text.py", "nodedevd/host/archive/tree.py"),
    words=(
        b"\nDirectory: sys\n",
        b"\nPath: sys/a\nLines: 1\nb\n",
        b"\nPath: sys/l\nSymlinkTo: ../a\n",
        b"Mode: 0000\n",
        b"\nEnd\n",
        b"# about\n",
        b"\\x00\\\n",
        b"\\\\",
        b"..",
        b"Lines: 999999999\n",
        "\u2028".encode(),
    ),
    most_bytes=2048,
    share=2.0,
)
