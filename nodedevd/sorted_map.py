"""SortedMap: an immutable map with sorted keys, and cheap changed copies.

A map consists of a base, which many versions share, and the differences to it. When there are
more than `CHANGES_AT_MOST` differences, the next version gets a new base. So a change costs the
same for a map of any size, except once in `CHANGES_AT_MOST` changes.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping
from typing import Generic, TypeVar, cast

V = TypeVar("V")

CHANGES_AT_MOST = 128
"""Largest number of keys that may differ from the base."""


class _Base(Generic[V]):
    """A dict that is never changed; its keys are sorted on first use."""

    def __init__(self, values: dict[str, V]) -> None:
        self.values = values
        self._keys: list[str] | None = None

    @property
    def keys(self) -> list[str]:
        if self._keys is None:
            self._keys = sorted(self.values)
        return self._keys


class SortedMap(Mapping[str, V]):
    """An immutable map from strings. No value may be None."""

    def __init__(self, values: Mapping[str, V] | None = None) -> None:
        self._base = _Base(dict(values or {}))
        self._changes: dict[str, V | None] = {}  # None: removed
        self._size = len(self._base.values)
        self._in_order: tuple[str, ...] | None = None
        self._merged_values: dict[str, V] | None = None

    def changed(self, removed: Iterable[str], added: Mapping[str, V]) -> SortedMap[V]:
        """Return a copy without the removed keys, and with the added keys and values."""
        if not self._size:
            return SortedMap(added)
        changes = dict(self._changes)
        size = self._size
        for key in removed:
            if self.get(key) is not None and key not in added:
                size -= 1
                changes[key] = None
        for key, value in added.items():
            size += self.get(key) is None
            changes[key] = value
        new: SortedMap[V] = SortedMap()
        new._base, new._changes, new._size = self._base, changes, size
        if len(changes) > CHANGES_AT_MOST:
            values: dict[str, V | None] = {**self._base.values, **changes}
            kept = {key: value for key, value in values.items() if value is not None}
            new._base, new._changes = _Base(kept), {}
        return new

    def get(self, key: str, default: V | None = None) -> V | None:  # type: ignore[override]
        """Return the value of a key, or the default."""
        values = self._changes if key in self._changes else self._base.values
        found = values.get(key)
        return default if found is None else found

    def __getitem__(self, key: str) -> V:
        found = self.get(key)
        if found is None:
            raise KeyError(key)
        return found

    def __len__(self) -> int:
        return self._size

    def __iter__(self) -> Iterator[str]:
        return iter(self.in_order)

    def in_order_values(self) -> Iterator[V]:
        """Yield all values in the order of their keys."""
        return map(self._values.__getitem__, self.in_order)

    @property
    def _values(self) -> dict[str, V]:
        """A dict that has all keys, and some that are removed.

        It is kept, so that everybody who iterates over this version shares it.
        """
        if not self._changes:
            return self._base.values
        if self._merged_values is None:
            self._merged_values = cast(dict[str, V], {**self._base.values, **self._changes})
        return self._merged_values

    def in_groups(self, size: int) -> Iterator[list[V]]:
        """Yield all values in the order of their keys, in lists of at most `size`."""
        keys, base, changes = self.in_order, self._base.values, self._changes
        for start in range(0, len(keys), size):
            group = keys[start : start + size]
            if changes:
                yield [changes.get(key) or base[key] for key in group]
            else:
                yield [base[key] for key in group]

    @property
    def in_order(self) -> tuple[str, ...]:
        """All keys, sorted."""
        if self._in_order is None:
            self._in_order = tuple(self._merged(self._base.keys, self._changes))
        return self._in_order

    def between(self, first: str, last: str) -> list[str]:
        """Return the keys with `first` <= key < `last`, sorted."""
        keys = self._base.keys
        start = bisect_left(keys, first)
        changes = [key for key in self._changes if first <= key < last]
        return self._merged(keys[start : bisect_left(keys, last, start)], changes)

    def _merged(self, keys: list[str], changes: Iterable[str]) -> list[str]:
        """Return sorted keys of the base, with changed keys inserted or removed."""
        if not changes:
            return keys
        merged = keys.copy()
        for key in changes:
            position = bisect_left(merged, key)
            there = position < len(merged) and merged[position] == key
            if self._changes[key] is None:
                if there:
                    del merged[position]
            elif not there:
                merged.insert(position, key)
        return merged
