"""finding: one problem of a host, and the report of all of them."""

from __future__ import annotations

from typing import Literal, TypeAlias

import msgspec

Severity: TypeAlias = Literal["problem", "warning", "note"]
"""problem: something is broken; warning: something will not work, or may be wrong; note: it may
be intended"""

SEVERITIES: tuple[Severity, ...] = ("problem", "warning", "note")

Code: TypeAlias = Literal[
    "no-mdev",
    "iommu-off",
    "unsafe-noiommu",
    "no-virtual-functions",
    "function-wrong-driver",
    "function-without-types",
    "card-wrong-driver",
    "card-without-types",
    "none-available",
    "gvt-without-parent",
    "parent-without-types",
    "parent-not-listed",
    "parent-dangling",
    "queues-reserved",
    "mdev-incomplete",
    "mdev-removing",
    "mdev-without-driver",
    "definition-without-parent",
    "definition-not-a-parent",
    "definition-without-type",
    "definition-without-capacity",
    "definition-uuid-in-use",
    "definition-ambiguous",
    "definition-differs",
    "definition-not-started",
    "definition-unreadable",
    "autostart-never-runs",
    "mdevctl-refuses",
    "script-not-run",
    "writable-by-everyone",
    "layout-wrong",
    "layout-drifted",
    "layout-blocked",
    "layout-pending",
    "card-without-driver",
    "function-dead",
    "attribute-unreadable",
    "directory-unreadable",
    "read-hangs",
    "not-root",
    "defect",
    "udevd-not-running",
    "no-daemon",
    "socket-refused",
    "several-daemons",
    "daemon-other-host",
    "daemon-other-version",
    "daemon-not-root",
    "daemon-differs",
    "no-events",
    "kernel-events",
    "events-lost",
    "events-missed",
]
"""A code keeps its meaning; texts may change."""


class Finding(msgspec.Struct, frozen=True):
    """One problem, warning or note."""

    severity: Severity
    code: Code
    device: str | None
    """name of the affected device, None for the host or the daemon"""
    card: str | None
    """name of the device's card: of a virtual function its physical function, of an mdev that
    of its parent, None if that is absent; otherwise the device itself"""
    text: str
    """what is so now, and why that is wrong"""
    advice: str
    """what to do next"""
    mend: tuple[str, ...] = ()
    """shell commands that do so, for root, in this order"""


class Report(msgspec.Struct, frozen=True):
    """The findings of `nodedevctl doctor`."""

    sysroot: str
    container: str | None
    """the container whose view was checked, such as docker; None outside of containers"""
    devices: int = msgspec.field(name="device_count")
    """number of devices checked"""
    findings: tuple[Finding, ...]
    """the most severe first"""

    @property
    def healthy(self) -> bool:
        """Whether there is no problem and no warning."""
        return all(one.severity == "note" for one in self.findings)
