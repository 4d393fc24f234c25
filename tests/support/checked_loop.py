"""An event loop that fails a test which calls it from another thread."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from contextvars import Context
from typing import TypeVarTuple, Unpack

Arguments = TypeVarTuple("Arguments")


class CheckedLoop(asyncio.SelectorEventLoop):
    """Makes asyncio's own check of debug mode without its cost.

    Debug mode also records the whole stack of every future, which takes longer than most tests.
    """

    def __init__(self) -> None:
        super().__init__()
        self._made_in = threading.get_ident()

    def call_soon(
        self,
        callback: Callable[[Unpack[Arguments]], object],
        *args: *Arguments,
        context: Context | None = None,
    ) -> asyncio.Handle:
        self._check()
        return super().call_soon(callback, *args, context=context)

    def call_at(
        self,
        when: float,
        callback: Callable[[Unpack[Arguments]], object],
        *args: *Arguments,
        context: Context | None = None,
    ) -> asyncio.TimerHandle:
        self._check()
        return super().call_at(when, callback, *args, context=context)

    def _check(self) -> None:
        assert threading.get_ident() == self._made_in, "the loop was called from another thread"
