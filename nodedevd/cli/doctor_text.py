"""The text of a report of doctor: the verdict, then findings by card, with commands to paste."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TextIO

import click

from nodedevd.kinds.pci import Pci
from nodedevd.model.snapshot import Snapshot
from nodedevd.questions.doctor import SEVERITIES, Finding, Report, Severity
from nodedevd.text import printable

_WIDTH = 80
_DEVICES_SHOWN = 4
_COLOURS: dict[Severity, str] = {"problem": "red", "warning": "yellow", "note": "cyan"}
_HOST = "This host"
_PLAIN = re.compile(r"[\w.:-]+", re.ASCII)
"""Kernel names that a shell takes as they are."""
_WORD = re.compile(r"""(?:[^\s'"]|'[^']*'|"[^"]*")+|['"]\S*""")


class _Entry:
    """Equal findings, such as those of all functions of one card."""

    def __init__(self, first: Finding) -> None:
        self.first = first
        self.findings = [first]

    @property
    def rank(self) -> int:
        return SEVERITIES.index(self.first.severity)


def has_colour(stream: TextIO, environment: Mapping[str, str]) -> bool:
    """Return whether to print in colour: on a terminal, unless NO_COLOR is set (no-color.org)."""
    return stream.isatty() and not environment.get("NO_COLOR") and environment.get("TERM") != "dumb"


def report_text(report: Report, snapshot: Snapshot, *, colour: bool) -> str:
    """Return the text; `snapshot` has the names of the cards."""
    entries = _entries(report.findings)
    lines = textwrap.wrap(_verdict(report, entries), _WIDTH)
    if report.container is not None:
        lines += textwrap.wrap(
            f"This is the view of a container ({report.container}): its host's udevd, services"
            " and mdevctl are not checked.",
            _WIDTH,
        )
    groups: dict[str | None, list[_Entry]] = {}
    for entry in entries:
        groups.setdefault(entry.first.card, []).append(entry)
    order = sorted(groups, key=lambda card: (groups[card][0].rank, card is None, card or ""))
    for card in order:
        lines += ["", _heading(card, snapshot)]
        for entry in groups[card]:
            lines += _entry_lines(entry, snapshot, colour=colour)
    return "".join(f"{line}\n" for line in lines)


def _entries(findings: Iterable[Finding]) -> list[_Entry]:
    entries: dict[tuple[str | None, ...], _Entry] = {}
    for one in findings:
        key = (one.severity, one.code, one.card, one.text, one.advice)
        if key in entries:
            entries[key].findings.append(one)
        else:
            entries[key] = _Entry(one)
    return list(entries.values())


def _verdict(report: Report, entries: Sequence[_Entry]) -> str:
    counts = dict.fromkeys(SEVERITIES, 0)
    for entry in entries:
        counts[entry.first.severity] += 1
    parts = [f"{n} {name}{'' if n == 1 else 's'}" for name, n in counts.items() if n]
    found = " and ".join([*filter(None, [", ".join(parts[:-1])]), *parts[-1:]])
    if report.healthy:
        verdict = f"No problems found, {found}" if found else "No problems found"
    else:
        verdict = f"Found {found}"
    return f"{verdict}; {report.devices} devices checked."


def _heading(card: str | None, snapshot: Snapshot) -> str:
    if card is None:
        return _HOST
    device = snapshot.get(card)
    pci = None if device is None else device.capability(Pci)
    product = None if pci is None or pci.product is None else pci.product.name
    return printable(card if product is None else f"{card} ({product})")


def _entry_lines(entry: _Entry, snapshot: Snapshot, *, colour: bool) -> Iterator[str]:
    first = entry.first
    names = [one.device for one in entry.findings if one.device is not None]
    about = ", ".join(names[:_DEVICES_SHOWN])
    if len(names) > _DEVICES_SHOWN:
        about += f" and {len(names) - _DEVICES_SHOWN} more"
    about = "" if names in ([], [first.card]) else f"{about}: "
    text = printable(f"{first.severity}: {about}{first.text} [{first.code}]")
    lines = _wrapped(text, "  ", "    ")
    if colour:
        word = click.style(first.severity, fg=_COLOURS[first.severity], bold=True)
        lines[0] = lines[0].replace(first.severity, word, 1)
    yield from lines
    yield from _wrapped(printable(first.advice), "    ", "    ")
    for command in _commands(entry.findings, snapshot):
        yield from _folded(printable(command))


def _wrapped(text: str, first: str, other: str) -> list[str]:
    return textwrap.wrap(
        text,
        _WIDTH,
        initial_indent=first,
        subsequent_indent=other,
        break_long_words=False,
        break_on_hyphens=False,
    )


def _commands(findings: Sequence[Finding], snapshot: Snapshot) -> Iterator[str]:
    """Yield the commands of equal findings; those that differ in the device become a loop."""
    each = dict.fromkeys(one.mend for one in findings)
    if len(each) == 1:
        yield from findings[0].mend
        return
    sysnames = []
    templates = set()
    for one in findings:
        device = None if one.device is None else snapshot.get(one.device)
        sysname = "" if device is None else device.sysname or ""
        sysnames.append(sysname)
        templates.add(tuple(command.replace(sysname or "\0", "$one") for command in one.mend))
    template = templates.pop()
    quoted = any("'" in command or '"' in command for command in template)
    if not (templates or quoted) and all(map(_PLAIN.fullmatch, sysnames)):
        yield f"for one in {' '.join(sysnames)}; do"
        yield from (f"  {command}" for command in template)
        yield "done"
        return
    yield from dict.fromkeys(command for mend in list(each)[:_DEVICES_SHOWN] for command in mend)
    if len(each) > _DEVICES_SHOWN:
        yield f"# and {len(each) - _DEVICES_SHOWN} more: nodedevctl doctor --json"


def _folded(command: str) -> Iterator[str]:
    """Yield a command in lines that a shell takes as one; text in quotes is not broken."""
    start = " " * (6 + len(command) - len(command.lstrip()))
    line = start
    for word in _WORD.findall(command):
        if len(line) + len(word) + 2 > _WIDTH and line.strip():
            yield f"{line.rstrip()} \\"
            line = f"{start}  "
        line += f"{word} "
    yield line.rstrip()
