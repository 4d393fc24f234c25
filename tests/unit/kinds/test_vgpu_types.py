"""vgpu_types: real names and descriptions of types, with the facts of each."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nodedevd.kinds.shared.vgpu_types import (
    TypeFacts,
    normalised,
    parse_name,
    type_facts,
    type_matches,
)
from tests.support.nvidia import A2_TYPES, L40S_TYPES, P40_TYPES, nvidia_types

GIB, MIB = 1 << 30, 1 << 20

NAMES: list[tuple[str, int, str, int | None]] = [
    # name, nominal bytes, class, slices of a GPU instance
    ("GRID M60-0B", GIB // 2, "B", None),
    ("GRID M60-0Q", GIB // 2, "Q", None),
    ("GRID M10-0Q", GIB // 2, "Q", None),
    ("GRID M10-2B", 2 * GIB, "B", None),
    ("GRID P40-2B4", 2 * GIB, "B", None),
    ("GRID P40-1B4", 1 * GIB, "B", None),
    ("GRID P40-12C", 12 * GIB, "C", None),
    ("GRID V100D-8Q", 8 * GIB, "Q", None),
    ("GRID RTX6000P-24Q", 24 * GIB, "Q", None),
    ("NVIDIA A40-2Q", 2 * GIB, "Q", None),
    ("NVIDIA A2-16A", 16 * GIB, "A", None),
    ("NVIDIA RTX5000-Ada-4Q", 4 * GIB, "Q", None),
    ("NVIDIA RTX Pro 6000 Blackwell DC-48C", 48 * GIB, "C", None),
    ("NVIDIA RTX Pro 6000 Blackwell DC-2-48Q", 48 * GIB, "Q", 2),
    ("NVIDIA A100-1-5C", 5 * GIB, "C", 1),
    ("NVIDIA A100-1-5CME", 5 * GIB, "C", 1),
    ("NVIDIA A100-7-40C", 40 * GIB, "C", 7),
    ("NVIDIA H100XM-1-10CME", 10 * GIB, "C", 1),
    ("  NVIDIA A40-2Q  ", 2 * GIB, "Q", None),
    ("NVIDIA_A40-2Q", 2 * GIB, "Q", None),
]

NO_PROFILE = [
    "Single port serial",
    "VFIO AP Passthrough Device",
    "I/O subchannel (Non-QDIO)",
    "GVTg_V5_4",
    "mdpy-hd",
    "mbochs-small",
    "idxd-dsa-1dwq-v1",
    "GRID K120Q",
    "NVIDIA",
    "NVIDIA -4Q",
    "NVIDIA A40-Q",
    "NVIDIA A40-2q",
    "NVIDIA A40-2X",
    "NVIDIA L40S-48GB",
    "A40-2Q",  # nothing says that it is NVIDIA's
    "",
]


@pytest.mark.parametrize(("name", "size", "letter", "slices"), NAMES)
def test_name_of_nvidia_tells_size_class_and_slices(
    name: str, size: int, letter: str, slices: int | None
) -> None:
    """It is the end of the name that counts, whatever blanks, dashes and digits come before."""
    assert type_facts(name, None) == TypeFacts(
        nominal_bytes=size, class_letter=letter, gpu_instance_slices=slices
    )


@pytest.mark.parametrize("name", NO_PROFILE)
def test_other_name_tells_nothing(name: str) -> None:
    """Unknown text gives no fact."""
    assert type_facts(name, None) is None


@pytest.mark.parametrize(
    ("product", "rows"), [("NVIDIA A2", A2_TYPES), ("GRID P40", P40_TYPES)], ids=["A2", "P40"]
)
def test_real_descriptions_of_nvidia_give_every_field(
    product: str, rows: list[tuple[int, str, int, int, int, str, int]]
) -> None:
    """All types of two real cards, word for word as the host driver has them."""
    texts = nvidia_types(product, rows)
    for (_, name, description), row in zip(texts, rows, strict=True):
        _, suffix, heads, frame_rate, framebuffer, resolution, most = row
        assert type_facts(name, description) == TypeFacts(
            framebuffer_bytes=framebuffer * MIB,
            nominal_bytes=int(suffix[0 : 2 if suffix[1].isdigit() else 1]) * GIB,
            class_letter=suffix.lstrip("0123456789")[0],
            heads=heads,
            frame_rate_limit=frame_rate,
            max_resolution=resolution,
            max_instances=most,
        )


def test_real_names_of_an_l40s_all_have_size_and_class() -> None:
    """All profiles of a real card without mdevs, which have a name alone."""
    for _, suffix in L40S_TYPES:
        assert type_facts(f"NVIDIA L40S-{suffix}", None) == TypeFacts(
            nominal_bytes=int(suffix[:-1]) * GIB, class_letter=suffix[-1]
        )


@pytest.mark.parametrize("separator", ["\n", ", "], ids=["kernel", "mdevctl"])
def test_description_of_gvtg_gives_every_field(separator: str) -> None:
    """Five lines, which mdevctl prints as one."""
    lines = ["low_gm_size: 128MB", "high_gm_size: 512MB", "fence: 4", "resolution: 1920x1200"]
    assert type_facts(None, separator.join([*lines, "weight: 4"])) == TypeFacts(
        low_gm_bytes=128 * MIB,
        high_gm_bytes=512 * MIB,
        fences=4,
        max_resolution="1920x1200",
        weight=4,
    )


def test_description_alone_gives_what_it_says() -> None:
    """A name of another form does not affect the description."""
    text = "num_heads=4, frl_config=60, framebuffer=2048M, max_resolution=7680x4320, max_instance=8"
    assert type_facts("A2-2Q", text) == TypeFacts(
        framebuffer_bytes=2048 * MIB,
        nominal_bytes=2 * GIB,
        class_letter="Q",
        heads=4,
        frame_rate_limit=60,
        max_resolution="7680x4320",
        max_instances=8,
    )


@pytest.mark.parametrize(
    "description",
    [
        "virtual display, 640x480 framebuffer",
        "virtual display, 4 MB video memory",
        "heads=4, colour=blue",
        "num_heads=, frl_config=-1, framebuffer=lots, max_resolution=4K, max_instance=0x10",
        "num_heads=12345678901234567890",
        "",
        "=,:,\n\n=",
    ],
)
def test_description_that_is_not_understood_gives_nothing(description: str) -> None:
    """A value that makes no sense is no fact; the raw text is there to be looked at."""
    assert type_facts(None, description) is None


def test_odd_value_costs_its_own_fact_alone() -> None:
    """The other values are read."""
    found = type_facts(None, "num_heads=4, framebuffer=1O24M, max_instance=16, future=1")
    assert found == TypeFacts(heads=4, max_instances=16)


def test_fact_that_is_not_told_is_left_out_of_json() -> None:
    """Thousands of parents have a dozen types each: nulls would be most of the text."""
    data = msgspec.json.encode(type_facts("NVIDIA A40-2Q", None))
    assert data == b'{"nominal_bytes":2147483648,"class_letter":"Q"}'


def test_same_texts_give_the_same_object() -> None:
    """The types of a thousand parents are kept once."""
    assert type_facts("NVIDIA A40-2Q", "x") is type_facts("NVIDIA A40-2Q", "x")


@given(st.none() | st.text(), st.none() | st.text(max_size=5000))
def test_any_text_at_all_is_read_without_an_error(
    name: str | None, description: str | None
) -> None:
    """Drivers can write any text."""
    found = type_facts(name, description)
    assert found is None or found != TypeFacts()


@pytest.mark.parametrize("text", ["x" * 4096, " " * 4096, f"a={' ' * 4000}b"], ids=["x", " ", "="])
def test_long_texts_without_facts_are_read_fast(text: str) -> None:
    """A search that begins anew at every letter would take a tenth of a second for each."""
    for number in range(300):
        assert type_facts(None, f"{number} {text}") is None


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("GRID A40-2Q", "NVIDIA A40-2Q"),
        ("GRID T4-1Q", "GRID_T4-1Q"),
        ("NVIDIA RTX Pro 6000 Blackwell DC-48C", "nvidia rtx-pro-6000_blackwell dc-48c"),
        ("NVIDIA GRID A100-4Q", "a100-4q"),
        ("Single port serial", "single-port-serial"),
    ],
)
def test_names_that_differ_by_maker_blanks_and_case_are_one(one: str, other: str) -> None:
    """Releases renamed GRID to NVIDIA, and tools write blanks in their own ways."""
    assert normalised(one) == normalised(other)
    assert type_matches(other, "nvidia-1", one)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("NVIDIA A100-1-5C", "NVIDIA A100-15C"),
        ("NVIDIA A40-2Q", "NVIDIA A40-2B"),
        ("NVIDIA A4-02Q", "NVIDIA A40-2Q"),
        ("NVIDIA A100-1-5CME", "NVIDIA A100-1-5C"),
    ],
)
def test_names_of_different_types_stay_different(one: str, other: str) -> None:
    """Names of different types stay different."""
    assert normalised(one) != normalised(other)
    assert not type_matches(other, "nvidia-1", one)


@pytest.mark.parametrize(
    ("wanted", "type_id", "name"),
    [
        ("nvidia-746", "nvidia-746", "NVIDIA A2-4Q"),
        ("746", "nvidia-746", "NVIDIA A2-4Q"),
        ("NVIDIA 746", "nvidia-746", None),
        ("nvidia-1151", "1151", "NVIDIA L40S-8Q"),
        ("1151", "1151", None),
        ("L40S-8Q", "1151", "NVIDIA L40S-8Q"),
        ("GVTg_V5_4", "i915-GVTg_V5_4", None),
        ("i915-gvtg-v5-4", "i915-GVTg_V5_4", "GVTg_V5_4"),
        ("I/O subchannel (non-qdio)", "vfio_ccw-io", "I/O subchannel (Non-QDIO)"),
        ("vfio-ap-passthrough", "vfio_ap-passthrough", "VFIO AP Passthrough Device"),
        *[
            (wanted, "1562", "NVIDIA RTX Pro 6000 Blackwell DC-1-3Q")
            for wanted in ("DC-1-3Q", "dc_1_3q", "Blackwell DC-1-3Q", "6000 blackwell dc-1-3q")
        ],
    ],
)
def test_type_matches_by_id_name_and_short_form(
    wanted: str, type_id: str, name: str | None
) -> None:
    """The same type has an id for each framework, and names of several lengths."""
    assert type_matches(wanted, type_id, name)


@pytest.mark.parametrize(
    ("wanted", "type_id", "name"),
    [
        ("V5_4", "i915-GVTg_V5_4", None),
        ("46", "nvidia-746", "NVIDIA A2-4Q"),
        ("7460", "nvidia-746", "NVIDIA A2-4Q"),
        ("1", "mtty-1", "Single port serial"),
        ("4Q", "nvidia-746", "NVIDIA A2-4Q"),
        ("port serial", "mtty-1", "Single port serial"),
        ("1-3Q", "1562", "NVIDIA RTX Pro 6000 Blackwell DC-1-3Q"),
        ("C-1-3Q", "1562", "NVIDIA RTX Pro 6000 Blackwell DC-1-3Q"),
        ("", "nvidia-", "NVIDIA "),
    ],
)
def test_part_of_an_id_or_name_is_another_type(wanted: str, type_id: str, name: str | None) -> None:
    """A size alone does not name a type, and a number is read as a whole."""
    assert not type_matches(wanted, type_id, name)


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        ("NVIDIA L40S-8Q", ("l40s", False)),
        ("grid a100-1-5cme", ("a100", True)),
        ("NVIDIA RTX Pro 6000 Blackwell DC-1-3Q", ("rtx-pro-6000-blackwell-dc", True)),
        ("NVIDIA RTX6000-Ada-48Q", ("rtx6000-ada", False)),
        ("GVTg_V5_4", None),
        ("1151", None),
        ("4Q", None),
        ("x" * 5000 + "-4Q", None),
    ],
)
def test_name_has_a_product_and_a_size(name: str, parts: tuple[str, bool] | None) -> None:
    """All types of a card have the same product in their names."""
    assert parse_name(name) == parts


def test_text_longer_than_any_attribute_is_no_type_and_is_not_looked_through() -> None:
    """A client may send a lot of it, and there are thousands of types to compare it with."""
    before = normalised.cache_info().misses
    assert not type_matches("NVIDIA " + "A" * 5000, "nvidia-746", "A" * 4096)
    assert normalised.cache_info().misses == before
