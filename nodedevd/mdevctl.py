"""mdevctl: which mediated devices are defined, whether or not they exist now.

Reads  /etc/mdevctl.d/<parent>/<uuid>: JSON, `mdev_type`, `start`, and `attrs` in order
Form   mdevctl(8). <parent> is a kernel name, possibly of hardware that is not there. The
       files are overwritten in place, so one may be cut off when it is read.
"""

from __future__ import annotations

import errno
from collections.abc import Iterator

import msgspec

from nodedevd.naming import is_uuid
from nodedevd.sysroot import Sysroot

DIRECTORY = "/etc/mdevctl.d"
_SCRIPTS = "scripts.d"


class MdevAttribute(msgspec.Struct, frozen=True, gc=False):
    """A vendor attribute that mdevctl writes when it starts the device."""

    name: str
    value: str


class Definition(msgspec.Struct, frozen=True, gc=False):
    """One definition, as its file has it."""

    mdev_type: str
    """id of the type"""
    autostart: bool
    """start: auto, against anything else"""
    attributes: tuple[MdevAttribute, ...]
    """attrs, in order; a name may occur again"""


class _File(msgspec.Struct):
    mdev_type: str
    start: str
    attrs: list[dict[str, str]] = []


def definition_path(parent: str, uuid: str) -> str:
    """Return where the definition of an mdev lies, given its parent's kernel name."""
    return f"{DIRECTORY}/{parent}/{uuid}"


def read_definition(sysroot: Sysroot, path: str) -> Definition | None:
    """Read a definition; None if there is none. Raises OSError, ValueError (nonsense)."""
    try:
        data = sysroot.read(path)
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ENOTDIR):
            return None
        raise
    try:
        file = msgspec.json.decode(data, type=_File)
    except RecursionError as error:
        raise ValueError("nested too deeply") from error
    return Definition(
        mdev_type=file.mdev_type,
        autostart=file.start == "auto",
        attributes=tuple(
            [MdevAttribute(name, value) for one in file.attrs for name, value in one.items()]
        ),
    )


def find_definitions(sysroot: Sysroot, parent: str | None = None) -> Iterator[str]:
    """Return the paths of all definitions, or of those for one parent's kernel name."""
    for directory in _names(sysroot, DIRECTORY) if parent is None else [parent]:
        if directory != _SCRIPTS:
            for uuid in _names(sysroot, f"{DIRECTORY}/{directory}"):
                if is_uuid(uuid):
                    yield definition_path(directory, uuid)


def _names(sysroot: Sysroot, directory: str) -> list[str]:
    try:
        return sorted(sysroot.names(directory))
    except OSError:
        return []
