"""What differs from a layout: sample hosts of every framework, and cards in the way of it."""

from __future__ import annotations

from pathlib import Path

import pytest
from msgspec.structs import replace

from nodedevd.host.assignment import AssignmentFacts
from nodedevd.host.assignment.interfaces import Interface
from nodedevd.host.processes import Process
from nodedevd.host.sysroot import Sysroot
from nodedevd.kinds.mdev_child import MdevChild
from nodedevd.kinds.mdev_parent import MdevParent
from nodedevd.layout.compare import compare_layout
from nodedevd.layout.difference import (
    BindFunction,
    CreateVgpus,
    DefineMdev,
    Difference,
    ModifyMdev,
    RemoveVgpu,
    SetFunctions,
    StartMdev,
)
from nodedevd.layout.facts import Answered, LayoutFacts
from nodedevd.layout.files import declared
from nodedevd.layout.words import step_words
from nodedevd.model.snapshot import Snapshot
from nodedevd.questions.in_use import InUse, Use
from nodedevd.tree.read import scan
from tests.support.hosts import snapshot_of
from tests.support.trees import Tree

A2 = '[[card]]\naddress = "0000:08:00.0"\n'
L40S = '[[card]]\naddress = "0000:26:00.0"\n'
GVTG = '[[card]]\naddress = "0000:00:02.0"\n'
IDLE = '[[card]]\naddress = "0000:5e:00.0"\n'
NIC = '[[card]]\naddress = "0000:3b:00.0"\n'
MTTY = '[[card]]\nparent = "mtty"\n'
MATRIX = '[[card]]\nparent = "matrix"\n'
RUNS = "b1ae8bf6-38b0-4c81-9d44-78ce3f520010"
"""An mdev of type mtty-1, defined with autostart, on the host `samples`."""
OTHER = "b1ae8bf6-38b0-4c81-9d44-78ce3f520012"
"""An mdev on the parent mdpy of the same host."""
NEW = "4b20d080-1b54-4048-85b3-a6a62d165c01"
FIRST, LAST = "27b42a51-9f6b-4c0b-8f5f-4f3a1d0e8c01", "a2c1a9b0-5c3e-4f27-b6d4-0d6e2f9b7c02"
"""Mdevs of the type A2-4Q on the functions 0 and 11 of the card A2."""


def differs(host: str | Snapshot, text: str, facts: LayoutFacts | None = None) -> Difference:
    """Return how the one card of a file differs."""
    snapshot = snapshot_of(host) if isinstance(host, str) else host
    found = declared([("a.toml", text)])
    assert found.problems == ()
    [one] = compare_layout(found.layout, snapshot, facts or LayoutFacts())
    return one


def opened(*names: str, claimed: dict[str, str] | None = None) -> LayoutFacts:
    """Return that these devices are open in QEMU, and no others."""
    holder = (Process(42, "qemu"),)
    uses = tuple(Use(name, None, "yes", holder, None) for name in names)
    return LayoutFacts(usage=Answered(InUse(1, 0, uses)), claimed=claimed or {})


# -- what is there, and what is missing ---------------------------------------------------------


def test_vgpus_that_exist_are_taken_for_those_that_are_wanted() -> None:
    """Two of four exist on the functions 0 and 11; the first free ones get the others."""
    found = differs("vgpu-sriov", f'{A2}vgpus = [{{ type = "A2-4Q", count = 4 }}]\n')
    assert found.state == "drifted"
    assert found.differences == (
        CreateVgpus("pci_0000_08_00_5", "nvidia-746", "NVIDIA A2-4Q", 1),
        CreateVgpus("pci_0000_08_00_6", "nvidia-746", "NVIDIA A2-4Q", 1),
    )
    found = differs("vgpu-sriov", f'{A2}vgpus = [{{ type = "A2-4Q", count = 2 }}]\n')
    assert (found.state, found.differences) == ("in-sync", ())
    found = differs("vgpu-sriov", f'{A2}vgpus = [{{ type = "A2-4Q" }}]\n')
    assert found.state == "in-sync"  # one more than wanted is not named


def test_parent_without_functions_takes_all() -> None:
    """One step for all vGPUs of a type on it."""
    found = differs("samples", f'{MTTY}vgpus = [{{ type = "mtty-2", count = 3 }}]\n')
    assert found.differences == (CreateVgpus("mtty_mtty", "mtty-2", "Dual port serial", 2),)
    assert list(map(step_words, found.differences)) == [
        "create 2 x mtty-2 (Dual port serial) on mtty_mtty"
    ]


def test_placements_and_functions_are_as_they_are_wanted() -> None:
    """A vGPU of the type at another placement is another one."""
    text = f'{L40S}vgpus = [{{ type = "L40S-4Q", functions = [3], placement = [8] }}]\n'
    found = differs("vgpu-vendor-vfio", text)
    assert found.differences == (
        CreateVgpus("pci_0000_26_00_7", "1150", "NVIDIA L40S-4Q", 1, placement=8),
    )
    text = f'{L40S}vgpus = [{{ type = "L40S-4Q", functions = [1], placement = [4] }}]\n'
    assert differs("vgpu-vendor-vfio", text).state == "in-sync"
    found = differs("vgpu-vendor-vfio", text.replace("[4]", "[0]"))
    assert (found.state, found.differences) == ("blocked", ())


def test_spare_functions_are_left_alone() -> None:
    """Neither does a vGPU on one of them count, nor is one made there."""
    text = f'{A2}spare = 5\nvgpus = [{{ type = "A2-4Q", count = 2 }}]\n'
    found = differs("vgpu-sriov", text)  # one of the two that exist is on function 11
    assert found.differences == (CreateVgpus("pci_0000_08_00_5", "nvidia-746", "NVIDIA A2-4Q", 1),)
    found = differs("vgpu-sriov", f"{A2}spare = 5\nremove_unnamed = true\n")
    [removed] = found.differences
    assert isinstance(removed, RemoveVgpu)
    assert removed.name == "mdev_27b42a51_9f6b_4c0b_8f5f_4f3a1d0e8c01"
    found = differs("vgpu-sriov", f"{A2}spare = 17\nremove_unnamed = true\n")
    assert found.differences == (), "of 16 functions"


# -- functions and drivers ------------------------------------------------------------------------


def test_functions_come_before_what_is_on_them() -> None:
    """What is to be on them is only in words until they are there."""
    text = f'{IDLE}virtual_functions = "all"\nvgpus = [{{ type = "L40S-8Q", count = 6 }}]\n'
    found = differs("vgpu-vendor-vfio", text)
    assert found.differences == (SetFunctions("pci_0000_5e_00_0", 32, 0),)
    assert found.later == ("create 6 x L40S-8Q",)
    found = differs("vgpu-vendor-vfio", f'{IDLE}vgpus = [{{ type = "L40S-8Q" }}]\n')
    assert (found.state, found.reasons) == ("pending", ("no virtual function is enabled",))


def test_functions_that_hold_vgpus_are_not_taken_away() -> None:
    """Unless the vGPUs may be removed, and are not open."""
    found = differs("vgpu-vendor-vfio", f"{L40S}virtual_functions = 32\n")
    assert (found.state, found.differences) == ("blocked", ())
    assert "its 8 virtual functions hold pci_0000_26_00_4" in found.reasons[0]
    text = f"{L40S}virtual_functions = 32\nremove_unnamed = true\n"
    found = differs("vgpu-vendor-vfio", text)
    assert [type(one) for one in found.differences] == [*[RemoveVgpu] * 3, SetFunctions]
    found = differs("vgpu-vendor-vfio", text, opened("pci_0000_26_00_5"))
    assert (found.state, found.differences) == ("blocked", ())
    assert "pci_0000_26_00_5 is open in qemu (process 42)" in found.reasons[0]
    for spare, state in ((5, "drifted"), (6, "blocked")):
        found = differs("vgpu-vendor-vfio", f"{text}spare = {spare}\n")
        assert found.state == state, "the function 2 of 8 holds the last vGPU"


def test_functions_are_bound_but_for_spare_ones() -> None:
    """One that is bound already is left as it is."""
    text = f'{NIC}virtual_functions = 4\ndriver = "vfio-pci"\nspare = 1\n'
    found = differs("vdpa-smartnic", text)
    assert found.differences == tuple(
        BindFunction(f"pci_0000_3b_00_{number}", "vfio-pci", "mlx5_core") for number in (2, 3, 4)
    )
    found = differs("vdpa-smartnic", text.replace("vfio-pci", "mlx5_core"))
    assert found.state == "in-sync"


def test_function_that_the_host_uses_keeps_its_driver() -> None:
    """An address on its interface, for example; the others are bound."""
    path = snapshot_of("vdpa-smartnic").lookup("0000:3b:00.3").path
    interface = Interface(name="eth7", path=f"{path}/net/eth7", has_address=True, uppers=())
    facts = LayoutFacts(assignment=AssignmentFacts(interfaces={"eth7": interface}))
    text = f'{NIC}virtual_functions = 4\ndriver = "vfio-pci"\n'
    found = differs("vdpa-smartnic", text, facts)
    assert [type(one) for one in found.differences] == [BindFunction, BindFunction]
    [reason] = found.reasons
    assert reason == (
        "pci_0000_3b_00_3 cannot be bound to vfio-pci: the host uses what it would lose:"
        " eth7 has an address"
    )


@pytest.mark.parametrize(
    ("host", "text", "state", "reason"),
    [
        ("vdpa-smartnic", f"{NIC}virtual_functions = 9\n", "blocked", "8 virtual functions at"),
        ("samples", '[[card]]\naddress = "00:01.0"\nvirtual_functions = 1\n', "blocked", "no SR-"),
        ("vdpa-smartnic", f"{NIC.replace('00.0', '00.3')}virtual_functions = 1\n",
         "blocked", "a virtual function of 0000:3b:00.0"),
        ("samples", NIC, "pending", "there is no device 0000:3b:00.0"),
        ("l40s-vfs-on-vfio-pci",
         '[[card]]\naddress = "ae:00.0"\nvgpus = [{ type = "L40S-4Q" }]\n',
         "blocked", "bound to vfio-pci"),
        ("vgpu-sriov", f'{A2}vgpus = [{{ type = "A2-4A" }}, {{ type = "A2-5Q" }}]\n',
         "blocked", "it offers no type A2-5Q; write one of its types: NVIDIA A2-"),
        ("vgpu-sriov", f'{A2}vgpus = [{{ type = "A2-4Q", count = 5 }}]\n',
         "blocked", "5 x NVIDIA A2-4Q do not fit: 4 at the most; write 4, or less"),
        ("vdpa-smartnic", f'{NIC}virtual_functions = "all"\nvgpus = [{{ type="x", count=9 }}]\n',
         "blocked", "a.toml:4: vgpus[0].count: 9 x x do not fit: 8 of 8 functions are left; write"),
        ("vgpu-vendor-vfio",
         f'{IDLE}virtual_functions = "all"\nspare=31\nvgpus = [{{ type="x", functions=[\n1] }}]\n',
         "blocked", "a.toml:6: vgpus[0].functions[0]: it has no virtual function 1; give a number"),
        ("vgpu-sriov", f'{A2}driver = "nvidia"\nvgpus = [{{ type = "A2-5Q" }}]\n',
         "blocked", "a.toml:4: vgpus[0].type: it offers no type A2-5Q; write one of its types: NV"),
        ("vgpu-sriov", f'{A2}vgpus = [{{ type = "A2-8Q" }}]\n', "blocked", "A2-4Q active"),
        ("vgpu-sriov", f'{A2}vgpus = [{{ type = "A2-4Q", functions = [16] }}]\n',
         "blocked", "no virtual function 16"),
        ("igpu-gvtg", f'{GVTG}vgpus = [{{ type = "GVTg_V5_4", count = 2 }}]\n',
         "blocked", "full"),
        ("samples", '[[card]]\naddress = "00:01.0"\nvgpus = [{ type = "x" }]\n',
         "pending", "its driver has registered none"),
    ],
)  # fmt: skip
def test_card_that_cannot_be_as_wanted_says_why(
    host: str, text: str, state: str, reason: str
) -> None:
    """In words, and without a step, also for a part of it that could be."""
    found = differs(host, text)
    assert (found.state, found.differences) == (state, ())
    assert reason in found.reasons[0]


def test_card_whose_driver_is_not_loaded_is_pending(tmp_path: Path) -> None:
    """Functions that the tree does not have yet are waited for, too."""
    tree = Tree(tmp_path)
    tree.pci("0000:01:00.0", vendor=0x10DE, device=0x25B6, class_=0x030200)
    tree.sriov("0000:01:00.0", total=4)
    text = '[[card]]\naddress = "0000:01:00.0"\nvirtual_functions = 4\n'
    found = differs(scan(Sysroot(str(tmp_path))), text)
    assert (found.state, found.reasons) == ("pending", ("no driver is bound to it",))


# -- mdevs by UUID --------------------------------------------------------------------------------


def test_mdev_is_defined_and_started() -> None:
    """Without a definition it is created with its UUID."""
    mdev = f'uuid = "{NEW}"\ntype = "mtty-1"\n'
    found = differs("samples", f'{MTTY}[[card.mdevs]]\n{mdev}attributes = ["a/b=c"]\n')
    define, start = found.differences
    assert isinstance(define, DefineMdev)
    assert (define.parent, define.uuid, define.type) == ("mtty_mtty", NEW, "mtty-1")
    assert [(one.name, one.value) for one in define.attributes] == [("a/b", "c")]
    assert start == StartMdev("mtty_mtty", NEW)
    found = differs("samples", f"{MTTY}[[card.mdevs]]\n{mdev}active = false\n")
    assert [type(one) for one in found.differences] == [DefineMdev]
    found = differs("samples", f"{MTTY}[[card.mdevs]]\n{mdev}define = false\n")
    assert found.differences == (
        CreateVgpus("mtty_mtty", "mtty-1", "Single port serial", 1, uuid=NEW),
    )


def test_mdev_on_a_card_with_functions_gets_a_free_one() -> None:
    """The one that is given, that of its definition, or the first with room."""
    mdevs = f'{A2}mdevs = [{{ uuid = "{NEW}", type = "A2-4Q" }}]\n'
    define, start = differs("vgpu-sriov", mdevs).differences
    assert isinstance(define, DefineMdev)
    assert define.parent == "pci_0000_08_00_5"
    assert start == StartMdev("pci_0000_08_00_5", NEW)
    define, _ = differs("vgpu-sriov", mdevs.replace(" }]", ", function = 5 }]")).differences
    assert isinstance(define, DefineMdev)
    assert define.parent == "pci_0000_08_01_1"
    found = differs("vgpu-sriov", mdevs.replace(" }]", ", function = 0 }]"))
    assert "there is no room for the mdev" in found.reasons[0]


def test_definition_that_is_different_is_changed() -> None:
    """What the layout does not say stays in it."""
    mdev = f'{MTTY}mdevs = [{{ uuid = "{RUNS}", type = "mtty-1" }}]\n'
    assert differs("samples", mdev).state == "in-sync"
    found = differs("samples", mdev.replace(" }]", ", autostart = false }]"))
    [modify] = found.differences
    assert isinstance(modify, ModifyMdev)
    assert (modify.autostart, modify.definition, modify.live) == (False, True, False)


def test_mdev_of_another_type_is_made_anew() -> None:
    """If it is not open; and when its definition is as it should be."""
    text = f'{MTTY}mdevs = [{{ uuid = "{RUNS}", type = "mtty-2" }}]\n'
    found = differs("samples", text)
    assert [type(one) for one in found.differences] == [ModifyMdev]
    assert found.later == (f"remove the mdev {RUNS}, and start it anew",)
    without = differs("samples", text.replace(" }]", ", define = false }]"))
    assert [type(one) for one in without.differences] == [RemoveVgpu]
    assert without.later == (f"start the mdev {RUNS}",)
    name = "mdev_" + RUNS.replace("-", "_")
    found = differs("samples", text, opened(name))
    assert [type(one) for one in found.differences] == [ModifyMdev]
    assert "cannot be made anew: " in found.reasons[0]


def removed_for(*mdevs: str, more: str = "", facts: LayoutFacts | None = None) -> list[str]:
    """Return the UUIDs of the mdevs of the A2 that are removed for these."""
    inner = ", ".join(f"{{ define = false, {one} }}" for one in mdevs)
    found = differs("vgpu-sriov", f"{A2}{more}mdevs = [{inner}]\n", facts)
    names = [one.name for one in found.differences if isinstance(one, RemoveVgpu)]
    assert names or "is left as it is: it is not certain that there is room" in found.reasons[-1]
    return [one.removeprefix("mdev_").replace("_", "-") for one in names]


def test_mdev_is_removed_only_if_there_is_room_for_it_for_sure_then() -> None:
    """The card has vGPUs of one size: another size has room only if no other stays."""
    first, last = f'uuid = "{FIRST}", type = "A2-8Q"', f'uuid = "{LAST}", type = "A2-8Q"'
    assert removed_for(first) == []
    assert removed_for(first.replace("8Q", "4A")) == [FIRST]
    assert removed_for(first, more="remove_unnamed = true\n") == [LAST]
    assert removed_for(first, last) == [FIRST]  # and the other one after it
    held = opened(f"mdev_{LAST.replace('-', '_')}")
    assert removed_for(first, last, facts=held) == []
    assert removed_for(first, last.replace("8Q", "4Q")) == []


def test_mdev_is_moved_only_to_a_function_that_is_free() -> None:
    """Two cannot change places, or it would not be certain that both come back."""
    first, last = f'uuid = "{FIRST}", type = "A2-4Q"', f'uuid = "{LAST}", type = "A2-4Q"'
    assert removed_for(f"{first}, function = 5") == [FIRST]
    assert removed_for(f"{first}, function = 11") == []
    assert removed_for(f"{first}, function = 11", f"{last}, function = 0") == []
    assert removed_for(f"{first}, function = 11", f"{last}, function = 5") == [LAST]
    # What is missing takes the room, or the function, that it leaves.
    assert removed_for(f"{first}, function = 5", f'uuid = "{NEW}", type = "A2-8Q"') == []
    missing = f'uuid = "{NEW}", type = "A2-4Q", function = 0'
    assert removed_for(f"{first}, function = 5", missing) == [FIRST]


def test_what_is_missing_is_made_before_an_mdev_is_made_anew() -> None:
    """It may take the room."""
    mdevs = f'mdevs = [{{ uuid = "{FIRST}", type = "A2-4A", define = false }}]\n'
    found = differs("vgpu-sriov", f'{A2}vgpus = [{{ type = "A2-4Q", count = 2 }}]\n{mdevs}')
    assert [type(one) for one in found.differences] == [CreateVgpus]
    assert found.later == (f"remove the mdev {FIRST}, and start it anew",)


@pytest.mark.parametrize(
    ("host", "card", "uuid", "type_id", "where"),
    [
        ("samples", MTTY, OTHER, "mtty-1", "mdpy_mdpy"),
        ("vgpu-sriov", f"{A2}spare = 5\n", LAST, "A2-4Q", "pci_0000_08_01_7"),
    ],
    ids=["another card", "a spare function"],
)
def test_mdev_that_runs_where_the_entry_changes_nothing_stays(
    host: str, card: str, uuid: str, type_id: str, where: str
) -> None:
    """Also if what is not named is removed."""
    text = f'{card}mdevs = [{{ uuid = "{uuid}", type = "{type_id}" }}]\n'
    for more in ("", "remove_unnamed = true\n"):
        found = differs(host, text.replace("mdevs", f"{more}mdevs"))
        removed = [one.name for one in found.differences if isinstance(one, RemoveVgpu)]
        assert f"mdev_{uuid.replace('-', '_')}" not in removed
        [reason] = found.reasons
        assert reason.startswith(f"the mdev {uuid} runs on {where}, where this entry changes noth")


def test_mdev_whose_definition_cannot_be_read_is_not_made_anew() -> None:
    """It could not be started again."""
    snapshot = snapshot_of("samples")
    device = snapshot.lookup(RUNS)
    [mdev] = [one for one in device.capabilities if isinstance(one, MdevChild)]
    unread = replace(device, capabilities=(replace(mdev, definition=None),))
    others = [one for one in snapshot if one is not device]
    text = f'{MTTY}mdevs = [{{ uuid = "{RUNS}", type = "mtty-2" }}]\n'
    found = differs(Snapshot([*others, unread]), text)
    assert (found.state, found.differences) == ("blocked", ())
    assert found.reasons == (f"the definition of {RUNS} on mtty_mtty cannot be read",)


def test_matrix_that_runs_is_compared_by_its_numbers() -> None:
    """Order and notation do not matter; a domain that is missing is assigned live."""
    attributes = '"assign_domain=0xab", "assign_domain=0x04", "assign_adapter=0x05"'
    mdev = f"""{MATRIX}[[card.mdevs]]
uuid = "6b8a0c39-7b3f-4a0e-b9b6-2f3f1c9d0a01"
type = "vfio_ap-passthrough"
define = false
attributes = [{attributes}, "assign_control_domain=171"]
"""
    assert differs("s390x-ap-ccw", mdev).state == "in-sync"
    found = differs("s390x-ap-ccw", mdev.replace("0xab", "0xac"))
    [modify] = found.differences
    assert isinstance(modify, ModifyMdev)
    assert (modify.definition, modify.live) == (False, True)


# -- what is not named ------------------------------------------------------------------------


def test_what_is_not_named_goes_last() -> None:
    """Where there is no room, it goes first, and what is missing comes later."""
    text = f'{L40S}vgpus = [{{ type = "1150", count = 2 }}]\nremove_unnamed = true\n'
    found = differs("vgpu-vendor-vfio", text)
    assert [type(one) for one in found.differences] == [CreateVgpus, RemoveVgpu, RemoveVgpu]
    text = f'{A2}vgpus = [{{ type = "A2-8Q", count = 2 }}]\nremove_unnamed = true\n'
    found = differs("vgpu-sriov", text)
    assert [type(one) for one in found.differences] == [RemoveVgpu, RemoveVgpu]
    assert found.later == ("create 2 x A2-8Q",)


@pytest.mark.parametrize("unread", ["one", "every"])
def test_mdev_whose_type_has_no_name_now_is_not_taken_for_another(unread: str) -> None:
    """The other functions have the name; if none has, nothing of that type is removed."""
    devices = []
    for one in snapshot_of("vgpu-sriov"):
        mdev, parent = one.capability(MdevChild), one.capability(MdevParent)
        if mdev is not None and mdev.uuid == FIRST and mdev.mdev_type is not None:
            mdev = replace(mdev, mdev_type=replace(mdev.mdev_type, name=None))
            one = replace(one, capabilities=(mdev,))
        elif parent is not None and unread == "every":
            types = [
                replace(kind, name=None) if kind.id == "nvidia-746" else kind
                for kind in parent.types
            ]
            others = [each for each in one.capabilities if each is not parent]
            one = replace(one, capabilities=(*others, replace(parent, types=tuple(types))))
        devices.append(one)
    name = "A2-4Q" if unread == "one" else "A2-4A"
    text = f'{A2}remove_unnamed = true\nvgpus = [{{ type = "{name}" }}]\n'
    found = differs(Snapshot(devices), text)
    removed = [one.name for one in found.differences if isinstance(one, RemoveVgpu)]
    assert removed == [f"mdev_{LAST.replace('-', '_')}"]
    assert ("write the ID" in " ".join(found.reasons)) == (unread == "every")


def test_what_is_open_or_belongs_to_somebody_stays() -> None:
    """The process, or the owner, is named."""
    text = f"{L40S}remove_unnamed = true\n"
    path = snapshot_of("vgpu-vendor-vfio").lookup("pci_0000_26_00_5").path or ""
    facts = opened("pci_0000_26_00_4", claimed={path: "the client vm-7"})
    found = differs("vgpu-vendor-vfio", text, facts)
    assert [step_words(one) for one in found.differences] == [
        "remove the vGPU pci_0000_26_00_6 (1155)"
    ]
    assert found.reasons == (
        "what is not named cannot be removed: pci_0000_26_00_4 is open in qemu (process 42)",
        "what is not named cannot be removed: pci_0000_26_00_5 belongs to the client vm-7",
    )
    assert differs("vgpu-vendor-vfio", L40S, facts).state == "in-sync"


def test_mdev_that_is_named_stays_also_if_it_cannot_be_where_it_is_wanted() -> None:
    """The function 1 is registered no more."""
    snapshot = snapshot_of("vgpu-sriov")
    function = snapshot.lookup("0000:08:00.5")
    without = tuple([one for one in function.capabilities if not isinstance(one, MdevParent)])
    others = [one for one in snapshot if one is not function]
    text = f'{A2}mdevs = [{{ uuid = "{FIRST}", type = "A2-4Q", function = 1 }}]\n'
    found = differs(
        Snapshot([*others, replace(function, capabilities=without)]),
        f"{text}remove_unnamed = true\n",
    )
    [removed] = found.differences
    assert isinstance(removed, RemoveVgpu)
    assert removed.name == f"mdev_{LAST.replace('-', '_')}"
    assert found.reasons == ("it has no virtual function 1 that can hold a vGPU",)


def test_card_that_two_entries_mean_is_left_as_it_is() -> None:
    """By its address and by its model, which no file alone shows."""
    model = '[[card]]\nvendor = "0x10de"\nproduct = "0x25b6"\nvgpus = [{ type = "A2-4A" }]\n'
    layout = declared([("a.toml", A2), ("b.toml", model)]).layout
    first, second = compare_layout(layout, snapshot_of("vgpu-sriov"))
    assert (first.state, second.state) == ("blocked", "blocked")
    assert first.reasons == ("b.toml:1 wants pci_0000_08_00_0, too; name each card in one entry",)
    assert second.differences == ()


def test_every_card_of_a_model_is_compared() -> None:
    """Two L40S with 32 functions at the most: one has 8 already, the other one cannot have 8."""
    text = '[[card]]\nvendor = "0x10de"\nproduct = "0x26b9"\nvirtual_functions = 8\n'
    layout = declared([("a.toml", text)]).layout
    states = {
        one.card: one.state for one in compare_layout(layout, snapshot_of("vgpu-vendor-vfio"))
    }
    assert states == {"pci_0000_26_00_0": "in-sync", "pci_0000_5e_00_0": "blocked"}
