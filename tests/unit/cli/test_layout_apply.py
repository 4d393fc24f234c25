"""nodedevctl layout apply and status: what they print, and how they end."""

from __future__ import annotations

from pathlib import Path

import pytest
from msgspec.structs import replace

from nodedevd.actions.answers import (
    ControlStatus,
    LayoutCard,
    LayoutOutcome,
    NotApplied,
    Refusal,
)
from nodedevd.errors import CONTROL_INTERFACE, NoSuchDevice
from nodedevd.layout.problem import Problem
from nodedevd.varlink import encode_error, encode_reply
from tests.support.ctl import Ctl
from tests.support.hosts import unpacked
from tests.support.scripted import answering
from tests.unit.cli.test_changes import reply, state

A2 = LayoutCard(
    file="/etc/nodedevd/layout.d/a2.toml",
    line=2,
    entry="0000:3b:00.0",
    card="pci_0000_3b_00_0",
    state="in-sync",
    reasons=(),
    steps=("write 4 to /sys/devices/pci0000:3a/0000:3b:00.0/sriov_numvfs",),
    later=(),
    refusals=(),
)
REFUSED = Refusal(change="bind pci_0000_3b_00_4 to vfio-pci", code="made-by-other", detail="it is")
FAILED = Refusal(
    change="create 1 x a on b", code="step-failed", detail="EIO", left=("create c: EBUSY",)
)
PROBLEM = Problem(
    "/etc/nodedevd/layout.d/x.toml", 3, "vgpu", "unknown-key", "no key", "write vgpus"
)


def outcome(*cards: LayoutCard, dry_run: bool = False, **more: object) -> LayoutOutcome:
    """Return an answer of the service."""
    return LayoutOutcome(
        generation=9,
        dry_run=dry_run,
        cards=cards,
        problems=more.get("problems", ()),  # type: ignore[arg-type]
    )


@pytest.mark.parametrize(
    ("answer", "status"),
    [
        (outcome(A2), 0),
        (outcome(), 0),
        (outcome(replace(A2, state="pending")), 4),
        (outcome(A2, replace(A2, state="blocked", reasons=("it is open",))), 5),
        (outcome(replace(A2, state="blocked", refusals=(REFUSED,))), 5),
        (outcome(replace(A2, state="drifted", refusals=(replace(FAILED, left=()),))), 1),
        (outcome(replace(A2, state="drifted", refusals=(FAILED,))), 7),
        (outcome(replace(A2, state="drifted", refusals=(replace(REFUSED, code="card-busy"),))), 4),
        (outcome(A2, problems=(PROBLEM,)), 1),
        (outcome(replace(A2, state="blocked"), dry_run=True), 0),
        (outcome(A2, dry_run=True, problems=(PROBLEM,)), 1),
    ],
)
def test_exit_status_is_that_of_the_worst(
    answer: LayoutOutcome, status: int, tmp_path: Path
) -> None:
    """Of all cards; after a dry run, whether the files can be used."""
    given = ["--dry-run"] if answer.dry_run else []
    with answering(tmp_path, [reply(answer)]) as server:
        Ctl(["--socket", server.path]).run("layout", "apply", *given, status=status)


def test_apply_prints_what_was_done_and_what_was_not(tmp_path: Path) -> None:
    """Card by card, in 80 columns; problems of files on standard error."""
    missing = replace(A2, card=None, state="pending", steps=(), reasons=("there is no device",))
    blocked = replace(A2, state="drifted", refusals=(REFUSED, FAILED), later=("create a",))
    answer = outcome(A2, missing, blocked, problems=(PROBLEM,))
    with answering(tmp_path, [reply(answer)]) as server:
        found = Ctl(["--socket", server.path], columns=80).run(
            "layout", "apply", "--card", "x", "--timeout", "7", status=7
        )
        assert server.parameters(0) == {"card": "x", "wait_seconds": 7.0}
    assert found.stdout.splitlines() == [
        "pci_0000_3b_00_0: in-sync",
        "  1. write 4 to /sys/devices/pci0000:3a/0000:3b:00.0/sriov_numvfs",
        "0000:3b:00.0: pending",
        "  there is no device",
        "pci_0000_3b_00_0: drifted",
        "  1. write 4 to /sys/devices/pci0000:3a/0000:3b:00.0/sriov_numvfs",
        "  then create a",
        "  bind pci_0000_3b_00_4 to vfio-pci: it is",
        "  create 1 x a on b: EIO",
        "  NOT undone: create c: EBUSY",
    ]
    assert "x.toml:3: vgpu: no key; write vgpus" in found.stderr


def test_status_shows_what_differs_and_what_was_tried(tmp_path: Path) -> None:
    """The dry run of the service, and what it follows."""
    drifted = replace(A2, state="drifted")
    tried = NotApplied(
        entry=A2.entry, card=A2.card, state="drifted", detail="EIO", tries=2, waits=True
    )
    status: ControlStatus = state(not_applied=(tried,))
    with answering(tmp_path, [reply(outcome(drifted, dry_run=True)), reply(status)]) as server:
        out = Ctl(["--socket", server.path], columns=80).run("layout", "status", status=5).stdout
    assert out.splitlines()[:2] == [
        "STATE    ENTRY         CARD              FILE",
        "drifted  0000:3b:00.0  pci_0000_3b_00_0  /etc/nodedevd/layout.d/a2.toml:2",
    ]
    assert "  to do: write 4 to" in out
    assert "  tried again after 2 attempts: EIO" in out


def test_status_of_a_host_as_declared_is_success(tmp_path: Path) -> None:
    """It exits with 0."""
    with answering(tmp_path, [reply(outcome(A2)), reply(state())]) as server:
        Ctl(["--socket", server.path]).run("layout", "status")


def test_card_that_no_entry_names_is_an_error(tmp_path: Path) -> None:
    """With the names that are nearest."""
    error = encode_error(
        f"{CONTROL_INTERFACE}.{NoSuchDevice.__name__}", {"name": "x", "nearest": ["y"]}
    )
    with answering(tmp_path, [error]) as server:
        found = Ctl(["--socket", server.path]).run("layout", "apply", "--card", "x", status=1)
    assert "no device named 'x'" in found.stderr


def test_layout_of_another_host_is_planned_and_not_applied(tmp_path: Path) -> None:
    """By its own files; it cannot be changed."""
    unpacked("vgpu-sriov", tmp_path)
    directory = tmp_path / "etc/nodedevd/layout.d"
    directory.mkdir(parents=True)
    (directory / "a.toml").write_text(
        '[[card]]\naddress = "0000:08:00.0"\nvgpus = [{ type = "A2-4Q", count = 3 }]\n'
    )
    ctl = Ctl(["--sysroot", str(tmp_path)])
    out = ctl.out("layout", "apply", "--dry-run")
    assert out.startswith("pci_0000_08_00_0: drifted\n  1. create the mdev ")
    assert ctl.run("layout", "status", status=5).stdout.startswith("STATE")
    assert "cannot be changed" in ctl.run("layout", "apply", status=2).stderr


def test_answer_of_a_newer_service_is_understood(tmp_path: Path) -> None:
    """Members that it adds are ignored."""
    answer = b'{"generation":1,"dry_run":false,"cards":[],"problems":[],"more":1}'
    with answering(tmp_path, [encode_reply(answer)]) as server:
        out = Ctl(["--socket", server.path]).out("layout", "apply")
    assert out == "no file of the layout declares a card; see docs/layout.md\n"
