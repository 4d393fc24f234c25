"""The played kernel answers as Linux 6.1 and 6.12 were seen to do."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from nodedevd.host.sysroot import Sysroot
from nodedevd.kinds.mdev_parent import MdevParent
from nodedevd.kinds.vgpu import Vgpu
from nodedevd.model.snapshot import Snapshot
from nodedevd.tree.read import scan
from tests.support.played_kernel import (
    PlayedKernel,
    mbochs_parent,
    mdev_card,
    mdpy_parent,
    mtty_parent,
    small_card,
    vendor_card,
)
from tests.support.trees import Tree

UUID = "5d4d1f0c-6d5b-45d5-9a64-3c6f0a3d1e01"
OTHER = "5d4d1f0c-6d5b-45d5-9a64-3c6f0a3d1e02"


@pytest.fixture
def kernel(tmp_path: Path) -> PlayedKernel:
    """Return a kernel without devices."""
    return PlayedKernel(Tree(tmp_path))


def tree_of(kernel: PlayedKernel) -> Snapshot:
    """Scan the tree."""
    return scan(Sysroot(kernel.tree.root))


def errno_of(act: Callable[[], object]) -> int | None:
    """Return the errno of what an action raises."""
    try:
        act()
    except OSError as error:
        return error.errno
    return None


def exists(kernel: PlayedKernel, path: str) -> bool:
    """Return whether there is a file, link or directory."""
    return os.path.lexists(kernel.tree.at(path))


def text(kernel: PlayedKernel, path: str) -> str:
    """Read a file."""
    return Path(kernel.tree.at(path)).read_text().strip()


@pytest.mark.parametrize(
    ("value", "number"),
    [
        (UUID, None),
        (f"{UUID}\n", None),
        (f"{UUID}\0", None),
        (UUID.upper(), None),
        (UUID.replace("-", ""), errno.EINVAL),
        (f"{{{UUID}}}", errno.EINVAL),
        (f" {UUID}", errno.EINVAL),
        (f"{UUID}\n\n", errno.EINVAL),
        ("\n", errno.EINVAL),
    ],
)
def test_create_takes_a_uuid_in_two_forms(
    kernel: PlayedKernel, value: str, number: int | None
) -> None:
    """36 characters, or 37 with a newline or NUL at the end; upper case becomes lower."""
    create = f"{mtty_parent(kernel)}/mdev_supported_types/mtty-1/create"
    assert errno_of(lambda: kernel.write(create, value)) == number
    assert (tree_of(kernel).find(UUID) is not None) == (number is None)


@pytest.mark.parametrize(
    ("parent", "type_id", "number"),
    [
        (mtty_parent, "mtty-2", errno.ENOSPC),
        (mdpy_parent, "mdpy-hd", errno.EUSERS),
        (mbochs_parent, "mbochs-large", errno.ENOSPC),
    ],
)
def test_all_types_of_a_parent_share_one_pool(
    kernel: PlayedKernel, parent: Callable[[PlayedKernel], str], type_id: str, number: int
) -> None:
    """Every type has 0 available when it is empty, and each driver has its errno."""
    path = parent(kernel)
    create = f"{path}/mdev_supported_types/{type_id}/create"
    most = int(text(kernel, f"{path}/mdev_supported_types/{type_id}/available_instances"))
    for index in range(most):
        kernel.write(create, f"5d4d1f0c-6d5b-45d5-9a64-{index:012}")
    assert errno_of(lambda: kernel.write(create, UUID)) == number
    device = tree_of(kernel).at(path)
    assert device is not None
    capability = device.capability(MdevParent)
    assert capability is not None
    assert {one.available_instances for one in capability.types} == {0}
    taken = "5d4d1f0c-6d5b-45d5-9a64-000000000000"
    assert errno_of(lambda: kernel.write(create, taken)) == errno.EEXIST  # before capacity


def test_a_removal_waits_until_the_device_is_closed(kernel: PlayedKernel) -> None:
    """Until then uuid and capacity are taken, and the bus shows no mdev."""
    path = mtty_parent(kernel, 1)
    create = f"{path}/mdev_supported_types/mtty-1/create"
    kernel.write(create, UUID)
    kernel.open(f"{path}/{UUID}")
    pending = kernel.begin(f"{path}/{UUID}/remove", "1")
    assert not pending.ended
    assert os.listdir(kernel.tree.at(f"{path}/{UUID}")) == ["iommu_group"]
    assert errno_of(lambda: kernel.write(f"{path}/{UUID}/remove", "1")) == errno.ENOENT
    assert errno_of(lambda: kernel.write(create, UUID)) == errno.EEXIST
    assert errno_of(lambda: kernel.write(create, OTHER)) == errno.ENOSPC
    kernel.close(f"{path}/{UUID}")
    assert pending.wait(0)
    assert not exists(kernel, f"{path}/{UUID}")
    kernel.write(create, OTHER)


def test_remove_takes_numbers(kernel: PlayedKernel) -> None:
    """Zero and an empty write do nothing."""
    path = mtty_parent(kernel)
    kernel.write(f"{path}/mdev_supported_types/mtty-1/create", UUID)
    remove = f"{path}/{UUID}/remove"
    for value, number in [("0", None), ("", None), ("abc", errno.EINVAL), ("-1", errno.EINVAL)]:
        assert errno_of(lambda value=value: kernel.write(remove, value)) == number  # type: ignore[misc]
        assert exists(kernel, remove)
    kernel.write(remove, "2")
    assert errno_of(lambda: kernel.write(remove, "1")) == errno.ENOENT
    assert os.listdir(kernel.tree.at("/sys/bus/mdev/devices")) == []


def test_a_profile_changes_the_lists_of_all_functions_of_the_card(kernel: PlayedKernel) -> None:
    """Other functions list only what still fits."""
    first, second, *_ = vendor_card(kernel, small_card())
    creatable = f"{second}/nvidia/creatable_vgpu_types"
    assert text(kernel, creatable).splitlines()[0] == "ID    : vGPU Name"
    assert "12Q" in text(kernel, creatable)
    kernel.write(f"{first}/nvidia/current_vgpu_type", "1")
    assert "12Q" not in text(kernel, creatable)  # equal sizes only
    device = tree_of(kernel).at(first)
    assert device is not None
    vgpu = device.capability(Vgpu)
    assert vgpu is not None
    assert vgpu.current is not None
    assert (vgpu.current.id, vgpu.current.name) == ("1", "NVIDIA X1-4Q")


def test_an_id_that_cannot_be_set_takes_the_profile_away(kernel: PlayedKernel) -> None:
    """The file then reads 0; a VM that has the function keeps its profile."""
    function = vendor_card(kernel, small_card())[0]
    current = f"{function}/nvidia/current_vgpu_type"
    kernel.write(current, "1")
    assert errno_of(lambda: kernel.write(current, "99")) == errno.EINVAL
    assert text(kernel, current) == "0"
    kernel.write(current, "1")
    kernel.open(function)
    assert errno_of(lambda: kernel.write(current, "0")) == errno.EPERM
    assert text(kernel, current) == "1"


def test_virtual_functions_come_and_go_through_zero(kernel: PlayedKernel) -> None:
    """One number cannot become another; a VM holds all functions of the card."""
    functions = vendor_card(kernel, small_card())
    card = next(iter(kernel.pci.sriov))
    number = f"{card}/sriov_numvfs"
    kernel.write(number, "4")
    for value, expected in [("2", errno.EBUSY), ("5", errno.ERANGE), ("-1", errno.EINVAL)]:
        assert errno_of(lambda value=value: kernel.write(number, value)) == expected  # type: ignore[misc]
    kernel.open(functions[1])
    pending = kernel.begin(number, "0")
    assert not pending.ended
    assert exists(kernel, functions[0])
    kernel.close(functions[1])
    assert pending.wait(0)
    assert not any(exists(kernel, one) for one in functions)
    kernel.write(f"{card}/sriov_drivers_autoprobe", "0")
    kernel.write(number, "2")
    assert not exists(kernel, f"{functions[0]}/driver")
    kernel.write("/sys/bus/pci/drivers/nvidia/unbind", os.path.basename(card))
    assert errno_of(lambda: kernel.write(number, "0")) == errno.ENOENT


def test_drivers_are_bound_by_override_and_probe(kernel: PlayedKernel) -> None:
    """Neither driver_override nor drivers_probe says what came of it."""
    function = vendor_card(kernel, small_card())[0]
    address = os.path.basename(function)
    drivers = "/sys/bus/pci/drivers"
    override, bind = f"{function}/driver_override", f"{drivers}/vfio-pci/bind"
    assert errno_of(lambda: kernel.write(bind, address)) == errno.ENODEV
    kernel.write(override, "vfio-pci")
    assert errno_of(lambda: kernel.write(bind, address)) == errno.EBUSY
    kernel.write(f"{drivers}/nvidia/unbind", address)
    assert errno_of(lambda: kernel.write(f"{drivers}/nvidia/unbind", address)) == errno.ENODEV
    assert not exists(kernel, f"{function}/nvidia")
    kernel.write("/sys/bus/pci/drivers_probe", address)
    device = tree_of(kernel).at(function)
    assert device is not None
    assert device.driver == "vfio-pci"
    kernel.write(override, "nonsense")
    kernel.write("/sys/bus/pci/drivers_probe", address)  # ok, whatever comes of it
    kernel.write(override, "\n")
    assert text(kernel, override) == "(null)"
    kernel.open(function)
    pending = kernel.begin(f"{function}/driver/unbind", address)
    assert not pending.ended
    kernel.close(function)
    assert pending.wait(0)


def test_attributes_of_mdevs(kernel: PlayedKernel) -> None:
    """Each has power/control, and what its driver gives it."""
    parent = mdev_card(kernel, small_card())[0]
    kernel.write(f"{parent}/mdev_supported_types/nvidia-1/create", UUID)
    mdev = f"{parent}/{UUID}"
    kernel.write(f"{mdev}/nvidia/vgpu_params", "frame_rate_limiter=0")
    assert errno_of(lambda: kernel.write(f"{mdev}/power/control", "bogus")) == errno.EINVAL
    assert errno_of(lambda: kernel.write(f"{mdev}/uevent", "x")) == errno.EIO
    assert errno_of(lambda: kernel.write(f"{mdev}/nope", "x")) == errno.ENOENT


def test_what_is_injected(kernel: PlayedKernel) -> None:
    """Refusals, another writer that comes first, and writes that hang."""
    create = f"{mtty_parent(kernel, 1)}/mdev_supported_types/mtty-1/create"
    kernel.refuse(create, errno.EAGAIN)
    assert errno_of(lambda: kernel.write(create, UUID)) == errno.EAGAIN
    kernel.before(create, lambda: kernel.write(create, OTHER))
    assert errno_of(lambda: kernel.write(create, UUID)) == errno.ENOSPC
    kernel.hang(create)
    pending = kernel.begin(create, UUID)
    kernel.mdev.unregister("/sys/devices/virtual/mtty/mtty")
    kernel.resume(create)
    assert errno_of(lambda: pending.wait(0)) == errno.ENODEV
