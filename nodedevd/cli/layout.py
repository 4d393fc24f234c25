"""nodedevctl layout: what the host should offer, by the files of layout.d."""

from __future__ import annotations

import click

from nodedevd.cli.group import Group
from nodedevd.cli.layout_apply import apply
from nodedevd.cli.layout_check import check
from nodedevd.cli.layout_diff import diff
from nodedevd.cli.layout_schema import file_schema
from nodedevd.cli.layout_show import show
from nodedevd.cli.layout_status import status
from nodedevd.cli.options import epilog


@click.group(
    cls=Group,
    epilog=epilog(
        "Examples: save what there is now; what is different later; put it right",
        "nodedevctl layout show > /etc/nodedevd/layout.d/host.toml",
        "nodedevctl layout diff",
        "nodedevctl layout apply",
    ),
)
def layout() -> None:
    """Compare the host with what it should offer.

    The files /etc/nodedevd/layout.d/*.toml say which virtual functions, drivers, vGPUs and mdevs
    a host should have, card by card; docs/layout.md describes them.
    """


layout.add_command(apply)
layout.add_command(check)
layout.add_command(diff)
layout.add_command(file_schema)
layout.add_command(show)
layout.add_command(status)
