"""fits: the room for a vGPU type, on sample hosts and on cards in every state."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from nodedevd.errors import NoSuchType
from nodedevd.host.sysroot import Sysroot
from nodedevd.model.snapshot import Snapshot
from nodedevd.questions.fits import CardType, Fits, fits
from nodedevd.questions.vgpus import vgpu_functions
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
