"""nodedevctl --fleet fits: the hosts that have room for vGPUs of a type, in order."""

from __future__ import annotations

import sys

import click
import msgspec

from nodedevd.cli.card_types import folded, number
from nodedevd.cli.fleet.common import EXIT_STATUS_OF_FLEETS, hosts_of, open_fleet, report_left_out
from nodedevd.cli.options import EXIT_NO, Context, epilog, json_option, print_json
from nodedevd.client.fleet.fitting import FleetFits, HostFit, Order, fleet_fits
from nodedevd.questions.count import COUNT_AT_MOST
from nodedevd.text import abbreviated, table


@click.command(
    epilog=epilog(
        "Examples: four, on as many hosts as possible; the host that a VM should go to",
        "nodedevctl --fleet nats://127.0.0.1:4222 fits --type A2-4Q --count 4",
        "nodedevctl --fleet … fits --type A2-4Q --pack --json | jq '.hosts[0].host'",
        exit_status=f"{EXIT_STATUS_OF_FLEETS.removesuffix('.')}, 5 they do not fit, or not for"
        " sure, 6 no host offers such a type.",
    )
)
@click.option("--type", "kind", metavar="TYPE", required=True, help="ID or name of the vGPU type.")
@click.option(
    "--count",
    type=click.IntRange(1, COUNT_AT_MOST),
    default=1,
    show_default=True,
    help="Number of vGPUs.",
)
@click.option(
    "--spread",
    "order",
    flag_value="spread",
    default="spread",
    help="Use the hosts with most room first, and level what is left.  [default]",
)
@click.option(
    "--pack", "order", flag_value="pack", help="Use the hosts with the least room that suffices."
)
@json_option
@click.pass_obj
def fits(context: Context, kind: str, count: int, order: Order, as_json: bool) -> None:
    """Show on which hosts vGPUs of a type fit, in the order to use them.

    PLACE is how many of the wanted vGPUs a host takes in this order, AVAILABLE the largest number
    that it may still take, SURE the number that fits for sure. Hosts that are not alive are not
    counted, and named on standard error; because of them the answer is "perhaps" where it would be
    "no".
    """
    found = fleet_fits(hosts_of(open_fleet(context)), kind, count, order)
    if as_json:
        print_json(msgspec.json.encode(found))
    else:
        report_left_out(found.left_out)
        if found.hosts:
            heading = ("HOST", "PLACE", "AVAILABLE", "SURE", "ACTIVE", "CARDS")
            click.echo(table(heading, map(_row, found.hosts)), nl=False)
        click.echo(folded(_answer(found)), nl=False)
    if found.answer != "yes":
        sys.exit(EXIT_NO)


def _row(one: HostFit) -> tuple[str, ...]:
    cards = abbreviated(one.cards) or "-"
    return (one.host, str(one.place), number(one.available), str(one.sure), str(one.active), cards)


def _answer(found: FleetFits) -> str:
    wanted = f"{found.count} x {found.type}"
    sure = sum(one.sure for one in found.hosts)
    if found.answer == "yes":
        on = sum(1 for one in found.hosts if one.place)
        return (
            f"yes: {wanted} {'fits' if found.count == 1 else 'fit'}, on {on} host{'s' * (on > 1)}"
        )
    if found.answer == "no":
        return (
            f"no: {sure} x {found.type} fit for sure" if sure else f"no: {found.type} fits nowhere"
        )
    return f"perhaps: {sure} of {wanted} fit for sure"
