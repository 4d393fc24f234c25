"""Changes of PCI functions, carried out: what comes of them when a process is killed or fails."""

from __future__ import annotations

import errno
from collections.abc import Callable
from pathlib import Path
from threading import Event, Thread

import pytest

from nodedevd.actions.answers import Outcome
from nodedevd.actions.plan import Plan
from nodedevd.actions.requests import Bind, SetVirtualFunctions, Unbind
from nodedevd.control.carry_out import carry_out
from nodedevd.control.records import living
from nodedevd.errors import DeviceInUse, StepFailed, StillWriting
from tests.support.acting_host import ASKED, ActingHost, Killed
from tests.support.pci_host import NVME, PF, PciHost, PciRequest, state_of
from tests.support.stuck import PATIENCE_SECONDS

ADDRESS, OTHER = "0000:02:00.0", "0000:02:00.1"
POINTS = [
    *(f"{point}:{number}" for number in range(3) for point in ("doing", "done")),
    *("journal:1", "journal:2", "confirming", "confirmed", "records", "ended"),
]


class Acting:
    """A played host with the engine.

    Attributes:
        acting: the engine, with its journal and records.
        pci: the host's hardware.
    """

    def __init__(self, directory: Path) -> None:
        self.acting = ActingHost(directory)
        self.pci = PciHost(self.acting.kernel)
        self.pci.driver("nvme", NVME)

    def act(self, request: PciRequest) -> Outcome:
        """Make a change. Raises NodedevError."""

        def plan() -> Plan:
            snapshot = self.pci.snapshot()
            self.pci.records = living(self.acting.context.records.all(), snapshot)
            return self.pci.plan(request)

        return carry_out(plan, self.acting.context, ASKED)

    @property
    def numbers(self) -> list[str]:
        """What was written to sriov_numvfs."""
        written = self.acting.kernel.written
        return [value for path, value in written if path.endswith("/sriov_numvfs")]


@pytest.fixture
def host(tmp_path: Path) -> Acting:
    """Return a host without devices."""
    return Acting(tmp_path)


def disk(host: Acting) -> str:
    """Add an NVMe disk that is bound to nvme."""
    return host.pci.function(ADDRESS, driver="nvme", group=5)


def card(host: Acting) -> str:
    """Add a card whose two virtual functions a client has made."""
    path = host.pci.card()
    host.act(SetVirtualFunctions(name=PF, number=2, owner="a"))
    return path


def bound(host: Acting) -> str:
    """Add an NVMe disk that a client has bound to vfio-pci."""
    path = disk(host)
    host.act(Bind(name=ADDRESS, driver="vfio-pci", owner="a"))
    return path


# -- in peace --------------------------------------------------------------------------


def test_changes_are_answered_with_the_device_and_recorded(host: Acting) -> None:
    """The records live as long as the tree shows what was set."""
    path = card(host)
    outcome = host.act(SetVirtualFunctions(name=PF, number=3, owner="a"))
    assert [one.path for one in outcome.devices] == [path]
    assert [step.partition(" to ")[0] for step in outcome.steps] == ["write 0", "write 3"]
    assert host.acting.owners == {path: "a"}
    assert host.acting.entries() == []
    function = host.pci.functions(path)[0].rpartition("/")[2]
    host.act(Bind(name=function, driver="vfio-pci", owner="b"))
    assert sorted(filter(None, host.acting.owners.values())) == ["a", "b"]
    host.act(Unbind(name=function, owner="b"))
    host.act(SetVirtualFunctions(name=PF, number=0, owner="a"))
    assert host.acting.owners == {}


def test_record_of_what_somebody_else_has_changed_is_void(host: Acting) -> None:
    """His functions, and his driver, are not those of the record."""
    path = card(host)
    for number in ("0", "4"):
        host.acting.kernel.write(f"{path}/sriov_numvfs", number)
    assert living(host.acting.context.records.all(), host.pci.snapshot()) == {}


# -- killed ----------------------------------------------------------------------------


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
    host: Acting, prepare: Callable[[Acting], str], request_: PciRequest, point: str
) -> None:
    """After the next start nothing is half, no journal is left, and records tell the truth."""
    prepare(host)
    before, owners = state_of(host.pci), host.acting.owners
    host.acting.kill_at(point)
    try:
        host.act(request_)
    except Killed:
        host.acting.restart()
    after, owners_then = state_of(host.pci), host.acting.owners
    assert host.acting.entries() == []
    if after == before:
        assert owners_then == owners
    host.act(request_)  # what is so already is success
    if after != before:
        assert state_of(host.pci) == after
        assert host.acting.owners == owners_then


# -- failing ---------------------------------------------------------------------------


def test_failed_bind_of_a_group_tells_what_was_undone(host: Acting) -> None:
    """The first member was bound already."""
    disk(host)
    host.pci.function(OTHER, driver="nvme", group=5)
    before = state_of(host.pci)
    attribute = "/sys/bus/pci/drivers/vfio-pci/bind"
    kernel = host.acting.kernel
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
    assert (host.acting.owners, host.acting.entries()) == ({}, [])


def test_tree_that_does_not_show_it_has_it_undone(host: Acting) -> None:
    """A reader that is blind."""
    disk(host)
    before = state_of(host.pci)
    host.acting.view.blind = True
    with pytest.raises(Exception, match="not confirmed"):
        host.act(Bind(name=ADDRESS, driver="vfio-pci"))
    assert state_of(host.pci) == before


def test_functions_that_came_in_use_are_left_and_told(host: Acting) -> None:
    """What is undone takes nothing from a guest."""
    path = host.pci.card()

    def use() -> None:
        function = host.pci.functions(path)[0]
        address = function.rpartition("/")[2]
        host.acting.kernel.write(f"{function}/driver_override", "vfio-pci\n")
        host.acting.kernel.write("/sys/bus/pci/drivers/nvme/unbind", address)
        host.acting.kernel.write("/sys/bus/pci/drivers_probe", address)
        host.acting.kernel.open(function)
        host.acting.view.blind = True

    host.acting.on("confirming", use)
    with pytest.raises(Exception, match="NOT undone"):
        host.act(SetVirtualFunctions(name=PF, number=2))
    assert host.numbers == ["2"]
    assert len(host.acting.entries()) == 1


def test_writer_that_is_faster_is_planned_for_again(host: Acting) -> None:
    """He has enabled others; so they are his."""
    path = host.pci.card()
    attribute = f"{path}/sriov_numvfs"
    host.acting.on("doing:0", lambda: host.acting.kernel.write(attribute, "1"))
    with pytest.raises(Exception, match="made by somebody else"):
        host.act(SetVirtualFunctions(name=PF, number=2))
    assert (host.numbers, host.acting.entries()) == (["1"], [])


def test_driver_that_hangs_is_waited_for_in_the_background(host: Acting) -> None:
    """The client is answered, and the change goes on when the driver is through."""
    path, ended = bound(host), Event()
    attribute = "/sys/bus/pci/drivers/vfio-pci/unbind"
    host.acting.kernel.hang(attribute)
    host.acting.context = host.acting.started(
        write_seconds=0.0, ended_late=lambda asked, result: ended.set()
    )
    with pytest.raises(StillWriting):
        host.act(Unbind(name=ADDRESS, owner="a"))
    while host.acting.kernel.written[-1][0] != attribute:
        assert not ended.wait(0.01)
    host.acting.kernel.resume(attribute)
    assert ended.wait(PATIENCE_SECONDS)
    assert host.pci.driver_of(path) == "nvme"
    assert (host.acting.owners, host.acting.entries()) == ({}, [])


def test_open_function_is_refused_and_forced_waits(host: Acting) -> None:
    """The kernel waits, and gives it back when the guest is gone."""
    path = bound(host)
    host.acting.kernel.open(path)
    with pytest.raises(DeviceInUse):
        host.act(Unbind(name=ADDRESS, owner="a"))
    assert host.pci.driver_of(path) == "vfio-pci"
    outcomes: list[Outcome] = []
    thread = Thread(
        target=lambda: outcomes.append(host.act(Unbind(name=ADDRESS, owner="a", force=True)))
    )
    thread.start()
    while not host.acting.kernel.written[-1][0].endswith("/vfio-pci/unbind"):
        thread.join(0.01)
        assert thread.is_alive()
    host.acting.kernel.close(path)
    thread.join(PATIENCE_SECONDS)
    assert len(outcomes) == 1
    assert host.pci.driver_of(path) == "nvme"
