"""Runs what a method answers to its end, without a connection."""

from __future__ import annotations

from collections.abc import Awaitable, Generator
from typing import Any

from nodedevd.server.reply_cache import Cacheable, Shared
from nodedevd.server.varlink.answers import NO_REPLY, Later, Text
from nodedevd.steps import finish

_HEAD = b'{"parameters":'
_TAIL = b"}\0"


async def settled(answer: Any) -> bytes:
    """Return the parameters that an answer comes to."""
    while not isinstance(answer, (bytes, Text)):
        if isinstance(answer, Later):
            answer = answer.answer(await answer.awaited)
        elif isinstance(answer, Awaitable):
            answer = await answer
        else:
            answer = without_waiting(answer)
    parameters = without_waiting(answer)
    assert isinstance(parameters, bytes)
    return parameters


def without_waiting(answer: Any) -> Any:
    """Return the parameters that an answer comes to, or the first ones of a stream.

    An answer that has to wait is returned as it is.
    """
    while isinstance(answer, (Generator, Cacheable)):
        answer = answer.answer if isinstance(answer, Cacheable) else finish(answer)
    if isinstance(answer, Shared):
        return answer.joined()
    if isinstance(answer, Text):
        return b"".join(answer.messages()).removeprefix(_HEAD).removesuffix(_TAIL)
    if hasattr(answer, "next"):
        while (chunk := answer.next()) is NO_REPLY:
            pass
        return chunk.parameters
    return answer
