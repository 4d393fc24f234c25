"""common: what the commands of a fleet share: which fleet, and which hosts."""

from __future__ import annotations

from collections.abc import Sequence

import click

from nodedevd.cli.options import Context
from nodedevd.client.fleet.access import Access, access, check_servers
from nodedevd.client.fleet.blocking import Fleet
from nodedevd.client.fleet.errors import BadAccess
from nodedevd.client.fleet.fitting import LeftOut
from nodedevd.client.fleet.hosts import Host, Hosts
from nodedevd.host.settings_file import BadConfiguration
from nodedevd.text import abbreviated, fold

EXIT_STATUS_OF_FLEETS = """Exit status: 0 success, 1 failure (no such host, no such bucket, refused,
…), 2 wrong usage, 3 no server answers, or none can tell the newest state."""

host_option = click.option(
    "--host", "hosts", multiple=True, metavar="HOST", help="Only this host; may be repeated."
)


def fleet_access(given: str) -> Access:
    """Return the access that --fleet gives: URLs, or a file. Raises BadParameter."""
    try:
        if given.startswith(("/", "./", "../")) or given.endswith(".toml"):
            from nodedevd.publish.configuration import read_configuration

            return read_configuration(given)
        found = access(given)
        check_servers(found)
    except BadConfiguration as error:
        raise click.BadParameter(str(error), param_hint="--fleet") from None
    except BadAccess as error:
        raise click.BadParameter(error.reason, param_hint="--fleet") from None
    return found


def open_fleet(context: Context) -> Fleet:
    """Return the fleet; it is closed when the command ends. Raises FleetError later, when asked."""
    assert context.fleet is not None
    return click.get_current_context().with_resource(Fleet(fleet_access(context.fleet)))


def hosts_of(fleet: Fleet) -> Hosts:
    """Return the hosts of a fleet, and report by which clock they are seen. Raises FleetError."""
    found = fleet.hosts()
    report_own_clock(found.own_clock)
    return found


def chosen(found: Hosts, names: Sequence[str]) -> list[Host]:
    """Return the named hosts, or all. Raises NoSuchHost."""
    return [found.host(name) for name in names] if names else list(found.hosts)


def age(seconds: float | None) -> str:
    """Return an age as a cell."""
    if seconds is None:
        return "-"
    for unit, length in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:.0f} {unit}"
    return f"{seconds:.0f} s"


def report_left_out(hosts: Sequence[LeftOut]) -> None:
    """Print which hosts an answer does not count, and why, to standard error."""
    states: dict[str, list[str]] = {}
    for one in hosts:
        states.setdefault(one.state, []).append(one.host)
    for state, names in sorted(states.items()):
        click.echo(fold(f"nodedevctl: not counted, {state}: {abbreviated(names)}"), err=True)


def report_own_clock(own_clock: bool) -> None:
    """Print that ages are by this machine's clock, and so the states, to standard error."""
    if own_clock:
        click.echo(
            "nodedevctl: this server does not tell its time; ages are by this machine's clock",
            err=True,
        )
