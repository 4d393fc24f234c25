"""refusal: why a device cannot be assigned."""

from __future__ import annotations

from typing import Literal, TypeAlias

from nodedevd.errors import NotAssignable

NotAssignableReason: TypeAlias = Literal[
    "kind",
    "no-address",
    "no-answer",
    "inactive",
    "incomplete",
    "removing",
    "exists",
    "no-driver",
    "api-unknown",
    "api-unsupported",
    "without-mdev",
    "bridge",
    "behind-controller",
    "vfs-enabled",
    "mdevs-active",
    "no-iommu-group",
    "no-iommu",
    "no-profile",
]
"""Why a device cannot be assigned; `docs/protocol.md` explains each."""


def not_assignable(name: str, reason: NotAssignableReason, detail: str) -> NotAssignable:
    """Return the error, with a sentence that says what to do."""
    return NotAssignable(name, reason, detail)
