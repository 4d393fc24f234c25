"""start: the mdev of one of mdevctl's definitions."""

from __future__ import annotations

import errno
from pathlib import Path
from typing import Any

import pytest

from nodedevd.actions import create, start
from nodedevd.actions.plan import CreateMdev, Plan, RunCallouts, Write
from nodedevd.actions.requests import Create, Start
from nodedevd.control.steps.base import StepRefused
from nodedevd.errors import Conflict, NoRoom, NoSuchDevice, NotPossible, OwnedByOther
from tests.support.carried import Carried, facts_of, tree_of, uuids
from tests.support.played_kernel import PlayedKernel, mtty_parent, small_card, vendor_card
from tests.support.trees import Tree

UUID, OTHER = uuids(2, 100)
MDEV = f"mdev_{UUID.replace('-', '_')}"


class Host(Carried):
    """A host with mtty, and definitions as mdevctl writes them."""

    def __init__(self, directory: Path) -> None:
        super().__init__(PlayedKernel(Tree(directory)))
        self.mtty = mtty_parent(self.kernel, 4)
        self.texts: dict[tuple[str, str], str] = {}

    def define(self, parent: str, uuid: str, type_id: str, **given: Any) -> None:
        """Define an mdev."""
        path = self.kernel.tree.definition(parent, uuid, type_id, **given)
        self.texts[parent, uuid] = Path(self.kernel.tree.at(path)).read_text()

    def start(self, name: str, *, callouts: bool = False, **given: Any) -> Plan:
        """Plan a start."""
        facts = facts_of(self.kernel, self.records, definitions=self.texts, callouts=callouts)
        return start.plan(tree_of(self.kernel), facts, Start(name=name, **given))


@pytest.fixture
def host(tmp_path: Path) -> Host:
    """Return the host."""
    return Host(tmp_path)


@pytest.mark.parametrize("name", [UUID, UUID.upper(), MDEV, f"{MDEV}_mtty"])
def test_start_creates_what_is_defined(host: Host, name: str) -> None:
    """Attributes in order; the record says that it came from its definition."""
    attributes = [("power/control", "on"), ("power/control", "auto")]
    host.define("mtty", UUID, "mtty-2", attributes=attributes)
    found = host.start(name, owner="nova")
    mdev = f"{host.mtty}/{UUID}"
    writes = [Write(f"{mdev}/power/control", value, None, of_new=True) for _, value in attributes]
    assert found.steps == (CreateMdev(host.mtty, "mtty-2", UUID), *writes)
    assert (found.action, found.cards) == ("start", ("mtty_mtty",))
    [record] = found.records
    assert (record.subject, record.origin, record.owner) == (UUID, "definition", "nova")
    host.do(found)
    assert host.unmet(found) == []
    again = host.start(name, owner="nova")
    assert (again.steps, again.records, again.expected) == ((), (), found.expected)
    with pytest.raises(OwnedByOther):
        host.start(name)


def test_callouts_get_the_definition(host: Host) -> None:
    """In mdevctl's order, around all that is changed."""
    host.define("mtty", UUID, "mtty-1", start="auto", attributes=[("power/control", "on")])
    steps = host.start(UUID, callouts=True).steps
    events = [step.event if isinstance(step, RunCallouts) else "" for step in steps]
    assert events == ["pre", "", "", "post", "notify"]
    assert isinstance(steps[0], RunCallouts)
    assert steps[0].definition == (
        '{"mdev_type":"mtty-1","start":"auto","attrs":[{"power/control":"on"}]}'
    )


def test_what_mdevctl_started_is_success(host: Host) -> None:
    """A running mdevctl may be first."""
    host.define("mtty", UUID, "mtty-1")
    host.kernel.write(f"{host.mtty}/mdev_supported_types/mtty-1/create", UUID)
    found = host.start(UUID)
    assert (found.steps, found.records) == ((), ())


def test_uuid_of_several_parents_needs_the_parent(host: Host) -> None:
    """By its kernel name, as mdevctl has it, or by any other; a running one is a conflict."""
    mtty_parent(host.kernel, name="other")
    host.define("mtty", UUID, "mtty-1")
    host.define("other", UUID, "mtty-2")
    with pytest.raises(NotPossible, match="mtty, other") as refused:
        host.start(UUID)
    assert refused.value.reason == "several-definitions"
    for name, parent in [(UUID, "other"), (UUID, "mtty_other"), (f"{MDEV}_other", None)]:
        found = host.start(name, parent=parent)
        assert found.steps[0] == CreateMdev("/sys/devices/virtual/mtty/other", "mtty-2", UUID)
    host.do(found)
    with pytest.raises(Conflict, match="runs on other"):
        host.start(UUID, parent="mtty")


def test_type_that_differs_from_the_definition_is_a_conflict(host: Host) -> None:
    """It has to be stopped first."""
    host.do(
        create.plan(tree_of(host.kernel), facts_of(host.kernel), Create(type="mtty-1", uuid=UUID))
    )
    host.define("mtty", UUID, "mtty-2")
    with pytest.raises(Conflict, match="it runs of type mtty-1; its definition is of type mtty-2"):
        host.start(UUID)


@pytest.mark.parametrize(
    ("parent", "type_id", "reason"),
    [
        ("0000:99:00.0", "mtty-1", "parent"),
        ("mtty", "mtty-7", "type"),
        ("0000:05:00.0", "nvidia-1", "registration"),
    ],
)
def test_parent_that_cannot_create_it(host: Host, parent: str, type_id: str, reason: str) -> None:
    """The words are those of `waits_for`."""
    host.kernel.tree.pci("0000:05:00.0", vendor=0x10DE, device=1, class_=0x030200)
    host.define(parent, UUID, type_id)
    with pytest.raises(NotPossible) as refused:
        host.start(UUID)
    assert refused.value.reason == reason


def test_full_parent_has_no_room(host: Host) -> None:
    """An unknown count is tried."""
    host.define("mtty", UUID, "mtty-1")
    for one in uuids(4):
        host.kernel.write(f"{host.mtty}/mdev_supported_types/mtty-1/create", one)
    with pytest.raises(NoRoom):
        host.start(UUID)
    host.kernel.tree.remove(f"{host.mtty}/mdev_supported_types/mtty-1/available_instances")
    with pytest.raises(StepRefused) as refused:
        host.do(host.start(UUID))
    assert refused.value.number == errno.ENOSPC


def test_mdev_is_gone_again_if_an_attribute_is_refused(host: Host) -> None:
    """As mdevctl does it."""
    host.define("mtty", UUID, "mtty-1", attributes=[("power/control", "bogus")])
    with pytest.raises(StepRefused):
        host.do(host.start(UUID))
    device = tree_of(host.kernel).find(UUID)
    assert device is not None
    assert device.state == "inactive"


@pytest.mark.parametrize("name", ["../../x", "/etc/x", "remove", "driver/unbind", "", "a//b"])
def test_attribute_that_leads_away_is_refused(host: Host, name: str) -> None:
    """A definition is a file that anybody with root has written by hand."""
    host.define("mtty", UUID, "mtty-1", attributes=[(name, "1")])
    with pytest.raises(NotPossible) as refused:
        host.start(UUID)
    assert refused.value.reason == "bad-attribute"


def test_definition_that_is_none_of_mdevctl(host: Host) -> None:
    """It is told where the file is."""
    host.define("mtty", UUID, "mtty-1")
    host.texts["mtty", UUID] = "{"
    with pytest.raises(NotPossible, match=r"/etc/mdevctl\.d/mtty/") as refused:
        host.start(UUID)
    assert refused.value.reason == "malformed-definition"


def test_what_has_no_definition(host: Host) -> None:
    """Unknown names, a running mdev, and a function."""
    [function] = vendor_card(host.kernel, small_card(1))
    host.kernel.write(f"{host.mtty}/mdev_supported_types/mtty-1/create", UUID)
    for name, reason in [(UUID, "not-defined"), (function, "no-mdev")]:
        with pytest.raises(NotPossible) as refused:
            host.start(name)
        assert refused.value.reason == reason
    for name in (OTHER, "nonsense"):
        with pytest.raises(NoSuchDevice):
            host.start(name)


def test_mdev_that_is_being_removed_cannot_start(host: Host) -> None:
    """Its UUID is taken until the VM closes the device."""
    host.define("mtty", UUID, "mtty-1")
    host.do(host.start(UUID))
    host.kernel.open(f"{host.mtty}/{UUID}")
    host.kernel.begin(f"{host.mtty}/{UUID}/remove", "1")
    with pytest.raises(NotPossible) as refused:
        host.start(UUID)
    assert refused.value.reason == "removing"
