"""nodedevctl modify: changes a definition of mdevctl."""

from __future__ import annotations

from typing import Any

import click

from nodedevd.cli.changing import (
    EXIT_STATUS_OF_CHANGES,
    attribute_option,
    carry_out,
    change_options,
    parent_option,
    report,
)
from nodedevd.cli.options import Context, ControlCommand, epilog


@click.command(
    cls=ControlCommand,
    epilog=epilog(
        "Examples: another type from the next start on; no attributes",
        "nodedevctl modify 4b20d080-1b54-4048-85b3-a6a62d165c01 --type A2-8Q",
        "nodedevctl modify 4b20d080-1b54-4048-85b3-a6a62d165c01 --no-attributes",
        exit_status=EXIT_STATUS_OF_CHANGES,
    ),
)
@click.argument("device")
@parent_option
@click.option("--type", "wanted", metavar="TYPE", help="ID or name of the type.")
@click.option(
    "--autostart/--no-autostart", default=None, help="Whether the mdev starts with its parent."
)
@attribute_option("Attribute in place of all that the definition has.")
@click.option("--no-attributes", is_flag=True, help="Remove all attributes of the definition.")
@click.option(
    "--live", is_flag=True, default=None, help="Also change the active mdev, by mdevctl's callouts."
)
@click.option(
    "--live-only", is_flag=True, default=None, help="Change the active mdev, not its definition."
)
@change_options
@click.pass_obj
def modify(
    context: Context,
    /,
    device: str,
    parent: str | None,
    wanted: str | None,
    autostart: bool | None,
    attributes: list[dict[str, str]] | None,
    no_attributes: bool,
    live: bool | None,
    live_only: bool | None,
    as_json: bool,
    **options: Any,
) -> None:
    """Change the definition of an mdev.

    What is not given stays as it is. An active mdev stays as it is, too, without --live or
    --live-only.
    """
    if no_attributes and attributes:
        raise click.UsageError("--attribute and --no-attributes exclude each other")
    if live and live_only:
        raise click.UsageError("--live and --live-only exclude each other")
    given = (wanted, autostart, attributes, live, live_only)
    if not no_attributes and all(one is None for one in given):
        raise click.UsageError("give --type, --autostart, --attribute, --no-attributes or --live")
    outcome = carry_out(
        context,
        "modify",
        name=device,
        parent=parent,
        type=wanted,
        autostart=autostart,
        attributes=[] if no_attributes else attributes,
        live=live,
        live_only=live_only,
        **options,
    )
    report(outcome, as_json=as_json)
