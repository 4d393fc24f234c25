"""host: what the kernel and udev have to give before any device can be divided or assigned."""

from __future__ import annotations

from collections.abc import Iterator

from nodedevd.kinds.mdev_child import MdevChild
from nodedevd.kinds.pci import Pci
from nodedevd.kinds.shared.vfio import is_vfio_driver
from nodedevd.questions.doctor.examined import NVIDIA, Examined, host_finding, is_graphics
from nodedevd.questions.doctor.finding import Finding

_MODULES = {
    "i915": "kvmgt",
    "vfio_ap": "vfio_ap",
    "vfio_ccw": "vfio_ccw",
    "mtty": "mtty",
    "mdpy": "mdpy",
    "mbochs": "mbochs",
}
"""The module that registers the parents of types, by the word in front of their ids."""


def check(host: Examined) -> Iterator[Finding]:
    """Yield findings about mdev, the IOMMU and udevd."""
    if not host.facts.mdev:
        yield from _without_mdev(host)
    yield from _iommu(host)
    if host.facts.udevd is False:
        yield host_finding(
            "warning",
            "udevd-not-running",
            "udevd is not running: properties from its database are missing",
            "Start it.",
            "systemctl start systemd-udevd",
        )


def module_of(type_id: str | None) -> str | None:
    """Return the kernel module that registers the parents of an mdev type; None if unknown."""
    return _MODULES.get((type_id or "").partition("-")[0])


def _without_mdev(host: Examined) -> Iterator[Finding]:
    """Yield a finding if a definition needs mdev. Types of NVIDIA may have become vendor VFIO."""
    for device, mdev in host.having(MdevChild):
        type_id = None if mdev.mdev_type is None else mdev.mdev_type.id
        if type_id is None or type_id.startswith("nvidia-"):
            continue
        module = module_of(type_id)
        yield host_finding(
            "warning",
            "no-mdev",
            f"the kernel's mdev module is not loaded, but {device.name} is defined",
            "Load the module that registers its parent.",
            *(() if module is None else (f"modprobe {module}",)),
        )
        return


def _iommu(host: Examined) -> Iterator[Finding]:
    functions = [pci for _, pci in host.having(Pci)]
    grouped = any(pci.iommu_group is not None for pci in functions)
    if host.facts.unsafe_noiommu:
        yield host_finding(
            "note" if host.facts.iommus else "warning",
            "unsafe-noiommu",
            "VFIO's unsafe no-IOMMU mode is on: a device that is assigned in it can write to all"
            " memory of the host, and libvirt refuses it",
            "Switch the mode off, and use an IOMMU.",
            "echo N > /sys/module/vfio/parameters/enable_unsafe_noiommu_mode",
        )
    if not functions or host.facts.iommus or (grouped and not host.facts.unsafe_noiommu):
        return
    wanted = _wants_iommu(host)
    yield host_finding(
        "note" if wanted is None else "warning",
        "iommu-off",
        "no IOMMU: PCI devices cannot be assigned to a VM"
        if wanted is None
        else f"no IOMMU, but {wanted}",
        "Enable VT-d or AMD-Vi in the firmware, and boot Intel hosts with intel_iommu=on;"
        " iommu=pt keeps the host's own devices fast.",
    )


def _wants_iommu(host: Examined) -> str | None:
    """Return why this host needs an IOMMU, None if nothing needs it."""
    for device, pci in host.having(Pci):
        if is_vfio_driver(device.driver):
            return f"{device.name} is bound to {device.driver}"
        if pci.physical_function is not None:
            return f"{device.name} is a virtual function"
        divisible = pci.virtual_functions is not None and is_graphics(device, NVIDIA)
        if divisible and "nvidia_vgpu_vfio" in host.facts.modules:
            return f"{device.name} can be divided into virtual functions"
    return None
