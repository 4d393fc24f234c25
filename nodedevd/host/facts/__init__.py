"""facts: what `doctor` needs to know of a host, besides its devices.

Reads  /sys/module/{mdev,nvidia_vgpu_vfio,kvmgt,vfio_ap}, /sys/bus/mdev, /sys/class/mdev_bus,
       /sys/module/{i915/parameters/enable_gvt,vfio/parameters/enable_unsafe_noiommu_mode},
       /sys/class/iommu, /run/udev/control, and the files of `container` and `mdevctl`
"""

from __future__ import annotations

import os

import msgspec

from nodedevd.host.facts.container import read_container
from nodedevd.host.facts.mdevctl import Mdevctl, read_mdevctl
from nodedevd.host.listing import readable_names_in
from nodedevd.host.mdev_paths import MDEV_BUS
from nodedevd.host.sysroot import Sysroot

_IOMMUS = "/sys/class/iommu"
_MODULES = ("nvidia_vgpu_vfio", "kvmgt", "vfio_ap")


class HostFacts(msgspec.Struct, frozen=True):
    """Facts that no device shows; None for those of processes, on a recorded host."""

    mdev: bool
    """whether the kernel has mdev, built in or loaded"""
    listed_parents: frozenset[str]
    """targets of the links in /sys/class/mdev_bus"""
    iommus: bool
    """whether /sys/class/iommu has any entry"""
    gvt: bool
    """whether i915 is loaded with enable_gvt, for GVT-g; only root can read it"""
    modules: frozenset[str] = frozenset()
    """which modules that offer vGPUs are loaded: nvidia_vgpu_vfio, kvmgt, vfio_ap"""
    unsafe_noiommu: bool = False
    """whether VFIO assigns devices without an IOMMU, by enable_unsafe_noiommu_mode"""
    mdevctl: Mdevctl = Mdevctl()
    """mdevctl's program, udev rule and scripts"""
    container: str | None = None
    """the container that this is the view of, such as docker; None outside of containers"""
    udevd: bool | None = None
    """whether udevd is running"""
    root: bool | None = None
    """whether this process is root"""


def read_host(sysroot: Sysroot) -> HostFacts:
    """Read the facts. A file that cannot be read counts as absent."""
    from nodedevd.host.events.udev import running  # pyudev is slow to import

    return HostFacts(
        mdev=any(map(sysroot.exists, ("/sys/module/mdev", "/sys/bus/mdev", MDEV_BUS))),
        listed_parents=frozenset(_targets(sysroot, MDEV_BUS)),
        # By `exists`, so that a recording keeps them.
        iommus=bool([one for one in _entries(sysroot, _IOMMUS) if sysroot.exists(one)]),
        gvt=_flag(sysroot, "/sys/module/i915/parameters/enable_gvt"),
        modules=frozenset([one for one in _MODULES if sysroot.exists(f"/sys/module/{one}")]),
        unsafe_noiommu=_flag(sysroot, "/sys/module/vfio/parameters/enable_unsafe_noiommu_mode"),
        mdevctl=read_mdevctl(sysroot),
        container=read_container(sysroot),
        udevd=running() if sysroot.live else None,
        root=os.geteuid() == 0 if sysroot.live else None,
    )


def _entries(sysroot: Sysroot, directory: str) -> list[str]:
    names = readable_names_in(sysroot, directory, faults=[])
    return [f"{directory}/{name}" for name in names]


def _targets(sysroot: Sysroot, directory: str) -> list[str]:
    targets = []
    for link in _entries(sysroot, directory):
        try:
            targets.append(sysroot.target(link))
        except OSError:
            continue
    return targets


def _flag(sysroot: Sysroot, path: str) -> bool:
    try:
        return sysroot.read(path).strip() in (b"Y", b"1")
    except OSError:
        return False
