"""sriov_manage: has NVIDIA's sriov-manage enable or disable all virtual functions of a card.

It was seen to exit with 0 although it had failed while the driver still started, and to fail with
"Cannot obtain unbindLock" beside another run: so the number is read back, and it is run again.
Only one is run at a time on a host; the plan's locks see to that.

Runs   sriov-manage -e|-d <address>
ABI    NVIDIA vGPU software user guide, "Preparing the Virtual Function for an NVIDIA vGPU"
"""

from __future__ import annotations

from typing import Final

from nodedevd.actions.plan import SriovManage
from nodedevd.control.steps.base import (
    AlreadySo,
    InUseNow,
    Overtaken,
    Ran,
    StepHost,
    StepRefused,
)
from nodedevd.control.steps.virtual_functions import MOST, NUMBER, number_of, unused_functions
from nodedevd.text import printable

PAUSES: Final = (1.0, 2.0, 4.0, 8.0)
"""Seconds before each further run: the driver may need as long to start."""
_LOCKED: Final = b"unbindLock"
_SHOWN: Final = 200  # characters of what it prints


class SriovManageHandler:
    """Runs sriov-manage."""

    def do(self, step: SriovManage, host: StepHost) -> None:
        """Run it until the card has all functions, or none."""
        if self.done(step, host):
            raise AlreadySo
        found = number_of(step.card, host)
        if found is None:
            raise StepRefused(0, f"{step.card} no longer has {NUMBER}")
        if step.enable and found:
            raise Overtaken(0, f"{found} functions are enabled now, where the plan found 0")
        try:
            _run(step, host, forced=host.forced)
        except StepRefused as refusal:
            refusal.left = _put_back(step, found, host)
            raise

    def undo(self, step: SriovManage, host: StepHost) -> None:
        """Run it the other way round, unless it shows that already.

        Raises InUseNow if somebody uses one of the functions by now, StepRefused if another writer
        has enabled others.
        """
        done = self.done(step, host)
        if done is None:
            raise StepRefused(0, f"{number_of(step.card, host)} functions of another writer stay")
        if done:
            _run(_opposite(step), host, forced=False)

    def can_undo(self, step: SriovManage) -> bool:
        """Return whether it had all functions before, or none: it cannot be given some."""
        return not step.had_some

    def done(self, step: SriovManage, host: StepHost) -> bool | None:
        """Return whether the card has all functions, or none; None if it has some by now."""
        found, most = number_of(step.card, host), number_of(step.card, host, MOST)
        if found is None:
            return False
        if found == (most if step.enable else 0):
            return True
        before = 0 if step.enable else most
        return False if found == before or step.had_some else None


def _run(step: SriovManage, host: StepHost, *, forced: bool) -> None:
    """Run it, several times if need be. Raises StepRefused, InUseNow."""
    argv = [step.program, "-e" if step.enable else "-d", step.card.rpartition("/")[2]]
    handler = SriovManageHandler()
    with unused_functions(step.card, host, forced=forced):
        for seconds in (*PAUSES, None):
            ran = host.run(argv)
            if handler.done(step, host):
                return
            if seconds is None or not _may_work_later(ran):
                break
            host.pause(seconds)
    found = number_of(step.card, host)
    detail = f"it ended with status {ran.status}, and {NUMBER} shows {found}{_printed(ran)}"
    raise StepRefused(0, detail)


def _put_back(step: SriovManage, before: int, host: StepHost) -> str | None:
    """Return to the number before, after a run that failed; return what is left if that fails."""
    found = number_of(step.card, host)
    if found in (before, None):
        return None
    try:
        if step.had_some:
            raise StepRefused(0, f"{before} were enabled, which sriov-manage cannot bring back")
        _run(_opposite(step), host, forced=False)
    except (StepRefused, InUseNow) as error:
        return f"{found} functions are enabled: {error.detail}"
    return None


def _opposite(step: SriovManage) -> SriovManage:
    return SriovManage(step.card, step.program, not step.enable)


def _may_work_later(ran: Ran) -> bool:
    return ran.status == 0 or _LOCKED in ran.stdout + ran.stderr


def _printed(ran: Ran) -> str:
    text = (ran.stderr.strip() or ran.stdout.strip()).decode("utf-8", "backslashreplace")
    last = text.rpartition("\n")[2][:_SHOWN]
    return f"; it printed: {printable(last)}" if last else ""
