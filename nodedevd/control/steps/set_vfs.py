"""set_vfs: sets the number of virtual functions of a physical one, from 0 or to 0.

Writes <card>/sriov_numvfs, and reads it back: a driver may enable fewer than it was asked for
ABI    Documentation/ABI/testing/sysfs-bus-pci
"""

from __future__ import annotations

import errno
from typing import Final

from nodedevd.actions.plan import SetVfs
from nodedevd.control.steps.base import (
    AlreadySo,
    InUseNow,
    Overtaken,
    StepHost,
    StepRefused,
    describe,
)
from nodedevd.control.steps.virtual_functions import NUMBER, number_of, unused_functions

_RETRIED: Final = frozenset({errno.EAGAIN})


class SetVfsHandler:
    """Sets a number of virtual functions."""

    def do(self, step: SetVfs, host: StepHost) -> None:
        """Write it, if there are as many functions as the plan found."""
        found = number_of(step.card, host)
        if found == step.number:
            raise AlreadySo
        if found is None:
            raise StepRefused(errno.ENOENT, f"{step.card} no longer has {NUMBER} (ENOENT)")
        if found != step.before:
            raise Overtaken(
                0, f"{found} functions are enabled now, where the plan found {step.before}"
            )
        _write(step.card, step.number, host, forced=host.forced)
        found = number_of(step.card, host)
        if found != step.number:
            detail = f"the driver was asked for {step.number} functions and enabled {found}"
            raise StepRefused(0, detail, _put_back(step, host))

    def undo(self, step: SetVfs, host: StepHost) -> None:
        """Write the number before, unless it shows that already.

        Raises InUseNow if somebody uses one of the functions by now, StepRefused if another writer
        has enabled others.
        """
        done = self.done(step, host)
        if done is None:
            raise StepRefused(0, f"{number_of(step.card, host)} functions of another writer stay")
        if done:
            _write(step.card, step.before, host, forced=False)

    def can_undo(self, step: SetVfs) -> bool:
        """Return True."""
        return True

    def done(self, step: SetVfs, host: StepHost) -> bool | None:
        """Return whether so many are enabled; None if it is neither that nor what it was."""
        found = number_of(step.card, host)
        if found == step.number:
            return True
        return False if found in (step.before, None) else None


def _write(card: str, number: int, host: StepHost, *, forced: bool) -> None:
    with unused_functions(card, host, forced=forced):
        try:
            host.write(f"{card}/{NUMBER}", str(number), retried=_RETRIED)
        except OSError as error:
            words = _WORDS.get(error.errno or 0)
            if error.errno == errno.EBUSY and number:
                raise Overtaken(errno.EBUSY, f"{_ENABLED_ALREADY} (EBUSY)") from None
            detail = describe(error) if words is None else f"{words} ({_name(error)})"
            raise StepRefused(error.errno or 0, detail) from None


def _put_back(step: SetVfs, host: StepHost) -> str | None:
    """Return to the number before; return what is left if that fails, too."""
    try:
        _write(step.card, step.before, host, forced=False)
    except (StepRefused, InUseNow) as error:
        return f"{number_of(step.card, host)} functions are enabled: {error.detail}"
    return None


def _name(error: OSError) -> str:
    return errno.errorcode.get(error.errno or 0, str(error.errno))


_ENABLED_ALREADY: Final = "another writer has enabled functions at the same time"

_WORDS: Final = {
    errno.ENOENT: "no driver is bound to the physical function, or its driver does not set virtual"
    " functions this way; bind it to the driver of its vendor",
    errno.ERANGE: "it is more than the card can have",
    errno.ENOMEM: "the firmware gave the card too little address space or too few bus numbers for"
    " so many; enable SR-IOV and `above 4G decoding` in the firmware, or boot with pci=realloc",
    errno.EPERM: "the driver does not allow it now, as a rule because a guest uses a function",
    errno.ENOSYS: "the driver does not set virtual functions this way",
}
"""What errnos mean for this attribute: drivers/pci/pci-sysfs.c, drivers/pci/iov.c."""
