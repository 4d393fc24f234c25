"""nodedevctl --fleet types: the vGPU types of the fleet, and what is left of each."""

from __future__ import annotations

import click
import msgspec

from nodedevd.cli.fleet.common import EXIT_STATUS_OF_FLEETS, hosts_of, open_fleet, report_left_out
from nodedevd.cli.options import Context, epilog, json_option, print_json
from nodedevd.client.fleet.fitting import FleetType, fleet_types
from nodedevd.text import table


@click.command(
    epilog=epilog(
        "Example: types of which at least one can be created",
        "nodedevctl --fleet nats://127.0.0.1:4222 types --available",
        exit_status=EXIT_STATUS_OF_FLEETS,
    )
)
@click.option("--available", is_flag=True, help="Only types that can be created, or may be.")
@json_option
@click.pass_obj
def types(context: Context, available: bool, as_json: bool) -> None:
    """List the vGPU types that the hosts offer.

    HOSTS is the number of hosts that offer the type, AVAILABLE the largest number that may still
    be created on all of them, SURE the number that fits for sure, ACTIVE the number that exists.
    "+?" marks an AVAILABLE that is not known of every host. Hosts that are not alive are not
    counted, and named on standard error.
    """
    found = fleet_types(hosts_of(open_fleet(context)))
    if available:
        kept = tuple([one for one in found.types if one.available or one.unknown])
        found = msgspec.structs.replace(found, types=kept)
    if as_json:
        print_json(msgspec.json.encode(found))
        return
    report_left_out(found.left_out)
    if not found.types:
        click.echo("No type can be created." if available else "No host offers vGPUs.")
        return
    heading = ("TYPE", "HOSTS", "AVAILABLE", "SURE", "ACTIVE", "NAME")
    click.echo(table(heading, map(_row, found.types)), nl=False)


def _row(one: FleetType) -> tuple[str, ...]:
    unknown = "+?" if one.unknown else ""
    return (
        one.type,
        str(one.hosts),
        f"{one.available}{unknown}",
        str(one.sure),
        str(one.active),
        one.name or "-",
    )
