"""nodedevctl --fleet list: the devices of the hosts."""

from __future__ import annotations

import click
import msgspec

from nodedevd.cli.fleet.common import (
    EXIT_STATUS_OF_FLEETS,
    chosen,
    host_option,
    hosts_of,
    open_fleet,
)
from nodedevd.cli.options import (
    Context,
    cap_option,
    epilog,
    json_option,
    print_json,
    split_capabilities,
    state_mark,
)
from nodedevd.cli.tree_drawing import sort_key
from nodedevd.client.fleet.errors import FleetUnreachable, NoTree
from nodedevd.client.fleet.hosts import HostState
from nodedevd.model.brief import Entry
from nodedevd.text import printable


class HostDevices(msgspec.Struct, frozen=True):
    """The devices of a host, in brief."""

    host: str
    state: HostState
    reason: str | None
    """why it is not alive, or its devices cannot be read"""
    generation: int | None
    devices: tuple[Entry, ...] | None
    """None if they cannot be read"""


class DevicesOfHosts(msgspec.Struct, frozen=True):
    """What `nodedevctl --fleet list --json` prints."""

    hosts: tuple[HostDevices, ...]


@click.command(
    "list",
    epilog=epilog(
        "Example: the mdevs of a host",
        "nodedevctl --fleet nats://127.0.0.1:4222 list --cap mdev_child --host a",
        exit_status=EXIT_STATUS_OF_FLEETS,
    ),
)
@cap_option
@host_option
@json_option
@click.pass_obj
def list_command(
    context: Context, capabilities: tuple[str, ...], hosts: tuple[str, ...], as_json: bool
) -> None:
    """List the devices of the hosts, one a line: HOST, and the name.

    The whole tree of each host is fetched. A host that is not alive is listed as it was, with its
    state on standard error.
    """
    fleet = open_fleet(context)
    wanted = split_capabilities(capabilities)
    answers = []
    for host in chosen(hosts_of(fleet), hosts):
        reason, generation, devices = host.reason, None, None
        try:
            found = fleet.tree_of(host).list(wanted)
            generation, devices = found.generation, found.devices
        except NoTree as error:
            reason = error.reason
        except FleetUnreachable as error:
            fleet.hosts()  # raises it again, unless the reason is this host's tree alone
            reason = error.reason
        answers.append(HostDevices(host.id, host.state, reason, generation, devices))
    if as_json:
        print_json(msgspec.json.encode(DevicesOfHosts(tuple(answers))))
        return
    for one in answers:
        if one.state != "alive" or one.devices is None:
            why = f": {one.reason}" if one.reason else ""
            click.echo(
                f"nodedevctl: {printable(one.host)} is {one.state}{printable(why)}", err=True
            )
        for entry in sorted(one.devices or (), key=lambda one: sort_key(one.name)):
            click.echo(printable(f"{one.host} {entry.name}{state_mark(entry.state)}"))
