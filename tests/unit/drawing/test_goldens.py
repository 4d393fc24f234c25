"""The pictures of the sample hosts equal the files below tests/golden."""

from __future__ import annotations

import pytest
from lxml import etree

from nodedevd.drawing.draw import draw
from nodedevd.drawing.request import DrawRequest
from tests.support.drawn import sample
from tests.support.golden import Golden
from tests.support.hosts import HOSTS

NARROW = ("vgpu-sriov", "vgpu-vendor-vfio", "samples", "s390x-ap-ccw", "empty", "vdpa-smartnic")


@pytest.mark.parametrize("host", HOSTS)
def test_host_gives_its_golden_picture(host: str, golden: Golden) -> None:
    """It is well-formed, and the same each time."""
    svg = draw(sample(host), DrawRequest())
    assert etree.fromstring(svg.encode()).get("width") == "1000"
    assert draw(sample(host), DrawRequest()) == svg
    golden.check(f"{host}/picture.svg", svg)


@pytest.mark.parametrize("host", NARROW)
def test_host_gives_its_golden_narrow_picture(host: str, golden: Golden) -> None:
    """At 400 pixels, and without the style sheet, as on a page."""
    svg = draw(sample(host), DrawRequest(width=400, embedded=True))
    assert "<style" not in svg
    golden.check(f"{host}/picture-400.svg", svg)
