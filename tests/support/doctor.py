"""What the tests of doctor share: a host is examined, and findings are compared by their codes."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec

from nodedevd.host.facts import read_host
from nodedevd.host.sysroot import Sysroot
from nodedevd.questions.doctor import Code, Finding, Severity, diagnose
from nodedevd.tree.read import scan
from tests.support.trees import Tree


def examined(tree: Tree, **facts: Any) -> tuple[Finding, ...]:
    """Return the findings for a host; `facts` replace those in its files."""
    sysroot = Sysroot(tree.root)
    snapshot = scan(sysroot)
    known = msgspec.structs.replace(read_host(sysroot), **facts)
    return diagnose(snapshot, known)


def codes(findings: Iterable[Finding]) -> list[tuple[Severity, Code, str | None]]:
    """Return severity, code and device of each finding."""
    return [(one.severity, one.code, one.device) for one in findings]
