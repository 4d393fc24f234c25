"""doctor: finds the problems of a host with mediated devices, each with its remedy.

A pure function of a snapshot, the facts of the host that no device shows, and the status of a
daemon. `docs/doctor.md` lists every code.
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
from nodedevd.tree.graft import recalled
from nodedevd.tree.read import STALE

Severity: TypeAlias = Literal["problem", "warning", "note"]
"""problem: something is broken; warning: something will not work, or may be wrong; note: it may
be intended"""

SEVERITIES: tuple[Severity, ...] = ("problem", "warning", "note")

_NVIDIA = "0x10de"
_FAULTS_SHOWN = 3
"""per device; `nodedevctl show` prints all of them"""

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
    "no-mdev": "load the module that registers mdev parents: `modprobe kvmgt` for GVT-g, NVIDIA's"
    " vGPU host driver (not the guest or CUDA driver), `modprobe vfio_ap` for IBM Z crypto",
    "iommu-off": "enable VT-d or AMD-Vi in the firmware, and boot Intel hosts with intel_iommu=on;"
    " iommu=pt keeps the host's own devices fast",
    "parent-without-types": "see `dmesg` for messages of its driver; NVIDIA's driver also needs the"
    " service nvidia-vgpu-mgr, and virtual functions on cards since Ampere",
    "parent-not-listed": "see `dmesg`: another parent may have the same kernel name; mdevctl and"
    " libvirt cannot find this one, so reload its driver without the other",
    "parent-dangling": "reload the driver of the parent; the link leads to no device with types",
    "no-virtual-functions": "run /usr/lib/nvidia/sriov-manage -e {address}, at every boot",
    "mdev-incomplete": "wait, this lasts milliseconds; if it stays, remove the mdev: echo 1 >"
    " {path}/remove",
    "mdev-removing": "stop the VM that has it open (`nodedevctl in-use {device}`), the kernel waits"
    " for it",
    "definition-without-parent": "load the driver of the parent, or enable its virtual functions;"
    " if the hardware was removed: mdevctl undefine -u {uuid} -p {parent}",
    "definition-without-type": "choose a type from `nodedevctl types`, another driver release has"
    " other types: mdevctl modify -u {uuid} -p {parent} --type TYPE",
    "definition-without-capacity": "remove other mdevs of the parent or of the same card; many"
    " cards accept only one size of type at a time",
    "definition-not-started": "run `mdevctl start -u {uuid} -p {parent}`, and see `journalctl` for"
    " why it was not started with its parent",
    "definition-unreadable": "repair or remove the file; `mdevctl list -d` reads the same files",
    "attribute-unreadable": "see `nodedevctl show {device}` and `dmesg`: the driver fails to"
    " answer, and these values are unknown",
    "directory-unreadable": "run this as root; devices may be missing from this report",
    "read-hangs": "see `dmesg` for the driver; reset the device or reboot the host; until then,"
    " its last values are shown",
    "not-root": "run this as root; attributes that only root can read are unknown",
    "defect": "report this with the log; it is a defect of nodedevd",
    "udevd-not-running": "run `systemctl start systemd-udevd`; containers have none, there the"
    " kernel's events are enough, but the properties of udev's database are missing",
    "no-daemon": "run `systemctl enable --now nodedevd.socket nodedevd.service`; nodedevctl works"
    " without a daemon with --sysroot /",
    "socket-refused": "join the group of the socket, or set SocketMode= and SocketGroup= in"
    " nodedevd.socket",
    "several-daemons": "stop all but one; nodedevctl asks the first, and others with --socket",
    "daemon-other-host": "start it without --sysroot, or ask another daemon with --socket",
    "daemon-other-version": "run `systemctl restart nodedevd`",
    "daemon-not-root": "start it with its unit; attributes that only root can read are unknown to"
    " it",
    "daemon-differs": "run `systemctl restart nodedevd`, and report this: the daemon should have"
    " noticed the change",
    "no-events": "start it without --events none; now only the periodic reconcile finds changes",
    "kernel-events": "restart it, or start it without --events kernel; the kernel's events arrive"
    " before udevd has processed them",
    "events-lost": "nothing, the daemon read the whole host again; if it happens often, check that"
    " nodedevd.service keeps CAP_NET_ADMIN, which allows a large receive buffer",
    "events-missed": "nothing, the reconcile found the changes; some drivers send no events",
}


class Finding(msgspec.Struct, frozen=True):
    """One problem, warning or note."""

    severity: Severity
    code: Code
    device: str | None
    """name of the affected device, None for the host or the daemon"""
    text: str
    advice: str


class Report(msgspec.Struct, frozen=True):
    """The findings of `nodedevctl doctor`."""

    sysroot: str
    devices: int = msgspec.field(name="device_count")
    """number of devices checked"""
    findings: tuple[Finding, ...]
    """the most severe first"""

    @property
    def healthy(self) -> bool:
        """Whether there is no problem and no warning."""
        return all(one.severity == "note" for one in self.findings)


class DaemonView(msgspec.Struct, frozen=True):
    """The answer of the daemon, or the reason why there is none."""

    tried: tuple[str, ...]
    """paths of the sockets"""
    status: Status | None = None
    """None if no daemon answered"""
    reason: str | None = None
    """why no daemon answered"""
    refused: bool = False
    """whether a socket exists that this user may not connect to"""
    others: tuple[str, ...] = ()
    """further sockets on which another daemon answers"""
    differences: tuple[tuple[str, str], ...] = ()
    """names of devices that the daemon serves differently than a new scan, and how"""


def diagnose(
    snapshot: Snapshot,
    facts: HostFacts,
    *,
    hanging: Iterable[UnansweredRead] = (),
    daemon: DaemonView | None = None,
) -> tuple[Finding, ...]:
    """Return all findings, the most severe first.

    Args:
        snapshot: A new scan of the host.
        facts: The facts of the host that no device shows.
        hanging: Reads of that scan that have not returned.
        daemon: The answer of the daemon, None to leave the daemon out.
    """
    findings = [*_host(snapshot, facts), *_unreadable(snapshot, facts, hanging)]
    for device in snapshot:
        findings += [*_parent(device, facts), *_mdev(device), *_functions(device)]
    if daemon is not None:
        findings += _daemon(daemon, snapshot, facts)
    unique = dict.fromkeys(findings)  # a read that hangs here also hangs in the daemon
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
            text = f"the kernel's mdev module is not loaded, but {wanted}"
            yield _finding("warning", "no-mdev", text)
    functions = [pci for device in snapshot if (pci := device.capability(Pci)) is not None]
    grouped = any(pci.iommu_group is not None for pci in functions)
    if functions and not grouped and not facts.iommus:
        wanted = _wants_iommu(snapshot)
        if wanted is None:
            yield _finding("note", "iommu-off", "no IOMMU: PCI devices cannot be assigned to a VM")
        else:
            yield _finding("warning", "iommu-off", f"no IOMMU, but {wanted}")
    for path in sorted(facts.listed_parents):
        device = snapshot.at(path)
        if device is None or device.capability(MdevParent) is None:
            text = f"{MDEV_BUS} has a link to {path}, which is no mdev parent"
            name = None if device is None else device.name
            yield _finding("warning", "parent-dangling", text, name)
    if facts.udevd is False:
        yield _finding("warning", "udevd-not-running", "udevd is not running")


def _wants_mdev(snapshot: Snapshot, facts: HostFacts) -> str | None:
    """Return why this host needs mdev, None if nothing needs it."""
    for device in snapshot.select(["mdev_child"]):
        return f"{device.name} is defined"
    if facts.gvt:
        return "i915 is loaded with enable_gvt, for GVT-g"
    for device in snapshot:
        pci = device.capability(Pci)
        virtual = pci is not None and pci.physical_function is not None
        if virtual and _is_nvidia(device) and device.capability(Vgpu) is None:
            return f"{device.name}, a virtual function of NVIDIA, has no vendor VFIO and needs it"
    return None


def _is_nvidia(device: Device) -> bool:
    """Return whether a device is a graphics function of NVIDIA, physical or virtual."""
    pci = device.capability(Pci)
    vendor = None if pci is None or pci.vendor is None else pci.vendor.id
    return vendor == _NVIDIA and pci is not None and (pci.class_code or "").startswith("0x03")


def _wants_iommu(snapshot: Snapshot) -> str | None:
    """Return why this host needs an IOMMU, None if nothing needs it."""
    for device in snapshot:
        pci = device.capability(Pci)
        if pci is None:
            continue
        if is_vfio_driver(device.driver):
            return f"{device.name} is bound to {device.driver}"
        if pci.physical_function is not None:
            return f"{device.name} is a virtual function"
        if pci.virtual_functions is not None and _is_nvidia(device):
            return f"{device.name} can be divided into virtual functions"
    return None


# -- one device ------------------------------------------------------------------------


def _parent(device: Device, facts: HostFacts) -> Iterator[Finding]:
    parent = device.capability(MdevParent)
    if parent is None:
        return
    if not parent.types:
        text = "it is listed as an mdev parent, but offers no types"
        yield _finding("warning", "parent-without-types", text, device.name)
    elif device.path not in facts.listed_parents:
        text = f"it offers types, but {MDEV_BUS} does not list it"
        yield _finding("warning", "parent-not-listed", text, device.name)


_WAITS: dict[Missing, tuple[Code, str]] = {
    "parent": ("definition-without-parent", "its parent {parent} is not present"),
    "registration": ("definition-without-parent", "its parent {parent} is no mdev parent now"),
    "type": ("definition-without-type", "its parent does not offer the type {type}"),
    "capacity": (
        "definition-without-capacity",
        "its parent has no free instance of the type {type}",
    ),
}


def _mdev(device: Device) -> Iterator[Finding]:
    mdev = device.capability(MdevChild)
    if mdev is None:
        return
    if mdev.state == "incomplete":
        text = "it has no type: the kernel has not finished creating it"
        path = device.path or ""
        yield _finding("warning", "mdev-incomplete", text, device.name, path=path)
    elif mdev.state == "removing":
        yield _finding("warning", "mdev-removing", "its removal has not finished", device.name)
    elif mdev.state == "inactive" and mdev.autostart is not None:
        severity: Severity = "warning" if mdev.autostart else "note"
        about = {"uuid": mdev.uuid, "parent": mdev.parent_addr}
        if mdev.waits_for is not None:
            code, why = _WAITS[mdev.waits_for]
            type_id = "?" if mdev.mdev_type is None else mdev.mdev_type.id
            text = f"it is defined, but {why.format(parent=mdev.parent_addr, type=type_id)}"
            yield _finding(severity, code, text, device.name, **about)
        elif mdev.autostart:
            text = "its definition has autostart, but it is not started"
            yield _finding(severity, "definition-not-started", text, device.name, **about)


def _functions(device: Device) -> Iterator[Finding]:
    pci = device.capability(Pci)
    if pci is None or pci.virtual_functions is None or not _is_nvidia(device):
        return
    maximum = pci.virtual_functions.maximum
    parent = device.capability(MdevParent)
    # A card that is assigned as a whole needs none, and older cards are parents themselves.
    whole = is_vfio_driver(device.driver) or (parent is not None and parent.types)
    if maximum and not pci.virtual_functions.addresses and not whole:
        severity: Severity = "warning" if device.driver == "nvidia" else "note"
        text = f"none of its {maximum} virtual functions is enabled: it cannot create vGPUs"
        address = pci.address or ""
        yield _finding(severity, "no-virtual-functions", text, device.name, address=address)


# -- read errors -----------------------------------------------------------------------


def _unreadable(
    snapshot: Snapshot, facts: HostFacts, hanging: Iterable[UnansweredRead]
) -> Iterator[Finding]:
    for read in hanging:
        yield _hangs(read, snapshot.at(read.path))
    for fault in snapshot.errors:
        if fault.attribute.startswith(DEFINITIONS):
            yield _finding("warning", "definition-unreadable", _fault_text(fault))
        else:
            yield _finding("warning", "directory-unreadable", _fault_text(fault))
    refused = 0
    for device in snapshot:
        faults = []
        for fault in device.errors:
            if fault.code == "internal":
                yield _finding("problem", "defect", _fault_text(fault), device.name)
            elif _is_definition(device, fault):
                yield _finding("warning", "definition-unreadable", _fault_text(fault), device.name)
            elif fault.code == "refused" and facts.root is False:
                refused += 1
            elif not _has_own_finding(device, fault):
                faults.append(fault)
        if faults:
            severity: Severity = "warning" if _is_about_mdevs(device) else "note"
            text = "; ".join(map(_fault_text, faults[:_FAULTS_SHOWN]))
            if len(faults) > _FAULTS_SHOWN:
                text += f"; and {len(faults) - _FAULTS_SHOWN} more"
            yield _finding(severity, "attribute-unreadable", text, device.name)
    if facts.root is False:
        text = f"not root: {refused} attributes cannot be read" if refused else "not root"
        yield _finding("note", "not-root", text)


def _hangs(read: UnansweredRead, device: Device | None) -> Finding:
    name = None if device is None else device.name
    return _finding("problem", "read-hangs", f"a read of {read.path} has not returned", name)


def _fault_text(fault: Fault) -> str:
    detail = f" ({fault.detail})" if fault.detail else ""
    return f"{fault.attribute or 'its directory'} is {fault.code}{detail}"


def _is_definition(device: Device, fault: Fault) -> bool:
    return fault.attribute.startswith(DEFINITIONS) or (not device.active and fault.attribute == "")


def _has_own_finding(device: Device, fault: Fault) -> bool:
    """Return whether another finding reports the same fault in more detail."""
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
            text = f"this user may not connect to the daemon on {tried}"
            yield _finding("warning", "socket-refused", text)
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
        yield _finding("warning", "no-events", "the daemon receives no events")
    elif status.event_source == "kernel" and facts.udevd:
        text = "the daemon follows the kernel's events, although udevd is running"
        yield _finding("warning", "kernel-events", text)
    lost = status.overflows + status.monitor_errors
    if lost:
        text = f"the daemon lost events {lost} times since its start"
        yield _finding("note", "events-lost", text)
    if status.missed_changes:
        text = f"{status.missed_changes} changes came without an event since the daemon's start"
        yield _finding("note", "events-missed", text)
    for name, difference in daemon.differences:
        text = f"the daemon {difference}"
        yield _finding("warning", "daemon-differs", text, name)


def differences(fresh: Snapshot, served: Snapshot) -> tuple[tuple[str, str], ...]:
    """Return the names of devices that the daemon serves differently than a scan, and how.

    For a device with read errors only path, parent and driver are compared: the daemon may be
    allowed to read more than this process, or less. What only an earlier reading could see, such
    as the name of a profile that no function lists any more, is no difference.
    """
    found = []
    for name in sorted({*fresh.names, *served.names}):
        one, other = fresh.get(name), served.get(name)
        if one is None or other is None:
            lacks = "does not have it, but a new scan does"
            stale = "still has it, but a new scan does not"
            found.append((name, lacks if other is None else stale))
            continue
        one = recalled(one, other)
        fields = ["path", "parent", "driver"]
        if not one.errors and not other.errors:
            fields.append("capabilities")
        different = [field for field in fields if getattr(one, field) != getattr(other, field)]
        if different:
            found.append((name, f"and a new scan differ in its {', '.join(different)}"))
    return tuple(found)
