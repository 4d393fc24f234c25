"""svg: texts stay in their boxes, colours can be told apart, nothing of a host gets out of hand."""

from __future__ import annotations

from itertools import pairwise

import msgspec
import pytest
from lxml import etree

from nodedevd.drawing.draw import draw, draw_in_steps
from nodedevd.drawing.pen import Run
from nodedevd.drawing.request import DrawRequest, Theme
from nodedevd.drawing.seen import STATES, Host
from nodedevd.drawing.style import GLYPHS, PAINTS, PLAIN, stylesheet
from nodedevd.model.device import Device
from nodedevd.model.snapshot import Snapshot
from tests.support.drawn import SVG, card, gpu_host, sample, texts_of
from tests.support.hosts import HOSTS, snapshot_of
from tests.support.search import cases

NAMES = ("</text><script>alert(1)</script>", "\x07\x1b[31m", "\u202egpj", "x" * 5000, "a'\"&<>")
GRIDS = (DrawRequest(width=320), DrawRequest(width=400), DrawRequest(width=640), DrawRequest())


def contrast(one: str, other: str) -> float:
    """Return the contrast of two colours, by WCAG 2."""

    def luminance(colour: str) -> float:
        parts = [int(colour[start : start + 2], 16) / 255 for start in (1, 3, 5)]
        red, green, blue = [
            part / 12.92 if part <= 0.03928 else ((part + 0.055) / 1.055) ** 2.4 for part in parts
        ]
        return 0.2126 * red + 0.7152 * green + 0.0722 * blue

    dark, light = sorted((luminance(one), luminance(other)))
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("theme", [0, 1])
def test_texts_and_borders_stand_out(theme: int) -> None:
    """Text has a contrast of 4.5, a border 3, on light and on dark."""
    panel, page = PLAIN["panel"][theme], PLAIN["page"][theme]
    for state, paints in PAINTS.items():
        paint = paints[theme]
        assert contrast(paint.ink, paint.fill) >= 4.5, state
        assert contrast(paint.edge, panel) >= 3, state
    for name in ("ink", "dim", "problem", "warning", "note"):
        for ground in (panel, page, PLAIN["notes"][theme]):
            assert contrast(PLAIN[name][theme], ground) >= 4.5, name


def test_each_state_has_a_glyph_of_its_own() -> None:
    """None is shown by colour alone, and each is in the legend."""
    assert set(GLYPHS) == set(PAINTS) == set(STATES)
    assert len(set(GLYPHS.values())) == len(GLYPHS)


@pytest.mark.parametrize("host", [*cases(HOSTS), "8 cards"])
def test_no_text_leaves_its_box_or_the_page(host: str) -> None:
    """By the table of widths, at every width of a page."""
    drawn = gpu_host(8, 32) if host == "8 cards" else sample(host)
    for request in GRIDS:
        for text in texts_of(draw(drawn, request)):
            left, right = text.box or (0, request.width or 1000)
            assert left - 0.1 <= text.left, text
            assert text.right <= right + 0.1, text


def test_picture_ends_below_its_last_line() -> None:
    """Its height is that of what it shows."""
    for host in cases(HOSTS):
        svg = draw(sample(host), DrawRequest(width=400))
        height = float(etree.fromstring(svg.encode()).get("height", "0"))
        last = max(text.y for text in texts_of(svg))
        assert 10 <= height - last <= 60


def test_slices_fill_the_bar() -> None:
    """Those of a card with known memory, side by side."""
    root = etree.fromstring(draw(sample("vgpu-sriov"), DrawRequest()).encode())
    slices = [
        one for one in root.iter(f"{SVG}rect") if one.get("height") == "40" and one.get("rx") == "3"
    ]
    edges = [
        (float(one.get("x", "0")), float(one.get("x", "0")) + float(one.get("width", "0")))
        for one in slices
    ]
    assert len(edges) == 4
    assert edges[-1][1] - edges[0][0] == pytest.approx(940, abs=4)
    assert all(0 < right[0] - left[1] <= 3.2 for left, right in pairwise(edges))


@pytest.mark.parametrize(
    ("theme", "first", "media"),
    [("auto", "#ffffff", True), ("light", "#ffffff", False), ("dark", "#1b1d21", False)],
)
def test_theme_is_one_or_follows_the_reader(theme: Theme, first: str, media: bool) -> None:
    """A program without custom properties has the first value of each declaration."""
    text = stylesheet(theme)
    assert f".nd .nd-page{{fill:{first};fill:var(--nd-page)}}" in text.splitlines()
    assert ("prefers-color-scheme" in text) is media
    used = {part.partition(")")[0] for part in text.split("var(--nd-")[1:]}
    assert all(f"--nd-{name}:#" in text for name in used)


def test_classes_of_a_picture_are_in_the_style_sheet() -> None:
    """Each class that a shape or text has means something."""
    rules = stylesheet("auto")
    found = set()
    for host in HOSTS:
        for element in etree.fromstring(draw(sample(host), DrawRequest()).encode()).iter():
            found |= set(element.get("class", "").split())
    assert {one for one in found - {"nd"} if f".{one}" not in rules} == set()


@pytest.mark.parametrize("name", NAMES)
def test_hostile_names_are_text(name: str) -> None:
    """Of products, types, drivers and of the host: no element, no control, no end of the page."""
    text = msgspec.json.encode(list(snapshot_of("vgpu-sriov"))).decode()
    quoted = msgspec.json.encode(name).decode()[1:-1]
    for old in ("NVIDIA A2-4Q", "GA107GL [A2 / A16]", '"driver":"nvidia'):
        new = f'"driver":"{quoted}' if "driver" in old else quoted
        text = text.replace(old, new)
    devices = msgspec.json.decode(text, type=list[Device])
    host = Host(title=name, snapshot=Snapshot(devices), findings=sample("vgpu-sriov").findings)
    for request in GRIDS:
        svg = draw(host, request)
        root = etree.fromstring(svg.encode())
        kinds = {etree.QName(one).localname for one in root.iter()}
        assert kinds <= {
            *("svg", "title", "desc", "style", "defs", "pattern", "rect", "path", "g", "text"),
            "tspan",
        }
        shown = "".join(map(str, root.itertext())).replace("\n", "")
        assert all(one.isprintable() for one in shown)
        assert all(one.right <= (request.width or 1000) for one in texts_of(svg))
        assert len(svg) < 40_000


def test_eight_cards_make_a_small_picture() -> None:
    """With 32 functions each, as docs/drawing.md says."""
    svg = draw(gpu_host(8, 32), DrawRequest())
    assert len(svg.encode()) < 200 << 10
    cells = [one for one in etree.fromstring(svg.encode()).iter() if one.get("role") == "img"]
    assert len(cells) > 8 * 32


@pytest.mark.slow
def test_ten_thousand_devices_make_a_small_picture() -> None:
    """As docs/drawing.md says; cards that are alike are one line, and many cells are counted."""
    devices = [one for bus in range(0x100, 0x100 + 75) for one in card(bus, 132, range(bus % 9))]
    assert len(devices) > 9_900
    svg = draw(Host(title="large", snapshot=Snapshot(devices)), DrawRequest())
    assert len(svg.encode()) < 300 << 10
    assert "more cards not drawn" in svg


@pytest.mark.slow
def test_long_names_on_many_cards_make_no_huge_picture() -> None:
    """Every cell has a vGPU whose name takes five times its length in XML."""
    devices = [one for bus in range(40) for one in card(0x100 + bus, 12, range(12))]
    text = msgspec.json.encode(devices).decode()
    for name in ("NVIDIA L40S-4Q", "AD102GL [L40S]"):
        text = text.replace(name, "&" * 300)
    hostile = Snapshot(msgspec.json.decode(text, type=list[Device]))
    assert len(draw(Host(title="&" * 300, snapshot=hostile), DrawRequest()).encode()) < 2 << 20


def test_long_work_is_done_in_steps() -> None:
    """A server gives other clients their turns: no step makes more than a card."""
    host = gpu_host(8, 32)
    assert sum(1 for _ in draw_in_steps(host, DrawRequest())) > 8 * 4


def test_run_is_cut_to_its_room() -> None:
    """By its own size and style."""
    for css in ("", "nd-s", "nd-b", "nd-h", "nd-m"):
        run = Run("a long name of something", css).cut(60)
        assert run.width <= 60
        assert run.text.endswith("…")
