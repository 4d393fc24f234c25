"""Draws how figures grow with the number of devices, as SVG."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterator

from benchmarks.report import OURS, THEIRS, Hosts

WIDTH, HEIGHT = 340, 260
LEFT, RIGHT, TOP, BOTTOM = 52, 28, 30, 40
PANELS = (
    ("start_wall_s", "exec to first complete answer, s"),
    ("names_ms", "names of all devices, ms"),
    ("rss_mib", "RSS after serving all, MiB"),
    ("event_cpu_ms", "CPU of one device added or removed, ms"),
)
COLOURS = {THEIRS: "#b5541c", OURS: "#1c66b5"}


def curve(hosts: Hosts) -> str:
    """Return one SVG picture with a panel for each figure; both axes are logarithmic."""
    panels = [
        f'<g transform="translate({index % 2 * WIDTH},{index // 2 * HEIGHT})">\n'
        + "".join(_panel(hosts, key, title))
        + "</g>\n"
        for index, (key, title) in enumerate(PANELS)
    ]
    height = HEIGHT * ((len(PANELS) + 1) // 2)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {2 * WIDTH} {height}" '
        'font-family="sans-serif" font-size="10">\n'
        f'<rect width="{2 * WIDTH}" height="{height}" fill="white"/>\n{"".join(panels)}</svg>\n'
    )


def _panel(hosts: Hosts, key: str, title: str) -> Iterator[str]:
    lines = {
        who: sorted(
            (float(devices), statistics.median(one[key] for one in rounds[who]))
            for devices, rounds in hosts.items()
            if who in rounds
        )
        for who in (THEIRS, OURS)
    }
    points = [point for line in lines.values() for point in line]
    right = _Axis([x for x, _ in points], LEFT, WIDTH - RIGHT)
    up = _Axis([y for _, y in points], HEIGHT - BOTTOM, TOP)
    yield f'<text x="{LEFT}" y="18" font-size="12">{title}</text>\n'
    for power in up.powers:
        y = up.place(10.0**power)
        yield f'<path d="M{LEFT} {y:.1f}H{WIDTH - RIGHT}" stroke="#ddd"/>\n'
        yield f'<text x="{LEFT - 4}" y="{y + 3:.1f}" text-anchor="end">{10.0**power:g}</text>\n'
    for power in right.powers:
        x = right.place(10.0**power)
        yield f'<path d="M{x:.1f} {TOP}V{HEIGHT - BOTTOM}" stroke="#ddd"/>\n'
        yield (
            f'<text x="{x:.1f}" y="{HEIGHT - BOTTOM + 14}" text-anchor="middle">'
            f"{10**power:,}</text>\n"
        )
    yield f'<text x="{WIDTH - RIGHT}" y="{HEIGHT - 8}" text-anchor="end">node devices</text>\n'
    for who, line in lines.items():
        placed = [(right.place(x), up.place(y)) for x, y in line]
        path = "L".join(f"{x:.1f} {y:.1f}" for x, y in placed)
        colour = COLOURS[who]
        yield f'<path d="M{path}" fill="none" stroke="{colour}" stroke-width="2"/>\n'
        for x, y in placed:
            yield f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{colour}"/>\n'
        if placed:
            x, y = placed[-1]  # there, the lines are far apart
            yield (
                f'<text x="{x - 6:.1f}" y="{y - 6:.1f}" text-anchor="end" fill="{colour}">'
                f"{who}</text>\n"
            )


class _Axis:
    """A logarithmic axis over whole powers of ten, between two coordinates."""

    def __init__(self, values: list[float], start: float, end: float) -> None:
        self._start, self._end = start, end
        low, high = math.floor(math.log10(min(values))), math.ceil(math.log10(max(values)))
        self.powers = range(low, max(high, low + 1) + 1)

    def place(self, value: float) -> float:
        span = self.powers[-1] - self.powers[0]
        share = (math.log10(value) - self.powers[0]) / span
        return self._start + (self._end - self._start) * share
