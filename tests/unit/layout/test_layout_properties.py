"""Random layouts on random cards: what differs is put right, round by round, or said why not."""

from __future__ import annotations

from collections import Counter
from random import Random
from typing import Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nodedevd.kinds.shared.mdevctl import MdevAttribute
from nodedevd.layout.compare import compare
from nodedevd.layout.difference import Difference
from nodedevd.layout.wanted import Match, WantedCard, WantedMdev, WantedVgpus
from tests.support.played_layout import (
    CARD,
    HOST_DRIVER,
    Defined,
    Held,
    PlayedHost,
    Refused,
)
from tests.support.search import examples

pytestmark = pytest.mark.exhaustive

SEEDS = st.integers(0, 1 << 32).map(Random)
ROUNDS = 30
"""More than a layout needs: functions, drivers, removals, vGPUs, a few that are refused, and two
rounds for each mdev that is made anew."""
UUIDS = [f"00000000-0000-4000-8000-{number:012}" for number in range(10)]
ATTRIBUTES = (MdevAttribute("a", "1"),)


def played_host(random: Random) -> PlayedHost:
    """Return a card with some vGPUs and definitions on it."""
    framework = random.choice(["mdev", "mdev", "vendor-vfio", "none"])
    maximum = 0 if framework == "mdev" and random.random() < 0.4 else random.choice([2, 4, 9])
    host = PlayedHost(
        framework=framework,  # type: ignore[arg-type]
        maximum=maximum,
        sizes=random.choice([[1, 2], [2, 4, 8], [3]]),
        memory=random.choice([4, 8, 16]),
        equal_sizes=random.random() < 0.3,
        counted=random.random() < 0.5,
    )
    enabled = random.choice([0, maximum, random.randint(0, maximum)])
    host.functions = [
        random.choice([HOST_DRIVER, HOST_DRIVER, "vfio-pci", None])
        if framework == "none"
        else HOST_DRIVER
        for _ in range(enabled)
    ]
    if framework == "none":
        return host
    places: list[int | None] = [None] * 3 if not maximum else list(range(enabled))
    for function in random.sample(places, random.randint(0, len(places))):
        kind = random.randrange(len(host.sizes))
        if host.has_room(function, kind):
            known = {one.uuid for one in host.every()}
            uuid = random.choice([one for one in UUIDS if one not in known])
            host.held.setdefault(function, []).append(
                Held(
                    kind,
                    uuid if framework == "mdev" else None,
                    open=random.random() < 0.2,
                    claimed=random.random() < 0.1,
                    placement=random.choice([None, 0, 1]) if framework == "vendor-vfio" else None,
                )
            )
    if framework == "mdev" and places:
        for uuid in random.sample(UUIDS, random.randint(0, 3)):
            kind = random.randrange(len(host.sizes))
            host.definitions[random.choice(places), uuid] = Defined(kind, random.random() < 0.5)
    return host


def wanted_card(host: PlayedHost, random: Random) -> WantedCard:
    """Return what somebody may want of a card, sensible or not."""
    number: int | Literal["all"] | None = random.randint(0, host.maximum)
    number = random.choice([None, None, "all", number]) if host.maximum else None
    usable = number if isinstance(number, int) else host.maximum
    spare = random.choice([0, 0, 1])
    kinds = [host.type_id(kind) for kind in range(len(host.sizes))]
    vgpus: list[WantedVgpus] = []
    mdevs: list[WantedMdev] = []
    free = list(range(max(0, usable - spare)))
    if host.framework != "none":
        for _ in range(random.randint(0, 2)):
            count = random.randint(1, 3)
            functions = (
                random.sample(free, count) if random.random() < 0.3 and len(free) > count else ()
            )
            free = [one for one in free if one not in functions]
            placed = host.framework == "vendor-vfio" and random.random() < 0.2
            placement = tuple(range(count)) if placed else ()
            vgpus.append(WantedVgpus(random.choice(kinds), count, placement, tuple(functions)))
    if host.framework == "mdev":
        held = [one.uuid for one in host.every() if one.uuid is not None]
        among = held if random.random() < 0.3 else [*held, *UUIDS[:3]]
        among = list(dict.fromkeys(among))
        for uuid in random.sample(among, min(len(among), random.randint(0, 3))):
            function = random.choice([None, *free[:1]])
            free = [one for one in free if one != function]
            mdevs.append(
                WantedMdev(
                    uuid,
                    random.choice(kinds),
                    function,
                    active=random.random() < 0.8,
                    define=(define := random.random() < 0.7),
                    autostart=random.choice([None, True, False]) if define else None,
                    attributes=random.choice([None, ATTRIBUTES]),
                )
            )
    return WantedCard(
        file="a.toml",
        line=1,
        match=Match(address=CARD),
        virtual_functions=number,
        driver="vfio-pci" if host.framework == "none" and number else None,
        vgpus=tuple(vgpus),
        mdevs=tuple(one for one in mdevs if one.active or one.define),
        spare=spare,
        remove_unnamed=random.random() < 0.5,
    )


def differs(host: PlayedHost, card: WantedCard) -> Difference:
    """Return how the card differs now."""
    [found] = compare(card, host.snapshot(), host.facts())
    return found


def put_right(host: PlayedHost, card: WantedCard) -> Difference:
    """Do what there is to do, round by round, until there is nothing; return the last answer."""
    for _ in range(ROUNDS):
        found = differs(host, card)
        assert (found.state == "drifted") == bool(found.differences)
        assert found.state == "in-sync" or found.differences or found.reasons
        if not found.differences:
            return found
        for one in found.differences:
            try:
                host.do(one)
            except Refused:  # two sizes do not fit together, which no attribute says
                break
    raise AssertionError(f"it never ends: {found}")


def assert_as_wanted(host: PlayedHost, card: WantedCard) -> None:
    """Compare the card itself with what is wanted of it."""
    if card.virtual_functions is not None:
        wanted = host.maximum if card.virtual_functions == "all" else card.virtual_functions
        assert len(host.functions) == wanted
    usable = len(host.functions) - card.spare
    if card.driver is not None:
        assert host.functions[:usable] == [card.driver] * usable
    places = {
        number: held for number, held in host.held.items() if number is None or number < usable
    }
    held = [one for some in places.values() for one in some]
    named = [one for one in card.mdevs if one.active]
    for mdev in card.mdevs:
        [active] = [one for one in held if one.uuid == mdev.uuid] if mdev.active else [None]
        assert active is None or host.type_id(active.type) == mdev.type
        if mdev.define:
            assert any(
                host.type_id(one.type) == mdev.type
                and mdev.autostart in (None, one.autostart)
                and mdev.attributes in (None, one.attributes)
                for (_, uuid), one in host.definitions.items()
                if uuid == mdev.uuid
            )
    uuids = {one.uuid for one in card.mdevs}
    types = Counter(host.type_id(one.type) for one in held if one.uuid not in uuids)
    for vgpus in card.vgpus:
        types[vgpus.type] -= vgpus.count
        for at, number in enumerate(vgpus.functions):
            [one] = host.held[number]
            assert host.type_id(one.type) == vgpus.type
            assert not vgpus.placement or one.placement == vgpus.placement[at]
    assert all(left >= 0 for left in types.values())
    if card.remove_unnamed and (card.vgpus or named):
        assert not any(types.values())


@settings(max_examples=examples(3))
@given(SEEDS)
def test_what_differs_is_put_right_or_said_why_not(random: Random) -> None:
    """It ends, touches nothing that is open or a client's, and then there is nothing to do."""
    host = played_host(random)
    card = wanted_card(host, random)
    kept = [one for one in host.every() if one.open or one.claimed]
    uuids = {one.uuid for one in card.mdevs} & {one.uuid for one in host.every()}
    functions = len(host.functions)
    found = put_right(host, card)
    assert [one for one in kept if one not in host.every()] == []
    if len(host.functions) == functions:
        assert uuids <= {one.uuid for one in host.every()}, "removed, and not made anew"
    if found.state == "in-sync":
        assert_as_wanted(host, card)
    assert differs(host, card) == found


@settings(max_examples=examples(1))
@given(SEEDS)
def test_layout_that_fits_comes_about_whatever_is_in_the_way(random: Random) -> None:
    """If nothing is open, and what is not named may be removed."""
    host = played_host(random)
    host.framework = "vendor-vfio" if host.framework == "none" else host.framework
    host.functions = [HOST_DRIVER] * len(host.functions)
    host.counted = True
    host.held = {
        number: [
            Held(one.type, one.uuid if host.framework == "mdev" else None, placement=one.placement)
            for one in held
        ]
        for number, held in host.held.items()
    }
    size = random.randrange(len(host.sizes))
    places = host.maximum or host.each
    count = min(host.memory // host.sizes[size], places)
    named = random.randint(0, count) if host.framework == "mdev" else 0
    mdevs = [
        WantedMdev(uuid, host.type_id(size), define=random.random() < 0.5)
        for uuid in random.sample(UUIDS, min(named, len(UUIDS)))
    ]
    count -= len(mdevs)
    card = WantedCard(
        file="a.toml",
        line=1,
        match=Match(vendor="0x1234", product="0x5678"),
        virtual_functions="all" if host.maximum else None,
        vgpus=(WantedVgpus(host.type_id(size), count),) if count else (),
        mdevs=tuple(mdevs),
        remove_unnamed=True,
    )
    assert put_right(host, card).state == "in-sync"
    assert_as_wanted(host, card)
