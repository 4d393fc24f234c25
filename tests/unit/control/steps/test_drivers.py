"""override_driver, unbind_driver, bind_driver: a driver is changed, and put back."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from nodedevd.actions.plan import BindDriver, OverrideDriver, Step, UnbindDriver
from nodedevd.actions.requests import Bind, Unbind
from nodedevd.control.steps import HANDLERS
from nodedevd.control.steps.base import AlreadySo, InUseNow, Overtaken, StepRefused
from tests.support.pci_host import NVME, PciHost, state_of
from tests.support.trees import Tree

ADDRESS = "0000:02:00.0"
DRIVERS = "/sys/bus/pci/drivers"


@pytest.fixture
def host(tmp_path: Path) -> PciHost:
    """Return a host with the driver nvme."""
    host = PciHost(Tree(tmp_path))
    host.driver("nvme", NVME)
    return host


@pytest.fixture
def disk(host: PciHost) -> str:
    """Return an NVMe disk that is bound to nvme."""
    return host.function(ADDRESS, driver="nvme", group=5)


def do(host: PciHost, step: Step) -> None:
    """Take a step."""
    HANDLERS[type(step)].do(step, host.step_host)


def undo(host: PciHost, step: Step) -> None:
    """Undo a step."""
    HANDLERS[type(step)].undo(step, host.step_host)


def done(host: PciHost, step: Step) -> bool | None:
    """Return whether a step has been done."""
    return HANDLERS[type(step)].done(step, host.step_host)


def to_vfio(host: PciHost) -> tuple[Step, ...]:
    """Return the steps that bind the disk to vfio-pci."""
    return host.plan(Bind(name=ADDRESS, driver="vfio-pci", force=True)).steps


def refused(host: PciHost, step: Step) -> StepRefused:
    """Return how a step is refused."""
    with pytest.raises(StepRefused) as caught:
        do(host, step)
    return caught.value


# -- all together ----------------------------------------------------------------------


@pytest.mark.parametrize("override", [None, "nvme", "foo"])
@pytest.mark.parametrize("taken", [0, 1, 2, 3])
def test_any_number_of_steps_is_undone(
    host: PciHost, disk: str, taken: int, override: str | None
) -> None:
    """Whatever driver_override was, and although nvme does not take what is reserved."""
    if override is not None:
        host.kernel.write(f"{disk}/driver_override", f"{override}\n")
    before = state_of(host)
    steps = to_vfio(host)
    assert len(steps) == 3
    for step in steps[:taken]:
        assert not done(host, step)
        do(host, step)
        assert done(host, step)
    host.undo(steps[:taken])
    assert state_of(host) == before
    host.undo(steps)  # once more changes nothing
    assert state_of(host) == before


@pytest.mark.parametrize("taken", [0, 1, 2, 3])
def test_any_number_of_steps_to_the_host_is_undone(host: PciHost, disk: str, taken: int) -> None:
    """The function is bound to vfio-pci again."""
    host.carry_out(Bind(name=ADDRESS, driver="vfio-pci"))
    before = state_of(host)
    steps = host.plan(Unbind(name=ADDRESS)).steps
    host.do(steps[:taken])
    host.undo(steps[:taken])
    assert state_of(host) == before


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (errno.EINVAL, "the IOMMU is off"),
        (errno.ENODEV, "does not take this device"),
        (errno.EBUSY, "has virtual functions enabled"),
        (errno.EIO, "failed"),
    ],
)
def test_driver_comes_back_when_the_other_one_fails(
    host: PciHost, disk: str, number: int, words: str
) -> None:
    """The probe of vfio-pci has failed, and the reason is in the error."""
    before = state_of(host)
    host.kernel.refuse(f"{DRIVERS}/vfio-pci/bind", number)
    with pytest.raises(StepRefused) as caught:
        host.do(to_vfio(host))
    assert caught.value.errno == errno.errorcode[number]
    assert words in caught.value.detail
    assert state_of(host) == before


def test_member_of_a_group_that_fails_takes_the_others_back(host: PciHost, disk: str) -> None:
    """All or none are bound."""
    host.function("0000:02:00.1", driver="nvme", group=5)
    before = state_of(host)
    steps = host.plan(Bind(name=ADDRESS, driver="vfio-pci", group=True)).steps
    attribute = f"{DRIVERS}/vfio-pci/bind"
    second = lambda: host.kernel.refuse(attribute, errno.EINVAL)  # noqa: E731
    host.kernel.before(attribute, lambda: host.kernel.before(attribute, second))
    with pytest.raises(StepRefused):
        host.do(steps)
    assert state_of(host) == before


# -- override_driver -------------------------------------------------------------------


def test_reservation_is_cleared_by_one_newline(host: PciHost, disk: str) -> None:
    """An empty write does nothing, and `(null)` is what it shows then."""
    do(host, OverrideDriver(disk, "vfio-pci", None))
    do(host, OverrideDriver(disk, None, "vfio-pci"))
    assert host.kernel.written[-1] == (f"{disk}/driver_override", "\n")
    assert done(host, OverrideDriver(disk, None, "vfio-pci"))


def test_reservation_of_another_writer_stays(host: PciHost, disk: str) -> None:
    """Neither the step nor its undoing touches it."""
    step = OverrideDriver(disk, "vfio-pci", None)
    host.kernel.write(f"{disk}/driver_override", "pci-stub\n")
    assert isinstance(refused(host, step), Overtaken)
    undo(host, step)
    assert host.text(f"{disk}/driver_override") == "pci-stub"
    with pytest.raises(AlreadySo):
        do(host, OverrideDriver(disk, "pci-stub", None))


def test_device_that_is_gone_has_nothing_to_undo(host: PciHost, disk: str) -> None:
    """It was pulled out."""
    for name in ("driver_override", "driver"):
        host.tree.remove(f"{disk}/{name}")
    host.tree.remove(disk)
    assert refused(host, OverrideDriver(disk, "vfio-pci", None)).errno == "ENOENT"
    for step in (
        OverrideDriver(disk, None, "vfio-pci"),
        UnbindDriver(disk, "pci", "nvme", None),
        BindDriver(disk, "pci", "vfio-pci"),
    ):
        undo(host, step)


# -- unbind_driver ---------------------------------------------------------------------


def test_driver_of_another_writer_stays(host: PciHost, disk: str) -> None:
    """The plan did not look at what it is used for."""
    step = UnbindDriver(disk, "pci", "vfio-pci", None)
    assert isinstance(refused(host, step), Overtaken)
    assert done(host, step) is None
    with pytest.raises(StepRefused):
        undo(host, step)
    assert host.driver_of(disk) == "nvme"


def test_device_without_driver_is_unbound_already(host: PciHost, disk: str) -> None:
    """Another writer did it; so it is not bound again."""
    host.kernel.write(f"{DRIVERS}/nvme/unbind", ADDRESS)
    with pytest.raises(AlreadySo):
        do(host, UnbindDriver(disk, "pci", "nvme", None))


def test_device_that_another_writer_unbinds_at_the_same_time_is_unbound(
    host: PciHost, disk: str
) -> None:
    """The kernel answers ENODEV to the second of two."""
    attribute = f"{DRIVERS}/nvme/unbind"
    host.kernel.before(attribute, lambda: host.kernel.write(attribute, ADDRESS))
    do(host, UnbindDriver(disk, "pci", "nvme", None))
    assert host.driver_of(disk) is None


def test_device_that_was_opened_since_the_plan_stays(host: PciHost, disk: str) -> None:
    """Forced, the kernel waits: here the step is not taken to its end."""
    host.do(to_vfio(host))
    host.kernel.open(disk)
    with pytest.raises(InUseNow):
        do(host, UnbindDriver(disk, "pci", "vfio-pci", "vfio-pci"))
    with pytest.raises(InUseNow):
        undo(host, BindDriver(disk, "pci", "vfio-pci"))
    assert host.driver_of(disk) == "vfio-pci"
    assert host.kernel.written[-1] == (f"{DRIVERS}/vfio-pci/bind", ADDRESS)


# -- bind_driver -----------------------------------------------------------------------


def test_driver_that_takes_it_first_is_told_apart(host: PciHost, disk: str) -> None:
    """The wanted one is success, another one is not."""
    with pytest.raises(AlreadySo):
        do(host, BindDriver(disk, "pci", "nvme"))
    with pytest.raises(AlreadySo):
        do(host, BindDriver(disk, "pci", None))
    assert isinstance(refused(host, BindDriver(disk, "pci", "vfio-pci")), Overtaken)
    undo(host, BindDriver(disk, "pci", "vfio-pci"))
    assert host.driver_of(disk) == "nvme"


def test_driver_that_reports_success_without_binding_is_refused(host: PciHost, disk: str) -> None:
    """What counts is the link `driver`."""
    host.kernel.write(f"{DRIVERS}/nvme/unbind", ADDRESS)
    step_host = host.step_host
    step_host.write_file = lambda path, value: None
    with pytest.raises(StepRefused) as caught:
        HANDLERS[BindDriver].do(BindDriver(disk, "pci", "nvme"), step_host)
    assert caught.value.detail == "the kernel reports success, and the driver is none"


def test_module_that_was_unloaded_since_the_plan_is_named(host: PciHost, disk: str) -> None:
    """ENOENT is of the driver."""
    steps = to_vfio(host)
    host.do(steps[:2])
    host.tree.remove(f"{DRIVERS}/vfio-pci")
    assert refused(host, steps[2]).detail == "the driver vfio-pci is no longer loaded"


def test_driver_for_guests_that_takes_it_again_is_refused(host: PciHost, disk: str) -> None:
    """Its module was given the ids."""
    host.carry_out(Bind(name=ADDRESS, driver="vfio-pci"))
    before = state_of(host)
    host.kernel.pci.drivers = {"vfio-pci": host.kernel.pci.drivers["vfio-pci"]}
    host.kernel.pci.drivers["vfio-pci"].ids = frozenset({(0x1B36, NVME)})
    with pytest.raises(StepRefused) as caught:
        host.do(host.plan(Unbind(name=ADDRESS)).steps)
    assert "takes it again, since it was given its ids" in caught.value.detail
    assert state_of(host) == before


def test_probe_without_any_driver_is_done(host: PciHost) -> None:
    """Whether it was done cannot be told from the host."""
    path = host.function(ADDRESS, device=0x7777, group=5)
    do(host, BindDriver(path, "pci", None, "vfio-pci"))
    assert done(host, BindDriver(path, "pci", None, "vfio-pci")) is None
