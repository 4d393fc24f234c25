"""Names of vGPU types are known as long as the host runs, also of a card that is full."""

from __future__ import annotations

from pathlib import Path

import pytest

from nodedevd.control.type_names import TypeNames
from tests.support.played_card import PlayedType, TimeSliced, readings

NAMES = {"1": "NVIDIA X1-4Q", "2": "NVIDIA X1-24Q"}


def test_names_that_were_seen_are_kept(tmp_path: Path) -> None:
    """By the next start of the service, too; a file that is malformed is as none."""
    card = TimeSliced([PlayedType("4Q", 4, 12), PlayedType("24Q", 24, 2)], 2, memory=48)
    directory = str(tmp_path / "control")
    assert TypeNames(directory).learnt(readings(card, vendor_vfio=True)) == NAMES
    nothing = readings(TimeSliced([], 1), vendor_vfio=True)
    assert TypeNames(directory).learnt(nothing) == NAMES
    (tmp_path / "control/type-names").write_bytes(b"\xff{")
    assert TypeNames(directory).learnt(nothing) == {}


def test_names_are_written_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not at each look."""
    card = TimeSliced([PlayedType("4Q", 4, 12)], 2, memory=48)
    names = TypeNames(str(tmp_path / "control"))
    names.learnt(readings(card, vendor_vfio=True))
    before = (tmp_path / "control/type-names").stat().st_ino
    names.learnt(readings(card, vendor_vfio=True))
    assert (tmp_path / "control/type-names").stat().st_ino == before
