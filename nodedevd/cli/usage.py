"""usage: errors of a command line, which repeat what was typed, in a form for terminals."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

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


class ServiceCommand(click.Command):
    """A command that starts a service; its usage errors are in a form for terminals."""

    def __init__(self, *args: Any, **extra: Any) -> None:
        """Create a command that has -h, too."""
        extra["context_settings"] = {"help_option_names": ["-h", "--help"]}
        super().__init__(*args, **extra)

    def make_context(self, *args: Any, **extra: Any) -> click.Context:
        """Parse a command line."""
        with printable_usage_errors():
            return super().make_context(*args, **extra)


def file_mode(context: click.Context, parameter: click.Parameter, value: str) -> int:
    """Return the file mode that an option gives in octal. Raises BadParameter."""
    try:
        mode = int(value, 8)
    except ValueError:
        mode = -1
    if not 0 <= mode <= 0o777:
        raise click.BadParameter(f"{value!r} is no file mode; give three octal digits, as 660")
    return mode
