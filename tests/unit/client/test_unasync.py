"""blocking.py is what `make blocking-client` makes of asynchronous.py."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.unasync import COMMAND, DIRECTORY, TARGETS, blocking


@pytest.mark.parametrize("source", TARGETS, ids=lambda source: source.stem)
def test_blocking_client_is_current(source: Path) -> None:
    """A change of the client on asyncio has to be followed by the command."""
    target = TARGETS[source]
    if target.read_text("utf-8") != blocking(source.read_text("utf-8")):
        pytest.fail(f"{target.name} is not what {source.name} makes; run: {COMMAND}")


def test_every_module_on_asyncio_has_a_blocking_form() -> None:
    """A new one is put into TARGETS; the backends are two."""
    backend = DIRECTORY / "asynchronous_backend.py"
    assert set(DIRECTORY.glob("asynchronous*.py")) == {backend, *TARGETS}


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
