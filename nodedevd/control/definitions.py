"""definitions: mdevctl's files are written whole or not at all, and never over somebody's change.

mdevctl writes a file in place, without a lock: it opens it, which empties it, and then writes.
So the new text is a new file, and the old file is kept until it is certain what it was:

1. The new text is written to a file without a name, and synced.
2. The old file gets a second name, `old`, and the new one takes its place by rename(2).
3. `old` is read. If it is not what the plan was made from, a running mdevctl or an editor has
   changed it meanwhile, or is about to: its place is given back to it, and the change is refused.

What mdevctl writes after that goes to the new file, as if it had been started later. Second names
are in a directory `.nodedevd` beside the definitions, which mdevctl skips without a word, as it
does any directory: a file of another name than a UUID makes it warn.

No link is followed below the directory of definitions.
"""

from __future__ import annotations

import os
from contextlib import suppress
from typing import Final

from nodedevd.kinds.shared.mdevctl import is_parent_name
from nodedevd.names import is_uuid

ASIDE: Final = ".nodedevd"
_NEW, _OLD = f"{ASIDE}/new", f"{ASIDE}/old"
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


class DefinitionChanged(Exception):
    """A definition is not what the plan was made from; it is left as it is now."""


def read_definitions(directory: str, uuid: str | None = None) -> dict[tuple[str, str], str]:
    """Return the texts of all definitions, or of those of one UUID.

    Bytes that are not UTF-8 become U+FFFD: such a file is malformed.

    Args:
        directory: The directory of definitions.
        uuid: UUID in lower case; None for all.

    Returns them by the kernel name of the parent and the UUID. Raises OSError.
    """
    found = {}
    for parent in _names(directory):
        if not is_parent_name(parent):
            continue
        for name in (uuid,) if uuid is not None else _names(os.path.join(directory, parent)):
            if is_uuid(name) and name == name.lower():
                text = read_definition_text(directory, parent, name)
                if text is not None:
                    found[parent, name] = text
    return found


def read_definition_text(directory: str, parent: str, uuid: str) -> str | None:
    """Return the text of a definition, None if there is none. Raises OSError."""
    with suppress(FileNotFoundError, NotADirectoryError), _opened(directory, parent) as place:
        return _read(place, uuid)
    return None


def write_definition(
    directory: str, parent: str, uuid: str, text: str | None, before: str | None
) -> None:
    """Write, replace or remove a definition.

    Args:
        directory: The directory of definitions.
        parent: Kernel name of the parent; its directory is made if there is none.
        uuid: UUID in lower case.
        text: What the file has then; None removes it. The parent's directory stays.
        before: What the file has until then; None: there is none.

    Raises DefinitionChanged; OSError; ValueError for what is no kernel name or UUID.
    """
    with _opened(directory, parent, make=text is not None) as place:
        if not is_uuid(uuid) or uuid != uuid.lower():
            raise ValueError(f"{uuid!r} is no UUID in lower case")
        if _read(place, uuid) != before:
            raise DefinitionChanged
        with _aside(place):
            if text is not None:
                _write_new(place, text, _mode(place, uuid))
            if before is None:
                _put(place, _NEW, uuid)
            else:
                _replace(place, uuid, before, has_new=text is not None)
        os.fsync(place)


def _replace(place: int, uuid: str, before: str, *, has_new: bool) -> None:
    """Put `new`, or nothing, in the place of a definition, unless that has changed meanwhile."""
    if has_new:
        os.link(uuid, _OLD, src_dir_fd=place, dst_dir_fd=place, follow_symlinks=False)
        os.rename(_NEW, uuid, src_dir_fd=place, dst_dir_fd=place)
    else:
        os.rename(uuid, _OLD, src_dir_fd=place, dst_dir_fd=place)
    if _read(place, _OLD) == before:
        return
    if has_new:
        os.rename(_OLD, uuid, src_dir_fd=place, dst_dir_fd=place)
    else:
        with suppress(FileExistsError):  # defined anew since
            _put(place, _OLD, uuid)
    raise DefinitionChanged


def _put(place: int, name: str, uuid: str) -> None:
    """Give a file the name of a definition. Raises DefinitionChanged if there is one by now."""
    try:
        os.link(name, uuid, src_dir_fd=place, dst_dir_fd=place, follow_symlinks=False)
    except FileExistsError:
        raise DefinitionChanged from None


def _write_new(place: int, text: str, mode: int) -> None:
    descriptor = os.open(
        _NEW,
        os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC,
        mode,
        dir_fd=place,
    )
    with open(descriptor, "wb") as stream:
        stream.write(text.encode())
        stream.flush()
        os.fchmod(descriptor, mode)  # whatever the umask
        os.fsync(descriptor)
