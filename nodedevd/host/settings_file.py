"""settings_file: a service's settings, as a TOML file that only root can have written."""

from __future__ import annotations

import os
import re
import stat
import tomllib
from typing import Any, Final

from nodedevd.errors import NodedevError
from nodedevd.host.lines import lines_of

_MOST_BYTES: Final = 64 << 10


class BadConfiguration(NodedevError):
    """The configuration cannot be used."""

    code = "bad-configuration"
    path: str
    line: int | None
    """counted from 1; None if it is the file as a whole"""
    reason: str

    def __str__(self) -> str:
        where = "" if self.line is None else f", line {self.line}"
        return f"{self.path}{where}: {self.reason}"


def read_settings_file(path: str, *, required: bool = False) -> bytes | None:
    """Return the text of a file; None if there is none and it is not required.

    Raises BadConfiguration, also for a file that others than root and its reader can change.
    """
    try:
        with open(path, "rb", opener=_open) as file:
            _check_safe(path, os.fstat(file.fileno()))
            data = file.read(_MOST_BYTES + 1)
    except FileNotFoundError as error:
        if required:
            raise BadConfiguration(path, None, "there is no such file") from error
        return None
    except OSError as error:
        raise BadConfiguration(path, None, f"cannot be read: {error.strerror}") from error
    if len(data) > _MOST_BYTES:
        raise BadConfiguration(path, None, f"it has more than {_MOST_BYTES >> 10} KiB")
    return data


def parse_toml(data: bytes, path: str) -> tuple[str, dict[str, Any]]:
    """Return a file's text, and what it has as TOML. Raises BadConfiguration with the line."""
    try:
        text = data.decode()
        return text, tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        place = re.search(r" \(at (?:line (\d+), column \d+|end of document)\)$", str(error))
        reason = str(error)[: place.start()] if place else str(error)
        last = len(lines_of(text))
        raise BadConfiguration(
            path, int(place[1]) if place and place[1] else last, reason
        ) from error
    except (ValueError, RecursionError) as error:
        raise BadConfiguration(path, None, f"it is no TOML: {error}") from error


def line_of(text: str, keys: tuple[str, ...]) -> int | None:
    """Return the line at which the statement of a key begins.

    It is the one after the longest beginning of the file that is TOML and does not have the key.
    """
    lines = lines_of(text)
    before = 0
    for number in range(1, len(lines) + 1):
        try:
            found: Any = tomllib.loads("\n".join(lines[:number]))
        except tomllib.TOMLDecodeError:
            continue
        for key in keys:
            found = found.get(key) if isinstance(found, dict) else None
        if found is not None:
            return before + 1
        before = number
    return None


def _open(path: str, flags: int) -> int:
    # A FIFO in its place must not keep the service from starting.
    return os.open(path, flags | os.O_CLOEXEC | os.O_NONBLOCK)


def _check_safe(path: str, status: os.stat_result) -> None:
    """Refuse a file by which another user could allow things. Raises BadConfiguration."""
    if not stat.S_ISREG(status.st_mode):
        raise BadConfiguration(path, None, "it is no regular file")
    if status.st_uid not in (0, os.geteuid()):
        raise BadConfiguration(path, None, f"it belongs to the user {status.st_uid}; chown it")
    if status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        mode = stat.S_IMODE(status.st_mode)
        raise BadConfiguration(path, None, f"others can write to it (mode {mode:04o}); chmod go-w")
