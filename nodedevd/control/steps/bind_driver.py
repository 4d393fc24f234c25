"""bind_driver: binds a device to a driver, or has the matching ones probe it.

Writes /sys/bus/<bus>/drivers/<driver>/bind, or /sys/bus/<bus>/drivers_probe, and reads back which
       driver the device has: drivers_probe reports success whatever comes of it
ABI    Documentation/ABI/testing/sysfs-bus-pci
"""

from __future__ import annotations

from typing import Final

from msgspec.structs import replace

from nodedevd.actions.plan import BindDriver
from nodedevd.control.steps.base import AlreadySo, Overtaken, StepHost, StepRefused, describe
from nodedevd.control.steps.drivers import bind, driver_of, unbind

_PROBE: Final = "drivers_probe"


class BindDriverHandler:
    """Binds a device."""

    def do(self, step: BindDriver, host: StepHost) -> BindDriver | None:
        """Bind it, if it has no driver. Returns the step with the driver that a probe has found."""
        found = driver_of(step.device, host)
        if found is not None:
            if found == step.driver or (step.driver is None and found != step.not_driver):
                raise AlreadySo
            raise Overtaken(0, f"{found} has taken it")
        if step.driver is not None:
            bind(step.device, step.bus, step.driver, host)
            return None
        try:
            host.write(f"/sys/bus/{step.bus}/{_PROBE}", step.device.rpartition("/")[2])
        except OSError as error:
            raise StepRefused(error.errno or 0, f"{_PROBE}: {describe(error)}") from None
        found = driver_of(step.device, host)
        if step.not_driver is not None and found == step.not_driver:
            detail = (
                f"{step.not_driver} takes it again, since it was given its ids, by an option of the"
                " module or by new_id; bind it to a driver by name instead"
            )
            raise StepRefused(0, detail)
        return None if found is None else replace(step, found=found)

    def undo(self, step: BindDriver, host: StepHost) -> None:
        """Unbind it, unless it has another driver by now.

        Raises InUseNow if somebody has it open.
        """
        found = driver_of(step.device, host)
        if found is not None and (step.driver or step.found) in (None, found):
            unbind(step.device, step.bus, found, host, forced=False)

    def can_undo(self, step: BindDriver) -> bool:
        """Return True."""
        return True

    def done(self, step: BindDriver, host: StepHost) -> bool | None:
        """Return whether it has the driver; None if any would do, and it has none."""
        if not host.exists(step.device):
            return False
        found = driver_of(step.device, host)
        if step.driver is not None:
            return found == step.driver
        if found is None:
            return None
        return found != step.not_driver
