"""Compares what libvirtd shows of a host with what nodedevd does: the same, but for deviations."""

from __future__ import annotations

import re
from pathlib import Path

from tests.libvirt.deviations import DEVIATIONS, VERSIONS, Deviation, Shown

ALL = (*VERSIONS, *DEVIATIONS)


def listed(xml: str) -> str:
    """Sort what libvirt prints as the kernel lists it, in no order."""

    def sort(match: re.Match[str]) -> str:
        members = re.findall(r" *<(type|address|ccw_device) (?:.|\n)*?(?:/>|</\1>)\n", match[2])
        parts = re.split(r"(?<=\n)(?= *<(?:type|address|ccw_device) )", match[2])
        assert len(parts) == len(members)
        return match[1] + "".join(sorted(parts)) + match[3]

    inner = r"(?:.|\n)*?"
    xml = re.sub(rf"( *<iommuGroup .*>\n)({inner})( *</iommuGroup>)", sort, xml)
    xml = re.sub(rf"( *<members>\n)({inner})( *</members>)", sort, xml)
    types = rf"( *<capability type='mdev_types'>\n)( *<type {inner})( *</capability>)"
    return re.sub(types, sort, xml)


def reparented(shown: Shown, extra: set[str]) -> Shown:
    """Hang what is below an extra device below the next one that is none."""

    def parent(match: re.Match[str]) -> str:
        name = match[1]
        while name in extra:
            above = re.search("<parent>(.*)</parent>", shown[name])
            assert above is not None
            name = above[1]
        return f"<parent>{name}</parent>"

    return {name: re.sub("<parent>(.*)</parent>", parent, xml) for name, xml in shown.items()}


def expected(shown: Shown, root: Path, deviations: tuple[Deviation, ...] = ALL) -> Shown:
    """Return what libvirtd is to show, from what nodedevd does."""
    extra = {name for name, xml in shown.items() if any(one.extra(xml, root) for one in deviations)}
    result = {}
    for name, text in reparented(shown, extra).items():
        if name not in extra:
            xml = text
            for one in deviations:
                xml = one.ours(xml, root)
            found = re.search("<name>(.*)</name>", xml)
            assert found is not None
            result[found[1]] = listed(xml)
    return result


def seen(shown: Shown, root: Path, deviations: tuple[Deviation, ...] = ALL) -> Shown:
    """Return what libvirtd shows, without what it does wrong."""
    result = {}
    for name, text in shown.items():
        xml = text
        for one in deviations:
            xml = one.libvirt(xml, root)
        result[name] = listed(xml)
    return result


def compare(theirs: Shown, own: Shown, root: Path, deviations: tuple[Deviation, ...] = ALL) -> None:
    """Fail with the devices that are different."""
    wanted, found = seen(theirs, root, deviations), expected(own, root, deviations)
    assert sorted(found) == sorted(wanted), sorted(found.keys() ^ wanted.keys())
    different = {name: found[name] for name in found if found[name] != wanted[name]}
    assert different == {name: wanted[name] for name in different}
