"""unread: what could not be read, and what that means."""

from __future__ import annotations

from collections.abc import Iterator

from nodedevd.host.faults import Fault
from nodedevd.host.mdev_paths import MDEV_TYPES
from nodedevd.kinds.mdev_child import MdevChild
from nodedevd.kinds.shared.mdevctl import DIRECTORY as DEFINITIONS
from nodedevd.model.device import Device
from nodedevd.model.status import UnansweredRead
from nodedevd.questions.doctor.examined import Examined, host_finding
from nodedevd.questions.doctor.finding import Finding, Severity
from nodedevd.questions.doctor.functions import is_dead
from nodedevd.tree.read import STALE

_FAULTS_SHOWN = 3
"""per device; `nodedevctl show` prints all of them"""


def check(host: Examined) -> Iterator[Finding]:
    """Yield findings about reads that failed or have not returned."""
    for read in host.hanging:
        yield hangs(host, read)
    for fault in host.snapshot.errors:
        if not fault.attribute.startswith(DEFINITIONS):
            yield host_finding(
                "warning",
                "directory-unreadable",
                fault_text(fault),
                "Run this as root; devices may be missing from this report.",
            )
    refused = 0
    for device in host.snapshot:
        faults = []
        for fault in device.errors:
            if fault.code == "internal":
                yield host.finding(
                    "problem",
                    "defect",
                    device,
                    fault_text(fault),
                    "Report this with the log; it is a defect of nodedevd.",
                )
            elif fault.code == "refused" and host.facts.root is False:
                refused += 1
            elif not _has_own_finding(device, fault):
                faults.append(fault)
        if faults:
            yield _unreadable(host, device, faults)
    if host.facts.root is False:
        text = f"not root: {refused} attributes cannot be read" if refused else "not root"
        advice = "Run this as root; attributes that only root can read are unknown."
        yield host_finding("note", "not-root", text, advice)


def hangs(host: Examined, read: UnansweredRead) -> Finding:
    """Return the finding for a read that has not returned, here or in the daemon."""
    text = f"a read of {read.path} has not returned"
    advice = (
        "See the kernel's log for the driver; reset the device or reboot the host. Until then,"
        " its last values are shown."
    )
    device = host.snapshot.at(read.path)
    if device is None:
        return host_finding("problem", "read-hangs", text, advice, "dmesg | tail -n 50")
    return host.finding("problem", "read-hangs", device, text, advice, "dmesg | tail -n 50")


def fault_text(fault: Fault) -> str:
    """Return a read error in words."""
    detail = f" ({fault.detail})" if fault.detail else ""
    return f"{fault.attribute or 'its directory'} is {fault.code}{detail}"


def is_definition(device: Device, fault: Fault) -> bool:
    """Return whether a fault is about the definition of a device."""
    return fault.attribute.startswith(DEFINITIONS) or (not device.active and fault.attribute == "")


def _unreadable(host: Examined, device: Device, faults: list[Fault]) -> Finding:
    severity: Severity = "warning" if _is_about_vgpus(device) else "note"
    text = "; ".join(map(fault_text, faults[:_FAULTS_SHOWN]))
    if len(faults) > _FAULTS_SHOWN:
        text += f"; and {len(faults) - _FAULTS_SHOWN} more"
    return host.finding(
        severity,
        "attribute-unreadable",
        device,
        text,
        "These values are unknown: the driver does not answer as it should. See all of them, and"
        " the kernel's log.",
        f"nodedevctl show {device.name}",
        "dmesg | tail -n 50",
    )


def _has_own_finding(device: Device, fault: Fault) -> bool:
    """Return whether another finding reports the same fault in more detail."""
    mdev = device.capability(MdevChild)
    return (
        fault == STALE
        or is_definition(device, fault)
        or is_dead(device, fault)
        or (fault.attribute == MDEV_TYPES and fault.code == "absent")
        or (fault.attribute == "mdev_type" and mdev is not None and mdev.state != "complete")
    )


def _is_about_vgpus(device: Device) -> bool:
    return not {"mdev_parent", "mdev_child", "vgpu"}.isdisjoint(device.types)
