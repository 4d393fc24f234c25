"""The alerts and the dashboard of docs/monitoring."""

from __future__ import annotations

import json
import re

from tests.support.running import REPOSITORY

MONITORING = REPOSITORY / "docs" / "monitoring"
DASHBOARD = MONITORING / "dashboard.json"
NAMES = re.compile(r"\bnodedev_[a-z_]*[a-z]\b|\bnode_(?:pci|textfile)[a-z_]*[a-z]\b")
"""The names of metrics in an expression."""


def expressions() -> list[str]:
    """Return the expressions of the dashboard, as Grafana asks them."""
    dashboard = json.loads(DASHBOARD.read_text())
    asked = [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]
    asked += [one["expr"] for one in dashboard["annotations"]["list"]]
    return [
        one.replace("$instance", "host|other").replace("$__rate_interval", "5m") for one in asked
    ]
