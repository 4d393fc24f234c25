"""commands: those that nodedevctl has with --fleet."""

from __future__ import annotations

from nodedevd.cli.fleet.dumpxml import dumpxml
from nodedevd.cli.fleet.events import events
from nodedevd.cli.fleet.fits import fits
from nodedevd.cli.fleet.hosts import hosts
from nodedevd.cli.fleet.list import list_command
from nodedevd.cli.fleet.show import show
from nodedevd.cli.fleet.types import types
from nodedevd.cli.fleet.wait import wait

COMMANDS = {
    str(one.name): one for one in (dumpxml, events, fits, hosts, list_command, show, types, wait)
}
"""Commands by name."""
