"""Decoding of JSON into types, from any thread."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
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
        with _preparing, _signals_later():
            decoder = _decoders.setdefault(kind, msgspec.json.Decoder(kind))
    return decoder.decode(text)


@contextmanager
def _signals_later() -> Iterator[None]:
    """Block signals for this thread.

    msgspec hashes types, and drops what a signal handler raises meanwhile: Ctrl-C would be lost.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
