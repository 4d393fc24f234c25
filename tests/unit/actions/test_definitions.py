"""define, undefine, modify, set_autostart: mdevctl's definitions, each of a UUID and a parent."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from nodedevd.actions import define, modify, set_autostart, undefine
from nodedevd.actions.definable import lock_of
from nodedevd.actions.facts import ActionFacts
from nodedevd.actions.ownership import Record
from nodedevd.actions.plan import Plan, RunCallouts, WriteDefinition
from nodedevd.actions.requests import Attribute, Define, Modify, SetAutostart, Undefine
from nodedevd.control.definitions import read_definitions
from nodedevd.errors import (
    InvalidParameter,
    MadeByOther,
    NoSuchDevice,
    NoSuchType,
    NotPossible,
    OwnedByOther,
)
from nodedevd.kinds.shared.mdevctl import (
    Definition,
    MdevAttribute,
    definition_text,
    parse_definition,
)
from tests.support.carried import Carried, facts_of, tree_of, uuids
from tests.support.played_kernel import PlayedKernel, mtty_parent, small_card, vendor_card
from tests.support.trees import Tree

UUID, NEW = uuids(2, 100)
NODE = f"mdev_{UUID.replace('-', '_')}"
ATTRIBUTES = (MdevAttribute("a/b", "ü\n"), MdevAttribute("a/b", "1"))


class Host(Carried):
    """A host with mtty whose definitions are files."""

    def __init__(self, directory: Path) -> None:
        super().__init__(PlayedKernel(Tree(directory)))
        self.mtty = mtty_parent(self.kernel, 4)
        self.directory = directory / "etc" / "mdevctl.d"
        self.directory.parent.mkdir()

    def facts(self, uuid: str = UUID, **given: Any) -> ActionFacts:
        """Return what the service would read."""
        texts = read_definitions(str(self.directory), uuid)
        return facts_of(
            self.kernel, self.records, **{"definitions": texts, "new_uuids": (NEW,), **given}
        )

    def define(self, **given: Any) -> Plan:
        """Plan to define the mdev."""
        wanted = {"type": "mtty-1", "parent": "mtty", "uuid": UUID, **given}
        return define.plan(tree_of(self.kernel), self.facts(), Define(**wanted))

    def undefine(self, name: str = UUID, **given: Any) -> Plan:
        """Plan to undefine it."""
        return undefine.plan(tree_of(self.kernel), self.facts(), Undefine(name=name, **given))

    def modify(self, name: str = UUID, *, callouts: bool = False, **given: Any) -> Plan:
        """Plan to modify it."""
        facts = self.facts(callouts=callouts)
        return modify.plan(tree_of(self.kernel), facts, Modify(name=name, **given))

    def set_autostart(self, *, autostart: bool, name: str = UUID, **given: Any) -> Plan:
        """Plan to set its autostart."""
        request = SetAutostart(name=name, autostart=autostart, **given)
        return set_autostart.plan(tree_of(self.kernel), self.facts(), request)

    def do(self, plan: Plan) -> None:
        """Carry a plan out, whose result the tree shows."""
        super().do(plan)
        assert self.unmet(plan) == []

    def file(self, parent: str = "mtty", uuid: str = UUID) -> Path:
        """Return the file of a definition."""
        return self.directory / parent / uuid

    def write(self, text: str, parent: str = "mtty") -> None:
        """Write a definition, as somebody else would."""
        self.file(parent).parent.mkdir(parents=True, exist_ok=True)
        self.file(parent).write_text(text)

    def written(self, parent: str = "mtty", uuid: str = UUID) -> Definition | None:
        """Return what is defined."""
        file = self.file(parent, uuid)
        return parse_definition(file.read_text()) if file.exists() else None

    def start(self, type_id: str = "mtty-1", parent: str | None = None) -> str:
        """Have the mdev run; return its path."""
        path = parent or self.mtty
        self.kernel.write(f"{path}/mdev_supported_types/{type_id}/create", UUID)
        return f"{path}/{UUID}"


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """Read a malformed text again at once: nobody is writing it."""
    monkeypatch.setattr("nodedevd.control.definitions._PAUSES", (0.0, 0.0))


@pytest.fixture
def host(tmp_path: Path) -> Host:
    """Return the host."""
    return Host(tmp_path)


def refused(reason: str) -> Any:
    """Expect NotPossible of a reason."""
    return pytest.raises(NotPossible, check=lambda error: error.reason == reason)


# Define


def test_definition_is_written_as_mdevctl_writes_it(host: Host) -> None:
    """And the card is not locked: a hanging driver is no matter."""
    given = [Attribute(one.name, one.value) for one in ATTRIBUTES]
    plan = host.define(autostart=True, attributes=given)
    wanted = Definition("mtty-1", autostart=True, attributes=ATTRIBUTES)
    text = definition_text(wanted)
    assert plan.steps == (WriteDefinition("mtty", UUID, text, None),)
    assert (plan.action, plan.cards) == ("define", (lock_of("mtty"),))
    assert "mtty_mtty" not in plan.cards
    host.do(plan)
    assert host.file().read_text() == text
    assert host.define(autostart=True, attributes=given).steps == ()


def test_definition_without_a_uuid_gets_a_new_one(host: Host) -> None:
    """Manual, without attributes."""
    host.do(host.define(uuid=None))
    assert host.written(uuid=NEW) == Definition("mtty-1", autostart=False, attributes=())


@pytest.mark.parametrize("type_name", ["mtty-2", "Dual port serial", "dual port serial"])
@pytest.mark.parametrize("parent", ["mtty", "mtty_mtty", "/sys/devices/virtual/mtty/mtty"])
def test_parent_and_type_may_have_any_of_their_names(
    host: Host, parent: str, type_name: str
) -> None:
    """The file has the kernel name and the id."""
    host.do(host.define(parent=parent, type=type_name))
    assert host.written() == Definition("mtty-2", autostart=False, attributes=())


def test_parent_that_is_absent_is_taken_with_any_type(host: Host) -> None:
    """A note says so."""
    plan = host.define(parent="0000:41:00.4", type="nvidia-592")
    assert plan.notes == (
        "no device has the kernel name 0000:41:00.4 now, so the type is not checked",
    )
    host.do(plan)
    assert host.written("0000:41:00.4") is not None


@pytest.mark.parametrize(
    "parent", ["../../tmp/evil", "..", "a/b", "scripts.d", ".x", "x\x1b", "computer", "y" * 300]
)
def test_parent_that_is_no_kernel_name_is_refused(host: Host, parent: str) -> None:
    """Mdevctl writes outside its directory for the first."""
    with pytest.raises(InvalidParameter):
        host.define(parent=parent)


@pytest.mark.parametrize("type_id", ["../x", "a/b", ".", "x\x1b"])
def test_type_that_is_no_id_is_refused(host: Host, type_id: str) -> None:
    """It would become a path, too."""
    with pytest.raises(InvalidParameter):
        host.define(parent="absent", type=type_id)


def test_type_that_the_parent_does_not_offer_is_refused(host: Host) -> None:
    """Unless forced: the driver may offer it after an update."""
    with pytest.raises(NoSuchType, match="Single port serial"):
        host.define(type="mtty-77")
    host.do(host.define(type="mtty-77", force=True))
    assert host.define(type="mtty-77").steps == ()


def test_card_with_vendor_vfio_has_no_definitions(host: Host) -> None:
    """Its vGPUs are no mdevs."""
    function, *_ = vendor_card(host.kernel, small_card())
    with refused("no-mdev-parent"):
        host.define(parent=function)


def test_redefined_mdev_keeps_what_is_not_given(host: Host) -> None:
    """Libvirt loses autostart; attributes of another type are not kept."""
    text = definition_text(Definition("mtty-1", autostart=True, attributes=ATTRIBUTES))
    host.write(text)
    assert host.define().steps == ()
    plan = host.define(type="mtty-2")
    assert plan.steps[0] == WriteDefinition(
        "mtty",
        UUID,
        definition_text(Definition("mtty-2", autostart=True, attributes=())),
        text,
    )
    host.do(host.define(autostart=False))
    assert host.written() == Definition("mtty-1", autostart=False, attributes=ATTRIBUTES)
    host.do(host.define(attributes=[]))
    assert host.written() == Definition("mtty-1", autostart=False, attributes=())


def test_definition_of_the_same_meaning_is_left_as_it_is(host: Host) -> None:
    """An administrator's own spacing stays."""
    host.write('{"start": "auto", "mdev_type":"mtty-1"}\n')
    assert host.define(autostart=True).steps == ()


def test_malformed_definition_is_not_replaced(host: Host) -> None:
    """Unless forced; it may be what an administrator is just writing."""
    host.write('{"mdev_type": ')
    with refused("malformed-definition"):
        host.define()
    host.do(host.define(force=True))
    assert host.written() == Definition("mtty-1", autostart=False, attributes=())


def test_uuid_that_is_known_elsewhere_is_noted(host: Host) -> None:
    """It can be defined for several parents, and run on one."""
    host.write(definition_text(Definition("t", autostart=False, attributes=())), "absent")
    other = mtty_parent(host.kernel, 4, "mtty2")
    host.start(parent=other)
    plan = host.define()
    assert "also defined for absent" in plan.notes[0]
    assert "active on mtty2" in plan.notes[1]
    host.do(plan)
    assert host.written("absent") is not None


def test_mdev_that_runs_is_defined_as_it_is(host: Host) -> None:
    """It goes on; its type may be another than the one defined."""
    host.start("mtty-2")
    host.do(host.define(type="mtty-1", autostart=True))
    device = tree_of(host.kernel).lookup(UUID)
    assert device.active
    assert host.written() == Definition("mtty-1", autostart=True, attributes=())


# Which one


@pytest.fixture
def two(host: Host) -> Host:
    """The UUID is defined for mtty, and for a parent that is absent."""
    text = definition_text(Definition("mtty-1", autostart=False, attributes=()))
    host.write(text)
    host.write(text, "0000:41:00.4")
    return host


@pytest.mark.parametrize("name", [UUID, UUID.upper(), NODE, f"mdev_{UUID}"])
def test_one_of_two_has_to_be_told_apart(two: Host, name: str) -> None:
    """The error lists them; nothing is changed."""
    plans: list[Callable[[], Plan]] = [
        lambda: two.undefine(name),
        lambda: two.modify(name, type="mtty-2"),
        lambda: two.set_autostart(name=name, autostart=True),
    ]
    for plan in plans:
        with refused("several-definitions") as raised:
            plan()
        assert "0000:41:00.4, mtty" in str(raised.value)


@pytest.mark.parametrize(
    ("name", "parent", "left"),
    [
        (UUID, "mtty", "0000:41:00.4"),
        (UUID, "0000:41:00.4", "mtty"),
        (NODE, "mtty_mtty", "0000:41:00.4"),
        (f"{NODE}_mtty", None, "0000:41:00.4"),
        (f"{NODE}_0000_41_00_4", None, "mtty"),
        (f"/etc/mdevctl.d/mtty/{UUID}", None, "0000:41:00.4"),
    ],
)
def test_undefined_mdev_leaves_the_other(
    two: Host, name: str, parent: str | None, left: str
) -> None:
    """By a parent, or a name that has one; mdevctl and libvirt remove both."""
    two.do(two.undefine(name, parent=parent))
    assert [one for one in ("mtty", "0000:41:00.4") if two.file(one).exists()] == [left]


def test_each_node_names_one_of_two(two: Host) -> None:
    """Names with a hash, too, by which the tree tells them apart."""
    devices = [one for one in tree_of(two.kernel) if one.sysname == UUID]
    assert len(devices) == 2
    [hashed] = [one for one in devices if one.name != NODE]
    two.do(two.undefine(hashed.name))
    assert two.file(hashed.path.split("/")[-2] if hashed.path else "").exists() is False
    assert len(read_definitions(str(two.directory), UUID)) == 1


def test_name_without_a_definition_is_refused(host: Host) -> None:
    """Unknown, another device, an mdev that runs without one, another parent's."""
    for name in (UUID, NODE, "nothing"):
        with pytest.raises(NoSuchDevice):
            host.undefine(name)
    with refused("no-mdev"):
        host.undefine("mtty_mtty")
    host.start()
    with refused("not-defined"):
        host.undefine()
    with refused("not-defined"):
        host.set_autostart(autostart=True)
    host.do(host.define())
    with refused("not-defined"):
        host.undefine(parent="0000:41:00.4")


# Undefine


def test_mdev_that_runs_goes_on_without_its_definition(host: Host) -> None:
    """The parent's directory stays."""
    host.start()
    host.do(host.define())
    host.do(host.undefine())
    assert tree_of(host.kernel).lookup(UUID).active
    assert list(host.file().parent.iterdir()) == []


@pytest.mark.parametrize("text", ["", "{", '{"mdev_type": "x"}', "\ufffd"])
def test_malformed_definition_can_be_removed(host: Host, text: str) -> None:
    """No callouts are run: it has no type."""
    host.write(text)
    facts = host.facts(callouts=True)
    plan = undefine.plan(tree_of(host.kernel), facts, Undefine(name=UUID))
    assert plan.steps == (WriteDefinition("mtty", UUID, None, text),)
    assert "malformed" in plan.notes[0]
    host.do(plan)
    assert not host.file().exists()


# Modify


def test_definition_is_modified_in_what_is_given(host: Host) -> None:
    """The mdev that runs stays as it is, and a note says so."""
    before = Definition("mtty-1", autostart=True, attributes=ATTRIBUTES)
    host.write(definition_text(before))
    assert host.modify(autostart=True, type="mtty-1").steps == ()
    host.start()
    plan = host.modify(type="Dual port serial")
    assert plan.notes == (
        "the mdev is active, and stays as it is until it is started again; see --live",
    )
    host.do(plan)
    assert host.written() == Definition("mtty-2", autostart=True, attributes=ATTRIBUTES)
    host.do(host.modify(attributes=[Attribute("c", "")], autostart=False))
    changed = Definition("mtty-2", autostart=False, attributes=(MdevAttribute("c", ""),))
    assert host.written() == changed
    with pytest.raises(NoSuchType):
        host.modify(type="mtty-77")
    with pytest.raises(InvalidParameter):
        host.modify(type="../x", force=True)


def test_malformed_definition_is_not_modified(host: Host) -> None:
    """The error has the path and the reason; others are not disturbed."""
    host.write("{")
    host.write(definition_text(Definition("t", autostart=False, attributes=())), "absent")
    plans: list[Callable[[], Plan]] = [
        lambda: host.modify(parent="mtty", autostart=True),
        lambda: host.set_autostart(parent="mtty", autostart=True),
    ]
    for plan in plans:
        with refused("malformed-definition") as raised:
            plan()
        assert f"/etc/mdevctl.d/mtty/{UUID}" in str(raised.value)
    host.do(host.set_autostart(parent="absent", autostart=True))
    assert host.file().read_text() == "{"


def test_autostart_is_set_alone(host: Host) -> None:
    """Nothing else changes; to set it again changes nothing."""
    host.write(definition_text(Definition("mtty-77", autostart=False, attributes=ATTRIBUTES)))
    plan = host.set_autostart(autostart=True)
    assert plan.action == "set-autostart"
    host.do(plan)
    assert host.written() == Definition("mtty-77", autostart=True, attributes=ATTRIBUTES)
    assert host.set_autostart(autostart=True).steps == ()


@pytest.mark.parametrize("action", ["define", "undefine", "modify", "set-autostart"])
def test_callouts_are_around_the_write(host: Host, action: str) -> None:
    """They get what the definition is going to be; of a removed one, what it was."""
    host.write(definition_text(Definition("mtty-1", autostart=False, attributes=())))
    snapshot, facts = tree_of(host.kernel), host.facts(callouts=True)
    plan = {
        "define": lambda: define.plan(
            snapshot, facts, Define(type="mtty-1", parent="mtty", uuid=UUID, autostart=True)
        ),
        "undefine": lambda: undefine.plan(snapshot, facts, Undefine(name=UUID)),
        "modify": lambda: modify.plan(snapshot, facts, Modify(name=UUID, autostart=True)),
        "set-autostart": lambda: set_autostart.plan(
            snapshot, facts, SetAutostart(name=UUID, autostart=True)
        ),
    }[action]()
    pre, write, post, notify = plan.steps
    assert isinstance(write, WriteDefinition)
    asked = [one for one in (pre, post, notify) if isinstance(one, RunCallouts)]
    assert [one.event for one in asked] == ["pre", "post", "notify"]
    assert {one.action for one in asked} == {"modify" if action == "set-autostart" else action}
    start = "manual" if action == "undefine" else "auto"
    assert {one.definition for one in asked} == {
        f'{{"mdev_type":"mtty-1","start":"{start}","attrs":[]}}'
    }


# Live


def test_live_change_is_asked_before_the_definition_is_written(host: Host) -> None:
    """If it is refused, the definition stays as it is; the card is locked, too."""
    host.write(definition_text(Definition("mtty-1", autostart=True, attributes=())))
    host.start()
    plan = host.modify(callouts=True, live=True, attributes=[Attribute("a", "1")], force=True)
    assert [
        one.event if isinstance(one, RunCallouts) else type(one).__name__ for one in plan.steps
    ] == ["pre", "live", "WriteDefinition", "post", "notify"]
    assert plan.cards == (lock_of("mtty"), "mtty_mtty")
    assert plan.notes == ()
    live = plan.steps[1]
    assert isinstance(live, RunCallouts)
    assert live.definition == '{"mdev_type":"mtty-1","start":"auto","attrs":[{"a":"1"}]}'


def test_live_change_of_an_mdev_without_definition_is_for_it_alone(host: Host) -> None:
    """Nothing is written."""
    path = host.start()
    plan = host.modify(callouts=True, live=True, attributes=[Attribute("a", "1")], force=True)
    assert [one.event for one in plan.steps if isinstance(one, RunCallouts)] == ["live", "notify"]
    assert len(plan.steps) == 2
    assert plan.expected[0].path == path
    with refused("not-defined"):
        host.modify(callouts=True, live=True, autostart=True)
    with refused("not-active"):
        host.modify(callouts=True, live=True, parent="absent")
    with pytest.raises(MadeByOther):
        host.modify(callouts=True, live=True, attributes=[])


def test_live_change_alone_leaves_the_definition(host: Host) -> None:
    """As `mdevctl modify --live` without --defined does; autostart is of the definition."""
    host.write(definition_text(Definition("mtty-1", autostart=True, attributes=())))
    given: dict[str, Any] = {"callouts": True, "live_only": True, "force": True}
    with refused("not-active"):
        host.modify(**given, attributes=[])
    path = host.start()
    plan = host.modify(**given, attributes=[Attribute("a", "1")])
    assert [one.event for one in plan.steps if isinstance(one, RunCallouts)] == ["live", "notify"]
    assert len(plan.steps) == 2
    assert plan.expected[0].path == path
    with refused("type-is-fixed"):
        host.modify(**given, attributes=[], type="mtty-2")
    wrongs: list[dict[str, Any]] = [{}, {"attributes": [], "autostart": False}]
    for wrong in wrongs:
        with pytest.raises(InvalidParameter, match="live_only"):
            host.modify(**given, **wrong)


def test_live_change_needs_an_mdev_that_runs(host: Host) -> None:
    """With its type, and a script that could do it."""
    host.write(definition_text(Definition("mtty-1", autostart=True, attributes=())))
    with refused("not-active"):
        host.modify(callouts=True, live=True, attributes=[])
    host.start()
    with refused("no-live-modify"):
        host.modify(live=True, attributes=[])
    with refused("type-is-fixed"):
        host.modify(callouts=True, live=True, type="mtty-2")


def test_live_change_is_of_the_owner(host: Host) -> None:
    """Whoever changes the definition may change what was started from it, if it is theirs."""
    host.write(definition_text(Definition("mtty-1", autostart=True, attributes=())))
    host.start()
    given: dict[str, Any] = {"callouts": True, "live": True, "attributes": []}
    with pytest.raises(MadeByOther):
        host.modify(**given)
    host.records[UUID] = Record(UUID, "definition", "nova", 0, "mtty-1", 7, "")
    with pytest.raises(OwnedByOther):
        host.modify(**given)
    assert host.modify(**given, owner="nova").steps
    host.records[UUID] = Record(UUID, "domain", "nova", 0, "mtty-1", 7, "")
    with pytest.raises(MadeByOther):
        host.modify(**given, owner="nova")
    assert host.modify(**given, force=True).steps
