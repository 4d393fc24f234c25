"""Draw: pictures for clients, drawn once for as long as they are right."""

from __future__ import annotations

import msgspec
import pytest

from nodedevd.drawing.draw import draw
from nodedevd.drawing.request import Drawing, DrawRequest
from nodedevd.errors import NoSuchDevice
from nodedevd.host.facts import HostFacts
from nodedevd.host.processes import OpenFiles, Process, ProcessScan, Vm
from nodedevd.host.sysroot import Sysroot
from nodedevd.model.snapshot import Snapshot
from nodedevd.questions.in_use import VfioUsage
from nodedevd.server.varlink.pictures import KEPT, Known, Pictures, read_facts
from nodedevd.steps import finish
from tests.support.drawn import gpu_host, sample
from tests.support.hosts import host_file, snapshot_of

HOST = "vgpu-sriov"


def facts() -> HostFacts:
    """Read the facts of the sample host."""
    return read_facts(Sysroot(str(host_file(HOST))))


def known(
    snapshot: Snapshot | None = None,
    usage: VfioUsage | None = None,
    *,
    uid: int = 0,
    show_holders: bool = True,
) -> Known:
    """Return what a picture is made of, by a look of its own."""
    return Known(
        snapshot or snapshot_of(HOST),
        usage or VfioUsage(reason="other-host"),
        facts(),
        show_holders,
        uid,
    )


def test_reply_is_the_picture_of_the_command() -> None:
    """With the findings of doctor, and the title that the daemon gives."""
    reply = finish(Pictures(HOST).drawn_in_steps(known(), DrawRequest(width=640)))
    found = msgspec.json.decode(reply, type=Drawing)
    assert found == Drawing(1, draw(sample(HOST), DrawRequest(width=640)), 0)


def test_facts_that_were_not_read_leave_findings_out() -> None:
    """There is a picture all the same."""
    without = Known(snapshot_of(HOST), VfioUsage(reason="other-host"), None, show_holders=True)
    reply = finish(Pictures(HOST).drawn_in_steps(without, DrawRequest()))
    assert "nd-notes" not in msgspec.json.decode(reply, type=Drawing).svg.rpartition("</style>")[2]


def test_same_picture_is_drawn_once() -> None:
    """Another look that sees the same is no reason to draw it again; a change is."""
    pictures = Pictures(HOST)
    first = finish(pictures.drawn_in_steps(known(), DrawRequest()))
    assert finish(pictures.drawn_in_steps(known(), DrawRequest())) is first
    other = finish(pictures.drawn_in_steps(known(), DrawRequest(theme="dark")))
    assert other != first
    assert finish(pictures.drawn_in_steps(known(), DrawRequest())) is first
    newer = snapshot_of(HOST).numbered(2)
    assert finish(pictures.drawn_in_steps(known(newer), DrawRequest())) is not first
    assert b'"generation":2' in finish(pictures.drawn_in_steps(known(newer), DrawRequest()))


def test_pictures_that_are_kept_are_few() -> None:
    """And none after a time in which nobody asked for one."""
    pictures = Pictures(HOST)
    replies = [
        finish(pictures.drawn_in_steps(known(), DrawRequest(width=400 + number)))
        for number in range(KEPT + 1)
    ]
    last, first = DrawRequest(width=400 + KEPT), DrawRequest(width=400)
    assert finish(pictures.drawn_in_steps(known(), last)) is replies[-1]
    assert finish(pictures.drawn_in_steps(known(), first)) is not replies[0]
    assert pictures.age()
    assert not pictures.age()
    assert finish(pictures.drawn_in_steps(known(), last)) is not replies[-1]


def test_who_has_a_vgpu_open_is_shown_to_those_who_may_know() -> None:
    """A picture for one is never sent to another."""
    host = gpu_host(2, 4)
    pictures = Pictures("gpu-host")
    for show, named in ((True, True), (False, False), (True, True)):
        given = known(host.snapshot, host.usage, show_holders=show)
        reply = finish(pictures.drawn_in_steps(given, DrawRequest()))
        assert (b"guest-1-0" in reply) is named


def test_user_draws_one_picture_at_a_time() -> None:
    """Another call of the same user waits; one of another user, and after a client left, not."""
    pictures = Pictures(HOST)
    first = pictures.drawn_in_steps(known(uid=1000), DrawRequest())
    next(first)
    second = pictures.drawn_in_steps(known(uid=1000), DrawRequest(theme="dark"))
    for _ in range(1000):
        next(second)
    other = finish(pictures.drawn_in_steps(known(uid=1001), DrawRequest(theme="dark")))
    first.close()
    assert finish(second) is other


def test_change_meanwhile_is_not_kept_as_the_picture_of_another_state() -> None:
    """A picture that was begun before a change answers its own call alone."""
    pictures = Pictures(HOST)
    old = pictures.drawn_in_steps(known(uid=1), DrawRequest())
    next(old)
    newer = known(snapshot_of(HOST).numbered(2), uid=2)
    new = finish(pictures.drawn_in_steps(newer, DrawRequest()))
    assert b'"generation":1,' in finish(old)
    assert finish(pictures.drawn_in_steps(newer, DrawRequest())) is new


def test_processes_that_changed_make_another_picture() -> None:
    """A VM that opened a device, at the same generation."""
    host = gpu_host(1, 4)
    device = next(iter(host.snapshot))
    opened = OpenFiles(
        Process(1, "q", Vm("x", None)), frozenset(), frozenset({device.path or ""}), 0
    )
    pictures = Pictures("x")
    for files in ((), (opened,), ()):
        usage = VfioUsage({}, ProcessScan(files, 3, False))
        reply = finish(pictures.drawn_in_steps(known(host.snapshot, usage), DrawRequest()))
        assert pictures._state is not None
        assert pictures._state.processes == usage.processes
        assert msgspec.json.decode(reply, type=Drawing).unseen_processes == 3


def test_card_that_is_not_there_is_an_error_and_blocks_nobody() -> None:
    """The next call of the user is answered."""
    pictures = Pictures(HOST)
    with pytest.raises(NoSuchDevice):
        finish(pictures.drawn_in_steps(known(), DrawRequest(card="nope")))
    assert finish(pictures.drawn_in_steps(known(), DrawRequest()))
