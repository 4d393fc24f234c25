"""Decoding JSON into types, from any thread."""

from __future__ import annotations

import threading
from typing import Any, Final, TypeVar

import msgspec

R = TypeVar("R")

_decoders: Final[dict[type, msgspec.json.Decoder[Any]]] = {}
_preparing: Final = threading.Lock()


def decode(text: msgspec.Raw, kind: type[R]) -> R:
    """Return what a text says. Raises ValueError (msgspec.DecodeError, or no UTF-8).

    msgspec prepares a type when it first needs it, and crashes if two threads do at once.
    """
    decoder: msgspec.json.Decoder[R] | None = _decoders.get(kind)
    if decoder is None:
        with _preparing:
            decoder = _decoders.setdefault(kind, msgspec.json.Decoder(kind))
    return decoder.decode(text)
