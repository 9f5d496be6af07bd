"""The port `Meter` by the Prometheus client library."""

from __future__ import annotations

from typing import Any

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client import Counter as PromCounter
from prometheus_client import Gauge as PromGauge
from prometheus_client import Histogram as PromHistogram

from holdfast.kernel.metrics import CATALOGUE, Counter, Gauge, Histogram, Metric


class Metrics:
    """Every metric of `kernel.metrics`, in one registry; it implements `Meter`.

    A label that the metric does not declare raises ValueError at its first use.
    """

    def __init__(self, catalogue: tuple[Metric, ...] = CATALOGUE) -> None:
        self.registry = CollectorRegistry(auto_describe=True)
        self._live: dict[str, Any] = {row.name: self._make(row) for row in catalogue}

    def _make(self, row: Metric) -> PromCounter | PromGauge | PromHistogram:
        match row:
            case Counter():
                return PromCounter(row.name, row.help, row.labels, registry=self.registry)
            case Gauge():
                return PromGauge(row.name, row.help, row.labels, registry=self.registry)
            case Histogram():
                return PromHistogram(
                    row.name, row.help, row.labels, buckets=row.buckets, registry=self.registry
                )

    def _child(self, metric: Metric, labels: dict[str, str]) -> Any:
        live = self._live[metric.name]
        return live.labels(**labels) if labels else live

    def count(self, metric: Counter, by: float = 1, **labels: str) -> None:
        """Add to a counter."""
        self._child(metric, labels).inc(by)

    def gauge(self, metric: Gauge, value: float, **labels: str) -> None:
        """Set a gauge."""
        self._child(metric, labels).set(value)

    def observe(self, metric: Histogram, value: float, **labels: str) -> None:
        """Add one measurement to a histogram."""
        self._child(metric, labels).observe(value)

    def render(self) -> bytes:
        """Return all metrics in the Prometheus text format."""
        rendered: bytes = generate_latest(self.registry)
        return rendered
