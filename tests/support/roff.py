"""Writes a manual page in the language of man(7), from plain text and from Markdown.

Source: https://man.openbsd.org/man.7
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator, Sequence

_WIDTH = 72
"""of input lines in characters, some of which have several bytes: mandoc wants at most 80 bytes"""
_ESCAPES = str.maketrans(
    {"\\": r"\e", "-": r"\-", "'": r"\(aq", "`": r"\(ga", "^": r"\(ha", "~": r"\(ti"}
)
_OPTION = re.compile(r"(?<![\w-])--?[a-z][\w-]*")
_INLINE = re.compile(
    r"`(?P<code>[^`]+)`|\*\*(?P<bold>[^*]+)\*\*|(?<!\w)\*(?P<italic>[^*\s][^*]*)\*"
    r"|\[(?P<link>[^\]]*)\]\((?P<target>[^)]*)\)"
)
_ITEM = re.compile(r"(?:[-*]|\d+\.) ")


class Page:
    """A manual page that is written section by section."""

    def __init__(self, name: str, section: int, about: str, *, date: str, version: str) -> None:
        self.name, self.section = name, section
        title = [_plain(name.upper()), str(section), date, f"nodedevd {version}", "nodedevd"]
        self._lines = [".TH " + " ".join(f'"{word}"' for word in title)]
        self.heading("NAME")
        self._text(f"{_plain(name)} \\- {_plain(about)}")

    @property
    def file_name(self) -> str:
        """Return the name of the page's file."""
        return f"{self.name}.{self.section}"

    def __str__(self) -> str:
        return "\n".join(self._lines) + "\n"

    def heading(self, text: str, level: int = 1) -> None:
        """Begin a section, or with level 2 a part of one."""
        self._lines.append(f'.{"SH" if level == 1 else "SS"} "{_plain(text)}"')

    def paragraph(self, marked: str) -> None:
        """Write a paragraph of escaped text."""
        if not self._lines[-1].startswith((".SH", ".SS")):
            self._lines.append(".PP")
        self._text(marked)

    def item(self, tag: str, marked: Sequence[str]) -> None:
        """Write a term, and below it what it means, in one or more paragraphs; all escaped."""
        if len(tag) <= _WIDTH:
            self._lines += [".TP", _guarded(tag)]
        else:  # a tag is one line of input
            self._lines.append(".PP")
            self._text(tag)
            self._lines.append(".IP")
        self._text(marked[0] or r"\&")
        for one in marked[1:]:
            self._lines.append(".IP")
            self._text(one)

    def verbatim(self, lines: Sequence[str]) -> None:
        """Write lines as they stand, in a typewriter's face."""
        if not self._lines[-1].startswith((".SH", ".SS")):
            self._lines.append(".PP")
        self._lines += [".RS 4", ".EX"]
        self._lines += [_guarded(_plain(line)) for line in lines]
        self._lines += [".EE", ".RE"]

    def synopsis(self, marked: str) -> None:
        """Write how a command is called."""
        self._text(marked)

    def markdown(self, text: str) -> None:
        """Write a Markdown text: headings, paragraphs, lists, tables, code."""
        for block in _blocks(text):
            if block[0].startswith("#"):
                level = len(block[0]) - len(block[0].lstrip("#"))
                title = re.sub(r"[`*]", "", block[0].lstrip("# "))
                self.heading(title.upper() if level == 2 else title, level - 1)
            elif block[0].startswith("```"):
                self.verbatim(block[1:])
            elif block[0].startswith("|"):
                self._table(block)
            elif _ITEM.match(block[0]):
                self._list(block)
            else:
                self.paragraph(inline(" ".join(block)))

    def _text(self, marked: str) -> None:
        self._lines += map(
            _guarded,
            textwrap.wrap(marked, _WIDTH, break_on_hyphens=False, break_long_words=False),
        )

    def _table(self, rows: Sequence[str]) -> None:
        """Write each row as a term and what the other columns say of it, in 80 columns."""
        cells = [
            [cell.strip().replace("\\|", "|") for cell in re.split(r"(?<!\\)\|", row)[1:-1]]
            for row in rows
        ]
        heads = cells[0]
        for row in cells[2:]:
            several = len(row) > 2
            texts = [
                (f"{inline(head)}: " if several and head else "") + inline(cell)
                for head, cell in zip(heads[1:], row[1:], strict=True)
                if cell
            ]
            self.item(inline(row[0]) or r"\&", texts or [""])

    def _list(self, lines: Sequence[str]) -> None:
        items: list[list[str]] = []
        for line in lines:
            if _ITEM.match(line):
                items.append([])
            items[-1].append(line.strip())
        for item in items:
            mark, _, rest = " ".join(item).partition(" ")
            self.item(r"\(bu" if mark in "-*" else mark, [inline(rest)])


def plain(text: str) -> str:
    """Return text for a page, with the options of commands in bold."""
    return _OPTION.sub(
        lambda match: f"\\fB{match[0]}\\fP", _plain(text).replace(r"\-", "-")
    ).replace("-", r"\-")


def bold(text: str) -> str:
    """Return text in bold."""
    return f"\\fB{_plain(text)}\\fP"


def italic(text: str) -> str:
    """Return text that stands for another one."""
    return f"\\fI{_plain(text)}\\fP"


def inline(text: str) -> str:
    """Return a line of Markdown; of a link its text, and where it leads if that is elsewhere."""
    done = ""
    end = 0
    for match in _INLINE.finditer(text):
        done += _plain(text[end : match.start()])
        end = match.end()
        if match["link"] is not None:
            done += inline(match["link"])
            if match["target"].startswith("http") and match["target"] != match["link"]:
                done += f" <{_plain(match['target'])}>"
        elif match["italic"] is not None:
            done += italic(match["italic"])
        else:
            done += bold(match["code"] or match["bold"])
    return done + _plain(text[end:])


def _plain(text: str) -> str:
    return text.translate(_ESCAPES)


def _guarded(line: str) -> str:
    """Keep the beginning of a line from being taken for a request."""
    return rf"\&{line}" if line.startswith((".", "'")) else line


def _blocks(text: str) -> Iterator[list[str]]:
    """Yield the lines of each heading, paragraph, list, table, and block of code."""
    block: list[str] = []
    code = False
    for line in re.sub(r"<!--.*?-->\n?", "", text, flags=re.DOTALL).splitlines():
        if line.startswith("```"):
            if not code and block:
                yield block
            if code:
                yield block
            block = [] if code else [line]
            code = not code
        elif code:
            block.append(line)
        elif not line.strip() or line.startswith("#"):
            if block:
                yield block
            block = []
            if line.strip():
                yield [line]
        else:
            begins = _ITEM.match(line) or line.startswith("|")
            if block and begins and not (_ITEM.match(block[0]) or block[0].startswith("|")):
                yield block
                block = []
            block.append(line)
    if block:
        yield block
