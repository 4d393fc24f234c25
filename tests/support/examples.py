"""Examples in the documentation: JSON in which "…" stands for an omitted part."""

from __future__ import annotations

from typing import Any


def agrees(shown: Any, real: Any) -> bool:
    """Return whether an example matches a reply; "…" matches anything, and further members."""
    if shown == "…":
        return True
    if isinstance(shown, dict):
        names = shown.keys() - {"…"}
        complete = "…" in shown or shown.keys() == real.keys()
        return complete and all(name in real and agrees(shown[name], real[name]) for name in names)
    if isinstance(shown, list):
        return len(shown) == len(real) and all(map(agrees, shown, real))
    return bool(shown == real)
