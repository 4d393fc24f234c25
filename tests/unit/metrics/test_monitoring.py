"""docs/monitoring: the alerts and the dashboard ask for metrics that there are."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

from tests.support.monitoring import DASHBOARD, MONITORING, NAMES, expressions
from tests.unit.metrics.test_families import counted

OTHERS = {"node_pcidevice_info", "node_textfile_mtime_seconds"}
"""Metrics of node_exporter."""


def test_expressions_ask_for_metrics_that_are_counted() -> None:
    """A name or a label that nobody has would never alert, and show nothing."""
    families = counted("vgpu-sriov", followed=True).families
    known = {one.sample_name for one in families} | OTHERS | {"nodedev_vfio_open"}
    texts = [*expressions(), (MONITORING / "alerts.yml").read_text()]
    asked = {name for text in texts for name in NAMES.findall(text)}
    assert asked <= known
    assert {one for one in known if one.startswith("nodedev_vgpu")} <= asked | {"nodedev_vgpu_sure"}


def test_every_alert_is_tested() -> None:
    """Each fires in one of the tests of promtool."""
    alerts = re.findall(r"- alert: (\w+)", (MONITORING / "alerts.yml").read_text())
    tests = (MONITORING / "alerts-test.yml").read_text()
    fired = re.findall(r"alertname: (\w+)\n\s+exp_alerts:", tests)
    assert set(alerts) == set(fired)
    assert len(alerts) == len(set(alerts))


def test_panels_of_the_dashboard_fill_its_grid() -> None:
    """They have numbers of their own, lie side by side in 24 columns, and do not overlap."""
    panels = json.loads(DASHBOARD.read_text())["panels"]
    assert len({one["id"] for one in panels}) == len(panels)
    taken: set[tuple[int, int]] = set()
    for panel in panels:
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert max(x for x, _ in cells) < 24
        assert not cells & taken, panel["title"]
        taken |= cells
    assert len(taken) == 24 * (1 + max(y for _, y in taken))


def test_dashboard_takes_its_data_source_from_a_variable() -> None:
    """It is imported into any Grafana."""
    dashboard = json.loads(DASHBOARD.read_text())
    assert {one["name"] for one in dashboard["templating"]["list"]} == {"datasource", "instance"}
    assert set(_sources(dashboard)) == {"${datasource}"}


def _sources(part: Any) -> Iterator[str]:
    if isinstance(part, dict):
        for name, value in part.items():
            if name == "datasource" and isinstance(value, dict):
                yield value["uid"]
            yield from _sources(value)
    elif isinstance(part, list):
        for one in part:
            yield from _sources(one)
