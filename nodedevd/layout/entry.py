"""entry: what one table `[[card]]` of a layout file says, or what is wrong with it."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from difflib import get_close_matches
from typing import Any, Final

import msgspec

from nodedevd.kinds.shared.mdevctl import MdevAttribute, is_parent_name
from nodedevd.kinds.shared.vfio import is_vfio_driver
from nodedevd.layout.form import KEYS, CardTable, MdevTable, VgpusTable
from nodedevd.layout.problem import Code, Problem, key_text
from nodedevd.layout.slots import is_slots
from nodedevd.layout.wanted import KeyPath, Match, WantedCard, WantedMdev, WantedVgpus
from nodedevd.names import is_file_name, is_uuid, parse_pci
from nodedevd.text import shortened

_ID: Final = re.compile("0x[0-9a-f]{4}", re.IGNORECASE)
_AT: Final = re.compile(r"(.*?)(?: - at `\$(.*)`)?", re.DOTALL)
_PART: Final = re.compile(r"\.([^.\[\]]+)|\[([0-9]+)\]")
_MATCHES: Final = (("address",), ("slots",), ("parent",), ("vendor", "product"))
_EXAMPLES: Final[Mapping[str, str]] = {
    "address": 'address = "0000:3b:00.0"',
    "slots": 'slots = "pci0000:3a/00.0/00.0"',
    "parent": 'parent = "mtty"',
    "vendor": 'vendor = "0x10de"',
    "product": 'product = "0x25b6"',
    "virtual_functions": 'virtual_functions = 4, or "all"',
    "driver": 'driver = "vfio-pci"',
    "vgpus": 'vgpus = [{ type = "NVIDIA A2-4Q", count = 2 }]',
    "mdevs": 'mdevs = [{ uuid = "…", type = "mtty-1" }]',
    "spare": "spare = 2",
    "remove_unnamed": "remove_unnamed = true, or false",
    "keep": "keep = true, or false",
    "type": 'type = "NVIDIA A2-4Q"',
    "count": "count = 2",
    "placement": "placement = [0, 4]",
    "functions": "functions = [0, 1]",
    "uuid": 'uuid = "4b20d080-1b54-4048-85b3-a6a62d165c01"',
    "function": "function = 0",
    "active": "active = true, or false",
    "define": "define = true, or false",
    "autostart": "autostart = true, or false",
    "attributes": 'attributes = ["assign_adapter=5"]',
}
"""How each key is written."""
_WORDS: Final[Mapping[str, str]] = {
    "`int`": "a whole number",
    "`str`": "text",
    "`bool`": "true or false",
    "`array`": "an array",
    "`object`": "a table",
    "`float`": "a fraction",
    "`int | str | null`": "a whole number or text",
    "`str | null`": "text",
    "`int | null`": "a whole number",
    "`array | null`": "an array",
}
"""msgspec's names of types in the words of TOML."""


class Entry(msgspec.Struct, frozen=True):
    """An entry of a file, as tomllib reads it."""

    file: str
    table: Any
    lines: Mapping[KeyPath, int]
    """line of each key in it; () is the entry itself"""

    def problem(self, path: KeyPath, code: Code, message: str, instead: str) -> Problem:
        """Return what is wrong at a key."""
        around = path
        while around and around not in self.lines:
            around = around[:-1]
        key = shortened(key_text(path)) or None
        return Problem(self.file, self.lines.get(around), key, code, message, instead)


def read_entry(entry: Entry) -> tuple[WantedCard | None, tuple[Problem, ...]]:
    """Return the card that an entry wants, or everything that is wrong with it."""
    problems = list(_unknown_keys(entry, (), "card", entry.table))
    if not problems:
        try:
            table = msgspec.convert(entry.table, CardTable)
        except msgspec.ValidationError as error:
            problems.append(_malformed(entry, str(error)))
        else:
            problems += [*_match_problems(entry, table), *_contradictions(entry, table)]
    if problems:
        return None, tuple(problems)
    return _wanted(entry, table), ()


def _unknown_keys(entry: Entry, path: KeyPath, kind: str, table: Any) -> Iterator[Problem]:
    if not isinstance(table, dict):
        return
    known = KEYS[kind]
    for key, value in table.items():
        if key not in known:
            near = get_close_matches(key[:64], known, n=1, cutoff=0.6)
            instead = f"write {near[0]}" if near else f"the keys are {', '.join(known)}"
            message = f"there is no key {shortened(key)}"
            yield entry.problem((*path, key), "unknown-key", message, instead)
        elif key in KEYS and isinstance(value, list):
            for number, one in enumerate(value):
                yield from _unknown_keys(entry, (*path, key, number), key, one)


def _malformed(entry: Entry, text: str) -> Problem:
    """Return a problem for an error of msgspec."""
    match = _AT.fullmatch(text)
    text, place = (text, None) if match is None else (match[1], match[2])
    path: KeyPath = tuple([key or int(number) for key, number in _PART.findall(place or "")])
    missing = re.fullmatch(r"Object missing required field `(.*)`", text)
    if missing is not None:
        message = f"{missing[1]} is missing"
        return entry.problem(path, "missing-key", message, f"add {_EXAMPLES[missing[1]]}")
    for word, plain in _WORDS.items():
        text = text.replace(word, plain)
    text = text.replace("Invalid enum value", "there is no value")
    last = next((one for one in reversed(path) if isinstance(one, str)), None)
    example = _EXAMPLES.get(last or "", "a table [[card]]")
    return entry.problem(path, "bad-value", text[:1].lower() + text[1:], f"write {example}")


# -- which card ---------------------------------------------------------------------------------


def _match_problems(entry: Entry, table: CardTable) -> Iterator[Problem]:
    given = [keys for keys in _MATCHES if any(getattr(table, key) is not None for key in keys)]
    if not given:
        yield entry.problem(
            (), "no-match", "it does not say which card it means", f"add {_EXAMPLES['address']}"
        )
    elif len(given) > 1:
        keys = ", ".join(" and ".join(one) for one in given)
        message = f"it says in several ways which card it means: {keys}"
        yield entry.problem((given[1][0],), "several-matches", message, "keep one of them")
    for key, other in (("vendor", "product"), ("product", "vendor")):
        value = getattr(table, key)
        if value is None:
            continue
        if getattr(table, other) is None:
            message = f"{key} alone means no card"
            yield entry.problem((key,), "no-match", message, f"add {_EXAMPLES[other]}")
        if not _ID.fullmatch(value):
            message = f"{shortened(value)!r} is no PCI id"
            yield entry.problem((key,), "bad-value", message, f"write {_EXAMPLES[key]}")
    if table.address is not None and parse_pci(table.address) is None:
        message = f"{shortened(table.address)!r} is no PCI address"
        yield entry.problem(("address",), "bad-value", message, f"write {_EXAMPLES['address']}")
    if table.slots is not None and not is_slots(table.slots):
        message = f"{shortened(table.slots)!r} is no path of slots"
        yield entry.problem(
            ("slots",),
            "bad-value",
            message,
            f"write {_EXAMPLES['slots']}, as `nodedevctl layout show --by slots` prints it",
        )
    if table.parent is not None and parse_pci(table.parent) is not None:
        message = f"{shortened(table.parent)!r} is a PCI address"
        yield entry.problem(
            ("parent",), "bad-value", message, f'write address = "{parse_pci(table.parent)}"'
        )
    elif table.parent is not None and not is_parent_name(table.parent):
        message = f"{shortened(table.parent)!r} is no kernel name of an mdev parent"
        yield entry.problem(("parent",), "bad-value", message, f"write {_EXAMPLES['parent']}")


# -- what contradicts itself --------------------------------------------------------------------


def _contradictions(entry: Entry, table: CardTable) -> Iterator[Problem]:
    number = table.virtual_functions
    if table.driver is not None and not is_file_name(table.driver):
        message = f"{shortened(table.driver)!r} is no name of a driver"
        yield entry.problem(("driver",), "bad-value", message, f"write {_EXAMPLES['driver']}")
    if number == 0 and table.driver is not None:
        yield entry.problem(
            ("driver",),
            "contradiction",
            "it is the driver of the virtual functions, and there are to be none",
            "leave it out, or leave virtual_functions out for the driver of the card itself",
        )
    if is_vfio_driver(table.driver) and (table.vgpus or table.mdevs):
        yield entry.problem(
            ("driver",),
            "contradiction",
            f"{table.driver} makes no vGPUs",
            "leave it out, or leave vgpus and mdevs out",
        )
    if isinstance(number, int) and table.spare > number:
        message = f"{table.spare} of {number} virtual functions cannot be spare"
        yield entry.problem(("spare",), "does-not-fit", message, f"write {number} at the most")
    if table.parent is not None:
        for key in ("virtual_functions", "driver"):
            if getattr(table, key) is not None:
                message = "a parent that is no PCI function has none"
                yield entry.problem((key,), "contradiction", message, "leave it out")
    if table.mdevs and (table.vendor is not None or table.product is not None):
        yield entry.problem(
            ("mdevs",),
            "contradiction",
            "every card of a model is meant, and a UUID is on one card alone",
            "name the card by address or slots, in an entry of its own for each card",
        )
    yield from _vgpu_problems(entry, table.vgpus)
    for position, mdev in enumerate(table.mdevs):
        yield from _mdev_problems(entry, ("mdevs", position), mdev)
    yield from _function_problems(entry, table)


def _vgpu_problems(entry: Entry, vgpus: Sequence[VgpusTable]) -> Iterator[Problem]:
    for position, one in enumerate(vgpus):
        path: KeyPath = ("vgpus", position)
        for key, given in (("placement", one.placement), ("functions", one.functions)):
            if given is None:
                continue
            count = _count(one)
            if len(given) != count:
                message = f"it has {len(given)} numbers, for {count} vGPUs"
                yield entry.problem(
                    (*path, key), "contradiction", message, f"give {count}, one for each"
                )
            twice = [number for number, times in Counter(given).items() if times > 1]
            if twice:
                message = f"{twice[0]} is there twice"
                yield entry.problem((*path, key), "contradiction", message, "give each once")


def _mdev_problems(entry: Entry, path: KeyPath, mdev: MdevTable) -> Iterator[Problem]:
    if not is_uuid(mdev.uuid):
        message = f"{shortened(mdev.uuid)!r} is no UUID"
        yield entry.problem((*path, "uuid"), "bad-value", message, f"write {_EXAMPLES['uuid']}")
    if mdev.autostart and not mdev.define:
        message = "mdevctl starts nothing that it has no definition of"
        yield entry.problem(
            (*path, "autostart"), "contradiction", message, "leave autostart or define out"
        )
    if not mdev.active and not mdev.define:
        message = "it is to be neither active nor defined"
        yield entry.problem(
            (*path, "define"), "contradiction", message, "leave the mdev out altogether"
        )
    for number, text in enumerate(mdev.attributes or ()):
        name, equals, value = text.partition("=")
        parts = set(name.split("/"))
        if not equals or not name.isprintable() or {"", ".", ".."} & parts or "\0" in value:
            message = f"{shortened(text)!r} is no NAME=VALUE, with the path of an attribute as NAME"
            yield entry.problem(
                (*path, "attributes", number),
                "bad-value",
                message,
                f"write {_EXAMPLES['attributes']}",
            )


def _function_problems(entry: Entry, table: CardTable) -> Iterator[Problem]:
    """Yield virtual functions that are named and are not there, are spare, or hold two."""
    number = table.virtual_functions
    usable = max(0, number - table.spare) if isinstance(number, int) else None
    named: list[tuple[int, KeyPath]] = []
    for position, one in enumerate(table.vgpus):
        named += [
            (function, ("vgpus", position, "functions", at))
            for at, function in enumerate(one.functions or ())
        ]
    named += [
        (mdev.function, ("mdevs", position, "function"))
        for position, mdev in enumerate(table.mdevs)
        if mdev.function is not None and mdev.active
    ]
    seen: set[int] = set()
    for function, path in named:
        if usable is not None and function >= usable:
            spare = f", of which {table.spare} are spare" if table.spare else ""
            message = f"there is no function {function} among {number}{spare}"
            instead = f"give a number below {usable}" if usable > 0 else "leave it out"
            yield entry.problem(path, "does-not-fit", message, instead)
        if function in seen:
            message = f"the virtual function {function} holds two vGPUs then"
            yield entry.problem(path, "contradiction", message, "give another function")
        seen.add(function)
    count = sum(map(_count, table.vgpus)) + sum(mdev.active for mdev in table.mdevs)
    if usable is not None and number and count > usable:
        spare = f", of which {table.spare} are spare" if table.spare else ""
        yield entry.problem(
            ("virtual_functions",),
            "does-not-fit",
            f"{count} vGPUs need a virtual function each, and there are to be {number}{spare}",
            f"give {count + table.spare} or more, or fewer vGPUs",
        )


# -- what it says ---------------------------------------------------------------------------------


def _count(one: VgpusTable) -> int:
    if one.count is not None:
        return one.count
    return len(one.functions or one.placement or (0,))


def _wanted(entry: Entry, table: CardTable) -> WantedCard:
    address = None if table.address is None else str(parse_pci(table.address))
    return WantedCard(
        file=entry.file,
        line=entry.lines.get((), 1),
        match=Match(
            address=address,
            slots=table.slots,
            parent=table.parent,
            vendor=None if table.vendor is None else table.vendor.lower(),
            product=None if table.product is None else table.product.lower(),
        ),
        virtual_functions=table.virtual_functions,
        driver=table.driver,
        vgpus=tuple(
            [
                WantedVgpus(one.type, _count(one), one.placement or (), one.functions or ())
                for one in table.vgpus
            ]
        ),
        mdevs=tuple(map(_wanted_mdev, table.mdevs)),
        spare=table.spare,
        remove_unnamed=table.remove_unnamed,
        keep=table.keep,
        lines=entry.lines,
    )


def _wanted_mdev(mdev: MdevTable) -> WantedMdev:
    attributes = None
    if mdev.attributes is not None:
        pairs = [text.partition("=") for text in mdev.attributes]
        attributes = tuple([MdevAttribute(name, value) for name, _, value in pairs])
    return WantedMdev(
        uuid=mdev.uuid.lower(),
        type=mdev.type,
        function=mdev.function,
        active=mdev.active,
        define=mdev.define,
        autostart=mdev.autostart,
        attributes=attributes,
    )
