"""callouts: the scripts with which mdevctl lets others veto a change, help with it, or learn of it.

Reads  /usr/lib/mdevctl/scripts.d and /etc/mdevctl.d/scripts.d, each with callouts/, notifiers/
Runs   SCRIPT -t TYPE -e EVENT -a ACTION -s STATE -u UUID -p PARENT, with the definition on one
       line of its standard input
Form   mdevctl(8); mdevctl's callouts.rs

The order is that of mdevctl 1.4, which is that of 1.2 if no script knows the question: all scripts
are asked for their capabilities, and the first that answers is the only one for this action.
Otherwise the first that does not end with status 2, which means "not for this type", decides.

mdevctl goes on if a script cannot be run, or is killed by a signal: its veto fails open. Here it
fails closed: a change is refused as long as a script that may veto it cannot be asked.
"""

from __future__ import annotations

import json
import logging
import os
import stat
from collections.abc import Iterator
from typing import TYPE_CHECKING, Final, Literal, TypeAlias

import msgspec

from nodedevd.actions.plan import RunCallouts
from nodedevd.errors import NotPossible, Vetoed
from nodedevd.host.lines import fields_of, lines_of
from nodedevd.host.trust import why_changeable
from nodedevd.text import printable
from nodedevd.undecodable import UNDECODABLE

if TYPE_CHECKING:  # the package of steps imports this module
    from nodedevd.control.steps.base import Ran, StepHost

State: TypeAlias = Literal["none", "success", "failure"]
"""What mdevctl tells scripts of the action: not done yet, or what has come of it."""

DIRECTORIES: Final = ("/usr/lib/mdevctl/scripts.d", "/etc/mdevctl.d/scripts.d")
"""In the order of mdevctl 1.4; 1.2 reads the second one alone."""
SECONDS: Final = 15.0
"""How long a script may take; mdevctl waits for ever."""
_NOT_FOR_THIS: Final = 2
_SHOWN = 400
"""Characters of what a script says that are shown."""
_PROVIDES: Final = {
    "provides": {
        "version": 2,
        "actions": [
            *("start", "stop", "define", "undefine", "modify"),
            *("attributes", "capabilities"),
        ],
        "events": ["pre", "post", "notify", "get", "live"],
    }
}
_log: Final = logging.getLogger(__name__)


class _Capabilities(msgspec.Struct):
    """What a script says that it supports."""

    version: int
    actions: list[str]
    events: list[str]


class _Answer(msgspec.Struct):
    supports: _Capabilities | None = None


# Prepared here, since msgspec crashes if two threads prepare a type at once.
_DECODER: Final = msgspec.json.Decoder(_Answer)


class NotAsked(Exception):
    """A script could not be asked."""

    def __init__(self, script: str, reason: str) -> None:
        self.script = script
        self.reason = reason
        super().__init__(script, reason)

    def __str__(self) -> str:
        return f"mdevctl's script {self.script} {self.reason}"


class Callouts:
    """The scripts for one action on one mdev."""

    def __init__(self, step: RunCallouts, host: StepHost) -> None:
        self._step = step
        self._host = host

    def ask(self) -> None:
        """Ask for a veto. Raises Vetoed, and NotAsked if a script cannot be asked."""
        self._ask("pre")

    def change_live(self) -> None:
        """Have the script of the type change the mdev that runs.

        Raises Vetoed if it refuses, NotPossible if no script can do it, NotAsked.
        """
        script, capabilities = self._chosen()
        if script is None or capabilities is None or "live" not in capabilities.events:
            raise NotPossible(
                self._step.uuid,
                "no-live-modify",
                f"no script of mdevctl can change an mdev of type {self._step.type} that runs;"
                " change its definition, then stop and start it",
            )
        self._decide(script, capabilities, "live")

    def tell(self, state: State) -> None:
        """Say what came of the action; nothing depends on the answer."""
        try:
            self._ask("post", state)
        except (NotAsked, Vetoed) as error:
            _log.warning("after %s of %s: %s", self._step.action, self._step.uuid, error)

    def notify(self, state: State) -> None:
        """Run all notifiers, whatever comes of them."""
        step = self._step
        try:
            for script in self._scripts("notifiers"):
                try:
                    ran = self._run(script, "notify", step.action, state, step.definition)
                except NotAsked as error:
                    _log.warning("after %s of %s: %s", step.action, step.uuid, error)
                    continue
                if ran.status != 0:
                    detail = f"ended with status {ran.status}{_said(ran)}"
                    _log.warning("after %s of %s: %s %s", step.action, step.uuid, script, detail)
        except NotAsked as error:
            _log.warning("after %s of %s: %s", step.action, step.uuid, error)

    def _ask(self, event: str, state: State = "none") -> None:
        """Run what decides about an event. Raises NotAsked, Vetoed."""
        script, capabilities = self._chosen()
        if script is not None and capabilities is not None:
            self._decide(script, capabilities, event, state)
            return
        for script in self._scripts("callouts"):
            ran = self._run(script, event, self._step.action, state, self._step.definition)
            if ran.status == 0:
                return
            if ran.status != _NOT_FOR_THIS:
                raise Vetoed(script, f"it ended with status {ran.status}{_said(ran)}")

    def _decide(
        self, script: str, capabilities: _Capabilities, event: str, state: State = "none"
    ) -> None:
        """Run the chosen script for an event. Raises NotAsked, Vetoed."""
        action = self._step.action
        if action not in capabilities.actions or event not in capabilities.events:
            raise Vetoed(script, f"it does not support the event {event} of {action}")
        ran = self._run(script, event, action, state, self._step.definition)
        if ran.status != 0:
            raise Vetoed(script, f"it ended with status {ran.status}{_said(ran)}")

    def _chosen(self) -> tuple[str | None, _Capabilities | None]:
        """Return the first script that knows the question for capabilities, and its answer."""
        question = json.dumps(_PROVIDES, separators=(",", ":"))
        for script in self._scripts("callouts"):
            ran = self._run(script, "get", "capabilities", "none", question)
            if ran.status == _NOT_FOR_THIS:
                continue
            try:
                answer = _DECODER.decode(ran.stdout.rstrip(b"\0"))
            except UNDECODABLE:
                continue
            if answer.supports is not None:
                return script, answer.supports
        return None, None

    def _run(self, script: str, event: str, action: str, state: State, stdin: str) -> Ran:
        """Run a script. Raises NotAsked."""
        step = self._step
        path = self._checked(script)
        argv = [path, "-t", step.type, "-e", event, "-a", action, "-s", state]
        argv += ["-u", step.uuid, "-p", step.parent]
        try:
            ran = self._host.run(argv, stdin=stdin.encode(), timeout=SECONDS)
        except TimeoutError:
            reason = f"has not ended within {SECONDS:.0f} s and was killed"
            raise NotAsked(script, reason) from None
        except OSError as error:
            raise NotAsked(script, f"cannot be run: {error.strerror}") from None
        if ran.status < 0:
            raise NotAsked(script, f"was killed by signal {-ran.status}{_said(ran)}")
        return ran

    def _scripts(self, kind: str) -> Iterator[str]:
        """Yield the scripts of a kind, as paths of the host."""
        for base in DIRECTORIES:
            directory = f"{base}/{kind}"
            try:
                names = sorted(os.listdir(self._place(directory)))
            except (FileNotFoundError, NotADirectoryError):
                continue
            except OSError as error:
                raise NotAsked(directory, f"cannot be listed: {error.strerror}") from None
            for name in names:
                if not os.path.isdir(self._place(f"{directory}/{name}")):
                    yield f"{directory}/{name}"

    def _checked(self, script: str) -> str:
        """Return where a script is, if only root may change it. Raises NotAsked."""
        sysroot = self._host.sysroot
        try:
            reason = why_changeable(sysroot, script)
            if reason is not None:
                raise NotAsked(script, f"is not run: {reason}; give it to root alone")
            path = self._place(script if sysroot.live else sysroot.resolve(script))
            if not os.stat(path).st_mode & stat.S_IXUSR:
                reason = "is not executable; chmod +x it, or move it elsewhere"
                raise NotAsked(script, reason)
        except OSError as error:
            raise NotAsked(script, f"cannot be examined: {error.strerror}") from None
        return path

    def _place(self, path: str) -> str:
        """Return the path of this process for one of the host."""
        return os.path.join(self._host.sysroot.root, path.lstrip("/"))


def _said(ran: Ran) -> str:
    """Return what a script has written to standard error, in one bounded line."""
    words = printable(" ".join(fields_of(" ".join(lines_of(ran.stderr.decode(errors="replace"))))))
    return f": {words[:_SHOWN]}" if words else ""
