"""shown: the layout of what a host has now, which changes nothing on it, as TOML.

What a layout cannot say is left out, with a comment: an mdev that is being removed, a definition
that cannot be read or is different from the mdev that runs, functions that are bound in no order.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import Final, Literal, NamedTuple, TypeAlias

from msgspec.structs import replace

from nodedevd.host.lines import fields_of
from nodedevd.kinds.mdev_child import MdevChild
from nodedevd.kinds.mdev_parent import MdevParent
from nodedevd.kinds.pci import Pci
from nodedevd.kinds.shared.vfio import is_vfio_driver
from nodedevd.kinds.vgpu import Vgpu
from nodedevd.layout.card import Card
from nodedevd.layout.slots import slots_of
from nodedevd.layout.wanted import Match, WantedCard, WantedMdev, WantedVgpus
from nodedevd.model.device import Device
from nodedevd.model.snapshot import Snapshot
from nodedevd.names import is_uuid
from nodedevd.questions.vgpus import card_of, type_of
from nodedevd.text import printable

By: TypeAlias = Literal["address", "slots", "model"]
"""how cards are named; those that are no PCI functions have their kernel names"""

_WIDTH: Final = 78


class Shown(NamedTuple):
    """The entry of a card, and what of it a layout cannot say."""

    card: WantedCard
    names: dict[str, str]
    """names of the types, by their ids"""
    notes: tuple[str, ...]


def layout_shown(
    snapshot: Snapshot, names: Iterable[str] | None = None, by: By = "address"
) -> list[Shown]:
    """Return the entries that describe the cards of a host as they are.

    Args:
        snapshot: The devices of the host.
        names: Only the cards that these devices belong to, whatever is on them; None: all with
            virtual functions, vGPUs, definitions of mdevs, or a VFIO driver.
        by: How the entries name the cards. An entry by model is for every such card of the host: it
            is there once, and the cards have their addresses if they are not alike. Of `names`,
            each has an entry.

    Raises NoSuchDevice.
    """
    if names is None:
        every = [Card(one, snapshot) for one in _cards(snapshot)]
        cards = [one for one in every if _has(one)]
        if by == "model":
            return _by_model(cards, every)
    else:
        chosen = dict.fromkeys(_card_with(snapshot, name) for name in names)
        cards = [Card(snapshot.lookup(one), snapshot) for one in chosen]
    seen: set[str] = set()
    return [_shown(one, by, seen) for one in cards]


def layout_text(entries: Sequence[Shown]) -> str:
    """Return the text of a file with these entries."""
    return "\n".join("".join(f"{line}\n" for line in _entry(one)) for one in entries)


# -- what there is ------------------------------------------------------------------------------


def _by_model(cards: Sequence[Card], every: Sequence[Card]) -> list[Shown]:
    """Return the entries of cards, one for all cards of a model that are alike."""
    numbers = Counter(_match(one.device, "model") for one in every)
    seen: set[str] = set()
    found: dict[Match, list[tuple[Card, Shown]]] = {}
    for card in cards:
        entry = _shown(card, "model", seen)
        found.setdefault(entry.card.match, []).append((card, entry))
    entries = []
    for match, alike in found.items():
        first = alike[0][1]
        is_one = len(alike) == numbers[match] and all(one.card == first.card for _, one in alike)
        if match.vendor is None or is_one:
            entries.append(first)
            continue
        for card, entry in alike:
            address = _match(card.device, "address")
            entries.append(entry._replace(card=replace(entry.card, match=address)))
    return entries


def _card_with(snapshot: Snapshot, name: str) -> str:
    device = snapshot.lookup(name)
    mdev = device.capability(MdevChild)
    parent = None if mdev is None or mdev.parent is None else snapshot.get(mdev.parent)
    return card_of(device if parent is None else parent)


def _cards(snapshot: Snapshot) -> Iterator[Device]:
    for one in snapshot:
        pci = one.capability(Pci)
        is_one = pci is not None or one.capability(MdevParent) is not None
        if is_one and card_of(one) == one.name:
            yield one


def _has(card: Card) -> bool:
    """Return whether a card has anything that a layout is about."""
    mdevs = any(one.capability(MdevChild) is not None for one in card.devices)
    return bool(card.functions or card.held or mdevs or _is_passed_through(card))


def _is_passed_through(card: Card) -> bool:
    """Return whether a card is kept for a guest as a whole."""
    pci = card.device.capability(Pci)
    return (
        pci is not None
        and pci.bridge is None
        and not card.functions
        and not card.holders
        and is_vfio_driver(card.device.driver)
    )


def _shown(card: Card, by: By, seen: set[str]) -> Shown:
    notes: list[str] = []
    functions = card.functions
    driver, spare = None, 0
    if functions and not card.holders:
        driver, spare = _driver(functions, notes)
    elif _is_passed_through(card):
        driver = card.device.driver
    names: dict[str, str] = {}
    for vgpu in card.devices:
        held = type_of(vgpu)
        if held is not None and held.name is not None:
            names[held.id] = held.name
    mdevs = tuple(_mdevs(card, seen, notes))
    if mdevs and by == "model":  # a UUID is on one card, and each card of the model is meant
        by = "address"
    entry = WantedCard(
        file="",
        line=1,
        match=_match(card.device, by),
        virtual_functions=len(functions) or None,
        driver=driver,
        vgpus=tuple(_profiles(card)),
        mdevs=mdevs,
        spare=spare,
    )
    return Shown(entry, names, tuple(notes))


def _match(device: Device, by: By) -> Match:
    pci = device.capability(Pci)
    if pci is None or pci.address is None:
        return Match(parent=device.sysname)
    if by == "slots" and (slots := slots_of(device.path)) is not None:
        return Match(slots=slots)
    if by == "model" and pci.vendor is not None and pci.product is not None:
        return Match(vendor=pci.vendor.id, product=pci.product.id)
    return Match(address=pci.address)


def _driver(functions: Sequence[Device | None], notes: list[str]) -> tuple[str | None, int]:
    """Return the driver of the first functions, and how many others come after them."""
    drivers = [None if one is None else one.driver for one in functions]
    first = drivers[0]
    same = next((at for at, one in enumerate(drivers) if one != first), len(drivers))
    if first is not None and first not in drivers[same:]:
        return first, len(drivers) - same
    if any(one is not None for one in drivers):
        notes.append("its virtual functions have different drivers, in no order")
    return None, 0


def _profiles(card: Card) -> Iterator[WantedVgpus]:
    """Yield the functions with a profile, those of one type together."""
    found: dict[tuple[str, bool], list[tuple[int, int | None]]] = {}
    on_card: list[str] = []
    numbers = {one.name: at for at, one in enumerate(card.functions) if one is not None}
    for one in card.held:
        vgpu = one.capability(Vgpu)
        if vgpu is None or vgpu.current is None:
            continue
        number = numbers.get(one.name)
        if number is None:
            on_card.append(vgpu.current.id)
            continue
        at = vgpu.placement_id or ""
        place = int(at) if at.isdecimal() and len(at) < 5 else None
        found.setdefault((vgpu.current.id, place is not None), []).append((number, place))
    for (type_id, placed), places in found.items():
        places.sort()
        yield WantedVgpus(
            type=type_id,
            count=len(places),
            placement=tuple([place for _, place in places if place is not None]) if placed else (),
            functions=tuple([number for number, _ in places]),
        )
    for type_id in on_card:
        yield WantedVgpus(type_id, 1)


def _mdevs(card: Card, seen: set[str], notes: list[str]) -> Iterator[WantedMdev]:
    numbers = {one.name: at for at, one in enumerate(card.functions) if one is not None}
    found = [(one, mdev) for one in card.devices if (mdev := one.capability(MdevChild)) is not None]
    found.sort(key=lambda one: (not one[0].active, one[0].name))
    for device, mdev in found:
        held, definition = mdev.mdev_type, mdev.definition
        if mdev.uuid in seen:
            notes.append(f"{mdev.uuid} is defined on {mdev.parent_addr}, too")
            continue
        why = _why_left_out(device, mdev, card)
        if held is None or why is not None:
            notes.append(f"{device.name} is left out: {why or 'its type is not known'}")
            continue
        define = definition is not None
        if definition is not None and definition.mdev_type != held.id:
            notes.append(f"the definition of {mdev.uuid} has the type {definition.mdev_type}")
            define = False
        seen.add(mdev.uuid)
        # What runs without a definition has attributes that nobody can read, but for vfio-ap.
        attributes = definition.attributes if definition is not None and define else None
        if held.device_api == "vfio-ap" and device.active:
            same = attributes is not None and sorted(attributes, key=_order) == sorted(
                mdev.attributes, key=_order
            )
            if attributes is None:
                attributes = mdev.attributes
            elif not same:
                notes.append(f"the definition of {mdev.uuid} has other attributes than it")
                attributes = None
        yield WantedMdev(
            uuid=mdev.uuid,
            type=held.id,
            function=numbers.get(mdev.parent or ""),
            active=device.active,
            define=define,
            autostart=definition.autostart if definition is not None and define else None,
            attributes=attributes or None,
        )


def _why_left_out(device: Device, mdev: MdevChild, card: Card) -> str | None:
    """Return why an mdev cannot be named in a layout, None if it can."""
    if not is_uuid(mdev.uuid):
        return "its name is no UUID"
    if device.state == "removing" or mdev.parent not in card.holders:
        return "it is being removed"
    if not device.active and mdev.definition is None:
        return "its definition cannot be read"
    if mdev.waits_for == "type" and mdev.mdev_type is not None:
        return f"its parent offers no type {mdev.mdev_type.id}"
    return None


def _order(one: object) -> tuple[str, str]:
    return getattr(one, "name", ""), getattr(one, "value", "")


# -- as TOML ------------------------------------------------------------------------------------


def _entry(one: Shown) -> Iterator[str]:
    card, match = one.card, one.card.match
    for note in one.notes:
        yield from _comment(note)
    yield "[[card]]"
    for key in ("address", "slots", "parent", "vendor", "product"):
        value = getattr(match, key)
        if value is not None:
            yield f"{key} = {_quoted(value)}"
    if card.virtual_functions is not None:
        number = card.virtual_functions
        yield f"virtual_functions = {_quoted(number) if isinstance(number, str) else number}"
    if card.driver is not None:
        yield f"driver = {_quoted(card.driver)}"
    if card.spare:
        yield f"spare = {card.spare}"
    for vgpus in card.vgpus:
        yield ""
        yield "[[card.vgpus]]"
        yield _type(vgpus.type, one.names)
        if not vgpus.functions:
            yield f"count = {vgpus.count}"
        else:
            yield from _array("functions", [str(number) for number in vgpus.functions])
        if vgpus.placement:
            yield from _array("placement", [str(number) for number in vgpus.placement])
    for mdev in card.mdevs:
        yield ""
        yield "[[card.mdevs]]"
        yield f"uuid = {_quoted(mdev.uuid)}"
        yield _type(mdev.type, one.names)
        if mdev.function is not None:
            yield f"function = {mdev.function}"
        if not mdev.active:
            yield "active = false"
        if not mdev.define:
            yield "define = false"
        if mdev.autostart:
            yield "autostart = true"
        if mdev.attributes:
            texts = [_quoted(f"{item.name}={item.value}") for item in mdev.attributes]
            yield from _array("attributes", texts)


def _type(type_id: str, names: dict[str, str]) -> str:
    name = names.get(type_id)
    comment = "" if name is None or not name.isprintable() else f"  # {name}"
    return f"type = {_quoted(type_id)}{comment}"


def _array(key: str, texts: Sequence[str]) -> Iterator[str]:
    line = f"{key} = [{', '.join(texts)}]"
    if len(line) <= _WIDTH:
        yield line
        return
    yield f"{key} = ["
    line = "   "
    for text in texts:
        if len(line) + len(text) + 2 > _WIDTH and line.strip():
            yield line
            line = "   "
        line += f" {text},"
    yield line
    yield "]"


def _comment(text: str) -> Iterator[str]:
    line = "#"
    for word in fields_of(printable(text)):
        if len(line) + len(word) + 1 > _WIDTH and line != "#":
            yield line
            line = "#"
        line += f" {word}"
    yield line


def _quoted(text: str) -> str:
    """Return a text as a string of TOML."""
    return '"' + "".join(map(_escaped, text)) + '"'


def _escaped(character: str) -> str:
    if character in '"\\':
        return f"\\{character}"
    if character.isprintable():
        return character
    number = ord(character)
    return f"\\u{number:04x}" if number < 0x10000 else f"\\U{number:08x}"
