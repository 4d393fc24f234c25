"""Group: what all commands of nodedevctl have in common."""

from __future__ import annotations

import os
import sys
from typing import Any, NoReturn

import click

from nodedevd.cli.completion import complete
from nodedevd.cli.options import (
    EXIT_FAILURE,
    EXIT_NO_DAEMON,
    Context,
    ControlCommand,
    source_options,
)
from nodedevd.cli.output import survive_closed_pipes
from nodedevd.cli.usage import printable_usage_errors
from nodedevd.client import ConnectionLost
from nodedevd.errors import NoDaemon, NodedevError
from nodedevd.text import printable


class Group(click.Group):
    """Accepts `--sysroot` and `--socket` after a command, too, and prints errors as one line.

    A `NodedevError` or an `OSError` sets the exit status. Colours are for terminals only, and
    not if NO_COLOR is set (https://no-color.org).
    """

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
        return super().get_command(ctx, cmd_name)

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of the commands that there are, with or without --fleet."""
        if _asks_fleet(ctx):
            from nodedevd.cli.fleet.commands import COMMANDS

            return sorted(COMMANDS)
        return super().list_commands(ctx)

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
        except ConnectionLost as error:
            _fail(_why_lost(error))
        except NodedevError as error:
            from nodedevd.cli.refusals import exit_status, explanation  # needed after a failure

            _fail(*explanation(error), status=exit_status(error))
        except UnicodeEncodeError as error:  # bytes of an argument, os.fsdecode
            raise click.UsageError(f"{error.object!r} is not UTF-8, as every name is") from error
        except OSError as error:
            _fail(f"{error.filename}: {error.strerror}" if error.filename else str(error))


def _asks_fleet(ctx: click.Context) -> bool:
    selected = ctx.find_object(Context)
    return selected is not None and selected.fleet is not None


def _why_lost(error: ConnectionLost) -> str:
    from nodedevd.cli.libvirt_probe import speaks_libvirt  # needed after a failure only

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
