"""nodedevctl dumpxml: devices as XML."""

from __future__ import annotations

from typing import get_args

import click
import msgspec

from nodedevd.cli.options import Context, epilog, names_or_all, print_json, print_xml
from nodedevd.formats import Format


@click.command(
    epilog=epilog("Example:", "nodedevctl dumpxml mdev_83b8f4f2-509f-382f-3c1e-e6bfe0fa1001")
)
@click.argument("devices", metavar="[DEVICE]...", nargs=-1)
@click.option("--all", "all_devices", is_flag=True, help="Print all devices.")
@click.option(
    "--format",
    "form",
    type=click.Choice(get_args(Format)),
    default="nodedevd",
    show_default=True,
    help="nodedevd prints every device and all its properties; libvirt prints what"
    " virsh nodedev-dumpxml prints, for the devices that libvirt shows.",
)
@click.option(
    "--json", "as_json", is_flag=True, help="Print JSON with the generation and the XML as text."
)
@click.pass_obj
def dumpxml(
    context: Context, devices: tuple[str, ...], all_devices: bool, form: Format, as_json: bool
) -> None:
    """Print devices as XML.

    One device is printed as <device>. Several devices, or all, are printed as one document
    <devices>.
    """
    source = context.source()
    names = names_or_all(devices, all_devices)
    if as_json:
        print_json(msgspec.json.encode(source.xml_document(names, form=form)))
        return
    print_xml(source.dump_xml(names, form=form))
