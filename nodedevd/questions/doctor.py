"""doctor: what on a host stands in the way of mediated devices, and what to do about it.

Pure: findings from a snapshot, from what the host has besides its devices, and from what a
daemon says. `docs/doctor.md` lists every code.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Literal, TypeAlias

import msgspec

from nodedevd import __version__
from nodedevd.host.facts import HostFacts
from nodedevd.host.faults import Fault
from nodedevd.host.mdev_paths import MDEV_BUS, MDEV_TYPES
from nodedevd.kinds.mdev_child import MdevChild, Missing
from nodedevd.kinds.mdev_parent import MdevParent
from nodedevd.kinds.pci import Pci
from nodedevd.kinds.shared.mdevctl import DIRECTORY as DEFINITIONS
from nodedevd.kinds.shared.vfio import is_vfio_driver
from nodedevd.kinds.vgpu import Vgpu
from nodedevd.model.device import Device
from nodedevd.model.snapshot import Snapshot
from nodedevd.model.status import Status, UnansweredRead
from nodedevd.tree.read import STALE

Severity: TypeAlias = Literal["problem", "warning", "note"]
"""problem: something is broken; warning: something will not work, or may be wrong; note: it may
well be as wanted"""

SEVERITIES: tuple[Severity, ...] = ("problem", "warning", "note")

_NVIDIA = "0x10de"
_FAULTS_SHOWN = 3
"""of one device; `nodedevctl show` has all of them"""

Code: TypeAlias = Literal[
    "no-mdev",
    "iommu-off",
    "parent-without-types",
    "parent-not-listed",
    "parent-dangling",
    "no-virtual-functions",
    "mdev-incomplete",
    "mdev-removing",
    "definition-without-parent",
    "definition-without-type",
    "definition-without-capacity",
    "definition-not-started",
    "definition-unreadable",
    "attribute-unreadable",
    "directory-unreadable",
    "read-hangs",
    "not-root",
    "defect",
    "udevd-not-running",
    "no-daemon",
    "socket-refused",
    "several-daemons",
    "daemon-other-host",
    "daemon-other-version",
    "daemon-not-root",
    "daemon-differs",
    "no-events",
    "kernel-events",
    "events-lost",
    "events-missed",
]

_ADVICE: dict[Code, str] = {
    "no-mdev": "load the module that makes parents: for GVT-g `modprobe kvmgt`, for NVIDIA install"
    " its vGPU host driver (not the one for guests or CUDA), for IBM Z `modprobe vfio_ap`",
    "iommu-off": "switch on VT-d or AMD-Vi in the firmware's setup, and boot Intel hosts with"
    " intel_iommu=on; iommu=pt keeps the host's own devices fast",
    "parent-without-types": "see `dmesg` for what its driver says; NVIDIA's also needs the service"
    " nvidia-vgpu-mgr, and virtual functions on cards since Ampere",
    "parent-not-listed": "see `dmesg`: another parent may have the same kernel name; mdevctl and"
    " libvirt do not find this one, so load its driver again alone",
    "parent-dangling": "load the driver of the parent again; the link leads to no device that has"
    " types",
    "no-virtual-functions": "run /usr/lib/nvidia/sriov-manage -e {address}, at every boot",
    "mdev-incomplete": "wait, it lasts milliseconds; if it stays, remove the mdev: echo 1 >"
    " {path}/remove",
    "mdev-removing": "stop the VM that has it open (`nodedevctl in-use {device}`): the kernel waits"
    " for it",
    "definition-without-parent": "load the driver of the parent, or enable its virtual functions;"
    " if the hardware is gone: mdevctl undefine -u {uuid} -p {parent}",
    "definition-without-type": "see `nodedevctl types` for what there is; types are other ones"
    " with another release of the driver: mdevctl modify -u {uuid} -p {parent} --type TYPE",
    "definition-without-capacity": "remove other mdevs of the parent, or of the same card: many"
    " cards take but one size of type at a time",
    "definition-not-started": "run `mdevctl start -u {uuid} -p {parent}`, and see `journalctl` for"
    " why it was not started with its parent",
    "definition-unreadable": "mend or remove the file; `mdevctl list -d` reads the same ones",
    "attribute-unreadable": "see `nodedevctl show {device}` and `dmesg`; the driver does not answer"
    " as it should, and what it does not tell is unknown",
    "directory-unreadable": "run this as root; devices may be missing as it is",
    "read-hangs": "see `dmesg` for the driver; the device needs a reset or the host a reboot, and"
    " is shown as it was last read",
    "not-root": "run this as root: what root alone may read is unknown here",
    "defect": "report it with the log; it is nodedevd's own fault",
    "udevd-not-running": "run `systemctl start systemd-udevd`; in a container there is none, and"
    " the kernel's own events do, but properties of udev's database are missing",
    "no-daemon": "run `systemctl enable --now nodedevd.socket nodedevd.service`; with --sysroot /"
    " nodedevctl needs none",
    "socket-refused": "join the group of the socket, or set SocketMode= and SocketGroup= in"
    " nodedevd.socket",
    "several-daemons": "stop all but one; nodedevctl asks the first, others with --socket",
    "daemon-other-host": "start it without --sysroot, or ask another one with --socket",
    "daemon-other-version": "run `systemctl restart nodedevd`",
    "daemon-not-root": "run it by its unit; what root alone may read is unknown to it",
    "daemon-differs": "run `systemctl restart nodedevd` and report it: it should have noticed",
    "no-events": "start it without --events none; changes are found by the reconcile alone",
    "kernel-events": "restart it, or start it without --events kernel: it hears of changes before"
    " udevd has finished with them",
    "events-lost": "nothing, the whole host was read again; if it happens often, see that"
    " nodedevd.service keeps CAP_NET_ADMIN, by which its buffer is large",
    "events-missed": "nothing, they were found by the reconcile; some drivers tell of no change",
}


class Finding(msgspec.Struct, frozen=True):
    """One thing that stands in the way."""

    severity: Severity
    code: Code
    device: str | None
    """name of the device it is about, None for the host or the daemon"""
    text: str
    advice: str


class Report(msgspec.Struct, frozen=True):
    """What `nodedevctl doctor` found."""

    sysroot: str
    devices: int
    findings: tuple[Finding, ...]
    """the worst first"""

    @property
    def healthy(self) -> bool:
        """Whether nothing stands in the way; notes do not."""
        return all(one.severity == "note" for one in self.findings)


class DaemonView(msgspec.Struct, frozen=True):
    """What became of asking the daemon."""

    tried: tuple[str, ...]
    """sockets"""
    status: Status | None = None
    """None: nobody answered"""
    reason: str | None = None
    """why not"""
    refused: bool = False
    """whether a socket is there that may not be used"""
    others: tuple[str, ...] = ()
    """further sockets on which another daemon answers"""
    differing: tuple[tuple[str, str], ...] = ()
    """devices that are otherwise in a scan of this moment, with a sentence"""


def diagnose(
    snapshot: Snapshot,
    facts: HostFacts,
    *,
    hanging: Iterable[UnansweredRead] = (),
    daemon: DaemonView | None = None,
) -> tuple[Finding, ...]:
    """Return all findings, the worst first."""
    findings = [*_host(snapshot, facts), *_readings(snapshot, facts, hanging)]
    for device in snapshot:
        findings += [*_parent(device, facts), *_mdev(device), *_functions(device)]
    if daemon is not None:
        findings += _daemon(daemon, snapshot, facts)
    unique = dict.fromkeys(findings)  # a read that hangs here hangs in the daemon, too
    return tuple(
        sorted(unique, key=lambda one: (SEVERITIES.index(one.severity), one.code, one.device or ""))
    )


def _finding(
    severity: Severity, code: Code, text: str, device: str | None = None, **fields: str
) -> Finding:
    advice = _ADVICE[code].format(device=device, **fields)
    return Finding(severity, code, device, text, advice)


# -- the host --------------------------------------------------------------------------


def _host(snapshot: Snapshot, facts: HostFacts) -> Iterator[Finding]:
    if not facts.mdev:
        wanted = _wants_mdev(snapshot, facts)
        if wanted is not None:
            yield _finding("warning", "no-mdev", f"the kernel has no mdev, and {wanted}")
    functions = [pci for device in snapshot if (pci := device.capability(Pci)) is not None]
    grouped = any(pci.iommu_group is not None for pci in functions)
    if functions and not grouped and not facts.iommus:
        wanted = _wants_iommu(snapshot)
        if wanted is None:
            yield _finding("note", "iommu-off", "no IOMMU: no PCI device can be given to a VM")
        else:
            yield _finding("warning", "iommu-off", f"no IOMMU, and {wanted}")
    for path in sorted(facts.listed_parents):
        device = snapshot.at(path)
        if device is None or device.capability(MdevParent) is None:
            text = f"{MDEV_BUS} has a link to {path}, which is no mdev parent"
            name = None if device is None else device.name
            yield _finding("warning", "parent-dangling", text, name)
    if facts.udevd is False:
        yield _finding("warning", "udevd-not-running", "udevd does not run")


def _wants_mdev(snapshot: Snapshot, facts: HostFacts) -> str | None:
    for device in snapshot.select(["mdev_child"]):
        return f"{device.name} is defined"
    if facts.gvt:
        return "i915 is asked for GVT-g (enable_gvt)"
    for device in snapshot:
        pci = device.capability(Pci)
        virtual = pci is not None and pci.physical_function is not None
        if virtual and _is_nvidia(device) and device.capability(Vgpu) is None:
            return f"{device.name} is a virtual function that takes no vGPU without"
    return None


def _is_nvidia(device: Device) -> bool:
    """Tell whether a device is a graphics function of NVIDIA's, physical or virtual."""
    pci = device.capability(Pci)
    vendor = None if pci is None or pci.vendor is None else pci.vendor.id
    return vendor == _NVIDIA and pci is not None and (pci.class_code or "").startswith("0x03")


def _wants_iommu(snapshot: Snapshot) -> str | None:
    for device in snapshot:
        pci = device.capability(Pci)
        if pci is None:
            continue
        if is_vfio_driver(device.driver):
            return f"{device.name} is bound to {device.driver}"
        if pci.physical_function is not None:
            return f"{device.name} is a virtual function"
        if pci.virtual_functions is not None and _is_nvidia(device):
            return f"{device.name} shares itself by virtual functions"
    return None


# -- one device ------------------------------------------------------------------------


def _parent(device: Device, facts: HostFacts) -> Iterator[Finding]:
    parent = device.capability(MdevParent)
    if parent is None:
        return
    if not parent.types:
        text = "it is listed as an mdev parent, and offers no types"
        yield _finding("warning", "parent-without-types", text, device.name)
    elif device.path not in facts.listed_parents:
        text = f"it offers types, and {MDEV_BUS} does not list it"
        yield _finding("warning", "parent-not-listed", text, device.name)


_WAITS: dict[Missing, tuple[Code, str]] = {
    "parent": ("definition-without-parent", "its parent {parent} is not there"),
    "type": ("definition-without-type", "its parent does not offer the type {type}"),
    "capacity": ("definition-without-capacity", "its parent can create no more of type {type}"),
}


def _mdev(device: Device) -> Iterator[Finding]:
    mdev = device.capability(MdevChild)
    if mdev is None:
        return
    if mdev.state == "incomplete":
        text = "it has no type: the kernel has not finished to make it"
        path = device.path or ""
        yield _finding("warning", "mdev-incomplete", text, device.name, path=path)
    elif mdev.state == "removing":
        yield _finding("warning", "mdev-removing", "its removal has not ended", device.name)
    elif mdev.state == "inactive" and mdev.autostart is not None:
        severity: Severity = "warning" if mdev.autostart else "note"
        about = {"uuid": mdev.uuid, "parent": mdev.parent_addr}
        if mdev.waits_for is not None:
            code, why = _WAITS[mdev.waits_for]
            type_id = "?" if mdev.mdev_type is None else mdev.mdev_type.id
            text = f"defined, and {why.format(parent=mdev.parent_addr, type=type_id)}"
            yield _finding(severity, code, text, device.name, **about)
        elif mdev.autostart:
            text = "it is to be started with its parent, and is not there"
            yield _finding(severity, "definition-not-started", text, device.name, **about)


def _functions(device: Device) -> Iterator[Finding]:
    pci = device.capability(Pci)
    if pci is None or pci.virtual_functions is None or not _is_nvidia(device):
        return
    maximum = pci.virtual_functions.maximum
    parent = device.capability(MdevParent)
    # What is passed on as a whole needs none, and older cards are the parent themselves.
    whole = is_vfio_driver(device.driver) or (parent is not None and parent.types)
    if maximum and not pci.virtual_functions.addresses and not whole:
        severity: Severity = "warning" if device.driver == "nvidia" else "note"
        text = f"none of its {maximum} virtual functions is enabled: no vGPU can be created"
        address = pci.address or ""
        yield _finding(severity, "no-virtual-functions", text, device.name, address=address)


# -- what could not be read ------------------------------------------------------------


def _readings(
    snapshot: Snapshot, facts: HostFacts, hanging: Iterable[UnansweredRead]
) -> Iterator[Finding]:
    for read in hanging:
        yield _hangs(read, snapshot.at(read.path))
    for fault in snapshot.errors:
        if fault.attribute.startswith(DEFINITIONS):
            yield _finding("warning", "definition-unreadable", _told(fault))
        else:
            yield _finding("warning", "directory-unreadable", _told(fault))
    refused = 0
    for device in snapshot:
        faults = []
        for fault in device.errors:
            if fault.code == "internal":
                yield _finding("problem", "defect", _told(fault), device.name)
            elif _is_definition(device, fault):
                yield _finding("warning", "definition-unreadable", _told(fault), device.name)
            elif fault.code == "refused" and facts.root is False:
                refused += 1
            elif not _told_elsewhere(device, fault):
                faults.append(fault)
        if faults:
            severity: Severity = "warning" if _is_about_mdevs(device) else "note"
            text = "; ".join(map(_told, faults[:_FAULTS_SHOWN]))
            if len(faults) > _FAULTS_SHOWN:
                text += f"; and {len(faults) - _FAULTS_SHOWN} more"
            yield _finding(severity, "attribute-unreadable", text, device.name)
    if facts.root is False:
        text = f"not root: {refused} attributes may not be read" if refused else "not root"
        yield _finding("note", "not-root", text)


def _hangs(read: UnansweredRead, device: Device | None) -> Finding:
    name = None if device is None else device.name
    return _finding("problem", "read-hangs", f"a read of {read.path} does not return", name)


def _told(fault: Fault) -> str:
    detail = f" ({fault.detail})" if fault.detail else ""
    return f"{fault.attribute or 'its directory'} is {fault.code}{detail}"


def _is_definition(device: Device, fault: Fault) -> bool:
    return fault.attribute.startswith(DEFINITIONS) or (not device.active and fault.attribute == "")


def _told_elsewhere(device: Device, fault: Fault) -> bool:
    """Tell whether another finding says the same, and more of it."""
    mdev = device.capability(MdevChild)
    return (
        fault == STALE
        or (fault.attribute == MDEV_TYPES and fault.code == "absent")
        or (fault.attribute == "mdev_type" and mdev is not None and mdev.state != "complete")
    )


def _is_about_mdevs(device: Device) -> bool:
    return not {"mdev_parent", "mdev_child"}.isdisjoint(device.types)


# -- the daemon ------------------------------------------------------------------------


def _daemon(daemon: DaemonView, snapshot: Snapshot, facts: HostFacts) -> Iterator[Finding]:
    status = daemon.status
    if status is None:
        tried = f"{' or '.join(daemon.tried)}: {daemon.reason}"
        if daemon.refused:
            yield _finding("warning", "socket-refused", f"the daemon may not be asked on {tried}")
        else:
            yield _finding("warning", "no-daemon", f"no nodedevd answers on {tried}")
        return
    for path in daemon.others:
        yield _finding("note", "several-daemons", f"another nodedevd answers on {path}")
    if status.version != __version__:
        text = f"the daemon is nodedevd {status.version}, this is {__version__}"
        yield _finding("warning", "daemon-other-version", text)
    if status.sysroot != "/":
        text = f"the daemon serves {status.sysroot}, not this host"
        yield _finding("warning", "daemon-other-host", text)
        return
    for read in status.unanswered_reads:
        yield _hangs(read, snapshot.at(read.path))
    if not status.privileged:
        yield _finding("note", "daemon-not-root", "the daemon does not run as root")
    if status.event_source == "none":
        yield _finding("warning", "no-events", "the daemon is told of no changes")
    elif status.event_source == "kernel" and facts.udevd:
        text = "the daemon follows the kernel's events, although udevd runs"
        yield _finding("warning", "kernel-events", text)
    lost = status.overflows + status.monitor_errors
    if lost:
        yield _finding("note", "events-lost", f"events were lost {lost} times since its start")
    if status.missed_changes:
        text = f"no event told of {status.missed_changes} changes since its start"
        yield _finding("note", "events-missed", text)
    for name, what in daemon.differing:
        text = f"a scan of now shows it otherwise: the daemon {what}"
        yield _finding("warning", "daemon-differs", text, name)


def differing(fresh: Snapshot, served: Snapshot) -> tuple[tuple[str, str], ...]:
    """Return the devices that two readings of a host show differently, and what of them.

    Of a device of which not all could be read, its place and driver are compared alone: the
    daemon may read more than who asks, or less.
    """
    found = []
    for name in sorted({*fresh.names, *served.names}):
        one, other = fresh.get(name), served.get(name)
        if one is None or other is None:
            found.append((name, "has no such device" if other is None else "has it still"))
            continue
        fields = ["path", "parent", "driver"]
        if not one.errors and not other.errors:
            fields.append("capabilities")
        different = [field for field in fields if getattr(one, field) != getattr(other, field)]
        if different:
            found.append((name, f"shows it with another {', '.join(different)}"))
    return tuple(found)
