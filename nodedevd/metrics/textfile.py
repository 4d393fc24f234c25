"""textfile: metrics in a file that node_exporter's textfile collector reads.

Source  https://github.com/prometheus/node_exporter#textfile-collector
"""

from __future__ import annotations

import errno
import os
import secrets
from contextlib import suppress

from nodedevd.host.archive.place import opened

SUFFIX = ".prom"
"""The collector reads files with this suffix alone."""
_MODE = 0o644  # node_exporter runs as a user of its own
_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


def write_textfile(path: str, text: bytes) -> None:
    """Write a file aside, and rename it, so that no reader sees half of it.

    Raises NoDirectory, UnsafePath, OSError; nothing of a new file is left then.
    """
    with opened(path) as place:
        if place.name is None:
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), path)
        aside = f".{place.name}.{secrets.token_hex(8)}"  # without the suffix
        try:
            descriptor = os.open(aside, _NEW, _MODE, dir_fd=place.directory)
        except OSError as error:
            raise OSError(error.errno, error.strerror, path) from error
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(text)
                file.flush()
                os.fchmod(descriptor, _MODE)  # whatever the umask
                os.fsync(descriptor)
            os.rename(aside, place.name, src_dir_fd=place.directory, dst_dir_fd=place.directory)
        except BaseException:
            with suppress(OSError):
                os.unlink(aside, dir_fd=place.directory)
            raise
