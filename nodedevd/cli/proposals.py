"""Words that a shell proposes, from what the daemon, or a scan, answers in JSON."""

from __future__ import annotations

import posixpath
from collections.abc import Iterable, Iterator, Mapping
from typing import Final, NamedTuple

from nodedevd.cli.quick_call import Row
from nodedevd.names import is_uuid, parse_pci
from nodedevd.text import printable


class Question(NamedTuple):
    """What to ask for one kind of word: a method, and its parameter `capabilities`."""

    method: str
    capabilities: tuple[str, ...] | None = None


QUESTIONS: Final[Mapping[str, Question]] = {
    "device": Question("List"),
    "type": Question("Snapshot", ("mdev_parent", "vgpu")),
    "driver": Question("Snapshot", ("pci",)),
}
"""By the kind of word."""


def proposals(kind: str, rows: Iterable[Row], typed: str) -> dict[str, str]:
    """Return the words of a kind that begin with what was typed, each with a short description.

    Left out is what a shell cannot read: a blank or a control character in the text of a driver.
    """
    found = {"device": _devices, "type": _types, "driver": _drivers}[kind](rows, typed)
    return {
        word: printable(about)
        for word, about in found
        if word.startswith(typed) and printable(word) == word and " " not in word
    }


def _devices(rows: Iterable[Row], typed: str) -> Iterator[tuple[str, str]]:
    """Yield the names of devices and, once something is typed, UUIDs and PCI addresses."""
    for row in rows:
        about = ", ".join(row["capabilities"])
        yield row["name"], about
        sysname = posixpath.basename(row["path"] or "")
        if typed and (is_uuid(sysname) or parse_pci(sysname) is not None):
            yield sysname, about


def _types(rows: Iterable[Row], typed: str) -> Iterator[tuple[str, str]]:
    """Yield the IDs of vGPU types and, without blanks, their names."""
    for row in rows:
        for capability in row["capabilities"]:
            current = capability.get("current")
            offered = [*(capability.get("types") or ()), *(capability.get("creatable") or ())]
            for one in [*offered, current] if current else offered:
                name = one.get("type_name")
                yield one["type"], name or ""
                if name is not None:
                    # The vendor's word in front is optional, and bash splits at blanks.
                    yield name.rpartition(" ")[2], one["type"]


def _drivers(rows: Iterable[Row], typed: str) -> Iterator[tuple[str, str]]:
    """Yield the drivers that functions have, and that of VFIO."""
    yield "vfio-pci", ""
    for row in rows:
        if row["driver"] is not None:
            yield row["driver"], ""
