"""nodedevctl define: writes a definition of mdevctl."""

from __future__ import annotations

from typing import Any

import click

from nodedevd.cli.changing import (
    EXIT_STATUS_OF_CHANGES,
    attribute_option,
    carry_out,
    change_options,
    report,
)
from nodedevd.cli.options import Context, ControlCommand, epilog


@click.command(
    cls=ControlCommand,
    epilog=epilog(
        "Examples: an mdev that comes back after a reboot, and start it now",
        "nodedevctl define A2-4Q 0000:08:00.7 --autostart",
        "nodedevctl start 4b20d080-1b54-4048-85b3-a6a62d165c01",
        exit_status=EXIT_STATUS_OF_CHANGES,
    ),
)
@click.argument("wanted", metavar="TYPE")
@click.argument("parent")
@click.option("--uuid", metavar="UUID", help="UUID of the mdev. [default: a new one]")
@click.option(
    "--autostart/--no-autostart",
    default=None,
    help="Start the mdev with its parent. [default: no; an existing definition keeps its own]",
)
@attribute_option("Attribute of the mdev that is written when it is started.")
@change_options
@click.pass_obj
def define(
    context: Context,
    /,
    wanted: str,
    parent: str,
    uuid: str | None,
    autostart: bool | None,
    attributes: list[dict[str, str]] | None,
    as_json: bool,
    **options: Any,
) -> None:
    """Define an mdev, without starting it.

    The definition is mdevctl's, a file in /etc/mdevctl.d/PARENT. TYPE is an ID or a name.
    PARENT is any name of the parent; one that is not present is given by its kernel name, such
    as a PCI address. A definition of this UUID and parent is replaced. --force also stores a type
    that the parent does not offer, and replaces a malformed definition. The name of the mdev is
    printed.
    """
    outcome = carry_out(
        context,
        "define",
        type=wanted,
        parent=parent,
        uuid=uuid,
        autostart=autostart,
        attributes=attributes,
        **options,
    )
    report(outcome, as_json=as_json, names=True)
