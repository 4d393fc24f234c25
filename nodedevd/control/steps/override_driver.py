"""override_driver: reserves a device for one driver, or for any that matches.

Writes <device>/driver_override
ABI    Documentation/ABI/testing/sysfs-bus-pci
"""

from __future__ import annotations

import errno

from nodedevd.actions.plan import OverrideDriver
from nodedevd.control.steps.base import AlreadySo, Overtaken, StepHost, StepRefused
from nodedevd.control.steps.drivers import OVERRIDE, override_of, write_override


class OverrideDriverHandler:
    """Writes driver_override."""

    def do(self, step: OverrideDriver, host: StepHost) -> None:
        """Write it, if it is still as the plan found it."""
        if not host.exists(f"{step.device}/{OVERRIDE}"):
            raise StepRefused(errno.ENOENT, f"{step.device} no longer has {OVERRIDE} (ENOENT)")
        found = override_of(step.device, host)
        if found == step.driver:
            raise AlreadySo
        if found != step.before:
            detail = f"{OVERRIDE} shows {found or 'nothing'}, where the plan found"
            raise Overtaken(0, f"{detail} {step.before or 'nothing'}")
        write_override(step.device, step.driver, host)

    def undo(self, step: OverrideDriver, host: StepHost) -> None:
        """Write what it was before, unless another writer has changed it since."""
        if self.done(step, host):
            write_override(step.device, step.before, host)

    def can_undo(self, step: OverrideDriver) -> bool:
        """Return True."""
        return True

    def done(self, step: OverrideDriver, host: StepHost) -> bool:
        """Return whether it shows this driver."""
        if not host.exists(f"{step.device}/{OVERRIDE}"):
            return False
        return override_of(step.device, host) == step.driver
