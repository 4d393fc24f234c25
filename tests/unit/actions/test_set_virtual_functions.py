"""set_virtual_functions: how the number is changed, and when it is not."""

from __future__ import annotations

from pathlib import Path

import pytest

from nodedevd.actions.ownership import Record
from nodedevd.actions.plan import SetVfs, SriovManage
from nodedevd.actions.requests import Bind, SetVirtualFunctions
from nodedevd.errors import (
    Changed,
    DeviceInUse,
    MadeByOther,
    NoSuchDevice,
    NotPossible,
    OwnedByOther,
)
from nodedevd.model.snapshot import Snapshot
from tests.support.pci_host import PF, SRIOV_MANAGE, PciHost
from tests.support.played_kernel import mdev_card, small_card, vendor_card
from tests.support.trees import Tree

NAME = "pci_0000_01_00_0"
UUID = "5d4d1f0c-6d5b-45d5-9a64-3c6f0a3d1e01"


@pytest.fixture
def host(tmp_path: Path) -> PciHost:
    """Return a host without devices."""
    return PciHost(Tree(tmp_path))


def request(number: int, name: str = PF, **more: object) -> SetVirtualFunctions:
    """Ask for a number."""
    return SetVirtualFunctions(name=name, number=number, **more)  # type: ignore[arg-type]


def made_here(host: PciHost, card: str, number: int, owner: str | None = None) -> None:
    """Have the virtual functions of a card made by a client."""
    what = f"{number} virtual functions"
    host.records[card] = Record(card, "client", owner, 0, what, 7, "2026-11-28T19:00:00Z")


def refusal(host: PciHost, request: SetVirtualFunctions) -> NotPossible:
    """Return why it is not possible."""
    with pytest.raises(NotPossible) as caught:
        host.plan(request)
    return caught.value


def in_use(host: PciHost, request: SetVirtualFunctions) -> DeviceInUse:
    """Return what is in use."""
    with pytest.raises(DeviceInUse) as caught:
        host.plan(request)
    return caught.value


# -- the steps -------------------------------------------------------------------------


def test_number_is_written_at_once_from_none(host: PciHost) -> None:
    """The tree shows them afterwards, and a record whose they are."""
    card = host.card()
    plan = host.carry_out(request(2, owner="nova"))
    assert plan.steps == (SetVfs(card, 2, 0),)
    assert plan.cards == (NAME,)
    assert len(host.functions(card)) == 2
    assert (host.records[card].origin, host.records[card].owner) == ("client", "nova")


def test_number_is_changed_through_none(host: PciHost) -> None:
    """The kernel answers EBUSY to any other way."""
    card = host.card()
    host.carry_out(request(2))
    plan = host.carry_out(request(3))
    assert plan.steps == (SetVfs(card, 0, 2), SetVfs(card, 3, 0))
    assert host.kernel.written[-2:] == [
        (f"{card}/sriov_numvfs", "0"),
        (f"{card}/sriov_numvfs", "3"),
    ]


def test_none_are_left_of_what_was_made(host: PciHost) -> None:
    """The record goes with them."""
    card = host.card()
    host.carry_out(request(2, owner="nova"))
    assert host.carry_out(request(0, owner="nova")).steps == (SetVfs(card, 0, 2),)
    assert host.functions(card) == []
    assert host.records == {}


@pytest.mark.parametrize("number", [0, 3])
def test_number_that_is_so_already_needs_no_step(host: PciHost, number: int) -> None:
    """It is success, whoever made them."""
    host.card(number)
    assert host.carry_out(request(number)).steps == ()


def test_answer_waits_until_the_tree_has_all_functions_or_none(host: PciHost) -> None:
    """Their events come one after the other, before or after that of the card."""
    host.card(2)
    two, none = host.snapshot(), host.plan(request(0, force=True)).expected
    [expected] = host.plan(request(2)).expected
    assert expected.met(two)
    one = Snapshot(device for device in two if device.sysname != "0000:01:00.2")
    assert not expected.met(one)
    host.kernel.write(f"{host.tree.resolve(PF)}/sriov_numvfs", "0")
    zero = host.snapshot()
    late = [device for device in two if device.sysname == "0000:01:00.2"]
    assert [each.met(zero) for each in none] == [True]
    assert [each.met(Snapshot([*zero, *late])) for each in none] == [False]


@pytest.mark.parametrize("name", [NAME, PF, "/sys/devices/pci0000:00/0000:01:00.0"])
def test_card_has_several_names(host: PciHost, name: str) -> None:
    """They are those of all questions."""
    host.card()
    assert len(host.plan(request(1, name)).steps) == 1


# -- what is not possible --------------------------------------------------------------


def test_more_than_the_card_can_have_is_refused(host: PciHost) -> None:
    """The message has both numbers."""
    host.card(total=4)
    error = refusal(host, request(5))
    assert error.reason == "too-many"
    assert str(error) == f"{NAME}: it can have 4 virtual functions at most, not 5"


def test_card_without_driver_is_refused(host: PciHost) -> None:
    """The kernel answers ENOENT, also to a 0 for functions that outlived the driver."""
    card = host.card(2)
    host.kernel.write("/sys/bus/pci/drivers/nvme/unbind", PF)
    made_here(host, card, 2)
    for number in (0, 3):
        error = refusal(host, request(number))
        assert error.reason == "no-driver"
        assert f"nodedevctl bind {NAME} DRIVER" in str(error)
    assert host.plan(request(2)).steps == ()


def test_virtual_function_is_refused_with_its_physical_one(host: PciHost) -> None:
    """It says which to name instead."""
    [function] = host.functions(host.card(1))
    error = refusal(host, request(1, function))
    assert (error.reason, PF in str(error)) == ("virtual-function", True)


def test_function_without_sriov_is_refused(host: PciHost) -> None:
    """So is a device that is no PCI function."""
    host.function("0000:02:00.0")
    assert refusal(host, request(1, "0000:02:00.0")).reason == "no-sriov"
    assert refusal(host, request(1, "computer")).reason == "no-pci"
    with pytest.raises(NoSuchDevice):
        host.plan(request(1, "0000:03:00.0"))


# -- whose they are --------------------------------------------------------------------


@pytest.mark.parametrize("number", [0, 3])
def test_functions_that_somebody_else_made_are_left_to_him(host: PciHost, number: int) -> None:
    """Force takes them."""
    host.card(2)
    with pytest.raises(MadeByOther):
        host.plan(request(number))
    assert host.plan(request(number, force=True)).steps


def test_functions_of_another_owner_are_left_to_him(host: PciHost) -> None:
    """So are those of another generation."""
    made_here(host, host.card(2), 2, owner="nova")
    with pytest.raises(OwnedByOther):
        host.plan(request(0))
    with pytest.raises(Changed):
        host.plan(request(0, owner="nova", generation=6))
    assert host.plan(request(0, owner="nova", generation=7)).steps


def test_record_of_another_number_is_of_functions_that_are_gone(host: PciHost) -> None:
    """Somebody has made others since."""
    made_here(host, host.card(3), 2)
    with pytest.raises(MadeByOther):
        host.plan(request(0))


def test_function_that_is_bound_for_another_owner_is_left_to_him(host: PciHost) -> None:
    """It would be gone for him."""
    card = host.card()
    host.carry_out(request(2, owner="a"))
    host.carry_out(Bind(name=host.functions(card)[1], driver="vfio-pci", owner="b"))
    with pytest.raises(OwnedByOther) as caught:
        host.plan(request(0, owner="a"))
    assert caught.value.owner == "b"


# -- what is in use --------------------------------------------------------------------


@pytest.fixture
def card(host: PciHost) -> str:
    """Return a card with two virtual functions that were made here."""
    path = host.card(2)
    made_here(host, path, 2)
    return path


def to_vfio(host: PciHost, path: str) -> None:
    """Bind a function to vfio-pci by hand."""
    address = path.rpartition("/")[2]
    host.kernel.write(f"{path}/driver_override", "vfio-pci\n")
    host.kernel.write(f"/sys/bus/pci/drivers/{host.driver_of(path)}/unbind", address)
    host.kernel.write("/sys/bus/pci/drivers_probe", address)
    assert host.driver_of(path) == "vfio-pci"


@pytest.mark.parametrize("number", [0, 3])
def test_open_function_is_refused(host: PciHost, card: str, number: int) -> None:
    """The kernel would wait until it is closed, and then take all functions away."""
    first, second = host.functions(card)
    to_vfio(host, second)
    assert host.plan(request(number)).steps
    host.kernel.open(second, pid=4242)
    error = in_use(host, request(number))
    assert (error.name, error.known) == ("pci_0000_01_00_2", True)
    assert host.plan(request(number, force=True)).steps
    assert host.functions(card) == [first, second]


def test_function_that_may_be_open_is_refused(host: PciHost, card: str) -> None:
    """A process that cannot be looked into may have it; that does not matter without VFIO."""
    host.unseen = 1
    assert host.plan(request(0)).steps
    to_vfio(host, host.functions(card)[0])
    assert not in_use(host, request(0)).known


def test_forced_plan_says_that_the_kernel_may_wait(host: PciHost, card: str) -> None:
    """Force skips no rule of the kernel."""
    function = host.functions(card)[0]
    to_vfio(host, function)
    assert host.plan(request(0, force=True)).notes == ()
    host.kernel.open(function)
    plan = host.plan(request(0, force=True))
    assert plan.forced
    assert ["the kernel may wait" in note for note in plan.notes] == [True]


def test_function_with_an_address_is_refused(host: PciHost, card: str) -> None:
    """The host would lose its network."""
    interface = host.tree.device(f"{host.functions(card)[1]}/net/eth1", class_="net")
    assert host.plan(request(0)).steps
    host.tree.file("/proc/net/route", "Iface Destination\neth1 00000000\n")
    error = in_use(host, request(0))
    assert (error.name, error.known) == ("pci_0000_01_00_2", True)
    assert "eth1 has an address" in error.detail
    assert interface


def test_interface_in_a_bridge_is_refused(host: PciHost, card: str) -> None:
    """A bond, a team and a VLAN are alike."""
    interface = host.tree.device(f"{host.functions(card)[1]}/net/eth1", class_="net")
    bridge = host.tree.device("/sys/devices/virtual/net/br0", class_="net")
    host.tree.kernel_link(f"{interface}/master", bridge)
    assert "eth1 is a part of br0" in in_use(host, request(0)).detail


def test_interface_in_another_namespace_is_refused(host: PciHost, card: str) -> None:
    """A container has it: sysfs keeps the directory and does not list it."""
    host.tree.directory(f"{host.functions(card)[0]}/net")
    error = in_use(host, request(0))
    assert "in another network namespace" in error.detail
    assert error.name == "pci_0000_01_00_1"


def test_addresses_that_cannot_be_read_are_refused(host: PciHost, card: str) -> None:
    """Only for functions with interfaces."""
    host.tree.remove("/proc/net/route")
    assert host.plan(request(0)).steps
    host.tree.device(f"{host.functions(card)[0]}/net/eth0", class_="net")
    assert not in_use(host, request(0)).known


def test_mounted_disk_is_refused(host: PciHost, card: str) -> None:
    """A namespace of NVMe belongs to its function."""
    host.tree.block("nvme1n1", above=f"{host.functions(card)[0]}/nvme/nvme1", number=(259, 1))
    assert host.plan(request(0)).steps
    host.tree.file("/proc/self/mountinfo", "30 1 259:1 / /srv rw - xfs /dev/nvme1n1 rw\n")
    assert "/srv is mounted from nvme1n1" in in_use(host, request(0)).detail


def test_swap_is_refused(host: PciHost, card: str) -> None:
    """As a mount is."""
    host.tree.block("nvme1n1", above=f"{host.functions(card)[0]}/nvme/nvme1", number=(259, 1))
    host.tree.file("/proc/swaps", "Filename Type\n/dev/nvme1n1 partition\n")
    assert "nvme1n1 is swap space" in in_use(host, request(0)).detail


def test_disk_with_a_volume_on_it_is_refused(host: PciHost, card: str) -> None:
    """A guest may have the volume, and nothing is mounted here."""
    disk = host.tree.block(
        "nvme1n1", above=f"{host.functions(card)[0]}/nvme/nvme1", number=(259, 1)
    )
    volume = host.tree.block("dm-0", number=(253, 0), attributes={"dm/name": "vg0-guest"})
    host.tree.kernel_link(f"{volume}/slaves/nvme1n1", disk)
    assert "vg0-guest lies on nvme1n1" in in_use(host, request(0)).detail


@pytest.mark.parametrize("part", ["", "/nvme1n1p1"])
def test_disk_that_a_process_has_open_is_refused(host: PciHost, card: str, part: str) -> None:
    """A VM may have it by its node; udevd only looks at a new disk."""
    path = host.tree.block(
        "nvme1n1", above=f"{host.functions(card)[1]}/nvme/nvme1", number=(259, 1)
    )
    if part:
        host.tree.block("nvme1n1p1", above=path, number=(259, 2))
    host.nodes_open[path + part] = "(udev-worker)"
    assert host.plan(request(0)).steps
    host.nodes_open[path + part] = "qemu-system-x86"
    error = in_use(host, request(0))
    assert (error.name, error.known) == ("pci_0000_01_00_2", True)
    assert f"qemu-system-x86 (pid 4711) has {(path + part).rpartition('/')[2]} open" in error.detail
    host.nodes_open.clear()
    host.unseen = 1
    assert not in_use(host, request(0)).known
    assert host.plan(request(0, force=True)).steps


def test_functions_that_the_tree_does_not_have_are_refused(host: PciHost, card: str) -> None:
    """Whether they are in use cannot be told."""
    host.tree.remove("/sys/bus/pci/devices/0000:01:00.2")
    error = in_use(host, request(0))
    assert not error.known
    assert host.plan(request(0, force=True)).steps


def test_use_of_the_physical_function_does_not_matter(host: PciHost, card: str) -> None:
    """It stays."""
    host.tree.block("nvme0n1", above=f"{card}/nvme/nvme0", number=(259, 0))
    host.tree.file("/proc/self/mountinfo", "30 1 259:0 / / rw - xfs /dev/nvme0n1 rw\n")
    assert host.plan(request(0)).steps


def test_mdev_on_a_function_is_refused(host: PciHost) -> None:
    """It is removed first."""
    functions = mdev_card(host.kernel, small_card(functions=2))
    pf = functions[0].rpartition("/")[0] + "/0000:08:00.0"
    made_here(host, pf, 2)
    # As an older driver that takes sriov_numvfs: the program is another matter.
    assert host.plan(request(0, pf)).steps
    host.kernel.write(f"{functions[1]}/mdev_supported_types/nvidia-0/create", UUID)
    error = in_use(host, request(0, pf))
    assert f"nodedevctl remove {UUID}" in error.detail


# -- NVIDIA ----------------------------------------------------------------------------


@pytest.fixture
def gpu(host: PciHost) -> str:
    """Return a GPU of NVIDIA with its driver, whose four functions are enabled, made here."""
    functions = vendor_card(host.kernel, small_card(functions=4))
    path = functions[0].rpartition("/")[0] + "/0000:41:00.0"
    made_here(host, path, 4)
    return path


def test_gpu_without_the_program_is_refused(host: PciHost, gpu: str) -> None:
    """The driver refuses the attribute; what is so already needs no program."""
    error = refusal(host, request(0, gpu))
    assert error.reason == "no-sriov-manage"
    assert SRIOV_MANAGE in str(error)
    assert host.plan(request(4, gpu)).steps == ()


def test_program_is_run_for_all_functions_or_none(host: PciHost, gpu: str) -> None:
    """It knows no numbers, and only one is run on a host at a time."""
    host.sriov_manage = lambda argv: pytest.fail("a plan runs nothing")
    plan = host.plan(request(0, gpu))
    assert plan.steps == (SriovManage(gpu, SRIOV_MANAGE, enable=False),)
    assert plan.cards == ("pci_0000_41_00_0", "sriov-manage")
    error = refusal(host, request(2, gpu))
    assert (error.reason, "give 4 or 0, not 2" in str(error)) == ("all-or-none", True)


def test_plan_says_that_the_program_cannot_bring_some_back(host: PciHost, gpu: str) -> None:
    """They were enabled without it."""
    host.sriov_manage = lambda argv: pytest.fail("a plan runs nothing")
    host.kernel.write(f"{gpu}/sriov_numvfs", "0")
    host.kernel.write(f"{gpu}/sriov_numvfs", "2")
    made_here(host, gpu, 2)
    [step] = host.plan(request(0, gpu)).steps
    assert step == SriovManage(gpu, SRIOV_MANAGE, enable=False, had_some=True)


def test_function_with_a_profile_is_refused(host: PciHost, gpu: str) -> None:
    """The program would clear it."""
    host.sriov_manage = lambda argv: pytest.fail("a plan runs nothing")
    function = host.functions(gpu)[2]
    host.kernel.write(f"{function}/nvidia/current_vgpu_type", "1")
    error = in_use(host, request(0, gpu))
    assert (error.name, error.known) == ("pci_0000_41_00_3", True)
    assert "it has the vGPU profile 1" in error.detail
    host.tree.remove(f"{function}/nvidia/current_vgpu_type")
    host.tree.directory(f"{function}/nvidia/current_vgpu_type")  # a read fails with EISDIR
    assert not in_use(host, request(0, gpu)).known


def test_gpu_with_another_driver_takes_the_attribute(host: PciHost) -> None:
    """Only NVIDIA's driver for vGPUs refuses it."""
    functions = mdev_card(host.kernel, small_card(functions=2))
    pf = functions[0].rpartition("/")[0] + "/0000:08:00.0"
    made_here(host, pf, 2)
    assert host.plan(request(0, pf)).steps == (SetVfs(pf, 0, 2),)


def test_functions_of_a_card_that_is_bound_for_somebody_else_are_refused(host: PciHost) -> None:
    """Their record would take the place of the one that says for whom it was bound."""
    card = host.card(0)
    driver = host.driver_of(card) or ""
    host.records[card] = Record(card, "client", "vm-7", 0, driver, 7, "2026-11-28T19:00:00Z")
    with pytest.raises(OwnedByOther, match="vm-7"):
        host.plan(request(2, owner="vm-8"))
    assert host.plan(request(2, owner="vm-7")).steps
    assert host.plan(request(2, owner="vm-8", force=True)).steps
