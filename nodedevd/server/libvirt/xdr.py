"""XDR, the external data representation of RFC 4506: typed values to bytes and back.

Each type is an object, and composite types are made of others. Input is hostile: a length is
checked against its limit, and against the bytes that are left, before anything is allocated.
Packing has the same limits.
"""

from __future__ import annotations

import struct
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, Final, Generic, NamedTuple, TypeVar, cast

T = TypeVar("T")
N = TypeVar("N", int, float)


class XdrError(ValueError):
    """The bytes are not a value of the type, or the value exceeds the type's limit."""


class Unpacker:
    """Bytes, and the position up to which they are unpacked."""

    __slots__ = ("_at", "_data")

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    @property
    def left(self) -> int:
        """The number of bytes that are not unpacked yet."""
        return len(self._data) - self._at

    def take(self, size: int) -> bytes:
        """Return the next bytes. Raises XdrError if there are fewer."""
        if size > self.left:
            raise XdrError(f"{size} bytes expected, {self.left} left")
        start, self._at = self._at, self._at + size
        return self._data[start : self._at]


class Packed(NamedTuple):
    """A value that is encoded already."""

    data: bytes


class Type(ABC, Generic[T]):
    """A type of RFC 4506, section 4."""

    @abstractmethod
    def pack(self, value: T, out: bytearray) -> None:
        """Append a value. Raises XdrError."""

    @abstractmethod
    def unpack(self, data: Unpacker) -> T:
        """Unpack a value. Raises XdrError."""


def encode(kind: Type[T], value: T) -> bytes:
    """Return a value as bytes. Raises XdrError."""
    out = bytearray()
    kind.pack(value, out)
    return bytes(out)


def decode(kind: Type[T], data: bytes) -> T:
    """Return the value at the start of `data`; what follows it is ignored. Raises XdrError."""
    return kind.unpack(Unpacker(data))


class Number(Type[N]):
    """A number; `form` is its format in `struct`."""

    def __init__(self, name: str, form: str) -> None:
        self._name = name
        self._struct = struct.Struct(f">{form}")

    def pack(self, value: N, out: bytearray) -> None:
        """Append the number. Raises XdrError if it is out of range."""
        try:
            out += self._struct.pack(value)
        except (struct.error, OverflowError):
            raise XdrError(f"{value} is not in the range of {self._name}") from None

    def unpack(self, data: Unpacker) -> N:
        """Unpack the number."""
        return cast(N, self._struct.unpack(data.take(self._struct.size))[0])


INT: Final = Number[int]("int", "i")
UNSIGNED_INT: Final = Number[int]("unsigned int", "I")
HYPER: Final = Number[int]("hyper", "q")
UNSIGNED_HYPER: Final = Number[int]("unsigned hyper", "Q")
DOUBLE: Final = Number[float]("double", "d")


class Void(Type[None]):
    """No value."""

    def pack(self, value: None, out: bytearray) -> None:
        """Append no bytes."""

    def unpack(self, data: Unpacker) -> None:
        """Unpack no bytes."""


VOID: Final = Void()


class String(Type[str]):
    """Text: at most `limit` bytes of UTF-8, without NUL."""

    def __init__(self, limit: int) -> None:
        self._limit = limit

    def pack(self, value: str, out: bytearray) -> None:
        """Append the length, the text, and zeros up to a multiple of 4 bytes."""
        for part in self.parts(value.encode()):
            out += part

    def parts(self, text: bytes) -> tuple[bytes, bytes, bytes]:
        """Return what precedes a text, that text itself, and what follows it. Raises XdrError."""
        self._check(len(text))
        return encode(UNSIGNED_INT, len(text)), text, bytes(-len(text) % 4)

    def unpack(self, data: Unpacker) -> str:
        """Unpack the text."""
        size = UNSIGNED_INT.unpack(data)
        self._check(size)
        text = data.take(size)
        data.take(-size % 4)
        if b"\0" in text:
            raise XdrError("a string contains NUL")
        try:
            return text.decode()
        except UnicodeDecodeError:
            raise XdrError("a string is not UTF-8") from None

    def _check(self, size: int) -> None:
        if size > self._limit:
            raise XdrError(f"a string of {size} bytes, {self._limit} at most")


class Array(Type[Sequence[T]]):
    """At most `limit` values of one type."""

    def __init__(self, element: Type[T], limit: int) -> None:
        self._element = element
        self._limit = limit

    def pack(self, value: Sequence[T], out: bytearray) -> None:
        """Append the count and the values."""
        self._check(len(value))
        UNSIGNED_INT.pack(len(value), out)
        for one in value:
            self._element.pack(one, out)

    def unpack(self, data: Unpacker) -> Sequence[T]:
        """Unpack the values; each takes bytes, so their number is bounded by the input."""
        count = UNSIGNED_INT.unpack(data)
        self._check(count)
        return tuple([self._element.unpack(data) for _ in range(count)])

    def _check(self, count: int) -> None:
        if count > self._limit:
            raise XdrError(f"an array of {count} elements, {self._limit} at most")


class Option(Type[T | None]):
    """A value or None: "optional-data"."""

    def __init__(self, kind: Type[T]) -> None:
        self._kind = kind

    def pack(self, value: T | None, out: bytearray) -> None:
        """Append a boolean, and the value if there is one."""
        UNSIGNED_INT.pack(value is not None, out)
        if value is not None:
            self._kind.pack(value, out)

    def unpack(self, data: Unpacker) -> T | None:
        """Unpack the value."""
        present = UNSIGNED_INT.unpack(data)
        if present > 1:
            raise XdrError(f"{present} is not a boolean")
        return self._kind.unpack(data) if present else None


S = TypeVar("S", bound=tuple[Any, ...])


class Structure(Type[S]):
    """The fields of a NamedTuple in order, each with its type."""

    def __init__(self, made: type[S], *fields: Type[Any]) -> None:
        names: Sequence[str] = getattr(made, "_fields", ())
        if len(names) != len(fields):
            raise TypeError(f"{made.__name__} has {len(names)} fields, not {len(fields)}")
        self._made = made
        self._fields = fields

    def pack(self, value: S, out: bytearray) -> None:
        """Append the fields."""
        for field, one in zip(self._fields, value, strict=True):
            field.pack(one, out)

    def unpack(self, data: Unpacker) -> S:
        """Unpack the fields."""
        return self._made(*[field.unpack(data) for field in self._fields])


class Case(NamedTuple):
    """A value of a union: the number of its type, and the value."""

    discriminant: int
    value: Any


class Union(Type[Case]):
    """One of several types, with its number in front."""

    def __init__(self, arms: Mapping[int, Type[Any]]) -> None:
        self._arms = arms

    def pack(self, value: Case, out: bytearray) -> None:
        """Append the number and the value."""
        arm = self._arm(value.discriminant)
        INT.pack(value.discriminant, out)
        arm.pack(value.value, out)

    def unpack(self, data: Unpacker) -> Case:
        """Unpack the number and the value."""
        discriminant = INT.unpack(data)
        return Case(discriminant, self._arm(discriminant).unpack(data))

    def _arm(self, discriminant: int) -> Type[Any]:
        arm = self._arms.get(discriminant)
        if arm is None:
            raise XdrError(f"a union has no case {discriminant}")
        return arm
