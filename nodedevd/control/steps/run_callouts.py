"""run_callouts: has mdevctl's scripts veto an action, take part in it, or learn of it.

Runs   the scripts below scripts.d, as `control/callouts.py` does it
"""

from __future__ import annotations

from nodedevd.actions.plan import RunCallouts
from nodedevd.control.callouts import Callouts, NotAsked
from nodedevd.control.steps.base import StepHost, StepRefused
from nodedevd.errors import Vetoed
from nodedevd.host.mdev_paths import MDEV_DEVICES


class RunCalloutsHandler:
    """Runs the scripts for one event of an action."""

    def do(self, step: RunCallouts, host: StepHost) -> None:
        """Run them. Raises Vetoed, NotPossible, StepRefused; only for the events pre and live.

        Notifiers learn of a veto, too, as from mdevctl 1.2.
        """
        scripts = Callouts(step, host)
        if step.event == "pre":
            try:
                scripts.ask()
            except NotAsked as error:
                scripts.notify("none")
                raise StepRefused(0, f"{error}, so its veto is not known") from None
            except Vetoed:
                scripts.notify("none")
                raise
        elif step.event == "live":
            try:
                scripts.change_live()
            except NotAsked as error:
                raise StepRefused(0, str(error)) from None
        elif step.event == "post":
            scripts.tell("success")
        else:
            scripts.notify("success")

    def undo(self, step: RunCallouts, host: StepHost) -> None:
        """Tell the scripts that were asked, and the notifiers, that the action has failed."""
        if step.event == "live":
            raise StepRefused(
                0, "a script has changed the mdev that runs, and cannot change it back"
            )
        scripts = Callouts(step, host)
        scripts.tell("failure")
        scripts.notify("failure")

    def can_undo(self, step: RunCallouts) -> bool:
        """Return whether anybody has to be told, or a change is left."""
        return step.event in ("pre", "live")

    def done(self, step: RunCallouts, host: StepHost) -> bool | None:
        """Return None: what a script has done cannot be told; False once the mdev has gone."""
        is_live = step.event == "live"
        return False if is_live and not host.exists(f"{MDEV_DEVICES}/{step.uuid}") else None
