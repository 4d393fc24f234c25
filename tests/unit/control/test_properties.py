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
import typing
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Literal, TypeAlias

import hypothesis.strategies as st
import pytest
from hypothesis import example, given, settings

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
VENDOR, MDEV = "0000:41:00.0", "0000:08:00.0"
WHAT = st.sampled_from(
    [
        ("X1-4Q", None),
        ("X1-12Q", None),
        *[(type_, where) for type_ in ("X1-4Q", "X1-12Q") for where in (VENDOR, MDEV, "function")],
        ("mdpy-hd", "mdpy"),
        ("mdpy-vga", "mdpy"),
        ("mdpy-hd", None),
    ]
)
"""A type, and where it is to be."""
NUMBERS = st.integers(0, 1000)
POINTS = (
    *("doing:0", "done:0", "journal:1", "doing:1", "done:1", "doing:2", "confirming"),
    *("confirmed", "records", "undoing:1", "undoing:0", "undone:0", "left", "ended"),
)


Others: TypeAlias = Literal["same", "other", "opens", "takes"]
"""same: makes what the step makes that is being done; other: at the same place, of another type;
opens, takes: a VM opens, or somebody removes, what was made last."""


@dataclass(frozen=True)
class Trouble:
    """What happens during a change."""

    killed_at: str | None = None
    others: Others | None = None
    """what another writer, or a VM, does in between"""
    others_at: str = "ended"
    """at which point"""
    refusals: tuple[int | None, ...] = ()
    blind: bool = False


NO_TROUBLE = Trouble()
OTHERS = st.sampled_from(typing.get_args(Others))
REFUSALS = st.lists(
    st.sampled_from([None, errno.EIO, errno.ENOSPC, errno.EBUSY, errno.EAGAIN, errno.EPERM]),
    max_size=6,
).map(tuple)
EARLY = st.sampled_from(["doing:0", "done:0", "doing:1", "done:1"])
TROUBLE = st.one_of(
    st.just(NO_TROUBLE),
    st.builds(Trouble, killed_at=st.sampled_from(POINTS)),
    st.builds(Trouble, others=OTHERS, others_at=EARLY, blind=st.booleans()),
    st.builds(Trouble, others=OTHERS, others_at=EARLY, refusals=REFUSALS),
    st.builds(Trouble, refusals=REFUSALS, blind=st.booleans()),
    st.builds(
        Trouble,
        killed_at=st.sampled_from(POINTS),
        others=OTHERS,
        others_at=EARLY,
        refusals=REFUSALS,
        blind=st.booleans(),
    ),
)


@dataclass(frozen=True)
class CreateSome:
    """A client creates vGPUs."""

    what: tuple[str, str | None]
    uuid: str | None
    owner: str | None
    count: int
    number: int
    trouble: Trouble


@dataclass(frozen=True)
class RemoveOne:
    """A client removes one of the vGPUs that exist, as its owner or as somebody else."""

    number: int
    stranger: bool
    force: bool
    trouble: Trouble


@dataclass(frozen=True)
class Otherwise:
    """Another program, or a VM, does something; or the service starts anew."""

    what: Literal["makes", "takes", "opens", "closes", "starts"]
    number: int


SELDOM = st.sampled_from([False, False, False, True])
CREATES = st.builds(
    CreateSome,
    what=WHAT,
    uuid=st.sampled_from([None, *UUIDS]),
    owner=OWNERS,
    count=st.integers(1, 3),
    number=NUMBERS,
    trouble=TROUBLE,
)
REMOVES = st.builds(RemoveOne, number=NUMBERS, stranger=SELDOM, force=SELDOM, trouble=TROUBLE)
OTHERWISE = st.builds(
    Otherwise,
    what=st.sampled_from(["makes", "takes", "opens", "closes", "starts"]),
    number=NUMBERS,
)
COMMANDS = st.lists(
    st.one_of(CREATES, CREATES, CREATES, REMOVES, REMOVES, OTHERWISE), min_size=12, max_size=24
)


def card(functions: int, each: int, *, mixed: bool) -> TimeSliced:
    """Return a card whose functions share 48 GiB."""
    types = [PlayedType(f"{size}Q", size, 48 // size) for size in (4, 12, 24)]
    return TimeSliced(types, functions, each, memory=48, mixed=mixed)


class Host:
    """A host with a card of each framework, its clients, and others.

    Attributes:
        ours: the owner of each device that was made here, by path.
        theirs: the type of each that somebody else has made, by path.
        left: what could not be undone, by path; the next start may undo it.
        taken: what other programs have removed, in order.
    """

    def __init__(self, directory: Path, *, mixed: bool, functions: int) -> None:
        self.host = ActingHost(directory)
        kernel = self.kernel = self.host.kernel
        mdpy_parent(kernel, 2)
        mdev_card(kernel, card(2, 2, mixed=mixed))
        self.functions = vendor_card(kernel, card(functions, 1, mixed=mixed))
        self.left: set[str] = set()
        self.taken: list[str] = []
        self.ours: dict[str, str | None] = {}
        self.theirs: dict[str, str] = {}

    def do(self, command: CreateSome | RemoveOne | Otherwise) -> None:
        """Do one thing, and check that everything agrees."""
        if isinstance(command, CreateSome):
            self.create(command)
        elif isinstance(command, RemoveOne):
            self.remove(command)
        else:
            self.others(command)
        self.agree()

    def end(self) -> None:
        """All VMs end and the service starts once more: then the journal is empty."""
        for path in self.devices():
            self.kernel.close(path)
        self.restart()
        assert self.host.entries() == [], "the journal is empty in the end"
        self.agree()

    # -- clients -------------------------------------------------------------------------------

    def create(self, command: CreateSome) -> None:
        """Create vGPUs."""
        uuid, owner = command.uuid, command.owner
        type_, where = command.what
        if where in (VENDOR, "function") or (type_.startswith("X1") and where is None):
            uuid = None
        if where == "function":
            where = self.functions[command.number % len(self.functions)]
        request = Create(
            type=type_,
            names=None if where is None else [where],
            uuid=uuid,
            owner=owner,
            count=1 if uuid else command.count,
        )
        before, taken = self.devices(), len(self.taken)
        answer = self.act(request, command.trouble)
        wanted = (request.count or 1) - len(self.taken[taken:])
        new = [path for path in self.devices() if path not in before and path not in self.theirs]
        for path in new:
            self.ours[path] = owner
        if isinstance(answer, Outcome):
            shown = {device.path for device in answer.devices}
            assert set(new) <= shown, "what was made is answered"
            self.left -= shown  # whoever was told that it is there keeps it
            return
        # What is there although the change has failed, or was killed, is whole, or reported.
        left = [text for entry in self.host.entries() for text in entry.left]
        if isinstance(answer, NodedevError) or len(new) < wanted:
            self.left.update(new)
        self.left.update(path for path in new if self.is_in(path, left))
        if isinstance(answer, NodedevError):
            assert set(getattr(answer, "left", ())) <= set(left), "what is left is kept"
            assert all(self.is_in(path, left) for path in new), "what is left is told"
        elif len(new) < wanted:
            assert all(self.is_in(path, left) for path in new), "no half thing is unreported"

    def remove(self, command: RemoveOne) -> None:
        """Remove a vGPU."""
        force, trouble = command.force, command.trouble
        paths = [path for path in sorted(self.devices()) if not (force and self.is_open(path))]
        if not paths:
            return
        path = paths[command.number % len(paths)]
        ours, theirs = path in self.ours, path in self.theirs
        owner = "glance" if command.stranger else self.ours.get(path)
        mine = ours and self.ours[path] == owner
        if force:
            trouble = Trouble(trouble.killed_at)  # a VM that opens it now would be waited for
        is_open, taken = self.is_open(path), len(self.taken)
        was_left = path in self.left
        self.left.add(path)
        answer = self.act(Remove(name=path, owner=owner, force=force), trouble)
        gone = path not in self.devices()
        if isinstance(answer, Outcome):
            assert gone or path in self.theirs, "what was removed is gone"
        if not was_left:
            self.left.discard(path)
        if gone and path not in self.taken[taken:]:
            assert force or mine, f"nobody removes what is another's ({ours}, {theirs})"
            assert force or not is_open, "nobody removes what is open"
            failed = isinstance(answer, NodedevError) and not isinstance(answer, NotConfirmed)
            assert not failed, "a removal that fails is undone"
            self.ours.pop(path, None)
            self.theirs.pop(path, None)

    # -- others --------------------------------------------------------------------------------

    def others(self, command: Otherwise) -> None:
        """Do what others could do."""
        if command.what == "starts":
            self.restart()
            return
        devices = sorted(self.devices())
        acts: list[Callable[[], None]] = []
        if command.what == "makes":
            acts = [partial(self.make, path, type_id) for path, type_id in self.places()]
        elif command.what == "closes":
            acts = [partial(self.kernel.close, path) for path in devices if self.is_open(path)]
        else:
            act = self.take if command.what == "takes" else self.kernel.open
            acts = [partial(act, path) for path in devices if not self.is_open(path)]
        if acts:
            acts[command.number % len(acts)]()

    # -- what holds ----------------------------------------------------------------------------

    def agree(self) -> None:
        """Whoever made a device, the records say so; nothing is there that nobody made."""
        devices = self.devices()
        records = self.host.context.records.living(self.host.view.snapshot())
        owners = {self.path_of(one.subject): one.owner for one in records.values()}
        assert owners == self.ours, f"the records are {owners}, and ours {self.ours}"
        known = {**self.theirs, **{path: devices.get(path) for path in self.ours}}
        assert devices == known, f"the tree has {devices}, and we know {known}"
        for entry in self.host.entries():
            assert entry.phase == "left", f"{entry} belongs to nobody"

    # -- how -----------------------------------------------------------------------------------

    def restart(self) -> None:
        """Start the service anew."""
        self.host.restart()
        self.forget_undone()

    def forget_undone(self) -> None:
        """Forget what was left of a failed change, and is gone."""
        for path in set(self.ours) - set(self.devices()):
            assert path in self.left, f"{path} was made by whoever asked for it"
            del self.ours[path]
        self.left &= set(self.ours)

    def act(self, request: Request, trouble: Trouble) -> Outcome | NodedevError | Killed:
        """Make a change in spite of some trouble; after a crash the service starts again."""
        what, killed = trouble.others, trouble.killed_at is not None
        if what is not None:
            self.host.on(trouble.others_at, lambda: self.come_between(what, killed=killed))
        if trouble.killed_at is not None and (
            what is None or trouble.killed_at != trouble.others_at
        ):
            self.host.kill_at(trouble.killed_at)
        self.host.refusals = list(trouble.refusals)
        self.host.view.blind = trouble.blind
        try:
            return self.host.act(request)
        except NodedevError as error:
            return error
        except Killed as error:
            self.host.refusals, self.host.view.blind = [], False
            self.restart()
            return error
        finally:
            self.host.refusals, self.host.view.blind = [], False
            self.host.clear()

    def come_between(self, what: Others, *, killed: bool) -> None:
        """Do what another program or a VM does at this point of a change."""
        steps = [
            step
            for entry in self.host.entries()
            if entry.phase != "left"
            for step in entry.plan.steps[: entry.index + 1]
        ]
        for step in reversed(steps):
            if isinstance(step, CreateMdev):
                path = f"{step.parent}/{step.uuid}"
                others = [
                    one for one in self.kernel.mdev.parents[step.parent].types if one != step.type
                ]
                made, types = step.type, others[:1]
            elif isinstance(step, SetProfile):
                path, made = step.function, step.profile or "0"
                types = ["1" if made != "1" and step.before != "1" else "3"]
            else:
                continue
            there = path in self.devices()
            if what in ("opens", "takes"):
                if there and not self.is_open(path):
                    self.kernel.open(path) if what == "opens" else self.take(path)
                    return
                continue
            if not there and not (killed and what == "same"):
                self.make(path, made if what == "same" else types[0])
            return

    def make(self, path: str, type_id: str) -> None:
        """Create a vGPU at a place as another program does, unless the driver refuses."""
        if type_id == "0":
            return
        if path in self.kernel.vendor.functions:
            self.write(f"{path}/nvidia/current_vgpu_type", type_id, path, type_id)
        else:
            parent, uuid = os.path.split(path)
            create = f"{parent}/mdev_supported_types/{type_id}/create"
            self.write(create, uuid, path, type_id)

    def places(self) -> list[tuple[str, str]]:
        """Return where other programs could make something: path and type."""
        known = {(one.subject, one.type) for one in self.host.context.records.all().values()}
        places = [
            (f"{parent.path}/{uuid}", type_id)
            for parent in self.kernel.mdev.parents.values()
            for type_id in parent.types
            for uuid in UUIDS[:2]
            if (uuid, type_id) not in known
        ]
        return places + [
            (function.path, type_id)
            for function in self.kernel.vendor.functions.values()
            for type_id in function.names
            if function.current == "0" and (function.path, type_id) not in known
        ]

    def write(self, path: str, value: str, made: str, type_id: str) -> None:
        """Create a vGPU as another program does."""
        try:
            self.kernel.write(path, value)
        except OSError:
            return
        self.theirs[made] = type_id
        self.ours.pop(made, None)  # its place was free

    def take(self, path: str) -> None:
        """Remove a vGPU as another program does."""
        if path in self.kernel.vendor.functions:
            self.kernel.write(f"{path}/nvidia/current_vgpu_type", "0")
        else:
            self.kernel.write(f"{path}/remove", "1")
        self.ours.pop(path, None)
        self.theirs.pop(path, None)
        self.taken.append(path)

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


def wanted(
    type_: str, count: int, where: str | None = None, trouble: Trouble = NO_TROUBLE
) -> CreateSome:
    """Return the creation of some vGPUs by anybody."""
    return CreateSome((type_, where), None, None, count, 0, trouble)


UNDONE_IN_PART = [
    wanted("X1-4Q", 1),
    wanted("X1-4Q", 1),
    wanted("X1-12Q", 2, None, Trouble(others="opens", others_at="done:0", blind=True)),
    wanted("X1-12Q", 1, VENDOR),
]
"""The last makes again what the one before it has undone."""


@pytest.mark.exhaustive
@example(commands=UNDONE_IN_PART, mixed=True, functions=1)
@settings(max_examples=examples(0.5), deadline=None)
@given(commands=COMMANDS, mixed=st.booleans(), functions=st.integers(1, 3))
def test_any_sequence_ends_in_agreement(
    commands: list[CreateSome | RemoveOne | Otherwise], mixed: bool, functions: int
) -> None:
    """Whatever happens in which order."""
    with TemporaryDirectory(dir="/dev/shm" if os.path.isdir("/dev/shm") else None) as directory:
        host = Host(Path(directory), mixed=mixed, functions=functions)
        for command in commands:
            host.do(command)
        host.end()
