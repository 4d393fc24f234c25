"""The parameters of the methods of org.nodedevd.Devices but HostDev, `hostdev.HostDevRequest`.

Unknown parameters are refused, so that a client learns of a misspelt one.
"""

from __future__ import annotations

from typing import Annotated

import msgspec

from nodedevd.formats import Format
from nodedevd.model.listing import Content
from nodedevd.questions.count import COUNT_AT_MOST


class GetStatusParameters(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """None."""


class ListParameters(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Selects devices by capability."""

    capabilities: list[str] | None = None


class DescribeParameters(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Selects one device."""

    name: str


class DumpXmlParameters(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Selects devices by name, and the format."""

    names: list[str] | None = None
    format: Format | None = None


class SnapshotParameters(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Selects devices by capability, by name, or both."""

    capabilities: list[str] | None = None
    names: list[str] | None = None


class FitsParameters(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A type by id or name, the number of vGPUs, and devices of the wanted cards."""

    type: str | None = None
    count: Annotated[int, msgspec.Meta(ge=1, le=COUNT_AT_MOST)] | None = None
    names: list[str] | None = None


class TypesParameters(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Selects cards by their devices."""

    names: list[str] | None = None


class ResolveParameters(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What another tool calls a device."""

    text: str


class InUseParameters(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Selects devices by name."""

    names: list[str] | None = None


class WatchParameters(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Selects devices by capability and name, what events contain, and where to continue."""

    capabilities: list[str] | None = None
    names: list[str] | None = None
    snapshot: bool | None = None
    content: Content | None = None
    since: int | None = None
    instance: str | None = None
