"""table: the stand-in of every identifying value of a host.

A host is gone through twice: the first time every value is added, then each gets a stand-in, which
the second time takes its place. Stand-ins are numbered in the order of the values, so that lists
keep their order, a host gives the same recording each time, and nothing of a value is in its
stand-in but the length, the kinds of its characters, and what a parser needs:

    word                the same length, digits for digits, letters for letters: EX-S7 → aa-a0
    hardware address    the same two bits for group and local addresses: 02:00:00:00:00:01
    16 hex digits       the first digit, the format of a World Wide Name: 0x5000000000000001
    32 hex digits       the first digit, and a random uuid (RFC 9562, version 4)
    IPv4, IPv6          the addresses of documentation: RFC 5737, RFC 3849
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator
from itertools import count

_HEX = "0123456789abcdef"
_ALPHABETS = {"digit": "0123456789", "hex": "abcdef", "letter": "abcdefghijklmnopqrstuvwxyz"}
_MAC_DIGITS, _IPOIB_DIGITS = 12, 40
_UUID_DIGITS = 32


def is_same_everywhere(digits: str) -> bool:
    """Return whether a uuid, GUID or World Wide Name is none, or unknown: all zeros, all ones."""
    return len(digits) != _MAC_DIGITS and set(digits) in ({"0"}, {"f"})


class Table:
    """Values in lower case, without the separators of hex digits, and their stand-ins."""

    def __init__(self) -> None:
        self.assigned = False
        """whether the values have stand-ins; until then they stand for themselves"""
        self._words: set[str] = set()
        self._digits: set[str] = set()
        self._macs: set[str] = set()
        self._addresses: set[str] = set()
        self._stand_ins: dict[str, str] = {}

    def word(self, value: str) -> str:
        """Return the stand-in of a word: letters and digits, in lower case."""
        if self.assigned:
            return self._stand_ins.get(value, value)
        self._words.add(value)
        return value

    def digits(self, value: str, *, mac: bool = False) -> str:
        """Return the stand-in of hex digits, such as those of a uuid or a World Wide Name."""
        if is_same_everywhere(value):
            return value
        if self.assigned:
            return self._stand_ins.get(value, value)
        (self._macs if mac else self._digits).add(value)
        if len(value) == _IPOIB_DIGITS:
            self._digits.add(value[-16:])  # the GUID of the port
        return value

    def has_digits(self, value: str) -> bool:
        """Return whether these digits are a number that was added."""
        return value in self._digits

    def has_number(self, value: str) -> bool:
        """Return whether these digits are a number or a hardware address that was added."""
        return value in self._digits or value in self._macs

    def address(self, value: str) -> str:
        """Return the stand-in of an IP address."""
        if self.assigned:
            return self._stand_ins.get(value, value)
        self._addresses.add(value)
        return value

    def assign(self) -> None:
        """Give every value a stand-in. Two values never have the same, and none is a value."""
        self.assigned = True
        digits = self._digits | self._macs
        taken = self._words | digits | self._addresses
        counters: dict[str, Iterator[str]] = {}
        # A uuid in an address of 40 digits has its stand-in before the address.
        for value in sorted(taken, key=lambda value: (len(value) == _IPOIB_DIGITS, value)):
            if value in self._macs:
                candidates = _counter(counters, _mac_prefix(value), _MAC_DIGITS)
            elif value in digits:
                candidates = self._digit_candidates(counters, value)
            elif value in self._addresses:
                version = ipaddress.ip_address(value).version
                candidates = counters.setdefault(f"IPv{version}", _ADDRESSES[version]())
            else:
                kinds = _kinds(value)
                candidates = counters.setdefault(" ".join(kinds), _words(kinds))
            stand_in = next(one for one in candidates if one not in taken)
            taken.add(stand_in)
            self._stand_ins[value] = stand_in

    def _digit_candidates(self, counters: dict[str, Iterator[str]], value: str) -> Iterator[str]:
        length = len(value)
        if length == _UUID_DIGITS:
            return _counter(counters, f"{value[0]}00000000000" + "4000" + "8000", length)
        if length == _IPOIB_DIGITS:
            guid = self._stand_ins.get(value[-16:], value[-16:])
            return (f"80{number:06x}fe80{0:012x}{guid}" for number in count(1))
        return _counter(counters, value[0], length)


def _counter(counters: dict[str, Iterator[str]], prefix: str, length: int) -> Iterator[str]:
    width = length - len(prefix)
    return counters.setdefault(
        f"{prefix} {length}", (f"{prefix}{number:0{width}x}" for number in count(1))
    )


def _mac_prefix(value: str) -> str:
    """Return the first half: 02 is local; 00:00:5e is IANA's; a group address has the last bit."""
    bits = _HEX.index(value[1])
    return f"0{bits & 3}0000" if bits & 2 else f"0{bits & 1}005e"


def _kinds(value: str) -> list[str]:
    """Return the kind of each character; other letters than a to f would end a hex number."""
    letters = "hex" if set(value) <= set(_HEX) else "letter"
    return ["digit" if one in _ALPHABETS["digit"] else letters for one in value]


def _words(kinds: list[str]) -> Iterator[str]:
    """Yield the words of these characters in their order, then longer ones."""
    for more in count():
        alphabets = [_ALPHABETS[kind] for kind in ["digit"] * more + kinds]
        total = 1
        for alphabet in alphabets:
            total *= len(alphabet)
        # The first ones of a greater length were there before.
        for number in range(total // 10 if more else 0, total):
            characters = []
            for alphabet in reversed(alphabets):
                number, place = divmod(number, len(alphabet))
                characters.append(alphabet[place])
            yield "".join(reversed(characters))


def _ipv4() -> Iterator[str]:
    for network in ("192.0.2.0/24", "198.51.100.0/24", "203.0.113.0/24", "198.18.0.0/15"):
        yield from map(str, ipaddress.ip_network(network).hosts())


def _ipv6() -> Iterator[str]:
    return (str(ipaddress.ip_address("2001:db8::") + number) for number in count(1))


_ADDRESSES = {4: _ipv4, 6: _ipv6}
