"""Inputs made of others, the same on every run."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence


def mutated(inputs: Sequence[bytes], words: Sequence[bytes], most_bytes: int) -> Iterator[bytes]:
    """Yield inputs without end: parts of these, with bytes changed and words put in."""
    chance = random.Random(1)
    seeds = [*inputs, *words, b""]
    while True:
        data = bytearray(chance.choice(seeds))
        for _ in range(chance.randrange(1, 6)):
            at = chance.randrange(len(data) + 1)
            match chance.randrange(5):
                case 0:
                    data[at : at + 1] = chance.randbytes(1)
                case 1:
                    data[at:at] = chance.choice([*words, b"\0", b"\xff", b"\n"])
                case 2:
                    del data[at : at + chance.randrange(1, 9)]
                case 3:
                    data[at:at] = chance.choice(seeds)
                case _:
                    data[at:at] = data[at : at + 64] * chance.randrange(1, 9)
        yield bytes(data[:most_bytes])
