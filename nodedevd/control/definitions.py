"""definitions: mdevctl's files are written whole or not at all, and never over another's change.

mdevctl writes a file in place, without a lock: opening it empties it, then the text is written.
So the new text is a file of its own, and the old file is kept until it is known what was in it:

1. The new text is written to a file aside, and synced.
2. The old file gets a second name, aside, and the new one takes its place by rename(2).
3. The old file is read. If it is not what the plan was made from, somebody has changed it, or is
   about to: it is put back, and the change is refused. What a running mdevctl still writes goes
   to the file that it has open, which is the one in place again.

A definition that is new gets its name by link(2), which never replaces one.

What is aside is in /etc/mdevctl.d/.nodedevd/aside, which stays: mdevctl looks for definitions in
every directory, but no deeper. It would warn of a file beside the definitions whose name is no
UUID, and of anything there that goes while it looks.

No link is followed below the directory of definitions.
"""

from __future__ import annotations

import errno
import fcntl
import os
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Final

from nodedevd.host.trust import why_untrusted
from nodedevd.kinds.shared.mdevctl import MOST_BYTES, is_parent_name, parse_definition
from nodedevd.names import is_uuid

ASIDE: Final = (".nodedevd", "aside")
"""The directories below that of the definitions in which what is aside lies."""
_NEW, _OLD = "new", "old"
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_PAUSES = (0.01, 0.03, 0.1, 0.3, 0.6)
"""Seconds to wait before each further look at a text that may be cut off."""


class DefinitionChanged(Exception):
    """A definition is not what the plan was made from; it is left as it is."""


class Unusable(Exception):
    """What is in the place of a definition, or of its directory, cannot be one."""


def read_definitions(directory: str, uuid: str) -> dict[tuple[str, str], str]:
    """Return the texts of all definitions of a UUID, which may have one for each parent.

    One that is malformed may be a text that mdevctl is just writing: it is read again, a few
    times. Bytes that are not UTF-8 become U+FFFD.

    Args:
        directory: The directory of definitions.
        uuid: UUID in lower case.

    Returns them by the kernel name of the parent and the UUID. Raises OSError.
    """
    found = {}
    try:
        parents = sorted(filter(is_parent_name, os.listdir(directory)))
    except FileNotFoundError:
        return {}
    for parent in parents:
        text = _read_settled(directory, parent, uuid)
        if text is not None:
            found[parent, uuid] = text
    return found


def read_definition(directory: str, parent: str, uuid: str) -> str | None:
    """Return the text of a definition, None if mdevctl sees none. Raises OSError."""
    absent = (FileNotFoundError, NotADirectoryError, Unusable)
    with suppress(*absent), _opened(directory, parent) as place:
        return _read(place, uuid)
    return None


def write_definition(
    directory: str, parent: str, uuid: str, text: str | None, before: str | None
) -> None:
    """Write, replace or remove a definition. Other processes that do so wait meanwhile.

    Args:
        directory: The directory of definitions; made if there is none, as is the parent's.
        parent: Kernel name of the parent.
        uuid: UUID in lower case.
        text: What the file has then; None removes it. The parent's directory stays.
        before: What the file has until then; None: there is none.

    Raises DefinitionChanged, Unusable, OSError; ValueError for what is no kernel name or UUID.
    """
    if not (is_uuid(uuid) and uuid == uuid.lower()):
        raise ValueError(f"{uuid!r} is no UUID in lower case")
    _check_name(parent)
    try:
        if text is not None:
            _make_directories(directory, parent)
        with _opened(directory, parent, trusted=True) as place:
            with _aside(directory) as aside:
                if _read(place, uuid) != before:
                    raise DefinitionChanged
                if text is not None:
                    _write_new(aside, text, _mode(place, uuid))
                if before is None:
                    os.link(_NEW, uuid, src_dir_fd=aside, dst_dir_fd=place, follow_symlinks=False)
                else:
                    _exchange(place, uuid, aside, before, has_new=text is not None)
            os.fsync(place)
    except (FileNotFoundError, FileExistsError) as error:
        # Somebody made or removed the definition, or the parent's directory, meanwhile.
        raise DefinitionChanged from error


def _exchange(place: int, uuid: str, aside: int, before: str, *, has_new: bool) -> None:
    """Put the new file, or none, in the place of a definition, if that is still as it was."""
    if has_new:
        os.link(uuid, _OLD, src_dir_fd=place, dst_dir_fd=aside, follow_symlinks=False)
        os.rename(_NEW, uuid, src_dir_fd=aside, dst_dir_fd=place)
    else:
        os.rename(uuid, _OLD, src_dir_fd=place, dst_dir_fd=aside)
    with suppress(OSError, Unusable):
        if _read(aside, _OLD) == before:
            return
    if has_new:
        os.rename(_OLD, uuid, src_dir_fd=aside, dst_dir_fd=place)
    else:
        # FileExistsError: it was defined anew since, and that is the one that counts.
        os.link(_OLD, uuid, src_dir_fd=aside, dst_dir_fd=place, follow_symlinks=False)
    raise DefinitionChanged


def _write_new(aside: int, text: str, mode: int) -> None:
    with open(os.open(_NEW, _CREATE, 0o600, dir_fd=aside), "wb") as stream:
        stream.write(text.encode())
        stream.flush()
        os.fchmod(stream.fileno(), mode)  # whatever the umask is
        os.fsync(stream.fileno())


def _mode(place: int, uuid: str) -> int:
    """Return the permissions that a definition has, or gets: mdevctl keeps those of a file."""
    try:
        status = os.stat(uuid, dir_fd=place, follow_symlinks=False)
    except FileNotFoundError:
        return 0o644
    return 0o600 | stat.S_IMODE(status.st_mode) & 0o644


def _read_settled(directory: str, parent: str, uuid: str) -> str | None:
    text = read_definition(directory, parent, uuid)
    for seconds in _PAUSES:
        if text is None or _is_whole(text):
            break
        time.sleep(seconds)
        text = read_definition(directory, parent, uuid)
    return text


def _is_whole(text: str) -> bool:
    try:
        parse_definition(text)
    except ValueError:
        return False
    return True


def _read(directory: int, name: str) -> str | None:
    """Return the text of a file, None if there is none. Raises Unusable, OSError."""
    try:
        descriptor = os.open(name, _READ, dir_fd=directory)
    except FileNotFoundError:
        return None
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise Unusable(f"{name} is a link, which mdevctl does not follow") from None
        raise
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise Unusable(f"{name} is no regular file")
        with open(descriptor, "rb", closefd=False) as stream:
            return stream.read(MOST_BYTES + 1).decode(errors="replace")
    finally:
        os.close(descriptor)


def _make_directories(directory: str, *parts: str) -> None:
    """Make the directory of definitions, and those below it, unless they exist.

    Raises Unusable for one that other users may change: they could lead this elsewhere.
    """
    _make_directory(directory, None)
    above = os.open(directory, _DIRECTORY)
    try:
        path = directory
        for part in parts:
            _check_trust(above, path)
            _make_directory(part, above)
            path = os.path.join(path, part)
            below = os.open(part, _DIRECTORY | os.O_NOFOLLOW, dir_fd=above)
            os.close(above)
            above = below
    finally:
        os.close(above)


def _make_directory(path: str, above: int | None) -> None:
    with suppress(FileExistsError):
        os.mkdir(path, 0o755, dir_fd=above)
        os.chmod(path, 0o755, dir_fd=above)  # whatever the umask is


@contextmanager
def _opened(directory: str, parent: str, *, trusted: bool = False) -> Iterator[int]:
    """Open the directory of a parent's definitions, if need be one that only root may change."""
    _check_name(parent)
    top = os.open(directory, _DIRECTORY)
    try:
        place = os.open(parent, _DIRECTORY | os.O_NOFOLLOW, dir_fd=top)
        try:
            if trusted:
                _check_trust(top, directory)
                _check_trust(place, f"{directory}/{parent}")
                os.fsync(top)  # it may be new
            yield place
        finally:
            os.close(place)
    finally:
        os.close(top)


def _check_name(parent: str) -> None:
    if not is_parent_name(parent):
        raise ValueError(f"{parent!r} is no kernel name of a parent")


def _check_trust(descriptor: int, path: str) -> None:
    reason = why_untrusted(os.fstat(descriptor))
    if reason is not None:
        raise Unusable(f"{path}: {reason}; give it to root, mode 0755")


@contextmanager
def _aside(directory: str) -> Iterator[int]:
    """Open the directory for what is aside, alone, and without what a killed process has left."""
    _make_directories(directory, *ASIDE)
    aside = os.open(os.path.join(directory, *ASIDE), _DIRECTORY | os.O_NOFOLLOW)
    try:
        fcntl.flock(aside, fcntl.LOCK_EX)
        _empty(aside)
        yield aside
    finally:
        _empty(aside)
        os.close(aside)


def _empty(aside: int) -> None:
    for name in os.listdir(aside):
        os.unlink(name, dir_fd=aside)
