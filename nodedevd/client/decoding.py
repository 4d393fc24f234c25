"""Decoding of JSON into types, from any thread."""

from __future__ import annotations

import threading
from typing import Any, Final, TypeVar

import msgspec

R = TypeVar("R")

_decoders: Final[dict[type, msgspec.json.Decoder[Any]]] = {}
_preparing: Final = threading.Lock()


def decode(text: msgspec.Raw, kind: type[R]) -> R:
    """Return the value of a text. Raises one of UNDECODABLE.

    msgspec prepares a type when it is first used, and crashes if two threads do so at once.
    """
    decoder: msgspec.json.Decoder[R] | None = _decoders.get(kind)
    if decoder is None:
        with _preparing:
            decoder = _decoders.setdefault(kind, msgspec.json.Decoder(kind))
    return decoder.decode(text)
