"""nodedevctl dumpxml: devices as XML."""

from __future__ import annotations

from typing import get_args

import click

from nodedevd.cli.options import Context, epilog, named
from nodedevd.formats import Format


@click.command(
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
    click.echo(context.source().dump_xml(named(devices, everything), form=form), nl=False)
