"""picture: a picture that this process draws, of a tree that it has read or been given."""

from __future__ import annotations

from collections.abc import Iterable

from nodedevd.drawing.draw import draw
from nodedevd.drawing.request import Drawing, DrawRequest
from nodedevd.drawing.seen import Host
from nodedevd.host.facts import HostFacts
from nodedevd.model.snapshot import Snapshot
from nodedevd.model.status import UnansweredRead
from nodedevd.questions.doctor import diagnose
from nodedevd.questions.in_use import VfioUsage


def picture_of(
    snapshot: Snapshot,
    request: DrawRequest,
    *,
    title: str,
    facts: HostFacts,
    usage: VfioUsage,
    hanging: Iterable[UnansweredRead] = (),
) -> Drawing:
    """Return a picture, with what `doctor` finds in the tree. Raises NoSuchDevice."""
    findings = diagnose(snapshot, facts, hanging=hanging)
    host = Host(title=title, snapshot=snapshot, usage=usage, findings=findings)
    return Drawing(snapshot.generation, draw(host, request), usage.unseen)
