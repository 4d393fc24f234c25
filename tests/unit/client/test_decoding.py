"""Decoding: what happens while msgspec prepares a type."""

from __future__ import annotations

import os
import signal
import typing
from typing import Literal

import msgspec
import pytest

from nodedevd.client.decoding import decode


class Answer(msgspec.Struct):
    """A type that msgspec has not seen yet; it hashes the Literal."""

    word: Literal["yes", "no"]


def test_ctrl_c_while_a_type_is_prepared_is_not_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    """The exception is raised although msgspec ignores those of a hash."""
    literal = type(Literal["yes", "no"])
    hashed = literal.__hash__
    interrupted: list[object] = []

    def interrupted_hash(this: typing.Any) -> int:
        if not interrupted:
            interrupted.append(this)
            os.kill(os.getpid(), signal.SIGINT)
        return hashed(this)

    monkeypatch.setattr(literal, "__hash__", interrupted_hash)
    with pytest.raises(KeyboardInterrupt):
        decode(msgspec.Raw(b'{"word":"yes"}'), Answer)
    assert interrupted
