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
from nodedevd.host.lines import lines_of

LIMIT_BYTES = 64 << 20
"""Size of the largest archive that is read."""
LIMIT_ENTRIES = 1 << 20
"""Entries of the largest archive that is read: they bound the memory it takes."""

LIMIT_LINE_BYTES = 1 << 16
"""Length of the longest line that is read, its end included: escapes take more memory, too."""

_END = "End"
_BINARY_WIDTH = 16  # as a hex dump
_TEXT_WIDTH = 200  # characters; mail has lines of 998 bytes at most, RFC 5322
_CONTROL = re.compile(rb"[\x00-\x08\x0b-\x1f\x7f]")
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
    """Goes through the text once, line by line, and keeps no more than what it builds."""

    def __init__(self, data: bytes, name: str) -> None:
        self._data = data
        self._name = name
        self._at = 0
        self._line = 0
        """the number of the line that was taken last"""

    def parse(self) -> Archive:
        self._check_text()
        archive = Archive(self._head())
        entries = 0
        while (line := self._first_line()) != _END:
            first = self._line
            try:
                self._add_entry(archive, line)
            except ValueError as error:
                raise self._error(str(error), first) from None
            entries += 1
            if entries > LIMIT_ENTRIES:
                raise self._error(f"more than {LIMIT_ENTRIES} entries")
        if self._at < len(self._data):
            raise self._error("text after End", self._line + 1)
        return archive

    def _check_text(self) -> None:
        """Refuse what is no text of whole lines."""
        try:
            self._data.decode()
        except UnicodeDecodeError as error:
            raise self._error("bytes that are not UTF-8", self._line_of(error.start)) from None
        if control := _CONTROL.search(self._data):
            reason = f"the control character {control[0].decode()!r}"
            raise self._error(reason, self._line_of(control.start()))
        if self._data and not self._data.endswith(b"\n"):
            raise self._error("cut off: the line has no end", self._line_of(len(self._data)))

    def _head(self) -> str:
        head = bytearray()
        while self._data.startswith(b"#", self._at):
            head += self._take_bytes()[1:].removeprefix(b" ") + b"\n"
        return head.decode()

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
        if not self._data.startswith(b"Mode: ", self._at):
            return None
        value = self._take().removeprefix("Mode: ")
        if not _MODE.fullmatch(value):
            raise self._error(f"permissions are 0 and three octal digits, not {value[:80]!r}")
        return int(value, 8)

    def _content(self, count: str) -> bytes:
        """Return what so many lines say that a file holds."""
        if not _COUNT.fullmatch(count):
            raise self._error(f"a number of lines has one to nine digits, not {count[:80]!r}")
        content = bytearray()
        for _ in range(int(count)):
            line = self._take_bytes()
            try:
                content += _unescaped(line + b"\n")
            except ValueError as error:
                raise self._error(str(error)) from None
        return bytes(content)

    def _take(self) -> str:
        return self._take_bytes().decode()

    def _take_bytes(self) -> bytes:
        end = self._data.find(b"\n", self._at, self._at + LIMIT_LINE_BYTES)
        if end < 0 and len(self._data) - self._at < LIMIT_LINE_BYTES:
            raise self._error("cut off: the last line is not End")
        self._line += 1
        if end < 0:
            raise self._error(f"longer than {LIMIT_LINE_BYTES} bytes")
        line = self._data[self._at : end]
        self._at = end + 1
        return line

    def _line_of(self, at: int) -> int:
        return self._data.count(b"\n", 0, at) + 1

    def _error(self, reason: str, line: int | None = None) -> BadArchive:
        return BadArchive(self._name, self._line if line is None else line, reason)


def _text(value: str) -> str:
    """Return the path, or the text of a link, that a line has."""
    return os.fsdecode(_unescaped(value.encode()))


def _unescaped(data: bytes) -> bytes:
    return _ESCAPE.sub(_byte, data) if b"\\" in data else data


def _byte(escape: re.Match[bytes]) -> bytes:
    found = _BYTES.get(escape[1])
    if found is None:
        raise ValueError("a backslash begins \\\\ or \\xNN, or ends a line of a file")
    return found


# -- to text ---------------------------------------------------------------------------


def format_archive(archive: Archive) -> bytes:
    """Return an archive as text: the same for the same files, in whatever order they came."""
    lines = [f"# {line}".rstrip() for line in lines_of(archive.about)]
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
