"""usage: errors of a command line, which repeat what was typed, in a form for terminals."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import click

from nodedevd.text import printable


@contextmanager
def printable_usage_errors() -> Iterator[None]:
    """Escape what a terminal would act on in the errors that click raises in the block."""
    try:
        yield
    except click.ClickException as error:
        text = error.format_message()
        printable_text = printable(text)
        if printable_text == text:
            raise
        if isinstance(error, click.UsageError):
            raise click.UsageError(printable_text, error.ctx) from None
        raise click.ClickException(printable_text) from None
