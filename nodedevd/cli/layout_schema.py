"""nodedevctl layout schema: the JSON Schema of layout files."""

from __future__ import annotations

import click
import msgspec

from nodedevd.cli.options import always_json_option, epilog, print_json
from nodedevd.layout.form import json_schema


@click.command(
    "schema",
    epilog=epilog(
        "Example: for an editor that checks TOML with it",
        "nodedevctl layout schema > layout.schema.json",
    ),
)
@always_json_option
def file_schema() -> None:
    """Print the JSON Schema of layout files, for editors.

    It describes each key. What the keys mean together is for `nodedevctl layout check`.
    """
    print_json(msgspec.json.encode(json_schema()))
