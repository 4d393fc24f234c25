"""create: where vGPUs are made, what is so already, and what is refused, on a played kernel."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from nodedevd.actions.create import plan
from nodedevd.actions.facts import ActionFacts
from nodedevd.actions.ownership import Record
from nodedevd.actions.plan import CreateMdev, Plan, RunCallouts, SetProfile, Write
from nodedevd.actions.requests import Attribute, Create
from nodedevd.control.steps.base import StepRefused
from nodedevd.errors import (
    Conflict,
    InvalidParameter,
    NoRoom,
    NoSuchDevice,
    NoSuchType,
    NotPossible,
    OwnedByOther,
)
from nodedevd.host.assignment import AssignmentFacts
from nodedevd.kinds.mdev_child import MdevChild
from nodedevd.kinds.vgpu import Vgpu
from nodedevd.questions.in_use import VfioUsage
from tests.support.carried import Carried, facts_of, tree_of, uuids
from tests.support.hosts import snapshot_of
from tests.support.played_kernel import (
    PlayedKernel,
    mbochs_parent,
    mdev_card,
    mdpy_parent,
    mtty_parent,
    small_card,
    vendor_card,
)
from tests.support.trees import Tree

UUID, OTHER = uuids(2, 100)


@pytest.fixture
def kernel(tmp_path: Path) -> PlayedKernel:
    """Return a kernel without devices."""
    return PlayedKernel(Tree(tmp_path))


def planned(
    kernel: PlayedKernel,
    request: Create,
    records: dict[str, Record] | None = None,
    *,
    callouts: bool = False,
) -> Plan:
    """Plan on the tree as it is."""
    return plan(tree_of(kernel), facts_of(kernel, records, callouts=callouts), request)


def done(kernel: PlayedKernel, request: Create) -> Plan:
    """Plan, carry out, and check that the tree shows what is expected."""
    found, carried = planned(kernel, request), Carried(kernel)
    carried.do(found)
    assert carried.unmet(found) == []
    return found


def parents_of(found: Plan) -> list[str]:
    """Return the kernel names of the parents or functions that a plan writes to."""
    return [
        os.path.basename(step.parent if isinstance(step, CreateMdev) else step.function)
        for step in found.steps
        if isinstance(step, (CreateMdev, SetProfile))
    ]


# -- by itself -----------------------------------------------------------------------------------


@pytest.mark.parametrize("wanted", ["mtty-1", "Single port serial"])
def test_mdev_of_a_type_by_any_of_its_names(kernel: PlayedKernel, wanted: str) -> None:
    """Plan, records and tree agree on what is made."""
    path = mtty_parent(kernel)
    found = done(kernel, Create(type=wanted, uuid=UUID.upper(), owner="nova"))
    assert found.steps == (CreateMdev(path, "mtty-1", UUID),)
    assert found.cards == ("mtty_mtty",)
    [record] = found.records
    assert (record.subject, record.origin, record.owner) == (UUID, "client", "nova")
    assert (record.uid, record.type, record.made) == (0, "mtty-1", "2026-11-28T12:00:00Z")


def test_function_with_vendor_vfio_gets_its_profile(kernel: PlayedKernel) -> None:
    """Nobody says which framework it is; the record is of the function's path."""
    functions = vendor_card(kernel, small_card())
    found = done(kernel, Create(type="NVIDIA X1-12Q", owner="nova"))
    [step] = found.steps
    assert isinstance(step, SetProfile)
    assert step.function in functions
    assert (step.profile, step.before) == ("2", None)
    assert found.cards == ("pci_0000_41_00_0",)
    assert [record.subject for record in found.records] == [step.function]


def test_new_uuids_are_those_of_the_facts(kernel: PlayedKernel) -> None:
    """The plan is pure: whoever asks for it gives the random UUIDs."""
    mtty_parent(kernel)
    found = done(kernel, Create(type="mtty-1", count=3))
    assert [step.uuid for step in found.steps if isinstance(step, CreateMdev)] == list(uuids(3))


def test_attributes_are_written_in_order_after_create(kernel: PlayedKernel) -> None:
    """A name may come twice, as in mdevctl's definitions."""
    path = mtty_parent(kernel)
    values = ["on", "auto", "on"]
    attributes = [Attribute("power/control", value) for value in values]
    found = done(kernel, Create(type="mtty-1", uuid=UUID, attributes=attributes))
    mdev = f"{path}/{UUID}"
    writes = tuple(Write(f"{mdev}/power/control", one, None, of_new=True) for one in values)
    assert found.steps == (CreateMdev(path, "mtty-1", UUID), *writes)
    assert kernel.written[-3:] == [(f"{mdev}/power/control", one) for one in values]


@pytest.mark.parametrize(
    ("name", "value", "number"),
    [("nope", "1", errno.ENOENT), ("power/control", "bogus", errno.EINVAL)],
)
def test_mdev_is_removed_again_if_an_attribute_is_refused(
    kernel: PlayedKernel, name: str, value: str, number: int
) -> None:
    """An unknown attribute, and a value that the driver does not take."""
    mtty_parent(kernel)
    attributes = [Attribute("power/control", "on"), Attribute(name, value)]
    found = planned(kernel, Create(type="mtty-1", uuid=UUID, attributes=attributes))
    with pytest.raises(StepRefused) as refused:
        Carried(kernel).do(found)
    assert refused.value.number == number
    assert tree_of(kernel).find(UUID) is None


@pytest.mark.parametrize(
    "name",
    ["remove", "uevent", "driver/unbind", "mdev_type/create", "subsystem/x", "driver_override"],
)
def test_attribute_that_is_none_of_the_driver_is_refused(kernel: PlayedKernel, name: str) -> None:
    """They remove the device, send events, or lead to other devices."""
    mtty_parent(kernel)
    request = Create(type="mtty-1", attributes=[Attribute(name, "1")])
    with pytest.raises(NotPossible) as refused:
        planned(kernel, request)
    assert refused.value.reason == "bad-attribute"


@pytest.mark.parametrize(
    ("name", "possible"),
    [
        ("nvidia/vgpu_params", True),
        ("nvidia/current_vgpu_type", False),
        ("power/control", False),
        ("remove", False),
        ("nvidia/x/y", False),
    ],
)
def test_attributes_of_a_function_are_those_of_its_vgpu(
    kernel: PlayedKernel, name: str, possible: bool
) -> None:
    """Others belong to the PCI function, which is not ours."""
    [function] = vendor_card(kernel, small_card(1))
    request = Create(type="1", attributes=[Attribute(name, "frame_rate_limiter=0")])
    if possible:
        done(kernel, request)
        written = Path(kernel.tree.at(f"{function}/{name}")).read_text()
        assert written == "frame_rate_limiter=0\n"
    else:
        with pytest.raises(NotPossible, match="no attribute of its vGPU"):
            planned(kernel, request)


def test_callouts_are_run_around_each_mdev(kernel: PlayedKernel) -> None:
    """As `mdevctl start` runs them for a device without a definition."""
    mtty_parent(kernel)
    attributes = [Attribute("power/control", "on")]
    request = Create(type="mtty-1", uuid=UUID, attributes=attributes)
    found = planned(kernel, request, callouts=True)
    events = [step.event if isinstance(step, RunCallouts) else "" for step in found.steps]
    assert events == ["pre", "", "", "post", "notify"]
    pre = found.steps[0]
    assert isinstance(pre, RunCallouts)
    assert (pre.action, pre.parent, pre.uuid, pre.type) == ("start", "mtty", UUID, "mtty-1")
    assert pre.definition == (
        '{"mdev_type":"mtty-1","start":"manual","attrs":[{"power/control":"on"}]}'
    )
    vendor_card(kernel, small_card(1))
    assert len(planned(kernel, Create(type="NVIDIA X1-4Q"), callouts=True).steps) == 1


# -- where ---------------------------------------------------------------------------------------


def test_card_with_most_room_comes_first_and_is_filled(kernel: PlayedKernel) -> None:
    """Only what it cannot take goes to the next one."""
    for name, ports in [("small", 2), ("large", 5), ("middle", 3)]:
        mtty_parent(kernel, ports, name)
    found = done(kernel, Create(type="mtty-2", count=3))
    assert parents_of(found) == ["large", "large", "middle"]
    assert found.cards == ("mtty_large", "mtty_middle")
    found = done(kernel, Create(type="mtty-1", count=4))
    assert parents_of(found) == ["small", "small", "large", "middle"]
    with pytest.raises(NoRoom, match="mtty_small: full"):
        planned(kernel, Create(type="mtty-1"))


def test_what_surely_fits_comes_before_what_may_fit(kernel: PlayedKernel) -> None:
    """Of vendor VFIO one is sure on each card, since the size of its memory is not known."""
    vendor_card(kernel, small_card(3), "0000:41:00.0")
    vendor_card(kernel, small_card(2), "0000:42:00.0")
    found = done(kernel, Create(type="NVIDIA X1-12Q", count=4))
    assert [one[5:7] for one in parents_of(found)] == ["41", "42", "41", "41"]
    assert "not sure" in found.notes[0]
    with pytest.raises(NoRoom, match="2 are asked for, and 1 can be created"):
        planned(kernel, Create(type="NVIDIA X1-12Q", count=2))


@pytest.mark.parametrize("by", ["address", "path", "name", "card"])
def test_function_is_named_in_any_form(kernel: PlayedKernel, by: str) -> None:
    """A function means itself; its card means any of its functions."""
    functions = vendor_card(kernel, small_card(3))
    wanted = functions[1]
    address = os.path.basename(wanted)
    name = {
        "address": address,
        "path": wanted,
        "name": f"pci_{address.translate(str.maketrans(':.', '__'))}",
        "card": "0000:41:00.0",
    }[by]
    found = planned(kernel, Create(type="1", names=[name]))
    expected = functions if by == "card" else [wanted]
    assert parents_of(found)[0] in [os.path.basename(one) for one in expected]


@pytest.mark.parametrize("name", ["mtty", "mtty_mtty", "/sys/class/mdev_bus/mtty"])
def test_parent_is_named_as_mdevctl_does(kernel: PlayedKernel, name: str) -> None:
    """By its kernel name, too, which is no name of a device."""
    mtty_parent(kernel)
    mbochs_parent(kernel)
    assert parents_of(planned(kernel, Create(type="mtty-1", names=[name]))) == ["mtty"]


def test_named_functions_alone_are_used(kernel: PlayedKernel) -> None:
    """Not the others of the card, which have room."""
    functions = vendor_card(kernel, small_card(3))
    names = functions[:2]
    assert len(done(kernel, Create(type="1", names=names, count=2)).steps) == 2
    with pytest.raises(Conflict, match="it is a vGPU already"):
        planned(kernel, Create(type="1", names=names))
    with pytest.raises(NoRoom, match="2 are asked for, and 1 can"):
        planned(kernel, Create(type="1", names=[functions[2], functions[0]], count=2))


def test_types_of_several_parents_are_told_apart(kernel: PlayedKernel) -> None:
    """Each driver has its own."""
    mtty_parent(kernel), mdpy_parent(kernel), mbochs_parent(kernel)
    for type_id, parent in [("mdpy-hd", "mdpy"), ("mbochs-small", "mbochs"), ("mtty-2", "mtty")]:
        assert parents_of(done(kernel, Create(type=type_id))) == [parent]


# -- capacity --------------------------------------------------------------------------------------


def test_no_more_than_a_parent_has(kernel: PlayedKernel) -> None:
    """The count is checked before anything is written."""
    mtty_parent(kernel, 3)
    with pytest.raises(NoRoom, match="4 are asked for, and 3 can be created"):
        planned(kernel, Create(type="mtty-1", count=4))
    done(kernel, Create(type="mtty-2"))
    with pytest.raises(NoRoom, match="mtty_mtty: full"):
        planned(kernel, Create(type="mtty-2"))
    done(kernel, Create(type="mtty-1", uuid=UUID))
    assert kernel.written[-1][1] == UUID


def test_no_more_than_the_memory_of_a_card_allows() -> None:
    """Fourteen functions of the sample host report one each; two of them fit."""
    snapshot = snapshot_of("vgpu-sriov")
    facts = ActionFacts(VfioUsage(), AssignmentFacts(), new_uuids=uuids(3))
    found = plan(snapshot, facts, Create(type="NVIDIA A2-4Q", count=2))
    assert len(set(parents_of(found))) == 2
    with pytest.raises(NoRoom, match="3 are asked for, and 2 can be created"):
        plan(snapshot, facts, Create(type="NVIDIA A2-4Q", count=3))


def test_unknown_counts_are_tried(kernel: PlayedKernel) -> None:
    """The driver decides; the client is told that it is not sure."""
    path = mtty_parent(kernel, 2)
    kernel.tree.remove(f"{path}/mdev_supported_types/mtty-1/available_instances")
    found = planned(kernel, Create(type="mtty-1", count=2))
    assert len(found.steps) == 2
    assert "not sure" in found.notes[0]
    [function] = vendor_card(kernel, small_card(1))
    kernel.tree.remove(f"{function}/nvidia/creatable_vgpu_types")
    with pytest.raises(NoRoom, match="cannot be read"):  # nor can its id be known
        planned(kernel, Create(type="NVIDIA X1-4Q"))


def test_function_that_is_a_vgpu_is_never_tried(kernel: PlayedKernel) -> None:
    """Even if it cannot be read what else it could be: the neighbour's vGPU would be lost."""
    [function] = vendor_card(kernel, small_card(1))
    done(kernel, Create(type="NVIDIA X1-4Q"))
    kernel.tree.remove(f"{function}/nvidia/creatable_vgpu_types")
    for wanted in ("1", "99"):
        with pytest.raises((NoRoom, NoSuchType)):
            planned(kernel, Create(type=wanted))


def test_what_may_fit_at_the_same_time_is_tried_and_all_undone(kernel: PlayedKernel) -> None:
    """Each function lists the large type; two of three fit, and the plan says it is not sure."""
    card = small_card(3)
    vendor_card(kernel, card)
    found = planned(kernel, Create(type="NVIDIA X1-24Q", count=3))
    assert "not sure" in found.notes[0]
    carried = Carried(kernel)
    with pytest.raises(StepRefused):
        carried.do(found)
    assert card.held == []
    assert carried.records == {}


def test_capacity_that_goes_in_between_is_the_drivers_refusal(kernel: PlayedKernel) -> None:
    """Another writer takes the last one right before the write."""
    path = mdpy_parent(kernel, 1)
    found = planned(kernel, Create(type="mdpy-hd", uuid=UUID))
    create = f"{path}/mdev_supported_types/mdpy-hd/create"
    kernel.before(create, lambda: kernel.write(create, OTHER))
    with pytest.raises(StepRefused) as refused:
        Carried(kernel).do(found)
    assert refused.value.number == errno.EUSERS
    with pytest.raises(NoRoom):
        planned(kernel, Create(type="mdpy-hd", uuid=UUID))


# -- what is so already ----------------------------------------------------------------------------


def test_same_uuid_parent_and_type_is_success(kernel: PlayedKernel) -> None:
    """Also when the parent has no room for another one."""
    mtty_parent(kernel, 1)
    request = Create(type="mtty-1", uuid=UUID, names=["mtty"], owner="nova")
    first = done(kernel, request)
    records = {one.subject: one for one in first.records}
    again = planned(kernel, request, records)
    assert (again.steps, again.cards, again.records) == ((), (), ())
    assert again.expected == first.expected
    with pytest.raises(OwnedByOther):
        planned(kernel, Create(type="mtty-1", uuid=UUID, owner="cinder"), records)
    assert planned(kernel, Create(type="mtty-1", uuid=UUID, force=True), records).steps == ()


def test_uuid_that_somebody_else_made_is_success_and_stays_theirs(kernel: PlayedKernel) -> None:
    """A racing mdevctl may be first."""
    path = mtty_parent(kernel)
    kernel.write(f"{path}/mdev_supported_types/mtty-1/create", UUID)
    found = planned(kernel, Create(type="mtty-1", uuid=UUID, owner="nova"))
    assert (found.steps, found.records) == ((), ())
    assert any("not made by nodedevd" in note for note in found.notes)


@pytest.mark.parametrize(
    "request_", [Create(type="mtty-2", uuid=UUID), Create(type="mtty-1", uuid=UUID, names=["mdpy"])]
)
def test_uuid_of_another_type_or_parent_is_a_conflict(
    kernel: PlayedKernel, request_: Create
) -> None:
    """The kernel would answer EEXIST whatever the parent."""
    mtty_parent(kernel)
    mdpy_parent(kernel)
    done(kernel, Create(type="mtty-1", uuid=UUID))
    with pytest.raises(Conflict, match="the UUID is taken by an mdev of type mtty-1"):
        planned(kernel, request_)


def test_uuid_that_is_being_removed_is_refused(kernel: PlayedKernel) -> None:
    """The UUID stays taken until the VM closes the device."""
    path = mtty_parent(kernel)
    done(kernel, Create(type="mtty-1", uuid=UUID))
    kernel.open(f"{path}/{UUID}")
    kernel.begin(f"{path}/{UUID}/remove", "1")
    with pytest.raises(NotPossible) as refused:
        planned(kernel, Create(type="mtty-1", uuid=UUID))
    assert refused.value.reason == "removing"


def test_profile_of_the_same_owner_is_success(kernel: PlayedKernel) -> None:
    """A client that asks again for its own function has it; nobody else has."""
    function = vendor_card(kernel, small_card())[0]
    request = Create(type="1", names=[function], owner="nova")
    records = {one.subject: one for one in done(kernel, request).records}
    again = planned(kernel, request, records)
    assert (again.steps, again.expected[0].type) == ((), "1")
    for other in (
        Create(type="1", names=[function], owner="cinder"),
        Create(type="1", names=[function]),
        Create(type="2", names=[function], owner="nova"),
    ):
        with pytest.raises(Conflict):
            planned(kernel, other, records)
    with pytest.raises(Conflict):
        planned(kernel, request, {})  # whoever set it, it was not this client


def test_profile_without_an_owner_is_nobodys(kernel: PlayedKernel) -> None:
    """Two clients that give no owner are not one and the same."""
    function = vendor_card(kernel, small_card())[0]
    request = Create(type="1", names=[function])
    records = {one.subject: one for one in done(kernel, request).records}
    with pytest.raises(Conflict):
        planned(kernel, request, records)


def test_defined_uuid_is_noted(kernel: PlayedKernel) -> None:
    """It runs without its definition, as with `mdevctl start -u -p -t`."""
    mtty_parent(kernel)
    kernel.tree.definition("mtty", UUID, "mtty-2")
    found = done(kernel, Create(type="mtty-1", uuid=UUID))
    assert any("definition" in note for note in found.notes)


# -- refused ---------------------------------------------------------------------------------------


def test_uuid_for_a_function_with_vendor_vfio_is_refused(kernel: PlayedKernel) -> None:
    """Such a vGPU has none, and would be lost under that name."""
    vendor_card(kernel, small_card())
    with pytest.raises(NotPossible) as refused:
        planned(kernel, Create(type="NVIDIA X1-4Q", uuid=UUID))
    assert refused.value.reason == "no-uuid"
    mdev_card(kernel, small_card())
    found = planned(kernel, Create(type="NVIDIA X1-4Q", uuid=UUID))
    assert isinstance(found.steps[0], CreateMdev)


def test_names_that_mean_nothing(kernel: PlayedKernel) -> None:
    """Unknown names and types, and no name at all."""
    mtty_parent(kernel)
    for request, error in [
        (Create(type="mtty-1", names=["0000:99:00.0"]), NoSuchDevice),
        (Create(type="mtty-7"), NoSuchType),
        (Create(type="mtty-1", names=[]), InvalidParameter),
    ]:
        with pytest.raises(error):
            planned(kernel, request)


def test_device_that_is_no_registered_parent_is_refused(kernel: PlayedKernel) -> None:
    """Its driver has gone; an mdev and the computer are no parents either."""
    path = mtty_parent(kernel)
    mdpy_parent(kernel)
    done(kernel, Create(type="mtty-1", uuid=UUID))
    for name in (UUID, "computer"):
        with pytest.raises(NotPossible) as refused:
            planned(kernel, Create(type="mtty-1", names=[name]))
        assert refused.value.reason == "no-parent"
    card = kernel.tree.pci("0000:05:00.0", vendor=0x10DE, device=1, class_=0x030200)
    with pytest.raises(NotPossible) as refused:
        planned(kernel, Create(type="mdpy-hd", names=[card]))
    assert refused.value.reason == "no-parent"
    kernel.mdev.unregister(path)
    with pytest.raises(NoSuchType):
        planned(kernel, Create(type="mtty-1"))


@pytest.mark.parametrize(
    ("driver", "reason"), [("vfio-pci", "vfs-on-other-driver"), ("", "vfs-without-driver")]
)
def test_function_of_another_driver_is_refused_with_what_to_do(
    kernel: PlayedKernel, driver: str, reason: str
) -> None:
    """The others of the card go on."""
    function, *others = vendor_card(kernel, small_card(3))
    address = os.path.basename(function)
    kernel.write("/sys/bus/pci/drivers/nvidia/unbind", address)
    kernel.write(f"{function}/driver_override", driver or "none")
    kernel.write("/sys/bus/pci/drivers_probe", address)
    with pytest.raises(NotPossible, match="bind them to nvidia") as refused:
        planned(kernel, Create(type="1", names=[function]))
    assert refused.value.reason == reason
    found = planned(kernel, Create(type="1", names=["0000:41:00.0"], count=2))
    assert sorted(parents_of(found)) == sorted(map(os.path.basename, others))


def test_card_without_functions_is_refused_with_its_reason(kernel: PlayedKernel) -> None:
    """Its virtual functions have to be enabled first."""
    vendor_card(kernel, small_card(), enabled=False)
    with pytest.raises(NotPossible) as refused:
        planned(kernel, Create(type="1", names=["0000:41:00.0"]))
    assert refused.value.reason == "no-vf-enabled"


def test_profiles_of_a_full_card_say_why(kernel: PlayedKernel) -> None:
    """A vGPU of another size prevents it."""
    vendor_card(kernel, small_card())
    done(kernel, Create(type="NVIDIA X1-4Q"))
    with pytest.raises(NoRoom, match="X1-4Q"):
        planned(kernel, Create(type="NVIDIA X1-12Q"))


def test_tree_shows_what_was_made(kernel: PlayedKernel) -> None:
    """Both frameworks, on one host, in one request."""
    mdev_card(kernel, small_card(1))
    vendor_card(kernel, small_card(1))
    found = done(kernel, Create(type="NVIDIA X1-24Q", count=2))
    snapshot = tree_of(kernel)
    devices = [expected.device(snapshot) for expected in found.expected]
    kinds = {
        kind
        for device in devices
        for kind in (MdevChild, Vgpu)
        if device is not None and device.capability(kind) is not None
    }
    assert kinds == {MdevChild, Vgpu}
