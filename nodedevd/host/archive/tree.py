"""Archive: the files of a host in memory, without owners, times and devices.

Every path has its directory, and every link stays inside: what an archive holds can be
unpacked into any empty directory, and nothing outside it is read or written.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from typing import TypeAlias

ENDING = ".ttar"
FILE_MODE = 0o644
DIRECTORY_MODE = 0o755
_PATH_BYTES = 4095  # PATH_MAX, limits.h, without the NUL
_NAME_BYTES = 255  # NAME_MAX
_READABLE = 0o444
_NO_NAMES = frozenset({"", ".", ".."})

Content: TypeAlias = list[str] | bytes | str
"""The names in a directory, the bytes of a file, the text of a link."""


class Archive:
    """Files, directories and links by their path on the host, such as `/sys/class`.

    `add_…` raise ValueError, with a sentence, for what an archive cannot hold. The reads raise
    OSError with the kernel's errno, and follow no link; `Sysroot` does that.
    """

    def __init__(self, about: str = "") -> None:
        self.about = about
        """Text for readers: what the host is, and where its files come from."""
        self._entries: dict[str, Content] = {"": []}
        self._modes: dict[str, int] = {}

    # -- writing -----------------------------------------------------------------------

    def add_directory(self, path: str, mode: int = DIRECTORY_MODE) -> None:
        """Add an empty directory; the one above it is there already."""
        self._add(path, [], mode)

    def add_file(self, path: str, data: bytes, mode: int = FILE_MODE) -> None:
        """Add a file."""
        self._add(path, data, mode)

    def add_link(self, path: str, text: str) -> None:
        """Add a link, as the kernel makes them: up, then down, and never above the root."""
        self._add(path, text, None)

    def _add(self, path: str, content: Content, mode: int | None) -> None:
        directory, _, name = path.rpartition("/")
        names = self._entries.get(directory)
        if path[:1] != "/" or name in _NO_NAMES or "\0" in name or not isinstance(names, list):
            raise ValueError(_why_not(path, names))
        if len(os.fsencode(name)) > _NAME_BYTES or len(os.fsencode(path)) > _PATH_BYTES:
            raise ValueError(f"{path[:80]!r}… is too long")
        if path in self._entries:
            raise ValueError(f"{path[:80]!r} has an entry already")
        if isinstance(content, str):
            _check_link(path, content)
        names.append(name)
        self._entries[path] = content
        if mode not in (None, DIRECTORY_MODE if isinstance(content, list) else FILE_MODE):
            self._modes[path] = mode

    # -- reading -----------------------------------------------------------------------

    def listdir(self, path: str) -> list[str]:
        """Return the names in a directory."""
        content = self._at(path)
        if not isinstance(content, list):
            raise _error(errno.ENOTDIR, path)
        return list(content)

    def read(self, path: str, size: int | None = None) -> bytes:
        """Return a file, or its first `size` bytes.

        One that nobody may read is refused, as sysfs refuses it to root, too.
        """
        content = self._at(path)
        if isinstance(content, list):
            raise _error(errno.EISDIR, path)
        if isinstance(content, str):
            raise _error(errno.ELOOP, path)
        if not self._modes.get(path, FILE_MODE) & _READABLE:
            raise _error(errno.EACCES, path)
        return content[:size]

    def readlink(self, path: str) -> str:
        """Return the text of a link."""
        content = self._at(path)
        if not isinstance(content, str):
            raise _error(errno.EINVAL, path)
        return content

    def lstat(self, path: str) -> os.stat_result:
        """Return type, permissions and size; all else is 0."""
        content = self._at(path)
        if isinstance(content, list):
            mode = stat.S_IFDIR | self._modes.get(path, DIRECTORY_MODE)
        elif isinstance(content, bytes):
            mode = stat.S_IFREG | self._modes.get(path, FILE_MODE)
        else:
            mode = stat.S_IFLNK | 0o777
        return os.stat_result((mode, 0, 0, 1, 0, 0, len(content), 0, 0, 0))

    def walk(self) -> Iterator[tuple[str, Content, int]]:
        """Yield path, content and permissions of everything, each directory before its content."""
        todo = [""]
        while todo:
            path = todo.pop()
            content = self._entries[path]
            if path:
                default = DIRECTORY_MODE if isinstance(content, list) else FILE_MODE
                yield path, content, self._modes.get(path, default)
            if isinstance(content, list):
                todo += [f"{path}/{name}" for name in sorted(content, reverse=True)]

    def _at(self, path: str) -> Content:
        found = self._entries.get("" if path == "/" else path)
        if found is None:
            above = path
            while above not in self._entries:
                above = above.rpartition("/")[0]
            is_directory = isinstance(self._entries[above], list)
            raise _error(errno.ENOENT if is_directory else errno.ENOTDIR, path)
        return found


def _why_not(path: str, directory: Content | None) -> str:
    """Return why nothing can be at a path, given what is at the directory it should be in."""
    root, *parts = path.split("/")
    if root or "\0" in path or not parts or not _NO_NAMES.isdisjoint(parts):
        return f"{path[:80]!r} has a part that is no name: it is empty, . or .., or has a NUL"
    if directory is None:
        return f"{path[:80]!r} is in a directory that has no entry before it"
    return f"{path[:80]!r} is below a file or a link"


def _check_link(path: str, text: str) -> None:
    if "\0" in text or not 0 < len(os.fsencode(text)) <= _PATH_BYTES:
        raise ValueError(f"{path[:80]!r}: a link has 1 to {_PATH_BYTES} bytes, none of them NUL")
    if leads_out(path, text):
        raise ValueError(
            f"{path[:80]!r}: the link {text[:80]!r} is absolute, climbs out of the host, "
            "or goes up after it went down"
        )


def leads_out(path: str, text: str) -> bool:
    """Return whether a link could lead out of the host.

    Only one that goes up first, then down, surely does not: where a part in between is a
    link itself, `..` behind it is above that link's target.
    """
    parts = [part for part in text.split("/") if part not in ("", ".")]
    ups = 0
    while ups < len(parts) and parts[ups] == "..":
        ups += 1
    return text.startswith("/") or ups >= path.count("/") or ".." in parts[ups:]


def _error(number: int, path: str) -> OSError:
    return OSError(number, os.strerror(number), path)
