"""values: what the bucket of a fleet has of each host, as keys and JSON, and how it is read.

    host.<id>            Summary
    host.<id>.alive      Alive, the heartbeat
    host.<id>.tree       the first part of the tree: zlib of what `nodedevctl show --all` prints
    host.<id>.tree.<n>   further parts of a tree that one value cannot hold

Values are hostile until they are parsed: a host writes its own keys, whatever it likes.
"""

from __future__ import annotations

import hashlib
import re
import zlib
from typing import Annotated, Final, Literal, TypeAlias, TypeVar

import msgspec

from nodedevd.questions.summary import CardRoom, Count, HostRoom, Text, TypeName
from nodedevd.undecodable import UNDECODABLE

V = TypeVar("V")

VERSION: Final = 1
"""of the values; a reader shows those of a newer one as such, and does not guess"""
HOSTS: Final = "host.*"
"""filter of the summaries"""
ALIVES: Final = "host.*.alive"
"""filter of the heartbeats"""
PART_BYTES: Final = 512 * 1024
PARTS_AT_MOST: Final = 32
TREE_BYTES_AT_MOST: Final = 512 << 20
"""of a tree, as JSON; more is not inflated"""
_ID: Final = re.compile(r"[A-Za-z0-9_-]{1,64}")

ShortText = Annotated[str, msgspec.Meta(max_length=256)]
DaemonState: TypeAlias = Literal["ok", "absent", "unreadable", "left"]
"""What a heartbeat says of nodedevd: it answers; it does not; it is of a version that this
publisher cannot read; the publisher was stopped in order."""


class TreeFacts(msgspec.Struct, frozen=True):
    """Which tree belongs to a summary."""

    bytes: Count
    """of its JSON"""
    stored: Count
    """of all parts"""
    parts: Annotated[int, msgspec.Meta(ge=1, le=PARTS_AT_MOST)]
    sha256: Annotated[str, msgspec.Meta(max_length=64)]
    """of all parts, one after another"""


class Summary(msgspec.Struct, frozen=True):
    """A host without its devices."""

    v: Annotated[int, msgspec.Meta(ge=0)]
    host: ShortText
    """the host's name"""
    publisher: ShortText
    """the publisher's process"""
    instance: ShortText
    """the daemon's process, to which the generation belongs"""
    generation: Count
    changed: ShortText
    """when the publisher saw this state, by the host's clock, UTC"""
    devices: Count
    counts: dict[Text, Count]
    tree: TreeFacts
    types: dict[Text, TypeName] = {}
    cards: tuple[CardRoom, ...] = ()

    @property
    def room(self) -> HostRoom:
        """What `fits` over hosts is asked about."""
        return HostRoom(self.devices, self.counts, self.types, self.cards)


class Alive(msgspec.Struct, frozen=True):
    """The heartbeat of a publisher."""

    v: int
    publisher: ShortText
    daemon: DaemonState
    interval: Annotated[float, msgspec.Meta(ge=0.05, le=3600)]
    """seconds until the next one"""
    summary: Count = 0
    """sequence of the summary that it has written last"""
    behind: Annotated[float, msgspec.Meta(ge=0)] = 0.0
    """seconds since which there is a newer state than the summary; 0 if there is none"""
    confirmed: bool = True
    """whether this publisher has found that the summary is the host's state, or has written it"""


class _Version(msgspec.Struct):
    v: int


class Newer(Exception):
    """A value of a newer version; the argument is the version."""


class Unreadable(Exception):
    """A value that is none; the argument says why."""


_SUMMARY: Final = msgspec.json.Decoder(Summary)
_ALIVE: Final = msgspec.json.Decoder(Alive)
_VERSION: Final = msgspec.json.Decoder(_Version)


def summary_of(value: bytes) -> Summary:
    """Parse a summary. Raises Newer, Unreadable."""
    return _parsed(value, _SUMMARY)


def alive_of(value: bytes) -> Alive:
    """Parse a heartbeat. Raises Newer, Unreadable."""
    return _parsed(value, _ALIVE)


def _parsed(value: bytes, decoder: msgspec.json.Decoder[V]) -> V:
    try:
        version = _VERSION.decode(value).v
        if version > VERSION:
            raise Newer(version)
        return decoder.decode(value)
    except UNDECODABLE as error:
        raise Unreadable(str(error)[:200]) from None


def is_host_id(text: str) -> bool:
    """Return whether a text can be the id of a host, a part of a key."""
    return _ID.fullmatch(text) is not None


def host_id(name: str) -> str:
    """Return the id of a host's name: what no key may have becomes `_`."""
    return re.sub(r"[^A-Za-z0-9_-]", "_", name)[:64] or "_"


def host_of(key: str) -> str:
    """Return the id of the host whose key it is."""
    return key.split(".", 2)[1] if "." in key else key


def summary_key(host: str) -> str:
    """Return the key of a host's summary."""
    return f"host.{host}"


def alive_key(host: str) -> str:
    """Return the key of a host's heartbeat."""
    return f"host.{host}.alive"


def tree_key(host: str, part: int = 0) -> str:
    """Return the key of a part of a host's tree."""
    return f"host.{host}.tree" + (f".{part}" if part else "")


def packed(tree: bytes, part_bytes: int = PART_BYTES) -> tuple[TreeFacts, list[bytes]]:
    """Return a tree in parts, and what its summary says of it. Raises ValueError if too large."""
    stored = zlib.compress(tree, 6)
    parts = [stored[start : start + part_bytes] for start in range(0, len(stored), part_bytes)]
    if len(parts) > PARTS_AT_MOST:
        raise ValueError(f"the tree has {len(stored)} bytes, compressed, in {len(parts)} parts")
    digest = hashlib.sha256(stored).hexdigest()
    return TreeFacts(len(tree), len(stored), len(parts), digest), parts


def unpacked(facts: TreeFacts, parts: list[bytes]) -> bytes:
    """Return the tree of its parts. Raises Unreadable if they are not those of the summary."""
    stored = b"".join(parts)
    if len(stored) != facts.stored or hashlib.sha256(stored).hexdigest() != facts.sha256:
        raise Unreadable("its parts are not those of the summary")
    if facts.bytes > TREE_BYTES_AT_MOST:
        raise Unreadable(f"it has {facts.bytes} bytes, more than {TREE_BYTES_AT_MOST}")
    inflater = zlib.decompressobj()
    try:
        tree = inflater.decompress(stored, facts.bytes + 1)
    except zlib.error as error:
        raise Unreadable(str(error)) from None
    if len(tree) != facts.bytes:
        raise Unreadable("it is longer or shorter than its summary says")
    return tree
