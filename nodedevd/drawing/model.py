"""model: what a picture shows, before it has a size or a colour."""

from __future__ import annotations

from typing import Literal, TypeAlias

import msgspec

from nodedevd.questions.doctor.finding import Severity

SlotState: TypeAlias = Literal[
    "open", "idle", "unknown", "defined", "broken", "room", "none", "host"
]
"""open: a process has the device open; idle: it exists, and none has; unknown: it exists, and
whether it is open is unknown; defined: an inactive mdev; broken: an mdev that is incomplete or
being removed; room: a vGPU can be created there; none: none can; host: a driver of the host has
it"""


class Slot(msgspec.Struct, frozen=True):
    """A slice of a bar, or a cell of a grid."""

    state: SlotState
    title: str
    """a few letters: the end of a type's name, or of a function's address"""
    detail: str
    """where it is: a function, a uuid"""
    label: str
    """the same as a sentence, for tooltips and screen readers"""
    device: str | None = None
    """name of the device; None for room"""
    size_bytes: int | None = None
    """memory that it takes; None if unknown, or if the card has no sizes"""
    mark: Severity | None = None
    """the most severe finding about the device"""
    holder: str = ""
    """the VM or process that has it open; empty if there is none, or it may not be shown"""


class Count(msgspec.Struct, frozen=True):
    """How many slots are alike, where there are too many to draw each."""

    state: SlotState
    count: int


class Room(msgspec.Struct, frozen=True):
    """How many more vGPUs of one size, or of one type, a card can hold."""

    sure: int
    """the number that can be created for sure"""
    available: int | None
    """the largest number that may be created; None if unknown"""
    size_bytes: int | None
    types: tuple[str, ...]
    """the ends of the types' names; all types of this size"""


class Bar(msgspec.Struct, frozen=True):
    """The memory of a card, or its vGPUs if they have no sizes."""

    slots: tuple[Slot, ...]
    """vGPUs, then inactive mdevs that would fit, then room"""
    counts: tuple[Count, ...]
    """the vGPUs counted, if there are too many slots; then `slots` is empty"""
    total_bytes: int | None
    """None if the card does not report it"""
    taken_bytes: int
    """memory of the vGPUs that exist, as far as it is known"""
    sized: bool
    """whether the vGPUs of the card have sizes at all"""
    all_known: bool
    """whether the size of every vGPU that exists is known"""


class Grid(msgspec.Struct, frozen=True):
    """The virtual functions of a card."""

    slots: tuple[Slot, ...]
    counts: tuple[Count, ...]
    """how many slots are in each state"""
    enabled: int
    maximum: int | None
    """None if unknown"""
    first: str
    last: str
    """the ends of the first and the last address; empty without functions"""


class Card(msgspec.Struct, frozen=True):
    """A physical function with its virtual functions, or another mdev parent."""

    device: str
    """name of the device"""
    title: str
    address: str
    place: str
    """NUMA node, PCI root, link and driver"""
    mark: Severity | None
    bar: Bar | None
    """None for a card without vGPUs"""
    left_out: tuple[str, ...]
    """inactive mdevs without room, a sentence each"""
    rooms: tuple[Room, ...]
    problem: str | None
    """why the card can hold no vGPU, or no more; None if it can"""
    is_full: bool
    """whether `problem` is only that the card is full"""
    grid: Grid | None
    """None without SR-IOV"""


class Alike(msgspec.Struct, frozen=True):
    """Cards without vGPUs and findings that look the same, drawn as one line."""

    title: str
    count: int
    first: str
    last: str
    """address of the first and the last"""
    summary: str


class MatrixRow(msgspec.Struct, frozen=True):
    """An AP adapter, with a slot for each domain of the matrix, None where there is no queue."""

    title: str
    card_type: str
    slots: tuple[Slot | None, ...]


class Matrix(msgspec.Struct, frozen=True):
    """The AP queues of a host, and the mdevs that they are assigned to."""

    summary: str
    domains: tuple[str, ...]
    rows: tuple[MatrixRow, ...]
    counts: tuple[Count, ...]
    """the queues counted, if there are too many to draw; then `rows` is empty"""
    mdevs: tuple[Slot, ...]
    left_out: int
    """further mdevs that are not drawn"""


class Item(msgspec.Struct, frozen=True):
    """A device in a group: a network interface, a disk, a subchannel."""

    device: str
    title: str
    detail: str
    label: str
    state: SlotState | None = None
    """None for a device that is no matter of guests"""
    mark: Severity | None = None


class Place(msgspec.Struct, frozen=True):
    """The devices of a group at one place of the host."""

    title: str
    """NUMA node and PCI root; empty if there is no such place"""
    items: tuple[Item, ...]
    left_out: int
    """further devices that are not drawn"""


class Group(msgspec.Struct, frozen=True):
    """Devices of one kind."""

    title: str
    summary: str
    places: tuple[Place, ...]


class Note(msgspec.Struct, frozen=True):
    """A finding."""

    severity: Severity
    text: str


class Picture(msgspec.Struct, frozen=True):
    """All that is drawn of a host, from top to bottom."""

    title: str
    sums: str
    """numbers of the host in one line"""
    notes: tuple[Note, ...]
    more_notes: int
    """findings that are not drawn"""
    states: tuple[SlotState, ...]
    """those that occur, for the legend"""
    cards: tuple[Card, ...]
    alike: tuple[Alike, ...]
    more_cards: int
    """cards that are not drawn at all"""
    matrix: Matrix | None
    groups: tuple[Group, ...]
    rest: str
    """how many devices of which kinds are not drawn"""
