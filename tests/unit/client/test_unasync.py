"""blocking.py is what `make blocking-client` makes of asynchronous.py."""

from __future__ import annotations

import pytest

from tests.support.unasync import COMMAND, SOURCE, TARGET, blocking


def test_blocking_client_is_current() -> None:
    """A change of the client on asyncio has to be followed by the command."""
    expected = blocking(SOURCE.read_text("utf-8"))
    if TARGET.read_text("utf-8") != expected:
        pytest.fail(f"{TARGET.name} is not what {SOURCE.name} makes; run: {COMMAND}")


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("async def f(self) -> AsyncWatch:", "def f(self) -> Watch:"),
        ("async with await self.open() as one:", "with self.open() as one:"),
        ("async for one in all:", "for one in all:"),
        ("Callable[[], Awaitable[AsyncConnection]]", "Callable[[], BlockingConnection]"),
        ("raise StopAsyncIteration", "raise StopIteration"),
        ("await_me = unawaited", None),
        ("import asyncio", None),
    ],
)  # fmt: skip
def test_every_word_has_a_blocking_form(source: str, expected: str | None) -> None:
    """One that has none is an error, not a module that does not work."""
    if expected is None:
        with pytest.raises(ValueError, match="REPLACEMENTS"):
            blocking(source)
    else:
        assert blocking(source) == expected
