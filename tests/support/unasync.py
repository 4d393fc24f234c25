"""Writes the blocking client from the one on asyncio: make blocking-client.

What the two forms do differently is in `asynchronous_backend` and `blocking_backend`; the rest
differs in the words below.
"""

from __future__ import annotations

import re
from pathlib import Path

import nodedevd

DIRECTORY = Path(nodedevd.__file__).with_name("client")  # not imported: it may not be whole
TARGETS = {
    DIRECTORY / f"asynchronous{part}.py": DIRECTORY / f"blocking{part}.py"
    for part in ("", "_caller", "_control")
}
"""The blocking form of each module on asyncio."""
COMMAND = "make blocking-client"

REPLACEMENTS = (
    # prose
    (r"`make blocking-client` writes `blocking(\w*)\.py` from this file\.",
     r"Written by `make blocking-client` from `asynchronous\1.py`; change that file."),
    (r"Prepare; it connects when it is entered, or first asked\.", "Connect."),
    (r"It connects when it is entered, or first asked\.", "It connects at once."),
    (r" A cancelled `next` loses nothing\.", ""),
    (r"on asyncio\.", "by blocking calls."),
    (r"[Aa]n asynchronous (iterator and context manager)", r"an \1"),
    (r"an asynchronous context manager", "a context manager"),
    (r"\b(by|from) any task\b", r"\1 any thread"),
    # names
    (r"\bAsyncConnection\b", "BlockingConnection"),
    (r"\bAsyncCaller\b", "BlockingCaller"),
    (r"\basynchronous_(backend|caller)\b(?!\.py)", r"blocking_\1"),
    (r"\bAsync(Client|Control|Watch)\b", r"\1"),
    (r"\b__a(enter|exit|iter|next)__\b", r"__\1__"),
    (r"\bStopAsyncIteration\b", "StopIteration"),
    # waiting
    (r"\bAwaitable\[(\w+)\]", r"\1"),
    (r"\bAwaitable, ", ""),
    (r"\basync (def|with|for)\b", r"\1"),
    (r"\bawait ", ""),
)  # fmt: skip


def blocking(source: str) -> str:
    """Return the blocking form of a module. Raises ValueError for a word without replacement."""
    for pattern, replacement in REPLACEMENTS:
        source = re.sub(pattern, replacement, source)
    left = re.search(r".*(?i:async(?!hronous\w*\.py)|await).*", source)
    if left is not None:
        raise ValueError(f"no blocking form of: {left[0].strip()}; add it to REPLACEMENTS")
    return source


if __name__ == "__main__":
    for source, target in TARGETS.items():
        target.write_text(blocking(source.read_text("utf-8")), "utf-8")
