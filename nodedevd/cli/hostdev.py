"""nodedevctl hostdev: the domain XML that assigns a device to a guest."""

from __future__ import annotations

import os
from textwrap import indent

import click
import msgspec

from nodedevd.cli.in_use import RETRY_REASONS
from nodedevd.cli.options import EXIT_STATUS, Context, epilog, json_option, print_json, print_xml
from nodedevd.cli.source import Source
from nodedevd.errors import InvalidParameter
from nodedevd.host.sysroot import Sysroot
from nodedevd.questions.hostdev.answer import open_note
from nodedevd.questions.hostdev.request import (
    BOOT_ORDER_LIMIT,
    MODELS,
    HostDev,
    HostDevRequest,
    Model,
    parse_address,
    parse_new_mdev,
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
        "Examples: assign an mdev to a running guest; XML for a future mdev",
        "nodedevctl hostdev 83b8f4f2-509f-382f-3c1e-e6bfe0fa1001 > mdev.xml",
        "virsh attach-device DOMAIN mdev.xml",
        "nodedevctl hostdev --not-created --type nvidia-746 $(uuidgen)",
        "nodedevctl hostdev --managed-by-hook --type nvidia-746 $(uuidgen)",
        exit_status=f"{EXIT_STATUS.removesuffix('.')}, 6 no device offers the type.",
    )
)
@click.argument("device", metavar="DEVICE")
@click.option(
    "--model",
    type=click.Choice(MODELS),
    help="mdevs: the expected device_api. Needed only if the device_api cannot be read.",
)
@click.option(
    "--managed",
    type=click.Choice(("yes", "no")),
    callback=_on_or_yes,
    help="PCI functions: whether libvirt binds the function to vfio-pci, and back afterwards."
    " [default: yes; no for a vGPU]",
)
@click.option(
    "--display",
    type=click.Choice(("on", "off")),
    callback=_on_or_yes,
    help="vGPUs: whether the guest's display shows the output of the vGPU. A vGPU that is a PCI"
    " function needs libvirt 10.3.0.",
)
@click.option("--ramfb", is_flag=True, help="With --display on: also show the firmware's output.")
@click.option(
    "--iommufd",
    type=click.Choice(("yes", "no")),
    callback=_on_or_yes,
    help="PCI functions: whether QEMU uses iommufd instead of the VFIO group. Needs libvirt 12.1.0."
    " [default: libvirt's]",
)
@click.option(
    "--boot-order",
    type=click.IntRange(1, BOOT_ORDER_LIMIT),
    metavar="N",
    help="PCI functions and mdevs of vfio-ccw: position in the guest's boot order.",
)
@click.option(
    "--address",
    metavar="pci:…|ccw:…",
    callback=_address,
    help="Address in the guest, for example pci:0000:05:00.0 or ccw:fe.0.0001.",
)
@click.option(
    "--not-created", is_flag=True, help="DEVICE is the UUID of an mdev that does not exist yet."
)
@click.option(
    "--managed-by-hook",
    is_flag=True,
    help="Have the hook for libvirt make the vGPU when the guest starts, and remove it at its end."
    " DEVICE is the UUID of an mdev, or a function with vendor VFIO. Also prints the <metadata> of"
    " the domain.",
)
@click.option(
    "--type",
    "type_",
    metavar="TYPE",
    help="With --not-created or --managed-by-hook: ID or name of the type.",
)
@click.option(
    "--from",
    "places",
    multiple=True,
    metavar="DEVICE",
    help="With --managed-by-hook: a parent, function or card that the mdev may come from. May be"
    " repeated. [default: any]",
)
@click.option(
    "--arch",
    metavar="ARCH",
    help="With --not-created: architecture of the host, as in uname -m. [default: this host's]",
)
@json_option
@click.pass_obj
def hostdev(
    context: Context,
    device: str,
    model: Model | None,
    managed: bool | None,
    display: bool | None,
    ramfb: bool,
    iommufd: bool | None,
    boot_order: int | None,
    address: str | None,
    not_created: bool,
    managed_by_hook: bool,
    type_: str | None,
    places: tuple[str, ...],
    arch: str | None,
    as_json: bool,
) -> None:
    """Print the domain XML that assigns a device to a guest.

    The element <hostdev> is ready for virsh attach-device. It is printed only if the device can
    be assigned with the given options. Notes on standard error state guesses, what else the guest
    needs, what this host loses, and whether a process has the device open.

    With --managed-by-hook, both parts of the domain's XML are printed, for virsh edit;
    docs/guides/managed-vgpus.md explains them.
    """
    if not_created:
        try:
            parse_new_mdev(device)
        except InvalidParameter as error:
            raise click.BadParameter(error.reason, param_hint="DEVICE") from error
    elif arch is not None or (type_ is not None and not managed_by_hook):
        raise click.UsageError("--type and --arch need --not-created")
    if managed_by_hook and type_ is None:
        raise click.UsageError("--managed-by-hook needs --type")
    if places and not managed_by_hook:
        raise click.UsageError("--from needs --managed-by-hook")
    source = context.source()
    found = source.hostdev(
        HostDevRequest(
            name=device,
            model=model,
            managed=managed,
            display=display,
            ramfb=ramfb or None,
            iommufd=iommufd,
            boot_order=boot_order,
            address=address,
            not_created=not_created or None,
            type=type_,
            arch=arch,
            managed_by_hook=managed_by_hook or None,
            places=list(places) or None,
        )
    )
    if found.open == "unknown" and context.sysroot is None and os.geteuid() == 0:
        found = complete(source, device, found)
    if as_json:
        print_json(msgspec.json.encode(found))
        return
    for note in found.notes:
        click.echo(f"note: {printable(note)}", err=True)
    if found.metadata is None:
        print_xml(found.xml)
        return
    for name, xml in (("metadata", found.metadata), ("devices", found.xml)):
        print_xml(f"<{name}>\n{indent(xml, '  ')}</{name}>\n")


def complete(source: Source, name: str, found: HostDev) -> HostDev:
    """Complete the answer of a daemon that may not look at other users' processes."""
    from nodedevd.follow.shared_look import look_in_time  # asyncio is slow to import

    (use,) = source.in_use([name]).devices
    if use.reason not in RETRY_REASONS:
        return found
    use = look_in_time(Sysroot()).use(use.name, use.path)
    note = open_note(use)
    notes = found.notes if note is None or note in found.notes else (*found.notes, note)
    return msgspec.structs.replace(found, open=use.open, notes=notes)
