"""unbind_driver: takes a device away from its driver.

Writes /sys/bus/<bus>/drivers/<driver>/unbind; to undo it, <device>/driver_override and bind
ABI    Documentation/ABI/testing/sysfs-bus-pci

The kernel delays it for as long as the device is open through VFIO.
"""

from __future__ import annotations

from nodedevd.actions.plan import UnbindDriver
from nodedevd.control.steps.base import AlreadySo, Overtaken, StepHost, StepRefused
from nodedevd.control.steps.drivers import bind, driver_of, override_of, unbind, write_override


class UnbindDriverHandler:
    """Unbinds a device."""

    def do(self, step: UnbindDriver, host: StepHost) -> None:
        """Unbind it, if it still has this driver."""
        found = driver_of(step.device, host)
        if found is None:
            raise AlreadySo
        if found != step.driver:
            raise Overtaken(0, f"its driver is {found}, where the plan found {step.driver}")
        unbind(step.device, step.bus, step.driver, host, forced=host.forced)

    def undo(self, step: UnbindDriver, host: StepHost) -> None:
        """Bind it again, unless it has this driver already.

        A driver does not take a device that is reserved for another one, and this step is undone
        before the reservation is: so that is taken back here, too. Raises StepRefused if the device
        has another driver by now.
        """
        found = driver_of(step.device, host)
        if found == step.driver or not host.exists(step.device):
            return
        if found is not None:
            raise StepRefused(0, f"its driver is {found} by now")
        taken_with = None if step.override is None else step.driver
        if override_of(step.device, host) != taken_with:
            write_override(step.device, taken_with, host)
        try:
            bind(step.device, step.bus, step.driver, host)
        finally:
            if override_of(step.device, host) != step.override:
                write_override(step.device, step.override, host)

    def can_undo(self, step: UnbindDriver) -> bool:
        """Return True."""
        return True

    def done(self, step: UnbindDriver, host: StepHost) -> bool | None:
        """Return whether it has no driver; None if it has another one, False if it has gone."""
        if not host.exists(step.device):
            return False
        found = driver_of(step.device, host)
        return True if found is None else False if found == step.driver else None
