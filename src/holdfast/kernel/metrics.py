"""Every metric, declared once (kind, name, labels, description), and the port `Meter`.

`Meter` takes these objects, so an undeclared name cannot be used. Label values are few and fixed in
the code; a label never holds an id.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, NamedTuple, Protocol, TypeAlias

FAST: Final = (0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 1.0)
"""Bucket bounds in seconds, for what should stay under 5 ms, the limit for blocking the loop."""

SLOW: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
"""Bucket bounds in seconds, for what waits for other systems."""


class Counter(NamedTuple):
    """A value that only grows."""

    name: str
    help: str
    labels: tuple[str, ...] = ()


class Gauge(NamedTuple):
    """A value that goes up and down."""

    name: str
    help: str
    labels: tuple[str, ...] = ()


class Histogram(NamedTuple):
    """A distribution of seconds over `buckets`."""

    name: str
    help: str
    labels: tuple[str, ...] = ()
    buckets: tuple[float, ...] = SLOW


Metric: TypeAlias = Counter | Gauge | Histogram


class Meter(Protocol):
    """Records measurements."""

    def count(self, metric: Counter, by: float = 1, **labels: str) -> None:
        """Add to a counter."""
        ...

    def gauge(self, metric: Gauge, value: float, **labels: str) -> None:
        """Set a gauge."""
        ...

    def observe(self, metric: Histogram, value: float, **labels: str) -> None:
        """Add one measurement to a histogram."""
        ...


class NoMeter:
    """A meter that discards everything."""

    def count(self, metric: Counter, by: float = 1, **labels: str) -> None:
        """Discard it."""

    def gauge(self, metric: Gauge, value: float, **labels: str) -> None:
        """Discard it."""

    def observe(self, metric: Histogram, value: float, **labels: str) -> None:
        """Discard it."""


class TotalMeter:
    """Another meter, whose calls never raise; `dropped` counts what it did not take."""

    def __init__(self, inner: Meter) -> None:
        """Measure into `inner`."""
        self._inner = inner
        self.dropped = 0

    @classmethod
    def over(cls, meter: Meter) -> TotalMeter:
        """Return a meter over another, or that meter itself where it is one already."""
        return meter if isinstance(meter, TotalMeter) else cls(meter)

    def count(self, metric: Counter, by: float = 1, **labels: str) -> None:
        """Add to a counter."""
        self._give(lambda: self._inner.count(metric, by, **labels))

    def gauge(self, metric: Gauge, value: float, **labels: str) -> None:
        """Set a gauge."""
        self._give(lambda: self._inner.gauge(metric, value, **labels))

    def observe(self, metric: Histogram, value: float, **labels: str) -> None:
        """Add one measurement to a histogram."""
        self._give(lambda: self._inner.observe(metric, value, **labels))

    def _give(self, measure: Callable[[], None]) -> None:
        try:
            measure()
        except Exception:  # noqa: BLE001  a figure is never worth the work that it measures
            self.dropped += 1


EVENTS: Final = Counter(
    "holdfast_events_total", "Events that ticks took, by what became of them.", ("kind", "outcome")
)
TICKS: Final = Counter("holdfast_ticks_total", "Ticks that were committed.", ("kind",))
TICK_SECONDS: Final = Histogram(
    "holdfast_tick_seconds", "How long a tick took, without its commit.", ("kind",), buckets=FAST
)
COMMIT_SECONDS: Final = Histogram(
    "holdfast_commit_seconds",
    "How long a tick's commit took, with its wait for the group.",
    buckets=SLOW,
)
DECISIONS: Final = Counter(
    "holdfast_decisions_total",
    "Actions that ticks decided, by rule and by how they went.",
    ("kind", "rule", "result"),
)
FAULTS: Final = Counter(
    "holdfast_engine_faults_total",
    "What should never happen: rules that raise, invariants that break, stores that fail.",
    ("where",),
)
RETRIES: Final = Counter(
    "holdfast_commit_retries_total", "Commits that were refused and made again.", ("reason",)
)
CALLS: Final = Counter(
    "holdfast_calls_total",
    "Calls that were answered, by endpoint and by the answer's status.",
    ("endpoint", "status"),
)
CALL_SECONDS: Final = Histogram(
    "holdfast_call_seconds",
    "How long an answer took, held streams and long polls among them.",
    ("endpoint",),
    buckets=SLOW,
)
INSTANCES: Final = Gauge("holdfast_instances", "Instances, by status.", ("status",))
INSTANCE_HEALTH: Final = Gauge(
    "holdfast_instance_health",
    "Instances by the one status that lists, pages and the doctor show.",
    ("health",),
)
SPEND_ALERTS: Final = Counter(
    "holdfast_spend_alerts_total",
    "Alerts of budgets, by the level in percent and by the period of the limit.",
    ("level", "period"),
)
INSTANCE_ALERTS: Final = Gauge(
    "holdfast_instance_alerts",
    "Instances with which something is wrong now: that need attention for whatever "
    "reason, are down, are silent, whose agent is parked, kept from its port, or held in its "
    "recovery, whose budget is used up to a level that there is an alert of, and which their cap "
    "pauses.",
    ("code",),
)
AGENTS_NOT_READY: Final = Gauge(
    "holdfast_agents_not_ready",
    "Agents that cannot work now although their machines run; each is one for a "
    "while when it starts.",
)
RESIDENTS: Final = Gauge("holdfast_resident_actors", "Actors in memory.")
READY: Final = Gauge("holdfast_ready_actors", "Actors that wait for their tick.")
ALARMS_LATE: Final = Counter(
    "holdfast_alarms_late_total",
    "Deadlines that a tick left in the past without doing anything.",
    ("kind",),
)
EFFECTS: Final = Counter(
    "holdfast_effects_total",
    "Effects that are over, by provider and by what came of them.",
    ("provider", "result"),
)
EFFECT_SECONDS: Final = Histogram(
    "holdfast_effect_seconds", "How long one call to the outside took.", ("provider",), buckets=SLOW
)
EFFECT_RETRIES: Final = Counter(
    "holdfast_effect_retries_total", "Calls that were made again within their lane.", ("provider",)
)
EFFECTS_WAITING: Final = Gauge("holdfast_effects_waiting", "Effects that are not over.")
PROBES: Final = Counter(
    "holdfast_probes_total",
    "Probes that were made, by result.",
    ("provider", "result"),
)
LETTERS_RETURNED: Final = Counter(
    "holdfast_letters_returned_total",
    "Letters returned because they could not be delivered.",
    ("kind",),
)
INTAKE_ROWS: Final = Counter(
    "holdfast_intake_rows_total",
    "Rows that brains sent: accepted, deduplicated or refused.",
    ("outcome",),
)
INTAKE_THROTTLED: Final = Counter(
    "holdfast_intake_throttled_total",
    "Requests of brains refused with 429 by the limit a minute.",
)
INTAKE_FAILURES: Final = Counter(
    "holdfast_intake_failures_total", "Requests of brains that could not be written."
)
INTAKE_COMMIT_SECONDS: Final = Histogram(
    "holdfast_intake_commit_seconds",
    "How long a group of rows waited for its commit.",
    buckets=SLOW,
)
INTAKE_WAITING_ROWS: Final = Gauge(
    "holdfast_intake_waiting_rows", "Rows of brains that wait for their commit."
)

CONTENT_ROWS: Final = Counter(
    "holdfast_content_rows_total",
    "Rows of observed nodes, by what became of them; of what is refused, bodies.",
    ("outcome", "of"),
)
CONTENT_FAILURES: Final = Counter(
    "holdfast_content_failures_total", "Bodies of observed nodes that could not be written."
)
BRAINS: Final = Gauge("holdfast_brains", "Brains.")
BRAIN_BACKLOG_ROWS: Final = Gauge(
    "holdfast_brain_backlog_rows", "Rows waiting at brains' senders, as last reported."
)
LOG_LINES_DROPPED: Final = Gauge(
    "holdfast_log_lines_dropped", "Lines that the log did not take since the start."
)
MEASUREMENTS_DROPPED: Final = Gauge(
    "holdfast_measurements_dropped", "Measurements that could not be kept since the start."
)
BRAIN_ALERTS: Final = Gauge("holdfast_brain_alerts", "What is wrong with brains now.", ("code",))

TOWN_TICKS: Final = Counter(
    "holdfast_town_ticks_total", "Ticks of towns, those without any consequence among them."
)
TOWN_TICK_SECONDS: Final = Histogram(
    "holdfast_town_tick_seconds",
    "How long a tick of a town took, without its commit; the ones without consequence too.",
    buckets=(*FAST[:-1], 0.25, 0.5, 1.0),
)
TOWN_TICKS_LATE: Final = Counter(
    "holdfast_town_ticks_late_total", "Ticks of towns more than a second after their alarm."
)
TOWN_EVENTS: Final = Counter(
    "holdfast_town_events_drained_total",
    "Events that ticks of towns took, whatever their outcome.",
)
TOWN_ACTIONS: Final = Counter(
    "holdfast_town_actions_total", "Actions that ticks of towns decided, by type.", ("type",)
)
TOWN_CALLS: Final = Counter(
    "holdfast_town_calls_total",
    "Calls of towns to the outside: attempted (committed by a tick), and their outcomes, succeeded"
    " or failed, as ticks took them.",
    ("result",),
)
TOWN_WITHHELD: Final = Counter(
    "holdfast_town_withheld_total",
    "Entities that a rule of towns held back, counted again by each tick, by rule and reason.",
    ("rule", "because"),
)
TOWN_VIOLATION_TICKS: Final = Counter(
    "holdfast_town_invariant_violations_total",
    "Violations that were open after a tick of a town, counted again by each tick.",
)
TOWN_VIOLATION_CHANGES: Final = Counter(
    "holdfast_town_violation_changes_total",
    "Violations of towns that opened, again or for the first time, or were resolved.",
    ("change",),
)
TOWNS: Final = Gauge("holdfast_towns", "Towns that ticked since the start and are not closed.")
TOWN_VIOLATIONS: Final = Gauge(
    "holdfast_town_violations", "Violations that are open, of all towns together."
)
TOWN_PENDING: Final = Gauge(
    "holdfast_town_pending_events",
    "Events that wait for the town with most of them, as far as they are in memory.",
)
TOWN_OLDEST: Final = Gauge(
    "holdfast_town_oldest_pending_seconds",
    "Age of the oldest event in memory that waits for any town.",
)
TOWN_BREAKERS: Final = Gauge("holdfast_town_breakers", "Towns by their breaker.", ("state",))
TOWN_OVERDUE: Final = Gauge(
    "holdfast_town_overdue_seconds",
    "How long a town has been to tick and did not, by its alarm, by an event, or because it cannot"
    " be loaded; the longest of any town.",
)
TOWN_POINTS_LOST: Final = Gauge(
    "holdfast_town_points_lost",
    "Ticks that the analytics store never got since the start: no room, or refused.",
    ("why",),
)

CATALOGUE: Final[tuple[Metric, ...]] = tuple(
    value for value in tuple(vars().values()) if isinstance(value, Counter | Gauge | Histogram)
)
"""Every metric, in the order of declaration."""
