"""Acting: makes the changes that are asked for on one host; for the service, and for nodedevctl.

Everything here blocks, and may be called from several threads.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from itertools import count
from typing import Any, Final

import msgspec

from nodedevd import __version__
from nodedevd.actions import (
    bind,
    create,
    define,
    modify,
    remove,
    set_autostart,
    set_virtual_functions,
    start,
    stop,
    unbind,
    undefine,
)
from nodedevd.actions.answers import (
    ControlStatus,
    LayoutCard,
    LayoutOutcome,
    Made,
    MadeList,
    NotApplied,
    NotStarted,
    Outcome,
)
from nodedevd.actions.facts import ActionFacts
from nodedevd.actions.ownership import Origin, Record
from nodedevd.actions.plan import CreateMdev, Plan, RemoveMdev, SetProfile
from nodedevd.actions.requests import (
    ApplyLayout,
    Bind,
    Create,
    Define,
    Modify,
    Remove,
    Request,
    SetAutostart,
    SetVirtualFunctions,
    Start,
    Stop,
    Unbind,
    Undefine,
    domain_of,
)
from nodedevd.control import programs
from nodedevd.control.apply_card import LayoutHost, Turns, applied
from nodedevd.control.apply_layout import apply_layout, plan_layout
from nodedevd.control.asker import Asker, this_process
from nodedevd.control.audit import Audit
from nodedevd.control.carry_out import carry_out, outcome
from nodedevd.control.configuration import Configuration
from nodedevd.control.context import Context
from nodedevd.control.facts import claimed_by, read_facts, read_layout_facts
from nodedevd.control.journal import Asked, now
from nodedevd.control.kept_closed import keeper
from nodedevd.control.recovery import recover
from nodedevd.control.state import in_progress, leftovers
from nodedevd.control.type_names import TypeNames
from nodedevd.control.view import View
from nodedevd.control.writers import Writers
from nodedevd.errors import REPLIED, InvalidParameter, NodedevError, NotAllowed, NotPossible
from nodedevd.host.sysroot import Sysroot
from nodedevd.kinds.mdev_child import MdevChild
from nodedevd.kinds.vgpu import Vgpu
from nodedevd.layout.difference import Difference
from nodedevd.layout.facts import LayoutFacts
from nodedevd.layout.wanted import WantedCard
from nodedevd.model.device import Device
from nodedevd.model.snapshot import Snapshot
from nodedevd.questions.vgpus import Framework, type_of

STATE: Final = "run/nodedevd/control"
"""Directory of the journal, the records and the locks, below the sysroot."""
STOP_AT: Final = "NODEDEVD_CONTROL_STOP_AT"
"""Environment variable for tests: the point, as `change` names them, where the process kills
itself with SIGKILL; `done:0@2` is when it passes this one for the third time."""

PLANS: Final[Mapping[type[Request], Callable[[Snapshot, ActionFacts, Any], Plan]]] = {
    Create: create.plan,
    Remove: remove.plan,
    Define: define.plan,
    Undefine: undefine.plan,
    Start: start.plan,
    Stop: stop.plan,
    Modify: modify.plan,
    SetAutostart: set_autostart.plan,
    SetVirtualFunctions: set_virtual_functions.plan,
    Bind: bind.plan,
    Unbind: unbind.plan,
}

_CAPABILITIES: Final[Mapping[Framework, str]] = {"mdev": "mdev_parent", "vendor-vfio": "vgpu"}
_STEPS: Final = {CreateMdev: "mdev", RemoveMdev: "mdev", SetProfile: "vendor-vfio"}


class Acting:
    """Changes one host.

    Attributes:
        context: what its changes share.
        not_started: returns the mdevs that are still to be started along with their parents.
        not_applied: returns the cards of the layout that are not as they should be.
    """

    def __init__(
        self,
        root: str = "/",
        *,
        configuration: Configuration | None = None,
        view: View | None = None,
        directory: str | None = None,
        audit: Audit | None = None,
    ) -> None:
        """Prepare; nothing is changed yet.

        Args:
            root: The sysroot, a directory.
            configuration: What is allowed; by default what it is without a file.
            view: The tree; by default that of the daemon if there is one, else of scans.
            directory: For journal, records and locks; by default `STATE` of the sysroot.
            audit: Where changes are logged; by default the journal of systemd.

        Raises OSError, UnsafePath.
        """
        self.configuration = configuration or Configuration()
        self.not_started: Callable[[], Iterable[NotStarted]] = tuple
        self.not_applied: Callable[[], Iterable[NotApplied]] = tuple
        self._audit = audit or Audit()
        self._sysroot = Sysroot(root)
        directory = directory or os.path.join(self._sysroot.root, STATE)
        self._view = view or View(root, directory=directory)
        self._writers = Writers(self._sysroot.root)
        self._started = now()
        self._lock = threading.Lock()
        self._turns = Turns()
        self._type_names = TypeNames(directory)
        self._changes = self._failures = 0
        os.makedirs(os.path.dirname(directory), mode=0o755, exist_ok=True)
        limits = self.configuration.limits
        self.context = Context(
            sysroot=self._sysroot,
            view=self._view,
            directory=directory,
            write=self._writers.write,
            run=programs.run,
            kept_closed=keeper(self._sysroot),
            write_seconds=limits.write_seconds,
            confirm_seconds=limits.confirm_seconds,
            lock_seconds=limits.lock_seconds,
            at=_stop_at(os.environ.get(STOP_AT)),
            told=self._audit.step,
            ended_late=self._audit.late,
        )

    def recover(self) -> None:
        """Take up the changes that a killed process has left. Raises OSError."""
        recover(self.context)

    def act(self, request: Request, asker: Asker) -> Outcome:
        """Make a change; or, for a dry run, return what it would be.

        Raises those of `errors.REPLIED`; StillWriting for a change that goes on.
        """
        try:
            found = self._act(request, asker)
        except BaseException as raised:
            error = _answer(raised)
            if not request.dry_run:
                self._failed(asker, request, error)
            raise error from raised
        if not request.dry_run:
            self._done(asker, request, found)
        return found

    def apply_layout(
        self,
        request: ApplyLayout,
        asker: Asker,
        waiting: Callable[[], AbstractContextManager[object]] = nullcontext,
    ) -> LayoutOutcome:
        """Make the host as its layout declares it; or, for a dry run, return what that would be.

        `waiting` is entered for as long as a card is waited for. Raises those of `errors.REPLIED`:
        NoSuchDevice if no entry means the card that is named.
        """
        try:
            host = self._layout_host(asker)
            if request.dry_run:
                tree = self._view.snapshot()
                return plan_layout(self._sysroot.root, tree, host.facts(tree), host.plan, request)
            return apply_layout(host, self._view, request, waiting)
        except Exception as error:
            raise _answer(error) from error

    def apply_card(self, entry: WantedCard, difference: Difference) -> LayoutCard:
        """Make a card as its entry of the layout declares it, asked by this process.

        `difference` is how it differs. The answer names no processes: it becomes a part of the
        status, which is not for root alone. Raises those of `errors.REPLIED`.
        """
        try:
            return applied(self._layout_host(this_process(), public=True), entry, difference)
        except Exception as error:
            raise _answer(error) from error

    def claims(self, snapshot: Snapshot) -> LayoutFacts:
        """Return whose devices the layout leaves alone; who uses them is not looked at.

        Raises OSError, UnsafePath.
        """
        names = self._type_names.learnt(snapshot)
        return LayoutFacts(claimed=claimed_by(self.context.records.all()), type_names=names)

    def made(self) -> MadeList:
        """Return whose the vGPUs, the mdevs and the devices that were changed here are.

        Raises those of `errors.REPLIED`.
        """
        try:
            snapshot = self._view.snapshot()
            records = self.context.records.living(snapshot)
        except Exception as error:
            raise _answer(error) from error
        return MadeList(generation=snapshot.generation, devices=tuple(_made(snapshot, records)))

    def status(self, *, clients: int = 0, queued: int = 0) -> ControlStatus:
        """Return the state. Raises those of `errors.REPLIED`."""
        try:
            return ControlStatus(
                version=__version__,
                pid=os.getpid(),
                sysroot=self._sysroot.root,
                started=self._started,
                source=self._view.source,
                clients=clients,
                changes=self._changes,
                failures=self._failures,
                queued=queued,
                in_progress=in_progress(self.context),
                leftovers=leftovers(self.context),
                not_started=tuple(self.not_started()),
                not_applied=tuple(self.not_applied()),
                configuration=msgspec.to_builtins(self.configuration),
            )
        except OSError as error:
            raise _answer(error) from error

    @property
    def busy(self) -> bool:
        """Whether any change is in progress, or hangs, or is tried again.

        What waits for a parent that is missing does not count: its uevent starts the service.
        """
        return bool(in_progress(self.context)) or any(
            one.waits and one.tries for one in self.not_started()
        )

    def close(self) -> None:
        """End what does not write; a writer that hangs ends by itself."""
        self._writers.close()
        self._view.close()

    def _act(self, request: Request, asker: Asker) -> Outcome:
        if domain_of(request) is not None and asker.uid not in (0, os.geteuid()):
            method = type(request).__name__
            raise NotAllowed(method, "a domain is given by its hook, which is root")
        limit = self.configuration.limits.create
        if isinstance(request, Create) and (request.count or 1) > limit:
            raise InvalidParameter("count", f"{limit} can be created at once, by control.toml")
        if request.dry_run:
            snapshot = self._view.snapshot()
            return outcome(self._plan(snapshot, request, asker), snapshot, dry_run=True)
        return carry_out(
            lambda snapshot: self._plan(snapshot, request, asker),
            self.context,
            _asked(asker),
            sketch=lambda snapshot: self._plan(snapshot, request, asker, ask_who_has_open=False),
        )

    def _layout_host(self, asker: Asker, *, public: bool = False) -> LayoutHost:
        """Return the host as what applies its layout changes it, for whoever asks for that."""
        return LayoutHost(
            context=self.context,
            facts=lambda snapshot: self._layout_facts(snapshot, asker, public=public),
            plan=lambda snapshot, request: self._plan(
                snapshot, request, asker, "layout", public=public
            ),
            turns=self._turns,
            asked=_asked(asker),
            done=partial(self._done, asker),
            failed=partial(self._failed, asker),
        )

    def _layout_facts(self, snapshot: Snapshot, asker: Asker, *, public: bool) -> LayoutFacts:
        records = self.context.records.all()
        found = read_layout_facts(self._sysroot.root, records, asker.uid, public=public)
        return msgspec.structs.replace(found, type_names=self._type_names.learnt(snapshot))

    def _plan(
        self,
        snapshot: Snapshot,
        request: Request,
        asker: Asker,
        origin: Origin = "client",
        *,
        public: bool = False,
        ask_who_has_open: bool = True,
    ) -> Plan:
        request = self._within_frameworks(snapshot, request)
        # Also those of devices that are gone: to remove one of these is no error.
        records = self.context.records.all()
        facts = read_facts(
            self._sysroot.root,
            snapshot,
            request,
            records,
            asker.uid,
            origin,
            public=public,
            ask_who_has_open=ask_who_has_open,
        )
        plan = PLANS[type(request)](snapshot, facts, request)
        for step in plan.steps:
            framework = _STEPS.get(type(step))
            if framework is not None and framework not in self.configuration.frameworks:
                text = f"it is of the framework {framework}, which control.toml does not allow"
                raise NotPossible(_about(request), "framework", text)
        return plan

    def _within_frameworks(self, snapshot: Snapshot, request: Request) -> Request:
        """Have devices created on functions of the frameworks that may be used, if anywhere."""
        allowed = self.configuration.frameworks
        if not isinstance(request, Create) or request.names or len(allowed) == len(_CAPABILITIES):
            return request
        found = snapshot.select([_CAPABILITIES[one] for one in allowed])
        if not found:
            text = f"no card has a framework that control.toml allows ({', '.join(allowed)})"
            raise NotPossible(_about(request), "framework", text)
        return msgspec.structs.replace(request, names=[device.name for device in found])

    def _done(self, asker: Asker, request: Request, found: Outcome) -> None:
        self._count(changes=1)
        self._audit.done(asker, request, found)

    def _failed(self, asker: Asker, request: Request, error: BaseException) -> None:
        self._count(failures=1)
        self._audit.failed(asker, request, error)

    def _count(self, *, changes: int = 0, failures: int = 0) -> None:
        with self._lock:
            self._changes += changes
            self._failures += failures


def _asked(asker: Asker) -> Asked:
    return Asked(asker.uid, asker.pid, asker.command, asker.speaker)


def _answer(error: BaseException) -> BaseException:
    """Return the error that a client gets to know: one that its interface declares."""
    if isinstance(error, REPLIED):
        return error
    if isinstance(error, NodedevError):
        return NotPossible("the host", error.code, str(error))
    if isinstance(error, OSError):
        what = error.strerror or str(error)
        where = f" ({error.filename})" if error.filename else ""
        return NotPossible("the host", "unreadable", f"it cannot be looked at: {what}{where}")
    return error


def _about(request: Request) -> str:
    return str(getattr(request, "name", None) or getattr(request, "type", ""))


def _made(snapshot: Snapshot, records: Mapping[str, Record]) -> Iterable[Made]:
    for device in snapshot:
        mdev, vgpu = device.capability(MdevChild), device.capability(Vgpu)
        subject = (device.path or "") if mdev is None else mdev.uuid
        record = records.get(subject) if device.active else None
        kind = type_of(device)
        type_id = None if kind is None else kind.id
        if record is not None:
            yield Made(
                name=device.name,
                origin=record.origin,
                owner=record.owner,
                uid=record.uid,
                type=record.type or type_id,
                generation=record.generation,
                made=record.made,
            )
        elif mdev is not None or (vgpu is not None and vgpu.current is not None):
            yield Made(name=device.name, origin=_unknown(device), type=type_id)


def _unknown(device: Device) -> Any:
    """Return the origin of what was not made here: a definition alone, or somebody else."""
    return "other" if device.active else "definition"


def _stop_at(wanted: str | None) -> Callable[[str], None]:
    name, _, times = (wanted or "").partition("@")
    passes = count()

    def at(point: str) -> None:
        if point == name and next(passes) == int(times or 0):
            os.kill(os.getpid(), signal.SIGKILL)

    return at
