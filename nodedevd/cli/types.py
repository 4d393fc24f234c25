"""nodedevctl types: the vGPU types that devices offer, by either framework."""

from __future__ import annotations

import click
import msgspec

from nodedevd.cli.options import Context, epilog, json_option, print_json
from nodedevd.model.device import Device
from nodedevd.questions.vgpus import CAPABILITIES, Offer, VgpuFunction, vgpu_functions
from nodedevd.text import table


@click.command(epilog=epilog("Example:", "nodedevctl types 0000:3b:00.4"))
@click.argument("parents", metavar="[DEVICE]...", nargs=-1)
@json_option
@click.pass_obj
def types(context: Context, parents: tuple[str, ...], as_json: bool) -> None:
    """List the vGPU types that devices offer.

    The list has the types of mdev parents and the profiles of virtual functions with NVIDIA's
    vendor VFIO; without DEVICE, those of all devices. AVAILABLE is the number of instances that
    can still be created, ACTIVE the number that exists. A value that cannot be read is shown as
    "unknown".
    """
    source = context.source()
    if parents:
        devices = [source.describe(name) for name in parents]
    else:
        devices = list(source.snapshot(CAPABILITIES).devices)
    offers = []
    for device in devices:
        function = next(vgpu_functions([device]), None)
        if function is None:
            click.echo(
                f"{device.name} offers no types: it is neither an mdev parent nor a virtual"
                " function with vendor VFIO",
                err=True,
            )
        else:
            offers += [(device, function, one) for one in function.offers]
    if as_json:
        print_json(msgspec.json.encode([_offer(function, one) for _, function, one in offers]))
        return
    heading = ("PARENT", "TYPE", "NAME", "API", "AVAILABLE", "ACTIVE", "DESCRIPTION")
    click.echo(table(heading, [_row(device, one) for device, _, one in offers]), nl=False)


def _offer(function: VgpuFunction, one: Offer) -> dict[str, object]:
    return {
        "parent": function.device,
        "framework": function.framework,
        "id": one.id,
        "name": one.name,
        "description": one.description,
        "facts": one.facts,
        "device_api": one.device_api,
        "available_instances": one.available,
        "active_instances": one.active,
        "devices": one.mdevs,
    }


def _row(device: Device, one: Offer) -> tuple[str, ...]:
    return (
        device.name,
        one.id,
        one.name or "-",
        one.device_api or "unknown",
        "unknown" if one.available is None else str(one.available),
        str(one.active),
        one.description or "-",
    )
