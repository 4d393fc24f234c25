"""drivers: what the steps that bind and unbind have in common.

Reads  <device>/driver, <device>/driver_override
Writes <device>/driver_override
ABI    Documentation/ABI/testing/sysfs-bus-pci; drivers/base/driver.c, driver_set_override
"""

from __future__ import annotations

import errno
from contextlib import nullcontext
from typing import Final

from nodedevd.control.steps.base import StepHost, StepRefused, describe
from nodedevd.control.steps.host_use import refuse_if_host_uses
from nodedevd.control.steps.virtual_functions import number_of

OVERRIDE: Final = "driver_override"
_NONE: Final = ("", "(null)")
"""What driver_override shows when nothing is set."""


def driver_of(device: str, host: StepHost) -> str | None:
    """Return the name of the driver that a device is bound to. Raises OSError."""
    target = host.readlink(f"{device}/driver")
    return None if target is None else target.rpartition("/")[2]


def override_of(device: str, host: StepHost) -> str | None:
    """Return what driver_override shows, None if nothing is set. Raises OSError."""
    text = (host.read(f"{device}/{OVERRIDE}") or "").strip()
    return None if text in _NONE else text


def write_override(device: str, driver: str | None, host: StepHost) -> None:
    """Write driver_override; None clears it, which takes one newline. Raises StepRefused."""
    try:
        host.write(f"{device}/{OVERRIDE}", f"{driver or ''}\n")
    except OSError as error:
        raise StepRefused(error.errno or 0, f"{OVERRIDE}: {describe(error)}") from None
    found = override_of(device, host)
    if found != driver:
        raise StepRefused(0, f"{OVERRIDE} shows {found or 'nothing'} after that")


def bind(device: str, bus: str, driver: str, host: StepHost) -> None:
    """Bind a device without a driver to one that matches. Raises StepRefused.

    To write to `bind` of the driver gives the reason of a probe that fails; `drivers_probe`
    takes everything, whatever comes of it.
    """
    try:
        host.write(f"/sys/bus/{bus}/drivers/{driver}/bind", device.rpartition("/")[2])
    except OSError as error:
        if driver_of(device, host) == driver:
            return
        if error.errno == errno.ENOENT:
            raise StepRefused(errno.ENOENT, f"the driver {driver} is no longer loaded") from None
        words = _WORDS.get(error.errno or 0)
        detail = describe(error) if words is None else words
        raise StepRefused(error.errno or 0, f"{driver}: {detail}") from None
    found = driver_of(device, host)
    if found != driver:
        raise StepRefused(0, f"the kernel reports success, and the driver is {found or 'none'}")


def unbind(device: str, bus: str, driver: str, host: StepHost, *, forced: bool) -> None:
    """Take a device away from the driver that it is bound to. Raises StepRefused, InUseNow."""
    if not forced:
        if number_of(device, host):
            raise StepRefused(0, "it has virtual functions enabled, which depend on its driver")
        refuse_if_host_uses([device], host, path=device, what="it")
    with nullcontext() if forced else host.kept_closed(device):
        try:
            host.write(f"/sys/bus/{bus}/drivers/{driver}/unbind", device.rpartition("/")[2])
        except OSError as error:
            if driver_of(device, host) is None:
                return
            raise StepRefused(error.errno or 0, f"{driver}: {describe(error)}") from None
    found = driver_of(device, host)
    if found is not None:
        raise StepRefused(0, f"the kernel reports success, and the driver is {found}")


_WORDS: Final = {
    errno.ENODEV: "the driver does not take this device, or failed to start it; dmesg has the"
    " reason (ENODEV)",
    errno.EBUSY: "the device is busy: it has virtual functions enabled, or a guest has another"
    " member of its IOMMU group; dmesg has the reason (EBUSY)",
    errno.EINVAL: "the driver cannot work with this device here; with VFIO as a rule because the"
    " IOMMU is off (EINVAL)",
}
