"""texts: finds the identifying values in a text, in all their forms, and replaces them.

A uuid, a hardware address, a World Wide Name or a GUID is the same value with and without
separators, in either case, and behind 0x, naa., eui. or the type digit of scsi_id(8). All else
that identifies is replaced word by word: a serial number is the same in `ID_SERIAL`, in a link's
name, and alone.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Iterator, Set

from nodedevd.names import parse_pci
from nodedevd.tree.stand_ins.table import Table, is_same_everywhere

_H = "[0-9a-fA-F]"
_DASH = r"(?:--?|_|\\x2d)"  # as in names of LVM, and in udev's links
_UUID = rf"{_H}{{8}}(?:{_DASH}{_H}{{4}}){{3}}{_DASH}{_H}{{12}}"
_MAC = (
    rf"(?<![0-9a-fA-F:]){_H}{{2}}(?::{_H}{{2}}){{5,19}}(?!:?{_H})"
    rf"|(?<![0-9a-fA-F]){_H}{{2}}(?:-{_H}{{2}}){{5,7}}(?!-?{_H})"
)
_GUID = rf"(?<![0-9a-fA-F:]){_H}{{4}}(?::{_H}{{4}}){{3}}(?!:?{_H}{{4}}|{_H})"
_MD_UUID = rf"(?<![0-9a-fA-F:]){_H}{{8}}(?::{_H}{{8}}){{3}}(?!:?{_H})"
_WWN = rf"0[xX](?:{_H}{{32}}|{_H}{{16}})(?!{_H})"
_NAMED = rf"(?:naa|eui)\.(?:{_H}{{32}}|{_H}{{16}})(?!{_H})"
_BYTE = "(?:25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])"
_IPV4 = rf"(?<![\w.])(?:{_BYTE}\.){{3}}{_BYTE}(?![\w.])"
_ESCAPE = r"\\x[0-9a-fA-F]{2}|\\[0-7]{3}"  # udev's and the kernel's; otherwise \x is a backslash
_WORD = r"[^\W_]+|[\udc80-\udcff]+"
_DIGITS = re.compile(_H)
_PLAIN = re.compile(f"{_UUID}|{_MAC}|{_GUID}|{_MD_UUID}|{_WWN}|{_NAMED}")
_ALL = re.compile(
    f"(?P<digits>{_UUID}|{_MAC}|{_GUID}|{_MD_UUID}|{_WWN}|{_NAMED})|(?P<escape>{_ESCAPE})"
    f"|(?P<ipv4>{_IPV4})|(?P<word>{_WORD})"
)
_SCSI_ID = re.compile(rf"3({_H}{{16}}|{_H}{{32}})")  # scsi_id(8): 3 is the type NAA
_HEX_NUMBER = re.compile(rf"(0[xX])({_H}+)")
_BARE = re.compile(rf"(?=.*[a-fA-F])(?:{_H}{{12}}|{_H}{{16}}|{_H}{{32}})")
_MAC_PAIRS = re.compile(f"{_H}{{2}}(?:[:-]{_H}{{2}}){{5}}")
_MAC_NAMED = re.compile(f"{_H}{{12}}")
_NAMING_AUTHORITY = re.compile(r"(?i)\b((?:iqn|nqn)\.[0-9]{4}-[0-9]{2}\.)")
_SHORT = 3
"""A word of a serial number as short may be in a model's name by chance."""


class Texts:
    """Replaces values in texts, by one table for all."""

    def __init__(self, table: Table) -> None:
        self._table = table
        self._values: set[str] = set()
        self._serials: set[str] = set()
        self._vocabulary: set[str] = set()

    @property
    def count(self) -> int:
        """How many values were replaced."""
        return len(self._values)

    def learn(self, text: str) -> None:
        """Learn words of models and vendors, which are part of many names."""
        self._vocabulary.update(word.lower() for word in re.findall(_WORD, text))

    def plain(self, text: str) -> str:
        """Replace uuids, hardware addresses and World Wide Names, wherever they are."""
        return _PLAIN.sub(lambda match: self._hex(match[0]), text)

    def parts(self, text: str) -> Iterator[tuple[str, bool]]:
        """Yield the parts of a text, and whether `plain` would replace one."""
        at = 0
        for match in _PLAIN.finditer(text):
            yield text[at : match.start()], False
            yield match[0], True
            at = match.end()
        yield text[at:], False

    def described(self, text: str) -> str:
        """Replace those, and the words of serial numbers, in the name of a model or a type."""
        return _ALL.sub(self._replacer(self._is_serial), text)

    def _is_serial(self, word: str) -> bool:
        if not self._table.assigned or len(word) <= _SHORT:
            return False
        return word in self._serials or (
            _BARE.fullmatch(word) is not None and self._table.has_number(word)
        )

    def learn_serial(self, text: str) -> None:
        """Learn the words of a serial number that itself is not recorded."""
        words = [word.lower() for word in re.findall(_WORD, text)]
        self._serials.update(words)
        for word in words:
            self._word(word)

    def serial(self, text: str) -> str:
        """Replace a serial number, and remember its words."""
        if parse_pci(text.strip()) is not None:
            return text  # of a root hub
        self._serials.update(word.lower() for word in re.findall(_WORD, text))
        return self.secret(text)

    def secret(self, text: str, keep: Set[str] = frozenset()) -> str:
        """Replace every word but those to keep, in lower case; blanks and separators stay."""
        parts = _NAMING_AUTHORITY.split(text)
        # The year and month of a name of iSCSI or NVMe stay, so that it stays one: RFC 3720, 3.2.6.
        return "".join([one if odd % 2 else self._all(one, keep) for odd, one in enumerate(parts)])

    def composed(self, text: str, keep: Set[str] = frozenset()) -> str:
        """Replace every word but those of models and vendors: ID_SERIAL is made of all three."""
        vocabulary = self._vocabulary - self._serials if self._table.assigned else frozenset()
        return self.secret(text, keep | vocabulary)

    def ip_address(self, text: str) -> str:
        """Replace an IP address, IPv6 with or without its brackets; other text by words."""
        inner = text.removeprefix("[").removesuffix("]")
        address, percent, zone = inner.partition("%")
        try:
            value = ipaddress.ip_address(address)
        except ValueError:
            return self.secret(text)
        if value.is_loopback or value.is_unspecified:
            return text
        self._values.add(str(value))
        replaced = self._table.address(str(value))
        return text.replace(inner, replaced + percent + self.secret(zone))

    def number(self, text: str) -> str:
        """Replace a hardware address or a GUID without separators, as in enx…."""
        return self._hex(text, mac=_MAC_NAMED.fullmatch(text) is not None)

    def _all(self, text: str, keep: Set[str]) -> str:
        whole = _ALL.fullmatch(text.strip())
        identifies = any(word.lower() not in keep for word in re.findall(_WORD, text))
        if identifies and (whole is None or whole["word"] is not None):
            self._values.add(text.strip().lower())
        return _ALL.sub(self._replacer(lambda word: word not in keep), text)

    def _replacer(self, identifies: Callable[[str], bool]) -> Callable[[re.Match[str]], str]:
        def replaced(match: re.Match[str]) -> str:
            text = match[0]
            if match["digits"] is not None:
                return self._hex(text)
            if match["escape"] is not None or not identifies(text.lower()):
                return text
            return self._word(text) if match["ipv4"] is None else self.ip_address(text)

        return replaced

    def _word(self, text: str) -> str:
        number = _HEX_NUMBER.fullmatch(text)
        if number is not None:
            return number[1] + self._word(number[2])
        if _BARE.fullmatch(text):
            return self._hex(text)
        by_type = _SCSI_ID.fullmatch(text)
        if by_type is not None and self._is_number(by_type[1]):
            return f"3{self._hex(by_type[1])}"
        canonical = "".join([one.lower() if one.isascii() else one for one in text])
        stand_in = self._table.word(canonical)
        if stand_in == canonical:
            return text
        grown = len(stand_in) - len(text)
        shape = "0" * grown + text
        return "".join(
            [
                new.upper() if old.isupper() else new
                for old, new in zip(shape, stand_in, strict=True)
            ]
        )

    def _is_number(self, text: str) -> bool:
        """Return whether digits behind a type digit are a number of their own, not a word."""
        return _BARE.fullmatch(text) is not None or self._table.has_digits(text.lower())

    def _hex(self, text: str, *, mac: bool = False) -> str:
        """Replace the hex digits of a value, and keep the rest of its form."""
        prefix = ""
        for start in ("0x", "0X", "naa.", "eui."):
            if text.startswith(start):
                prefix, text = start, text.removeprefix(start)
        value = "".join(_DIGITS.findall(text.replace(r"\x2d", "-"))).lower()
        mac = mac or _MAC_PAIRS.fullmatch(text) is not None
        stand_in = self._table.digits(value, mac=mac)
        if not is_same_everywhere(value):
            self._values.add(value)
        if stand_in == value:
            return prefix + text
        if text != text.lower():
            stand_in = stand_in.upper()
        left = iter(stand_in)
        parts = re.split(r"(\\x2d)", text)
        return prefix + "".join(
            [part if part == r"\x2d" else _DIGITS.sub(lambda _: next(left), part) for part in parts]
        )
