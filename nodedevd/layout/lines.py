"""lines: where the keys of a TOML text are, which Python's tomllib does not say.

Form   https://toml.io/en/v1.0.0
"""

from __future__ import annotations

import re
import tomllib
from typing import Final

from nodedevd.layout.wanted import KeyPath

_BLANK: Final = re.compile(r"(?:[ \t\r\n]+|#[^\n]*)*")
_SPACE: Final = re.compile(r"[ \t]*")
_BARE_KEY: Final = re.compile(r"[A-Za-z0-9_-]+")
_LINE_STRING: Final = re.compile(r'"(?:\\.|[^"\\\n])*"|\'[^\'\n]*\'')
_TEXT: Final = re.compile(
    r'"""(?:\\.|[^\\])*?""""{0,2}|\'\'\'.*?\'\'\'\'{0,2}|' + _LINE_STRING.pattern, re.DOTALL
)
_OTHER: Final = re.compile(r"[^,\]}\n#]+")


def key_lines(text: str) -> dict[KeyPath, int]:
    """Return the line of each key, table and element of an array, from 1.

    What is named several times, such as a table, has its first line. `text` has to be one that
    tomllib reads. Raises ValueError for others, if it notices; RecursionError.
    """
    return _Scan(text).document()


class _Scan:
    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0
        self._line, self._counted = 1, 0
        self._lines: dict[KeyPath, int] = {}
        self._tables: dict[KeyPath, int] = {}
        """number of the tables in each array of tables"""

    def document(self) -> dict[KeyPath, int]:
        table: KeyPath = ()
        while self._skip(_BLANK) < len(self._text):
            if self._text.startswith("[", self._at):
                table = self._header()
            else:
                self._pair(table)
        return self._lines

    def _header(self) -> KeyPath:
        """Read `[a.b]` or `[[a.b]]`; return the path of the table that begins."""
        several = self._text.startswith("[[", self._at)
        self._at += 2 if several else 1
        *above, last = self._key()
        self._expect("]]" if several else "]")
        path: KeyPath = ()
        for part in above:
            path = self._note((*path, part))
            if path in self._tables:
                path = (*path, self._tables[path] - 1)
        path = self._note((*path, last))
        if several:
            number = self._tables.get(path, 0)
            self._tables[path] = number + 1
            path = self._note((*path, number))
        return path

    def _pair(self, table: KeyPath) -> None:
        for part in self._key():
            table = self._note((*table, part))
        self._expect("=")
        self._value(table)

    def _key(self) -> list[str]:
        parts = []
        while True:
            self._skip(_SPACE)
            if (bare := _BARE_KEY.match(self._text, self._at)) is not None:
                parts.append(bare[0])
                self._at = bare.end()
            else:
                parts.append(tomllib.loads(f"key = {self._take(_LINE_STRING)}")["key"])
            self._skip(_SPACE)
            if not self._text.startswith(".", self._at):
                return parts
            self._at += 1

    def _value(self, path: KeyPath) -> None:
        self._skip(_SPACE)
        first = self._text[self._at : self._at + 1]
        if first == "[":
            self._array(path)
        elif first == "{":
            self._inline_table(path)
        else:
            self._take(_TEXT if first in ('"', "'") else _OTHER)

    def _array(self, path: KeyPath) -> None:
        self._expect("[")
        number = 0
        while not self._ends("]"):
            self._value(self._note((*path, number)))
            number += 1

    def _inline_table(self, path: KeyPath) -> None:
        self._expect("{")
        while not self._ends("}"):
            self._pair(path)

    def _ends(self, end: str) -> bool:
        """Skip the comma before the next element; return whether there is none."""
        self._skip(_BLANK)
        if self._text.startswith(",", self._at):
            self._at += 1
            self._skip(_BLANK)
        if self._text.startswith(end, self._at):
            self._at += 1
            return True
        return False

    def _note(self, path: KeyPath) -> KeyPath:
        """Keep the line of a path, unless it has one."""
        if path not in self._lines:
            self._line += self._text.count("\n", self._counted, self._at)
            self._counted = self._at
            self._lines[path] = self._line
        return path

    def _skip(self, pattern: re.Pattern[str]) -> int:
        match = pattern.match(self._text, self._at)
        self._at = self._at if match is None else match.end()
        return self._at

    def _take(self, pattern: re.Pattern[str]) -> str:
        match = pattern.match(self._text, self._at)
        if match is None:
            raise ValueError(f"no TOML at character {self._at}")
        self._at = match.end()
        return match[0]

    def _expect(self, text: str) -> None:
        self._skip(_SPACE)
        if not self._text.startswith(text, self._at):
            raise ValueError(f"no {text} at character {self._at}")
        self._at += len(text)
