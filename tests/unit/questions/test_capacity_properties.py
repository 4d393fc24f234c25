"""fits against a played driver: it never promises, or denies, what the driver decides otherwise.

Cards in every mode are filled at random; see `tests/support/played_card.py`. For each type, `sure`
is at most what the driver lets be created, and `available` is at least that.
"""

from __future__ import annotations

from copy import deepcopy
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nodedevd.questions.fits import fits, types
from tests.support.played_card import (
    GpuInstances,
    PlayedCard,
    PlayedType,
    TimeSliced,
    readings,
)
from tests.support.search import examples

pytestmark = pytest.mark.exhaustive

MIG_CARDS: list[tuple[int, list[tuple[int, int, int, int]]]] = [
    # slices and memory of the card; slices, memory, memory slices, most of each profile
    (7, [(1, 5, 1, 7), (1, 10, 2, 4), (2, 10, 2, 3), (3, 20, 4, 2), (4, 20, 4, 1), (7, 40, 8, 1)]),
    (4, [(1, 6, 2, 4), (2, 12, 4, 2), (4, 24, 8, 1)]),
    (4, [(1, 24, 2, 4), (2, 48, 4, 2), (4, 96, 8, 1)]),
]
SEEDS = st.integers(0, 1 << 32).map(Random)
"""Plain random numbers: every mode, size and state is as likely as any other."""


def time_sliced(random: Random) -> TimeSliced:
    """Return an idle card; a type that takes all of it is always among its types."""
    memory = random.choice([8, 10, 16, 24, 40, 47, 48, 80, 94, 141])
    most = random.choice([4, 8, 16, 32])
    parts = [random.randint(1, min(20, memory)) for _ in range(random.randint(0, 4))]
    kinds = [
        PlayedType(f"{size}{letter}", size, min(most, memory // size))
        for size in sorted({memory, *(memory // part for part in parts)})
        for letter in random.choice(["Q", "C", "QC", "QA"])
    ]
    return TimeSliced(
        kinds,
        random.choice([1, 2, 4, 8, 16]),
        memory=memory,
        mixed=random.random() < 0.5,
        most_vgpus=most,
    )


def gpu_instances(random: Random) -> GpuInstances:
    """Return an idle card with a possible layout of GPU instances, perhaps none."""
    slices, profiles = random.choice(MIG_CARDS)
    sharing = random.random() < 0.5
    kinds = [
        PlayedType(f"{own}-{size // share}C", size // share, most * share, own, share)
        for own, size, _, most in profiles
        for share in ((1, 2, 4) if sharing and size % 4 == 0 else (1,))
    ]
    made: list[tuple[int, int]] = []
    left, memory = slices, 8
    for own, size, takes, most in random.choices(profiles, k=random.randint(0, 7)):
        if own <= left and takes <= memory and made.count((own, size)) < most:
            made.append((own, size))
            left, memory = left - own, memory - takes
    return GpuInstances(
        kinds, random.randint(1, 9), instances=made, one_type_each=random.random() < 0.5
    )


def fill(card: PlayedCard, random: Random) -> None:
    """Create vGPUs, and remove some; a few removals wait for a VM."""
    kinds = random.sample(card.types, random.randint(1, min(3, len(card.types))))
    for _ in range(random.choice([0, 0, 1, 2, 4, 8, 16])):
        card.create(random.choice(kinds), random.randrange(card.functions), random.choice)
    for one in list(card.held):
        fate = random.random()
        if fate < 0.2:
            card.held.remove(one)
        one.leaving = fate > 0.9


def create(card: PlayedCard, kind: PlayedType, count: int, random: Random) -> None:
    """Create vGPUs on any free functions, where the driver likes; none may fail."""
    played = deepcopy(card)
    for _ in range(count):
        free = [function for function in range(played.functions) if played.free(function)]
        assert played.create(kind, random.choice(free), random.choice)


def check(card: PlayedCard, random: Random, *, vendor_vfio: bool) -> None:
    """Compare every answer with what the driver lets be created."""
    snapshot = readings(
        card,
        vendor_vfio=vendor_vfio,
        descriptions=random.random() < 0.8,
        unreadable=frozenset(random.choices(range(card.functions), k=random.choice([0, 0, 0, 1]))),
        leaving_keep_types=random.random() < 0.5,
    )
    rows = {one.type_name: one for one in types(snapshot).types}
    for kind in card.types:
        creatable = card.creatable(kind)
        row = rows.get(f"NVIDIA X1-{kind.name}")
        if row is None:  # with vendor VFIO, where no function lists it
            unreadable = any(one.available is None for one in rows.values())
            assert vendor_vfio
            assert unreadable or not creatable
            continue
        assert row.sure <= creatable
        create(card, kind, row.sure, random)
        assert row.available is None or row.available >= creatable
        assert (row.reason is None) == bool(row.available or row.sure)
        for count in {1, 2, creatable, creatable + 1} - {0}:
            wanted = random.choice([f"x1_{kind.name}", f"NVIDIA X1-{kind.name}"])
            answer = fits(snapshot, wanted, count).answer
            assert answer != "yes" or count <= creatable
            assert answer != "no" or count > creatable


@settings(max_examples=examples(5))
@given(SEEDS)
def test_virtual_functions_that_share_memory(random: Random) -> None:
    """In equal-size and in mixed-size mode, which no attribute shows."""
    card = time_sliced(random)
    fill(card, random)
    check(card, random, vendor_vfio=random.random() < 0.3)


@settings(max_examples=examples(5))
@given(SEEDS)
def test_virtual_functions_of_a_card_in_mig_mode(random: Random) -> None:
    """Which GPU instances exist is shown by no attribute, either."""
    card = gpu_instances(random)
    fill(card, random)
    check(card, random, vendor_vfio=random.random() < 0.3)


@settings(max_examples=examples(1))
@given(SEEDS)
def test_physical_function_that_is_the_parent(random: Random) -> None:
    """One function takes all vGPUs, and its count is the answer."""
    card = time_sliced(random)
    card.functions, card.each, card.mixed = 1, card.memory, False
    fill(card, random)
    check(card, random, vendor_vfio=False)
