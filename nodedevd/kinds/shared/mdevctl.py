"""mdevctl: which mediated devices are defined, whether or not they exist now.

Reads  /etc/mdevctl.d/<parent>/<uuid>: JSON, `mdev_type`, `start`, and `attrs` in order
Form   mdevctl(8). <parent> is a kernel name, possibly of hardware that is not there; <uuid>
       is as the kernel prints it. The files are overwritten in place, so one may be cut off
       when it is read.
"""

from __future__ import annotations

import errno
from collections.abc import Iterator

import msgspec

from nodedevd.host.faults import Fault
from nodedevd.host.listing import readable_names_in
from nodedevd.host.sysroot import Sysroot
from nodedevd.names import is_uuid
from nodedevd.text import printable_path

DIRECTORY = "/etc/mdevctl.d"
_SCRIPTS = "scripts.d"
_MOST_BYTES = 1 << 20


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
    attrs: list[dict[str, str]] | None = None


def definitions_directory(parent_path: str) -> str:
    """Return the directory with the definitions of the mdevs of a parent, given its sysfs path."""
    return f"{DIRECTORY}/{parent_path.rpartition('/')[2]}"


def definition_path(parent: str, uuid: str) -> str:
    """Return where the definition of an mdev lies, given its parent's kernel name."""
    return f"{DIRECTORY}/{parent}/{uuid}"


def read_definition(sysroot: Sysroot, path: str) -> Definition | None:
    """Read a definition; None if there is no such file. Raises OSError, ValueError (nonsense)."""
    try:
        data = sysroot.read(path, _MOST_BYTES + 1)
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ENOTDIR, errno.EISDIR):
            return None
        raise
    if len(data) > _MOST_BYTES:
        raise ValueError("more than 1 MiB")
    try:
        file = msgspec.json.decode(data, type=_File)
    except RecursionError as error:
        raise ValueError("nested too deeply") from error
    attributes = file.attrs or []
    if any(len(one) != 1 for one in attributes):
        raise ValueError("an object in attrs has not one member")
    return Definition(
        mdev_type=file.mdev_type,
        autostart=file.start == "auto",
        attributes=tuple(
            [MdevAttribute(name, value) for one in attributes for name, value in one.items()]
        ),
    )


def find_definitions(sysroot: Sysroot, faults: list[Fault]) -> Iterator[str]:
    """Yield the paths of all definitions.

    Directories that cannot be listed, and uuids in upper case, which mdevctl does not write and
    the kernel would not find, are added to `faults` by their path.
    """
    for parent in readable_names_in(sysroot, DIRECTORY, faults):
        if parent == _SCRIPTS:
            continue
        for name in readable_names_in(sysroot, f"{DIRECTORY}/{parent}", faults):
            path = definition_path(parent, name)
            if is_uuid(name) and name == name.lower():
                yield path
            elif is_uuid(name):
                faults.append(Fault(printable_path(path), "malformed", "a UUID in upper case"))
