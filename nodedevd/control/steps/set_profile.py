"""set_profile: sets the vGPU profile of a function with NVIDIA's vendor VFIO, or takes it away.

Reads  <function>/nvidia/{creatable_vgpu_types,current_vgpu_type}
Writes <function>/nvidia/current_vgpu_type: the number of the profile, 0 takes it away
ABI    none in the kernel; NVIDIA vGPU software user guide, "Creating an NVIDIA vGPU on a Linux
       with KVM Hypervisor Host that Uses a Vendor-Specific VFIO Framework"

The attribute keeps no owner, so what it shows is compared right before each write: a function
that another writer has changed is left to it. A value that the driver does not take is reported
to reset the attribute to 0, so it is read back after each write.
"""

from __future__ import annotations

import errno
from typing import Final

from nodedevd.actions.plan import SetProfile
from nodedevd.control.steps.base import (
    FULL,
    AlreadySo,
    InUseNow,
    Overtaken,
    StepHost,
    StepRefused,
    describe,
)
from nodedevd.kinds.vgpu import CREATABLE, CURRENT, parse_types

NONE: Final = "0"
"""What the attribute shows, and takes, without a profile."""
BUSY: Final = frozenset({errno.EAGAIN, errno.EBUSY})
"""The driver is still setting up, or clearing, a vGPU of the card."""


class SetProfileHandler:
    """Sets a profile, or takes it away."""

    def do(self, step: SetProfile, host: StepHost) -> None:
        """Set it, if the function is still as the plan found it."""
        wanted, before = step.profile or NONE, step.before or NONE
        found = current(step.function, host)
        if wanted == NONE and found in (NONE, None):
            raise AlreadySo
        if found is None:
            raise StepRefused(errno.ENOENT, f"{step.function} has no {CURRENT} any more")
        if found != before:
            raise Overtaken(0, f"another writer has set {found} where the plan found {before}")
        try:
            _set(step.function, wanted, host, closed=before != NONE and not host.forced)
        except StepRefused as refusal:
            refusal.left = _put_back(step.function, before, host)
            raise

    def undo(self, step: SetProfile, host: StepHost) -> None:
        """Set what was set before, unless another writer has changed it since."""
        if self.done(step, host):
            found = current(step.function, host)
            _set(step.function, step.before or NONE, host, closed=found != NONE)

    def can_undo(self, step: SetProfile) -> bool:
        """Return True."""
        return True

    def done(self, step: SetProfile, host: StepHost) -> bool | None:
        """Return whether the function shows it; one that is gone has no profile.

        None if it shows neither this one nor what it had before.
        """
        found = current(step.function, host) or NONE
        if found == (step.profile or NONE):
            return True
        return False if found == (step.before or NONE) else None


def current(function: str, host: StepHost) -> str | None:
    """Return the number of the profile that is set, 0 if none is; None without the function."""
    text = host.read(f"{function}/{CURRENT}")
    return None if text is None else text.strip()


def _set(function: str, wanted: str, host: StepHost, *, closed: bool) -> None:
    """Write a profile and read it back. Raises Overtaken, StepRefused, InUseNow."""
    if wanted != NONE:
        # Each vGPU of the card changes what its other functions can become.
        types, _ = parse_types(host.read(f"{function}/{CREATABLE}") or "")
        if wanted not in [one.id for one in types]:
            raise Overtaken(errno.ENOSPC, f"{CREATABLE} no longer lists the profile {wanted}")
    if closed:
        # Only a look: how the driver takes it that we have the group open is not known.
        with host.kept_closed(function):
            pass
    try:
        host.write(f"{function}/{CURRENT}", wanted, retried=BUSY)
    except OSError as error:
        gone = error.errno in (errno.ENOENT, errno.ENODEV)
        if gone and wanted == NONE and current(function, host) is None:
            return
        refusal = Overtaken if error.errno in FULL else StepRefused
        raise refusal(error.errno or 0, describe(error)) from None
    found = current(function, host)
    if found is None and wanted == NONE:
        return
    if found != wanted:
        raise StepRefused(0, f"the driver took {wanted}, and {CURRENT} shows {found}")


def _put_back(function: str, before: str, host: StepHost) -> str | None:
    """Set what was set before a write that failed; return what is left if that fails, too."""
    found = current(function, host)
    if found in (before, None):
        return None
    try:
        _set(function, before, host, closed=found != NONE)
    except (StepRefused, InUseNow) as error:
        return f"{function} shows {found}, not {before}: {error.detail}"
    return None
