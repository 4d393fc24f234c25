"""Out: writes XML text in the layout of virsh, and escapes all text.

Layout: two blanks a level, attributes in single quotes, one element a line, no declaration.
The five special characters become named entities, a character that XML 1.0 cannot represent
becomes U+FFFD, and white space that a parser would change becomes a character reference.
"""

from __future__ import annotations

import re
from collections.abc import Set
from types import TracebackType

_NO_TEXT = r"""&<>"'\x00-\x08\x0b-\x1f\ud800-\udfff\ufffe\uffff"""
_IN_TEXT = re.compile(f"[{_NO_TEXT}]")
_IN_ATTRIBUTE = re.compile(rf"[{_NO_TEXT}\t\n]")
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
    return _ENTITIES.get(match[0], "\ufffd")


def escape(text: str) -> str:
    """Escape the text of an element."""
    return _IN_TEXT.sub(_replace, text) if _IN_TEXT.search(text) else text


def escape_attribute(text: str) -> str:
    """Escape the value of an attribute."""
    return _IN_ATTRIBUTE.sub(_replace, text) if _IN_ATTRIBUTE.search(text) else text


class Out:
    """An XML document, or a part of one, that is being written.

    Args:
        unknown: Paths of the sysfs attributes whose value is unknown; see `value`.
    """

    __slots__ = ("_indent", "_lines", "_open", "unknown")

    def __init__(self, *, unknown: Set[str] = frozenset()) -> None:
        self.unknown = unknown
        # One string per tag, because the text of an element may have several lines.
        self._lines: list[str] = []
        self._open: list[str] = []
        self._indent = ""

    def __str__(self) -> str:
        return "".join(self._lines)

    def at(self, depth: int) -> str:
        """Return the text indented by `depth` levels; line feeds inside text stay as they are."""
        indent = "  " * depth
        return "".join([indent + line for line in self._lines])

    def begin(self, tag: str, **attributes: str) -> Out:
        """Write a start tag. Use it in a `with` statement, which writes the end tag."""
        written = _format(attributes) if attributes else ""
        self._lines.append(f"{self._indent}<{tag}{written}>\n")
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
        self._lines.append(f"{self._indent}</{self._open.pop()}>\n")

    def empty(self, tag: str, **attributes: str) -> None:
        """Write an element without content."""
        written = _format(attributes) if attributes else ""
        self._lines.append(f"{self._indent}<{tag}{written}/>\n")

    def text(self, tag: str, text: str | int, **attributes: str) -> None:
        """Write an element with text, on one line."""
        content = escape(text) if isinstance(text, str) else text
        written = _format(attributes) if attributes else ""
        self._lines.append(f"{self._indent}<{tag}{written}>{content}</{tag}>\n")

    def value(self, tag: str, value: str | int | None, attribute: str) -> None:
        """Write the value that was read from a sysfs attribute.

        Write nothing if the attribute is absent, and `<tag state='unknown'/>` if its value is
        unknown.
        """
        if value is not None:
            self.text(tag, value)
        elif attribute in self.unknown:
            self.empty(tag, state="unknown")


def _format(attributes: dict[str, str]) -> str:
    return "".join([f" {name}='{escape_attribute(value)}'" for name, value in attributes.items()])
