"""Decoding of JSON into types, from any thread."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
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
    """Have the handlers of signals called afterwards.

    msgspec hashes types, and drops what a handler raises meanwhile: Ctrl-C would be lost. To block
    signals is not enough, since another thread can receive one; Python calls the handlers in the
    main thread alone.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    came: list[tuple[int, FrameType | None]] = []
    handlers: dict[int, Callable[[int, FrameType | None], object]] = {
        number: handler
        for number in signal.valid_signals()
        if callable(handler := signal.getsignal(number))
    }
    for number in handlers:
        signal.signal(number, lambda number, frame: came.append((number, frame)))
    try:
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
        for came_number, frame in came:
            handlers[came_number](came_number, frame)
