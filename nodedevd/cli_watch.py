"""nodedevctl events, nodedevctl wait: what follows the changes instead of asking once."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime

import click

from nodedevd.capabilities.mdev_child import MdevChild
from nodedevd.capabilities.mdev_parent import MdevParent
from nodedevd.cli_options import (
    EXIT_TIMEOUT,
    Context,
    cap_option,
    checked,
    epilog,
    json_option,
)
from nodedevd.client import Client, Told
from nodedevd.errors import NoSuchDevice
from nodedevd.model import Device, is_active

_EXIT_STATUS = """Exit status: 0 done, 1 failure, 2 wrong usage, 3 no daemon answers, 4 the time
ran out first."""
_RECOUNT_SECONDS = 1.0
_ANSWER_SECONDS = 10.0
_CHANGES = ("added", "changed", "removed")

_timeout_option = click.option(
    "--timeout",
    type=click.FloatRange(min=0),
    metavar="SECONDS",
    help="Give up after this time; without it, never.",
)


@click.command(
    epilog=epilog(
        "Examples: all changes with their time; the next mdev that is created, as XML",
        "nodedevctl events --timestamp",
        "nodedevctl events --cap mdev_child --event added --count 1 --xml",
        exit_status=_EXIT_STATUS,
    )
)
@cap_option
@click.option("--device", "names", multiple=True, metavar="DEVICE", help="Only this device.")
@click.option(
    "--event",
    "kinds",
    multiple=True,
    type=click.Choice(_CHANGES),
    help="Only such events; may be repeated.",
)
@click.option("--initial", is_flag=True, help="Begin with the devices there are: present, ready.")
@click.option("--count", type=click.IntRange(min=1), metavar="N", help="End after N events.")
@_timeout_option
@click.option("--timestamp", is_flag=True, help="Put the time (UTC) in front of each event.")
@click.option("--xml", "as_xml", is_flag=True, help="Print the device's XML after each event.")
@json_option
@click.pass_obj
def events(
    context: Context,
    capabilities: tuple[str, ...],
    names: tuple[str, ...],
    kinds: tuple[str, ...],
    initial: bool,
    count: int | None,
    timeout: float | None,
    timestamp: bool,
    as_xml: bool,
    as_json: bool,
) -> None:
    """Print changes as they happen, until Ctrl-C, --count or --timeout.

    One line an event: added, changed or removed, the device, and for a change what is different.
    With --json one JSON object a line. "resync" means that changes were lost, because this
    command was too slow to read them: what was known before is worth nothing.
    """
    watching = context.client().watch(
        capabilities=checked(capabilities),
        names=names or None,
        snapshot=initial,
        content="xml" if as_xml else "json" if as_json else "none",
    )
    deadline = _deadline(timeout)
    marks = ("present", "ready", "resync") if initial else ("resync",)
    seen = 0
    with suppress(KeyboardInterrupt):
        while count is None or seen < count:
            got = watching.next(_left(deadline))
            if got is None:
                if count is not None or not seen:
                    sys.exit(EXIT_TIMEOUT)
                return
            told, text = got
            if told.event not in (*marks, *(kinds or _CHANGES)):
                continue
            if told.event in _CHANGES:
                seen += 1
            click.echo(text.decode() if as_json else _stamp(timestamp) + _line(told))
            if told.xml is not None and not as_json:
                click.echo(told.xml, nl=False)
            sys.stdout.flush()


def _stamp(wanted: bool) -> str:
    return f"{datetime.now(UTC):%Y-%m-%d %H:%M:%S.%f}"[:-3] + "+0000: " if wanted else ""


def _line(told: Told) -> str:
    parts = f" ({', '.join(told.parts)})" if told.parts else ""
    return f"{told.event:<7} {told.name or ''}{parts}".rstrip()


@click.command(
    epilog=epilog(
        "Examples: until all virtual functions of a card offer types; until a type is to be had",
        "nodedevctl wait --cap mdev_parent --count 16 --timeout 60",
        "nodedevctl wait --parent 0000:3b:00.4 --type nvidia-746 --available 1",
        "nodedevctl wait --gone mdev_83b8f4f2_509f_382f_3c1e_e6bfe0fa1001",
        exit_status=_EXIT_STATUS,
    )
)
@cap_option
@click.option(
    "--count",
    type=click.IntRange(min=1),
    default=1,
    show_default=True,
    metavar="N",
    help="With --cap: at least so many devices.",
)
@click.option("--device", metavar="DEVICE", help="Until this device is there; an mdev, complete.")
@click.option("--gone", metavar="DEVICE", help="Until this device is not there.")
@click.option("--parent", metavar="DEVICE", help="With --type: this mdev parent.")
@click.option("--type", "type_id", metavar="TYPE", help="With --parent: id or name of a type.")
@click.option(
    "--available",
    type=click.IntRange(min=0),
    default=1,
    show_default=True,
    metavar="N",
    help="With --type: at least so many instances can be created.",
)
@_timeout_option
@click.pass_obj
def wait(
    context: Context,
    capabilities: tuple[str, ...],
    count: int,
    device: str | None,
    gone: str | None,
    parent: str | None,
    type_id: str | None,
    available: int,
    timeout: float | None,
) -> None:
    """Wait until something is so: one of --cap, --device, --gone, or --parent with --type.

    It is true at once if it is so already, and misses nothing: what there is and what changes
    come in one stream.
    """
    asked = [bool(capabilities), device is not None, gone is not None, parent is not None]
    if sum(asked) != 1 or (parent is None) != (type_id is None):
        raise click.UsageError("ask for one of --cap, --device, --gone, or --parent with --type")
    deadline = _deadline(timeout)
    client = context.client()
    if capabilities:
        known = _Known(client, capabilities=checked(capabilities))
        reached = known.until(lambda: len(known.devices) >= count, deadline)
    elif gone is not None:
        known = _Known(client, names=[gone])
        reached = known.until(lambda: not known.devices, deadline)
    elif device is not None:
        known = _Known(client, names=[device])
        reached = known.until(lambda: any(map(_complete, known.devices.values())), deadline)
    else:
        assert parent is not None
        assert type_id is not None
        # Some drivers change counts without any event: asking makes the daemon look.
        recount = _recounting(context.client(), parent)
        recount()
        known = _Known(client, names=[parent])
        reached = known.until(
            lambda: any(_offers(one, type_id, available) for one in known.devices.values()),
            deadline,
            recount,
        )
    if not reached:
        sys.exit(EXIT_TIMEOUT)


class _Known:
    """The devices that match, as the daemon tells of them."""

    def __init__(
        self,
        client: Client,
        *,
        capabilities: list[str] | None = None,
        names: list[str] | None = None,
    ) -> None:
        self.devices: dict[str, Device | None] = {}
        self._ready = False
        self._watching = client.watch(
            capabilities=capabilities, names=names, content="none" if names is None else "json"
        )

    def until(
        self,
        reached: Callable[[], bool],
        deadline: float | None,
        idle: Callable[[], None] | None = None,
    ) -> bool:
        """Take in what is told until something is so; False if the time runs out before."""
        while not (self._ready and reached()):
            left = _left(deadline)
            if not self._ready:
                # What there is comes at once: it is heard even if there is no time to wait.
                pause = None if left is None else max(left, _ANSWER_SECONDS)
            elif left == 0:
                return False
            elif idle is not None:
                pause = _RECOUNT_SECONDS if left is None else min(_RECOUNT_SECONDS, left)
            else:
                pause = left
            got = self._watching.next(pause)
            if got is not None:
                self._take(got[0])
            elif self._ready and idle is not None:
                idle()
            else:
                return False
        return True

    def _take(self, told: Told) -> None:
        if told.event == "resync":
            self.devices.clear()
            self._ready = False
        elif told.event == "ready":
            self._ready = True
        elif told.event == "removed" or not is_active(told.path):
            # An mdev that is defined alone is not there.
            self.devices.pop(told.name or "", None)
        else:
            self.devices[told.name or ""] = told.device


def _complete(device: Device | None) -> bool:
    child = None if device is None else device.capability(MdevChild)
    return child is None or child.state == "complete"


def _offers(device: Device | None, type_id: str, available: int) -> bool:
    parent = None if device is None else device.capability(MdevParent)
    return parent is not None and any(
        type_id in (one.id, one.name)
        and one.available_instances is not None
        and one.available_instances >= available
        for one in parent.types
    )


def _recounting(client: Client, name: str) -> Callable[[], None]:
    def recount() -> None:
        with suppress(NoSuchDevice):
            client.device_json(name)

    return recount


def _deadline(timeout: float | None) -> float | None:
    return None if timeout is None else time.monotonic() + timeout


def _left(deadline: float | None) -> float | None:
    return None if deadline is None else max(0.0, deadline - time.monotonic())
