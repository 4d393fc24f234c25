"""tree_of: the tree of the host that a command names."""

from __future__ import annotations

import click

from nodedevd.cli.fleet.common import hosts_of, open_fleet
from nodedevd.cli.options import Context
from nodedevd.client.fleet.tree import Tree
from nodedevd.text import fold


def tree_of(context: Context, name: str) -> Tree:
    """Return the tree of a host, and print its state if it is not alive.

    Raises NoSuchHost, NoTree, FleetError.
    """
    fleet = open_fleet(context)
    host = hosts_of(fleet).host(name)
    if host.state != "alive":
        why = f": {host.reason}" if host.reason else ""
        click.echo(fold(f"nodedevctl: {host.id} is {host.state}{why}"), err=True)
    return fleet.tree_of(host)
