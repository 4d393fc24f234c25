"""mdevctl: the definitions of mediated devices, active or not.

Reads  /etc/mdevctl.d/<parent>/<uuid>: JSON with `mdev_type`, `start`, and `attrs` in order
Form   mdevctl(8). <parent> is the kernel name of a device that may be missing; <uuid> is in the
       kernel's form. mdevctl overwrites the files in place, so a read can find one cut off.
"""

from __future__ import annotations

import errno
from collections.abc import Iterator
from typing import Any, Final

import msgspec

from nodedevd.host.faults import Fault, Faults
from nodedevd.host.listing import readable_names_in
from nodedevd.host.sysroot import Sysroot
from nodedevd.names import is_file_name, is_uuid
from nodedevd.text import printable_path
from nodedevd.undecodable import UNDECODABLE

DIRECTORY = "/etc/mdevctl.d"
SCRIPTS = "scripts.d"
"""The directory of mdevctl's scripts, beside those of parents."""
MOST_BYTES = 1 << 20
"""A longer file is no definition."""


class MdevAttribute(msgspec.Struct, frozen=True, gc=False):
    """A vendor attribute that mdevctl writes when it starts the device."""

    name: str
    """path of the attribute below the device"""
    value: str
    """text that is written to it"""


class Definition(msgspec.Struct, frozen=True, gc=False):
    """The content of one definition."""

    mdev_type: str = msgspec.field(name="type")
    """id of the type"""
    autostart: bool
    """whether `start` is `auto`"""
    attributes: tuple[MdevAttribute, ...]
    """attrs, in order; a name can occur several times"""


class _File(msgspec.Struct):
    mdev_type: str
    start: str
    attrs: list[dict[str, str]] | None = None


# Prepared here, since msgspec crashes if two threads prepare a type at once.
_DECODER: Final = msgspec.json.Decoder(_File)


def definitions_directory(parent_path: str) -> str:
    """Return the directory with the definitions of the mdevs of a parent, given its sysfs path."""
    return f"{DIRECTORY}/{parent_path.rpartition('/')[2]}"


def is_parent_name(text: str) -> bool:
    """Return whether definitions may be kept below this kernel name of a parent.

    mdevctl takes any text, and so writes outside its directory for `../../tmp`.
    """
    return is_file_name(text) and text != SCRIPTS and not text.startswith(".")


def definition_path(parent: str, uuid: str) -> str:
    """Return the path of the definition of an mdev, given its parent's kernel name."""
    return f"{DIRECTORY}/{parent}/{uuid}"


def read_definition(sysroot: Sysroot, path: str) -> Definition | None:
    """Read a definition; None if there is no such file. Raises OSError, ValueError (malformed)."""
    try:
        data = sysroot.read(path, MOST_BYTES + 1)
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ENOTDIR, errno.EISDIR):
            return None
        raise
    return parse_definition(data)


def parse_definition(data: bytes | str) -> Definition:
    """Return what the text of a definition says. Raises ValueError (malformed)."""
    if len(data) > MOST_BYTES:
        raise ValueError("more than 1 MiB")
    try:
        file = _DECODER.decode(data)
    except RecursionError as error:
        raise ValueError("nested too deeply") from error
    except UNDECODABLE as error:
        raise ValueError(str(error)) from error
    attributes = file.attrs or []
    if any(len(one) != 1 for one in attributes):
        raise ValueError("an object in attrs does not have exactly one member")
    return Definition(
        mdev_type=file.mdev_type,
        autostart=file.start == "auto",
        attributes=tuple(
            [MdevAttribute(name, value) for one in attributes for name, value in one.items()]
        ),
    )


def definition_text(definition: Definition) -> str:
    """Return the text of a definition, byte for byte as mdevctl 1.2 to 1.4 write it."""
    return _dumped(definition, indent=2)


def definition_line(definition: Definition) -> str:
    """Return a definition as one line, as mdevctl gives it to its callouts."""
    return _dumped(definition, separators=(",", ":"))


def _dumped(definition: Definition, **layout: Any) -> str:
    import json  # what only reads definitions need not load it

    members = {
        "mdev_type": definition.mdev_type,
        "start": "auto" if definition.autostart else "manual",
        "attrs": [{one.name: one.value} for one in definition.attributes],
    }
    return json.dumps(members, ensure_ascii=False, **layout)


def find_definitions(sysroot: Sysroot, faults: Faults) -> Iterator[str]:
    """Yield the paths of all definitions.

    Directories that cannot be listed are added to `faults` by their path, and so are uuids in
    upper case, which mdevctl does not write and the kernel would not find.
    """
    for parent in readable_names_in(sysroot, DIRECTORY, faults):
        if parent == SCRIPTS:
            continue
        for name in readable_names_in(sysroot, f"{DIRECTORY}/{parent}", faults):
            path = definition_path(parent, name)
            if is_uuid(name) and name == name.lower():
                yield path
            elif is_uuid(name):
                faults.append(Fault(printable_path(path), "malformed", "a UUID in upper case"))
