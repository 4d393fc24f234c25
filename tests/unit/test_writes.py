"""What compares the writes of libvirt's clients in the VM: it can fail."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.running import REPOSITORY
from tests.vm.guest.writes.compare import compare
from tests.vm.guest.writes.differences import DIFFERENCES
from tests.vm.guest.writes.lives import Life, Outcome, Span, judge
from tests.vm.guest.writes.records import Answer, Noted

DOCUMENT = REPOSITORY / "docs/libvirt-clients.md"
UUID, RANDOM = "83b8f4f2-509f-382f-3c1e-e6bfe0fa0001", "00112233-4455-6677-8899-aabbccddee0{}"
DONE, REFUSED = Answer(0, "", ""), Answer(1, "", "error: refused")


def noted(**changed: Any) -> Noted:
    """Return what was noted of a call."""
    one = Noted("create: create", Answer(0, "a", ""), [("created", "mdev_x_y")], {}, ["+u"], [])
    return one._replace(**changed)


@pytest.mark.parametrize(
    "changed",
    [
        {"answer": Answer(1, "a", "")},
        {"answer": Answer(0, "a", "b")},
        {"events": []},
        {"files": {"mtty/u": "{}"}},
        {"active": []},
        {"astray": ["+active u"]},
    ],
)
def test_each_part_that_differs_is_found(changed: dict[str, Any]) -> None:
    """The call is named, and what is different."""
    (found,) = compare([noted()], [noted(**changed)], DIFFERENCES).unexplained
    assert found.splitlines()[:2] == ["create: create", f"  {next(iter(changed))}"]


def test_uuids_by_chance_are_the_same_by_their_order() -> None:
    """The first of one run is the first of the other, and another one is not."""
    first, second = (
        [noted(active=[f"+{RANDOM.format(one)}"]) for one in order] for order in ((1, 2), (3, 4))
    )
    assert compare(first, second, ()).unexplained == []
    again = [noted(active=[f"+{RANDOM.format(one)}"]) for one in (3, 3)]
    assert len(compare(first, again, ()).unexplained) == 1


def test_chosen_uuids_are_compared() -> None:
    """Those of the script are no other's."""
    ours, theirs = noted(active=[f"+{UUID}"]), noted(active=[f"+{UUID[:-1]}2"])
    assert len(compare([theirs], [ours], DIFFERENCES).unexplained) == 1


@pytest.mark.parametrize("row", sorted({one.row for one in DIFFERENCES}))
def test_difference_is_documented(row: str) -> None:
    """It is a row of the table."""
    assert f"\n| {row}" in DOCUMENT.read_text()


def listed(begun: float, ended: float, *lives: Life) -> tuple[None, Span]:
    """Return a list that had these mdevs."""
    return None, Span(begun, ended, Answer(0, "\n".join(one.name for one in lives), ""))


def test_what_was_shown_is_judged_by_its_time() -> None:
    """What may be shown or not while a call is in progress; before and after it counts."""
    life = Life(UUID, "mtty", Span(10, 11, DONE), Span(20, 21, DONE))
    for looks, ghosts, missing in (
        ([listed(1, 9, life)], 1, 0),
        ([listed(1, 9)], 0, 0),
        ([listed(9, 10.5), listed(9, 10.5, life)], 0, 0),
        ([listed(12, 19)], 0, 1),
        ([listed(12, 19, life)], 0, 0),
        ([listed(12, 20.5), listed(12, 20.5, life)], 0, 0),
        ([listed(22, 23, life)], 1, 0),
        ([listed(22, 23)], 0, 0),
    ):
        outcome = Outcome(lives=[life], looks=list(looks))
        judge(outcome)
        assert (len(outcome.ghosts), len(outcome.missing)) == (ghosts, missing), looks
        assert outcome.failed == []


def test_what_was_refused_leaves_what_was() -> None:
    """A destroy that failed leaves an mdev, a create that failed leaves none; both are counted."""
    stays = Life(UUID, "mtty", Span(1, 2, DONE), Span(3, 4, REFUSED))
    outcome = Outcome(lives=[stays], looks=[listed(5, 6)])
    judge(outcome)
    assert (outcome.missing, outcome.failed) == ([stays.name], ["error: refused"])
    never = Life(UUID, "mtty", Span(1, 2, REFUSED))
    outcome = Outcome(lives=[never], looks=[listed(5, 6)])
    judge(outcome)
    assert (outcome.missing, outcome.failed) == ([], ["error: refused"])


def test_xml_that_is_refused_needs_a_reason() -> None:
    """That there is no such device is one, and wrong if there is."""
    life = Life(UUID, "mtty", Span(1, 2, DONE))
    absent = Answer(1, "", "error: Node device not found: no node device with matching name 'x'")
    outcome = Outcome(lives=[life], looks=[(life.name, Span(3, 4, absent))])
    judge(outcome)
    assert (outcome.missing, outcome.failed) == ([life.name], [])
    outcome = Outcome(lives=[life], looks=[(life.name, Span(3, 4, REFUSED))])
    judge(outcome)
    assert (outcome.missing, outcome.failed) == ([], ["error: refused"])
