"""The catalogue: everything that is measured, named once, with its labels and a sentence.

A name that is not here cannot be counted, so a page, an alert and the code never drift apart. A
label never holds an id: its values are few, and known when the code is written.
"""

from __future__ import annotations

from typing import Final, Literal, NamedTuple

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client import Counter as PromCounter
from prometheus_client import Gauge as PromGauge
from prometheus_client import Histogram as PromHistogram


class Metric(NamedTuple):
    """One row of the catalogue; `buckets` are a histogram's, in seconds."""

    kind: Literal["counter", "gauge", "histogram"]
    name: str
    help: str
    labels: tuple[str, ...] = ()
    buckets: tuple[float, ...] = ()


FAST: Final = (0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 1.0)
"""Seconds, for what should take less than the 5 ms that the loop may be held."""

SLOW: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
"""Seconds, for what waits for the outside."""

CATALOGUE: Final = (
    Metric(
        "counter",
        "holdfast_events_total",
        "Events that ticks took, by what became of them.",
        ("kind", "outcome"),
    ),
    Metric("counter", "holdfast_ticks_total", "Ticks that were committed.", ("kind",)),
    Metric(
        "histogram",
        "holdfast_tick_seconds",
        "How long a tick took, without its commit.",
        ("kind",),
        FAST,
    ),
    Metric(
        "histogram",
        "holdfast_commit_seconds",
        "How long a tick's commit took, with its wait for the group.",
        (),
        SLOW,
    ),
    Metric(
        "counter",
        "holdfast_decisions_total",
        "Actions that ticks decided, by rule and by how they went.",
        ("kind", "rule", "result"),
    ),
    Metric(
        "counter",
        "holdfast_engine_faults_total",
        "What should never happen: rules that raise, invariants that break, stores that fail.",
        ("where",),
    ),
    Metric(
        "counter",
        "holdfast_commit_retries_total",
        "Commits that were refused and made again.",
        ("reason",),
    ),
    Metric(
        "counter",
        "holdfast_calls_total",
        "Calls that were answered, by endpoint and by the answer's status.",
        ("endpoint", "status"),
    ),
    Metric(
        "histogram",
        "holdfast_call_seconds",
        "How long an answer took, held streams and long polls among them.",
        ("endpoint",),
        SLOW,
    ),
    Metric("gauge", "holdfast_instances", "Instances, by status.", ("status",)),
    Metric(
        "gauge",
        "holdfast_instance_alerts",
        "Instances with which something is wrong now: that need attention for whatever reason, "
        "are silent, whose agent is parked, kept from its port, or held in its recovery.",
        ("code",),
    ),
    Metric(
        "gauge",
        "holdfast_agents_not_ready",
        "Agents that cannot work now although their machines run; each is one for a while when it "
        "starts.",
    ),
    Metric("gauge", "holdfast_resident_actors", "Actors in memory."),
    Metric("gauge", "holdfast_ready_actors", "Actors that wait for their tick."),
    Metric(
        "counter",
        "holdfast_alarms_late_total",
        "Deadlines that a tick left in the past without doing anything.",
        ("kind",),
    ),
    Metric(
        "counter",
        "holdfast_effects_total",
        "Effects that are over, by provider and by what came of them.",
        ("provider", "result"),
    ),
    Metric(
        "histogram",
        "holdfast_effect_seconds",
        "How long one call to the outside took.",
        ("provider",),
        SLOW,
    ),
    Metric(
        "counter",
        "holdfast_effect_retries_total",
        "Calls that were made again within their lane.",
        ("provider",),
    ),
    Metric("gauge", "holdfast_effects_waiting", "Effects that are not over."),
    Metric(
        "counter",
        "holdfast_probes_total",
        "Standing questions that were asked, by whether the answer was new.",
        ("provider", "result"),
    ),
    Metric(
        "counter",
        "holdfast_letters_returned_total",
        "Letters that went back because nobody could take them.",
        ("kind",),
    ),
    Metric(
        "counter",
        "holdfast_intake_rows_total",
        "Rows that brains sent: accepted, deduplicated or refused.",
        ("outcome",),
    ),
    Metric(
        "counter",
        "holdfast_intake_throttled_total",
        "Requests of brains that were told to wait because their minute was full.",
    ),
    Metric(
        "counter",
        "holdfast_intake_failures_total",
        "Requests of brains that the disk did not take.",
    ),
    Metric(
        "histogram",
        "holdfast_intake_commit_seconds",
        "How long a group of rows waited for its commit.",
        (),
        SLOW,
    ),
    Metric("gauge", "holdfast_intake_waiting_rows", "Rows of brains that wait for the disk."),
    Metric("gauge", "holdfast_brains", "Brains."),
    Metric(
        "gauge",
        "holdfast_brain_backlog_rows",
        "Rows that wait at brains' senders, as they said last.",
    ),
    Metric("gauge", "holdfast_brain_alerts", "What is wrong with brains now.", ("code",)),
)


class Metrics:
    """The catalogue as live figures; it fits every room's port `Meter`.

    A name or a label that the catalogue does not have raises KeyError or ValueError at its first
    use, which every test of the code that counts would meet.
    """

    def __init__(self, catalogue: tuple[Metric, ...] = CATALOGUE) -> None:
        self.registry = CollectorRegistry(auto_describe=True)
        self._counters: dict[str, PromCounter] = {}
        self._gauges: dict[str, PromGauge] = {}
        self._histograms: dict[str, PromHistogram] = {}
        for row in catalogue:
            match row.kind:
                case "counter":
                    self._counters[row.name] = PromCounter(
                        row.name, row.help, row.labels, registry=self.registry
                    )
                case "gauge":
                    self._gauges[row.name] = PromGauge(
                        row.name, row.help, row.labels, registry=self.registry
                    )
                case "histogram":
                    self._histograms[row.name] = PromHistogram(
                        row.name, row.help, row.labels, buckets=row.buckets, registry=self.registry
                    )

    def count(self, name: str, by: float = 1, **labels: str) -> None:
        """Add to a counter."""
        counter = self._counters[name]
        (counter.labels(**labels) if labels else counter).inc(by)

    def gauge(self, name: str, value: float, **labels: str) -> None:
        """Set a gauge."""
        gauge = self._gauges[name]
        (gauge.labels(**labels) if labels else gauge).set(value)

    def observe(self, name: str, value: float, **labels: str) -> None:
        """Add one measurement to a histogram."""
        histogram = self._histograms[name]
        (histogram.labels(**labels) if labels else histogram).observe(value)

    def render(self) -> bytes:
        """Return every figure in the text form that Prometheus reads."""
        rendered: bytes = generate_latest(self.registry)
        return rendered
