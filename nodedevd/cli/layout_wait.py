"""layout_wait: the condition that a host offers what its layout declares."""

from __future__ import annotations

from collections.abc import Mapping

import click

from nodedevd.cli.layout_files import CAPABILITIES
from nodedevd.client import Condition
from nodedevd.host.sysroot import Sysroot
from nodedevd.layout.compare import compare_layout
from nodedevd.layout.difference import Difference
from nodedevd.layout.files import read_layout
from nodedevd.layout.wanted import Layout
from nodedevd.model.device import Device
from nodedevd.model.snapshot import Snapshot
from nodedevd.text import abbreviated


def as_declared(root: str) -> Condition:
    """Return the condition that all cards of a host are as the files of its layout declare.

    Raises ClickException for a file that cannot be used: its cards would never be.
    """
    declared = read_layout(Sysroot(root))
    if declared.problems:
        raise click.ClickException("\n".join(map(str, declared.problems)))
    return in_sync(declared.layout)


def in_sync(layout: Layout) -> Condition:
    """Return the condition that all cards of a layout are as it declares."""
    return Condition(
        lambda devices: not _others(layout, devices),
        "the layout of the host",
        capabilities=CAPABILITIES,
        inactive=True,
        state=lambda devices: _state(_others(layout, devices)),
    )


def _others(layout: Layout, devices: Mapping[str, Device]) -> list[Difference]:
    """Return the cards that are not as declared."""
    found = compare_layout(layout, Snapshot(devices.values()))
    return [one for one in found if one.state != "in-sync"]


def _state(others: list[Difference]) -> str:
    names = [f"{one.card or one.match} is {one.state}" for one in others]
    return f"{abbreviated(names)}; nodedevctl layout status shows why"
