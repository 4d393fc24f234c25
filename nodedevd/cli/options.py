"""What the commands of nodedevctl share: where devices come from, options, exit status."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence

import click
import msgspec

from nodedevd.cli.embedded import Embedded
from nodedevd.cli.source import Source
from nodedevd.client import Client
from nodedevd.host.sysroot import Progress
from nodedevd.kinds import WORDS

EXIT_FAILURE = 1
EXIT_NO_DAEMON = 3
EXIT_TIMEOUT = 4
EXIT_NO = 5
"""The answer is no: everything worked, and what was asked for is not so."""

EXIT_STATUS = """Exit status: 0 done, 1 failure (no such device, no sysroot, …), 2 wrong usage,
3 no daemon answers."""
EXIT_STATUS_IN_TIME = """Exit status: 0 done, 1 failure, 2 wrong usage, 3 no daemon answers,
4 the time ran out first."""


def epilog(heading: str, *lines: str, exit_status: str = EXIT_STATUS) -> str:
    """Return the end of a help text: an example, kept line by line, and the exit status."""
    return "\n".join(["\b", heading, *(f"  {line}" for line in lines), "", exit_status])


class Context(msgspec.Struct):
    """What the options before the command say."""

    sysroot: str | None
    socket: str | None

    def client(self) -> Client:
        """Return a connection to the daemon, for what a single scan cannot tell."""
        if self.sysroot is not None:
            raise click.UsageError("a scan ends at once; ask a daemon: leave out --sysroot")
        return click.get_current_context().with_resource(Client(self.socket))

    def source(self) -> Source:
        """Return where the devices come from; a connection is closed with the command."""
        if self.sysroot is not None:
            return Embedded(self.sysroot, progress=progress)
        return self.client()


def progress(what: str) -> Progress | None:
    """Show how far something is, once it has taken a second, to somebody who watches."""
    if not sys.stderr.isatty():
        return None
    begin = shown = time.monotonic()

    def show(done: int, of: int) -> None:
        nonlocal shown
        time_now = time.monotonic()
        if time_now - begin > 1 and time_now - shown > 0.1:
            shown = time_now
            click.echo(f"\r{what}: {done} of {of}", err=True, nl=False)
        if done + 1 == of and shown != begin:
            click.echo("\r\x1b[K", err=True, nl=False)

    return show


cap_option = click.option(
    "--cap",
    "capabilities",
    multiple=True,
    metavar="KIND",
    help=f"Only devices with this capability; may be repeated. Known: {', '.join(WORDS)}.",
)
timeout_option = click.option(
    "--timeout",
    type=click.FloatRange(min=0),
    metavar="SECONDS",
    help="Give up after this time; without it, never.",
)
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON, for tools.")


def checked(capabilities: Sequence[str]) -> list[str] | None:
    """Return the words of --cap one by one, None if there are none; a wrong one is wrong usage."""
    words = [word for one in capabilities for word in one.split(",")]
    for word in words:
        if word not in WORDS:
            raise click.BadParameter(f"{word!r} is none of {', '.join(WORDS)}", param_hint="--cap")
    return words or None


def named(devices: Sequence[str], everything: bool) -> list[str] | None:
    """Return the names that are given, None for --all; neither, or both, is wrong usage."""
    if everything == bool(devices):
        raise click.UsageError("give the names of devices, or --all")
    return None if everything else list(devices)


def print_json(data: bytes) -> None:
    """Print JSON as people read it, too."""
    click.echo(msgspec.json.format(data, indent=2))
