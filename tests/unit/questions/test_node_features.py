"""node_features: labels by the rules of Kubernetes, in a file that NFD does not ignore."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from pathlib import Path

import pytest

from nodedevd.questions.node_features import FILE_BYTES, node_features
from nodedevd.questions.summary import CardRoom, HostRoom, TypeName, TypeRoom, host_room
from tests.support.ctl import on
from tests.support.golden import Golden
from tests.support.hosts import HOSTS, snapshot_of

_NAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?")
_VALUE = re.compile(r"([A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?)?")


def labels(text: str) -> dict[str, str]:
    """Return the labels of a file, each of which Kubernetes takes."""
    found = dict(line.split("=", 1) for line in text.splitlines() if not line.startswith("#"))
    for name, value in found.items():
        assert _NAME.fullmatch(name), name
        assert _VALUE.fullmatch(value), value
    assert len(text.encode()) <= FILE_BYTES
    return found


@pytest.mark.parametrize("host", HOSTS)
def test_labels_of_every_sample_host_are_labels(host: str) -> None:
    """None breaks a rule."""
    assert labels(node_features(host_room(snapshot_of(host))).text)["nodedevd.complete"] == "true"


def test_labels_of_a_sample_host(golden: Golden) -> None:
    """As a person has read them."""
    text = on("vgpu-sriov").out("nfd", "--expires", "0")
    golden.check("vgpu-sriov/nfd.txt", text)
    assert labels(text)["nodedevd.vgpu.nvidia-746.available"] == "2"


def test_expiry_is_said_before_the_labels() -> None:
    """In the form that NFD parses."""
    text = node_features(
        host_room(snapshot_of("vgpu-pf")), datetime(2026, 11, 28, 4, tzinfo=UTC)
    ).text
    assert text.splitlines()[1] == "# +expiry-time=2026-11-28T04:00:00Z"


def test_unknown_count_is_no_zero() -> None:
    """A card that cannot be read makes the sum unknown."""
    cards = (
        CardRoom("a", types=(TypeRoom("t", 3, 3, 0),)),
        CardRoom("b", types=(TypeRoom("t", None, 0, 1),)),
    )
    found = labels(node_features(HostRoom(2, {}, {"t": TypeName("T 1")}, cards)).text)
    assert found["nodedevd.vgpu.t.available"] == "unknown"
    assert (found["nodedevd.vgpu.t.active"], found["nodedevd.vgpu.t.name"]) == ("1", "T-1")


def test_too_many_types_are_left_out_and_that_is_said() -> None:
    """A file that is too large would be ignored as a whole."""
    types = tuple([TypeRoom(f"type-{number}", 1, 1, 0) for number in range(3000)])
    text = node_features(HostRoom(1, {}, {}, (CardRoom("a", types=types),))).text
    assert labels(text)["nodedevd.complete"] == "false"


def test_names_beyond_the_rules_are_made_to_fit() -> None:
    """Whatever a driver calls its types."""
    types = (TypeRoom("-ä b/" + "x" * 99 + "-", 1, 1, 0),)
    room = HostRoom(1, {}, {types[0].id: TypeName("ü" * 99)}, (CardRoom("a", types=types),))
    assert len(labels(node_features(room).text)) == 6


def test_file_is_replaced_in_one_step(tmp_path: Path) -> None:
    """Nothing else is left in the directory; a missing one is an error."""
    path = tmp_path / "nodedevd"
    path.write_text("old")
    on("vgpu-pf").run("nfd", "--output", str(path))
    assert "nodedevd.vgpu.nvidia-283.available=4" in path.read_text()
    assert [one.name for one in tmp_path.iterdir()] == ["nodedevd"]
    assert path.stat().st_mode & 0o777 == 0o644
    assert "does not exist" in on("vgpu-pf").run("nfd", "--output", "/nowhere/x", status=1).stderr
