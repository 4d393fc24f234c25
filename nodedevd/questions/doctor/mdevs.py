"""mdevs: mdevs that are half made, half removed, or without a driver.

ABI    Documentation/ABI/testing/sysfs-bus-vfio-mdev
"""

from __future__ import annotations

from collections.abc import Iterator
from shlex import quote

from nodedevd.kinds.mdev_child import MdevChild
from nodedevd.questions.doctor.examined import Examined
from nodedevd.questions.doctor.finding import Finding


def check(host: Examined) -> Iterator[Finding]:
    """Yield findings about active mdevs."""
    for device, mdev in host.having(MdevChild):
        if mdev.state == "inactive":
            continue
        remove = f"echo 1 > {quote(device.path or '')}/remove"
        if mdev.state == "removing":
            yield host.finding(
                "warning",
                "mdev-removing",
                device,
                "its removal has not finished: the kernel waits until the VM that has it open lets"
                " it go, and until then its uuid and its place on the card stay taken",
                "Stop that VM. The process that removes the mdev cannot be killed meanwhile.",
                f"nodedevctl in-use {device.name}",
            )
        elif mdev.state == "incomplete":
            yield host.finding(
                "warning",
                "mdev-incomplete",
                device,
                "it has no type: the kernel has not finished creating it",
                "Wait: this lasts milliseconds. If it stays, remove the mdev.",
                remove,
            )
        elif device.driver is None:
            yield host.finding(
                "warning",
                "mdev-without-driver",
                device,
                "it is bound to no driver: no VM can use it, and the kernel does not bind an mdev"
                " again",
                "Remove it, and start or create it anew.",
                remove,
            )
