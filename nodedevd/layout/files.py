"""files: the files of a layout, `*.toml` in the directories of layout.d, as systemd reads drop-ins.

Reads  /etc/nodedevd/layout.d, /run/nodedevd/layout.d, /usr/lib/nodedevd/layout.d
Form   TOML 1.0; docs/layout.md

A file of the same name in a directory named earlier replaces the other one, and a link to
/dev/null leaves it out. A file with a problem has no cards.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final

import msgspec

from nodedevd.host.listing import names_in
from nodedevd.host.sysroot import Sysroot
from nodedevd.host.trust import why_changeable
from nodedevd.layout.directories import DIRECTORIES
from nodedevd.layout.entry import Entry, read_entry
from nodedevd.layout.form import KEYS
from nodedevd.layout.lines import key_lines
from nodedevd.layout.problem import Problem
from nodedevd.layout.wanted import KeyPath, Layout, WantedCard
from nodedevd.text import printable_path, shortened

SUFFIX: Final = ".toml"
FILE_BYTES: Final = 64 << 10
FILES: Final = 256
PROBLEMS: Final = 32
"""The most problems of a file that are told one by one."""
CARDS: Final = 1024
"""The most entries of all files together."""
_NULL: Final = "/dev/null"
# tomllib takes time and memory by the square of the number of keys in a dotted key.
_LONG_KEY: Final = re.compile(
    r"""(?<![A-Za-z0-9_"'-])(?:(?:[A-Za-z0-9_-]++|"[^"\n]*+"|'[^'\n]*+')[ \t]*+\.[ \t]*+){32}"""
)


class Declared(msgspec.Struct, frozen=True):
    """What the files of a host declare, and what is wrong with them."""

    layout: Layout = Layout()
    problems: tuple[Problem, ...] = ()
    files: tuple[str, ...] = ()
    """paths of the files that were read, with and without problems"""


def read_layout(sysroot: Sysroot, *, by_root_alone: bool | None = None) -> Declared:
    """Return what a host should offer, by its files. What cannot be read is a problem.

    With `by_root_alone`, so is a file that another user than root can change: it is not read. By
    default that is so on this host alone, since in a copy of a host everything may be another's.
    """
    if by_root_alone is None:
        by_root_alone = sysroot.live
    problems: list[Problem] = []
    paths = _paths(sysroot, problems)
    if len(paths) > FILES:
        message = f"there are {len(paths)} files, and {FILES} are read at the most"
        where = printable_path(paths[FILES])
        problems.append(Problem(where, None, None, "too-many", message, "merge some of them"))
    texts: list[tuple[str, str]] = []
    for path in paths[:FILES]:
        text = _text(sysroot, path, problems, by_root_alone=by_root_alone)
        if text is not None:
            texts.append((printable_path(path), text))
    return declared(texts, problems)


def declared(texts: Iterable[tuple[str, str]], problems: Iterable[Problem] = ()) -> Declared:
    """Return what files declare.

    Args:
        texts: The path and content of each file.
        problems: What is wrong with other files.
    """
    cards: list[WantedCard] = []
    found = list(problems)
    files = [one.file for one in found]
    for path, text in texts:
        files.append(path)
        own, wrong = read_text(path, text)
        found += wrong
        if not wrong:
            cards += own
    cards, wrong = _claimed_once(cards)
    found += wrong
    if len(cards) > CARDS:
        message = f"all files have {len(cards)} entries, and {CARDS} are used at the most"
        one = cards[CARDS]
        found.append(
            Problem(one.file, one.line, None, "too-many", message, "use vendor and product")
        )
    return Declared(Layout(tuple(cards[:CARDS])), tuple(found), tuple(dict.fromkeys(files)))


def _paths(sysroot: Sysroot, problems: list[Problem]) -> list[str]:
    """Return the paths of the files that count, sorted by their names."""
    found: dict[str, str] = {}
    for directory in DIRECTORIES:
        try:
            names = names_in(sysroot, directory)
        except OSError as error:
            problems.append(_unreadable(directory, error))
            continue
        for name in names:
            if name.endswith(SUFFIX) and not name.startswith("."):
                found.setdefault(name, f"{directory}/{name}")
    return [found[name] for name in sorted(found)]


def _text(
    sysroot: Sysroot, path: str, problems: list[Problem], *, by_root_alone: bool
) -> str | None:
    """Return the content of a file; None if it is masked, gone, or cannot or must not be read."""
    try:
        if _is_masked(sysroot, path):
            return None
        # Before it is read: afterwards, a link could lead elsewhere again.
        if by_root_alone and (reason := why_changeable(sysroot, path)) is not None:
            problems.append(_untrusted(path, reason))
            return None
        data = sysroot.read(sysroot.resolve(path), FILE_BYTES + 1)
    except OSError as error:
        problems.append(_unreadable(path, error))
        return None
    return text_of(printable_path(path), data, problems)


def text_of(path: str, data: bytes, problems: list[Problem]) -> str | None:
    """Return the content of a file as text; None, with a problem, if it is too long or no text.

    Of a file, read `FILE_BYTES` and one more.
    """
    if len(data) > FILE_BYTES:
        message = f"it has more than {FILE_BYTES >> 10} KiB"
        problems.append(Problem(path, None, None, "too-large", message, "split it"))
        return None
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        message = "it is not UTF-8"
        problems.append(Problem(path, line, None, "malformed", message, "save it as UTF-8"))
        return None


def _is_masked(sysroot: Sysroot, path: str) -> bool:
    try:
        return sysroot.read_link(path) == _NULL
    except OSError:
        return False  # no link, as a rule; to read it says what else there is


def _untrusted(path: str, reason: str) -> Problem:
    message = f"it is not used: {printable_path(reason)}"
    instead = "give it to root alone"
    return Problem(printable_path(path), None, None, "untrusted", message, instead)


def _unreadable(path: str, error: OSError) -> Problem:
    message = f"it cannot be read: {error.strerror}"
    instead = "make it readable, or remove it"
    return Problem(printable_path(path), None, None, "unreadable", message, instead)


def read_text(path: str, text: str) -> tuple[list[WantedCard], list[Problem]]:
    """Return the cards that one file wants, and what is wrong with it."""
    try:
        if (long := _LONG_KEY.search(text)) is not None:
            line = text.count("\n", 0, long.start()) + 1
            message = "a key with more than 32 dots"
            return [], [Problem(path, line, None, "malformed", message, "write [[card]]")]
        tables = tomllib.loads(text)
        lines = key_lines(text)
    except tomllib.TOMLDecodeError as error:
        return [], [_not_toml(path, text, str(error))]
    except (ValueError, RecursionError) as error:
        message = "it is nested too deeply" if isinstance(error, RecursionError) else str(error)
        return [], [Problem(path, None, None, "malformed", message, "correct it")]
    cards: list[WantedCard] = []
    problems = list(_top_problems(path, tables, lines))
    entries = tables.get("card")
    of_entries = _by_entry(lines)
    for number, table in enumerate(entries if isinstance(entries, list) else ()):
        card, wrong = read_entry(Entry(path, table, of_entries.get(number, {})))
        problems += wrong
        if card is not None:
            cards.append(card)
    if len(problems) > PROBLEMS:
        message = f"there are {len(problems) - PROBLEMS} more problems"
        more = Problem(path, None, None, "too-many", message, "correct these first")
        problems = [*problems[:PROBLEMS], more]
    return cards, problems


def _by_entry(lines: dict[KeyPath, int]) -> dict[str | int, dict[KeyPath, int]]:
    """Return the lines of the keys of each entry, by its number."""
    found: dict[str | int, dict[KeyPath, int]] = {}
    for path, line in lines.items():
        if path[0] == "card" and len(path) > 1:
            found.setdefault(path[1], {})[path[2:]] = line
    return found


def _top_problems(path: str, tables: Any, lines: dict[KeyPath, int]) -> Iterator[Problem]:
    for key, value in tables.items():
        line = lines.get((key,))
        if key not in KEYS[""]:
            message = f"there is no table {shortened(key)!r}"
            known = "put the keys below a line [[card]]"
            yield Problem(path, line, shortened(key), "unknown-key", message, known)
        elif not isinstance(value, list):
            message = "it is one table, and a file has one for each card"
            yield Problem(path, line, key, "bad-value", message, "write [[card]]")


def _not_toml(path: str, text: str, message: str) -> Problem:
    """Return a problem for an error of tomllib, whose message ends with the place."""
    place = re.search(r" \(at (?:line (\d+), column \d+|end of document)\)$", message)
    if place is None:
        return Problem(path, None, None, "malformed", shortened(message, 200), "correct it")
    line = text.count("\n") + 1 if place[1] is None else int(place[1])
    what = shortened(message[: place.start()], 200)
    return Problem(path, line, None, "malformed", f"it is no TOML: {what}", "correct this line")


def _claimed_once(
    cards: Sequence[WantedCard],
) -> tuple[list[WantedCard], list[Problem]]:
    """Return the cards whose device and UUIDs no other entry claims, and problems of the others."""
    claims: dict[str, list[tuple[WantedCard, KeyPath]]] = {}
    for card in cards:
        claims.setdefault(str(card.match), []).append((card, ()))
        for number, mdev in enumerate(card.mdevs):
            claims.setdefault(mdev.uuid, []).append((card, ("mdevs", number, "uuid")))
    problems: list[Problem] = []
    twice: set[int] = set()
    for claim, entries in claims.items():
        first = entries[0][0]
        for card, path in entries[1:]:
            twice.update((id(first), id(card)))
            what = "the UUID" if path else "the card"
            key = "mdevs" if path else None
            message = (
                f"{what} {claim} is wanted by {first.file}:{entries[0][0].line_of(entries[0][1])},"
                " too, and neither is used"
            )
            problems.append(
                Problem(
                    card.file,
                    card.line_of(path),
                    None if key is None else f"mdevs[{path[1]}].uuid",
                    "claimed-twice",
                    message,
                    "keep it in one place",
                )
            )
    return [card for card in cards if id(card) not in twice], problems
