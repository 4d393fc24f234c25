"""gvt: Intel GVT-g that was asked for, and no GPU offers its types.

It takes i915 with enable_gvt=1, the module kvmgt, and a GPU from Broadwell to Comet Lake.

Source  https://github.com/intel/gvt-linux/wiki/GVTg_Setup_Guide; the messages of
        drivers/gpu/drm/i915/intel_gvt.c
"""

from __future__ import annotations

from collections.abc import Iterator

from nodedevd.kinds.mdev_parent import MdevParent
from nodedevd.kinds.shared.vfio import is_vfio_driver
from nodedevd.questions.doctor.examined import INTEL, Examined, bound, host_finding
from nodedevd.questions.doctor.finding import Finding

_DRIVER = "i915"
_LOG = "dmesg | grep -i -e gvt -e guc"
ENABLE = "echo 'options i915 enable_gvt=1' > /etc/modprobe.d/i915-gvt.conf"


def check(host: Examined) -> Iterator[Finding]:
    """Yield a finding if GVT-g was asked for and there is no parent."""
    loaded = "kvmgt" in host.facts.modules
    if not (host.facts.gvt or loaded):
        return
    asked = "i915 is loaded with enable_gvt" if host.facts.gvt else "kvmgt is loaded"
    gpus = list(host.graphics(INTEL))
    if any(gpu.capability(MdevParent) is not None for gpu in gpus):
        return
    driven = [gpu for gpu in gpus if gpu.driver == _DRIVER]
    if not gpus:
        yield host_finding(
            "note",
            "gvt-without-parent",
            f"{asked}, for GVT-g, but there is no GPU of Intel",
            "Remove what loads it.",
        )
        return
    if not driven:
        gpu = gpus[0]
        yield host.finding(
            "note" if is_vfio_driver(gpu.driver) else "warning",
            "gvt-without-parent",
            gpu,
            f"{asked}, for GVT-g, but the GPU is {bound(gpu)}, not to {_DRIVER}",
            f"Bind it to {_DRIVER}, unless it is meant to be assigned as a whole.",
        )
        return
    mend: tuple[str, ...] = (_LOG,)
    if host.facts.gvt and not loaded:
        reason = "but the module kvmgt is not loaded: the GPU offers no types"
        advice, mend = "Load the module, at every boot.", ("modprobe kvmgt", _LOG)
    elif loaded and not host.facts.gvt:
        reason = "but i915 is not known to have enable_gvt=1: the GPU offers no types"
        advice = "Set the parameter, make the initramfs anew, and reboot. Only root can read it."
        mend = (ENABLE, _LOG)
    else:
        reason = "but the GPU offers no types"
        advice = (
            "See the kernel's log for the reason: GVT-g needs a GPU from Broadwell to Comet Lake,"
            " and i915 without GuC submission (enable_guc=0)."
        )
    yield host.finding(
        "warning", "gvt-without-parent", driven[0], f"{asked}, for GVT-g, {reason}", advice, *mend
    )
