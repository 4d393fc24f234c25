"""Group: what all commands of nodedevctl have in common."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NoReturn

import click

from nodedevd.cli.completion import complete
from nodedevd.cli.late import Late
from nodedevd.cli.options import (
    EXIT_FAILURE,
    EXIT_NO_DAEMON,
    Context,
    ControlCommand,
    source_options,
)
from nodedevd.cli.output import survive_closed_pipes
from nodedevd.cli.usage import printable_usage_errors
from nodedevd.errors import NoDaemon, NodedevError
from nodedevd.text import printable

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

    from nodedevd.client.errors import ConnectionLost


class Group(click.Group):
    """Accepts `--sysroot` and `--socket` after a command, too, and prints errors as one line.

    A `NodedevError` or an `OSError` sets the exit status. Colours are for terminals only, and
    not if NO_COLOR is set (https://no-color.org).
    """

    def __init__(self, *args: Any, late: Mapping[str, Late] | None = None, **extra: Any) -> None:
        """Create a group; `late` are commands that are loaded when they are called."""
        super().__init__(*args, **extra)
        self._late = late or {}

    def add_command(self, cmd: click.Command, name: str | None = None) -> None:
        """Add a command, with the options that select the source of devices, and completion."""
        cmd.params += source_options(
            control=isinstance(cmd, ControlCommand),
            planning=any(one.name == "dry_run" for one in cmd.params),
        )
        for parameter in cmd.params:
            complete(parameter)
        super().add_command(cmd, name)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Return a command: of a fleet with --fleet, else of a host."""
        if _asks_fleet(ctx):
            from nodedevd.cli.fleet.commands import COMMANDS  # asyncio is slow to import

            return COMMANDS.get(cmd_name)
        if cmd_name == "hosts":
            raise click.UsageError("hosts asks a fleet: nodedevctl --fleet URL hosts")
        if cmd_name in self._late and cmd_name not in self.commands:
            self.add_command(self._late[cmd_name].load(), cmd_name)
        return super().get_command(ctx, cmd_name)

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of the commands that there are, with or without --fleet."""
        if _asks_fleet(ctx):
            from nodedevd.cli.fleet.commands import COMMANDS

            return sorted(COMMANDS)
        return sorted({*self.commands, *self._late})

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the list of commands for the help; none has to be loaded for that."""
        if _asks_fleet(ctx):
            super().format_commands(ctx, formatter)
            return
        click.Group(commands=self._briefly()).format_commands(ctx, formatter)

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """Return the commands and options that begin with what was typed."""
        if _asks_fleet(ctx):
            return super().shell_complete(ctx, incomplete)
        from click.shell_completion import CompletionItem  # only completion needs it

        commands = [
            CompletionItem(name, help=command.get_short_help_str())
            for name, command in sorted(self._briefly().items())
            if name.startswith(incomplete)
        ]
        return commands + click.Command.shell_complete(self, ctx, incomplete)

    def _briefly(self) -> dict[str, click.Command]:
        """Return all commands; those that are not loaded have their short help alone."""
        late = {name: click.Command(name, help=one.short_help) for name, one in self._late.items()}
        return {**late, **self.commands}

    def main(self, *args: Any, **extra: Any) -> Any:
        """Run a command line."""
        survive_closed_pipes()
        if os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb":
            extra["color"] = False
        extra.setdefault("prog_name", "nodedevctl")
        return super().main(*args, **extra)

    def make_context(self, *args: Any, **extra: Any) -> click.Context:
        """Parse the options in front of the command."""
        with printable_usage_errors():
            return super().make_context(*args, **extra)

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command that was parsed."""
        with printable_usage_errors():
            return self._invoke(ctx)

    def _invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except NoDaemon as error:
            _fail(str(error), status=EXIT_NO_DAEMON)
        except NodedevError as error:
            _explain(error)
        except UnicodeEncodeError as error:  # bytes of an argument, os.fsdecode
            raise click.UsageError(f"{error.object!r} is not UTF-8, as every name is") from error
        except OSError as error:
            _fail(f"{error.filename}: {error.strerror}" if error.filename else str(error))


def _asks_fleet(ctx: click.Context) -> bool:
    selected = ctx.find_object(Context)
    return selected is not None and selected.fleet is not None


def _explain(error: NodedevError) -> NoReturn:
    from nodedevd.cli.refusals import exit_status, explanation  # needed after a failure only
    from nodedevd.client.errors import ConnectionLost

    if isinstance(error, ConnectionLost):
        _fail(_why_lost(error))
    _fail(*explanation(error), status=exit_status(error))


def _why_lost(error: ConnectionLost) -> str:
    from nodedevd.cli.libvirt_probe import speaks_libvirt

    if speaks_libvirt(error.path):
        return (
            f"{error.path} is a socket for libvirt's clients, such as virsh; give --socket the"
            " Varlink socket of nodedevd"
        )
    return str(error)


def _fail(text: str, *more: str, status: int = EXIT_FAILURE) -> NoReturn:
    click.echo(f"{click.style('nodedevctl:', fg='red')} {printable(text)}", err=True)
    for line in more:
        click.echo(printable(line), err=True)
    sys.exit(status)
