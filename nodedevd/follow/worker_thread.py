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
    """A thread with a queue of functions.

    `concurrent.futures` joins its threads when the interpreter exits, so a read that hangs in
    the kernel would hang the exit; this thread does not hold it up.
    """

    def __init__(self, name: str = "scan") -> None:
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._closed = False
        self._thread = threading.Thread(target=self._work, name=name, daemon=True)
        self._thread.start()

    def run(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> asyncio.Future[T]:
        """Return a future of the function's result.

        Cancelling the future keeps the function from starting; once it runs it is not stopped.
        Raises RuntimeError after close.
        """
        if self._closed:
            raise RuntimeError("the worker thread is closed")
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()
        self._jobs.put((lambda: function(*args, **kwargs), future, loop))
        return future

    def close(self, timeout_seconds: float) -> None:
        """End the thread after its last function; return after the timeout at the latest."""
        self._closed = True
        self._jobs.put(None)
        self._thread.join(timeout_seconds)

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            self._settle(*job)
            del job  # An idle thread must not keep a result in memory.

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
        except StopIteration as error:  # A future refuses this exception.
            outcome = partial(_set_exception, future, RuntimeError(repr(error)))
        except BaseException as error:
            outcome = partial(_set_exception, future, error)
        with suppress(RuntimeError):  # The loop is closed, and nothing waits for the result.
            loop.call_soon_threadsafe(outcome)


def _set_result(future: asyncio.Future[Any], result: object) -> None:
    if not future.done():
        future.set_result(result)


def _set_exception(future: asyncio.Future[Any], error: BaseException) -> None:
    if not future.done():
        future.set_exception(error)
