"""Configuration: what the control service is allowed to do, and for whom.

Reads  /etc/nodedevd/control.toml, at the start
Form   TOML; what is not given has the default. docs/control.md describes each key. An unknown key
       or an unusable value is refused with its line: a misspelt limit must not go unnoticed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Final

import msgspec
from msgspec import inspect

from nodedevd.actions.requests import METHODS
from nodedevd.host.settings_file import BadConfiguration, line_of, parse_toml, read_settings_file
from nodedevd.questions.vgpus import Framework
from nodedevd.text import printable
from nodedevd.undecodable import UNDECODABLE

__all__ = ["BadConfiguration", "Configuration", "parse_configuration", "read_configuration"]

DEFAULT_PATH: Final = "/etc/nodedevd/control.toml"
_SOCKET_LENGTH: Final = 107
"""of sun_path of unix(7), without its NUL"""

Seconds = Annotated[float, msgspec.Meta(gt=0, le=3600)]


class Limits(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How much, and how long."""

    actions: Annotated[int, msgspec.Meta(ge=1, le=256)] = 32
    """changes in progress at the same time"""
    actions_per_user: Annotated[int, msgspec.Meta(ge=1, le=256)] = 8
    """those of one user, other than root"""
    create: Annotated[int, msgspec.Meta(ge=1, le=1024)] = 64
    """devices of one call of Create"""
    write_seconds: Seconds = 30.0
    """how long a driver may take for a write until it counts as hanging"""
    confirm_seconds: Seconds = 10.0
    """how long the tree may take to show a change"""
    lock_seconds: Seconds = 30.0
    """how long a change waits for another one of the same card"""
    idle_seconds: Annotated[float, msgspec.Meta(ge=0, le=86400)] = 30.0
    """after how long without a client, and without anything to do, the service ends; 0: never"""


class Configuration(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """All of it."""

    groups: tuple[Annotated[str, msgspec.Meta(min_length=1, max_length=256)], ...] = ("nodedevd",)
    """names of the groups whose members may ask for changes, besides root"""
    polkit: bool = False
    """whether polkit has to allow a change, too, by libvirt's permission names"""
    frameworks: tuple[Framework, ...] = ("mdev", "vendor-vfio")
    """frameworks of vGPUs that are created and removed"""
    libvirt_sockets: tuple[
        Annotated[str, msgspec.Meta(pattern="^/", max_length=_SOCKET_LENGTH)], ...
    ] = ("/run/libvirt/virtnodedevd-sock", "/run/libvirt/virtnodedevd-sock-ro")
    """paths of the sockets of libvirt's protocol for whose clients the daemon that reads may ask"""
    methods: Mapping[
        str, tuple[Annotated[str, msgspec.Meta(min_length=1, max_length=256)], ...]
    ] = {}
    """for some methods, the groups whose members may call them, in place of `groups`"""
    limits: Limits = Limits()

    def __post_init__(self) -> None:
        for method in self.methods:
            if method not in METHODS:
                raise ValueError(f"Object contains unknown field `{method}`")

    def groups_of(self, method: str) -> tuple[str, ...]:
        """Return the names of the groups whose members may call a method."""
        return self.methods.get(method, self.groups)


def read_configuration(path: str = DEFAULT_PATH, *, required: bool = False) -> Configuration:
    """Read the configuration; without a file it has the defaults, unless one is required.

    Raises BadConfiguration, also for a file that others than root and its reader can change.
    """
    data = read_settings_file(path, required=required)
    return Configuration() if data is None else parse_configuration(data, path)


def parse_configuration(data: bytes, path: str = DEFAULT_PATH) -> Configuration:
    """Parse the text of a configuration. Raises BadConfiguration."""
    text, found = parse_toml(data, path)
    for keys, value in _settings(found):
        try:
            msgspec.convert(_nested(keys, value), Configuration)
        except UNDECODABLE as error:
            line = line_of(text, keys)
            raise BadConfiguration(path, line, _reason(keys, value, error)) from error
    return msgspec.convert(found, Configuration)


def _settings(found: Mapping[str, Any]) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Yield each setting with its keys; of the tables that there are, what they have."""
    for key, value in found.items():
        if key in ("methods", "limits") and isinstance(value, dict):
            yield from (((key, inner), one) for inner, one in value.items())
        else:
            yield (key,), value


def _nested(keys: tuple[str, ...], value: Any) -> Any:
    for key in reversed(keys):
        value = {key: value}
    return value


def _reason(keys: tuple[str, ...], value: Any, error: Exception) -> str:
    """Return what is wrong with a setting, and what is allowed."""
    table: Any = Configuration if len(keys) == 1 or keys[0] == "methods" else Limits
    where = f" in [{keys[0]}]" if len(keys) > 1 else ""
    name = printable(keys[-1])
    known = tuple(METHODS) if keys[0] == "methods" and len(keys) > 1 else table.__struct_fields__
    if keys[-1] not in known:
        return f"unknown key {name!r}{where}; allowed are {', '.join(known)}"
    field = "methods" if table is Configuration and len(keys) > 1 else keys[-1]
    kind = next(one.type for one in _fields(table) if one.name == field)
    if len(keys) > 1 and isinstance(kind, inspect.DictType):
        kind = kind.value_type
    return f"{name}{where} is {printable(repr(value)[:80])}; give {_allowed(kind)}"


def _fields(struct: type[msgspec.Struct]) -> tuple[inspect.Field, ...]:
    info = inspect.type_info(struct)
    assert isinstance(info, inspect.StructType)
    return info.fields


def _allowed(kind: inspect.Type) -> str:
    """Return in words what a setting may be."""
    match kind:
        case inspect.BoolType():
            return "true or false"
        case inspect.IntType():
            return f"a whole number from {kind.ge} to {kind.le}"
        case inspect.FloatType():
            least = "0" if kind.ge is not None else "more than 0"
            return f"a number of seconds, from {least} to {kind.le:g}"
        case inspect.VarTupleType(item_type=inspect.LiteralType() as item):
            return f"a list of {', '.join(map(repr, item.values))}"
        case inspect.VarTupleType(item_type=inspect.StrType(pattern=str())):
            return 'a list of paths of sockets, such as ["/run/libvirt/virtnodedevd-sock"]'
        case inspect.VarTupleType():
            return 'a list of names of groups, such as ["nodedevd"]'
    return "a table"
