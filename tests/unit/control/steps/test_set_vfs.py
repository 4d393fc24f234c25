"""set_vfs and sriov_manage: virtual functions are enabled, disabled, and put back."""

from __future__ import annotations

import errno
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from nodedevd.actions.plan import SetVfs, SriovManage
from nodedevd.control.steps import HANDLERS
from nodedevd.control.steps.base import AlreadySo, InUseNow, Overtaken, Ran, StepRefused
from nodedevd.control.steps.set_vfs import SetVfsHandler
from nodedevd.control.steps.sriov_manage import SriovManageHandler
from tests.support.pci_host import PF, SRIOV_MANAGE, PciHost
from tests.support.played_kernel import small_card, vendor_card
from tests.support.trees import Tree

SET, MANAGE = SetVfsHandler(), SriovManageHandler()


@pytest.fixture
def host(tmp_path: Path) -> PciHost:
    """Return a host without devices."""
    return PciHost(Tree(tmp_path))


def numbers(host: PciHost) -> list[str]:
    """Return what was written to sriov_numvfs."""
    return [value for path, value in host.kernel.written if path.endswith("/sriov_numvfs")]


def refused(host: PciHost, step: SetVfs | SriovManage) -> StepRefused:
    """Return how a step is refused."""
    with pytest.raises(StepRefused) as caught:
        HANDLERS[type(step)].do(step, host.step_host)
    return caught.value


# -- set_vfs ---------------------------------------------------------------------------


def test_step_is_done_recognised_and_undone(host: PciHost) -> None:
    """From none to two, and back."""
    step = SetVfs(host.card(), 2, 0)
    assert SET.done(step, host.step_host) is False
    SET.do(step, host.step_host)
    assert (SET.done(step, host.step_host), len(host.functions(step.card))) == (True, 2)
    assert SET.can_undo(step)
    SET.undo(step, host.step_host)
    assert (SET.done(step, host.step_host), host.functions(step.card)) == (False, [])


def test_change_through_none_is_undone_through_none(host: PciHost) -> None:
    """Both steps are, in reverse order."""
    card = host.card(2)
    steps = [SetVfs(card, 0, 2), SetVfs(card, 3, 0)]
    host.do(steps)
    host.undo(steps)
    assert numbers(host)[-4:] == ["0", "3", "0", "2"]
    assert len(host.functions(card)) == 2


def test_functions_come_back_when_others_cannot_be_enabled(host: PciHost) -> None:
    """The card has what it had."""
    card = host.card(2)
    attribute = f"{card}/sriov_numvfs"
    host.kernel.before(attribute, lambda: host.kernel.before(attribute, fails_once(host, card)))
    with pytest.raises(StepRefused) as caught:
        host.do([SetVfs(card, 0, 2), SetVfs(card, 3, 0)])
    assert caught.value.errno == "ENOMEM"
    assert "pci=realloc" in caught.value.detail
    assert len(host.functions(card)) == 2


def fails_once(host: PciHost, card: str) -> Callable[[], None]:
    """Return what has the next write to the card fail."""
    return lambda: host.kernel.refuse(f"{card}/sriov_numvfs", errno.ENOMEM)


def test_number_that_another_writer_has_set_is_so_already(host: PciHost) -> None:
    """It counts as done, and nobody undoes it."""
    with pytest.raises(AlreadySo):
        SET.do(SetVfs(host.card(2), 2, 0), host.step_host)


@pytest.mark.parametrize("step", [(0, 2), (4, 0)])
def test_functions_of_another_writer_stay(host: PciHost, step: tuple[int, int]) -> None:
    """The plan did not look at them."""
    card = host.card(3)
    with pytest.raises(Overtaken):
        SET.do(SetVfs(card, *step), host.step_host)
    with pytest.raises(StepRefused):
        SET.undo(SetVfs(card, *step), host.step_host)
    assert SET.done(SetVfs(card, *step), host.step_host) is None
    assert (numbers(host), len(host.functions(card))) == (["3"], 3)


def test_writer_that_is_faster_is_told_apart(host: PciHost) -> None:
    """The kernel answers EBUSY to the second of two."""
    card = host.card()
    attribute = f"{card}/sriov_numvfs"
    host.kernel.before(attribute, lambda: host.kernel.write(attribute, "1"))
    with pytest.raises(Overtaken) as caught:
        SET.do(SetVfs(card, 2, 0), host.step_host)
    assert caught.value.errno == "EBUSY"


def test_driver_that_enables_fewer_is_put_back(host: PciHost) -> None:
    """The kernel only reports it in its log."""
    card = host.card()

    def fewer(path: str, value: str) -> None:
        host.kernel.write(path, "1" if value == "3" else value)

    step_host = host.step_host
    step_host.write_file = fewer
    with pytest.raises(StepRefused) as caught:
        SET.do(SetVfs(card, 3, 0), step_host)
    assert caught.value.detail == "the driver was asked for 3 functions and enabled 1"
    assert (caught.value.left, host.functions(card)) == (None, [])


def test_driver_without_this_way_is_explained(host: PciHost) -> None:
    """ENOENT is neither the path nor the device."""
    card = host.card()
    host.kernel.write("/sys/bus/pci/drivers/nvme/unbind", PF)
    error = refused(host, SetVfs(card, 2, 0))
    assert (error.errno, "no driver is bound" in error.detail) == ("ENOENT", True)


def test_card_that_asks_to_try_again_is_tried_again(host: PciHost) -> None:
    """A few times."""
    card = host.card()
    host.kernel.refuse(f"{card}/sriov_numvfs", errno.EAGAIN, errno.EAGAIN)
    SET.do(SetVfs(card, 2, 0), host.step_host)
    host.kernel.refuse(f"{card}/sriov_numvfs", *[errno.EAGAIN] * 9)
    assert refused(host, SetVfs(card, 0, 2)).errno == "EAGAIN"


def test_card_that_is_gone_is_refused(host: PciHost) -> None:
    """It was pulled out."""
    card = host.card()
    host.tree.remove(f"{card}/sriov_numvfs")
    assert refused(host, SetVfs(card, 2, 0)).errno == "ENOENT"
    assert SET.done(SetVfs(card, 2, 0), host.step_host) is False


def to_vfio(host: PciHost, path: str) -> None:
    """Bind a function to vfio-pci."""
    address = path.rpartition("/")[2]
    host.kernel.write(f"{path}/driver_override", "vfio-pci\n")
    host.kernel.write("/sys/bus/pci/drivers/nvme/unbind", address)
    host.kernel.write("/sys/bus/pci/drivers/vfio-pci/bind", address)


@pytest.mark.parametrize("use", ["open", "mounted", "address", "profile", "mdev"])
def test_functions_that_came_in_use_stay(host: PciHost, use: str) -> None:
    """Neither a step nor its undoing takes them away; only force does, as a step."""
    card = host.card(2)
    function = host.functions(card)[1]
    if use == "open":
        to_vfio(host, function)
        host.kernel.open(function)
    elif use == "mounted":
        host.tree.block("nvme1n1", above=f"{function}/nvme/nvme1", number=(259, 1))
        host.tree.file("/proc/self/mountinfo", "30 1 259:1 / /srv rw - xfs /dev/nvme1n1 rw\n")
    elif use == "address":
        host.tree.device(f"{function}/net/eth0", class_="net")
        host.tree.file("/proc/net/route", "Iface\neth0 0\n")
    elif use == "profile":
        host.tree.file(f"{function}/nvidia/current_vgpu_type", "1148\n")
    else:
        host.tree.directory(f"{function}/5d4d1f0c-6d5b-45d5-9a64-3c6f0a3d1e01")
    with pytest.raises(InUseNow):
        SET.do(SetVfs(card, 0, 2), host.step_host)
    host.forced = True
    with pytest.raises(InUseNow):
        SET.undo(SetVfs(card, 2, 0), host.step_host)
    assert numbers(host) == ["2"]
    host.kernel.close(function)
    SET.do(SetVfs(card, 0, 2), host.step_host)
    assert numbers(host) == ["2", "0"]


# -- sriov_manage ----------------------------------------------------------------------


class Program:
    """Plays sriov-manage, with answers that come before those that work."""

    def __init__(self, host: PciHost, card: str, *failures: Ran) -> None:
        self.host, self.card = host, card
        self.failures = list(failures)
        self.calls: list[list[str]] = []

    def __call__(self, argv: Sequence[str]) -> Ran:
        """Run."""
        self.calls.append(list(argv))
        if self.failures:
            return self.failures.pop(0)
        most = self.host.text(f"{self.card}/sriov_totalvfs")
        self.host.kernel.write(f"{self.card}/sriov_numvfs", most if argv[1] == "-e" else "0")
        return Ran(0, b"", b"")


FAILED_QUIETLY = Ran(0, b"Enabling VFs on 0000:41:00.0\n", b"")
LOCKED = Ran(1, b"", b"Cannot obtain unbindLock for 0000:41:00.0\n")
BROKEN = Ran(1, b"", b"GPU 0000:41:00.0 is not a vGPU\x1b[31m host\n")


def gpu(host: PciHost, *failures: Ran, enabled: bool = False) -> str:
    """Add a GPU of NVIDIA, and the program."""
    vendor_card(host.kernel, small_card(functions=4), enabled=enabled)
    card = host.tree.resolve("0000:41:00.0")
    host.sriov_manage = Program(host, card, *failures)
    return card


def calls(host: PciHost) -> list[list[str]]:
    """Return how the program was called."""
    assert isinstance(host.sriov_manage, Program)
    return host.sriov_manage.calls


def test_program_enables_and_undoing_disables(host: PciHost) -> None:
    """It gets the address of the card."""
    step = SriovManage(gpu(host), SRIOV_MANAGE, enable=True)
    assert MANAGE.done(step, host.step_host) is False
    MANAGE.do(step, host.step_host)
    assert calls(host) == [[SRIOV_MANAGE, "-e", "0000:41:00.0"]]
    assert (MANAGE.done(step, host.step_host), len(host.functions(step.card))) == (True, 4)
    with pytest.raises(AlreadySo):
        MANAGE.do(step, host.step_host)
    MANAGE.undo(step, host.step_host)
    assert (MANAGE.done(step, host.step_host), host.functions(step.card)) == (False, [])
    MANAGE.undo(step, host.step_host)
    assert [one[1] for one in calls(host)] == ["-e", "-d"]


@pytest.mark.parametrize("failure", [FAILED_QUIETLY, LOCKED])
def test_program_that_may_work_later_is_run_again(host: PciHost, failure: Ran) -> None:
    """It returns 0 while the driver still starts, and gives up beside another run."""
    MANAGE.do(SriovManage(gpu(host, failure, failure), SRIOV_MANAGE, enable=True), host.step_host)
    assert len(calls(host)) == 3


def test_program_that_never_works_is_refused(host: PciHost) -> None:
    """Success is what sriov_numvfs shows."""
    error = refused(host, SriovManage(gpu(host, *[LOCKED] * 9), SRIOV_MANAGE, enable=True))
    assert len(calls(host)) == 5
    assert error.detail == (
        "it ended with status 1, and sriov_numvfs shows 0; it printed: Cannot obtain unbindLock for"
        " 0000:41:00.0"
    )


def test_program_that_fails_for_good_is_run_once(host: PciHost) -> None:
    """What it prints is shown, without control characters."""
    error = refused(host, SriovManage(gpu(host, BROKEN), SRIOV_MANAGE, enable=True))
    assert len(calls(host)) == 1
    assert "is not a vGPU" in error.detail
    assert "\x1b" not in error.detail


@pytest.mark.parametrize(("after", "left"), [(0, None), (2, "2 functions are enabled: it ended")])
def test_program_that_enables_some_is_run_the_other_way_round(
    host: PciHost, after: int, left: str | None
) -> None:
    """What it leaves then is told."""

    def run(argv: Sequence[str]) -> Ran:
        host.kernel.write(f"{card}/sriov_numvfs", "2" if argv[1] == "-e" else str(after))
        return BROKEN if argv[1] == "-e" or after else Ran(0, b"", b"")

    card = gpu(host)
    host.sriov_manage = run
    error = refused(host, SriovManage(card, SRIOV_MANAGE, enable=True))
    assert (error.left or "").startswith(left or "")
    assert (error.left is None, host.text(f"{card}/sriov_numvfs")) == (left is None, str(after))


def test_program_cannot_enable_some(host: PciHost) -> None:
    """So what it has disabled is not undone to more than there was."""
    card = gpu(host)
    host.kernel.write(f"{card}/sriov_numvfs", "2")
    step = SriovManage(card, SRIOV_MANAGE, enable=False, had_some=True)
    assert not MANAGE.can_undo(step)
    host.sriov_manage = lambda argv: BROKEN
    assert refused(host, step).left is None

    def disable_one(argv: Sequence[str]) -> Ran:
        host.kernel.write(f"{card}/sriov_numvfs", "0")
        host.kernel.write(f"{card}/sriov_numvfs", "1")
        return BROKEN

    host.sriov_manage = disable_one
    assert "cannot bring back" in (refused(host, step).left or "")


def test_all_functions_are_what_disabling_has_not_done(host: PciHost) -> None:
    """What it brought back is undone."""
    step = SriovManage(gpu(host, enabled=True), SRIOV_MANAGE, enable=False)
    assert MANAGE.done(step, host.step_host) is False
    MANAGE.do(step, host.step_host)
    assert MANAGE.done(step, host.step_host) is True
    MANAGE.undo(step, host.step_host)
    assert MANAGE.done(step, host.step_host) is False


def test_card_that_has_gone_has_nothing_to_undo(host: PciHost) -> None:
    """The program is not run for it."""
    card = gpu(host)
    host.tree.remove(card)
    step = SriovManage(card, SRIOV_MANAGE, enable=True)
    assert MANAGE.done(step, host.step_host) is False
    MANAGE.undo(step, host.step_host)
    assert calls(host) == []


def test_program_is_not_run_while_a_function_is_in_use(host: PciHost) -> None:
    """It would clear the profiles of all functions."""
    card = gpu(host, enabled=True)
    host.kernel.write(f"{host.functions(card)[3]}/nvidia/current_vgpu_type", "1")
    with pytest.raises(InUseNow):
        MANAGE.do(SriovManage(card, SRIOV_MANAGE, enable=False), host.step_host)
    with pytest.raises(InUseNow):
        MANAGE.undo(SriovManage(card, SRIOV_MANAGE, enable=True), host.step_host)
    assert calls(host) == []


def test_program_is_not_run_on_functions_that_another_writer_has_enabled(host: PciHost) -> None:
    """Some are neither all nor none."""
    card = gpu(host)
    host.kernel.write(f"{card}/sriov_numvfs", "2")
    step = SriovManage(card, SRIOV_MANAGE, enable=True)
    assert isinstance(refused(host, step), Overtaken)
    with pytest.raises(StepRefused):
        MANAGE.undo(step, host.step_host)
    assert (MANAGE.done(step, host.step_host), calls(host)) == (None, [])
