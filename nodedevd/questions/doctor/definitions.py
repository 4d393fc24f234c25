"""definitions: mdevs that mdevctl has defined, and that cannot be started as they are.

Source  mdevctl(8); mdevctl's source, environment.rs (`get_defined_devices`)
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from shlex import quote

from nodedevd.host.faults import Fault
from nodedevd.kinds.mdev_child import MdevChild
from nodedevd.kinds.shared.mdevctl import DIRECTORY, definition_path
from nodedevd.model.device import Device
from nodedevd.questions.doctor import no_parent
from nodedevd.questions.doctor.examined import Examined, host_finding
from nodedevd.questions.doctor.finding import Finding, Severity
from nodedevd.questions.doctor.unread import fault_text, is_definition


def check(host: Examined) -> Iterator[Finding]:
    """Yield findings about definitions."""
    yield from _unreadable(host)
    known: defaultdict[str, list[tuple[Device, MdevChild]]] = defaultdict(list)
    for device, mdev in host.having(MdevChild):
        known[mdev.uuid].append((device, mdev))
    for same in known.values():
        active = [device for device, mdev in same if mdev.state != "inactive"]
        for device, mdev in same:
            if mdev.state != "inactive":
                yield from _active(host, device, mdev)
            elif mdev.autostart is not None:
                yield from _inactive(host, device, mdev, active[0] if active else None)
        if len(same) > 1 and not active:
            yield from _ambiguous(host, same)


def _inactive(
    host: Examined, device: Device, mdev: MdevChild, active: Device | None
) -> Iterator[Finding]:
    severity: Severity = "warning" if mdev.autostart else "note"
    type_id = "?" if mdev.mdev_type is None else mdev.mdev_type.id
    this = f"-u {mdev.uuid} -p {quote(mdev.parent_addr)}"
    if active is not None:
        yield host.finding(
            severity,
            "definition-uuid-in-use",
            device,
            f"it is defined for {mdev.parent_addr}, but its uuid is active as {active.name}: the"
            " kernel allows a uuid only once",
            "Remove the definition, or stop the mdev that is active.",
            f"mdevctl undefine {this}",
        )
    elif mdev.waits_for in ("parent", "registration"):
        yield no_parent.explain(host, severity, device, mdev)
    elif mdev.waits_for == "type":
        yield host.finding(
            severity,
            "definition-without-type",
            device,
            f"it is defined, but its parent {mdev.parent_addr} does not offer the type {type_id}",
            "Choose a type that is offered, and define it anew: another release of the driver has"
            " other types.",
            "nodedevctl types",
            f"mdevctl undefine {this}",
        )
    elif mdev.waits_for == "capacity":
        yield host.finding(
            severity,
            "definition-without-capacity",
            device,
            f"it is defined, but its parent has no free instance of the type {type_id}",
            "Remove other mdevs of the parent or of the same card; many cards accept only one size"
            " of type at a time.",
            "nodedevctl tree",
        )
    elif mdev.autostart:
        yield host.finding(
            severity,
            "definition-not-started",
            device,
            "its definition has autostart, but it is not started",
            "Start it, and see the journal for why it was not started with its parent.",
            f"mdevctl start {this}",
            "journalctl -b -t mdevctl",
        )


def _active(host: Examined, device: Device, mdev: MdevChild) -> Iterator[Finding]:
    """Yield a note if an mdev would be of another type when it is started anew."""
    if mdev.definition is None or mdev.mdev_type is None:
        return
    if mdev.mdev_type.id != mdev.definition.mdev_type:
        yield host.finding(
            "note",
            "definition-differs",
            device,
            f"it runs with the type {mdev.mdev_type.id}, and is defined with the type"
            f" {mdev.definition.mdev_type}, which it has when it is started the next time",
            "Stop and start it, or define it anew with the type that it has.",
        )


def _ambiguous(host: Examined, same: list[tuple[Device, MdevChild]]) -> Iterator[Finding]:
    parents = " and ".join(sorted(mdev.parent_addr for _, mdev in same))
    twice = sum(mdev.autostart is True for _, mdev in same) > 1
    for device, mdev in same:
        yield host.finding(
            "warning" if twice else "note",
            "definition-ambiguous",
            device,
            f"its uuid is defined for {parents}: only one of them can be active, and libvirt and"
            " mdevctl without --parent act on all of them or refuse",
            "Remove the one that is not wanted, and always name its parent:"
            f" mdevctl undefine -u {mdev.uuid} -p PARENT.",
        )


def _unreadable(host: Examined) -> Iterator[Finding]:
    for fault in host.snapshot.errors:
        if fault.attribute.startswith(DIRECTORY):
            yield host_finding(
                "warning",
                "definition-unreadable",
                fault_text(fault),
                "Repair or remove it: mdevctl cannot use it either.",
            )
    for device, mdev in host.having(MdevChild):
        for fault in device.errors:
            if is_definition(device, fault):
                yield _broken(host, device, mdev, fault)


def _broken(host: Examined, device: Device, mdev: MdevChild, fault: Fault) -> Finding:
    path = definition_path(mdev.parent_addr, mdev.uuid)
    detail = f" ({fault.detail})" if fault.detail else ""
    if fault.code != "malformed":
        return host.finding(
            "warning",
            "definition-unreadable",
            device,
            f"{path} is {fault.code}{detail}",
            "Run this as root; if that fails, too, repair or remove the file.",
        )
    return host.finding(
        "problem",
        "definition-unreadable",
        device,
        f"{path} is {fault.code}{detail}: `mdevctl list` and all other commands of mdevctl that"
        " read definitions fail, and so does libvirt, which runs them",
        "Repair the file, or set it aside: mdevctl skips files whose name is no UUID.",
        f"mv {quote(path)} {quote(path + '.broken')}",
    )
