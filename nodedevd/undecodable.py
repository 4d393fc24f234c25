"""What decoding by msgspec raises for a text that is not of the type."""

from __future__ import annotations

from typing import Final

import msgspec

UNDECODABLE: Final = (ValueError, RecursionError, msgspec.MsgspecError)
"""Malformed or not UTF-8, nested too deeply. Since msgspec 0.20 its errors are ValueErrors."""
