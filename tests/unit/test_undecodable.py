"""What msgspec raises is caught in all versions: before 0.20 its errors are no ValueErrors."""

from __future__ import annotations

import re
from pathlib import Path

import msgspec
import pytest

import nodedevd
from nodedevd.undecodable import UNDECODABLE

PACKAGE = Path(nodedevd.__file__).parent
DECODES = re.compile(r"json\.Decoder\(|json\.decode\(|msgspec\.convert\(")
CATCHES = re.compile(r"\b(UNDECODABLE|MsgspecError|ValidationError)\b")


@pytest.mark.parametrize("text", ["{", '{"a": "x"}', b"\xff", "[" * 100_000])
def test_error_of_decoding_is_caught(text: str | bytes) -> None:
    """Malformed, of another type, not UTF-8, nested too deeply."""
    with pytest.raises(UNDECODABLE):
        msgspec.json.decode(text, type=dict[str, int] if len(text) < 99 else object)


def test_module_that_decodes_names_what_that_raises() -> None:
    """`except ValueError` alone would do with the newest msgspec, and not with Debian's."""
    for path in PACKAGE.rglob("*.py"):
        text = path.read_text("utf-8")
        assert not DECODES.search(text) or CATCHES.search(text), path
