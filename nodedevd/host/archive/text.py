r"""text: an archive as text, and back.

Form   docs/fixtures.md. The head: lines that begin with `#`. Then entries, an empty line before
       each. Then `End`. A backslash begins an escape: `\\`; `\xNN`, the byte NN; and at the end
       of a line of a file, "the file has no newline here".

The text is hostile until it is parsed: BadArchive names what is wrong, and the line.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator

from nodedevd.errors import BadArchive
from nodedevd.host.archive.tree import DIRECTORY_MODE, FILE_MODE, Archive

LIMIT_BYTES = 64 << 20
"""Size of the largest archive that is read."""
LIMIT_ENTRIES = 1 << 20
"""Entries of the largest archive that is read: they bound the memory it takes."""

_END = "End"
_BINARY_WIDTH = 16  # as a hex dump
_TEXT_WIDTH = 200  # characters; mail has lines of 998 bytes at most, RFC 5322
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f]")
_ESCAPE = re.compile(rb"\\(\\|\n|x[0-9a-f]{2})?")
_BYTES = {b"\\": b"\\", b"\n": b""} | {b"x%02x" % byte: bytes([byte]) for byte in range(256)}
_HEX = [f"\\x{byte:02x}" for byte in range(256)]
_AS_TEXT = ("utf-8", "surrogateescape")
_COUNT = re.compile(r"[0-9]{1,9}")
_MODE = re.compile(r"0[0-7]{3}")


def read_archive(path: str) -> Archive:
    """Read an archive from a regular file. Raises BadArchive, OSError."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY)
    with open(descriptor, "rb") as file:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise BadArchive(path, None, "it is not a regular file")
        data = file.read(LIMIT_BYTES + 1)
    if len(data) > LIMIT_BYTES:
        raise BadArchive(path, None, f"it is larger than {LIMIT_BYTES >> 20} MiB")
    return parse_archive(data, path)


# -- from text -------------------------------------------------------------------------


def parse_archive(data: bytes, name: str) -> Archive:
    """Return the archive that a text describes; errors call it `name`. Raises BadArchive."""
    return _Parser(data, name).parse()


class _Parser:
    """Takes the lines one by one."""

    def __init__(self, data: bytes, name: str) -> None:
        self._name = name
        self._taken = 0
        self._lines = self._split(data)

    def parse(self) -> Archive:
        archive = Archive("".join(f"{line}\n" for line in self._head()))
        entries = 0
        while (line := self._first_line()) != _END:
            first = self._taken
            try:
                self._add_entry(archive, line)
            except ValueError as error:
                raise self._error(str(error), first) from None
            entries += 1
            if entries > LIMIT_ENTRIES:
                raise self._error(f"more than {LIMIT_ENTRIES} entries")
        if self._taken < len(self._lines):
            raise self._error("text after End", self._taken + 1)
        return archive

    def _split(self, data: bytes) -> list[str]:
        try:
            text = data.decode()
        except UnicodeDecodeError as error:
            line = data.count(b"\n", 0, error.start) + 1
            raise self._error("bytes that are not UTF-8", line) from None
        if control := _CONTROL.search(text):
            line = text.count("\n", 0, control.start()) + 1
            raise self._error(f"the control character {control[0]!r}", line)
        *lines, rest = text.split("\n")
        if rest:
            raise self._error("cut off: the line has no end", len(lines) + 1)
        return lines

    def _head(self) -> Iterator[str]:
        while self._taken < len(self._lines) and self._lines[self._taken].startswith("#"):
            yield self._take()[1:].removeprefix(" ")

    def _first_line(self) -> str:
        """Return the first line of the next entry."""
        line = self._take()
        if line:
            raise self._error(f"expected an empty line before an entry, not {line[:80]!r}")
        return self._take()

    def _add_entry(self, archive: Archive, line: str) -> None:
        keyword, _, name = line.partition(": ")
        if keyword not in ("Directory", "Path"):
            raise self._error(f"expected Directory:, Path: or End, not {line[:80]!r}")
        path = "/" + _text(name)
        mode = self._mode()
        if keyword == "Directory":
            archive.add_directory(path, DIRECTORY_MODE if mode is None else mode)
            return
        line = self._take()
        keyword, _, value = line.partition(": ")
        if keyword == "Lines":
            archive.add_file(path, self._content(value), FILE_MODE if mode is None else mode)
        elif keyword == "SymlinkTo" and mode is None:
            archive.add_link(path, _text(value))
        else:
            expected = "Mode:, Lines: or SymlinkTo:" if mode is None else "Lines:"
            raise self._error(f"expected {expected}, not {line[:80]!r}")

    def _mode(self) -> int | None:
        """Return the permissions if the next line has them."""
        if self._taken == len(self._lines) or not self._lines[self._taken].startswith("Mode: "):
            return None
        value = self._take().removeprefix("Mode: ")
        if not _MODE.fullmatch(value):
            raise self._error(f"permissions are 0 and three octal digits, not {value[:80]!r}")
        return int(value, 8)

    def _content(self, count: str) -> bytes:
        """Return what the next lines say that a file has."""
        if not _COUNT.fullmatch(count):
            raise self._error(f"a number of lines has one to nine digits, not {count[:80]!r}")
        first = self._taken
        self._taken += int(count)
        if self._taken > len(self._lines):
            raise self._error(f"cut off: {count} lines announced", first)
        data = "".join(f"{line}\n" for line in self._lines[first : self._taken]).encode()
        try:
            return _ESCAPE.sub(_byte, data)
        except _BadEscape as error:
            line = first + 1 + data.count(b"\n", 0, error.at)
            raise self._error(str(error), line) from None

    def _take(self) -> str:
        if self._taken == len(self._lines):
            raise self._error("cut off: the last line is not End")
        self._taken += 1
        return self._lines[self._taken - 1]

    def _error(self, reason: str, line: int | None = None) -> BadArchive:
        return BadArchive(self._name, self._taken if line is None else line, reason)


class _BadEscape(ValueError):
    def __init__(self, at: int) -> None:
        super().__init__("a backslash begins \\\\ or \\xNN, or ends a line of a file")
        self.at = at


def _text(value: str) -> str:
    """Return the path or the link's text that a line has."""
    return os.fsdecode(_ESCAPE.sub(_byte, value.encode()))


def _byte(escape: re.Match[bytes]) -> bytes:
    found = _BYTES.get(escape[1])
    if found is None:
        raise _BadEscape(escape.start())
    return found


# -- to text ---------------------------------------------------------------------------


def format_archive(archive: Archive) -> bytes:
    """Return an archive as text: the same for the same files, in whatever order they came."""
    lines = [f"# {line}".rstrip() for line in archive.about.splitlines()]
    for path, content, mode in archive.walk():
        name = _line(os.fsencode(path[1:]).decode(*_AS_TEXT))
        lines.append("")
        if isinstance(content, list):
            lines.append(f"Directory: {name}")
            if mode != DIRECTORY_MODE:
                lines.append(f"Mode: {mode:04o}")
        elif isinstance(content, bytes):
            body = list(_content_lines(content))
            lines.append(f"Path: {name}")
            if mode != FILE_MODE:
                lines.append(f"Mode: {mode:04o}")
            lines += [f"Lines: {len(body)}", *body]
        else:
            link = _line(os.fsencode(content).decode(*_AS_TEXT))
            lines += [f"Path: {name}", f"SymlinkTo: {link}"]
    lines += ["", _END]
    return "".join(f"{line}\n" for line in lines).encode()


def _content_lines(data: bytes) -> Iterator[str]:
    """Return the lines of a file; those that end in a backslash have no newline."""
    if b"\0" in data:
        for start in range(0, len(data), _BINARY_WIDTH):
            yield "".join(map(_HEX.__getitem__, data[start : start + _BINARY_WIDTH])) + "\\"
        return
    *lines, rest = data.decode(*_AS_TEXT).split("\n")
    for line in lines:
        *begun, last = _pieces(line)
        yield from [f"{_escaped(piece)}\\" for piece in begun]
        yield _line(last)
    if rest:
        yield from [f"{_escaped(piece)}\\" for piece in _pieces(rest)]


def _pieces(line: str) -> list[str]:
    return [line[at : at + _TEXT_WIDTH] for at in range(0, len(line), _TEXT_WIDTH)] or [""]


def _line(text: str) -> str:
    """Escape what could get lost: editors and mail remove blanks at the end of a line."""
    if text.endswith((" ", "\t")):
        return _escaped(text[:-1]) + _HEX[ord(text[-1])]
    return _escaped(text)


def _escaped(text: str) -> str:
    if text.isprintable() and "\\" not in text:
        return text
    return "".join(map(_escape, text))


def _escape(character: str) -> str:
    if character == "\\":
        return "\\\\"
    if character.isprintable() or character == "\t":
        return character
    return "".join(map(_HEX.__getitem__, character.encode(*_AS_TEXT)))
