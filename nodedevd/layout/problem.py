"""problem: what is wrong with a file of a layout, by itself or on a host."""

from __future__ import annotations

from nodedevd.layout.wanted import KeyPath
from nodedevd.model.layout import Code, Problem

__all__ = ["Code", "Problem", "key_text"]


def key_text(path: KeyPath) -> str:
    """Return a place in an entry as text: vgpus[0].type."""
    text = ""
    for part in path:
        if isinstance(part, int):
            text += f"[{part}]"
        else:
            text += f".{part}" if text else part
    return text
