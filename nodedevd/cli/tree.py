"""nodedevctl tree: the devices below their parents."""

from __future__ import annotations

import click
import msgspec

from nodedevd.cli.options import Context, epilog, json_option, print_json, state_mark
from nodedevd.cli.tree_drawing import draw
from nodedevd.model.brief import DeviceList, Entry
from nodedevd.text import printable


@click.command(epilog=epilog("Example:", "nodedevctl --sysroot / tree"))
@click.option("--all", "all_devices", is_flag=True, help="Also draw inactive mdevs.")
@json_option
@click.pass_obj
def tree(context: Context, all_devices: bool, as_json: bool) -> None:
    """Draw the device tree.

    The layout is that of virsh nodedev-list --tree. The vGPU profile that is set on a virtual
    function follows the name of the function, in brackets; the state of a device that is not
    active follows in parentheses. --json prints what list --json prints.
    """
    found = context.brief_source().list()
    entries = [one for one in found.devices if all_devices or one.state != "inactive"]
    if as_json:
        print_json(msgspec.json.encode(DeviceList(found.generation, tuple(entries))))
        return
    labels = {one.name: _label(one) for one in entries}
    click.echo(draw({one.name: one.parent for one in entries}, labels), nl=False)


def _label(entry: Entry) -> str:
    profile = (entry.type_name or entry.type) if "vgpu" in entry.capabilities else None
    label = "" if profile is None else printable(f" [{profile}]")
    return label + state_mark(entry.state)
