"""nodedevctl: the command group; it prints what a daemon, or a scan of its own, reports."""

from __future__ import annotations

import click

from nodedevd import __version__
from nodedevd.cli.commands import COMMANDS
from nodedevd.cli.group import Group
from nodedevd.cli.options import epilog, fleet_option, source_options


@click.group(
    cls=Group,
    late=COMMANDS,
    params=[*source_options(), fleet_option()],
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog=epilog(
        "Examples:",
        "nodedevctl tree",
        "nodedevctl list --cap mdev_parent",
        "nodedevctl --sysroot / dumpxml 0000:3b:00.0",
        "nodedevctl create A2-4Q --dry-run",
    ),
)
@click.version_option(__version__, prog_name="nodedevctl")
def main() -> None:
    """Show and change the devices of a virtualization host, and its mediated devices.

    DEVICE is a device name, a UUID, mdev_<uuid>, a PCI address or a path below /sys.
    """
