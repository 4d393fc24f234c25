"""The recorded hosts vgpu-vendor-vfio and vgpu-two-generations."""

from __future__ import annotations

from tests.support.nvidia import L40S_TYPES, P40_TYPES, creatable, nvidia_types
from tests.support.trees import Express, Tree, config_space

NVIDIA = (0x10DE, "NVIDIA Corporation")
INTEL = (0x8086, "Intel Corporation")
DISPLAY_3D, PCI_BRIDGE = 0x030200, 0x060400
ENDPOINT, ROOT_PORT = 0, 4
_PORTS = {0x352A: "PCI Express Root Port"}


def vgpu_vendor_vfio(tree: Tree) -> None:
    """Two L40S with vendor VFIO: vGPUs of three sizes on one, the other without VFs yet."""
    _card(
        tree,
        bus=0x26,
        group=30,
        functions=8,
        left=18,
        # number of the function: profile, place on the card
        profiles={0: (1148, "0"), 1: (1150, "4"), 2: (1155, "24")},
    )
    _card(tree, bus=0x5E, group=50, functions=0, left=48, profiles={})
    tree.pci_ids({NVIDIA: {0x26B9: "AD102GL [L40S]"}, INTEL: _PORTS})


def vgpu_two_generations(tree: Tree) -> None:
    """A P40 with mdevs, and an L40S of the generation after them, with one size of vGPUs."""
    # fmt: off
    tree.pci("0000:15:01.0", parent="pci0000:15", vendor=0x8086, device=0x352A,
             class_=PCI_BRIDGE, driver="pcieport", numa_node=0, iommu_group=2,
             express=Express(ROOT_PORT, 4, 16, 1, 3, 16))
    gpu = tree.pci("0000:16:00.0", parent="0000:15:01.0", vendor=0x10DE, device=0x1B38,
                   class_=DISPLAY_3D, subsystem=(0x10DE, 0x11D9), revision=0xA1,
                   driver="nvidia", numa_node=0, iommu_group=3,
                   express=Express(ENDPOINT, 3, 16, 0, 3, 16))
    # fmt: on
    for type_id, name, description in nvidia_types("GRID P40", P40_TYPES):
        available = 2 if type_id == "nvidia-285" else 0
        tree.mdev_type(gpu, type_id, name=name, available=available, description=description)
    tree.mdev_parent(gpu)
    # fmt: off
    tree.mdev(gpu, "6f3c9f5e-2f0b-4f0e-9d53-0c8f4be1aa01", "nvidia-285", driver="nvidia",
              iommu_group=90, vfio=4, attributes={"nvidia/vgpu_params": b""})
    # fmt: on
    _card(tree, bus=0x26, group=30, functions=4, left=40, profiles={3: (1152, "")})
    tree.pci_ids({NVIDIA: {0x1B38: "GP102GL [Tesla P40]", 0x26B9: "AD102GL [L40S]"}, INTEL: _PORTS})


def _card(
    tree: Tree,
    *,
    bus: int,
    group: int,
    functions: int,
    left: int,
    profiles: dict[int, tuple[int, str]],
) -> None:
    """Make an L40S below a port of its own, with what fits into the memory it has left, in GiB."""
    port, physical = f"0000:{bus - 1:02x}:01.0", f"0000:{bus:02x}:00.0"
    # fmt: off
    tree.pci(port, parent=f"pci0000:{bus - 1:02x}", vendor=0x8086, device=0x352A,
             class_=PCI_BRIDGE, driver="pcieport", numa_node=0, iommu_group=group,
             express=Express(ROOT_PORT, 5, 16, 1, 4, 16))
    tree.pci(physical, parent=port, vendor=0x10DE, device=0x26B9, class_=DISPLAY_3D,
             subsystem=(0x10DE, 0x1851), revision=0xA1, driver="nvidia", numa_node=0,
             iommu_group=group + 1, express=Express(ENDPOINT, 4, 16, 0, 4, 16))
    # fmt: on
    virtual = [f"0000:{bus:02x}:{devfn >> 3:02x}.{devfn & 7}" for devfn in range(4, 4 + functions)]
    for number, address in enumerate(virtual):
        profile, placement = profiles.get(number, (0, ""))
        # A function that has a profile offers nothing more.
        types = creatable("NVIDIA L40S", L40S_TYPES, gib=-1 if profile else left)
        path = tree.pci(
            address,
            parent=port,
            vendor=0x10DE,
            device=0x26B9,
            class_=DISPLAY_3D,
            subsystem=(0x10DE, 0x0000),
            revision=0xA1,
            driver="nvidia",
            numa_node=0,
            iommu_group=group + 2 + number,
            express=Express(),
            config=config_space(0xFFFF, 0xFFFF, DISPLAY_3D, express=Express(), revision=0xA1),
            attributes={
                "nvidia/creatable_vgpu_types": types,
                "nvidia/current_vgpu_type": profile,
                "nvidia/vgpu_params": b"",
                "nvidia/placement_id": placement or b"",
                "nvidia/gpu_instance_id": b"",
            },
        )
        tree.vfio_device(path, number)
    tree.sriov(physical, virtual, total=32)
