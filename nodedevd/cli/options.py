"""What the commands of nodedevctl share: the source of devices, options, exit statuses."""

from __future__ import annotations

import os
import re
import sys
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from nodedevd.capability_words import CAPABILITY_WORDS
from nodedevd.errors import NoDaemon, NodedevError
from nodedevd.text import printable

if TYPE_CHECKING:
    # Slow to import: a command loads what it uses when it runs.
    from nodedevd.cli.embedded import Embedded
    from nodedevd.cli.source import Source
    from nodedevd.client import Client
    from nodedevd.client.brief import BriefClient
    from nodedevd.host.sysroot import Progress
    from nodedevd.model.brief import State

EXIT_FAILURE = 1
EXIT_NO_DAEMON = 3
EXIT_TIMEOUT = 4
EXIT_NO = 5
"""The command worked, and its answer is no."""
EXIT_NO_SUCH_TYPE = 6
"""No device offers a vGPU type of this id or name."""
EXIT_LEFT = 7
"""A change failed, and could not be undone altogether."""

EXIT_STATUS = """Exit status: 0 success, 1 failure (no such device, no sysroot, …), 2 wrong usage,
3 no daemon answers."""
EXIT_STATUS_WITH_TIMEOUT = """Exit status: 0 success, 1 failure, 2 wrong usage, 3 no daemon
answers, 4 timed out."""


def epilog(heading: str, *lines: str, exit_status: str = EXIT_STATUS) -> str:
    """Return the end of a help text: examples, printed line by line, and the exit statuses."""
    return "\n".join(["\b", heading, *(f"  {line}" for line in lines), "", exit_status])


class Context:
    """The source of devices that the command line selects: at most one field is set."""

    def __init__(self, sysroot: str | None = None) -> None:
        self.sysroot = sysroot
        self.socket: str | None = None
        self.fleet: str | None = None
        """URLs of servers, or a file; commands of a fleet alone have it"""

    def client(self, timeout_seconds: float | None = None) -> Client:
        """Connect to the daemon, for a command that a single scan cannot answer.

        The connection is closed when the command ends. Raises NoDaemon, UsageError; TimedOut if
        there is no place for a connection in time.
        """
        if self.sysroot is not None:
            raise click.UsageError(
                "this command follows changes and needs a daemon; omit --sysroot"
            )
        from nodedevd.client import Client

        return click.get_current_context().with_resource(
            Client(self.socket, timeout_seconds=timeout_seconds)
        )

    def source(self, *, scan: bool = True) -> Source:
        """Return the source of devices: a scan of the sysroot, or a connection to the daemon.

        Without a daemon, this host is scanned, unless the command line or the environment
        selects a socket, or `scan` is False. Raises NotASysroot, NoDaemon.
        """
        if self.sysroot is not None:
            return _scanned(self.sysroot)
        try:
            return self.client()
        except NoDaemon as error:
            if not scan:
                raise
            return self._without_daemon(error)

    def brief_source(self) -> BriefClient | Embedded:
        """Return the same for a command that only lists devices, which needs no kinds for that."""
        if self.sysroot is not None:
            return _scanned(self.sysroot)
        from nodedevd.client.brief import BriefClient

        try:
            return click.get_current_context().with_resource(BriefClient(self.socket))
        except NoDaemon as error:
            return self._without_daemon(error)

    def _without_daemon(self, error: NoDaemon) -> Embedded:
        """Scan this host, unless a socket is selected. Raises the error that is given."""
        if self.socket is not None or os.environ.get("NODEDEVD_SOCKET"):
            raise error
        reason = printable(error.reason)
        click.echo(f"nodedevctl: no daemon answers ({reason}); scanning this host", err=True)
        return _scanned("/")


def _scanned(root: str) -> Embedded:
    from nodedevd.cli.embedded import Embedded

    return Embedded(root, progress=progress)


class ControlCommand(click.Command):
    """A command that asks the control service, and not the daemon."""


def source_options(*, control: bool = False, planning: bool = False) -> list[click.Parameter]:
    """Return the options that select whom a command asks, `--sysroot` and `--socket`.

    Args:
        control: Whether it is the control service that is asked, and not the daemon.
        planning: Whether the command has --dry-run, for any host.
    """
    if control:
        sysroot = (
            "Do not use the service. / is this host, which root changes in this process; with"
            " --dry-run, PATH may also be a directory that holds sys/, or a file that record wrote."
            if planning
            else "Do not use the service. PATH is / for this host, and needs root."
        )
        socket = (
            "Ask the control service on this socket. [default: $NODEDEVD_CONTROL_SOCKET; else"
            " the system's]"
        )
    else:
        sysroot = (
            "Scan the host at PATH without a daemon. PATH is / for this host, a directory"
            " that holds sys/, or a file that record wrote."
        )
        socket = (
            "Ask the daemon on this socket. [default: $NODEDEVD_SOCKET; else the system's"
            " daemon, then the user's own]"
        )
    return [
        click.Option(
            ["--sysroot"],
            metavar="PATH",
            callback=_select,
            expose_value=False,
            help=sysroot,
        ),
        click.Option(
            ["--socket"],
            metavar="PATH",
            callback=_select,
            expose_value=False,
            help=socket,
        ),
    ]


def fleet_option() -> click.Parameter:
    """Return the option that selects a fleet; it stands in front of the command."""
    return click.Option(
        ["--fleet"],
        metavar="URL",
        callback=_select,
        expose_value=False,
        is_eager=True,
        help="Ask the hosts that publish to these servers, as nats://127.0.0.1:4222, with commas"
        " between several; or those of a file, as /etc/nodedevd/fleet.toml. It has commands of"
        " its own: nodedevctl --fleet URL --help lists them.",
    )


def _select(context: click.Context, parameter: click.Parameter, value: str | None) -> None:
    """Keep the value of an option, which may stand before and after the command."""
    selected = context.ensure_object(Context)
    if value is None:
        return
    assert parameter.name is not None
    setattr(selected, parameter.name, value)
    if selected.sysroot is not None and selected.socket is not None:
        raise click.UsageError("--sysroot scans without a daemon; omit --socket")
    if selected.fleet is not None and (selected.sysroot or selected.socket):
        raise click.UsageError("--fleet asks many hosts; omit --sysroot and --socket")


def report_lost(error: NodedevError) -> None:
    """Print that the daemon went away, for a command that goes on when it is back."""
    click.echo(f"nodedevctl: {printable(str(error))}; waiting for the daemon", err=True)


def progress(what: str) -> Progress | None:
    """Return a progress callback that prints to standard error after one second.

    Return None if standard error is no terminal.
    """
    if not sys.stderr.isatty():
        return None
    begin = shown = time.monotonic()

    def show(done: int, total: int) -> None:
        nonlocal shown
        time_now = time.monotonic()
        if time_now - begin > 1 and time_now - shown > 0.1:
            shown = time_now
            click.echo(f"\r{what}: {done} of {total}", err=True, nl=False)
        if done + 1 == total and shown != begin:
            click.echo("\r\x1b[K", err=True, nl=False)

    return show


cap_option = click.option(
    "--cap",
    "capabilities",
    multiple=True,
    metavar="KIND",
    help="Only devices with this capability; may be repeated, or given as a comma-separated list."
    f" Kinds: {', '.join(CAPABILITY_WORDS)}.",
)
timeout_option = click.option(
    "--timeout",
    type=click.FloatRange(min=0),
    metavar="SECONDS",
    help="Give up after SECONDS. [default: no limit]",
)
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
always_json_option = click.option(
    "--json", is_flag=True, expose_value=False, help="Accepted and not needed: it prints JSON."
)


def split_capabilities(values: Sequence[str]) -> list[str] | None:
    """Return the single words of all --cap options, None if there are none.

    Raises BadParameter for an unknown word.
    """
    words = [word for value in values for word in value.split(",")]
    for word in words:
        if word not in CAPABILITY_WORDS:
            raise click.BadParameter(
                f"unknown capability {word!r}; known are {', '.join(CAPABILITY_WORDS)}",
                param_hint="--cap",
            )
    return words or None


def names_or_all(devices: Sequence[str], all_devices: bool) -> list[str] | None:
    """Return the given names, None for --all. Raises UsageError for neither or both."""
    if all_devices == bool(devices):
        raise click.UsageError("give one or more DEVICE arguments, or --all")
    return None if all_devices else list(devices)


def state_mark(state: State | None) -> str:
    """Return the text after the name of a device that is not active: ` (inactive)`."""
    return "" if state in (None, "active") else f" ({state})"


def print_json(data: bytes) -> None:
    """Print JSON, indented."""
    import msgspec

    print_text_of_json(msgspec.json.format(data, indent=2).decode())


def print_text_of_json(text: str) -> None:
    """Print JSON, with the escapes of JSON for what a terminal acts on or does not show."""
    plain = text.isascii() and "\x7f" not in text
    click.echo(text if plain else _escaped_json(text))


def print_xml(text: str) -> None:
    """Print XML, with character references for the same."""
    from nodedevd.xml_writer import escape_unseen

    click.echo(escape_unseen(text), nl=False)


def _escaped_json(text: str) -> str:
    from nodedevd.xml_writer import UNSEEN

    return re.sub(f"[{UNSEEN}]", _escape_json, text)


def _escape_json(match: re.Match[str]) -> str:
    units = match[0].encode("utf-16-be", "surrogatepass").hex()
    return "".join(f"\\u{units[start : start + 4]}" for start in range(0, len(units), 4))
