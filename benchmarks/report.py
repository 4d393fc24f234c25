"""The results: rows of ratios, each with its spread and its target."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, TypeAlias

Figures: TypeAlias = Mapping[str, float]
Rounds: TypeAlias = Mapping[str, Sequence[Figures]]
"""The figures of each round, by program."""
Hosts: TypeAlias = Mapping[str, Rounds]
"""The same, by number of devices of the host; this machine itself is `KERNEL`."""

OURS, THEIRS = "nodedevd", "libvirtd"


class Row(NamedTuple):
    """One figure that is compared.

    Attributes:
        key: key of the figure.
        title: title of the row.
        unit: unit of the figure.
        targets: limit of the ratio by number of devices; the key None is for all hosts.
        at_least: whether the target is a lower limit.
        theirs: the program that nodedevd is compared with.
        their_key: key of its figure, if it is another one.
    """

    key: str
    title: str
    unit: str
    targets: Mapping[int | None, float] = {}
    at_least: bool = False
    theirs: str = THEIRS
    their_key: str | None = None


ROWS = (
    Row("start_wall_s", "exec to first complete answer", "s", {100: 0.8, 620: 0.35, 9573: 0.08}),
    Row("start_cpu_s", "CPU of that start", "s", {620: 0.35, 9573: 0.08}),
    Row("all_ms", "every device's XML", "ms", {None: 0.03}),
    Row("all_first_ms", "the same, first time", "ms", {620: 0.06, 9573: 0.06}),
    Row("names_ms", "names of all devices", "ms", {None: 0.02}),
    Row("dump_us", "one dumpxml, wall", "us", {None: 0.3}),
    Row("dump_cpu_us", "one dumpxml, server CPU", "us", {None: 0.1, 9573: 0.2}),
    Row("awake_dump_us", "no processor asleep: dumpxml, wall", "us", {None: 0.3}),
    Row("awake_dump_cpu_us", "no processor asleep: dumpxml, CPU", "us", {None: 0.1, 9573: 0.08}),
    Row("load_per_s", "dumps a second, 64 clients", "1/s", {None: 5, 9573: 8}, at_least=True),
    Row("load_p99_us", "the same, p99 of wall", "us", {9573: 0.15}),
    Row("libvirt_names_ms", "libvirt's protocol: list-all", "ms", {None: 0.05}),
    Row("libvirt_dump_us", "libvirt's protocol: one dumpxml", "us", {None: 0.5}),
    Row("rss_mib", "RSS after all that", "MiB", {620: 0.5, 9573: 0.25}),
    Row("event_cpu_ms", "a device added or removed: CPU", "ms", {9573: 0.1}),
    Row("burst_s", "1,000 VFs removed: last event (60 s: not yet)", "s", {9573: 0.1}),
    Row(
        "scan_s",
        "scan, against the C floor",
        "s",
        {620: 3, 9573: 1.7, 47820: 1.5},
        theirs="floor",
        their_key="floor_s",
    ),
    Row(
        "dump_us",
        "one dumpxml, wall, against the C floor",
        "us",
        theirs="floor",
        their_key="answer_us",
    ),
    Row(
        "dump_cpu_us",
        "one dumpxml, CPU, against the C floor",
        "us",
        theirs="floor",
        their_key="answer_cpu_us",
    ),
    Row("list_s", "nodedevctl list, against virsh here", "s", {100: 3.5}, theirs="virsh"),
    Row(
        "version_s",
        "nodedevctl --version, against python -c pass",
        "s",
        theirs="interpreter",
        their_key="nothing_s",
    ),
    Row(
        "completion_s",
        "completion of a name, the same",
        "s",
        theirs="interpreter",
        their_key="nothing_s",
    ),
    Row(
        "tree_s",
        "nodedevctl --sysroot / tree, the same",
        "s",
        theirs="interpreter",
        their_key="nothing_s",
    ),
    Row("start_rss_mib", "RSS after the start", "MiB"),
    Row("event_ms", "a device added or removed: wall", "ms"),
    Row("load_cpu_us", "one dumpxml of 64 clients, CPU", "us"),
    Row("libvirt_dump_cpu_us", "libvirt's protocol: dumpxml, CPU", "us"),
    Row(
        "start_wall_s",
        "start, against one without mdevctl",
        "s",
        theirs="libvirtd without mdevctl",
    ),
)
"""Rows with targets come first."""

SMALLEST = 100
KERNEL = "kernel"
"""Stands for this machine, in place of the number of devices of a generated host."""
KERNEL_ROWS = (
    Row("veth_added_ms", "a veth added: to the event", "ms", {None: 1.0}),
    Row("veth_added_p95_ms", "the same, 95th percentile", "ms"),
    Row("veth_removed_ms", "a veth removed: to the event", "ms"),
    Row("uevents_cpu_s", "2,000 uevents: CPU", "s"),
)

LARGEST = 47820
SECONDS_OF_LARGEST = 10.0
MIB_OF_LARGEST = 200.0
GROWTH = 1.5
"""Limit for the CPU of an event with 9,573 devices against 620: equal, except for noise."""


class Ratio(NamedTuple):
    """A measured row: medians, and the ratio with its spread over the rounds."""

    row: Row
    theirs: float
    ours: float
    ratio: float
    low: float
    high: float
    target: float | None

    @property
    def met(self) -> bool | None:
        """Whether the target is met; None without a target."""
        if self.target is None:
            return None
        return self.ratio >= self.target if self.row.at_least else self.ratio <= self.target


def ratios(rounds: Rounds, devices: int | None) -> list[Ratio]:
    """Return all rows of a host that have figures of both programs; None is this machine."""
    found = []
    for row in KERNEL_ROWS if devices is None else ROWS:
        key = row.their_key or row.key
        theirs = [one[key] for one in rounds.get(row.theirs, ()) if key in one]
        ours = [one[row.key] for one in rounds.get(OURS, ()) if row.key in one]
        if not theirs or not ours:
            continue
        middle = statistics.median(theirs)
        # A figure that was measured once is compared with all rounds.
        pairs = zip(ours, theirs if len(theirs) == len(ours) else [middle] * len(ours), strict=True)
        spread = sorted(own / their for own, their in pairs)
        target = row.targets.get(devices, row.targets.get(None))
        own = statistics.median(ours)
        found.append(Ratio(row, middle, own, own / middle, spread[0], spread[-1], target))
    return found


def table(hosts: Hosts, before: Hosts) -> str:
    """Return the printed text: a table for each host, with the ratios of earlier results."""
    parts = []
    for host, rounds in hosts.items():
        count, devices = len(rounds[OURS]), _devices(host)
        rows = ratios(rounds, devices)
        if rows:
            old = {one.row.title: one.ratio for one in ratios(before.get(host, {}), devices)}
            head = ("", "libvirtd", "nodedevd", "ratio", "spread", "target", "", "committed")
            cells = [head, *(_cells(one, old.get(one.row.title)) for one in rows)]
            cells = cells if old else [line[:-1] for line in cells]
            title = "This machine's kernel" if devices is None else f"{devices:,} devices"
            parts.append(f"{title}, median of {count}\n{_columns(cells)}")
    parts += [f"{line}\n" for line in _alone(hosts)]
    return "\n".join(parts)


BEGIN, END = "<!-- written by make bench ARGS=--update -->\n", "<!-- until here -->\n"


def documented(text: str, hosts: Hosts, machine: Mapping[str, Any]) -> str:
    """Return a document with the figures between its two comments replaced."""
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    setting = ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in machine.items())
    return f"{before}{BEGIN}\n```\n{table(hosts, {})}```\n\nOn: {setting}.\n\n{END}{after}"


def missed(hosts: Hosts) -> int:
    """Return the number of missed targets."""
    rows = [one for host, rounds in hosts.items() for one in ratios(rounds, _devices(host))]
    return sum(one.met is False for one in rows) + sum("MISS" in line for line in _alone(hosts))


def _devices(host: str) -> int | None:
    """Return the number of devices of a generated host, None for this machine."""
    return None if host == KERNEL else int(host)


def _cells(one: Ratio, old: float | None) -> tuple[str, ...]:
    sign = ">=" if one.row.at_least else "<="
    return (
        one.row.title,
        f"{number(one.theirs)} {one.row.unit}",
        f"{number(one.ours)} {one.row.unit}",
        f"x{number(one.ratio)}",
        f"{number(one.low)}..{number(one.high)}",
        "" if one.target is None else f"{sign} {one.target:g}",
        verdict(one.met),
        "" if old is None else f"x{number(old)}",
    )


def _alone(hosts: Hosts) -> list[str]:
    """Return the lines that do not compare two programs on the same host."""
    lines = []
    small, large = (_median(hosts, devices, "event_cpu_ms") for devices in (620, 9573))
    if small is not None and large is not None:
        lines.append(
            f"An event's CPU at 9,573 devices against 620: x{number(large / small)} "
            f"(<= {GROWTH:g}) {verdict(large / small <= GROWTH)}"
        )
    for devices in filter(None, map(_devices, hosts)):
        for when, prefix in (("", ""), (", no processor asleep", "awake_")):
            ratios_of_floor = _floor_of_a_call(hosts, devices, prefix)
            if ratios_of_floor:
                against = f"against libvirtd at {devices:,} devices{when}"
                lines.append(f"The C floor of one dumpxml, {against}: {', '.join(ratios_of_floor)}")
    wall, rss = (_median(hosts, LARGEST, key) for key in ("start_wall_s", "rss_mib"))
    if wall is not None and rss is not None:
        lines.append(
            f"{LARGEST:,} devices: up and complete in {number(wall)} s "
            f"({_spread(hosts, LARGEST, 'start_wall_s')}, <= {SECONDS_OF_LARGEST:g}) "
            f"{verdict(wall <= SECONDS_OF_LARGEST)}, "
            f"RSS after serving all {number(rss)} MiB "
            f"({_spread(hosts, LARGEST, 'rss_mib')}, <= {MIB_OF_LARGEST:g}) "
            f"{verdict(rss <= MIB_OF_LARGEST)}"
        )
    return lines


def _floor_of_a_call(hosts: Hosts, devices: int, prefix: str) -> list[str]:
    """Return the ratios of the floor of a call to libvirtd, empty if it was not measured."""
    ratios_of_floor = []
    for what, key in (("wall", "us"), ("CPU", "cpu_us")):
        floor = _median(hosts, devices, f"{prefix}answer_{key}", "floor")
        theirs = _median(hosts, devices, f"{prefix}dump_{key}", THEIRS)
        if floor is not None and theirs is not None:
            ratios_of_floor.append(f"x{number(floor / theirs)} of its {what}")
    return ratios_of_floor


def _median(hosts: Hosts, devices: int, key: str, who: str = OURS) -> float | None:
    values = _values(hosts, devices, key, who)
    return statistics.median(values) if values else None


def _spread(hosts: Hosts, devices: int, key: str) -> str:
    values = _values(hosts, devices, key, OURS)
    return f"{number(min(values))}..{number(max(values))}"


def _values(hosts: Hosts, devices: int, key: str, who: str) -> list[float]:
    return [one[key] for one in hosts.get(str(devices), {}).get(who, ()) if key in one]


def verdict(met: bool | None) -> str:
    """Return the printed word for a met or missed target."""
    return {None: "", True: "pass", False: "MISS"}[met]


def number(value: float) -> str:
    """Return a number with three significant digits."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def _columns(rows: Sequence[Sequence[str]]) -> str:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = []
    for first, *rest in rows:
        cells = [f"{first:<{widths[0]}}"]
        cells += [f"{cell:>{width}}" for cell, width in zip(rest, widths[1:], strict=True)]
        lines.append("  " + "  ".join(cells).rstrip() + "\n")
    return "".join(lines)


def as_json(hosts: Hosts, machine: Mapping[str, Any]) -> dict[str, Any]:
    """Return all figures and ratios as one JSON document."""
    summary = {
        host: [
            {
                "what": one.row.title,
                "unit": one.row.unit,
                one.row.theirs: round(one.theirs, 4),
                OURS: round(one.ours, 4),
                "ratio": round(one.ratio, 4),
                "spread": [round(one.low, 4), round(one.high, 4)],
                "target": one.target,
                "met": one.met,
            }
            for one in ratios(rounds, _devices(host))
        ]
        for host, rounds in hosts.items()
    }
    return {"machine": dict(machine), "summary": summary, "hosts": _rounded(hosts)}


def _rounded(hosts: Hosts) -> dict[str, Any]:
    return {
        devices: {
            who: [{key: round(value, 6) for key, value in one.items()} for one in all_of_them]
            for who, all_of_them in rounds.items()
        }
        for devices, rounds in hosts.items()
    }
