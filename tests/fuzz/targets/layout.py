"""A file of a layout: TOML that an administrator has written, or somebody else."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from typing import Any

from nodedevd.layout.check import check_layout
from nodedevd.layout.compare import compare_layout
from nodedevd.layout.files import PROBLEMS, declared, text_of
from nodedevd.layout.lines import key_lines
from nodedevd.layout.problem import Problem
from nodedevd.layout.wanted import KeyPath
from nodedevd.model.snapshot import Snapshot
from tests.fuzz.target import Target

_NOTHING = Snapshot()


def check(data: bytes) -> None:
    """It has problems, each with its place, or it has cards; and every key has its line."""
    problems: list[Problem] = []
    text = text_of("fuzz.toml", data, problems)
    found = declared([] if text is None else [("fuzz.toml", text)], problems)
    last = data.count(b"\n") + 1
    assert len(found.problems) <= PROBLEMS + 1 + len(found.layout.cards)
    for one in found.problems:
        assert one.message
        assert one.instead
        assert len(str(one)) <= 8 * len(data) + 1000
        assert one.line is None or 1 <= one.line <= last
    for card in found.layout.cards:
        assert 1 <= card.line <= last
        assert all(1 <= line <= last for line in card.lines.values())
    for answer in compare_layout(found.layout, _NOTHING):
        assert answer.state == "pending"
    assert len(check_layout(found.layout, _NOTHING)) == len(found.layout.cards)
    if text is not None:
        _check_lines(text)


def _check_lines(text: str) -> None:
    try:
        tables = tomllib.loads(text)
        lines = key_lines(text)
    except (tomllib.TOMLDecodeError, RecursionError):
        return
    assert set(lines) == set(_paths(tables, ()))


def _paths(value: Any, path: KeyPath) -> Iterator[KeyPath]:
    if path:
        yield path
    if isinstance(value, dict):
        for key, one in value.items():
            yield from _paths(one, (*path, key))
    elif isinstance(value, list):
        for number, one in enumerate(value):
            yield from _paths(one, (*path, number))


TARGET = Target(
    "layout",
    check,
    reads=("nodedevd/layout/files.py", "nodedevd/layout/lines.py", "nodedevd/layout/entry.py"),
    words=(
        b'[[card]]\naddress = "0000:3b:00.0"\n',
        b'[[card]]\nvendor = "0x10de"\nproduct = "0x25b6"\n',
        b'slots = "pci0000:00/00.0"\n',
        b'parent = "mtty"\n',
        b'virtual_functions = "all"\n',
        b'driver = "vfio-pci"\n',
        b"spare = 1\n",
        b"remove_unnamed = true\n",
        b'vgpus = [{ type = "a", count = 2, placement = [0, 1], functions = [0, 1] }]\n',
        b'[[card.mdevs]]\nuuid = "4b20d080-1b54-4048-85b3-a6a62d165c01"\ntype = "a"\n',
        b'attributes = ["a=b"]\n',
        b'"""',
        b"'''",
        b"a.b.c = 1\n",
        b"{ a = 1 }",
        b"# [[card]]\n",
        b"07:32:00",
        b"\xff",
    ),
    most_bytes=1024,
    steps=(20_000, 400),
    share=2.0,
)
