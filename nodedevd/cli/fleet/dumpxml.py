"""nodedevctl --fleet dumpxml: devices of a host as XML."""

from __future__ import annotations

from typing import get_args

import click
import msgspec

from nodedevd.cli.fleet.common import EXIT_STATUS_OF_FLEETS
from nodedevd.cli.fleet.tree_of import tree_of
from nodedevd.cli.options import Context, epilog, names_or_all, print_json, print_xml
from nodedevd.formats import Format


@click.command(
    epilog=epilog(
        "Example:",
        "nodedevctl --fleet nats://127.0.0.1:4222 dumpxml kvm3 0000:3b:00.0",
        exit_status=EXIT_STATUS_OF_FLEETS,
    )
)
@click.argument("host")
@click.argument("devices", metavar="[DEVICE]...", nargs=-1)
@click.option("--all", "all_devices", is_flag=True, help="Print all devices.")
@click.option(
    "--format",
    "form",
    type=click.Choice(get_args(Format)),
    default="nodedevd",
    show_default=True,
    help="As for nodedevctl dumpxml without --fleet.",
)
@click.option(
    "--json", "as_json", is_flag=True, help="Print JSON with the generation and the XML as text."
)
@click.pass_obj
def dumpxml(
    context: Context,
    host: str,
    devices: tuple[str, ...],
    all_devices: bool,
    form: Format,
    as_json: bool,
) -> None:
    """Print devices of a host as XML, as it has published them.

    The state of a host that is not alive is printed to standard error.
    """
    names = names_or_all(devices, all_devices)
    tree = tree_of(context, host)
    if as_json:
        print_json(msgspec.json.encode(tree.xml_document(names, form=form)))
        return
    print_xml(tree.dump_xml(names, form=form))
