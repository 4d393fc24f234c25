"""node_features: a host's counts and vGPU types as labels of a Kubernetes node.

They are for the local source of Node Feature Discovery, which makes a label
`feature.node.kubernetes.io/NAME=VALUE` of each line NAME=VALUE in a file.

Source: NFD's documentation, "Customization guide", Local feature source: names and values are those
of Kubernetes labels, 63 characters at the most; a file over 64 KiB is ignored as a whole; a comment
`# +expiry-time=` says until when the lines after it hold.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import datetime
from typing import Final

import msgspec

from nodedevd.questions.summary import HostRoom, TypeRoom

FILE_BYTES: Final = 65_536
_LABEL: Final = 63
_COMPLETE: Final = "nodedevd.complete"


class NodeFeatures(msgspec.Struct, frozen=True):
    """The labels of a host."""

    generation: int
    expires: datetime | None
    """when NFD forgets them, UTC; None is never"""
    complete: bool
    """False if types were left out, since the file would be too large"""
    labels: dict[str, str]
    """values by name, sorted"""

    @property
    def text(self) -> str:
        """The file."""
        lines = ["# written by nodedevctl nfd"]
        if self.expires is not None:
            lines.append(f"# +expiry-time={self.expires:%Y-%m-%dT%H:%M:%SZ}")
        lines += [f"{name}={value}" for name, value in self.labels.items()]
        return "\n".join([*lines, ""])


def node_features(
    room: HostRoom, expires: datetime | None = None, *, generation: int = 1
) -> NodeFeatures:
    """Return the labels of a host, in a file that NFD does not ignore.

    `nodedevd.complete` among them says whether types were left out.
    """
    left = FILE_BYTES - 1024
    found: dict[str, str] = {}
    complete = True
    for name, value in _features(room):
        label = _label_name(name), _label_value(value)
        left -= len(label[0]) + len(label[1]) + 2
        if left < 0:
            complete = False
            break
        found[label[0]] = label[1]
    found[_COMPLETE] = str(complete).lower()
    return NodeFeatures(generation, expires, complete, dict(sorted(found.items())))


def _features(room: HostRoom) -> Iterator[tuple[str, str]]:
    """Yield names and values, those that matter most first."""
    for kind, count in room.counts.items():
        yield f"nodedevd.devices.{kind}", str(count)
    yield "nodedevd.cards", str(len(room.cards))
    types: dict[str, list[TypeRoom]] = {}
    for card in room.cards:
        for one in card.types:
            types.setdefault(one.id, []).append(one)
    for part in ("available", "sure", "active"):
        for type_id, found in sorted(types.items()):
            counts = [getattr(one, part) for one in found]
            value = "unknown" if None in counts else str(sum(counts))
            yield f"nodedevd.vgpu.{type_id}.{part}", value
    for type_id in sorted(types):
        named = room.types.get(type_id)
        if named is not None and named.name:
            yield f"nodedevd.vgpu.{type_id}.name", named.name


def _label_name(text: str) -> str:
    """Return a name that Kubernetes takes; a long one keeps its end."""
    parts = text.rsplit(".", 1)
    end = f".{parts[1]}" if len(parts) == 2 else ""
    room = _LABEL - len(end)
    return _trimmed(re.sub(r"[^A-Za-z0-9._-]", "-", parts[0])[:room]) + end


def _label_value(text: str) -> str:
    return _trimmed(re.sub(r"[^A-Za-z0-9._-]+", "-", text)[:_LABEL])


def _trimmed(text: str) -> str:
    return text.strip("._-")
