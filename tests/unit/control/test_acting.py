"""What ties the parts together, on a played kernel: answers, counts, whose devices are."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from nodedevd.actions.requests import ApplyLayout, Bind, Create, Define, Remove, Start, Stop
from nodedevd.control import acting as module
from nodedevd.control.acting import Acting
from nodedevd.control.asker import Asker
from nodedevd.control.audit import Audit
from nodedevd.control.configuration import Configuration, Limits
from nodedevd.control.declared import read_declared
from nodedevd.control.view import View
from nodedevd.errors import (
    REPLIED,
    CardBusy,
    DeviceInUse,
    InvalidParameter,
    MadeByOther,
    NodedevError,
    NotAllowed,
    NotPossible,
    StepFailed,
    UnsafePath,
)
from nodedevd.host.sysroot import Sysroot
from nodedevd.layout.compare import compare
from nodedevd.layout.facts import LayoutFacts
from nodedevd.questions.in_use import VfioUsage
from tests.support.carried import tree_of
from tests.support.played_kernel import PlayedKernel, mtty_parent, small_card, vendor_card
from tests.support.trees import Tree

UUID = "83b8f4f2-509f-382f-3c1e-e6bfe0fa1001"
ASKER = Asker(4711, 1000, 1000, frozenset(), "virsh", 5)
LONG_SECONDS = 10.0
Make = Callable[..., Acting]


@pytest.fixture
def kernel(tmp_path: Path) -> PlayedKernel:
    """Return a kernel without devices."""
    (tmp_path / "etc").mkdir()
    return PlayedKernel(Tree(tmp_path))


@pytest.fixture
def make(kernel: PlayedKernel, tmp_path: Path) -> Make:
    """Return what makes an `Acting` that writes to the kernel."""

    def made(configuration: Configuration | None = None) -> Acting:
        root = str(tmp_path)
        acting = Acting(
            root,
            configuration=configuration,
            view=View(root, daemon=False),
            audit=Audit(f"{root}/no-journal"),
        )
        acting.context.write = lambda card, path, value, locks: kernel.write(path, value)
        return acting

    return made


def test_what_the_service_says_of_a_layout_names_no_process(
    kernel: PlayedKernel, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every user who may ask for the status sees it; root, who applies it, sees the process."""
    parent = mtty_parent(kernel)
    kernel.write(f"{parent}/mdev_supported_types/mtty-2/create", UUID)
    kernel.open(f"{parent}/{UUID}")
    monkeypatch.setattr("nodedevd.control.facts._usage", lambda sysroot: kernel.usage())
    kernel.tree.file(
        "/etc/nodedevd/layout.d/a.toml",
        '[[card]]\nparent = "mtty"\nremove_unnamed = true\nvgpus = [{ type = "mtty-1" }]\n',
    )
    acting = make()
    [entry], _ = read_declared(kernel.tree.root)
    [different] = compare(entry, tree_of(kernel), LayoutFacts())
    followed = acting.apply_card(entry, different)
    root = msgspec.structs.replace(ASKER, uid=0)
    [applied] = acting.apply_layout(ApplyLayout(), root).cards
    assert (followed.state, applied.state) == ("blocked", "blocked")
    assert "is open in a process" in " ".join(followed.reasons)
    assert "is open in qemu" in " ".join(applied.reasons)


def test_processes_are_looked_at_when_the_card_is_locked(
    kernel: PlayedKernel, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And then alone: the first plan is made to know the card."""
    path = f"{mtty_parent(kernel)}/{UUID}"
    acting = make()
    looks: list[Sysroot] = []
    acting.act(Create(type="mtty-2", uuid=UUID), ASKER)

    def look(sysroot: Sysroot) -> VfioUsage:
        with pytest.raises(CardBusy):
            acting.context.locks.take(["mtty_mtty"], 0.0)
        looks.append(sysroot)
        return kernel.usage()

    monkeypatch.setattr("nodedevd.control.facts._usage", look)
    kernel.open(path)
    with pytest.raises(DeviceInUse):
        acting.act(Remove(name=UUID), ASKER)
    assert len(looks) == 1
    kernel.close(path)
    acting.act(Remove(name=UUID), ASKER)
    assert (len(looks), kernel.mdev.types) == (2, {})


def test_refusal_does_not_wait_for_the_card(kernel: PlayedKernel, make: Make) -> None:
    """Another change can have it for long, and would not make a difference."""
    path = f"{mtty_parent(kernel)}/{UUID}"
    acting = make()
    acting.act(Create(type="mtty-2", uuid=UUID), ASKER)
    acting.context.lock_seconds = LONG_SECONDS
    kernel.open(path)
    locked = acting.context.locks.take(["mtty_mtty"], 0.0)
    with pytest.raises(DeviceInUse):
        acting.act(Remove(name=UUID), ASKER)
    acting.context.lock_seconds = 0.0
    with pytest.raises(CardBusy):
        acting.act(Remove(name=UUID, force=True), ASKER)
    locked.release()


def test_what_was_made_is_listed_with_whose_it_is(kernel: PlayedKernel, make: Make) -> None:
    """And what somebody else has made beside it."""
    parent = mtty_parent(kernel)
    kernel.write(f"{parent}/mdev_supported_types/mtty-1/create", UUID)
    acting = make()
    outcome = acting.act(Create(type="mtty-2", owner="vm-7"), ASKER)
    [device] = outcome.devices
    listed = {one.name: one for one in acting.made().devices}
    assert len(listed) == 2
    ours, other = listed[device.name], listed[f"mdev_{UUID.replace('-', '_')}"]
    assert (ours.origin, ours.owner, ours.uid, ours.type) == ("client", "vm-7", 1000, "mtty-2")
    assert ours.generation == outcome.generation
    assert (other.origin, other.owner, other.uid, other.type) == ("other", None, None, "mtty-1")
    assert (other.generation, other.made) == (None, None)


def test_definition_and_profile_are_listed(kernel: PlayedKernel, make: Make) -> None:
    """An mdev that is only defined is of its definition; a profile set by hand of somebody."""
    mtty_parent(kernel)
    functions = vendor_card(kernel, small_card())
    kernel.write(f"{functions[0]}/nvidia/current_vgpu_type", "1")
    acting = make()
    acting.act(Define(type="mtty-1", parent="mtty", uuid=UUID), ASKER)
    assert [(one.origin, one.type) for one in acting.made().devices] == [
        ("definition", "mtty-1"),
        ("other", "1"),
    ]
    acting.act(Start(name=UUID), ASKER)
    assert [(one.origin, one.uid) for one in acting.made().devices] == [
        ("definition", 1000),
        ("other", None),
    ]


def test_domain_is_given_by_root_alone(kernel: PlayedKernel, make: Make) -> None:
    """Who may ask for everything else may not, also for a dry run, and nothing is planned."""
    mtty_parent(kernel)
    acting, domain = make(), "6e5d5a8c-3a41-4a8e-9f4b-0c8f7f2f6c11"
    asker = msgspec.structs.replace(ASKER, uid=os.geteuid() + 1000)
    for request in (
        Create(type="mtty-1", uuid=UUID, domain=domain),
        Create(type="mtty-1", uuid=UUID, domain=domain, dry_run=True),
        Remove(name=UUID, domain=domain, force=True),
        Start(name=UUID, domain=domain),
        Stop(name=UUID, domain=domain),
    ):
        with pytest.raises(NotAllowed) as raised:
            acting.act(request, asker)
        assert raised.value.action == type(request).__name__
    assert kernel.written == []
    acting.act(
        Create(type="mtty-1", uuid=UUID, domain=domain), msgspec.structs.replace(ASKER, uid=0)
    )
    [listed] = acting.made().devices
    assert (listed.origin, listed.owner, listed.uid) == ("domain", domain, 0)


def test_dry_run_changes_and_counts_nothing(kernel: PlayedKernel, make: Make) -> None:
    """It answers the steps, as text and as data."""
    mtty_parent(kernel)
    acting = make()
    outcome = acting.act(Create(type="mtty-1", uuid=UUID, dry_run=True), ASKER)
    assert outcome.dry_run
    assert [type(one).__name__ for one in outcome.plan] == ["CreateMdev"]
    assert outcome.steps == tuple(map(str, outcome.plan))
    assert kernel.written == []
    assert list(acting.context.journal.entries()) == []
    with pytest.raises(NodedevError):
        acting.act(Create(type="mtty-9", dry_run=True), ASKER)
    status = acting.status(clients=2, queued=1)
    assert (status.changes, status.failures) == (0, 0)
    assert (status.clients, status.queued, status.source) == (2, 1, "scan")


def test_status_counts_changes_and_failures(kernel: PlayedKernel, make: Make) -> None:
    """And has the configuration in force."""
    parent = mtty_parent(kernel)
    acting = make(Configuration(groups=("kvm",), limits=Limits(create=3)))
    acting.act(Create(type="mtty-1"), ASKER)
    kernel.refuse(f"{parent}/mdev_supported_types/mtty-1/create", errno.EIO)
    with pytest.raises(StepFailed):
        acting.act(Create(type="mtty-1"), ASKER)
    status = acting.status()
    assert (status.changes, status.failures) == (1, 1)
    assert status.configuration["groups"] == ("kvm",)
    assert (status.in_progress, status.leftovers, status.not_started) == ((), (), ())
    assert not acting.busy


def test_more_than_the_limit_is_refused(kernel: PlayedKernel, make: Make) -> None:
    """As a parameter that cannot be used, before anything is looked at."""
    mtty_parent(kernel)
    acting = make(Configuration(limits=Limits(create=3)))
    assert len(acting.act(Create(type="mtty-1", count=3), ASKER).devices) == 3
    with pytest.raises(InvalidParameter, match="3 can be created at once"):
        acting.act(Create(type="mtty-1", count=4), ASKER)


def test_framework_that_is_not_allowed_is_left_alone(kernel: PlayedKernel, make: Make) -> None:
    """Named or not, for what is created and for what is removed."""
    mtty_parent(kernel)
    functions = vendor_card(kernel, small_card())
    only_mdev = make(Configuration(frameworks=("mdev",)))
    for request in (Create(type="1"), Create(type="1", names=[functions[0]])):
        with pytest.raises(NodedevError):
            only_mdev.act(request, ASKER)
    only_vendor = make(Configuration(frameworks=("vendor-vfio",)))
    with pytest.raises(NotPossible, match=r"which control\.toml"):
        only_vendor.act(Create(type="mtty-1", names=["mtty"]), ASKER)
    with pytest.raises(NodedevError):
        only_vendor.act(Create(type="mtty-1"), ASKER)
    assert kernel.written[1:] == []  # the first one enabled the functions
    [device] = only_vendor.act(Create(type="1"), ASKER).devices
    assert device.path in functions
    with pytest.raises(NotPossible, match="of the framework vendor-vfio"):
        only_mdev.act(Remove(name=device.name, force=True), ASKER)
    with pytest.raises(NotPossible, match="no card has a framework"):
        make(Configuration(frameworks=())).act(Create(type="1"), ASKER)


def test_error_of_a_change_is_one_that_the_interface_declares(
    kernel: PlayedKernel, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What cannot be looked at, or is wrong with the host, is NotPossible, in words."""
    mtty_parent(kernel)
    acting = make()

    def fails_with(error: Exception) -> NodedevError:
        def plan(*_: object) -> None:
            raise error

        monkeypatch.setattr(module, "PLANS", {Bind: plan})
        with pytest.raises(NodedevError) as raised:
            acting.act(Bind(name="x", driver="y"), ASKER)
        return raised.value

    error = fails_with(PermissionError(errno.EACCES, "Permission denied", "/sys/x"))
    assert isinstance(error, NotPossible)
    assert "Permission denied (/sys/x)" in str(error)
    error = fails_with(UnsafePath("/run/x", "another user may write to it"))
    assert isinstance(error, NotPossible)
    assert error.reason == "unsafe-path"
    for declared in REPLIED[:3]:
        known = declared(**dict.fromkeys(declared.fields, ""))  # type: ignore[arg-type]
        assert fails_with(known) is known


def test_defect_is_no_answer(
    kernel: PlayedKernel, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It stays what it is: the service logs it with its traceback."""
    mtty_parent(kernel)

    def plan(*_: object) -> None:
        raise KeyError("x")

    monkeypatch.setattr(module, "PLANS", {Bind: plan})
    acting = make()
    with pytest.raises(KeyError):
        acting.act(Bind(name="x", driver="y"), ASKER)
    assert acting.status().failures == 1


@pytest.mark.slow
def test_generation_of_what_existed_already_is_that_of_its_making(
    kernel: PlayedKernel, make: Make
) -> None:
    """A client that asks again, since it got no answer, can still remove what it has."""
    mtty_parent(kernel)
    functions = vendor_card(kernel, small_card())
    acting = make()
    mdev = Create(type="mtty-1", uuid=UUID, owner="vm-7")
    profile = Create(type="1", names=[functions[0]], owner="vm-7")
    first = [acting.act(one, ASKER).generation for one in (mdev, profile)]
    acting.act(Create(type="mtty-1"), ASKER)
    again = [acting.act(one, ASKER).generation for one in (mdev, profile)]
    assert again == first
    for name, generation in zip((UUID, functions[0]), again, strict=True):
        request = Remove(name=name, generation=generation, force=True)  # processes are not here
        acting.act(request, ASKER)
    assert acting.act(profile, ASKER).generation not in first


def test_records_of_one_change_are_each_of_their_card(kernel: PlayedKernel, make: Make) -> None:
    """The change of another card says nothing of them."""
    mtty_parent(kernel, 1, "one")
    mtty_parent(kernel, 1, "two")
    acting = make()
    records = acting.context.records
    outcome = acting.act(Create(type="mtty-1", count=2, owner="vm-7"), ASKER)
    assert {device.parent for device in outcome.devices} == {"mtty_one", "mtty_two"}
    for device in outcome.devices:
        kernel.write(f"{device.path}/remove", "1")
        records.forget_gone(tree_of(kernel), [device.parent or ""])
        assert device.sysname not in records.all()


def test_uuid_that_somebody_else_uses_again_is_his(
    kernel: PlayedKernel, make: Make, tmp_path: Path
) -> None:
    """Although nobody looked between the removal of ours and the creation of his."""
    mtty = mtty_parent(kernel)
    acting = make()
    acting.act(Create(type="mtty-1", uuid=UUID, owner="vm-7"), ASKER)
    former = tmp_path / mtty.lstrip("/") / UUID
    # In sysfs no directory gets the inode of an earlier one.
    inode = former.stat().st_ino
    kernel.write(f"{mtty}/{UUID}/remove", "1")
    kept: list[Path] = []
    kernel.write(f"{mtty}/mdev_supported_types/mtty-1/create", UUID)
    while former.stat().st_ino == inode:
        kernel.write(f"{mtty}/{UUID}/remove", "1")
        kept.append(tmp_path / f"kept-{len(kept)}")
        kept[-1].mkdir()
        kernel.write(f"{mtty}/mdev_supported_types/mtty-1/create", UUID)
    with pytest.raises(MadeByOther):
        acting.act(Remove(name=UUID, owner="vm-7"), ASKER)
    assert [one.origin for one in acting.made().devices] == ["other"]
