"""The two forms of the client, for tests that hold for both: asyncio's is made to block."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from types import TracebackType
from typing import Any, TypeAlias, cast

from nodedevd.client import AsyncClient, AsyncControl, AsyncWatch, Client, Control, Event
from tests.support.checked_loop import CheckedLoop

Form: TypeAlias = Callable[..., Client]
"""Makes a client, as `Client` does."""


class _Watch:
    def __init__(self, watch: AsyncWatch, runner: asyncio.Runner) -> None:
        self._watch = watch
        self._run = runner.run

    def __enter__(self) -> _Watch:
        self._run(self._watch.__aenter__())
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._run(self._watch.__aexit__(kind, value, traceback))

    def __iter__(self) -> _Watch:
        return self

    def __next__(self) -> Event:
        try:
            return self._run(self._watch.__anext__())
        except StopAsyncIteration:
            raise StopIteration from None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._watch, name)

    def next(self, timeout_seconds: float | None = None) -> Event | None:
        return self._run(self._watch.next(timeout_seconds))


class _Client:
    def __init__(
        self, kind: type[AsyncClient | AsyncControl], *arguments: Any, **options: Any
    ) -> None:
        self._runner = asyncio.Runner(loop_factory=CheckedLoop)
        self._client = kind(*arguments, **options)
        try:
            self._runner.run(self._client.__aenter__())
        except BaseException:
            self._runner.close()
            raise

    def __enter__(self) -> _Client:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._runner.run(self._client.__aexit__(kind, value, traceback))
        self._runner.close()

    def __getattr__(self, name: str) -> Any:
        member = getattr(self._client, name)
        if not asyncio.iscoroutinefunction(member):
            return member
        return lambda *arguments, **options: self._runner.run(member(*arguments, **options))

    def watch(self, **options: Any) -> _Watch:
        assert isinstance(self._client, AsyncClient)
        return _Watch(self._client.watch(**options), self._runner)


def blocking(path: str | None = None, **options: Any) -> Client:
    """Return the blocking form."""
    return Client(path, **options)


def on_asyncio(path: str | None = None, **options: Any) -> Client:
    """Return asyncio's form, each call run to its end on a loop that stands still between them."""
    return cast(Client, _Client(AsyncClient, path, **options))


def control_on_asyncio(path: str | None = None, **options: Any) -> Control:
    """Return asyncio's form of the client that asks for changes."""
    return cast(Control, _Client(AsyncControl, path, **options))


FORMS: list[Form] = [blocking, on_asyncio]
CONTROL_FORMS: list[Callable[..., Control]] = [Control, control_on_asyncio]


def line(event: Event) -> str:
    """Return an event and its device as one line."""
    return f"{event.event} {event.name or ''}".strip()
