"""nodedevctl record: a copy of a host, to look at elsewhere or to attach to a report."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

import click
import msgspec

from nodedevd.cli.options import Context, epilog, json_option, print_json
from nodedevd.text import printable


@click.command(
    epilog=epilog(
        "Examples: record this host, and look at the copy; unpack a recording",
        "nodedevctl record host.ttar",
        "nodedevctl --sysroot host.ttar tree",
        "nodedevctl --sysroot host.ttar record --raw /tmp/host",
    )
)
@click.argument("target", metavar="HOST.ttar|DIR")
@click.option("--raw", is_flag=True, help="Keep uuids, serial numbers and MAC addresses.")
@json_option
@click.pass_obj
def record(context: Context, target: str, raw: bool, as_json: bool) -> None:
    """Copy what a scan reads from this host into one text file, or into a directory.

    A name that ends in .ttar is a file, unless it is a directory or ends in a slash. A file must
    be new; a directory must be new or empty. What identifies the machine (uuids, serial numbers,
    MAC addresses) is replaced.
    """
    from nodedevd.tree.record import record as record_host

    with _ended_by_sigterm():
        done = record_host(context.sysroot or "/", target, raw=raw)
    if as_json:
        print_json(msgspec.json.encode(done))
        return
    click.echo(
        f"recorded {done.devices} devices into {target}: {done.files} files,"
        f" {done.links} links, {done.replaced} identifying values replaced"
    )
    for path in done.lost:
        click.echo(f"not recorded, the host refused to show it: {printable(path)}", err=True)


@contextmanager
def _ended_by_sigterm() -> Iterator[None]:
    """Exit on SIGTERM, as on Ctrl-C, by an exception: a recording removes what it wrote."""
    import signal  # slow to import

    before = signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
