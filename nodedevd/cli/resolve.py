"""nodedevctl resolve: the device that another tool's identifier refers to."""

from __future__ import annotations

import click
import msgspec

from nodedevd.cli.options import Context, epilog, json_option, print_json
from nodedevd.text import table


@click.command(
    epilog=epilog(
        "Examples: the devices of an IOMMU group; the PCI function of an interface",
        "nodedevctl resolve 42",
        "nodedevctl resolve /dev/vfio/42",
        "nodedevctl resolve enp1s0 --json | jq -r '.devices[].pci_function'",
    )
)
@click.argument("identifier")
@json_option
@click.pass_obj
def resolve(context: Context, identifier: str, as_json: bool) -> None:
    """Show which device an IOMMU group, node or interface refers to.

    IDENTIFIER is the number of an IOMMU group, /dev/vfio/N, /dev/vfio/devices/vfioN, any other
    node or link below /dev, the name of a network interface or a disk, or any form of DEVICE.
    For a group, all its devices are shown.
    """
    found = context.source().resolve(identifier)
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
            ", ".join([one.pci_function or "-", *one.other_pci_functions]),
            one.driver or "-",
        )
        for one in found.devices
    ]
    click.echo(table(heading, rows), nl=False)
