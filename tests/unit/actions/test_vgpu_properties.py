"""Create, remove, start and stop against played drivers, among other writers and VMs.

Whatever the order: what a plan says is sure works, or the driver's refusal is told; a plan that
fails leaves nothing behind; nobody's vGPU is removed by whom it does not belong to, nor while a VM
has it open; and records, tree and kernel agree.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable
from contextlib import suppress

import hypothesis.strategies as st
import pytest
from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from nodedevd.actions import create, remove, start, stop
from nodedevd.actions.facts import ActionFacts
from nodedevd.actions.plan import CreateMdev, Plan, SetProfile
from nodedevd.actions.requests import Attribute, Create, Remove, Start, Stop
from nodedevd.control.steps.base import StepRefused
from nodedevd.errors import NodedevError
from tests.support.carried import Carried, facts_of, tree_of, uuids
from tests.support.played_card import PlayedType, TimeSliced
from tests.support.played_kernel import (
    PlayedKernel,
    mdev_card,
    mdpy_parent,
    mtty_parent,
    vendor_card,
)
from tests.support.search import examples
from tests.support.trees import Tree

pytestmark = pytest.mark.exhaustive

UUIDS = uuids(6, 500)
OWNERS = st.sampled_from([None, "nova", "cinder"])
CARDS = (None, "0000:41:00.0", "0000:08:00.0", "function")
PLACES = st.sampled_from(
    [
        *[(type_, place) for type_ in ("mtty-1", "mtty-2") for place in (None, "mtty")],
        *[("mdpy-hd", place) for place in (None, "mdpy")],
        *[(type_, place) for type_ in ("X1-4Q", "X1-24Q") for place in CARDS],
        ("nvidia-1", None),
        ("mtty-1", "mdpy"),
    ]
)
"""A type, and where it is wanted; nearly always where it is offered."""
NUMBERS = st.integers(0, 30)
DEFINED = {"mtty": ("mtty-1", UUIDS[0]), "mdpy": ("mdpy-hd", UUIDS[1])}


def card(functions: int, each: int, *, mixed: bool) -> TimeSliced:
    """Return a card whose functions share 48 GiB."""
    types = [PlayedType(f"{size}Q", size, 48 // size) for size in (4, 12, 24)]
    return TimeSliced(types, functions, each, memory=48, mixed=mixed)


class Host(RuleBasedStateMachine):
    """A host with two sample drivers, a card with mdevs, and one with vendor VFIO."""

    def __init__(self) -> None:
        super().__init__()
        self.directory = tempfile.mkdtemp(prefix="nodedevd-played-")

    @initialize(mixed=st.booleans(), functions=st.integers(1, 3))
    def begin(self, mixed: bool, functions: int) -> None:
        """Make the devices."""
        kernel = PlayedKernel(Tree(self.directory))
        mtty_parent(kernel, 3)
        mdpy_parent(kernel, 2)
        mdev_card(kernel, card(2, 2, mixed=mixed))
        self.functions = vendor_card(kernel, card(functions, 1, mixed=mixed))
        self.texts = {}
        for parent, (type_id, uuid) in DEFINED.items():
            path = kernel.tree.definition(parent, uuid, type_id)
            with open(kernel.tree.at(path), encoding="utf-8") as stream:
                self.texts[parent, uuid] = stream.read()
        self.kernel, self.carried = kernel, Carried(kernel)
        self.theirs: set[str] = set()
        """paths of what other writers have made"""
        self.write_by_hand(0, 2)
        for type_, owner in [("mtty-1", "nova"), ("mdpy-hd", None), ("X1-4Q", "cinder")]:
            request = Create(type=type_, owner=owner)
            self.do(create.plan(tree_of(kernel), self.facts(), request), sure=True)

    def teardown(self) -> None:
        """Remove the host."""
        shutil.rmtree(self.directory)

    # -- clients -------------------------------------------------------------------------------

    @rule(
        wanted=PLACES,
        uuid=st.sampled_from([None, *UUIDS]),
        owner=OWNERS,
        count=st.integers(1, 3),
        attribute=st.sampled_from([None, None, None, "power/control", "nope"]),
        foreign=st.sampled_from([None, None, *range(6)]),
        number=NUMBERS,
    )
    def create(
        self,
        wanted: tuple[str, str | None],
        uuid: str | None,
        owner: str | None,
        count: int,
        attribute: str | None,
        foreign: int | None,
        number: int,
    ) -> None:
        """Create vGPUs; another writer may come between the plan and its steps."""
        type_, where = wanted
        if where == "function":
            where = self.functions[number % len(self.functions)]
        request = Create(
            type=type_,
            names=None if where is None else [where],
            uuid=uuid,
            owner=owner,
            count=1 if uuid else count,
            attributes=[Attribute(attribute, "on")] if attribute else None,
        )
        plan = self.planned(lambda: create.plan(tree_of(self.kernel), self.facts(), request))
        if plan is None:
            return
        made = [one for one in plan.steps if isinstance(one, (CreateMdev, SetProfile))]
        assert len(made) in (0, count, 1)
        sure = not any("not sure" in note for note in plan.notes) and attribute != "nope"
        self.do(plan, sure=sure, foreign=foreign, number=number)

    @rule(
        number=NUMBERS,
        owner=OWNERS,
        is_owner=st.booleans(),
        force=st.booleans(),
        foreign=st.sampled_from([None, 0, 3]),
        opened=st.sampled_from([False, False, True]),
    )
    def remove(
        self,
        number: int,
        owner: str | None,
        is_owner: bool,
        force: bool,
        foreign: int | None,
        opened: bool,
    ) -> None:
        """Remove one of the vGPUs that exist, whoever made it; a VM may have just begun."""
        path = self.one_of(number)
        if path is None:
            return
        record = self.carried.records.get(self.subject(path))
        if is_owner and record is not None:
            owner = record.owner
        if opened:
            self.open_by_a_vm(number)
        request = Remove(name=path, owner=owner, force=force)
        plan = self.planned(lambda: remove.plan(tree_of(self.kernel), self.facts(), request))
        if plan is None:
            assert not force or path in self.leaving()
            return
        if not force:
            assert record is not None
            assert record.owner == owner
            assert record.origin == "client"
            assert not self.kernel.is_open(path)
        if self.kernel.is_open(path):
            return  # forced: it would wait, or be refused, until the VM ends
        self.do(plan, sure=True, foreign=foreign, number=number)

    @rule(parent=st.sampled_from(sorted(DEFINED)), owner=OWNERS)
    def start(self, parent: str, owner: str | None) -> None:
        """Start what is defined."""
        request = Start(name=DEFINED[parent][1], parent=parent, owner=owner)
        plan = self.planned(lambda: start.plan(tree_of(self.kernel), self.facts(), request))
        if plan is not None:
            self.do(plan, sure=True)

    @rule(parent=st.sampled_from(sorted(DEFINED)), owner=OWNERS)
    def stop(self, parent: str, owner: str | None) -> None:
        """Stop what is defined."""
        request = Stop(name=DEFINED[parent][1], owner=owner)
        plan = self.planned(lambda: stop.plan(tree_of(self.kernel), self.facts(), request))
        if plan is not None:
            assert not any(self.kernel.is_open(one.path or "") for one in plan.expected)
            self.do(plan, sure=True)

    # -- others --------------------------------------------------------------------------------

    @rule(which=st.integers(0, 5), number=NUMBERS)
    def write_by_hand(self, which: int, number: int) -> None:
        """Have another writer create or remove something, with mdevctl or echo."""
        tree = "/sys/devices/virtual"
        uuid = UUIDS[number % len(UUIDS)]
        path, value = [
            (f"{tree}/mtty/mtty/mdev_supported_types/mtty-1/create", uuid),
            (f"{tree}/mdpy/mdpy/mdev_supported_types/mdpy-hd/create", uuid),
            (f"{self.functions[number % len(self.functions)]}/nvidia/current_vgpu_type", "1"),
            (f"{self.functions[number % len(self.functions)]}/nvidia/current_vgpu_type", "0"),
            (f"{self.one_of(number)}/remove", "1"),
            (f"{tree}/mtty/mtty/mdev_supported_types/mtty-2/create", uuid),
        ][which]
        before = set(self.held())
        with suppress(OSError):
            self.kernel.begin(path, value)
        after = set(self.held())
        self.theirs |= after - before
        self.forget_gone()

    @rule(number=NUMBERS)
    def open_by_a_vm(self, number: int) -> None:
        """Have a VM open one of the vGPUs."""
        path = self.one_of(number)
        if path is not None and path not in self.leaving():
            self.kernel.open(path)

    @rule(number=NUMBERS)
    def close_by_a_vm(self, number: int) -> None:
        """Have a VM end."""
        path = self.one_of(number)
        if path is not None:
            self.kernel.close(path)
        self.forget_gone()

    # -- what holds whatever happens -----------------------------------------------------------

    @invariant()
    def records_are_of_what_exists(self) -> None:
        """Each record has its vGPU, of its type, and none that somebody else made."""
        held = self.held()
        for subject, record in self.carried.records.items():
            [path] = [path for path in held if self.subject(path) == subject]
            assert held[path] == record.type
            assert path not in self.theirs

    @invariant()
    def what_exists_was_made_by_somebody(self) -> None:
        """Nothing is left of a plan that failed."""
        for path in self.held():
            assert path in self.theirs or self.subject(path) in self.carried.records

    # -- parts ---------------------------------------------------------------------------------

    def facts(self) -> ActionFacts:
        """Return the facts of the host."""
        return facts_of(self.kernel, self.carried.records, definitions=self.texts)

    def planned(self, plan: Callable[[], Plan]) -> Plan | None:
        """Return a plan, None if it is refused; it writes nothing."""
        written = len(self.kernel.written)
        with suppress(NodedevError):
            return plan()
        assert len(self.kernel.written) == written
        return None

    def do(self, plan: Plan, *, sure: bool, foreign: int | None = None, number: int = 0) -> None:
        """Carry a plan out, after what another writer does meanwhile."""
        if foreign is not None:
            self.write_by_hand(foreign, number)
        before = self.held()
        try:
            self.carried.do(plan)
        except StepRefused:
            refused = True
        else:
            refused = False
        if refused:
            assert foreign is not None or not sure
            assert self.held() == before
            return
        if foreign is None:
            assert self.carried.unmet(plan) == []
        gone = before.keys() - self.held().keys()
        allowed = {one.path for one in plan.expected if one.active is False or one.profile is False}
        assert gone <= allowed
        self.theirs -= gone
        self.forget_gone()

    def held(self) -> dict[str, str]:
        """Return the type of each vGPU, by its path."""
        profiles = {
            path: one.current
            for path, one in self.kernel.vendor.functions.items()
            if one.current != "0"
        }
        return {**self.kernel.mdev.types, **profiles}

    def leaving(self) -> set[str]:
        """Return the mdevs that are being removed."""
        return {
            path
            for path in self.kernel.mdev.types
            if not os.path.lexists(self.kernel.tree.at(f"{path}/remove"))
        }

    def one_of(self, number: int) -> str | None:
        """Return one of the vGPUs."""
        held = sorted(self.held())
        return held[number % len(held)] if held else None

    def subject(self, path: str) -> str:
        """Return what a record of it is called."""
        return os.path.basename(path) if path in self.kernel.mdev.types else path

    def forget_gone(self) -> None:
        """Forget what is no longer there, as the service does when the tree shows it."""
        held = self.held()
        subjects = {self.subject(path): type_id for path, type_id in held.items()}
        self.theirs &= held.keys()
        for subject, record in list(self.carried.records.items()):
            if subjects.get(subject) != record.type:
                del self.carried.records[subject]
                if subject in held:  # another writer has set another profile
                    self.theirs.add(subject)


TestHost = Host.TestCase
TestHost.settings = settings(max_examples=examples(0.3), stateful_step_count=12, deadline=None)
