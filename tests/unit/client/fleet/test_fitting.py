"""Where vGPUs fit in a fleet, and in which order hosts are used."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nodedevd.client.fleet.fitting import Order, fleet_fits, fleet_types
from nodedevd.client.fleet.hosts import Host, Hosts
from nodedevd.errors import NoSuchType
from nodedevd.questions.fits import fits, types
from nodedevd.questions.summary import CardRoom, TypeName, TypeRoom
from tests.support.hosts import HOSTS, snapshot_of
from tests.unit.client.fleet.test_hosts import summary


def host(name: str, sure: int | None, *, state: str = "alive", active: int = 0) -> Host:
    """Return a host with one card that has room for so many; None is unknown."""
    room = TypeRoom("nvidia-1", sure, sure or 0, active)
    made = msgspec.structs.replace(
        summary(name),
        types={"nvidia-1": TypeName("NVIDIA A2-4Q")},
        cards=(CardRoom("card", types=(room,)),),
    )
    return Host(name, name, state, summary=made)  # type: ignore[arg-type]


def fleet(*hosts: Host) -> Hosts:
    """Return hosts as one answer."""
    return Hosts(0.0, False, hosts)


@pytest.mark.parametrize(
    ("order", "count", "places"),
    [
        ("spread", 1, {"c": 1}),
        ("spread", 3, {"c": 3}),
        ("spread", 5, {"c": 4, "b": 1}),
        ("spread", 8, {"c": 5, "b": 2, "a": 1}),
        ("spread", 99, {"c": 7, "b": 4, "a": 3}),
        ("pack", 1, {"a": 1}),
        ("pack", 3, {"a": 3}),
        ("pack", 4, {"b": 4}),
        ("pack", 6, {"c": 6}),
        ("pack", 9, {"c": 7, "b": 2}),
    ],
)
def test_hosts_are_used_in_order(order: Order, count: int, places: dict[str, int]) -> None:
    """Spread levels what is left; pack takes the host with the least room that suffices."""
    found = fleet_fits(
        fleet(host("a", 3), host("b", 4), host("c", 7), host("d", 0)), "a2-4q", count, order
    )
    assert {one.host: one.place for one in found.hosts if one.place} == places
    assert found.hosts[-1].host == "d"
    assert found.answer == ("yes" if count <= 14 else "no")


@given(
    st.lists(st.integers(0, 9), max_size=9), st.integers(1, 60), st.sampled_from(["spread", "pack"])
)
def test_places_are_as_many_as_wanted_and_none_beyond_the_room(
    rooms: list[int], count: int, order: Order
) -> None:
    """For any hosts."""
    hosts = [host(f"h{number}", room) for number, room in enumerate(rooms)]
    if not hosts:
        with pytest.raises(NoSuchType):
            fleet_fits(fleet(), "A2-4Q", count, order)
        return
    found = fleet_fits(fleet(*hosts), "A2-4Q", count, order)
    assert all(0 <= one.place <= one.sure for one in found.hosts)
    assert sum(one.place for one in found.hosts) == min(count, sum(rooms))
    left = [one.sure - one.place for one in found.hosts if one.place]
    if order == "spread" and left:
        assert max(one.sure - one.place for one in found.hosts) - min(left) <= 1


def test_host_that_is_not_alive_is_not_counted_and_named() -> None:
    """Because of it the answer is not no."""
    found = fleet_fits(fleet(host("a", 1), host("b", 9, state="gone")), "A2-4Q", 2)
    assert [one.host for one in found.hosts] == ["a"]
    assert [(one.host, one.state) for one in found.left_out] == [("b", "gone")]
    assert found.answer == "perhaps"
    assert fleet_fits(fleet(host("a", 1), host("b", 9, state="left")), "A2-4Q", 2).answer == "no"


def test_unknown_room_is_no_zero() -> None:
    """It may fit there."""
    found = fleet_fits(fleet(host("a", 1), host("b", None)), "A2-4Q", 2)
    assert (found.answer, found.hosts[1].available) == ("perhaps", None)
    assert fleet_types(fleet(host("a", 1), host("b", None))).types[0].unknown == 1


def test_type_that_nobody_offers_names_the_nearest() -> None:
    """As `fits` of one host does."""
    with pytest.raises(NoSuchType) as error:
        fleet_fits(fleet(host("a", 1)), "A2-8Q", 1)
    assert error.value.nearest == ("NVIDIA A2-4Q",)


@pytest.mark.parametrize("sample", HOSTS)
def test_fleet_of_one_host_answers_as_the_host(sample: str) -> None:
    """The counts of a summary are those of `fits` on the host, for each of its types."""
    snapshot = snapshot_of(sample)
    one = Host("a", "a", "alive", summary=summary("a", sample))
    for wanted in {row.type_name or row.type for row in types(snapshot).types if row.type}:
        alone = fits(snapshot, wanted, 1)
        offering = [card for card in alone.cards if card.type is not None]
        [found] = fleet_fits(fleet(one), wanted or "", 1).hosts
        assert found.sure == sum(card.sure for card in offering)
        assert found.active == sum(card.active for card in offering)
        known = [card.available for card in offering]
        assert found.available == (None if None in known else sum(n or 0 for n in known))
