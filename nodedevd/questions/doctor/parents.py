"""parents: mdev parents that offer nothing, or that mdevctl and libvirt cannot find.

ABI    Documentation/ABI/testing/sysfs-bus-vfio-mdev
"""

from __future__ import annotations

from collections.abc import Iterator

from nodedevd.host.mdev_paths import MDEV_BUS
from nodedevd.kinds.mdev_parent import MdevParent
from nodedevd.questions.doctor.examined import NVIDIA, Examined, host_finding, is_graphics
from nodedevd.questions.doctor.finding import Finding

_LOG = "dmesg | tail -n 50"


def check(host: Examined) -> Iterator[Finding]:
    """Yield findings about parents, and about links to what is none."""
    for device, parent in host.having(MdevParent):
        if not parent.types:
            nvidia = is_graphics(device, NVIDIA)
            yield host.finding(
                "warning",
                "parent-without-types",
                device,
                "it is listed as an mdev parent, but offers no types",
                "See the kernel's log for messages of its driver"
                + (", and whether both services of the vGPU host driver run." if nvidia else "."),
                *(("systemctl status --no-pager nvidia-vgpud nvidia-vgpu-mgr",) if nvidia else ()),
                _LOG,
            )
        elif device.path not in host.facts.listed_parents:
            yield host.finding(
                "warning",
                "parent-not-listed",
                device,
                f"it offers types, but {MDEV_BUS} does not list it: mdevctl and libvirt cannot"
                " find it",
                "See the kernel's log: another parent may have the same kernel name. Reload its"
                " driver without the other.",
                _LOG,
            )
    for path in sorted(host.facts.listed_parents):
        target = host.snapshot.at(path)
        if target is None or target.capability(MdevParent) is None:
            text = f"{MDEV_BUS} has a link to {path}, which is no mdev parent"
            advice = "Reload the driver of the parent."
            if target is None:
                yield host_finding("warning", "parent-dangling", text, advice)
            else:
                yield host.finding("warning", "parent-dangling", target, text, advice)
