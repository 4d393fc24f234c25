"""Changes of PCI functions, carried out: what comes of them when a process is killed or fails."""

from __future__ import annotations

import errno
from collections.abc import Callable
from pathlib import Path
from threading import Event, Thread

import pytest

from nodedevd.actions.answers import Outcome
from nodedevd.actions.requests import Bind, SetVirtualFunctions, Unbind
from nodedevd.errors import DeviceInUse, StepFailed, StillWriting
from tests.support.acting_host import ActingHost, Killed
from tests.support.left_behind import leave_functions, use
from tests.support.pci_host import NVME, PF, PciRequest, state_of
from tests.support.stuck import PATIENCE_SECONDS

ADDRESS, OTHER = "0000:02:00.0", "0000:02:00.1"
POINTS = [
    *(f"{point}:{number}" for number in range(3) for point in ("doing", "done")),
    *("journal:1", "journal:2", "confirming", "confirmed", "records", "ended"),
]


@pytest.fixture
def host(tmp_path: Path) -> ActingHost:
    """Return a host with the driver nvme, and without devices."""
    host = ActingHost(tmp_path)
    host.pci.driver("nvme", NVME)
    return host


def numbers(host: ActingHost) -> list[str]:
    """Return what was written to sriov_numvfs."""
    return [value for path, value in host.kernel.written if path.endswith("/sriov_numvfs")]


def disk(host: ActingHost) -> str:
    """Add an NVMe disk that is bound to nvme."""
    return host.pci.function(ADDRESS, driver="nvme", group=5)


def card(host: ActingHost) -> str:
    """Add a card whose two virtual functions a client has made."""
    path = host.pci.card()
    host.act(SetVirtualFunctions(name=PF, number=2, owner="a"))
    return path


def bound(host: ActingHost) -> str:
    """Add an NVMe disk that a client has bound to vfio-pci."""
    path = disk(host)
    host.act(Bind(name=ADDRESS, driver="vfio-pci", owner="a"))
    return path


# -- in peace --------------------------------------------------------------------------


def test_changes_are_answered_with_the_device_and_recorded(host: ActingHost) -> None:
    """The records live as long as the tree shows what was set."""
    path = card(host)
    outcome = host.act(SetVirtualFunctions(name=PF, number=3, owner="a"))
    assert [one.path for one in outcome.devices] == [path]
    assert [step.partition(" to ")[0] for step in outcome.steps] == ["write 0", "write 3"]
    assert host.owners == {path: "a"}
    assert host.entries() == []
    function = host.pci.functions(path)[0].rpartition("/")[2]
    host.act(Bind(name=function, driver="vfio-pci", owner="b"))
    assert sorted(filter(None, host.owners.values())) == ["a", "b"]
    host.act(Unbind(name=function, owner="b"))
    host.act(SetVirtualFunctions(name=PF, number=0, owner="a"))
    assert host.owners == {}


def test_record_of_what_somebody_else_has_changed_is_void(host: ActingHost) -> None:
    """His functions, and his driver, are not those of the record."""
    path = card(host)
    for number in ("0", "4"):
        host.kernel.write(f"{path}/sriov_numvfs", number)
    assert host.context.records.living(host.pci.snapshot()) == {}


def test_record_outlasts_a_tree_that_is_late(host: ActingHost) -> None:
    """A change that failed has had the function without its driver for a moment."""
    path = bound(host)
    host.kernel.write("/sys/bus/pci/drivers/vfio-pci/unbind", ADDRESS)
    late = host.pci.snapshot()
    host.context.records.forget_gone(late, ["pci_0000_02_00_0"])
    assert host.owners == {path: "a"}
    host.kernel.tree.remove(f"/sys/bus/pci/devices/{ADDRESS}")
    host.context.records.forget_gone(host.pci.snapshot(), ["pci_0000_02_00_0"])
    assert host.owners == {}


# -- killed ----------------------------------------------------------------------------


@pytest.mark.exhaustive
@pytest.mark.parametrize("point", POINTS)
@pytest.mark.parametrize(
    ("prepare", "request_"),
    [
        (disk, Bind(name=ADDRESS, driver="vfio-pci", owner="a")),
        (bound, Unbind(name=ADDRESS, owner="a")),
        (card, SetVirtualFunctions(name=PF, number=3, owner="a")),
        (card, SetVirtualFunctions(name=PF, number=0, owner="a")),
    ],
    ids=["bind", "unbind", "change", "disable"],
)
def test_change_that_is_killed_is_done_or_undone(
    host: ActingHost, prepare: Callable[[ActingHost], str], request_: PciRequest, point: str
) -> None:
    """After the next start nothing is half, no journal is left, and records tell the truth."""
    prepare(host)
    before, owners = state_of(host.pci), host.owners
    host.kill_at(point)
    try:
        host.act(request_)
    except Killed:
        host.restart()
    after, owners_then = state_of(host.pci), host.owners
    assert host.entries() == []
    if after == before:
        assert owners_then == owners
    host.act(request_)  # what is so already is success
    if after != before:
        assert state_of(host.pci) == after
        assert host.owners == owners_then


# -- failing ---------------------------------------------------------------------------


def test_failed_bind_of_a_group_tells_what_was_undone(host: ActingHost) -> None:
    """The first member was bound already."""
    disk(host)
    host.pci.function(OTHER, driver="nvme", group=5)
    before = state_of(host.pci)
    attribute = "/sys/bus/pci/drivers/vfio-pci/bind"
    kernel = host.kernel
    kernel.before(
        attribute,
        lambda: kernel.before(attribute, lambda: kernel.refuse(attribute, errno.EINVAL)),
    )
    with pytest.raises(StepFailed) as caught:
        host.act(Bind(name=ADDRESS, driver="vfio-pci", group=True))
    error = caught.value
    assert (error.errno, error.left) == ("EINVAL", ())
    assert [step.partition(" ")[0] for step in error.undone] == ["unbind", "bind", "unbind"]
    assert state_of(host.pci) == before
    assert (host.owners, host.entries()) == ({}, [])


def test_tree_that_does_not_show_it_has_it_undone(host: ActingHost) -> None:
    """A reader that is blind."""
    disk(host)
    before = state_of(host.pci)
    host.view.blind = True
    with pytest.raises(Exception, match="not confirmed"):
        host.act(Bind(name=ADDRESS, driver="vfio-pci"))
    assert state_of(host.pci) == before


def test_functions_that_came_in_use_are_left_and_told(host: ActingHost) -> None:
    """What is undone takes nothing from a guest."""
    path = host.pci.card()
    host.on("confirming", lambda: use(host, host.pci.functions(path)[0]))
    host.view.blind = True
    with pytest.raises(Exception, match="NOT undone"):
        host.act(SetVirtualFunctions(name=PF, number=2))
    assert numbers(host) == ["2"]
    assert len(host.entries()) == 1


def test_step_that_a_later_one_hides_is_undone_with_it(host: ActingHost) -> None:
    """The functions that were there before come back when the guest has ended."""
    path = card(host)
    leave_functions(host, path, 3)
    host.restart()
    assert numbers(host) == ["2", "0", "3", "0", "2"]
    assert host.entries() == []


def test_writer_that_is_faster_is_planned_for_again(host: ActingHost) -> None:
    """He has enabled others; so they are his."""
    path = host.pci.card()
    attribute = f"{path}/sriov_numvfs"
    host.on("doing:0", lambda: host.kernel.write(attribute, "1"))
    with pytest.raises(Exception, match="made by somebody else"):
        host.act(SetVirtualFunctions(name=PF, number=2))
    assert (numbers(host), host.entries()) == (["1"], [])


def test_driver_that_hangs_is_waited_for_in_the_background(host: ActingHost) -> None:
    """The client is answered, and the change goes on when the driver is through."""
    path, ended = bound(host), Event()
    attribute = "/sys/bus/pci/drivers/vfio-pci/unbind"
    host.kernel.hang(attribute)
    host.context = host.started(write_seconds=0.0, ended_late=lambda asked, result: ended.set())
    with pytest.raises(StillWriting):
        host.act(Unbind(name=ADDRESS, owner="a"))
    while host.kernel.written[-1][0] != attribute:
        assert not ended.wait(0.01)
    host.kernel.resume(attribute)
    assert ended.wait(PATIENCE_SECONDS)
    assert host.pci.driver_of(path) == "nvme"
    assert (host.owners, host.entries()) == ({}, [])


def test_open_function_is_refused_and_forced_waits(host: ActingHost) -> None:
    """The kernel waits, and gives it back when the guest is gone."""
    path = bound(host)
    host.kernel.open(path)
    with pytest.raises(DeviceInUse):
        host.act(Unbind(name=ADDRESS, owner="a"))
    assert host.pci.driver_of(path) == "vfio-pci"
    outcomes: list[Outcome] = []
    thread = Thread(
        target=lambda: outcomes.append(host.act(Unbind(name=ADDRESS, owner="a", force=True)))
    )
    thread.start()
    while not host.kernel.written[-1][0].endswith("/vfio-pci/unbind"):
        thread.join(0.01)
        assert thread.is_alive()
    host.kernel.close(path)
    thread.join(PATIENCE_SECONDS)
    assert len(outcomes) == 1
    assert host.pci.driver_of(path) == "nvme"
