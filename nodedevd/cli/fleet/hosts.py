"""nodedevctl --fleet hosts: the hosts, whether they live, and what they have."""

from __future__ import annotations

import click
import msgspec

from nodedevd.cli.fleet.common import (
    EXIT_STATUS_OF_FLEETS,
    age,
    host_option,
    hosts_of,
    open_fleet,
)
from nodedevd.cli.options import Context, epilog, json_option, print_json
from nodedevd.client.fleet.hosts import Host
from nodedevd.text import table


@click.command(
    epilog=epilog(
        "Examples: all hosts; those that are not alive; a host that will not come back",
        "nodedevctl --fleet nats://127.0.0.1:4222 hosts",
        "nodedevctl --fleet /etc/nodedevd/fleet.toml hosts --not-alive",
        "nodedevctl --fleet /etc/nodedevd/admin.toml hosts --forget kvm3",
        exit_status=EXIT_STATUS_OF_FLEETS,
    )
)
@host_option
@click.option("--not-alive", is_flag=True, help="Only hosts in another state than alive.")
@click.option(
    "--forget", metavar="HOST", help="As an administrator, delete what the fleet has of a host."
)
@json_option
@click.pass_obj
def hosts(
    context: Context, hosts: tuple[str, ...], not_alive: bool, forget: str | None, as_json: bool
) -> None:
    """List the hosts of the fleet, with their states.

    AGE is that of the last heartbeat, by the server's clock. The state is "alive" if the heartbeat
    is in time and the summary is what the host has; "stale" if the host has a newer state;
    "no-daemon" if nodedevd does not answer its publisher; "left" if the publisher was stopped;
    "gone" if three heartbeats are missing; "newer" if it is published by a newer version;
    "unreadable" or "incomplete" if what is published is of no use. What a host that is not alive
    has is what it had.
    """
    fleet = open_fleet(context)
    if forget is not None:
        fleet.forget(forget)
        return
    found = hosts_of(fleet)
    kept = [found.host(name) for name in hosts] if hosts else list(found.hosts)
    if not_alive:
        kept = [one for one in kept if one.state != "alive"]
    if as_json:
        print_json(msgspec.json.encode(msgspec.structs.replace(found, hosts=tuple(kept))))
        return
    if not kept:
        click.echo("No hosts." if not hosts and not not_alive else "All are alive.")
        return
    heading = ("HOST", "STATE", "AGE", "DEVICES", "CARDS", "VGPUS", "NOTE")
    click.echo(table(heading, map(_row, kept)), nl=False)


def _row(host: Host) -> tuple[str, ...]:
    summary = host.summary
    named = [] if host.name == host.id else [host.name]
    note = "; ".join([*named, *([host.reason] if host.reason else [])])
    if summary is None:
        counts: tuple[str, ...] = ("-", "-", "-")
    else:
        active = sum(one.active for card in summary.cards for one in card.types)
        counts = (str(summary.devices), str(len(summary.cards)), str(active))
    return (host.id, host.state, age(host.age_seconds), *counts, note or "-")
