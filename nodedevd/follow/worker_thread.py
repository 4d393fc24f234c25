"""WorkerThread: runs blocking functions off the event loop, one after another."""

from __future__ import annotations

import asyncio
import queue
import threading
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any, ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")

_Job = tuple[Callable[[], Any], "asyncio.Future[Any]", asyncio.AbstractEventLoop]


class WorkerThread:
    """One thread for all reads of the host.

    `concurrent.futures` is not used: it joins its threads when the interpreter exits, and a
    read that hangs in the kernel would hang the exit, too.
    """

    def __init__(self, name: str = "scan") -> None:
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._closed = False
        self._thread = threading.Thread(target=self._work, name=name, daemon=True)
        self._thread.start()

    def run(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> asyncio.Future[T]:
        """Return a future of the function's result.

        Cancelling it does not stop the function, but keeps one from starting.
        Raises RuntimeError after close.
        """
        if self._closed:
            raise RuntimeError("the scan thread is closed")  # nobody would ever answer
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()
        self._jobs.put((lambda: function(*args, **kwargs), future, loop))
        return future

    def close(self, timeout_seconds: float) -> bool:
        """End the thread; tell whether it ended in time. One that is stuck is left behind."""
        self._closed = True
        self._jobs.put(None)
        self._thread.join(timeout_seconds)
        return not self._thread.is_alive()

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            self._settle(*job)
            del job  # or the result would be kept until the next one

    def _settle(
        self,
        function: Callable[[], Any],
        future: asyncio.Future[Any],
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        if future.cancelled():
            return
        try:
            outcome = partial(_set_result, future, function())
        except StopIteration as error:  # which a future refuses, and nobody would be answered
            outcome = partial(_set_exception, future, RuntimeError(repr(error)))
        except BaseException as error:
            outcome = partial(_set_exception, future, error)
        with suppress(RuntimeError):  # the loop is closed: nobody waits any more
            loop.call_soon_threadsafe(outcome)


def _set_result(future: asyncio.Future[Any], result: object) -> None:
    if not future.done():
        future.set_result(result)


def _set_exception(future: asyncio.Future[Any], error: BaseException) -> None:
    if not future.done():
        future.set_exception(error)
