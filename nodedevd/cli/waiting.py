"""waiting: shows on a terminal that a change takes its time."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import click

from nodedevd.text import printable

QUIET_SECONDS = 1.0
"""How long nothing is printed, and then how often."""


@contextmanager
def waiting(what: str) -> Iterator[None]:
    """Print on standard error, after a second, what is waited for and for how long.

    Nothing is printed if standard error is no terminal.
    """
    if not sys.stderr.isatty():
        yield
        return
    ended = threading.Event()
    thread = threading.Thread(target=_show, args=(printable(what), ended), daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def _show(what: str, ended: threading.Event) -> None:
    begin = time.monotonic()
    shown = False
    while not ended.wait(QUIET_SECONDS):
        shown = True
        click.echo(f"\r{what}: {time.monotonic() - begin:.0f} s", err=True, nl=False)
    if shown:
        click.echo("\r\x1b[K", err=True, nl=False)
