"""nodedevctl: asks a nodedevd, or scans a sysroot itself, and shows the answer."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import NoReturn, get_args

import click
import msgspec

from nodedevd import __version__
from nodedevd.cli.doctor import doctor
from nodedevd.cli.hostdev import hostdev
from nodedevd.cli.in_use import in_use
from nodedevd.cli.options import (
    EXIT_FAILURE,
    EXIT_NO_DAEMON,
    Context,
    cap_option,
    checked,
    epilog,
    json_option,
    print_json,
)
from nodedevd.cli.record import record
from nodedevd.cli.tree_drawing import draw, sort_key
from nodedevd.cli.vgpu import fits, types
from nodedevd.cli.watch import events, wait
from nodedevd.errors import NoDaemon, NodedevError
from nodedevd.formats import Format
from nodedevd.model.status import Status
from nodedevd.text import printable, table


class _Group(click.Group):
    """Turns errors that nodedevd raises on purpose into a line and an exit status."""

    def invoke(self, context: click.Context) -> object:
        try:
            return super().invoke(context)
        except NoDaemon as error:
            _fail(error, EXIT_NO_DAEMON)
        except (NodedevError, OSError) as error:
            if isinstance(error, BrokenPipeError):
                raise
            _fail(error)


def _fail(error: object, status: int = EXIT_FAILURE) -> NoReturn:
    click.echo(f"nodedevctl: {printable(str(error))}", err=True)
    sys.exit(status)


@click.group(
    cls=_Group,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog=epilog(
        "Examples:",
        "nodedevctl tree",
        "nodedevctl list --cap mdev_parent",
        "nodedevctl --sysroot / dumpxml 0000:3b:00.0",
    ),
)
@click.option(
    "--sysroot",
    metavar="PATH",
    help="Scan the host at PATH in this process; needs no daemon. PATH is / for this host, "
    "a directory that holds sys/, or a file that record wrote.",
)
@click.option("--socket", metavar="PATH", help="Socket of the daemon; also $NODEDEVD_SOCKET.")
@click.version_option(__version__, prog_name="nodedevctl")
@click.pass_context
def main(context: click.Context, sysroot: str | None, socket: str | None) -> None:
    """Show the node devices of a host: PCI functions, mdev parents and mediated devices.

    DEVICE is a device's name, a uuid, mdev_<uuid>, a PCI address or a path below /sys.
    """
    if sysroot is not None and socket is not None:
        raise click.UsageError("--sysroot scans without a daemon; leave out --socket")
    context.obj = Context(sysroot=sysroot, socket=socket)


@main.command(
    "list",
    epilog=epilog(
        "Example: everything that can be divided into mediated devices",
        "nodedevctl list --cap mdev_parent",
    ),
)
@cap_option
@click.option("--inactive", is_flag=True, help="Only mdevs that are defined, but not there.")
@click.option("--all", "everything", is_flag=True, help="These, too.")
@json_option
@click.pass_obj
def list_command(
    context: Context,
    capabilities: tuple[str, ...],
    inactive: bool,
    everything: bool,
    as_json: bool,
) -> None:
    """List the names of devices that are there."""
    if inactive and everything:
        raise click.UsageError("give --inactive or --all")
    found = context.source().list(checked(capabilities))
    if not everything:
        devices = tuple([entry for entry in found.devices if entry.active is not inactive])
        found = msgspec.structs.replace(found, devices=devices)
    if as_json:
        print_json(msgspec.json.encode(found))
        return
    for name in sorted((entry.name for entry in found.devices), key=sort_key):
        click.echo(name)


@main.command(epilog=epilog("Example:", "nodedevctl --sysroot / tree"))
@click.option("--all", "everything", is_flag=True, help="Also mdevs that are only defined.")
@click.pass_obj
def tree(context: Context, everything: bool) -> None:
    """Draw the devices that are there below their parents."""
    shown = [one for one in context.source().list().devices if everything or one.active]
    labels = {one.name: printable(f"[{one.profile}]") for one in shown if one.profile is not None}
    click.echo(draw({one.name: one.parent for one in shown}, labels), nl=False)


@main.command(
    epilog=epilog("Example:", "nodedevctl dumpxml mdev_83b8f4f2-509f-382f-3c1e-e6bfe0fa1001")
)
@click.argument("devices", metavar="[DEVICE]...", nargs=-1)
@click.option("--all", "everything", is_flag=True, help="All devices.")
@click.option(
    "--format",
    "form",
    type=click.Choice(get_args(Format)),
    default="nodedevd",
    show_default=True,
    help="nodedevd's own, or that of virsh nodedev-dumpxml, which shows fewer devices.",
)
@click.pass_obj
def dumpxml(context: Context, devices: tuple[str, ...], everything: bool, form: Format) -> None:
    """Print devices as XML.

    One device is printed as <device>; several, or all, as one document <devices>.
    """
    click.echo(context.source().dump_xml(_named(devices, everything), form=form), nl=False)


@main.command(
    epilog=epilog(
        "Example: the types a device offers",
        "nodedevctl show 0000:3b:00.0 | jq '.capabilities[] | .types? // empty'",
    )
)
@click.argument("devices", metavar="[DEVICE]...", nargs=-1)
@click.option("--all", "everything", is_flag=True, help="All devices.")
@click.pass_obj
def show(context: Context, devices: tuple[str, ...], everything: bool) -> None:
    """Print devices as JSON.

    One device is printed as an object; several, or all, as one document with an array.
    """
    source = context.source()
    names = _named(devices, everything)
    if names is not None and len(names) == 1:
        print_json(source.describe_json(names[0]))
    else:
        print_json(source.snapshot_json(names))


def _named(devices: Sequence[str], everything: bool) -> list[str] | None:
    if everything == bool(devices):
        raise click.UsageError("give the names of devices, or --all")
    return None if everything else list(devices)


@main.command(
    epilog=epilog(
        "Examples: whose IOMMU group is this, and what is behind an interface",
        "nodedevctl resolve 42",
        "nodedevctl resolve /dev/vfio/42",
        "nodedevctl resolve enp1s0 --json | jq -r '.devices[].pci_function'",
    )
)
@click.argument("what")
@json_option
@click.pass_obj
def resolve(context: Context, what: str, as_json: bool) -> None:
    """Show which device is meant by WHAT, with its parent and type.

    WHAT is the number of an IOMMU group, /dev/vfio/N, /dev/vfio/devices/vfioN, any other node or
    link below /dev, the name of a network interface or a disk, or any name of a device. The
    devices of a group are all shown.
    """
    found = context.source().resolve(what)
    if as_json:
        print_json(msgspec.json.encode(found))
        return
    heading = ("DEVICE", "PARENT", "TYPE", "IOMMU GROUP", "PCI FUNCTION", "DRIVER")
    rows = [
        (
            one.name,
            one.parent or "-",
            one.type_name or one.type or ", ".join(one.capabilities),
            "-" if one.iommu_group is None else str(one.iommu_group),
            one.pci_function or "-",
            one.driver or "-",
        )
        for one in found.devices
    ]
    click.echo(table(heading, rows), nl=False)


@main.command(epilog=epilog("Example:", "nodedevctl status --json | jq .error_count"))
@json_option
@click.pass_obj
def status(context: Context, as_json: bool) -> None:
    """Show how the daemon is doing, and what it could not read."""
    answer = context.source().status()
    if as_json:
        print_json(msgspec.json.encode(answer))
        return
    click.echo(_status_text(answer, embedded=context.sysroot is not None), nl=False)


def _status_text(answer: Status, *, embedded: bool) -> str:
    counts = ", ".join(f"{number} {kind}" for kind, number in answer.capabilities.items() if number)
    lines = {
        "Version": answer.version,
        "Host": answer.sysroot,
        "Devices": f"{answer.devices} ({counts})",
        "Generation": str(answer.generation),
        "Last scan": f"{answer.last_scan.finished:%Y-%m-%d %H:%M:%S} UTC,"
        f" took {answer.last_scan.seconds:.3f} s",
    }
    if not embedded:
        lines["Started"] = f"{answer.started:%Y-%m-%d %H:%M:%S} UTC, process {answer.pid}"
        lines["Events"] = _events_text(answer)
        lines["Mishaps"] = (
            f"{answer.overflows} overflows, {answer.monitor_errors} monitor errors,"
            f" {answer.missed_changes} changes without an event, {answer.rescans} rescans"
        )
        lines["Clients"] = (
            f"{answer.clients} connected, {answer.watchers} watching, {answer.calls} calls answered"
        )
    if not answer.privileged:
        lines["Privileges"] = "not root: what root alone may read is unknown"
    lines["Read errors"] = str(answer.error_count)
    text = "".join(f"{label + ':':<13}{printable(value)}\n" for label, value in lines.items())
    for read in answer.unanswered_reads:
        text += f"A read of {printable(read.path)} has not returned for {read.seconds:.1f} s.\n"
    if answer.errors:
        rows = [
            (error.device or "-", error.attribute or ".", error.code, error.detail)
            for error in answer.errors
        ]
        text += "\n" + table(("DEVICE", "ATTRIBUTE", "ERROR", "DETAIL"), rows)
    return text


def _events_text(answer: Status) -> str:
    if answer.event_source == "none":
        return "none: changes are found by the reconcile alone"
    last = "" if answer.last_event is None else f", last {answer.last_event:%Y-%m-%d %H:%M:%S} UTC"
    return f"{answer.events} from {answer.event_source}{last}, in {answer.updates} updates"


@main.command(epilog=epilog("Example:", "nodedevctl schema > nodedevd.schema.json"))
def schema() -> None:
    """Print the JSON Schema of what show, list --json and status --json print."""
    from nodedevd.cli.schema import json_schema

    print_json(msgspec.json.encode(json_schema()))


main.add_command(doctor)
main.add_command(events)
main.add_command(fits)
main.add_command(hostdev)
main.add_command(in_use)
main.add_command(record)
main.add_command(types)
main.add_command(wait)
