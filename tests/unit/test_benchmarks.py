"""The benchmarks: the generated hosts, and the results of figures. No test measures time."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from lxml import etree

from benchmarks import plot, report
from benchmarks.generate import LARGE, SMALL, generate, shape
from nodedevd.host.sysroot import Sysroot
from nodedevd.kinds.mdev_parent import MdevParent
from nodedevd.kinds.pci import Pci
from nodedevd.tree.read import scan

RESULTS = Path(report.__file__).with_name("results.json")


def rounds(ours: list[float], theirs: list[float], key: str) -> report.Rounds:
    """Return the figures of some rounds."""
    return {
        "nodedevd": [{key: one} for one in ours],
        "libvirtd": [{key: one} for one in theirs],
    }


@pytest.mark.exhaustive
@pytest.mark.parametrize("devices", [100, 620])
def test_generated_host_has_as_many_devices_as_wanted(devices: int, tmp_path: Path) -> None:
    """It has every kind of device, and no read errors."""
    wanted = shape(devices)
    generate(tmp_path, wanted)
    snapshot = scan(Sysroot(str(tmp_path)))
    assert len(snapshot) == devices
    assert [device.errors for device in snapshot if device.errors] == []
    counted = {
        "mdev_child": wanted.mdevs,
        "net": wanted.interfaces,
        "storage": wanted.luns,
        "mdev_parent": wanted.graphics * 16,
    }
    assert {kind: len(snapshot.select([kind])) for kind in counted} == counted
    functions = [device.capability(Pci) for device in snapshot.select(["pci"])]
    assert any(one is not None and one.vpd is not None for one in functions)
    parent = snapshot.select(["mdev_parent"])[0].capability(MdevParent)
    assert parent is not None
    assert len(parent.types) == 12


def test_hosts_that_are_compared_are_as_described() -> None:
    """They have enough plain functions for the disks and network interfaces."""
    for known in (SMALL, LARGE, shape(47820)):
        assert shape(known.devices) == known
        assert known.plain >= known.adapters
    assert LARGE.networks * 16 >= 1000


def test_host_that_is_too_small_is_refused() -> None:
    """It could not have one device of each kind."""
    with pytest.raises(ValueError, match="too few"):
        shape(20)


def test_ratio_is_that_of_the_medians_with_its_spread_over_rounds() -> None:
    """A disturbed round changes the spread, but not the ratio."""
    (one,) = report.ratios(rounds([1, 2, 30], [100, 100, 100], "start_wall_s"), 9573)
    assert (one.ours, one.theirs, one.ratio) == (2, 100, 0.02)
    assert (one.low, one.high, one.target, one.met) == (0.01, 0.3, 0.08, True)


def test_target_of_at_least_is_missed_below_it() -> None:
    """For dumps per second, more is better."""
    (one,) = report.ratios(rounds([4.9], [1], "load_per_s"), 620)
    assert one.met is False
    assert report.missed({"620": rounds([4.9], [1], "load_per_s")}) == 1


def test_table_has_the_committed_ratio() -> None:
    """Each ratio has the committed one beside it, and a verdict if there is a target."""
    now, before = rounds([1], [10], "names_ms"), rounds([5], [10], "names_ms")
    lines = report.table({"620": now}, {"620": before}).splitlines()
    (line,) = [line for line in lines if "names of all devices" in line]
    assert line.split()[-6:] == ["x0.1", "0.1..0.1", "<=", "0.02", "MISS", "x0.5"]


def test_this_machine_has_rows_of_its_own() -> None:
    """It is no host of so many devices."""
    hosts = {report.KERNEL: rounds([4.0, 5.0, 3.0], [8.0, 5.0, 8.0], "veth_added_ms")}
    (line,) = [line for line in report.table(hosts, {}).splitlines() if "a veth added" in line]
    assert line.split()[-6:] == ["ms", "x0.5", "0.375..1", "<=", "1", "pass"]
    assert report.missed(hosts) == 0
    (summary,) = report.as_json(hosts, {})["summary"][report.KERNEL]
    assert summary["ratio"] == 0.5


def test_largest_host_is_measured_by_itself() -> None:
    """There is no libvirtd to compare with; time and memory have their own targets."""
    hosts = {"47820": {"nodedevd": [{"start_wall_s": 4.0, "rss_mib": 400.0}]}}
    text = report.table(hosts, {})
    assert "4 s (4..4, <= 10) pass" in text
    assert "400 MiB (400..400, <= 200) MISS" in text


def test_floor_of_a_call_is_compared_with_libvirtd() -> None:
    """It shows which part of the target cannot be reached by any daemon."""
    floor = {"answer_us": 50.0, "answer_cpu_us": 20.0, "awake_answer_us": 10.0}
    theirs = {"dump_us": 200.0, "dump_cpu_us": 100.0, "awake_dump_us": 100.0}
    hosts = {"620": {"floor": [floor], "libvirtd": [theirs], "nodedevd": [{"dump_us": 75.0}]}}
    text = report.table(hosts, {})
    assert "at 620 devices: x0.25 of its wall, x0.2 of its CPU" in text
    assert "at 620 devices, no processor asleep: x0.1 of its wall\n" in text
    (line,) = [line for line in text.splitlines() if "wall, against the C floor" in line]
    assert "x1.5" in line.split()


def test_curve_is_a_picture() -> None:
    """It is valid XML, and has a line for both daemons."""
    keys = ("start_wall_s", "names_ms", "rss_mib", "event_cpu_ms")
    hosts = {
        str(devices): {
            who: [dict.fromkeys(keys, factor * devices)]
            for who, factor in (("nodedevd", 0.01), ("libvirtd", 0.2))
        }
        for devices in (100, 1000)
    }
    root = etree.fromstring(plot.curve(hosts))
    texts = [one.text for one in root.iter("{http://www.w3.org/2000/svg}text")]
    assert texts.count("nodedevd") == texts.count("libvirtd") == 4


@pytest.mark.parametrize("devices", [620, 9573])
def test_committed_results_have_every_row_with_a_target(devices: int) -> None:
    """Both compared hosts have them."""
    hosts = json.loads(RESULTS.read_text())["hosts"]
    found = report.ratios(hosts[str(devices)], devices)
    wanted = [row.title for row in report.ROWS if {devices, None} & row.targets.keys()]
    assert [one.row.title for one in found if one.target is not None] == wanted
