r"""text: what is written is read back exactly, and what is damaged is refused with its line."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nodedevd.errors import BadArchive
from nodedevd.host.archive import text
from nodedevd.host.archive.text import format_archive, parse_archive, read_archive
from nodedevd.host.archive.tree import Archive
from tests.support.archives import archives

PATIENT = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])  # a busy machine
HEAD = "# Box 9000\n#\n#   one  two\n"
WHOLE = rf"""{HEAD}
Directory: sys

Directory: sys/class
Mode: 0555

Path: sys/class/empty
Lines: 0

Path: sys/class/secret
Mode: 0400
Lines: 1
S1

Path: sys/lines
Lines: 4
one

  tab	and backslash \\
blank\x20

Path: sys/link
SymlinkTo: class/empty

Path: sys/no newline
Lines: 1
\xff is not UTF-8, ü is, \x1b is not printable\

Path: sys/odd\x0aname\xff\\\x20
Lines: 1
x

Path: sys/rom
Lines: 2
\x00\x01\x02\x03\x04\x05\x06\x07\x08\x09\x0a\x0b\x0c\x0d\x0e\x0f\
\x41\

End
"""


def whole() -> Archive:
    """Return what WHOLE describes, added in another order."""
    archive = Archive("Box 9000\n\n  one  two\n")
    archive.add_directory("/sys")
    archive.add_file("/sys/rom", bytes(range(16)) + b"A")
    archive.add_file(os.fsdecode(b"/sys/odd\nname\xff\\ "), b"x\n")
    archive.add_file("/sys/no newline", b"\xff is not UTF-8, \xc3\xbc is, \x1b is not printable")
    archive.add_link("/sys/link", "class/empty")
    archive.add_file("/sys/lines", b"one\n\n  tab\tand backslash \\\nblank \n")
    archive.add_directory("/sys/class", 0o555)
    archive.add_file("/sys/class/secret", b"S1\n", 0o400)
    archive.add_file("/sys/class/empty", b"")
    return archive


def contents(archive: Archive) -> list[object]:
    """Return everything that an archive holds."""
    return [
        (path, sorted(content) if isinstance(content, list) else content, mode)
        for path, content, mode in archive.walk()
    ] + [archive.about]


def test_archive_is_written_for_people() -> None:
    """In order of the names, whatever order the files came in."""
    assert format_archive(whole()).decode() == WHOLE


def test_archive_is_read_as_it_was_written() -> None:
    """Names, contents, permissions, links and head."""
    assert contents(parse_archive(WHOLE.encode(), "x")) == contents(whole())


@pytest.mark.exhaustive
@PATIENT
@given(archives())
def test_every_archive_is_read_as_it_was_written(archive: Archive) -> None:
    """Whatever its names and contents are; and what was written once is written so again."""
    data = format_archive(archive)
    again = parse_archive(data, "x")
    assert contents(again) == contents(archive)
    assert format_archive(again) == data


@PATIENT
@given(st.binary(max_size=3000))
def test_every_content_is_read_as_it_was_written(content: bytes) -> None:
    """In lines that mail and editors leave alone: short, printable, without blanks at the end."""
    archive = Archive()
    archive.add_file("/x", content)
    data = format_archive(archive)
    assert parse_archive(data, "x").read("/x", 3000) == content
    for line in data.decode().split("\n"):
        assert len(line) < 998
        assert line.replace("\t", "").isprintable()
        assert not line.endswith((" ", "\t"))


def test_long_line_is_continued() -> None:
    """A file of one long line stays fit for mail."""
    archive = Archive()
    archive.add_file("/x", b"9" * 450 + b"\n")
    lines = format_archive(archive).decode().split("\n")
    assert lines[1:6] == ["Path: x", "Lines: 3", "9" * 200 + "\\", "9" * 200 + "\\", "9" * 50]


def test_text_may_be_written_by_hand() -> None:
    """What need not be escaped may be, and the other way round; the head may be missing."""
    lines = [b"", rb"Path: \x73ys", b"Lines: 3", b"blank ", b"one li\\", b"ne", b"", b"End", b""]
    data = b"\n".join(lines)
    assert parse_archive(data, "x").read("/sys", 100) == b"blank \none line\n"


# Damaged


def refusal(data: str | bytes) -> tuple[int | None, str]:
    """Return the line and the reason that a text is refused with."""
    with pytest.raises(BadArchive) as caught:
        parse_archive(data if isinstance(data, bytes) else data.encode(), "host.ttar")
    assert str(caught.value).startswith("host.ttar is not a valid archive of a host: ")
    return caught.value.line, caught.value.reason


@pytest.mark.parametrize("kept", range(WHOLE.count("\n")))
def test_archive_that_is_cut_off_is_refused(kept: int) -> None:
    """After any of its lines."""
    line, reason = refusal("".join(WHOLE.splitlines(keepends=True)[:kept]))
    assert reason.startswith("cut off: ")
    assert line is not None
    assert line <= kept


@PATIENT
@given(st.integers(0, len(WHOLE.encode()) - 1))
def test_archive_that_is_cut_off_within_a_line_is_refused(kept: int) -> None:
    """After any of its bytes."""
    refusal(WHOLE.encode()[:kept])


@PATIENT
@given(st.integers(1, len(WHOLE.splitlines())))
def test_archive_without_one_of_its_lines_is_refused_or_another_one(lost: int) -> None:
    """No line is lost unseen; one of the head, or a whole attribute of the format, may be."""
    lines = WHOLE.splitlines(keepends=True)
    optional = lines[lost - 1].startswith(("#", "Mode: "))
    del lines[lost - 1]
    if not optional:
        refusal("".join(lines))


@pytest.mark.parametrize(
    ("lines", "line", "reason"),
    [
        ("Directory: sys", 1, "expected an empty line before an entry, not 'Directory: sys'"),
        ("\nDirectory: a\nDirectory: b", 3, "expected an empty line before an entry, not "),
        ("\nFile: a", 2, "expected Directory:, Path: or End, not 'File: a'"),
        ("\n\nDirectory: a", 2, "expected Directory:, Path: or End, not ''"),
        ("\nDirectory:a", 2, "expected Directory:, Path: or End, not 'Directory:a'"),
        ("\nPath: a\nDirectory: a", 3, "expected Mode:, Lines: or SymlinkTo:, not 'Directory: a'"),
        ("\nPath: a\nMode: 0400\nSymlinkTo: b", 4, "expected Lines:, not 'SymlinkTo: b'"),
        ("\nPath: a\nLines: -1", 3, "a number of lines has one to nine digits, not '-1'"),
        ("\nPath: a\nLines: 1e3", 3, "a number of lines has one to nine digits, not '1e3'"),
        ("\nPath: a\nLines: 999999999", 5, "cut off: the last line is not End"),
        ("\nPath: a\nLines: 1\none\ntwo", 5, "expected an empty line before an entry, not 'two'"),
        ("\nPath: a\nMode: 04755\nLines: 0", 3, "permissions are 0 and three octal digits, not "),
        ("\nPath: a\nMode: 4755\nLines: 0", 3, "permissions are 0 and three octal digits, not "),
        ("\nPath: a\nLines: 2\nx\n\\y", 5, "a backslash begins \\\\ or \\xNN, or ends a line"),
        ("\nPath: a\nLines: 1\n\\xFG", 4, "a backslash begins"),
        ("\nPath: a\\", 2, "a backslash begins"),
        ("\nPath: a\nSymlinkTo: \\n", 2, "a backslash begins"),
        ("\nPath: a\nLines: 1\nx\r", 4, "the control character '\\r'"),
        ("\nPath: \0", 2, "the control character '\\x00'"),
        ("\nDirectory: \n", 2, "'/' has a part that is no name"),
        ("\nDirectory: /sys", 2, "'//sys' has a part that is no name"),
        ("\nDirectory: ../etc", 2, "'/../etc' has a part that is no name"),
        ("\nDirectory: .", 2, "'/.' has a part that is no name"),
        ("\nDirectory: \\x2e\\x2e", 2, "'/..' has a part that is no name"),
        ("\nDirectory: a\n\nDirectory: a//b", 4, "'/a//b' has a part that is no name"),
        ("\nDirectory: a\n\nDirectory: a/", 4, "'/a/' has a part that is no name"),
        ("\nDirectory: a\n\nDirectory: a/../../b", 4, "'/a/../../b' has a part that is no name"),
        ("\nDirectory: a\n\nDirectory: a/b\\x00c", 4, "'/a/b\\x00c' has a part that is no name"),
        ("\nDirectory: a/b", 2, "'/a/b' is in a directory that has no entry before it"),
        ("\nDirectory: a\n\nDirectory: a", 4, "'/a' has an entry already"),
        ("\nPath: a\nLines: 0\n\nDirectory: a", 5, "'/a' has an entry already"),
        ("\nPath: a\nLines: 0\n\nPath: a/b\nLines: 0", 5, "'/a/b' is below a file or a link"),
        ("\nPath: a\nSymlinkTo: b\n\nPath: a/b\nLines: 0", 5, "'/a/b' is below a file or a link"),
        (f"\nDirectory: {'a' * 256}", 2, "is too long"),
        ("\nPath: a\nSymlinkTo: /etc/passwd", 2, "'/a': the link '/etc/passwd' is absolute"),
        ("\nPath: a\nSymlinkTo: ..", 2, "'/a': the link '..' is absolute, climbs out of the host"),
        ("\nPath: a\nSymlinkTo: ./../x", 2, "'/a': the link './../x' is absolute, climbs out"),
        ("\nPath: a\nSymlinkTo: b/../x", 2, "or goes up after it went down"),
        ("\nDirectory: a\n\nPath: a/b\nSymlinkTo: ../../x", 4, "climbs out of the host"),
        ("\nPath: a\nSymlinkTo: ", 2, "a link has 1 to 4095 bytes, none of them NUL"),
        ("\nPath: a\nSymlinkTo: b\\x00", 2, "a link has 1 to 4095 bytes, none of them NUL"),
        (f"\nPath: a\nSymlinkTo: {'b' * 4096}", 2, "a link has 1 to 4095 bytes, none of them NUL"),
    ],
)
def test_damaged_archive_is_refused_with_line_and_reason(
    lines: str, line: int, reason: str
) -> None:
    """Whatever a text says, it says it about this host alone."""
    found = refusal(f"{lines}\n\nEnd\n")
    assert found[0] == line
    assert reason in found[1]


def test_nothing_may_come_after_the_end() -> None:
    """Such as the signature of a mail."""
    assert refusal(f"{WHOLE}-- \nKind regards\n") == (WHOLE.count("\n") + 1, "text after End")


def test_bytes_that_are_not_utf_8_are_refused() -> None:
    """The file is text; what is none is escaped."""
    assert refusal(b"\nPath: a\nLines: 1\nx\xff\n\nEnd\n") == (4, "bytes that are not UTF-8")


@PATIENT
@given(st.lists(st.sampled_from(WHOLE.splitlines(keepends=True)), max_size=20).map("".join))
def test_lines_in_any_order_are_an_archive_or_refused(lines: str) -> None:
    """Nothing else comes of them."""
    try:
        parse_archive(lines.encode(), "x")
    except BadArchive as error:
        assert error.line is not None  # noqa: PT017 - most are refused, not all


@PATIENT
@given(st.binary())
def test_bytes_in_any_order_are_refused(data: bytes) -> None:
    """Nothing else comes of them."""
    refusal(data)


@pytest.mark.parametrize("more", [0, 1])
def test_line_that_is_too_long_is_refused(monkeypatch: pytest.MonkeyPatch, more: int) -> None:
    """What a line stands for can take much more memory."""
    longest = len("Path: sys/class/secret\n")
    monkeypatch.setattr(text, "LIMIT_LINE_BYTES", longest + more - 1)
    data = "\nDirectory: sys\n\nDirectory: sys/class\n\nPath: sys/class/secret\nLines: 0\n\nEnd\n"
    if more:
        assert parse_archive(data.encode(), "x")
    else:
        assert refusal(data) == (6, f"longer than {longest - 1} bytes")


# Files


def test_archive_is_read_from_a_file(tmp_path: Path) -> None:
    """By its path, which an error names."""
    path = tmp_path / "host.ttar"
    path.write_text(WHOLE, encoding="utf-8")
    assert contents(read_archive(str(path))) == contents(whole())
    path.write_text("", encoding="utf-8")
    with pytest.raises(BadArchive, match=re.escape(f"{path} is not a valid archive")):
        read_archive(str(path))


def test_file_that_is_too_large_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is not read to its end."""
    path = tmp_path / "host.ttar"
    path.write_text(WHOLE, encoding="utf-8")
    monkeypatch.setattr(text, "LIMIT_BYTES", 1 << 20)
    assert read_archive(str(path))
    os.truncate(path, (1 << 20) + 1)
    with pytest.raises(BadArchive, match="larger than 1 MiB"):
        read_archive(str(path))


def test_archive_of_too_many_entries_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each takes more memory than its text."""
    monkeypatch.setattr(text, "LIMIT_ENTRIES", 9)
    assert parse_archive(WHOLE.encode(), "x")
    monkeypatch.setattr(text, "LIMIT_ENTRIES", 8)
    assert refusal(WHOLE)[1] == "more than 8 entries"


def test_what_is_not_a_regular_file_is_not_waited_for(tmp_path: Path) -> None:
    """A FIFO that nobody writes to, say."""
    os.mkfifo(tmp_path / "fifo")
    with pytest.raises(BadArchive, match="not a regular file"):
        read_archive(str(tmp_path / "fifo"))
