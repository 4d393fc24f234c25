"""container: what is no finding in a container, or only a note.

A container sees the devices of its host, but has no udevd, no services and no mdevctl of its own,
and its manager hides parts of /sys.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import msgspec

from nodedevd.questions.doctor.finding import Code, Finding

_THE_HOSTS: frozenset[Code] = frozenset(
    {
        "udevd-not-running",
        "autostart-never-runs",
        "mdevctl-refuses",
        "script-not-run",
        "writable-by-everyone",
    }
)
"""Left out: the host has them, or lacks them."""
_HIDDEN: frozenset[Code] = frozenset({"directory-unreadable", "attribute-unreadable"})
"""Notes: the manager of the container may hide them."""


def calm(findings: Iterable[Finding]) -> Iterator[Finding]:
    """Yield the findings that a container can do something about."""
    for one in findings:
        if one.code in _THE_HOSTS or (one.code, one.severity) == ("iommu-off", "note"):
            continue
        if one.code == "no-daemon":
            yield msgspec.structs.replace(
                one,
                severity="note",
                advice="Mount the host's socket into the container to ask the host's daemon;"
                " without one, nodedevctl works with --sysroot /.",
                mend=(),
            )
        elif one.code in _HIDDEN:
            yield msgspec.structs.replace(one, severity="note")
        else:
            yield one
