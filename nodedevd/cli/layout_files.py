"""layout_files: the layout that a command is about, and the tree that it is compared with."""

from __future__ import annotations

from collections.abc import Sequence
from typing import BinaryIO

import click

from nodedevd.cli.options import Context
from nodedevd.cli.source import Source
from nodedevd.host.sysroot import Sysroot
from nodedevd.layout.directories import DIRECTORIES
from nodedevd.layout.files import FILE_BYTES, Declared, declared, read_layout, text_of
from nodedevd.layout.problem import Problem
from nodedevd.model.snapshot import Snapshot
from nodedevd.text import printable_path

CAPABILITIES = ("pci", "mdev_parent", "mdev_child", "vgpu")
"""What of a tree a layout is about."""

files_argument = click.argument("files", metavar="[FILE]...", type=click.File("rb"), nargs=-1)


def layout_meant(context: Context, files: Sequence[BinaryIO]) -> Declared:
    """Return the layout of the given files, or else of the host's layout.d."""
    if not files:
        return read_layout(Sysroot(context.sysroot or "/"))
    problems: list[Problem] = []
    texts = []
    for file in files:
        path = printable_path(str(getattr(file, "name", "<stdin>")))
        text = text_of(path, file.read(FILE_BYTES + 1), problems)
        if text is not None:
            texts.append((path, text))
    return declared(texts, problems)


def tree_of(source: Source) -> Snapshot:
    """Return the devices that a layout can be about."""
    found = source.snapshot(CAPABILITIES)
    return Snapshot(found.devices, generation=found.generation)


def no_files() -> str:
    """Return a sentence for a host without a layout."""
    return f"There is no layout: no file *.toml in {', '.join(DIRECTORIES)}."
