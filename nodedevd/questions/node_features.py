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

from nodedevd.questions.summary import HostRoom, TypeRoom

FILE_BYTES: Final = 65_536
_LABEL: Final = 63
_COMPLETE: Final = "nodedevd.complete"


def node_features(room: HostRoom, expires: datetime | None = None) -> str:
    """Return the text of a file of features.

    `nodedevd.complete` is false if types were left out, since the file would be too large.

    Args:
        room: The host.
        expires: When NFD forgets the labels, in UTC; None is never.
    """
    head = ["# written by nodedevctl nfd"]
    if expires is not None:
        head.append(f"# +expiry-time={expires:%Y-%m-%dT%H:%M:%SZ}")
    left = FILE_BYTES - 1024
    lines: list[str] = []
    complete = True
    for name, value in features(room):
        line = f"{_label_name(name)}={_label_value(value)}"
        left -= len(line) + 1
        if left < 0:
            complete = False
            break
        lines.append(line)
    lines.append(f"{_COMPLETE}={str(complete).lower()}")
    return "\n".join([*head, *sorted(lines), ""])


def features(room: HostRoom) -> Iterator[tuple[str, str]]:
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
