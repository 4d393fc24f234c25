"""output: a reader that leaves early is no error, and Ctrl-C repeats nothing."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import IO, Any

import pytest

from nodedevd.cli import output


@contextmanager
def piped(monkeypatch: pytest.MonkeyPatch) -> Iterator[IO[bytes]]:
    """Return the end of a pipe from which standard output is read."""
    read, write = os.pipe()
    with open(read, "rb", buffering=0) as reader, open(write, "w", encoding="utf-8") as stream:
        monkeypatch.setattr(sys, "stdout", stream)
        monkeypatch.setattr(sys, "__stdout__", stream)
        output.survive_closed_pipes()
        yield reader
        sys.stdout.close()


def test_reader_that_leaves_is_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is written afterwards is discarded, as text and as bytes."""
    with piped(monkeypatch) as reader:
        print("one", flush=True)
        assert reader.read(100) == b"one\n"
        assert not output.is_abandoned()
        reader.close()
        print("two" * 10_000, flush=True)
        sys.stdout.buffer.write(b"three" * 10_000)
        sys.stdout.flush()
        assert output.is_abandoned()


def test_ctrl_c_right_after_a_write_repeats_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Python raises KeyboardInterrupt between any two steps of its own code."""

    def interrupt(frame: FrameType, event: str, argument: Any) -> Any:
        if event == "return" and frame.f_code.co_filename == output.__file__:
            sys.settrace(None)
            raise KeyboardInterrupt
        return interrupt

    with piped(monkeypatch) as reader:
        before = sys.gettrace()
        sys.settrace(interrupt)
        try:
            with pytest.raises(KeyboardInterrupt):
                print("one", flush=True)
        finally:
            sys.settrace(before)
        sys.stdout.flush()
        print("two", flush=True)
        assert reader.read(100) == b"one\ntwo\n"
