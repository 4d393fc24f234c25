"""declared: the layout of a host, as far as only root can have written it.

Reads  the files that `layout.files` reads, and the owners and permissions of these and of the
       directories above them
"""

from __future__ import annotations

import os

from nodedevd.control.trust import why_changeable
from nodedevd.host.sysroot import Sysroot
from nodedevd.layout.files import read_layout
from nodedevd.layout.problem import Problem
from nodedevd.layout.wanted import WantedCard


def read_declared(root: str) -> tuple[tuple[WantedCard, ...], tuple[Problem, ...]]:
    """Return the entries that may be acted on, and what is wrong with the files.

    A file that another user than root can change is a problem, and its entries are left out.
    """
    sysroot = Sysroot(root)
    declared = read_layout(sysroot)
    problems = list(declared.problems)
    untrusted: set[str] = set()
    for file in declared.files:
        reason = None if os.path.isfile(sysroot.root) else _why_untrusted(sysroot.root, file)
        if reason is not None:
            untrusted.add(file)
            message = f"it is not used: {reason}"
            problems.append(
                Problem(file, None, None, "untrusted", message, "give it to root alone")
            )
    cards = tuple([one for one in declared.layout.cards if one.file not in untrusted])
    return cards, tuple(problems)


def _why_untrusted(root: str, file: str) -> str | None:
    try:
        return why_changeable(root, os.path.join(root, file.lstrip("/")))
    except OSError as error:
        return f"it cannot be examined: {error.strerror}"
