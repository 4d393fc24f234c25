"""Lines of keys in TOML, compared with what tomllib reads."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nodedevd.layout.lines import key_lines
from nodedevd.layout.wanted import KeyPath
from tests.support.search import examples

ODD = '''\
# [[card]] in a comment
title = """
[[card]]
a = 1 \\""" is not the end, and two quotes are a part of it:
"""""
'a"b' . "c\\u002ed" = 'x # y'
[[card]]
day = 1979-05-27 07:32:00 # a date with a blank
inline = {a.b = 1, "c" = {d = [1, {e = ']'}]}} # }
list = [ # ]
  1,
  "]", # "
  [2, 3,
   4],
]
  [card.table]
  x = true
  [[card.inner]]
  y = 1
  [[card.inner]]
  [card.inner.deep]
  y = 2
[[card]]
raw = \'\'\'
it's\'\'\'\'\'
last = +1_000.5e-3
'''
LINES: dict[KeyPath, int] = {
    ("title",): 2,
    ('a"b', "c.d"): 6,
    ("card", 0): 7,
    ("card", 0, "day"): 8,
    ("card", 0, "inline", "c", "d", 1, "e"): 9,
    ("card", 0, "list", 0): 11,
    ("card", 0, "list", 1): 12,
    ("card", 0, "list", 2, 1): 13,
    ("card", 0, "list", 2, 2): 14,
    ("card", 0, "table"): 16,
    ("card", 0, "inner", 0): 18,
    ("card", 0, "inner", 1): 20,
    ("card", 0, "inner", 1, "deep", "y"): 22,
    ("card", 1): 23,
    ("card", 1, "raw"): 24,
    ("card", 1, "last"): 26,
}


def paths(value: Any, path: KeyPath = ()) -> Iterator[KeyPath]:
    """Yield the path of everything in a document."""
    if path:
        yield path
    if isinstance(value, dict):
        for key, one in value.items():
            yield from paths(one, (*path, key))
    elif isinstance(value, list):
        for number, one in enumerate(value):
            yield from paths(one, (*path, number))


def test_odd_document_has_the_lines_that_a_person_counts() -> None:
    """Keys, tables and elements have their own lines, whatever strings and comments contain."""
    found = key_lines(ODD)
    assert {path: found[path] for path in LINES} == LINES
    assert set(found) == set(paths(tomllib.loads(ODD)))


class Writer:
    """Writes a random document, and knows the line of every key."""

    def __init__(self, random: Random) -> None:
        self.random = random
        self.text = ""
        self.lines: dict[KeyPath, int] = {}

    def document(self) -> None:
        """Write keys, tables and arrays of tables."""
        self.pairs(())
        for name in self.random.sample(["t", "u v", "ü", "card"], self.random.randint(0, 3)):
            for number in range(self.random.randint(0, 3)):
                self.note((name,))
                self.note((name, number))
                self.text += f"{self.blank()}[[{self.blank()}{self.key(name)} ]]{self.end()}"
                self.pairs((name, number))
                if self.random.random() < 0.3:
                    self.note((name, number, "sub"))
                    self.text += f"[{self.key(name)} . sub]{self.end()}"
                    self.pairs((name, number, "sub"))

    def pairs(self, table: KeyPath) -> None:
        """Write lines `key = value`."""
        for name in self.random.sample(["a", "b-1", "c d", "e.f", "#"], self.random.randint(0, 3)):
            self.text += self.blank()
            self.note((*table, name))
            self.text += f"{self.key(name)}{self.blank()}={self.blank()}"
            self.value((*table, name), 0)
            self.text += self.end()

    def value(self, path: KeyPath, depth: int) -> None:
        """Write a value."""
        kind = self.random.randrange(4 if depth < 3 else 2)
        if kind == 0:
            self.text += self.random.choice(
                ['"a # b"', "'c ] }'", '"\\"]"', "1", "-0.5", "true", "07:32:00", "0xff"]
            )
        elif kind == 1:
            self.text += self.random.choice(
                ['"""\nx = 1\n\\""""""', "'''\n[y]\n''", '""', "''", "''''''", '"""\\\n \n"""']
            )
            self.text += "'" if self.text.endswith("''") and "[y]" in self.text[-8:] else ""
        elif kind == 2:
            self.text += "["
            for number in range(self.random.randint(0, 3)):
                self.text += self.gap()
                self.note((*path, number))
                self.value((*path, number), depth + 1)
                self.text += self.gap() + ","
            self.text += self.gap() + "]"
        else:
            self.text += "{"
            names = self.random.sample(["p", "q r", "="], self.random.randint(0, 2))
            for number, name in enumerate(names):
                self.text += "," if number else ""
                self.note((*path, name))
                self.text += f"{self.blank()}{self.key(name)} = "
                self.value((*path, name), depth + 1)
            self.text += " }"

    def key(self, name: str) -> str:
        """Return a key in one of its spellings."""
        plain = name.replace("-", "").isalnum() and name.isascii()
        return self.random.choice([name] * plain + [f'"{name}"', f"'{name}'"])

    def note(self, path: KeyPath) -> None:
        """Keep the line at which something begins."""
        self.lines.setdefault(path, self.text.count("\n") + 1)

    def blank(self) -> str:
        """Return blanks."""
        return self.random.choice(["", " ", "\t "])

    def gap(self) -> str:
        """Return what may stand in an array: blanks, lines and comments."""
        return self.random.choice(["", " ", "\n", " # , ] x\n", "\r\n  "])

    def end(self) -> str:
        """Return the end of a line, and perhaps lines without keys."""
        return self.random.choice(["\n", " # = [x]\n", "\n\n# c\n", "\r\n"])


@pytest.mark.slow
@settings(max_examples=examples(1))
@given(st.integers(0, 1 << 32).map(Random))
def test_random_document_has_the_lines_that_were_written(random: Random) -> None:
    """Every key that tomllib reads has the line where it was written."""
    writer = Writer(random)
    writer.document()
    assert set(writer.lines) == set(paths(tomllib.loads(writer.text)))
    assert key_lines(writer.text) == writer.lines


@pytest.mark.parametrize("text", ["a", "[a", "[[a]", "a = {b", "= 1", 'a = "'])
def test_text_that_is_no_toml_is_an_error(text: str) -> None:
    """It never goes on without an end."""
    with pytest.raises(ValueError, match="character"):
        key_lines(text)
