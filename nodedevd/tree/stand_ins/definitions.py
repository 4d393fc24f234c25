"""definitions: the files of mdevctl's directory, whose attributes have values of their owner."""

from __future__ import annotations

import json
import re
from typing import Any

from nodedevd.tree.stand_ins.texts import Texts

_MATRIX = ("assign_adapter", "assign_domain", "assign_control_domain")
"""Positions in the machine, as the addresses of PCI: Documentation/arch/s390/vfio-ap.rst."""
_NUMBER = re.compile("[+-]?(?:0x[0-9a-fA-F]{1,4}|[0-9]{1,5})")
_STARTS = ("auto", "manual")
_NAME = re.compile(r"[\w./-]{1,64}", re.ASCII)


def without_identity(text: str, texts: Texts) -> str:
    """Return a definition with stand-ins for the values of attributes.

    One that is no JSON object has stand-ins for every word, and stays malformed.
    """
    try:
        found = json.loads(text, object_pairs_hook=_Pairs)
    except (ValueError, RecursionError):
        return texts.secret(text)
    if not isinstance(found, _Pairs):
        return texts.secret(text)
    return json.dumps(_Writer(texts).definition(found), indent=2) + "\n"


class _Pairs(list[tuple[str, Any]]):
    """The members of an object, where a name may occur twice."""


class _Writer:
    def __init__(self, texts: Texts) -> None:
        self._texts = texts

    def definition(self, pairs: _Pairs) -> dict[str, Any]:
        """Return the members that are read."""
        found: dict[str, Any] = {}
        for name, value in pairs:  # of a name that occurs twice, the last counts
            if name == "mdev_type":
                found[name] = (
                    self._texts.described(value) if isinstance(value, str) else _bad(value)
                )
            elif name == "start":
                found[name] = value if value in _STARTS else self._value(value)
            elif name == "attrs":
                found[name] = self._attributes(value)
        return found

    def _attributes(self, value: Any) -> Any:
        if not isinstance(value, list) or isinstance(value, _Pairs):
            return self._value(value)
        return [
            {self._name(name): self._attribute(name, text) for name, text in one}
            if isinstance(one, _Pairs)
            else self._value(one)
            for one in value
        ]

    def _name(self, name: str) -> str:
        """Return the path of an attribute, which the driver has chosen."""
        return self._texts.described(name) if _NAME.fullmatch(name) else self._texts.secret(name)

    def _attribute(self, name: str, value: Any) -> Any:
        if name in _MATRIX and isinstance(value, str) and _NUMBER.fullmatch(value):
            return value
        return self._value(value)

    def _value(self, value: Any) -> Any:
        return self._texts.secret(value) if isinstance(value, str) else _bad(value)


def _bad(value: Any) -> Any:
    """Return another value of the type of one that should be text."""
    if isinstance(value, _Pairs):
        return {}
    if isinstance(value, list):
        return []
    return value if value is None or isinstance(value, bool) else 0
