"""channel: subchannels and AP queues of IBM Z that should be assignable, and are not.

ABI    Documentation/arch/s390/vfio-ccw.rst, vfio-ap.rst
"""

from __future__ import annotations

from collections.abc import Iterator

from nodedevd.kinds.ap_matrix import ApMatrix
from nodedevd.kinds.ap_queue import ApQueue
from nodedevd.kinds.css import Css
from nodedevd.kinds.mdev_child import MdevChild
from nodedevd.kinds.mdev_parent import MdevParent
from nodedevd.model.device import Device
from nodedevd.questions.doctor.examined import Examined, host_finding
from nodedevd.questions.doctor.finding import Finding, Severity

CCW_DRIVER = "vfio_ccw"
AP_DRIVER = "vfio_ap"
_LOG = "dmesg | grep -i -e vfio -e cio | tail -n 30"


def check(host: Examined) -> Iterator[Finding]:
    """Yield findings about drivers that should have made an mdev parent, and did not."""
    for device, _ in host.having(Css):
        if device.driver == CCW_DRIVER and device.capability(MdevParent) is None:
            yield _without_types(host, device, CCW_DRIVER)
    matrices = [device for device, _ in host.having(ApMatrix)]
    for device in matrices:
        if device.capability(MdevParent) is None:
            yield _without_types(host, device, AP_DRIVER)
    if AP_DRIVER in host.facts.modules and not matrices:
        yield host_finding(
            "warning",
            "parent-without-types",
            f"the module {AP_DRIVER} is loaded, but there is no matrix device",
            "See the kernel's log; load the module again.",
            f"modprobe -r {AP_DRIVER} && modprobe {AP_DRIVER}",
            _LOG,
        )
    yield from _queues(host, matrices)


def _without_types(host: Examined, device: Device, driver: str) -> Finding:
    return host.finding(
        "warning",
        "parent-without-types",
        device,
        f"it is driven by {driver}, but offers no mdev types",
        "See the kernel's log. vfio_ccw takes only I/O subchannels whose device answers.",
        _LOG,
    )


def _queues(host: Examined, matrices: list[Device]) -> Iterator[Finding]:
    """Yield a finding if the host keeps all AP queues for itself."""
    queues = [device for device, _ in host.having(ApQueue)]
    if not matrices or not queues or any(one.driver == AP_DRIVER for one in queues):
        return
    used = any(
        mdev.mdev_type is not None and mdev.mdev_type.id.startswith(f"{AP_DRIVER}-")
        for _, mdev in host.having(MdevChild)
    )
    severity: Severity = "warning" if used else "note"
    yield host.finding(
        severity,
        "queues-reserved",
        matrices[0],
        f"none of the host's {len(queues)} AP queues is bound to {AP_DRIVER}: the host keeps them"
        " for itself, so a guest gets none",
        "Take the adapters and domains of the guest out of the host's masks, apmask and aqmask.",
        "lszcrypt -V",
        "cat /sys/bus/ap/apmask /sys/bus/ap/aqmask",
    )
