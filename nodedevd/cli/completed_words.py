"""Which word of a command line is of what kind; written by `make completion-words`.

By command, "" being nodedevctl itself: the options that take a value, with the kind of that; the
kinds of its arguments; whether the last one may be repeated. A kind is a key of
`proposals.QUESTIONS`, None for any other word.
"""

from __future__ import annotations

from typing import Final, TypeAlias

Words: TypeAlias = tuple[dict[str, str | None], tuple[str | None, ...], bool]

COMMANDS: Final[dict[str, Words]] = {
    "": ({"--sysroot": None, "--socket": None, "--fleet": None}, (), False),
    "autostart": (
        {
            "--parent": "device",
            "--owner": None,
            "--generation": None,
            "--sysroot": None,
            "--socket": None,
        },
        ("device",),
        False,
    ),
    "bind": (
        {"--owner": None, "--generation": None, "--sysroot": None, "--socket": None},
        ("device", "driver"),
        False,
    ),
    "control": ({"--sysroot": None, "--socket": None}, (), False),
    "create": (
        {
            "--uuid": None,
            "--count": None,
            "--attribute": None,
            "--owner": None,
            "--generation": None,
            "--sysroot": None,
            "--socket": None,
        },
        ("type", "device"),
        True,
    ),
    "define": (
        {
            "--uuid": None,
            "--attribute": None,
            "--owner": None,
            "--generation": None,
            "--sysroot": None,
            "--socket": None,
        },
        ("type", "device"),
        False,
    ),
    "doctor": ({"--sysroot": None, "--socket": None}, (), False),
    "draw": (
        {
            "-o": None,
            "--output": None,
            "--card": "device",
            "--theme": None,
            "--width": None,
            "--sysroot": None,
            "--socket": None,
        },
        (),
        False,
    ),
    "dumpxml": ({"--format": None, "--sysroot": None, "--socket": None}, ("device",), True),
    "events": (
        {
            "--cap": None,
            "--device": "device",
            "--event": None,
            "--count": None,
            "--timeout": None,
            "--sysroot": None,
            "--socket": None,
        },
        (),
        False,
    ),
    "fits": (
        {"--type": "type", "--count": None, "--sysroot": None, "--socket": None},
        ("device",),
        True,
    ),
    "hostdev": (
        {
            "--model": None,
            "--managed": None,
            "--display": None,
            "--iommufd": None,
            "--boot-order": None,
            "--address": None,
            "--type": "type",
            "--from": "device",
            "--arch": None,
            "--sysroot": None,
            "--socket": None,
        },
        ("device",),
        False,
    ),
    "in-use": ({"--sysroot": None, "--socket": None}, ("device",), True),
    "layout": ({"--sysroot": None, "--socket": None}, (), False),
    "layout apply": (
        {"--card": "device", "--timeout": None, "--sysroot": None, "--socket": None},
        (),
        False,
    ),
    "layout check": ({"--sysroot": None, "--socket": None}, (None,), True),
    "layout diff": ({"--sysroot": None, "--socket": None}, (None,), True),
    "layout schema": ({"--sysroot": None, "--socket": None}, (), False),
    "layout show": ({"--by": None, "--sysroot": None, "--socket": None}, ("device",), True),
    "layout status": ({"--card": "device", "--sysroot": None, "--socket": None}, (), False),
    "list": ({"--cap": None, "--sysroot": None, "--socket": None}, (), False),
    "metrics": (
        {"--textfile": None, "--format": None, "--sysroot": None, "--socket": None},
        (),
        False,
    ),
    "modify": (
        {
            "--parent": "device",
            "--type": "type",
            "--attribute": None,
            "--owner": None,
            "--generation": None,
            "--sysroot": None,
            "--socket": None,
        },
        ("device",),
        False,
    ),
    "nfd": ({"--output": None, "--expires": None, "--sysroot": None, "--socket": None}, (), False),
    "record": ({"--sysroot": None, "--socket": None}, (None,), False),
    "remove": (
        {"--owner": None, "--generation": None, "--sysroot": None, "--socket": None},
        ("device",),
        False,
    ),
    "resolve": ({"--sysroot": None, "--socket": None}, ("device",), False),
    "schema": ({"--sysroot": None, "--socket": None}, (None,), False),
    "show": ({"--sysroot": None, "--socket": None}, ("device",), True),
    "start": (
        {
            "--parent": "device",
            "--owner": None,
            "--generation": None,
            "--sysroot": None,
            "--socket": None,
        },
        ("device",),
        False,
    ),
    "status": ({"--sysroot": None, "--socket": None}, (), False),
    "stop": (
        {"--owner": None, "--generation": None, "--sysroot": None, "--socket": None},
        ("device",),
        False,
    ),
    "tree": ({"--sysroot": None, "--socket": None}, (), False),
    "types": ({"--card": "device", "--sysroot": None, "--socket": None}, ("device",), True),
    "unbind": (
        {"--owner": None, "--generation": None, "--sysroot": None, "--socket": None},
        ("device",),
        False,
    ),
    "undefine": (
        {
            "--parent": "device",
            "--owner": None,
            "--generation": None,
            "--sysroot": None,
            "--socket": None,
        },
        ("device",),
        False,
    ),
    "vfs": (
        {"--owner": None, "--generation": None, "--sysroot": None, "--socket": None},
        ("device", None),
        False,
    ),
    "wait": (
        {
            "--cap": None,
            "--count": None,
            "--device": "device",
            "--gone": "device",
            "--parent": "device",
            "--type": "type",
            "--available": None,
            "--timeout": None,
            "--sysroot": None,
            "--socket": None,
        },
        (),
        False,
    ),
}
