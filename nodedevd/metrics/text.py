"""text: families as text for Prometheus, in its own format and as OpenMetrics.

Format  https://prometheus.io/docs/instrumenting/exposition_formats (version 0.0.4), and
        https://prometheus.io/docs/specs/om/open_metrics_spec (version 1.0.0)
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from nodedevd.errors import NodedevError
from nodedevd.metrics.family import Family
from nodedevd.text import printable

if TYPE_CHECKING:
    from prometheus_client import Metric

Format: TypeAlias = Literal["openmetrics", "prometheus"]

OPENMETRICS_TYPE = "application/openmetrics-text; version=1.0.0; charset=utf-8"
PROMETHEUS_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_UNITS = ("bytes", "seconds")


class NoMetricsLibrary(NodedevError):
    """What writes the text is not installed."""

    code = "no-metrics-library"
    name: str

    def __str__(self) -> str:
        return (
            f"metrics need the Python package {self.name}, which is not installed: install it"
            f" with pip beside nodedevd, or Debian's package python3-{self.name}"
        )


def check_libraries() -> None:
    """Raise NoMetricsLibrary unless what nodedevd-metrics needs is installed."""
    for module, name in (("h11", "h11"), ("prometheus_client", "prometheus-client")):
        if find_spec(module) is None:
            raise NoMetricsLibrary(name)


def text_of(families: Iterable[Family], form: Format) -> bytes:
    """Return the text in a format. Raises NoMetricsLibrary."""
    return openmetrics_text(families) if form == "openmetrics" else prometheus_text(families)


def openmetrics_text(families: Iterable[Family]) -> bytes:
    """Return the text as OpenMetrics. Raises NoMetricsLibrary."""
    try:
        from prometheus_client.openmetrics.exposition import generate_latest
    except ImportError as error:
        raise NoMetricsLibrary("prometheus-client") from error
    return _bytes(generate_latest(_Collected(families)))  # type: ignore[no-untyped-call]


def prometheus_text(families: Iterable[Family]) -> bytes:
    """Return the text in Prometheus's own format, as node_exporter reads it.

    Raises NoMetricsLibrary.
    """
    try:
        from prometheus_client.exposition import generate_latest
    except ImportError as error:
        raise NoMetricsLibrary("prometheus-client") from error
    return _bytes(generate_latest(_Collected(families)))


class _Collected:
    """What the library takes for a registry."""

    def __init__(self, families: Iterable[Family]) -> None:
        self._families = families

    def collect(self) -> Iterator[Metric]:
        """Yield the families as the library's own."""
        from prometheus_client import Metric

        for family in self._families:
            unit = next((one for one in _UNITS if family.name.endswith(f"_{one}")), "")
            metric = Metric(family.name, family.help, family.type, unit)
            for sample in family.samples:
                labels = {name: printable(value) for name, value in sample.labels.items()}
                metric.add_sample(family.sample_name, labels, sample.value)
            yield metric


def _bytes(text: Any) -> bytes:
    assert isinstance(text, bytes)
    return text
