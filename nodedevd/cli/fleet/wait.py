"""nodedevctl --fleet wait: blocks until a condition holds for the hosts."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable

import click
import msgspec

from nodedevd.cli.fleet.common import EXIT_STATUS_OF_FLEETS, open_fleet, report_own_clock
from nodedevd.cli.options import EXIT_TIMEOUT, Context, epilog, print_json, timeout_option
from nodedevd.client.errors import TimedOut
from nodedevd.client.fleet.fitting import fleet_fits
from nodedevd.client.fleet.hosts import Host, Hosts
from nodedevd.errors import NoSuchType
from nodedevd.questions.count import COUNT_AT_MOST
from nodedevd.text import printable


class HostsWaitedFor(msgspec.Struct, frozen=True):
    """What `nodedevctl --fleet wait --json` prints."""

    hosts: tuple[Host, ...]
    """all hosts, when the condition held"""


@click.command(
    epilog=epilog(
        "Examples: ten hosts are alive; a host is back; there is room for two",
        "nodedevctl --fleet nats://127.0.0.1:4222 wait --count 10 --timeout 60",
        "nodedevctl --fleet nats://127.0.0.1:4222 wait --host kvm3",
        "nodedevctl --fleet nats://127.0.0.1:4222 wait --type A2-4Q --available 2",
        exit_status=EXIT_STATUS_OF_FLEETS.removesuffix(".") + ", 4 timed out.",
    )
)
@click.option(
    "--count", type=click.IntRange(min=1), metavar="N", help="Wait until N hosts are alive."
)
@click.option("--host", metavar="HOST", help="Wait until this host is alive.")
@click.option("--gone", metavar="HOST", help="Wait until this host is gone, or has left.")
@click.option("--type", "kind", metavar="TYPE", help="Wait until a vGPU of this type fits.")
@click.option(
    "--available",
    type=click.IntRange(1, COUNT_AT_MOST),
    default=1,
    show_default=True,
    metavar="N",
    help="With --type: N of them, for sure.",
)
@timeout_option
@click.option("--json", "as_json", is_flag=True, help="Print the hosts as JSON.")
@click.pass_obj
def wait(
    context: Context,
    count: int | None,
    host: str | None,
    gone: str | None,
    kind: str | None,
    available: int,
    timeout: float | None,
    as_json: bool,
) -> None:
    """Wait until a condition holds for the hosts of the fleet.

    Give one of --count, --host, --gone and --type. If it already holds, the command exits at once.
    It goes on when servers are restarted; a state that no server can tell holds nothing.
    """
    if sum(one is not None for one in (count, host, gone, kind)) != 1:
        raise click.UsageError("give one of --count, --host, --gone and --type")
    if count is not None:
        reached, what = _many(count), f"{count} hosts to be alive"
    elif host is not None:
        reached, what = _in_state(host, "alive"), f"{host} to be alive"
    elif gone is not None:
        reached, what = _in_state(gone, "gone", "left"), f"{gone} to be gone"
    else:
        assert kind is not None
        reached, what = _fitting(kind, available), f"room for {available} x {kind}"
    try:
        with open_fleet(context).watch() as watch:
            try:
                found = watch.wait_for(reached, what, timeout)
            finally:
                report_own_clock(watch.own_clock)
    except TimedOut as error:
        click.echo(f"nodedevctl: {printable(str(error))}", err=True)
        sys.exit(EXIT_TIMEOUT)
    if as_json:
        print_json(msgspec.json.encode(HostsWaitedFor(tuple(found))))


def _many(count: int) -> Callable[[list[Host]], bool]:
    return lambda hosts: sum(one.state == "alive" for one in hosts) >= count


def _in_state(wanted: str, *states: str) -> Callable[[list[Host]], bool]:
    def reached(hosts: list[Host]) -> bool:
        # As Hosts.host: a host may have another one's id as its name.
        found = [one for one in hosts if one.id == wanted]
        found = found or [one for one in hosts if one.name == wanted]
        return bool(found) and all(one.state in states for one in found)

    return reached


def _fitting(kind: str, count: int) -> Callable[[list[Host]], bool]:
    def reached(hosts: list[Host]) -> bool:
        try:
            found = fleet_fits(Hosts(time.time(), True, tuple(hosts)), kind, count)
        except NoSuchType:
            return False
        return found.answer == "yes"

    return reached
