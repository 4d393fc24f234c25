"""A plain `nodedevctl list` of a daemon, without loading the command or click.

Monitoring and scripts call it often, and loading takes most of its time. It does what the command
does, or nothing at all: the command handles every other option, error and name.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from nodedevd.capability_words import CAPABILITY_WORDS
from nodedevd.cli.output import survive_closed_pipes
from nodedevd.cli.quick_call import NO_ANSWER, Row, ask
from nodedevd.cli.tree_drawing import sort_key
from nodedevd.socket_paths import candidate_socket_paths


def listed(arguments: Sequence[str]) -> bool:
    """Print the names of devices for a command line; False, and nothing is printed, if not so.

    Ctrl-C ends the program as it ends a command, with status 1.
    """
    options = parsed(arguments)
    if options is None:
        return False
    paths, words = options
    try:
        text = _text(ask(paths, "List", {"capabilities": words} if words else {}, None))
    except NO_ANSWER:
        return False  # the command reports what is wrong, or scans this host
    except KeyboardInterrupt:
        sys.exit("\nAborted!")
    survive_closed_pipes()
    sys.stdout.write(text)
    sys.stdout.flush()
    return True


def parsed(arguments: Sequence[str]) -> tuple[Sequence[str], list[str]] | None:
    """Return the sockets and the words of --cap; None if there is anything else, or wrong."""
    paths: Sequence[str] = ()
    words: list[str] = []
    is_list = False
    rest = iter(arguments)
    for argument in rest:
        if argument == "list" and not is_list:
            is_list = True
        elif argument == "--socket" and not paths:
            paths = [next(rest, "")]
        elif argument == "--cap" and is_list:
            words += next(rest, "").split(",")
        else:
            return None
    if not is_list or "" in paths or not all(word in CAPABILITY_WORDS for word in words):
        return None
    return paths or candidate_socket_paths(), words


def _text(devices: Sequence[Row]) -> str:
    """Return the names of devices that are not only defined, a line each.

    Raises ValueError for a name that a terminal cannot show as it is, TypeError for no name.
    """
    names = sorted([one["name"] for one in devices if one["state"] != "inactive"], key=sort_key)
    for name in names:
        if not (name.isascii() and name.isprintable()):
            raise ValueError(name)
    return "".join([f"{name}\n" for name in names])
