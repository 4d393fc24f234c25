"""host_facts: what a host has and lacks besides its devices, for `doctor` to judge.

Reads  /sys/module/{mdev,i915/parameters/enable_gvt}, /sys/bus/mdev, /sys/class/mdev_bus,
       /sys/class/iommu, /run/udev/control
"""

from __future__ import annotations

import os

import msgspec

from nodedevd.host.mdev_paths import MDEV_BUS
from nodedevd.host.sysroot import Sysroot


class HostFacts(msgspec.Struct, frozen=True):
    """What no device shows. Of a recorded host, what processes would tell is None."""

    mdev: bool
    """whether the kernel has mdev, built in or loaded"""
    listed_parents: frozenset[str]
    """where the links of /sys/class/mdev_bus lead"""
    iommus: bool
    """whether /sys/class/iommu has any"""
    gvt: bool
    """whether i915 was asked for GVT-g: enable_gvt"""
    udevd: bool | None = None
    """whether udevd runs"""
    root: bool | None = None
    """whether this process is root"""


def read_host(sysroot: Sysroot) -> HostFacts:
    """Read them. What cannot be read is taken for absent."""
    from nodedevd.host.events.udev import running  # pyudev is slow to import

    live = sysroot.root == "/"
    return HostFacts(
        mdev=any(map(sysroot.exists, ("/sys/module/mdev", "/sys/bus/mdev", MDEV_BUS))),
        listed_parents=frozenset(_targets(sysroot, MDEV_BUS)),
        iommus=bool(_names(sysroot, "/sys/class/iommu")),
        gvt=_flag(sysroot, "/sys/module/i915/parameters/enable_gvt"),
        udevd=running() if live else None,
        root=os.geteuid() == 0 if live else None,
    )


def _names(sysroot: Sysroot, directory: str) -> list[str]:
    try:
        return sorted(sysroot.names(directory))
    except OSError:
        return []


def _targets(sysroot: Sysroot, directory: str) -> list[str]:
    targets = []
    for name in _names(sysroot, directory):
        try:
            targets.append(sysroot.target(f"{directory}/{name}"))
        except OSError:
            continue
    return targets


def _flag(sysroot: Sysroot, path: str) -> bool:
    try:
        return sysroot.read(path).strip() in (b"Y", b"1")
    except OSError:
        return False
