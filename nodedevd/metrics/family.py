"""family: metrics of one name, as values."""

from __future__ import annotations

from typing import Literal, TypeAlias

import msgspec

Kind: TypeAlias = Literal["gauge", "counter", "info"]


class Sample(msgspec.Struct, frozen=True, gc=False):
    """One value. An unknown value has no sample."""

    labels: dict[str, str]
    """labels by name"""
    value: float
    """the value; 1 for an info"""


class Family(msgspec.Struct, frozen=True, gc=False):
    """The metrics of one name."""

    name: str
    """without the suffix `_total` of a counter, or `_info`"""
    type: Kind
    """gauge: goes up and down; counter: begins at 0 with the daemon, and goes up; info: labels
    alone"""
    help: str
    """what is counted, as a sentence"""
    samples: tuple[Sample, ...]
    """one for each combination of labels that has a known value"""

    @property
    def sample_name(self) -> str:
        """The name with the suffix of its type, by which it is queried."""
        return self.name + {"gauge": "", "counter": "_total", "info": "_info"}[self.type]


class Metrics(msgspec.Struct, frozen=True):
    """What `nodedevctl metrics --json` prints."""

    generation: int
    families: tuple[Family, ...]
    """families that were counted, also those without samples"""
    missing: tuple[str, ...]
    """families that are left out, each with the reason, as sentences"""


def single(name: str, kind: Kind, text: str, value: float) -> Family:
    """Return a family of one value, without labels."""
    return Family(name, kind, text, (Sample({}, value),))
