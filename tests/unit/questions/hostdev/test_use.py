"""A device that is open, or has a profile, is reported when it is assigned."""

from __future__ import annotations

from nodedevd.host.processes import OpenFiles, Process, ProcessScan
from nodedevd.questions.hostdev.answer import hostdev
from nodedevd.questions.hostdev.facts import HostDevFacts
from nodedevd.questions.hostdev.request import HostDev, HostDevRequest
from nodedevd.questions.in_use import VfioUsage
from tests.support.hosts import snapshot_of

QEMU = Process(4711, "qemu-system-x86")
VGPU = "0000:26:00.4"
PROFILE = "its vGPU profile is 1148, NVIDIA L40S-2Q"


def assign(usage: VfioUsage | None, *, show_holders: bool = True) -> HostDev:
    """Assign a vGPU with this look at the processes."""
    facts = HostDevFacts(machine="x86_64", usage=usage, show_holders=show_holders)
    return hostdev(snapshot_of("vgpu-vendor-vfio"), HostDevRequest(name=VGPU), facts)


def path() -> str:
    """Return the path of the vGPU."""
    return snapshot_of("vgpu-vendor-vfio").lookup(VGPU).path or ""


def held(*, shared: bool = False) -> VfioUsage:
    """Return a look that found its node open, or that of its group, which others share."""
    node = "/dev/vfio/32"
    nodes = {node: [path(), "/sys/devices/other"] if shared else [path()]}
    open_files = OpenFiles(QEMU, frozenset({node}), frozenset(), 0)
    return VfioUsage(nodes, ProcessScan((open_files,), 0, hidden=False))


def test_profile_of_a_function_is_reported() -> None:
    """It may not be the one that the guest needs."""
    found = assign(None)
    assert (found.open, found.notes) == ("unknown", (PROFILE,))


def test_device_that_is_open_is_reported_with_its_processes() -> None:
    """Two guests cannot have it."""
    found = assign(held())
    assert found.open == "yes"
    assert found.notes == (
        PROFILE,
        "a process has it open: qemu-system-x86 (4711); a second guest cannot open it",
    )


def test_processes_are_reported_only_to_clients_that_may_see_them() -> None:
    """Others learn that it is open."""
    found = assign(held(), show_holders=False)
    assert found.notes[1:] == ("a process has it open; a second guest cannot open it",)


def test_device_that_may_be_open_is_reported() -> None:
    """The kernel does not report which device of a group is open."""
    found = assign(held(shared=True))
    assert found.open == "unknown"
    _, note = found.notes
    assert note == (
        "a process may have it open: qemu-system-x86 (4711); see nodedevctl in-use pci_0000_26_00_4"
    )


def test_device_that_is_not_open_needs_no_note() -> None:
    """All processes were seen."""
    usage = VfioUsage({"/dev/vfio/32": [path()]}, ProcessScan((), 0, hidden=False))
    assert (assign(usage).open, assign(usage).notes) == ("no", (PROFILE,))
