"""Any sequence of changes, crashes, VMs and other writers: owners, journal and tree agree.

On the played cards of the judgments, with mdevs and with vendor VFIO. In each change the process
can be killed at any point, another writer can come in between, a VM can open what was made, the
driver can refuse any write, and the tree can be late.

One thing cannot be told apart, and is left out: another writer makes the same again, at the same
place and of the same type, before anybody has looked that it was gone.
"""

from __future__ import annotations

import errno
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import hypothesis.strategies as st
from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from nodedevd.actions.answers import Outcome
from nodedevd.actions.plan import CreateMdev, SetProfile
from nodedevd.actions.requests import Create, Remove, Request
from nodedevd.errors import NodedevError, NotConfirmed
from tests.support.acting_host import ActingHost, Killed
from tests.support.carried import uuids
from tests.support.played_card import PlayedType, TimeSliced
from tests.support.played_kernel import mdev_card, mdpy_parent, vendor_card
from tests.support.search import examples

UUIDS = uuids(5, 500)
OWNERS = st.sampled_from([None, "nova", "cinder"])
TYPES = st.sampled_from(["X1-4Q", "X1-12Q", "X1-24Q", "nvidia-1", "mdpy-hd"])
WHERE = st.sampled_from([None, None, "mdpy", "0000:41:00.0", "0000:08:00.0", "function"])
NUMBERS = st.integers(0, 1000)
POINTS = (
    *("doing:0", "done:0", "journal:1", "doing:1", "done:1", "doing:2", "done:2", "confirming"),
    *("confirmed", "records", "undoing:1", "undone:1", "undoing:0", "undone:0", "left", "ended"),
)


@dataclass(frozen=True)
class Trouble:
    """What happens during a change."""

    killed_at: str | None = None
    others_at: str | None = None
    """point at which another writer, or a VM, comes in between"""
    number: int = 0
    """which of the things that it could do"""
    refusals: tuple[int | None, ...] = ()
    blind: bool = False


TROUBLE = st.one_of(
    st.just(Trouble()),
    st.builds(Trouble, killed_at=st.sampled_from(POINTS)),
    st.builds(Trouble, others_at=st.sampled_from(POINTS), number=NUMBERS),
    st.builds(
        Trouble,
        killed_at=st.none() | st.sampled_from(POINTS),
        others_at=st.none() | st.sampled_from(POINTS),
        number=NUMBERS,
        refusals=st.lists(
            st.sampled_from(
                [None, None, errno.EIO, errno.ENOSPC, errno.EBUSY, errno.EAGAIN, errno.EPERM]
            ),
            max_size=4,
        ).map(tuple),
        blind=st.booleans(),
    ),
)


def card(functions: int, each: int, *, mixed: bool) -> TimeSliced:
    """Return a card whose functions share 48 GiB."""
    types = [PlayedType(f"{size}Q", size, 48 // size) for size in (4, 12, 24)]
    return TimeSliced(types, functions, each, memory=48, mixed=mixed)


class Host(RuleBasedStateMachine):
    """A host with a card of each framework, its clients, and others.

    Attributes:
        ours: the owner of each device that was made here, by path.
        theirs: the type of each that somebody else has made, by path.
    """

    def __init__(self) -> None:
        super().__init__()
        self.directory = tempfile.mkdtemp(
            prefix="nodedevd-properties-", dir="/dev/shm" if os.path.isdir("/dev/shm") else None
        )
        self.ours: dict[str, str | None] = {}
        self.theirs: dict[str, str] = {}

    @initialize(mixed=st.booleans(), functions=st.integers(1, 3))
    def begin(self, mixed: bool, functions: int) -> None:
        """Make the devices."""
        self.host = ActingHost(Path(self.directory))
        kernel = self.kernel = self.host.kernel
        mdpy_parent(kernel, 2)
        mdev_card(kernel, card(2, 2, mixed=mixed))
        self.functions = vendor_card(kernel, card(functions, 1, mixed=mixed))

    def teardown(self) -> None:
        """All VMs end and the service starts once more: then the journal is empty."""
        for path in self.devices():
            self.kernel.close(path)
        self.host.restart()
        self.check(self.host.entries() == [], "the journal is empty in the end")
        self.agree()
        shutil.rmtree(self.directory)

    # -- clients -------------------------------------------------------------------------------

    @rule(
        type_=TYPES,
        where=WHERE,
        uuid=st.sampled_from([None, *UUIDS]),
        owner=OWNERS,
        count=st.integers(1, 3),
        number=NUMBERS,
        trouble=TROUBLE,
    )
    def create(
        self,
        type_: str,
        where: str | None,
        uuid: str | None,
        owner: str | None,
        count: int,
        number: int,
        trouble: Trouble,
    ) -> None:
        """Create vGPUs."""
        if where == "function":
            where = self.functions[number % len(self.functions)]
        request = Create(
            type=type_,
            names=None if where is None else [where],
            uuid=uuid,
            owner=owner,
            count=1 if uuid else count,
        )
        before = self.devices()
        answer = self.act(request, trouble)
        new = [path for path in self.devices() if path not in before and path not in self.theirs]
        for path in new:
            self.ours[path] = owner
        if isinstance(answer, Outcome):
            shown = {device.path for device in answer.devices}
            self.check(set(new) <= shown, "what was made is answered")
            return
        # What is there although the change has failed, or was killed, is whole, or reported.
        left = [text for entry in self.host.entries() for text in entry.left]
        if isinstance(answer, NodedevError):
            self.check(set(getattr(answer, "left", ())) <= set(left), "what is left is kept")
            self.check(all(self.is_in(path, left) for path in new), "what is left is told")
        elif new and len(new) < request.count if request.count else 0:
            self.check(all(self.is_in(path, left) for path in new), "no half thing is unreported")

    @rule(number=NUMBERS, owner=OWNERS, force=st.booleans(), trouble=TROUBLE)
    def remove(self, number: int, owner: str | None, force: bool, trouble: Trouble) -> None:
        """Remove one of the vGPUs that exist, whoever made it."""
        paths = [path for path in sorted(self.devices()) if not (force and self.is_open(path))]
        if not paths:
            return
        path = paths[number % len(paths)]
        ours, mine = path in self.ours, self.ours.get(path)
        if trouble.others_at and force:
            trouble = Trouble(trouble.killed_at)  # a VM that opens it now is waited for
        is_open = self.is_open(path)
        answer = self.act(Remove(name=path, owner=owner, force=force), trouble)
        gone = path not in self.devices()
        if isinstance(answer, Outcome):
            self.check(gone or path in self.theirs, "what was removed is gone")
        if gone and (path in self.ours or path in self.theirs):
            self.check(force or (ours and mine == owner), "nobody removes what is another's")
            self.check(force or not is_open, "nobody removes what is open")
            self.ours.pop(path, None)
            self.theirs.pop(path, None)
            if isinstance(answer, NodedevError):
                self.check(isinstance(answer, NotConfirmed), "a removal that fails is undone")

    # -- others --------------------------------------------------------------------------------

    @rule(number=NUMBERS)
    def others(self, number: int) -> None:
        """Another program creates or removes a vGPU, or a VM opens or closes one."""
        acts = list(self.possible())
        if acts:
            acts[number % len(acts)]()

    @rule()
    def restart(self) -> None:
        """Start the service anew."""
        self.host.restart()

    # -- what holds ----------------------------------------------------------------------------

    @invariant()
    def agree(self) -> None:
        """Whoever made a device, the records say so; nothing is there that nobody made."""
        if not hasattr(self, "host"):
            return
        devices = self.devices()
        records = self.host.context.records.living(self.host.view.snapshot())
        owners = {self.path_of(one.subject): one.owner for one in records.values()}
        self.check(owners == self.ours, f"the records are {owners}, and ours {self.ours}")
        known = {**self.theirs, **{path: devices.get(path) for path in self.ours}}
        self.check(devices == known, f"the tree has {devices}, and we know {known}")
        for entry in self.host.entries():
            self.check(entry.phase == "left", f"{entry} belongs to nobody")

    # -- how -----------------------------------------------------------------------------------

    def act(self, request: Request, trouble: Trouble) -> Outcome | NodedevError | Killed:
        """Make a change in spite of some trouble; after a crash the service starts again."""
        if trouble.others_at is not None:
            self.host.on(
                trouble.others_at,
                lambda: self.come_between(trouble.number, killed=trouble.killed_at is not None),
            )
        if trouble.killed_at is not None and trouble.killed_at != trouble.others_at:
            self.host.kill_at(trouble.killed_at)
        self.host.refusals = list(trouble.refusals)
        self.host.view.blind = trouble.blind
        try:
            return self.host.act(request)
        except NodedevError as error:
            return error
        except Killed as error:
            self.host.refusals, self.host.view.blind = [], False
            self.host.restart()
            return error
        finally:
            self.host.refusals, self.host.view.blind = [], False
            self.host.clear()

    def come_between(self, number: int, *, killed: bool) -> None:
        """Do one thing that another program or a VM could do now."""
        acts = list(self.possible(killed=killed))
        if acts:
            acts[number % len(acts)]()

    def possible(self, *, killed: bool = True) -> Iterator[Callable[[], None]]:
        """Yield what others could do; `killed`: nobody knows by then whose a device is."""
        devices = self.devices()
        confused = self.confused() if killed else set()
        confused |= {(one.subject, one.type) for one in self.host.context.records.all().values()}
        for parent in self.kernel.mdev.parents.values():
            for type_id in parent.types:
                path = f"{parent.path}/mdev_supported_types/{type_id}/create"
                for uuid in UUIDS[:2]:
                    if (uuid, type_id) not in confused:
                        made = f"{parent.path}/{uuid}"
                        yield lambda p=path, u=uuid, m=made, t=type_id: self.write(p, u, m, t)  # type: ignore[misc]
        for function in self.kernel.vendor.functions.values():
            path = f"{function.path}/nvidia/current_vgpu_type"
            for type_id in function.names if function.current == "0" else ():
                if (function.path, type_id) not in confused:
                    yield lambda p=path, f=function.path, t=type_id: self.write(p, t, f, t)  # type: ignore[misc]
        for path in devices:
            if self.is_open(path):
                yield lambda p=path: self.kernel.close(p)  # type: ignore[misc]
            else:
                yield lambda p=path: self.kernel.open(p)  # type: ignore[misc]
                yield lambda p=path: self.take(p)  # type: ignore[misc]

    def write(self, path: str, value: str, made: str, type_id: str) -> None:
        """Create a vGPU as another program does."""
        try:
            self.kernel.write(path, value)
        except OSError:
            return
        self.theirs[made] = type_id

    def take(self, path: str) -> None:
        """Remove a vGPU as another program does."""
        if path in self.kernel.vendor.functions:
            self.kernel.write(f"{path}/nvidia/current_vgpu_type", "0")
        else:
            self.kernel.write(f"{path}/remove", "1")
        self.ours.pop(path, None)
        self.theirs.pop(path, None)

    def confused(self) -> set[tuple[str, str | None]]:
        """Return what changes in the journal make: if others made the same, it would be theirs."""
        found: set[tuple[str, str | None]] = set()
        for entry in self.host.entries():
            for step in entry.plan.steps:
                if isinstance(step, CreateMdev):
                    found.add((step.uuid, step.type))
                if isinstance(step, SetProfile):
                    found |= {(step.function, step.profile), (step.function, step.before)}
        return found

    def devices(self) -> dict[str, str]:
        """Return the type of each vGPU of the kernel, by path."""
        vendor = self.kernel.vendor.functions.values()
        return {
            **self.kernel.mdev.types,
            **{one.path: one.current for one in vendor if one.current != "0"},
        }

    def path_of(self, subject: str) -> str:
        """Return the path of the device of a record."""
        if subject.startswith("/"):
            return subject
        return next(path for path in self.kernel.mdev.types if path.endswith(subject))

    def is_open(self, path: str) -> bool:
        """Return whether a VM has it open."""
        return self.kernel.is_open(path)

    def is_in(self, path: str, texts: list[str]) -> bool:
        """Return whether a text is about a device."""
        subject = path if path in self.kernel.vendor.functions else os.path.basename(path)
        return any(subject in text for text in texts)

    def check(self, holds: bool, what: str) -> None:
        """Fail unless it holds."""
        assert holds, what


Host.TestCase.settings = settings(max_examples=examples(0.5), stateful_step_count=20, deadline=None)
test_any_sequence_ends_in_agreement = Host.TestCase
