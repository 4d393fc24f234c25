"""nodedevctl hostdev: the domain XML that hands a device to a guest."""

from __future__ import annotations

import click
import msgspec

from nodedevd.cli.options import Context, epilog, json_option
from nodedevd.errors import InvalidParameter
from nodedevd.questions.hostdev import (
    BOOT_ORDER_LIMIT,
    MODELS,
    HostDevRequest,
    Model,
    parse_address,
    parse_planned,
)
from nodedevd.text import printable


def _on_or_yes(
    context: click.Context, parameter: click.Parameter, value: str | None
) -> bool | None:
    return None if value is None else value in ("on", "yes")


def _address(context: click.Context, parameter: click.Parameter, value: str | None) -> str | None:
    if value is not None:
        try:
            parse_address(value)
        except InvalidParameter as error:
            raise click.BadParameter(error.reason) from error
    return value


@click.command(
    epilog=epilog(
        "Examples: give a running guest an mdev; the XML for one that will be created later",
        "nodedevctl hostdev 83b8f4f2-509f-382f-3c1e-e6bfe0fa1001 > mdev.xml",
        "virsh attach-device DOMAIN mdev.xml",
        "nodedevctl hostdev --not-created --type nvidia-746 $(uuidgen)",
    )
)
@click.argument("device", metavar="DEVICE")
@click.option(
    "--model",
    type=click.Choice(MODELS),
    help="Of an mdev: what its device_api has to be. Asked for if that cannot be read.",
)
@click.option(
    "--managed",
    type=click.Choice(("yes", "no")),
    callback=_on_or_yes,
    help="Of a PCI function: whether libvirt binds it to vfio-pci, and back. [default: yes, but"
    " no for a vGPU]",
)
@click.option(
    "--display",
    type=click.Choice(("on", "off")),
    callback=_on_or_yes,
    help="Of an mdev of vfio-pci: whether the guest's display shows what it draws.",
)
@click.option("--ramfb", is_flag=True, help="With --display on: show the firmware's output, too.")
@click.option(
    "--boot-order",
    type=click.IntRange(1, BOOT_ORDER_LIMIT),
    metavar="N",
    help="Boot from it, as the Nth. For PCI functions and mdevs of vfio-ccw.",
)
@click.option(
    "--address",
    metavar="pci:…|ccw:…",
    callback=_address,
    help="Where it is in the guest: pci:0000:05:00.0 or ccw:fe.0.0001.",
)
@click.option("--not-created", is_flag=True, help="DEVICE is the UUID of an mdev to come.")
@click.option("--type", "type_", metavar="TYPE", help="With --not-created: id or name of its type.")
@click.option("--arch", help="With --not-created: the host's architecture. [default: this one's]")
@json_option
@click.pass_obj
def hostdev(
    context: Context,
    device: str,
    model: Model | None,
    managed: bool | None,
    display: bool | None,
    ramfb: bool,
    boot_order: int | None,
    address: str | None,
    not_created: bool,
    type_: str | None,
    arch: str | None,
    as_json: bool,
) -> None:
    """Print the <hostdev> that hands a device to a guest, for virsh attach-device.

    It is printed only if the device is there and can be handed over as asked for. What else
    the guest needs, and what was guessed, comes as notes on standard error.
    """
    if not_created:
        try:
            parse_planned(device)
        except InvalidParameter as error:
            raise click.BadParameter(error.reason, param_hint="DEVICE") from error
    elif type_ is not None or arch is not None:
        raise click.UsageError("--type and --arch are for an mdev to come: add --not-created")
    found = context.source().hostdev(
        HostDevRequest(
            name=device,
            model=model,
            managed=managed,
            display=display,
            ramfb=ramfb or None,
            boot_order=boot_order,
            address=address,
            not_created=not_created or None,
            type=type_,
            arch=arch,
        )
    )
    if as_json:
        click.echo(msgspec.json.format(msgspec.json.encode(found), indent=2))
        return
    for note in found.notes:
        click.echo(f"note: {printable(note)}", err=True)
    click.echo(found.xml, nl=False)
