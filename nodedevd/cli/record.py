"""nodedevctl record: a copy of what a scan reads."""

from __future__ import annotations

import click
import msgspec

from nodedevd.cli.options import Context, epilog, json_option, print_json
from nodedevd.text import printable


@click.command(
    epilog=epilog(
        "Example: record this host, and look at the recording",
        "nodedevctl record /tmp/host",
        "nodedevctl --sysroot /tmp/host tree",
    )
)
@click.argument("directory", metavar="DIR")
@click.option(
    "--raw", is_flag=True, help="Keep UUIDs, serial numbers, MAC addresses and World Wide Names."
)
@json_option
@click.pass_obj
def record(context: Context, directory: str, raw: bool, as_json: bool) -> None:
    """Record what a scan reads from this host.

    The recording is a new directory DIR, which --sysroot accepts. Values that identify the
    machine (UUIDs, serial numbers, MAC addresses, World Wide Names) are replaced.
    """
    from nodedevd.tree.record import record as record_host

    done = record_host(context.sysroot or "/", directory, raw=raw)
    if as_json:
        print_json(msgspec.json.encode(done))
        return
    click.echo(
        f"recorded {done.devices} devices into {directory}: {done.files} files,"
        f" {done.links} links, {done.replaced} identifying values replaced"
    )
    for path in done.lost:
        click.echo(f"not recorded, because it cannot be read: {printable(path)}", err=True)
