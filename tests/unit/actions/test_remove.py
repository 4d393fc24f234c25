"""remove and stop: whose vGPU it is, whether it is open, and what is gone already."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from nodedevd.actions import create, remove, stop
from nodedevd.actions.ownership import Origin, Record
from nodedevd.actions.plan import Plan, RemoveMdev, RunCallouts, SetProfile
from nodedevd.actions.requests import Create, Remove, Stop
from nodedevd.errors import (
    Changed,
    DeviceInUse,
    MadeByOther,
    NodedevError,
    NoSuchDevice,
    NotPossible,
    OwnedByOther,
)
from nodedevd.host.faults import Fault
from tests.support.carried import Carried, facts_of, tree_of, uuids
from tests.support.played_kernel import PlayedKernel, mtty_parent, small_card, vendor_card
from tests.support.trees import Tree

UUID, OTHER = uuids(2, 100)
MDEV = f"mdev_{UUID.replace('-', '_')}"


class Host(Carried):
    """A host with mtty and a card with vendor VFIO; nova has a vGPU of each."""

    def __init__(self, directory: Path) -> None:
        super().__init__(PlayedKernel(Tree(directory)))
        self.mdev = f"{mtty_parent(self.kernel)}/{UUID}"
        self.function, self.free = vendor_card(self.kernel, small_card(2))
        for request in (
            Create(type="mtty-1", uuid=UUID, owner="nova"),
            Create(type="1", names=[self.function], owner="nova"),
        ):
            self.do(create.plan(tree_of(self.kernel), facts_of(self.kernel), request))

    def remove(self, name: str, facts: Any = None, **given: Any) -> Plan:
        """Plan a removal."""
        known = facts or facts_of(self.kernel, self.records)
        return remove.plan(tree_of(self.kernel), known, Remove(name=name, **given))

    def stop(self, name: str, **given: Any) -> Plan:
        """Plan a stop."""
        known = facts_of(self.kernel, self.records)
        return stop.plan(tree_of(self.kernel), known, Stop(name=name, **given))

    def made_by(self, subject: str, origin: Origin, **given: Any) -> None:
        """Have a device made by somebody else."""
        old = self.records[subject]
        fields = {name: getattr(old, name) for name in Record.__struct_fields__}
        self.records[subject] = Record(**{**fields, "origin": origin, **given})


@pytest.fixture
def host(tmp_path: Path) -> Host:
    """Return the host."""
    return Host(tmp_path)


def names_of(host: Host) -> tuple[str, str]:
    """Return a name of each vGPU."""
    return UUID, host.function


def test_mdev_is_removed(host: Host) -> None:
    """By any of its names; its record ends with it."""
    parent = host.mdev.rpartition("/")[0]
    for name in (UUID, UUID.upper(), MDEV, host.mdev, f"{MDEV}_mtty"):
        found = host.remove(name, owner="nova")
        assert found.steps == (RemoveMdev(parent, "mtty-1", UUID),)
        assert (found.cards, found.forgotten) == (("mtty_mtty",), (UUID,))
    host.do(found)
    assert host.unmet(found) == []
    assert UUID not in host.records


def test_profile_is_taken_away(host: Host) -> None:
    """The function stays, and can be used again."""
    found = host.remove(host.function, owner="nova")
    assert found.steps == (SetProfile(host.function, None, before="1"),)
    assert (found.cards, found.forgotten) == (("pci_0000_41_00_0",), (host.function,))
    host.do(found)
    assert host.unmet(found) == []


# -- whose it is ---------------------------------------------------------------------------------


@pytest.mark.parametrize("index", [0, 1])
@pytest.mark.parametrize("owner", [None, "cinder"])
def test_vgpu_of_another_owner_is_refused(host: Host, index: int, owner: str | None) -> None:
    """Unless it is forced."""
    name = names_of(host)[index]
    with pytest.raises(OwnedByOther):
        host.remove(name, owner=owner)
    assert host.remove(name, owner=owner, force=True).steps


@pytest.mark.parametrize("index", [0, 1])
@pytest.mark.parametrize("origin", ["definition", "domain", "layout"])
def test_vgpu_of_another_origin_is_refused(host: Host, index: int, origin: Origin) -> None:
    """Also if the owner is the same."""
    subject = list(host.records)[index]
    host.made_by(subject, origin)
    if subject == UUID:
        host.kernel.tree.definition("mtty", UUID, "mtty-1")
    with pytest.raises(MadeByOther) as refused:
        host.remove(subject, owner="nova")
    assert refused.value.origin == origin
    assert host.remove(subject, owner="nova", force=True).steps


def test_mdev_that_was_started_from_a_definition_is_removed_when_that_has_gone(host: Host) -> None:
    """`stop` cannot any more; its owner is the same."""
    host.made_by(UUID, "definition")
    with pytest.raises(NotPossible):
        host.stop(UUID, owner="nova")
    assert host.remove(UUID, owner="nova").steps
    with pytest.raises(OwnedByOther):
        host.remove(UUID)


@pytest.mark.parametrize("index", [0, 1])
def test_vgpu_that_somebody_made_by_hand_is_refused(host: Host, index: int) -> None:
    """No record is kept of it."""
    host.records.clear()
    with pytest.raises(MadeByOther) as refused:
        host.remove(names_of(host)[index])
    assert refused.value.origin == "other"
    assert host.remove(names_of(host)[index], force=True).steps


@pytest.mark.parametrize("index", [0, 1])
@pytest.mark.parametrize("force", [False, True])
def test_late_release_does_not_hit_the_next_vgpu(host: Host, index: int, force: bool) -> None:
    """The generation is compared even if it is forced."""
    subject = list(host.records)[index]
    host.made_by(subject, "client", generation=7)
    assert host.remove(subject, owner="nova", generation=7, force=force).steps
    with pytest.raises(Changed):
        host.remove(subject, owner="nova", generation=6, force=force)


def test_record_of_the_functions_last_vgpu_counts_no_more(host: Host) -> None:
    """Another writer has taken its profile away, and set one of another type."""
    current = f"{host.function}/nvidia/current_vgpu_type"
    host.kernel.write(current, "0")
    host.kernel.write(current, "2")
    with pytest.raises(MadeByOther):
        host.remove(host.function, owner="nova")


# -- open ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("index", [0, 1])
@pytest.mark.parametrize("named", [True, False])
def test_open_vgpu_is_refused(host: Host, index: int, named: bool) -> None:
    """Only root is told which process it is."""
    path = (host.mdev, host.function)[index]
    host.kernel.open(path)
    facts = facts_of(host.kernel, host.records, names_processes=named)
    with pytest.raises(DeviceInUse) as refused:
        host.remove(path, facts, owner="nova")
    assert refused.value.known
    assert ("qemu" in str(refused.value)) == named
    forced = host.remove(path, facts, owner="nova", force=True)
    assert forced.steps
    assert "may wait" in forced.notes[0]
    host.kernel.close(path)
    assert host.remove(path, owner="nova").notes == ()


@pytest.mark.parametrize("index", [0, 1])
def test_vgpu_that_may_be_open_is_refused(host: Host, index: int) -> None:
    """Some processes could not be looked into."""
    facts = facts_of(host.kernel, host.records, usage=host.kernel.usage(unseen=2))
    name = names_of(host)[index]
    with pytest.raises(DeviceInUse) as refused:
        host.remove(name, facts, owner="nova")
    assert not refused.value.known
    assert host.remove(name, facts, owner="nova", force=True).steps


def test_owner_is_looked_at_before_use(host: Host) -> None:
    """Who may not remove it does not hear who uses it."""
    host.kernel.open(host.mdev)
    with pytest.raises(OwnedByOther):
        host.remove(UUID, owner="cinder")


@pytest.mark.parametrize("force", [False, True])
def test_mdev_that_is_being_removed_is_refused(host: Host, force: bool) -> None:
    """A second write would not help: it says who is waited for."""
    host.kernel.open(host.mdev)
    pending = host.kernel.begin(f"{host.mdev}/remove", "1")
    host.made_by(UUID, "client", type=None)  # its type is no longer shown
    with pytest.raises(NotPossible, match="removing it already") as refused:
        host.remove(host.mdev, owner="nova", force=force)
    assert refused.value.reason == "removing"
    host.kernel.close(host.mdev)
    assert pending.wait(0)


# -- gone already --------------------------------------------------------------------------------


def test_what_is_gone_already_is_success(host: Host) -> None:
    """Of an mdev that was made here, of a defined one, and of a function without a profile."""
    host.kernel.write(f"{host.mdev}/remove", "1")
    found = host.remove(UUID, owner="nova")
    assert (found.steps, found.forgotten) == ((), (UUID,))
    assert host.remove(host.free).steps == ()
    host.kernel.tree.definition("mtty", OTHER, "mtty-1")
    assert host.remove(OTHER).steps == ()


@pytest.mark.parametrize("defined", [False, True])
def test_what_may_be_there_is_not_called_gone(host: Host, defined: bool) -> None:
    """The directory of mdevs could not be listed."""
    host.kernel.write(f"{host.mdev}/remove", "1")
    if defined:
        host.kernel.tree.definition("mtty", UUID, "mtty-1")
    found = tree_of(host.kernel)
    fault = Fault("/sys/bus/mdev/devices", "unreadable", "EIO")
    doubtful = found.replaced(
        removed=(), devices=(), changes=0, errors=(fault,), shared_names=found.shared_names
    )
    facts = facts_of(host.kernel, host.records)
    request = Remove(name=UUID, owner="nova")
    assert remove.plan(found, facts, request).steps == ()
    with pytest.raises(NotPossible, match="EIO"):
        remove.plan(doubtful, facts, request)


def test_record_of_another_owner_is_not_dropped(host: Host) -> None:
    """Also if the device has gone."""
    host.kernel.write(f"{host.mdev}/remove", "1")
    with pytest.raises(OwnedByOther):
        host.remove(UUID, owner="cinder")


@pytest.mark.parametrize(
    ("name", "error"),
    [
        (OTHER, NoSuchDevice),
        ("nonsense", NoSuchDevice),
        ("mtty", NoSuchDevice),
        ("computer", NotPossible),
        ("mtty_mtty", NotPossible),
        ("0000:41:00.0", NotPossible),
    ],
)
def test_name_of_no_vgpu_is_an_error(host: Host, name: str, error: type[NodedevError]) -> None:
    """A parent is not removed with all that it has."""
    with pytest.raises(error):
        host.remove(name)


def test_profile_that_cannot_be_read_is_refused(host: Host) -> None:
    """It is not taken for none."""
    host.kernel.tree.file(f"{host.free}/nvidia/current_vgpu_type", "nonsense\n")
    with pytest.raises(NotPossible) as refused:
        host.remove(host.free)
    assert refused.value.reason == "unreadable"


def test_mdev_without_its_type_is_removed_only_by_force(host: Host) -> None:
    """It may be about to be created by somebody else, and cannot be created again."""
    host.kernel.tree.remove(f"{host.mdev}/mdev_type")
    with pytest.raises(NotPossible) as refused:
        host.remove(UUID, owner="nova")
    assert refused.value.reason == "incomplete"
    [step] = host.remove(UUID, owner="nova", force=True).steps
    assert isinstance(step, RemoveMdev)
    assert step.type is None


# -- stop ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("origin", ["client", "definition"])
def test_stop_removes_an_mdev_that_keeps_its_definition(host: Host, origin: Origin) -> None:
    """Whoever of the two made it; the definition stays."""
    host.kernel.tree.definition("mtty", UUID, "mtty-1", start="auto")
    host.made_by(UUID, origin)
    found = host.stop(UUID, owner="nova")
    assert found.action == "stop"
    with pytest.raises(OwnedByOther):
        host.stop(UUID, owner="cinder")
    host.do(found)
    assert host.unmet(found) == []
    device = tree_of(host.kernel).find(UUID)
    assert device is not None
    assert device.state == "inactive"
    answered = [one.device(tree_of(host.kernel)) for one in found.expected]
    assert device in answered
    again = host.stop(UUID)
    assert (again.steps, again.cards) == ((), ())


@pytest.mark.parametrize("origin", ["layout", "domain", "other"])
def test_stop_of_another_origin_needs_force(host: Host, origin: Origin) -> None:
    """What mdevctl started, too."""
    host.kernel.tree.definition("mtty", UUID, "mtty-1")
    if origin == "other":
        host.records.clear()
    else:
        host.made_by(UUID, origin)
    with pytest.raises(MadeByOther):
        host.stop(UUID, owner="nova")
    assert host.stop(UUID, force=True).steps


def test_stop_looks_who_has_it_open(host: Host) -> None:
    """As a removal does."""
    host.kernel.tree.definition("mtty", UUID, "mtty-1")
    host.kernel.open(host.mdev)
    with pytest.raises(DeviceInUse):
        host.stop(UUID, owner="nova")


def test_stop_of_what_would_be_lost_is_refused(host: Host) -> None:
    """An mdev without a definition, a function, and what there is not."""
    for name, reason in [(UUID, "not-defined"), (host.function, "no-mdev")]:
        with pytest.raises(NotPossible) as refused:
            host.stop(name, owner="nova")
        assert refused.value.reason == reason
    with pytest.raises(NoSuchDevice):
        host.stop(OTHER)


def test_callouts_hear_of_stop(host: Host) -> None:
    """With what the mdev is, or with its definition."""
    facts = facts_of(host.kernel, host.records, callouts=True)
    found = host.remove(UUID, facts, owner="nova")
    pre = found.steps[0]
    assert isinstance(pre, RunCallouts)
    assert (pre.event, pre.action, pre.type) == ("pre", "stop", "mtty-1")
    assert pre.definition == '{"mdev_type":"mtty-1","start":"manual","attrs":[]}'
    host.kernel.tree.definition("mtty", UUID, "mtty-1", start="auto")
    pre = host.remove(UUID, facts, owner="nova").steps[0]
    assert isinstance(pre, RunCallouts)
    assert '"start":"auto"' in pre.definition


def test_active_mdev_is_meant_when_its_uuid_is_also_defined_elsewhere(host: Host) -> None:
    """The definition of another parent is not the device."""
    mtty_parent(host.kernel, name="another")
    host.kernel.tree.definition("another", UUID, "mtty-2")
    found = host.remove(UUID, owner="nova")
    assert found.expected[0].path == host.mdev
    inactive = host.remove(f"{MDEV}_another")
    assert inactive.steps == ()
