"""nodedevctl nfd: writes labels for Kubernetes' Node Feature Discovery."""

from __future__ import annotations

import os
import tempfile
from contextlib import suppress
from datetime import UTC, datetime, timedelta

import click
import msgspec

from nodedevd.cli.options import Context, epilog, json_option, print_json
from nodedevd.errors import NoDirectory
from nodedevd.questions.node_features import node_features
from nodedevd.questions.summary import room_of


@click.command(
    epilog=epilog(
        "Examples: the labels of this host; written for NFD, as nodedevd-nfd.timer does",
        "nodedevctl nfd",
        "nodedevctl nfd --output …/features.d/nodedevd",
    )
)
@click.option(
    "--output", metavar="PATH", help="Write this file, in one step.  [default: standard output]"
)
@click.option(
    "--expires",
    type=click.IntRange(0, 7 * 86400),
    default=300,
    show_default=True,
    metavar="SECONDS",
    help="Have NFD forget the labels after SECONDS without a new file; 0: never.",
)
@json_option
@click.pass_obj
def nfd(context: Context, output: str | None, expires: int, as_json: bool) -> None:
    """Write counts as labels for Node Feature Discovery.

    NFD reads them from /etc/kubernetes/node-feature-discovery/features.d/nodedevd.
    Each line becomes a label of the node, as in
    feature.node.kubernetes.io/nodedevd.vgpu.nvidia-746.available=2. AVAILABLE, SURE and ACTIVE are
    those of nodedevctl types, for all cards of the host; "unknown" is a count that cannot be read.
    """
    source = context.source()
    found = source.types()
    status = source.status()
    counts = {kind: count for kind, count in status.capability_counts.items() if count}
    until = datetime.now(UTC) + timedelta(seconds=expires) if expires else None
    room = room_of(found, status.state_counts.active, counts)
    features = node_features(room, until, generation=found.generation)
    if output is not None:
        _replace(output, features.text)
    if as_json:
        print_json(msgspec.json.encode(features))
    elif output is None:
        click.echo(features.text, nl=False)


def _replace(path: str, text: str) -> None:
    """Write a file that is never seen half written. Raises NoDirectory, OSError."""
    directory = os.path.dirname(path) or "."
    try:
        # NFD passes over names that begin with a dot.
        descriptor, beside = tempfile.mkstemp(prefix=".nodedevd-", dir=directory)
    except FileNotFoundError:
        raise NoDirectory(directory) from None
    try:
        with open(descriptor, "w", encoding="utf-8") as file:
            os.fchmod(file.fileno(), 0o644)
            file.write(text)
        os.rename(beside, path)
    except BaseException:
        with suppress(OSError):
            os.unlink(beside)
        raise
