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
from nodedevd.host.mdev_paths import MDEV_BUS
from nodedevd.host.sysroot import Sysroot
from nodedevd.host.tolerant import TolerantReads

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
    """Read the facts. A file that cannot be read counts as absent.

    Raises OSError if that is for want of descriptors or memory.
    """
    from nodedevd.host.events.udev import running  # pyudev is slow to import

    reads = TolerantReads(sysroot)
    facts = HostFacts(
        mdev=any(map(reads.exists, ("/sys/module/mdev", "/sys/bus/mdev", MDEV_BUS))),
        listed_parents=frozenset(_targets(reads, MDEV_BUS)),
        # By `exists`, so that a recording keeps them.
        iommus=bool([one for one in _entries(reads, _IOMMUS) if reads.exists(one)]),
        gvt=_flag(reads, "/sys/module/i915/parameters/enable_gvt"),
        modules=frozenset([one for one in _MODULES if reads.exists(f"/sys/module/{one}")]),
        unsafe_noiommu=_flag(reads, "/sys/module/vfio/parameters/enable_unsafe_noiommu_mode"),
        mdevctl=read_mdevctl(reads),
        container=read_container(reads),
        udevd=running() if sysroot.live else None,
        root=os.geteuid() == 0 if sysroot.live else None,
    )
    reads.check()
    return facts


def _entries(reads: TolerantReads, directory: str) -> list[str]:
    return [f"{directory}/{name}" for name in reads.names(directory)]


def _targets(reads: TolerantReads, directory: str) -> list[str]:
    targets = map(reads.target, _entries(reads, directory))
    return [path for path in targets if path is not None]


def _flag(reads: TolerantReads, path: str) -> bool:
    return (reads.data(path) or b"").strip() in (b"Y", b"1")
