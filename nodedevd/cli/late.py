"""Late: a command by its place and its short help, before its module is loaded."""

from __future__ import annotations

import importlib
from typing import NamedTuple

import click


class Late(NamedTuple):
    """A command that is not loaded."""

    place: str
    """module and name, as of an entry point: `nodedevd.cli.list:list_command`"""
    short_help: str
    """the first sentence of the command's help, for the list of commands"""

    def load(self) -> click.Command:
        """Return the command itself."""
        module, _, name = self.place.partition(":")
        command = getattr(importlib.import_module(module), name)
        assert isinstance(command, click.Command)
        return command
