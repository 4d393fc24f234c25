"""A recording gives nobody away: every kind of value, in every place, is gone in all its forms."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from nodedevd.host.archive.disk import unpack
from nodedevd.host.archive.text import read_archive
from nodedevd.host.sysroot import Sysroot
from nodedevd.tree.read import scan
from nodedevd.tree.record import record
from tests.support.hosts import HOSTS, host_file
from tests.support.secrets import KINDS, hidden_in, plant

pytestmark = pytest.mark.exhaustive

OTHER_LENGTHS = ("ipv4", "ipv6", "label")
"""Addresses of documentation have a length of their own, letters beyond ASCII in names as well."""


def contents(archive: Path, directory: Path) -> bytes:
    """Return the text of an archive, and all that it holds, without escapes."""
    unpack(read_archive(str(archive)), str(directory))
    parts = [archive.read_bytes()]
    for path in sorted(directory.rglob("*")):
        parts.append(bytes(path.relative_to(directory)))
        if path.is_symlink():
            parts.append(str(path.readlink()).encode(errors="surrogateescape"))
        elif path.is_file():
            parts.append(path.read_bytes())
    return b"\n".join(parts)


@pytest.mark.parametrize("kind", KINDS)
def test_value_is_gone_from_every_place_in_every_form(kind: str, tmp_path: Path) -> None:
    """Upper case and lower case, with and without separators, as hex, in another order."""
    values = plant(tmp_path / "host", kind)
    assert len(values) == len(set(values)) > 300
    record(str(tmp_path / "host"), str(tmp_path / "host.ttar"))
    recorded = contents(tmp_path / "host.ttar", tmp_path / "copy")
    assert list(hidden_in(recorded, kind, values)) == []


@pytest.mark.parametrize("kind", KINDS)
def test_planted_values_are_in_a_raw_recording(kind: str, tmp_path: Path) -> None:
    """What the test above looks for is there, where readers look."""
    values = plant(tmp_path / "host", kind)
    record(str(tmp_path / "host"), str(tmp_path / "host.ttar"), raw=True)
    recorded = contents(tmp_path / "host.ttar", tmp_path / "copy")
    assert len({value for value, _ in hidden_in(recorded, kind, values)}) > 150


@pytest.mark.parametrize("kind", KINDS)
def test_tree_of_a_host_is_the_same_but_for_stand_ins(kind: str, tmp_path: Path) -> None:
    """Devices, values and faults are the same, and no two values have one stand-in."""
    plant(tmp_path / "host", kind)
    record(str(tmp_path / "host"), str(tmp_path / "host.ttar"))
    check_same(tmp_path / "host", tmp_path / "host.ttar", lengths_differ=kind in OTHER_LENGTHS)


@pytest.mark.parametrize("host", HOSTS)
def test_tree_of_a_sample_host_is_the_same_but_for_stand_ins(host: str, tmp_path: Path) -> None:
    """That holds for every kind of device."""
    record(str(host_file(host)), str(tmp_path / "host.ttar"))
    check_same(host_file(host), tmp_path / "host.ttar")


def check_same(original: Path, copy: Path, *, lengths_differ: bool = False) -> None:
    """Assert that a host and its recording have the same tree, but for stand-ins.

    As many different texts are in both: one value has one stand-in, and no two have the same.
    """
    before, after = (
        msgspec.to_builtins(list(scan(Sysroot(str(root))))) for root in (original, copy)
    )
    assert masked(before, lengths_differ) == masked(after, lengths_differ)
    assert len(set(texts_in(before))) == len(set(texts_in(after)))


def masked(value: Any, lengths_differ: bool) -> Any:
    """Return a value where every text has its form alone, and lists have one order."""
    if isinstance(value, dict):
        return {key: masked(one, lengths_differ) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return sorted((masked(one, lengths_differ) for one in value), key=str)
    if not isinstance(value, str):
        return value
    if lengths_differ:
        return re.sub("[^/]+", "x", value)
    return re.sub("[0-9a-zA-Z]", "x", value)


def texts_in(value: Any) -> Iterator[str]:
    """Yield all texts in a value."""
    if isinstance(value, dict | list | tuple):
        for one in value.values() if isinstance(value, dict) else value:
            yield from texts_in(one)
    elif isinstance(value, str):
        yield value
