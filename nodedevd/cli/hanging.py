"""Hanging: prints which reads hang, for a command that goes on without them."""

from __future__ import annotations

from collections.abc import Sequence

import click

from nodedevd.model.status import UnansweredRead
from nodedevd.text import printable

_HANGING_SHOWN = 16


def report_hanging(reads: Sequence[UnansweredRead]) -> None:
    """Print which reads hang: what they would have shown is unknown."""
    for read in reads[:_HANGING_SHOWN]:
        click.echo(
            f"nodedevctl: left out, because a read has not returned: {printable(read.path)}",
            err=True,
        )
    if len(reads) > _HANGING_SHOWN:
        more = len(reads) - _HANGING_SHOWN
        click.echo(f"nodedevctl: {more} more reads have not returned", err=True)
