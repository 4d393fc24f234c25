"""lines: cuts a file of the kernel, of udevd or of mdevctl into lines, and a line into fields.

Such a file ends its lines with a newline and separates fields with blanks or tabs. Other text in
it may come from anyone: a file system label, a mount point, an interface's name. `str.splitlines`
and `str.split` also divide that text, at U+2028, U+0085, a vertical tab and others.
"""

from __future__ import annotations


def lines_of(text: str) -> list[str]:
    """Return the lines of a text, without their newlines."""
    lines = text.split("\n")
    if not lines[-1]:
        lines.pop()
    return lines


def fields_of(line: str) -> list[str]:
    """Return the fields of a line that are separated by any number of blanks and tabs."""
    return [field for field in line.replace("\t", " ").split(" ") if field]
