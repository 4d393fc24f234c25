"""nodedevctl in this process: what a user types, prints and gets as an exit status."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import click
from click.testing import CliRunner, Result

from nodedevd.cli.main import main
from tests.support.hosts import host_file


@dataclass
class Ctl:
    """Runs nodedevctl with the options that come before the command."""

    options: Sequence[str]
    columns: int = 1000
    """the width of the terminal, by default one at which no line is folded"""

    def run(self, *arguments: str, status: int = 0) -> Result:
        """Run a command, which must exit with this status."""
        result = self.invoke(*arguments)
        assert result.exit_code == status, result.output
        return result

    def invoke(self, *arguments: str) -> Result:
        """Run a command, whatever comes of it."""
        runner = CliRunner(env={"COLUMNS": str(self.columns)})
        return runner.invoke(main, [*self.options, *arguments], prog_name="nodedevctl")

    def out(self, *arguments: str) -> str:
        """Return what a command prints on standard output; standard error must be empty."""
        result = self.run(*arguments)
        assert result.stderr == ""
        return result.stdout

    def json(self, *arguments: str) -> Any:
        """Return the decoded JSON that a command prints."""
        return json.loads(self.out(*arguments))


def every_command(group: click.Group = main, above: str = "") -> dict[str, click.Command]:
    """Return every command by its words; groups are none."""
    found: dict[str, click.Command] = {}
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        if isinstance(command, click.Group):
            found.update(every_command(command, f"{above}{name} "))
        else:
            found[f"{above}{name}"] = command
    return found


def on(host: str, *, columns: int = 1000) -> Ctl:
    """Return nodedevctl on a sample host, without a daemon."""
    return Ctl(["--sysroot", str(host_file(host))], columns)
