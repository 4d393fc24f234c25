"""Out: writes XML text in the layout of virsh, and escapes all text.

Layout: two blanks a level, attributes in single quotes, one element a line, no declaration.
The five special characters become named entities, a character that XML 1.0 cannot represent
becomes U+FFFD. White space that a parser would change, and what a terminal acts on or does not
show, becomes a character reference.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Set
from functools import lru_cache
from types import TracebackType
from typing import Any, TypeVar

T = TypeVar("T")

LINE_END = "\x7f"
"""Stands for the end of a line of the layout in `Out.marked`; escaped in all other places."""
UNSEEN = (
    r"\x7f-\x9f\xad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u2028-\u202e"
    r"\u2060-\u206f\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufffb\U000110bd\U000110cd"
    r"\U00013430-\U0001345f\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff"
)
"""A class of `re`: what a terminal acts on or shows nothing of, and XML 1.0 can represent.

Control characters, line separators, what sets the direction of text, and what has no width
(Unicode: general category Cc, Cf, Zl, Zp, or Default_Ignorable_Code_Point).
"""
_NO_XML = r"\x00-\x08\x0b-\x1f\ud800-\udfff\ufffe\uffff"
_NO_TEXT = rf"""&<>"'{_NO_XML}{UNSEEN}"""
_IS_NO_XML = re.compile(f"[{_NO_XML}]")
_IN_TEXT = re.compile(f"[{_NO_TEXT}]")
_IN_ATTRIBUTE = re.compile(rf"[{_NO_TEXT}\t\n]")
# Nearly every text is plain, and the others take much longer to look through.
_PLAIN = re.compile("[ !#-%(-;=?-~]*").fullmatch
_UNSEEN = re.compile(rf"[\t{_NO_XML}{UNSEEN}]")
_ENTITIES = {
    "&": "&amp;",
    "<": "&lt;",
    ">": "&gt;",
    '"': "&quot;",
    "'": "&apos;",
    "\r": "&#13;",
    "\t": "&#9;",
    "\n": "&#10;",
}


def _replace(match: re.Match[str]) -> str:
    found = _ENTITIES.get(match[0])
    return found or ("\ufffd" if _IS_NO_XML.fullmatch(match[0]) else f"&#x{ord(match[0]):x};")


def escape(text: str) -> str:
    """Escape the text of an element."""
    return text if _PLAIN(text) else _IN_TEXT.sub(_replace, text)


def escape_unseen(xml: str) -> str:
    """Escape what is left in XML, such as that of a daemon, of what a terminal acts on."""
    if xml.isascii() and all(map(str.isprintable, xml.split("\n"))):
        return xml
    return _UNSEEN.sub(_replace, xml)


def escape_attribute(text: str) -> str:
    """Escape the value of an attribute."""
    return text if _PLAIN(text) else _IN_ATTRIBUTE.sub(_replace, text)


class Out:
    """An XML document, or a part of one, that is being written.

    Args:
        unknown: Paths of the sysfs attributes whose value is unknown; see `value`.
    """

    __slots__ = ("_indent", "_lines", "_open", "unknown")

    def __init__(self, *, unknown: Set[str] = frozenset()) -> None:
        self.unknown = unknown
        # Without the last line end; one string may have several lines.
        self._lines: list[str] = []
        self._open: list[str] = []
        self._indent = ""

    def __str__(self) -> str:
        return self.at(0)

    def at(self, depth: int) -> str:
        """Return the text indented by `depth` levels; line feeds inside text stay as they are."""
        indent = "  " * depth
        return indent + LINE_END.join(self._lines).replace(LINE_END, "\n" + indent) + "\n"

    def marked(self) -> str:
        """Return the text with `LINE_END` in place of the line feeds that are not inside text."""
        return LINE_END.join(self._lines) + LINE_END

    def append(self, part: Out) -> None:
        """Append another part, which has no open element, at the depth of this one."""
        self._lines += part._indented(self._indent)

    def once(self, write: Callable[[T, Out], None], value: T) -> None:
        """Write what depends on a hashable value alone.

        Many devices have the same ids, or types: `write` is called once for all of these.
        """
        if self.unknown:
            write(value, self)
        else:
            self._lines += _written(write, value, self._indent)

    def _indented(self, indent: str) -> tuple[str, ...]:
        """Return its lines as one string, or nothing."""
        if not self._lines:
            return ()
        return (indent + LINE_END.join(self._lines).replace(LINE_END, LINE_END + indent),)

    def lines(self, *markup: str) -> None:
        """Write one or more lines of markup in which nothing has to be escaped, such as numbers."""
        self._lines.append(self._indent + (LINE_END + self._indent).join(markup))

    def begin(self, tag: str, **attributes: str) -> Out:
        """Write a start tag. Use it in a `with` statement, which writes the end tag."""
        if attributes:
            self._lines.append(f"{self._indent}<{tag}{_format(attributes)}>")
        else:
            self._lines.append(f"{self._indent}<{tag}>")
        self._open.append(tag)
        self._indent += "  "
        return self

    def __enter__(self) -> Out:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._indent = self._indent[:-2]
        self._lines.append(f"{self._indent}</{self._open.pop()}>")

    def empty(self, tag: str, **attributes: str) -> None:
        """Write an element without content."""
        written = _format(attributes) if attributes else ""
        self._lines.append(f"{self._indent}<{tag}{written}/>")

    def text(self, tag: str, text: str | int, **attributes: str) -> None:
        """Write an element with text, on one line."""
        content = text if isinstance(text, int) or _PLAIN(text) else escape(text)
        if attributes:
            self._lines.append(f"{self._indent}<{tag}{_format(attributes)}>{content}</{tag}>")
        else:
            self._lines.append(f"{self._indent}<{tag}>{content}</{tag}>")

    def value(self, tag: str, value: str | int | None, attribute: str) -> None:
        """Write the value that was read from a sysfs attribute.

        Write nothing if the attribute is absent, and `<tag state='unknown'/>` if its value is
        unknown.
        """
        if value is not None:
            self.text(tag, value)
        elif attribute in self.unknown:
            self.empty(tag, state="unknown")


@lru_cache(maxsize=1024)
def _written(write: Callable[[Any, Out], None], value: Any, indent: str) -> tuple[str, ...]:
    out = Out()
    write(value, out)
    return out._indented(indent)


def _format(attributes: dict[str, str]) -> str:
    text = ""
    for name, value in attributes.items():
        text += f" {name}='{value if _PLAIN(value) else escape_attribute(value)}'"
    return text
