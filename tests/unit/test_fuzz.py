"""A short run of every fuzz target, the same each time: its corpus, and inputs made of that."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from itertools import islice
from types import FrameType
from typing import Any

import pytest

from tests.fuzz.corpus import DIRECTORY, corpus_file, read_corpus, write_corpus
from tests.fuzz.target import Cutter, Target
from tests.fuzz.targets import TARGETS
from tests.support.mutations import mutated
from tests.support.search import examples

pytestmark = pytest.mark.exhaustive

ALONE = [target for target in TARGETS.values() if not target.needs]
TIMES = 32
"""An input is repeated so many times to see how the work grows."""


def steps_of(check: Callable[[bytes], None], data: bytes) -> int:
    """Run a check, and return how many functions it called, those in C included."""
    steps = 0

    def count(frame: FrameType, event: str, argument: Any) -> None:
        nonlocal steps
        steps += event in ("call", "c_call")

    before = sys.getprofile()
    sys.setprofile(count)
    try:
        check(data)
    finally:
        sys.setprofile(before)
    return steps


def inputs_of(target: Target) -> Iterator[bytes]:
    """Yield the corpus, and mutations of it."""
    corpus = read_corpus(target.name)
    yield from corpus
    count = round(examples(2) * min(4 * target.share, 1.0))
    yield from islice(mutated(corpus, target.words, target.most_bytes), count)


@pytest.mark.parametrize("target", ALONE, ids=[target.name for target in ALONE])
def test_any_input_holds_what_the_target_promises_in_few_steps(target: Target) -> None:
    """No input raises what is not declared, and none takes more calls than its length allows."""
    fixed, each = target.steps
    for data in inputs_of(target):
        steps = steps_of(target.check, data)
        assert steps <= fixed + each * len(data), f"{steps} calls for {len(data)} bytes: {data!r}"


@pytest.mark.parametrize("target", ALONE, ids=[target.name for target in ALONE])
def test_input_that_is_repeated_takes_work_in_proportion(target: Target) -> None:
    """So many times the same input takes no more than so many times the calls."""
    for data in read_corpus(target.name)[-3:]:
        once = steps_of(target.check, data)
        assert steps_of(target.check, data * TIMES) <= 2 * TIMES * (once + target.steps[0])


def test_each_target_has_a_small_corpus() -> None:
    """There is a file for each target and no other, of a few KB, and no input twice."""
    assert {path.stem for path in DIRECTORY.iterdir()} == set(TARGETS)
    for name in TARGETS:
        inputs = read_corpus(name)
        assert inputs
        assert len(set(inputs)) == len(inputs)
        assert corpus_file(name).stat().st_size <= 64 * 1024


def test_corpus_is_written_as_read_and_keeps_what_has_a_comment(
    tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An input that once failed stays when others are chosen."""
    monkeypatch.setattr("tests.fuzz.corpus.DIRECTORY", tmp_path)
    corpus_file("a").write_text("# a defect\nb'\\xff\\n'\nb'old'\n")
    write_corpus("a", [b"new'\0", b"\xff\n", b""])
    assert read_corpus("a") == [b"\xff\n", b"", b"new'\0"]


def test_cutter_is_empty_past_the_end() -> None:
    """Every input means something."""
    cutter = Cutter(b"ab")
    assert (cutter.byte(), cutter.piece(5), cutter.byte(), cutter.rest()) == (97, b"b", 0, b"")
    assert list(Cutter(b"abc").pieces(0)) == [b"a", b"b", b"c"]
