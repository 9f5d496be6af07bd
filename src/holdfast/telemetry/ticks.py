"""Ticks of towns as datapoints, the port of their store, and the six panels made of them.

One point for each tick, converged ones too. The layout in texts and numbers that existing queries
expect is in docs/compat/towns.md; the store gives it as the view `gastown_events`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Final, Literal, NamedTuple, Protocol

from msgspec import Struct

from holdfast.telemetry.ports import Span
from holdfast.wire.api.instances import Chart, ChartSeries

STEPS_S: Final = (60, 300, 3_600, 21_600)
"""Seconds of a step of the panels; each is a whole number of minutes of the roll-up."""

STEP_POINTS_MAX: Final = 400
"""Points of a series that a page still draws well."""

RAW_MAX_S: Final = 6 * 3_600
"""Windows up to this are answered from the ticks, longer ones from the roll-up by the minute."""

WALL_STEPS_PER_MS: Final = 1_024
"""Wall clock is rounded to 1/1024 ms: sums of such numbers are exact in floating point, in any
order, so that every engine computes the same mean."""

PANEL_LIMITS: Final[Mapping[str, tuple[float, ...]]] = MappingProxyType(
    {"violations": (1,), "wall": (100, 500), "pending": (25, 50)}
)
"""By panel: from which value it is worth a look, and from which it is bad, which comes last."""

TYPES_SHOWN: Final = 24
"""Types of actions that the API's panel names; a series each."""

BROKEN_CHARS_MAX: Final = 512
"""Characters that a point has for the names of what is broken."""

BreakerState = Literal["closed", "open", "half_open"]


class TickPoint(Struct, frozen=True, gc=False, kw_only=True):
    """One tick of one town.

    `wall_ms` is the time of the tick without its commit. `attempted` counts the calls that the
    tick committed, `succeeded` and `failed` the outcomes that it took. `violations` are open after
    it, named in `broken` as number and entity; `opened` and `resolved` count changes of the tick.
    `pending` events waited after it, the oldest for `oldest_ms`. `by_type` is a JSON object of the
    number of actions by type. `late_ms` is how long after its alarm the tick ran, 0 without one.
    """

    seen_ms: int
    town: str
    account: str
    wall_ms: float = 0.0
    drained: int = 0
    actions: int = 0
    attempted: int = 0
    succeeded: int = 0
    failed: int = 0
    violations: int = 0
    pending: int = 0
    by_type: str = "{}"
    broken: str = ""
    applied: int = 0
    ignored: int = 0
    refused: int = 0
    quarantined: int = 0
    conflicts: int = 0
    withheld: int = 0
    opened: int = 0
    resolved: int = 0
    oldest_ms: int = 0
    late_ms: int = 0
    breaker: BreakerState = "closed"


class TickBucket(NamedTuple):
    """The ticks of one step of time. Means are `_sum` / `ticks`; `_max` is of one tick.

    `pending` is the queue of the last tick, None where the ticks are of more than one town: there
    the last row says nothing about the others (`Depth`).
    """

    bucket_s: int
    ticks: int
    wall_sum: float
    wall_max: float
    drained: int
    drained_max: int
    actions: int
    attempted: int
    succeeded: int
    failed: int
    violations: int
    pending: int | None


class TypeBucket(NamedTuple):
    """The actions of one type in one step of time."""

    bucket_s: int
    type: str
    actions: int


class Depth(NamedTuple):
    """The queue of one town in its latest tick."""

    town: str
    seen_ms: int
    pending: int


class Ticks(Protocol):
    """The dataset of ticks: written in batches, answered as panels.

    `town` and `account` narrow a question; an empty text means all. Spans up to RAW_MAX_S are
    answered from the ticks, longer ones from the roll-up, whose newest minutes `settle` brings.
    """

    async def write(self, points: Sequence[TickPoint]) -> None:
        """Keep the points; all or none. Raise ValueError for a point that does not fit."""
        ...

    async def settle(self, now_ms: int) -> None:
        """Bring the roll-up up to date and drop what is older than the retention."""
        ...

    async def buckets(
        self, span: Span, *, town: str = "", account: str = ""
    ) -> Sequence[TickBucket]:
        """Return the steps that have ticks, oldest first."""
        ...

    async def types(self, span: Span, *, town: str = "", account: str = "") -> Sequence[TypeBucket]:
        """Return the actions by step, oldest first, and within it by type."""
        ...

    async def depths(self, span: Span, *, town: str = "", account: str = "") -> Sequence[Depth]:
        """Return the latest tick of each town, by town; of equal times the deeper queue."""
        ...

    async def count(self) -> int:
        """Return how many ticks are kept."""
        ...

    async def close(self) -> None:
        """Write what is pending and give the file back; further calls raise."""
        ...


def is_raw(span: Span) -> bool:
    """Return whether a span is answered from the ticks themselves."""
    return span.until_s - span.since_s <= RAW_MAX_S


def exact_ms(milliseconds: float) -> float:
    """Return a duration rounded to 1/1024 ms."""
    return round(milliseconds * WALL_STEPS_PER_MS) / WALL_STEPS_PER_MS


def dirty_from(points: Sequence[TickPoint]) -> int | None:
    """Return the earliest time among the points, from which a roll-up is out of date."""
    return min((point.seen_ms for point in points), default=None)


def span_of(width_s: int, *, now_ms: int) -> Span:
    """Return the steps of a window of so many seconds that ends now."""
    step_s = next(step for step in STEPS_S if width_s // step <= STEP_POINTS_MAX)
    until_s = (now_ms // 1_000 // step_s + 1) * step_s
    return Span(until_s - width_s, until_s, step_s)


def panels(
    span: Span, buckets: Sequence[TickBucket], types: Sequence[TypeBucket]
) -> tuple[Chart, ...]:
    """Return the six panels of one town, null where it did not tick."""
    at_s = tuple(range(span.since_s, span.until_s, span.step_s))
    known = {bucket.bucket_s: bucket for bucket in buckets}
    found = [known.get(at) for at in at_s]

    def line(name: str, unit: str, values: Sequence[float | None]) -> ChartSeries:
        return ChartSeries(name=name, unit=unit, values=tuple(values))

    def mean(field: str) -> list[float | None]:
        return [None if b is None else getattr(b, field) / b.ticks for b in found]

    def value(field: str) -> list[float | None]:
        return [None if b is None else getattr(b, field) for b in found]

    made = (
        ("drained", "Events drained per tick",
         (line("mean", "events", mean("drained")), line("max", "events", value("drained_max")))),
        ("actions", "Actions by type", _by_type(at_s, types)),
        ("effects", "Calls to the outside per tick",
         tuple(line(name, "calls", mean(name)) for name in ("attempted", "succeeded", "failed"))),
        ("violations", "Invariant violations",
         (line("violations", "violations", value("violations")),)),
        ("wall", "Time of a tick",
         (line("mean", "ms", mean("wall_sum")), line("max", "ms", value("wall_max")))),
        ("pending", "Events that wait", (line("latest", "events", value("pending")),)),
    )  # fmt: skip
    return tuple(
        Chart(name=name, title=title, at_s=at_s, series=series, limits=PANEL_LIMITS.get(name, ()))
        for name, title, series in made
    )


def _by_type(at_s: tuple[int, ...], types: Sequence[TypeBucket]) -> tuple[ChartSeries, ...]:
    """Return a series for each of the most frequent types, 0 where there was none."""
    total: dict[str, int] = {}
    counts: dict[tuple[str, int], int] = {}
    for row in types:
        total[row.type] = total.get(row.type, 0) + row.actions
        counts[row.type, row.bucket_s] = row.actions
    shown = sorted(total, key=lambda name: (-total[name], name))[:TYPES_SHOWN]
    return tuple(
        ChartSeries(
            name=name, unit="actions", values=tuple(counts.get((name, at), 0) for at in at_s)
        )
        for name in shown
    )
