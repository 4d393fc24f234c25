"""A layout in the VM: its file, its unit, and what the host has of it."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from nodedevd.actions.answers import LayoutCard, LayoutOutcome
from nodedevd.client import Control
from tests.vm.guest import control, vm

UNIT = "nodedevd-layout.service"
FILE = Path("/etc/nodedevd/layout.d/10-test.toml")
SEEN = Path("/run/nodedevd/layout/cards")


def declare(text: str) -> None:
    """Write the file of the layout."""
    FILE.parent.mkdir(parents=True, exist_ok=True)
    FILE.write_text(text)


@contextmanager
def declared(text: str) -> Iterator[Control]:
    """Have a layout, and the service enabled."""
    declare(text)
    try:
        with control.enabled() as client:
            yield client
    finally:
        FILE.unlink()


@contextmanager
def followed(text: str) -> Iterator[Control]:
    """Have a layout that is followed, by the unit."""
    with declared(text) as client:
        vm.run("systemctl", "start", UNIT)
        try:
            yield client
        finally:
            vm.run("systemctl", "stop", UNIT)


def applied(client: Control, card: str | None = None) -> LayoutOutcome:
    """Apply the layout, which has no problems."""
    outcome = client.apply_layout(card=card)
    assert outcome.problems == ()
    return outcome


def in_sync(client: Control) -> None:
    """Apply the layout, with which the host is in sync then; a second time nothing is done."""
    for card in applied(client).cards:
        assert (card.state, card.refusals) == ("in-sync", ()), card
    assert [one.steps for one in applied(client).cards if one.steps] == []


def only(outcome: LayoutOutcome) -> LayoutCard:
    """Return what came of the only card."""
    (card,) = outcome.cards
    return card


def types(sample: str) -> list[str]:
    """Return the types of the mdevs that a sample driver's parent has, sorted."""
    return sorted(of for parent, of in control.active().values() if parent == sample)


def nodedevctl(*arguments: str, status: int = 0) -> str:
    """Run nodedevctl, which ends with this status; return what it prints."""
    done = subprocess.run(
        ["nodedevctl", *arguments], capture_output=True, text=True, timeout=vm.PATIENCE_SECONDS
    )
    assert done.returncode == status, (done.stdout, done.stderr)
    return done.stdout


def unload(module: str) -> None:
    """Unload a sample driver, with its mdevs."""
    vm.run("modprobe", "-r", module)
    vm.settle()


def nothing_left() -> None:
    """Remove the mdevs and definitions that a test has left."""
    with suppress(FileNotFoundError):
        FILE.unlink()
    vm.load_samples()
    vm.remove_mdevs()
