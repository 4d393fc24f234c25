"""bind and unbind: how a function changes its driver, and when it does not."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
from msgspec.structs import replace

from nodedevd.actions.plan import BindDriver, OverrideDriver, UnbindDriver
from nodedevd.actions.requests import Bind, Unbind
from nodedevd.errors import (
    DeviceInUse,
    InvalidParameter,
    MadeByOther,
    NoSuchDevice,
    NotPossible,
    OwnedByOther,
)
from tests.support.pci_host import AUDIO, ETHERNET, NVME, PF, PciHost, state_of
from tests.support.trees import Tree

NAME, OTHER = "pci_0000_02_00_0", "pci_0000_02_00_1"
FIRST, SECOND = "0000:02:00.0", "0000:02:00.1"
NIC, HDA = 0x1001, 0x1002


@pytest.fixture
def host(tmp_path: Path) -> PciHost:
    """Return a host with drivers, and without devices."""
    host = PciHost(Tree(tmp_path))
    host.driver("nvme", NVME)
    host.driver("e1000e", NIC)
    host.driver("snd_hda_intel", HDA)
    return host


@pytest.fixture
def disk(host: PciHost) -> str:
    """Return an NVMe disk that is alone in its group."""
    return host.function(FIRST, driver="nvme", group=5)


@pytest.fixture
def pair(host: PciHost) -> tuple[str, str]:
    """Return a disk, and a sound card in the same group behind a bridge that is in it, too."""
    host.tree.pci("0000:00:01.0", vendor=1, device=1, class_=0x060400, driver="pcieport")
    host.kernel.pci.overridable("/sys/devices/pci0000:00/0000:00:01.0")
    disk = host.function(FIRST, driver="nvme", group=5)
    sound = host.function(SECOND, device=HDA, class_=AUDIO, driver="snd_hda_intel", group=5)
    bridge = "/sys/devices/pci0000:00/0000:00:01.0"
    host.tree.kernel_link("/sys/kernel/iommu_groups/5/devices/0000:00:01.0", bridge)
    host.tree.kernel_link(f"{bridge}/iommu_group", "/sys/kernel/iommu_groups/5")
    return disk, sound


def bind(driver: str = "vfio-pci", name: str = FIRST, **more: object) -> Bind:
    """Ask for a driver."""
    return Bind(name=name, driver=driver, **more)  # type: ignore[arg-type]


def unbind(name: str = FIRST, **more: object) -> Unbind:
    """Ask for the host's own driver."""
    return Unbind(name=name, **more)  # type: ignore[arg-type]


def refusal(host: PciHost, request: Bind | Unbind) -> NotPossible:
    """Return why it is not possible."""
    with pytest.raises(NotPossible) as caught:
        host.plan(request)
    return caught.value


def in_use(host: PciHost, request: Bind | Unbind) -> DeviceInUse:
    """Return what is in use."""
    with pytest.raises(DeviceInUse) as caught:
        host.plan(request)
    return caught.value


# -- there and back --------------------------------------------------------------------


def test_function_is_reserved_then_unbound_then_bound(host: PciHost, disk: str) -> None:
    """No other driver can take it in between; a record says for whom it is bound."""
    plan = host.carry_out(bind(owner="nova"))
    assert plan.steps == (
        OverrideDriver(disk, "vfio-pci", None),
        UnbindDriver(disk, "pci", "nvme", None),
        BindDriver(disk, "pci", "vfio-pci"),
    )
    assert plan.cards == (NAME,)
    assert host.driver_of(disk) == "vfio-pci"
    assert host.text(f"{disk}/driver_override") == "vfio-pci"
    record = host.records[disk]
    assert (record.owner, record.type, record.made) == ("nova", "vfio-pci", "2026-11-28T20:00:00Z")


def test_function_goes_back_to_the_driver_that_matches(host: PciHost, disk: str) -> None:
    """All is as it was: override, driver, no record."""
    before = state_of(host)
    host.carry_out(bind(owner="nova"))
    plan = host.carry_out(unbind(owner="nova"))
    assert plan.steps == (
        OverrideDriver(disk, None, "vfio-pci"),
        UnbindDriver(disk, "pci", "vfio-pci", "vfio-pci"),
        BindDriver(disk, "pci", None, "vfio-pci"),
    )
    assert state_of(host) == before
    assert host.records == {}


def test_answer_waits_until_the_tree_has_lost_the_driver(host: PciHost, disk: str) -> None:
    """Which driver comes is not known beforehand."""
    host.carry_out(bind())
    [expected] = host.plan(unbind()).expected
    assert not expected.met(host.snapshot())
    host.carry_out(unbind())
    assert expected.met(host.snapshot())


def test_function_without_driver_is_bound(host: PciHost) -> None:
    """There is nothing to unbind."""
    path = host.function(FIRST, group=5)
    plan = host.carry_out(bind())
    assert plan.steps == (
        OverrideDriver(path, "vfio-pci", None),
        BindDriver(path, "pci", "vfio-pci"),
    )


def test_function_without_any_matching_driver_has_none_afterwards(host: PciHost) -> None:
    """That is no failure, and the plan says so."""
    path = host.function(FIRST, device=0x7777, group=5)
    host.carry_out(bind())
    plan = host.carry_out(unbind())
    assert host.driver_of(path) is None
    assert "without one it has none" in plan.notes[0]
    assert host.plan(unbind()).steps == ()


def test_reservation_of_a_function_without_driver_is_cleared(host: PciHost) -> None:
    """The driver that matches takes it then."""
    path = host.function(FIRST, group=5)
    host.kernel.write(f"{path}/driver_override", "vfio-pci\n")
    host.carry_out(unbind(force=True))
    assert (host.driver_of(path), host.text(f"{path}/driver_override")) == ("nvme", "(null)")


def test_wanted_driver_needs_no_step(host: PciHost, disk: str) -> None:
    """Whoever bound it, loaded or not."""
    assert host.plan(bind("nvme")).steps == ()
    host.tree.remove("/sys/bus/pci/drivers/snd_hda_intel")
    host.carry_out(bind())
    assert host.plan(bind(owner="somebody")).steps == ()


def test_function_of_the_host_stays_where_it_is(host: PciHost, disk: str) -> None:
    """Unbind gives back, and takes nothing away."""
    assert host.plan(unbind()).steps == ()
    host.tree.block("nvme0n1", above=f"{disk}/nvme/nvme0", number=(259, 0))
    host.tree.file("/proc/self/mountinfo", "30 1 259:0 / / rw - xfs /dev/nvme0n1 rw\n")
    assert host.carry_out(unbind()).steps == ()


def test_reservation_for_the_driver_of_the_host_is_cleared_alone(host: PciHost, disk: str) -> None:
    """The driver goes on with its mounted disk."""
    host.carry_out(bind())
    host.carry_out(bind("nvme"))
    host.tree.block("nvme0n1", above=f"{disk}/nvme/nvme0", number=(259, 0))
    host.tree.file("/proc/self/mountinfo", "30 1 259:0 / / rw - xfs /dev/nvme0n1 rw\n")
    assert host.carry_out(unbind()).steps == (OverrideDriver(disk, None, "nvme"),)


# -- the group -------------------------------------------------------------------------


def test_group_needs_consent(host: PciHost, pair: tuple[str, str]) -> None:
    """The error lists who else is in it; a bridge does not count."""
    error = refusal(host, bind())
    assert error.reason == "group"
    assert str(error) == (
        f"{NAME}: its IOMMU group 5 also has {OTHER} (snd_hda_intel), and a guest gets a group as a"
        " whole; give group, --group, to bind all of them to vfio-pci"
    )


def test_group_is_bound_and_given_back_as_a_whole(host: PciHost, pair: tuple[str, str]) -> None:
    """The bridge keeps its driver, and both functions are in the answer."""
    before = state_of(host)
    plan = host.carry_out(bind(group=True))
    assert [one.path for one in plan.expected] == list(pair)
    assert plan.cards == (NAME, OTHER)
    assert {host.driver_of(path) for path in pair} == {"vfio-pci"}
    assert host.driver_of("/sys/devices/pci0000:00/0000:00:01.0") == "pcieport"
    assert set(host.records) == set(pair)
    host.carry_out(unbind(group=True))
    assert state_of(host) == before
    assert host.records == {}


def test_group_without_drivers_of_the_host_needs_no_consent(
    host: PciHost, pair: tuple[str, str]
) -> None:
    """VFIO takes it as it is."""
    host.kernel.write("/sys/bus/pci/drivers/snd_hda_intel/unbind", SECOND)
    assert {one.device for one in host.carry_out(bind()).steps} == {pair[0]}  # type: ignore[union-attr]


def test_driver_of_the_host_is_for_one_function(host: PciHost, pair: tuple[str, str]) -> None:
    """The other members have drivers of their own."""
    host.carry_out(bind(group=True))
    host.carry_out(bind("nvme"))
    assert [host.driver_of(path) for path in pair] == ["nvme", "vfio-pci"]


def test_group_of_a_bound_function_is_bound_later(host: PciHost, pair: tuple[str, str]) -> None:
    """With consent what is missing is done; without it, what was asked for is so."""
    host.kernel.write("/sys/bus/pci/drivers/snd_hda_intel/unbind", SECOND)
    host.carry_out(bind())
    host.kernel.write("/sys/bus/pci/drivers/snd_hda_intel/bind", SECOND)
    assert host.carry_out(bind()).steps == ()
    host.carry_out(bind(group=True))
    assert [host.driver_of(path) for path in pair] == ["vfio-pci", "vfio-pci"]


def test_members_that_cannot_be_bound_here_are_noted(host: PciHost, disk: str) -> None:
    """A member of another bus, and one that is not in the tree."""
    host.tree.directory("/sys/kernel/iommu_groups/5/devices/INTC1234:00")
    assert any("also has INTC1234:00, which cannot" in note for note in host.plan(bind()).notes)


def test_driver_of_the_host_is_refused_while_a_guest_has_the_group(
    host: PciHost, pair: tuple[str, str]
) -> None:
    """The kernel refuses it, too, from Linux 6.0 on."""
    host.carry_out(bind(group=True))
    host.kernel.open(pair[1])
    for request in (bind("nvme"), unbind()):
        assert in_use(host, request).name == OTHER


# -- what is not possible --------------------------------------------------------------


def test_driver_that_is_not_loaded_is_refused(host: PciHost, disk: str) -> None:
    """No module is loaded for a client."""
    error = refusal(host, bind("mlx5_vfio_pci"))
    assert (error.reason, "modprobe mlx5_vfio_pci" in str(error)) == ("driver-not-loaded", True)


@pytest.mark.parametrize("name", ["", "..", ".", "a/b", "../../bus", "vfio\n", "v\0", "x" * 256])
def test_driver_that_is_no_name_is_refused_before_any_plan(name: str) -> None:
    """It would become a path."""
    with pytest.raises((InvalidParameter, msgspec.ValidationError)):
        msgspec.convert({"name": FIRST, "driver": name}, Bind)


def test_physical_function_with_virtual_ones_is_refused(host: PciHost) -> None:
    """Not even force gets it: vfio-pci answers EBUSY, and the functions depend on the driver."""
    host.card(2)
    for force in (False, True):
        error = refusal(host, bind(name=PF, force=force))
        assert error.reason == "vfs-enabled"
        assert "nodedevctl vfs pci_0000_01_00_0 0" in str(error)


def test_bridge_is_refused(host: PciHost, pair: tuple[str, str]) -> None:
    """All behind it would be lost."""
    assert refusal(host, bind(name="0000:00:01.0", group=True)).reason == "bridge"


def test_vfio_without_iommu_is_refused(host: PciHost) -> None:
    """Unless VFIO runs in its mode without one."""
    host.function(FIRST, driver="nvme")
    assert refusal(host, bind()).reason == "no-iommu-group"
    host.tree.file("/sys/module/vfio/parameters/enable_unsafe_noiommu_mode", "Y\n")
    assert host.plan(bind()).steps


def test_what_is_no_pci_function_is_refused(host: PciHost) -> None:
    """Other buses have drivers, too."""
    assert refusal(host, bind(name="computer")).reason == "no-pci"
    assert refusal(host, unbind(name="computer")).reason == "no-pci"
    with pytest.raises(NoSuchDevice):
        host.plan(bind(name="0000:09:00.0"))


def test_override_that_cannot_be_read_is_refused(host: PciHost, disk: str) -> None:
    """It could not be put back."""
    host.tree.remove(f"{disk}/driver_override")
    assert refusal(host, bind()).reason == "no-override"


# -- whose it is, and who uses it ------------------------------------------------------


def test_function_that_somebody_else_reserved_is_left_to_him(host: PciHost, disk: str) -> None:
    """By driver_override, or by the ids of vfio-pci."""
    host.kernel.write(f"{disk}/driver_override", "vfio-pci\n")
    for request in (bind(), unbind()):
        with pytest.raises(MadeByOther):
            host.plan(request)
    host.carry_out(bind(force=True))
    host.records.clear()
    host.kernel.write(f"{disk}/driver_override", "\n")
    with pytest.raises(MadeByOther):
        host.plan(unbind())


def test_function_of_another_owner_is_left_to_him(host: PciHost, disk: str) -> None:
    """So is one that was bound without an owner."""
    host.carry_out(bind(owner="nova"))
    for request in (unbind(), unbind(owner="other"), bind("nvme", owner="other")):
        with pytest.raises(OwnedByOther):
            host.plan(request)
    assert host.plan(unbind(owner="nova")).steps


def test_function_of_the_group_for_another_owner_is_left_to_him(
    host: PciHost, pair: tuple[str, str]
) -> None:
    """Consent to the group is none to take what is his."""
    host.carry_out(bind(name=SECOND, owner="b", group=True))
    host.records[pair[0]] = type(host.records[pair[0]])(
        pair[0], "client", "a", 0, "vfio-pci", 0, ""
    )
    with pytest.raises(OwnedByOther) as caught:
        host.plan(unbind(owner="a", group=True))
    assert caught.value.name == OTHER


@pytest.mark.parametrize("wanted", [bind("nvme"), unbind()])
def test_open_function_is_refused(host: PciHost, disk: str, wanted: Bind | Unbind) -> None:
    """The kernel would wait in unbind until it is closed."""
    host.carry_out(bind())
    assert host.plan(wanted).steps
    host.kernel.open(disk)
    assert in_use(host, wanted).known
    assert host.plan(replace(wanted, force=True)).steps
    host.kernel.close(disk)
    host.unseen = 1
    assert not in_use(host, wanted).known


def test_mounted_disk_is_refused(host: PciHost, disk: str) -> None:
    """The message says which."""
    host.tree.block("nvme0n1", above=f"{disk}/nvme/nvme0", number=(259, 0))
    plan = host.plan(bind())
    assert "without the driver nvme of pci_0000_02_00_0, the host loses block_nvme0n1" in plan.notes
    host.tree.file("/proc/self/mountinfo", "30 1 259:0 / / rw - xfs /dev/nvme0n1 rw\n")
    error = in_use(host, bind())
    assert (error.known, "/ is mounted from nvme0n1" in error.detail) == (True, True)


def test_member_that_the_host_uses_is_refused(host: PciHost) -> None:
    """Consent to the group is none to lose the network."""
    host.function(FIRST, driver="nvme", group=5)
    nic = host.function(SECOND, device=NIC, class_=ETHERNET, driver="e1000e", group=5)
    host.tree.device(f"{nic}/net/eth0", class_="net")
    host.tree.file("/proc/net/route", "Iface Destination\neth0 00000000\n")
    assert in_use(host, bind(group=True)).name == OTHER


def test_disk_of_a_mirror_is_refused(host: PciHost, disk: str) -> None:
    """The array would go on, and have lost what it is for."""
    member = host.tree.block("nvme0n1", above=f"{disk}/nvme/nvme0", number=(259, 0))
    other = host.tree.block("sda", above="/sys/devices/other/block", number=(8, 0))
    array = host.tree.block("md0", number=(9, 0), attributes={"md/level": "raid1"})
    for one in (member, other):
        host.tree.kernel_link(f"{array}/slaves/{one.rpartition('/')[2]}", one)
    assert "md0 loses some of its members" in in_use(host, bind()).detail


def test_gpu_that_a_program_has_open_is_refused(host: PciHost) -> None:
    """Its driver would wait for it, or fail below it."""
    path = host.function(FIRST, device=NIC, class_=0x030000, driver="e1000e", group=5)
    card = host.tree.device(
        f"{path}/drm/card0",
        class_="drm",
        uevent={"MAJOR": 226, "MINOR": 0, "DEVNAME": "dri/card0", "DEVTYPE": "drm_minor"},
        attributes={"dev": "226:0"},
    )
    assert host.plan(bind()).steps
    host.nodes_open[card] = "Xorg"
    assert "Xorg (pid 4711) has card0 open" in in_use(host, bind()).detail


def test_what_a_guest_has_behind_a_controller_is_in_use(host: PciHost) -> None:
    """Its driver takes along what is below."""
    controller = host.function(FIRST, driver="nvme", group=5)
    behind = host.tree.pci(
        "0000:03:00.0", vendor=1, device=2, class_=ETHERNET, driver="vfio-pci", parent=FIRST
    )
    host.kernel.pci.overridable(behind)
    host.tree.vfio_device(behind, 9)
    assert host.plan(bind()).steps
    host.kernel.open(behind)
    assert in_use(host, bind()).name == "pci_0000_03_00_0"
    assert controller
