"""nodedevctl record: a copy of what a scan reads, in one text file or in a directory."""

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
        "Examples: record this host, and look at the recording; unpack a recording",
        "nodedevctl record host.ttar",
        "nodedevctl --sysroot host.ttar tree",
        "nodedevctl --sysroot host.ttar record --raw /tmp/host",
    )
)
@click.argument("target", metavar="HOST.ttar|DIR")
@click.option(
    "--raw", is_flag=True, help="Keep UUIDs, serial numbers, addresses, labels and names."
)
@json_option
@click.pass_obj
def record(context: Context, target: str, raw: bool, as_json: bool) -> None:
    """Record what a scan reads from this host.

    The recording is a text file if the name ends in .ttar, else a directory; --sysroot accepts
    both. The file must not exist; the directory must be new, or empty and your own; its parent
    must exist. Only you can read the recording: the file has mode 0600, the directory 0700.
    What identifies the machine or its owner is replaced: UUIDs, serial numbers, addresses, World
    Wide Names, labels, names of volumes and of interfaces.
    """
    from nodedevd.follow.in_time import in_time
    from nodedevd.tree.record import record as record_host

    with _ended_by_signals():
        done = record_host(
            "/" if context.sysroot is None else context.sysroot,
            target,
            raw=raw,
            run=lambda read: in_time(read)[0],
        )
    if as_json:
        print_json(msgspec.json.encode(done))
        return
    click.echo(
        f"recorded {done.devices} devices into {printable(target)}: {done.files} files,"
        f" {done.links} links, {done.replaced} identifying values replaced"
    )
    for path in done.lost:
        click.echo(f"not recorded, because it cannot be read: {printable(path)}", err=True)


@contextmanager
def _ended_by_signals() -> Iterator[None]:
    """Exit on SIGTERM and SIGHUP by an exception, as on Ctrl-C, unless they are ignored.

    Otherwise an unfinished recording would stay.
    """
    import signal  # slow to import

    before = {}
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is not signal.SIG_IGN:  # nohup(1)
            before[number] = signal.signal(number, lambda got, frame: sys.exit(128 + got))
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
