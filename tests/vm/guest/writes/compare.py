"""Compares what was noted on libvirtd with what was noted on nodedevd."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from tests.vm.guest.writes.records import Noted

UUID = re.compile(r"[0-9a-f]{8}(?:[-_][0-9a-f]{4}){3}[-_][0-9a-f]{12}")
CHOSEN = "83b8f4f2-509f-382f-3c1e-e6bfe0f"
"""How the uuids begin that the script has chosen."""


def same(noted: Noted) -> Noted:
    """Change nothing."""
    return noted


@dataclass(frozen=True)
class Difference:
    """A documented difference.

    Attributes:
        row: How the row of docs/libvirt-clients.md begins that is about it.
        theirs: Makes of what was noted on libvirtd what it ought to be.
        ours: Makes of what was noted on nodedevd what libvirtd does.
    """

    row: str
    theirs: Callable[[Noted], Noted] = same
    ours: Callable[[Noted], Noted] = same

    def settle(self, theirs: Noted, ours: Noted) -> tuple[Noted, Noted]:
        """Return both without this difference."""
        return self.theirs(theirs), self.ours(ours)


@dataclass(frozen=True)
class Outcomes:
    """A documented difference of some calls: what comes of them on either daemon.

    Attributes:
        row: As of a Difference.
        call: A pattern of the calls.
        theirs: A pattern of what is noted of them on libvirtd.
        ours: The same on nodedevd.
    """

    row: str
    call: str
    theirs: str
    ours: str

    def settle(self, theirs: Noted, ours: Noted) -> tuple[Noted, Noted]:
        """Return both without this difference: what was expected of each is what is wanted."""
        if (
            re.search(self.call, ours.call)
            and re.search(self.theirs, repr(theirs[1:]))
            and re.search(self.ours, repr(ours[1:]))
        ):
            return ours, ours
        return theirs, ours


@dataclass
class Result:
    """What is different, call by call, and how many calls each difference was about."""

    unexplained: list[str] = field(default_factory=list)
    used: Counter[str] = field(default_factory=Counter)
    equal: int = 0
    calls: int = 0


def compare(
    theirs: Sequence[Noted], ours: Sequence[Noted], differences: Iterable[Difference | Outcomes]
) -> Result:
    """Compare call by call."""
    result = Result(calls=len(ours))
    ours, theirs = steadied(ours), steadied(theirs)
    assert [one.call for one in ours] == [one.call for one in theirs]
    known = list(differences)
    for their, our in zip(theirs, ours, strict=True):
        result.equal += their == our
        if their == our:
            continue
        for one in known:
            before = their, our
            their, our = one.settle(their, our)
            result.used[one.row] += (their, our) != before
        if their != our:
            result.unexplained.append(difference(their, our))
    return result


def difference(theirs: Noted, ours: Noted) -> str:
    """Return what is different as text."""
    lines = [ours.call]
    for field_name in Noted._fields:
        their, our = getattr(theirs, field_name), getattr(ours, field_name)
        if their != our:
            lines += [f"  {field_name}", f"    libvirtd {their!r}", f"    nodedevd {our!r}"]
    return "\n".join(lines)


def steadied(noted: Sequence[Noted]) -> list[Noted]:
    """Replace what differs from one run to the next: uuids by chance, groups, order of lists."""
    names: dict[str, str] = {}

    def name(match: re.Match[str]) -> str:
        one = match[0].replace("_", "-")
        if one.startswith(CHOSEN):
            return match[0]
        found = names.setdefault(one, f"RANDOM-UUID-{len(names) + 1}")
        return found.replace("-", match[0][8])

    def steady(text: str) -> str:
        if "<path>" in text:  # of an inactive one, libvirtd says that it is in group 0
            text = re.sub(r"<iommuGroup number='\d+'", "<iommuGroup number='N'", text)
        return UUID.sub(name, text)

    result = []
    for one in noted:
        # First what says which uuid is which, in the order in which they came to be.
        files = {steady(path): text for path, text in one.files.items()}
        active = sorted(map(steady, one.active))
        events = [(event, steady(device)) for event, device in one.events]
        out, err = steady(one.answer.out), steady(one.answer.err)
        if ": list" in one.call:
            out = "\n".join(sorted(out.split()))
        answer = one.answer._replace(out=out, err=err)
        call, astray = steady(one.call), sorted(map(steady, one.astray))
        result.append(Noted(call, answer, events, files, active, astray))
    return result
