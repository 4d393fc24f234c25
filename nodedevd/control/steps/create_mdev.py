"""create_mdev: creates an mdev, which takes one write of its uuid.

Writes <parent>/mdev_supported_types/<type>/create; to undo it, <parent>/<uuid>/remove
ABI    Documentation/driver-api/vfio-mediated-device.rst
"""

from __future__ import annotations

import errno
from typing import Final

from nodedevd.actions.plan import CreateMdev
from nodedevd.control.steps.base import FULL, AlreadySo, Overtaken, StepHost, StepRefused, describe
from nodedevd.host.mdev_paths import MDEV_DEVICES, MDEV_TYPES

NOT_YET: Final = frozenset({errno.EAGAIN})
"""Older kernels answer it while an mdev of this uuid is still being created or removed."""


class CreateMdevHandler:
    """Creates an mdev."""

    def do(self, step: CreateMdev, host: StepHost) -> None:
        """Create it; EEXIST of the same parent and type is what was asked for."""
        try:
            host.write(create_path(step.parent, step.type), step.uuid, retried=NOT_YET)
        except OSError as error:
            if error.errno == errno.EEXIST:
                if type_of(step.parent, step.uuid, host) == step.type:
                    raise AlreadySo from None
                raise Overtaken(errno.EEXIST, _who_has(step.uuid, host)) from None
            refusal = Overtaken if error.errno in FULL else StepRefused
            raise refusal(error.errno or 0, _reason(step, host, error)) from None

    def undo(self, step: CreateMdev, host: StepHost) -> None:
        """Remove it, unless it has a type that this step did not give it."""
        if self.done(step, host):
            with host.kept_closed(f"{step.parent}/{step.uuid}"):
                remove(step.parent, step.uuid, host)

    def can_undo(self, step: CreateMdev) -> bool:
        """Return True."""
        return True

    def done(self, step: CreateMdev, host: StepHost) -> bool:
        """Return whether it exists, with this type."""
        return type_of(step.parent, step.uuid, host) == step.type


def create_path(parent: str, type_id: str) -> str:
    """Return the attribute that takes the uuid of a new mdev."""
    return f"{parent}/{MDEV_TYPES}/{type_id}/create"


def type_of(parent: str, uuid: str, host: StepHost) -> str | None:
    """Return the id of an mdev's type; None without the mdev, and while it is being removed."""
    target = host.readlink(f"{parent}/{uuid}/mdev_type")
    return None if target is None else target.rpartition("/")[2]


def remove(parent: str, uuid: str, host: StepHost) -> None:
    """Remove an mdev that exists; it is success if it goes away meanwhile.

    Raises StepRefused.
    """
    path = f"{parent}/{uuid}"
    try:
        host.write(f"{path}/remove", "1", retried=NOT_YET | {errno.EBUSY})
    except OSError as error:
        if error.errno not in (errno.ENOENT, errno.ENODEV):
            raise StepRefused(error.errno or 0, describe(error)) from None
        # Somebody else removes it, and what the kernel takes away last is the directory.
        for _ in host.polled(seconds=2):
            if not host.exists(path):
                return
        raise StepRefused(
            errno.EBUSY,
            "another process is removing it, and that waits until whoever has it open closes it",
        ) from None


def _who_has(uuid: str, host: StepHost) -> str:
    path = host.readlink(f"{MDEV_DEVICES}/{uuid}")
    if path is None:
        return f"the uuid {uuid} is taken by an mdev that is being removed (EEXIST)"
    return f"the uuid {uuid} is taken: {path} (EEXIST)"


def _reason(step: CreateMdev, host: StepHost, error: OSError) -> str:
    if error.errno == errno.ENOENT:
        if not host.exists(f"{step.parent}/{MDEV_TYPES}"):
            return f"{step.parent} is no longer an mdev parent (ENOENT)"
        return f"{step.parent} no longer has the type {step.type} (ENOENT)"
    return describe(error)
