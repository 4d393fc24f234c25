"""declared: the layout of a host, as far as only root can have written it."""

from __future__ import annotations

import os

from nodedevd.host.sysroot import Sysroot
from nodedevd.layout.directories import DIRECTORIES
from nodedevd.layout.files import read_layout
from nodedevd.layout.problem import Problem
from nodedevd.layout.wanted import WantedCard


def read_declared(root: str) -> tuple[tuple[WantedCard, ...], tuple[Problem, ...]]:
    """Return the entries that may be acted on, and what is wrong with the files.

    A file that another user than root can change is a problem; it is not read. If a directory
    cannot be listed, it is not known which files count, and there are no entries.
    """
    sysroot = Sysroot(root)
    # In an archive, whom a file belongs to is not known; nothing is changed there either.
    declared = read_layout(sysroot, by_root_alone=not os.path.isfile(sysroot.root))
    problems = declared.problems
    if any(one.code == "unreadable" and one.file in DIRECTORIES for one in problems):
        return (), problems
    return declared.layout.cards, problems
