"""remove_mdev: removes an mdev, which the kernel delays for as long as the device is open.

Writes <parent>/<uuid>/remove; to undo it, <parent>/mdev_supported_types/<type>/create
ABI    Documentation/ABI/testing/sysfs-bus-vfio-mdev
"""

from __future__ import annotations

from contextlib import nullcontext

from nodedevd.actions.plan import CreateMdev, RemoveMdev
from nodedevd.control.steps.base import AlreadySo, Overtaken, StepHost
from nodedevd.control.steps.create_mdev import CreateMdevHandler, remove, type_of


class RemoveMdevHandler:
    """Removes an mdev."""

    def do(self, step: RemoveMdev, host: StepHost) -> None:
        """Remove it, if it is still the one that was meant, and closed unless this is forced."""
        path = f"{step.parent}/{step.uuid}"
        if not host.exists(path):
            raise AlreadySo
        found = type_of(step.parent, step.uuid, host)
        if None not in (step.type, found) and found != step.type:
            raise Overtaken(0, f"it is another mdev now, of type {found}")
        with nullcontext() if host.forced else host.kept_closed(path):
            remove(step.parent, step.uuid, host)

    def undo(self, step: RemoveMdev, host: StepHost) -> None:
        """Create it again; its attributes have the driver's values then."""
        if step.type is None or host.exists(f"{step.parent}/{step.uuid}"):
            return
        try:
            CreateMdevHandler().do(CreateMdev(step.parent, step.type, step.uuid), host)
        except AlreadySo:
            return

    def can_undo(self, step: RemoveMdev) -> bool:
        """Return whether its type is known."""
        return step.type is not None

    def done(self, step: RemoveMdev, host: StepHost) -> bool:
        """Return whether it is gone."""
        return not host.exists(f"{step.parent}/{step.uuid}")
