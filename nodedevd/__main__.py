"""nodedevd: the program; it serves as the command line says.

A start with nothing but paths, as by the units, loads neither click nor the help of the options.
"""

from __future__ import annotations

import gc
import sys
from collections.abc import Sequence

from nodedevd.substituted import substituted

_PATHS = {
    "--sysroot": "sysroot",
    "--socket": "socket",
    "--libvirt-socket": "libvirt_socket",
    "--libvirt-socket-ro": "libvirt_socket_ro",
}


def main() -> None:
    """Run a command line."""
    gc.disable()  # What imports make stays; the daemon enables it when it has read the host.
    paths = parsed(sys.argv[1:])
    # OpenSSL takes a tenth of a short start, and 5 MiB. The daemon's sockets are those of Unix, and
    # asyncio does without, as in a Python that was built so.
    with substituted("ssl", None):
        import asyncio  # noqa: F401
    if paths is None:
        from nodedevd.command import main as command

        command()
    else:
        from msgspec.structs import replace

        from nodedevd.daemon import Options, serve

        sys.exit(serve(replace(Options(), **paths)))


def parsed(arguments: Sequence[str]) -> dict[str, str] | None:
    """Return the paths by their field in `Options`; None if there is anything else, or wrong."""
    paths: dict[str, str] = {}
    rest = iter(arguments)
    for argument in rest:
        field, value = _PATHS.get(argument), next(rest, "")
        if field is None or field in paths or not value or value.startswith("-"):
            return None
        paths[field] = value
    return paths


if __name__ == "__main__":
    main()
