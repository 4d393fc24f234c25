"""fits: the room for a vGPU type, on sample hosts and on cards in every state."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from nodedevd.errors import NoSuchDevice, NoSuchType
from nodedevd.host.sysroot import Sysroot
from nodedevd.model.snapshot import Snapshot
from nodedevd.questions.fits import CardType, Fits, Types, fits, types
from nodedevd.questions.vgpus import find_type, vgpu_functions
from nodedevd.tree.read import scan
from tests.support.hosts import snapshot_of
from tests.support.nvidia import A2_TYPES, nvidia_types
from tests.support.trees import Tree

A2, L40S, L40S_IDLE, P40 = "08:00.0", "26:00.0", "5e:00.0", "16:00.0"


def card(found: Fits, address: str) -> CardType:
    """Return the answer for one card."""
    name = "pci_0000_" + address.translate(str.maketrans(":.", "__"))
    return next(one for one in found.cards if one.card == name)


def gist(one: CardType) -> tuple[int | None, int, int, int | None, str | None]:
    """Return available, sure, active, ceiling, reason."""
    return one.available, one.sure, one.active, one.ceiling, one.reason


def test_sum_over_functions_of_a_card_is_bounded_by_its_memory() -> None:
    """Fourteen functions report 1 each; two of four 4 GB vGPUs exist, so two fit."""
    snapshot = snapshot_of("vgpu-sriov")
    found = fits(snapshot, "NVIDIA A2-4Q", 2)
    assert (found.answer, len(found.cards)) == ("yes", 1)
    one = card(found, A2)
    assert gist(one) == (2, 2, 2, 4, None)
    assert [place.available for place in one.functions] == [1] * 14 + [0] * 2
    assert one.functions[0].name == "pci_0000_08_00_5"
    assert one.others == ()
    assert fits(snapshot, "NVIDIA A2-4Q", 3).answer == "no"


def test_types_of_the_same_size_share_the_memory() -> None:
    """A 4C takes as much memory as an existing 4Q."""
    one = card(fits(snapshot_of("vgpu-sriov"), "nvidia-754"), A2)
    assert gist(one) == (2, 2, 0, 4, None)
    assert one.others == ("NVIDIA A2-4Q",)


def test_type_of_another_size_is_kept_out_by_what_is_active() -> None:
    """The active types are named as the reason."""
    found = fits(snapshot_of("vgpu-sriov"), "A2-8Q")
    one = card(found, A2)
    assert (found.answer, one.reason, one.others) == (
        "no", "other-profile-active", ("NVIDIA A2-4Q",),
    )  # fmt: skip


def test_physical_function_that_is_the_parent_is_taken_at_its_word() -> None:
    """With one function, the count of the driver is the answer."""
    snapshot = snapshot_of("vgpu-two-generations")
    assert gist(card(fits(snapshot, "GRID P40-8C", 2), P40)) == (2, 2, 1, 3, None)
    assert fits(snapshot, "GRID P40-8C", 2).answer == "yes"
    assert fits(snapshot, "GRID P40-8C", 3).answer == "no"


def test_cards_of_two_generations_answer_side_by_side() -> None:
    """Each card answers by its own framework, with its own reason."""
    found = fits(snapshot_of("vgpu-two-generations"), "l40s-4q")
    assert found.answer == "yes"
    assert [(one.card, one.reason) for one in found.cards] == [
        ("pci_0000_26_00_0", None),
        ("pci_0000_16_00_0", "not-offered"),
    ]
    assert {place.framework for place in found.cards[0].functions} == {"vendor-vfio"}
    older = fits(snapshot_of("vgpu-two-generations"), "GRID P40-8C")
    assert [(one.card, one.reason) for one in older.cards] == [
        ("pci_0000_16_00_0", None),
        ("pci_0000_26_00_0", "not-offered"),
    ]
    assert {place.framework for place in older.cards[0].functions} == {"mdev"}


def test_without_a_ceiling_one_is_sure_and_more_are_not() -> None:
    """With vendor VFIO, five functions list the type; how many fit together is unknown."""
    snapshot = snapshot_of("vgpu-vendor-vfio")
    assert gist(card(fits(snapshot, "NVIDIA L40S-4Q"), L40S)) == (5, 1, 1, None, None)
    assert fits(snapshot, "NVIDIA L40S-4Q", 1).answer == "yes"
    assert fits(snapshot, "NVIDIA L40S-4Q", 5).answer == "perhaps"
    assert fits(snapshot, "NVIDIA L40S-4Q", 6).answer == "no"


def test_profile_that_no_function_lists_is_not_called_unknown_to_the_host() -> None:
    """It may only not fit beside the active ones, so this is no error."""
    found = fits(snapshot_of("vgpu-vendor-vfio"), "NVIDIA L40S-24Q")
    assert found.answer == "no"
    one = card(found, L40S)
    assert (one.reason, one.others) == (
        "not-listed",
        ("NVIDIA L40S-2Q", "NVIDIA L40S-4Q", "1155"),
    )


def test_card_without_virtual_functions_says_so() -> None:
    """The types are unknown until virtual functions are enabled."""
    one = card(fits(snapshot_of("vgpu-vendor-vfio"), "NVIDIA L40S-4Q"), L40S_IDLE)
    assert (gist(one), one.functions) == ((0, 0, 0, None, "no-vf-enabled"), ())


def test_network_card_without_virtual_functions_is_no_vgpu_card() -> None:
    """SR-IOV alone does not make a vGPU card."""
    assert {one.card for one in fits(snapshot_of("vgpu-sriov"), "A2-4Q").cards} == {
        "pci_0000_08_00_0"
    }


@pytest.mark.parametrize("wanted", ["no-such-type", "NVIDIA A2-3Q", "", "x" * 10_000])
def test_type_that_no_device_offers_is_an_error_with_offered_types(wanted: str) -> None:
    """A misspelled type is not answered with "no"."""
    with pytest.raises(NoSuchType) as caught:
        fits(snapshot_of("vgpu-sriov"), wanted)
    assert len(caught.value.nearest) == 5
    assert set(caught.value.nearest) <= {f"NVIDIA A2-{row[1]}" for row in A2_TYPES}


def test_nearest_types_are_those_that_differ_least() -> None:
    """A misspelled size, and a product that the host does not have."""
    with pytest.raises(NoSuchType) as caught:
        fits(snapshot_of("vgpu-sriov"), "A2-3Q")
    assert set(caught.value.nearest[:4]) <= {f"NVIDIA A2-{size}Q" for size in (1, 2, 4, 8)}
    with pytest.raises(NoSuchType) as caught:
        fits(snapshot_of("vgpu-two-generations"), "A2-8Q")
    assert caught.value.nearest[0] == "NVIDIA L40S-8Q"


def test_host_without_vgpus_has_no_type_at_all() -> None:
    """The error says what to do next."""
    with pytest.raises(NoSuchType, match="or any other; see `nodedevctl types`") as caught:
        fits(snapshot_of("empty"), "nvidia-1")
    assert caught.value.nearest == ()


def test_sample_drivers_are_answered_as_any_other() -> None:
    """A parent need not be a card."""
    found = fits(snapshot_of("samples"), "Single port serial", 21)
    assert (found.answer, found.cards[0].card) == ("yes", "mtty_mtty")
    assert fits(snapshot_of("samples"), "mtty-1", 22).answer == "no"


# Cards of other states

Build = Callable[..., Snapshot]


def a2(
    tree: Tree,
    active: dict[str, int],
    available: dict[str, int | str],
    functions: int = 4,
    descriptions: bool = True,
) -> Snapshot:
    """Build an A2 whose functions offer these types, with these mdevs on the first ones."""
    pf = "0000:08:00.0"
    tree.pci(pf, vendor=0x10DE, device=0x25B6, class_=0x030200, driver="nvidia")
    vfs = [f"0000:08:{number >> 3:02x}.{number & 7}" for number in range(1, 1 + functions)]
    for vf in vfs:
        tree.pci(vf, vendor=0x10DE, device=0x25B6, class_=0x030200, driver="nvidia")
        for type_id, name, description in nvidia_types("NVIDIA A2", A2_TYPES):
            size = name.removeprefix("NVIDIA A2-")
            if size in active or size in available:
                tree.mdev_type(
                    vf, type_id, name=name, available=available.get(size, 0),
                    description=description if descriptions else None,
                )  # fmt: skip
        tree.mdev_parent(vf)
    tree.sriov(pf, vfs)
    ids = {name.removeprefix("NVIDIA A2-"): key for key, name, _ in nvidia_types(
        "NVIDIA A2", A2_TYPES)}  # fmt: skip
    number = 0
    for size, count in active.items():
        for _ in range(count):
            tree.mdev(vfs[number], f"00000000-0000-4000-8000-{number:012}", ids[size])
            number += 1
    return scan(Sysroot())


def test_card_that_is_full_of_the_type_is_full(tree: Tree) -> None:
    """No other type is active."""
    found = fits(a2(tree, {"8Q": 2}, {}), "A2-8Q")
    assert (found.answer, gist(card(found, A2))) == ("no", (0, 0, 2, 2, "full"))


def test_driver_that_reports_none_available_without_reason_is_quoted(tree: Tree) -> None:
    """No reason is invented."""
    assert gist(card(fits(a2(tree, {}, {"8Q": 0}), "A2-8Q"), A2)) == (
        0, 0, 0, 2, "none-available",
    )  # fmt: skip


def test_mixed_sizes_bound_the_room_and_promise_only_one(tree: Tree) -> None:
    """8 of 16 GB are in use, and the rest may be fragmented."""
    snapshot = a2(tree, {"4Q": 1, "2Q": 2}, {"2Q": 1, "4Q": 1}, functions=8)
    assert gist(card(fits(snapshot, "A2-4Q"), A2)) == (2, 1, 1, 4, None)
    assert fits(snapshot, "A2-4Q", 2).answer == "perhaps"
    assert fits(snapshot, "A2-4Q", 3).answer == "no"


def test_types_without_descriptions_promise_only_one(tree: Tree) -> None:
    """The ceiling is in the description only."""
    found = fits(a2(tree, {}, {"4Q": 1}, descriptions=False), "A2-4Q", 2)
    assert (found.answer, gist(card(found, A2))) == ("perhaps", (4, 1, 0, None, None))


def test_available_count_of_the_driver_wins_over_the_memory(tree: Tree) -> None:
    """The driver's count wins over the computed room."""
    assert gist(card(fits(a2(tree, {"8Q": 2}, {"8Q": 1}), "A2-8Q"), A2)) == (1, 1, 2, 2, None)


def test_count_that_cannot_be_read_is_unknown_and_not_none(tree: Tree) -> None:
    """The answer is perhaps, not no."""
    found = fits(a2(tree, {}, {"8Q": "?"}), "A2-8Q")
    assert (found.answer, gist(card(found, A2))) == ("perhaps", (None, 0, 0, 2, "unknown"))


def test_function_whose_list_is_missing_is_unknown(tree: Tree) -> None:
    """The same holds for vendor VFIO; the type is not reported as missing."""
    tree.pci(
        "0000:26:00.4", vendor=0x10DE, device=0x26B9, class_=0x030200,
        attributes={"nvidia/current_vgpu_type": 0},
    )  # fmt: skip
    found = fits(scan(Sysroot()), "L40S-4Q")
    assert (found.answer, [one.reason for one in found.cards]) == ("perhaps", ["unknown"])


def test_profile_that_cannot_be_read_leaves_the_function_unknown(tree: Tree) -> None:
    """A profile may be set, and then no other can be."""
    tree.pci(
        "0000:26:00.4", vendor=0x10DE, device=0x26B9, class_=0x030200,
        attributes={
            "nvidia/current_vgpu_type": "?",
            "nvidia/creatable_vgpu_types": "1150  : NVIDIA L40S-4Q",
        },
    )  # fmt: skip
    snapshot = scan(Sysroot())
    found = fits(snapshot, "L40S-4Q")
    assert (found.answer, [one.reason for one in found.cards]) == ("perhaps", ["unknown"])
    assert [offer.available for one in vgpu_functions(snapshot) for offer in one.offers] == [None]


def test_function_that_holds_a_profile_offers_no_other(tree: Tree) -> None:
    """This holds even if the driver still lists some."""
    tree.pci(
        "0000:26:00.4", vendor=0x10DE, device=0x26B9, class_=0x030200,
        attributes={
            "nvidia/current_vgpu_type": 1148,
            "nvidia/creatable_vgpu_types": "1148  : NVIDIA L40S-2Q\n1150  : NVIDIA L40S-4Q",
        },
    )  # fmt: skip
    (function,) = vgpu_functions(scan(Sysroot()))
    assert [(one.id, one.available, one.active) for one in function.offers] == [
        ("1148", 0, 1),
        ("1150", 0, 0),
    ]


def test_gvtg_without_names_is_asked_for_by_the_name_it_would_have() -> None:
    """That is the name of Linux 6.1."""
    found = fits(snapshot_of("igpu-gvtg"), "GVTg_V5_4")
    assert (found.answer, found.cards[0].reason, found.cards[0].active) == ("no", "full", 1)


def test_answer_reads_back_from_json(tmp_path: Path) -> None:
    """A client decodes the same answer."""
    found = fits(snapshot_of("vgpu-vendor-vfio"), "NVIDIA L40S-4Q", 2)
    assert msgspec.json.decode(msgspec.json.encode(found), type=Fits) == found


# GPU instances


MIG = "41:00.0"


def test_mig_backed_types_are_counted_in_gpu_instances() -> None:
    """An instance of three slices is in use, and four slices are left, whatever their memory."""
    snapshot = snapshot_of("a100-mig")
    one = card(fits(snapshot, "A100-1-5C", 4), MIG)
    assert gist(one) == (4, 1, 0, 7, None)
    assert fits(snapshot, "A100-1-5C", 1).answer == "yes"
    assert fits(snapshot, "A100-1-5C", 4).answer == "perhaps"
    assert fits(snapshot, "A100-1-5C", 5).answer == "no"


@pytest.mark.parametrize("wanted", ["A100-2-10C", "A100-3-20C", "A100-1-5CME"])
def test_mig_backed_type_without_a_free_instance_says_so(wanted: str) -> None:
    """An instance has to be made first, or is in use."""
    one = card(fits(snapshot_of("a100-mig"), wanted), MIG)
    assert (one.available, one.sure, one.reason) == (0, 0, "no-gpu-instance")


def mig(tree: Tree, listed: str, current: int = 0) -> Snapshot:
    """Build a card with vendor VFIO whose two functions list these types."""
    pf, vfs = "0000:c8:00.0", ["0000:c8:00.4", "0000:c8:00.5"]
    tree.pci(pf, vendor=0x10DE, device=0x2BB5, class_=0x030200, driver="nvidia")
    for number, vf in enumerate(vfs):
        held = 0 if number else current
        tree.pci(
            vf, vendor=0x10DE, device=0x2BB5, class_=0x030200, driver="nvidia",
            attributes={
                "nvidia/current_vgpu_type": held,
                "nvidia/creatable_vgpu_types": "ID : vGPU Name" + ("" if held else listed),
            },
        )  # fmt: skip
    tree.sriov(pf, vfs)
    return scan(Sysroot())


BLACKWELL = "\n1562 : NVIDIA RTX Pro 6000 Blackwell DC-1-3Q"


@pytest.mark.parametrize(
    "wanted", ["DC-1-3Q", "nvidia-1562", "1562", "rtx pro 6000 blackwell dc-1-3q"]
)
def test_mig_backed_profile_is_sure_once(tree: Tree, wanted: str) -> None:
    """How many vGPUs an instance takes, and how many instances exist, is shown by nothing."""
    (one,) = fits(mig(tree, BLACKWELL), wanted).cards
    assert gist(one) == (2, 1, 0, None, None)


def test_card_in_mig_mode_without_instances_says_so(tree: Tree) -> None:
    """It lists nothing, so any type of NVIDIA may be one of its own; another name is none."""
    snapshot = mig(tree, "")
    assert [one.reason for one in fits(snapshot, "DC-1-3Q").cards] == ["none-creatable"]
    assert [one.reason for one in types(snapshot).types] == ["none-creatable"]
    with pytest.raises(NoSuchType):
        fits(snapshot, "GVTg_V5_4")


def test_type_of_an_instance_that_does_not_exist_is_not_listed(tree: Tree) -> None:
    """A card in MIG mode lists the types of its instances alone, and may have others."""
    snapshot = mig(tree, BLACKWELL)
    assert [one.reason for one in fits(snapshot, "DC-2-6Q").cards] == ["not-listed"]
    assert [one.reason for one in fits(snapshot, "1565").cards] == ["not-listed"]
    with pytest.raises(NoSuchType):
        fits(snapshot, "L40S-2Q")


def test_idle_card_with_vendor_vfio_lists_all_its_types(tree: Tree) -> None:
    """What it does not list does not exist, but for types of GPU instances."""
    snapshot = mig(tree, "\n1150 : NVIDIA L40S-4Q")
    for wanted in ("L40S-5Q", "1155", "nonsense"):
        with pytest.raises(NoSuchType):
            fits(snapshot, wanted)


# Cards that offer nothing


@pytest.mark.parametrize("driver", ["vfio-pci", None, "nvidia"])
def test_card_whose_functions_offer_nothing_says_why(tree: Tree, driver: str | None) -> None:
    """The types of the card are unknown, so a name that it may have is no error."""
    tree.pci("0000:ae:00.0", vendor=0x10DE, device=0x26B9, class_=0x030200, driver="nvidia")
    tree.pci("0000:ae:00.4", vendor=0x10DE, device=0x26B9, class_=0x030200, driver=driver)
    tree.sriov("0000:ae:00.0", ["0000:ae:00.4"])
    snapshot = scan(Sysroot())
    why = {
        "vfio-pci": "vfs-on-other-driver",
        None: "vfs-without-driver",
        "nvidia": "vfs-without-interface",
    }[driver]
    found = fits(snapshot, "L40S-4Q")
    assert (found.answer, [gist(one) for one in found.cards]) == ("no", [(0, 0, 0, None, why)])
    assert [(one.card, one.type, one.reason, one.driver) for one in types(snapshot).types] == [
        ("pci_0000_ae_00_0", None, why, driver)
    ]
    with pytest.raises(NoSuchType, match="or any other"):
        fits(snapshot, "nonsense")


# What the memory of a card holds


def card_of_48_gb(tree: Tree, active: str | None, available: dict[str, int]) -> Snapshot:
    """Build a card whose 8 functions report these counts, with a vGPU on the first one."""
    pf, vfs = "0000:3b:00.0", [f"0000:3b:01.{number}" for number in range(8)]
    most = {"1Q": 32, "8Q": 6, "24Q": 2, "48Q": 1}
    tree.pci(pf, vendor=0x10DE, device=0x2235, class_=0x030200, driver="nvidia")
    for vf in vfs:
        tree.pci(vf, vendor=0x10DE, device=0x2235, class_=0x030200, driver="nvidia")
        for size, count in most.items():
            text = f"framebuffer={int(size[:-1]) << 10}M, max_instance={count}"
            taken = vf == vfs[0] and active is not None
            tree.mdev_type(
                vf, f"nvidia-{size}", name=f"NVIDIA A40-{size}", description=text,
                available=0 if taken else available.get(size, 0),
            )  # fmt: skip
    tree.sriov(pf, vfs)
    if active is not None:
        tree.mdev(vfs[0], "00000000-0000-4000-8000-000000000000", f"nvidia-{active}")
    return scan(Sysroot())


def test_type_whose_number_is_limited_is_not_denied_by_memory(tree: Tree) -> None:
    """A card of 48 GB takes 32 of 1 GB: beside one of 24 GB there is memory for 24, not for 8."""
    snapshot = card_of_48_gb(tree, "24Q", {"1Q": 1, "8Q": 1, "24Q": 1})
    by_name = {one.type_name: (one.available, one.sure) for one in types(snapshot).types}
    assert by_name["NVIDIA A40-1Q"] == (7, 1)
    assert by_name["NVIDIA A40-8Q"] == (3, 1)


def test_idle_card_of_unknown_mode_holds_a_power_of_two_for_sure(tree: Tree) -> None:
    """In mixed-size mode, four of 8 GB fit, and in equal-size mode six."""
    snapshot = card_of_48_gb(tree, None, {"1Q": 1, "8Q": 1, "24Q": 1, "48Q": 1})
    by_name = {one.type_name: (one.available, one.sure) for one in types(snapshot).types}
    assert by_name["NVIDIA A40-8Q"] == (6, 4)
    assert by_name["NVIDIA A40-24Q"] == (2, 2)
    assert by_name["NVIDIA A40-1Q"] == (8, 8)


def test_card_that_refuses_smaller_vgpus_is_in_equal_size_mode(tree: Tree) -> None:
    """One of 8 GB exists, and five more fit for sure."""
    snapshot = card_of_48_gb(tree, "8Q", {"8Q": 1})
    by_name = {one.type_name: (one.available, one.sure) for one in types(snapshot).types}
    assert by_name["NVIDIA A40-8Q"] == (5, 5)


def test_one_unreadable_count_leaves_the_others(tree: Tree) -> None:
    """Three functions report one each; the fourth may take one more, unless the card is full."""
    snapshot = a2(tree, {}, {"4Q": 1, "8Q": 1})
    kinds = f"{tree.resolve('0000:08:00.1')}/mdev_supported_types"
    for kind in ("nvidia-746", "nvidia-747"):
        tree.file(f"{kinds}/{kind}/available_instances", "?\n")
    snapshot = scan(Sysroot())
    assert gist(card(fits(snapshot, "A2-4Q"), A2)) == (None, 3, 0, 4, None)
    assert gist(card(fits(snapshot, "A2-8Q"), A2)) == (2, 2, 0, 2, None)
    assert fits(snapshot, "A2-4Q", 4).answer == "perhaps"


# Mdevs that are being removed, or are only defined


def test_mdev_whose_removal_waits_for_a_vm_takes_its_capacity(tree: Tree) -> None:
    """The kernel takes its type and `remove` away first; its directory stays below the parent."""
    a2(tree, {"4Q": 2}, {"4Q": 1})
    uuid = "00000000-0000-4000-8000-000000000000"
    path = f"{tree.resolve('0000:08:00.1')}/{uuid}"
    tree.remove(f"{path}/mdev_type")
    tree.remove(f"{path}/remove")
    tree.remove(f"{tree.resolve('0000:08:00.1')}/mdev_supported_types/nvidia-746/devices/{uuid}")
    snapshot = scan(Sysroot())
    assert gist(card(fits(snapshot, "A2-4Q"), A2)) == (3, 1, 1, 4, None)
    functions = {one.device: one.untyped for one in vgpu_functions(snapshot)}
    assert functions["pci_0000_08_00_1"] == (uuid,)


def test_mdev_that_is_being_removed_is_the_reason_for_no_room(tree: Tree) -> None:
    """No vGPU of any type seems to exist, and none can be created."""
    tree.pci("0000:02:00.0", vendor=0x10DE, device=0x1B38, class_=0x030200, driver="nvidia")
    tree.mdev_type("0000:02:00.0", "nvidia-1", name="GRID P40-24Q", available=0)
    tree.mdev("0000:02:00.0", "00000000-0000-4000-8000-000000000000", None)
    assert [one.reason for one in fits(scan(Sysroot()), "P40-24Q").cards] == ["mdev-removing"]


def test_defined_mdevs_are_counted_by_card_and_type(tree: Tree) -> None:
    """Also where the card offers no vGPUs any more; those of absent parents belong to no card."""
    a2(tree, {}, {"4Q": 1, "8Q": 1})
    tree.definition("0000:08:00.1", "00000000-0000-4000-8000-00000000000a", "nvidia-746")
    tree.definition("0000:08:00.2", "00000000-0000-4000-8000-00000000000b", "nvidia-746")
    tree.definition("0000:09:00.1", "00000000-0000-4000-8000-00000000000c", "nvidia-746")
    tree.pci("0000:ae:00.0", vendor=0x10DE, device=0x26B9, class_=0x030200, driver="nvidia")
    tree.pci("0000:ae:00.4", vendor=0x10DE, device=0x26B9, class_=0x030200, driver="vfio-pci")
    tree.sriov("0000:ae:00.0", ["0000:ae:00.4"])
    tree.definition("0000:ae:00.4", "00000000-0000-4000-8000-00000000000d", "nvidia-1155")
    found = types(scan(Sysroot())).types
    assert [(one.card, one.type_name, one.defined) for one in found] == [
        ("pci_0000_08_00_0", "NVIDIA A2-4Q", 2),
        ("pci_0000_08_00_0", "NVIDIA A2-8Q", 0),
        ("pci_0000_ae_00_0", None, 1),
    ]


def test_definitions_of_the_time_before_vendor_vfio_are_of_the_same_type(tree: Tree) -> None:
    """nvidia-1155 and 1155 are one type, and both names are understood."""
    snapshot = mig(tree, "\n1155 : NVIDIA L40S-24Q")
    tree.definition("0000:c8:00.4", "00000000-0000-4000-8000-00000000000a", "nvidia-1155")
    snapshot = scan(Sysroot())
    (one,) = fits(snapshot, "nvidia-1155").cards
    assert (one.type, one.type_name, one.defined) == ("1155", "NVIDIA L40S-24Q", 1)


# Which cards are meant


def test_names_select_the_cards_of_functions_and_mdevs() -> None:
    """A name of no device is an error, and a device without a card selects none."""
    snapshot = snapshot_of("vgpu-two-generations")
    assert {one.card for one in types(snapshot, ["0000:26:00.5"]).types} == {"pci_0000_26_00_0"}
    (mdev,) = [one.name for one in snapshot.select(["mdev_child"])][:1]
    assert {one.card for one in types(snapshot, [mdev]).types} == {"pci_0000_16_00_0"}
    assert types(snapshot, ["computer"]).types == ()
    with pytest.raises(NoSuchDevice):
        types(snapshot, ["nope"])
    assert [one.card for one in fits(snapshot, "L40S-8Q", 1, ["0000:26:00.0"]).cards] == [
        "pci_0000_26_00_0"
    ]


def test_find_type_returns_the_offers_of_a_type_or_the_nearest_names() -> None:
    """An exact id is preferred to a name that means several types."""
    functions = list(vgpu_functions(snapshot_of("vgpu-two-generations")))
    assert {one.id for one in find_type(functions, "285")} == {"nvidia-285"}
    assert {one.device_api for one in find_type(functions, "l40s_8q")} == {"vfio-pci"}
    with pytest.raises(NoSuchType) as caught:
        find_type(functions, "L40S-9Q")
    assert caught.value.nearest[0].startswith("NVIDIA L40S-")


def test_types_read_back_from_json() -> None:
    """A client decodes the same answer."""
    found = types(snapshot_of("a100-mig"))
    assert msgspec.json.decode(msgspec.json.encode(found), type=Types) == found
