"""nodedevctl metrics: numbers of the devices, and of the daemon, for monitoring."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click
import msgspec

from nodedevd.cli.in_use import in_use_of
from nodedevd.cli.options import Context, epilog, json_option, print_json
from nodedevd.client import Client
from nodedevd.metrics.textfile import SUFFIX
from nodedevd.text import printable

if TYPE_CHECKING:
    from nodedevd.metrics.text import Format


@click.command(
    epilog=epilog(
        "Examples: print; write for node_exporter; check",
        "nodedevctl metrics",
        "nodedevctl metrics --textfile /var/lib/prometheus/node-exporter/nodedev.prom",
        "nodedevctl metrics --format prometheus | promtool check metrics",
    )
)
@click.option(
    "--textfile",
    metavar="FILE",
    help="Write FILE in Prometheus's format, for the textfile collector of node_exporter, which"
    " reads *.prom. The file is replaced at once.",
)
@click.option(
    "--format",
    "form",
    type=click.Choice(["openmetrics", "prometheus"]),
    default="openmetrics",
    show_default=True,
    help="The format to print.",
)
@click.option(
    "--quiet", "-q", is_flag=True, help="Do not say which families are left out, and why."
)
@json_option
@click.pass_obj
def metrics(
    context: Context,
    textfile: str | None,
    form: Format,
    quiet: bool,
    as_json: bool,
) -> None:
    """Print metrics for Prometheus, and for what reads OpenMetrics.

    They are numbers: of devices, of vGPUs by card and type, of mdevs by card and state, of
    findings of doctor, and of what the daemon has done. What is unknown has no value. A family
    that cannot be counted is left out, and standard error says why. docs/metrics.md lists all
    of them. Without a daemon, this host is scanned, and the numbers of the daemon are left out.

    nodedevd-metrics-textfile.timer writes a textfile every minute; nodedevd-metrics.socket
    serves Prometheus.
    """
    if textfile is not None and (as_json or not textfile.endswith(SUFFIX)):
        raise click.BadParameter(
            "it is not JSON; omit --json"
            if as_json
            else f"node_exporter reads only files whose name ends in {SUFFIX}",
            param_hint="--textfile",
        )
    # They are slow to import, as all of doctor is.
    from nodedevd.metrics.families import collect
    from nodedevd.metrics.reading import Reader
    from nodedevd.metrics.text import text_of
    from nodedevd.metrics.textfile import write_textfile

    source = context.source()
    reader = Reader(
        source, followed=isinstance(source, Client), in_use=lambda: in_use_of(source, None)
    )
    found = collect(reader.read())
    for sentence in () if quiet else found.missing:
        click.echo(f"nodedevctl: {printable(sentence)}", err=True)
    if as_json:
        print_json(msgspec.json.encode(found))
    elif textfile is not None:
        write_textfile(textfile, text_of(found.families, "prometheus"))
    else:
        click.echo(text_of(found.families, form), nl=False)
