"""Records every tick of a town: a datapoint, the figures of Prometheus, and what is announced.

It hears ticks without any consequence too. Calls to the outside run after the commit, so a tick
counts as attempted what it committed, and as succeeded or failed the outcomes that it took.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final

import msgspec

from holdfast.actors.committed_tick import CommittedTick
from holdfast.kernel import metrics
from holdfast.kernel.clock import SECOND_MS, Clock
from holdfast.kernel.ids import Address, address
from holdfast.kernel.metrics import Meter
from holdfast.telemetry.ticks import BROKEN_CHARS_MAX, TickPoint, exact_ms
from holdfast.telemetry.write_loop import Loss
from holdfast.towns import events
from holdfast.towns.actions import Alert
from holdfast.towns.definition import KIND, TOWN
from holdfast.towns.state import State, found, is_closed, is_created
from holdfast.world.reports.port import Report, Reports

FAILED: Final = (
    events.CallFailed,
    events.LandRefused,
    events.SendFailed,
    events.StartDoubted,
    events.StartRefused,
    events.StopFailed,
)
"""Outcomes of calls that did not do what was asked for."""

LATE_MS: Final = SECOND_MS
"""A tick this long after its alarm is counted as late."""

REASONS_MAX: Final = 64
"""Reasons that become values of a label; further ones are counted as `other`."""

Backlog = Callable[[Address], tuple[int, int]]
"""How many events of an actor wait, and when the oldest was accepted, or 0."""

Waiting = Callable[[], Iterable[tuple[Address, float]]]
"""Which actors wait for a tick, for whatever reason, and for how long, in ms."""

_encode = msgspec.json.Encoder(order="deterministic").encode


def tick_point(committed: CommittedTick, backlog: tuple[int, int]) -> TickPoint:
    """Return the datapoint of a tick of a town."""
    tick, after = committed.tick, committed.tick.after.state
    before: State = tick.before.state
    outcomes = Counter(stamp.outcome for stamp in tick.stamps)
    results = Counter(_failed(row.body, row.version) for row in committed.rows if _is_outcome(row))
    types = Counter(decision.name for decision in tick.decisions)
    was, broken = found(before, "violations"), found(after, "violations")
    waiting, oldest_ms = backlog
    alarm_ms = tick.before.alarm_ms
    return TickPoint(
        seen_ms=tick.now_ms,
        town=tick.after.address.id,
        account=after.town.account,
        wall_ms=exact_ms(committed.took_ms),
        drained=len(tick.stamps),
        actions=len(tick.decisions),
        attempted=len(tick.calls),
        succeeded=results[False],
        failed=results[True],
        violations=len(broken),
        pending=waiting,
        by_type=_encode(dict(types)).decode(),
        broken=",".join(sorted(broken))[:BROKEN_CHARS_MAX],
        applied=outcomes["applied"],
        ignored=outcomes["ignored"],
        refused=outcomes["refused"],
        quarantined=outcomes["quarantined"],
        conflicts=sum(decision.result == "conflict" for decision in tick.decisions),
        withheld=sum(one.count for one in tick.withheld),
        opened=sum(_opening(after, one) != _opening(before, one) for one in broken),
        resolved=sum(one not in broken for one in was),
        oldest_ms=max(0, tick.now_ms - oldest_ms) if oldest_ms else 0,
        late_ms=max(0, tick.now_ms - alarm_ms) if alarm_ms else 0,
        breaker=after.town.breaker.state,
    )


def _opening(state: State, violation: str) -> int:
    """Return how often a violation had been opened; 0 for one that is not known."""
    known = state.violations.get(violation)
    return known.opened if known is not None else 0


def _is_outcome(row: Any) -> bool:
    return bool(row.source == "effect")


def _failed(body: bytes, version: int) -> bool:
    """Return whether an outcome failed; one that cannot be read did, and is in quarantine."""
    try:
        return isinstance(TOWN.decode_event(body, version), FAILED)
    except ValueError:  # msgspec's are ValueErrors too
        return True


def announced(committed: CommittedTick) -> Iterator[Report]:
    """Yield a report of each violation that this tick announced: one an opening, after its grace.

    Its fingerprint is the town, the number and the entity, and not how it is worded.
    """
    town = committed.tick.after.address.id
    for decision in committed.tick.decisions:
        if decision.name != Alert.__name__ or decision.result != "done":
            continue
        number, entity = decision.args["number"], decision.args["about"]
        yield Report(
            message=f"invariant {number} is broken: {decision.reason}",
            fingerprint=("holdfast", "invariant", town, str(number), entity),
            tags={"invariant": str(number), "townId": town},
            extra={
                "invariant": number,
                "entity": entity,
                "message": decision.reason,
                "townId": town,
            },
        )


class TownTicks:
    """The listener: it hands points on and keeps the latest of each town for the gauges."""

    def __init__(
        self,
        *,
        backlog: Backlog,
        waiting: Waiting,
        offer: Callable[[TickPoint], None],
        reports: Reports,
        meter: Meter,
        clock: Clock,
    ) -> None:
        self._backlog = backlog
        self._waiting = waiting
        self._offer = offer
        self._reports = reports
        self._meter = meter
        self._clock = clock
        self._latest: dict[str, tuple[TickPoint, int | None]] = {}
        self._reasons: set[tuple[str, str]] = set()
        self._begin_at_zero()

    def _begin_at_zero(self) -> None:
        """Give the counters that alerts read their series: Prometheus sees no growth to a first."""
        count = self._meter.count
        for outcome in ("quarantined", "refused", "ignored"):
            count(metrics.EVENTS, 0, kind=KIND, outcome=outcome)
        for result in ("attempted", "succeeded", "failed"):
            count(metrics.TOWN_CALLS, 0, result=result)
        for change in ("opened", "resolved"):
            count(metrics.TOWN_VIOLATION_CHANGES, 0, change=change)

    def hear(self, committed: CommittedTick) -> None:
        """Record a tick, unless it is another actor's or of a town that was never made."""
        after = committed.tick.after
        if after.address.kind != KIND or not is_created(after.state):
            return
        point = tick_point(committed, self._backlog(after.address))
        self._offer(point)
        self._count(point, committed)
        for report in announced(committed):
            self._reports.send(report)
        if is_closed(after.state) and committed.tick.deadline_ms is None:
            self._latest.pop(point.town, None)
        else:
            self._latest[point.town] = (point, committed.tick.deadline_ms)

    def _count(self, point: TickPoint, committed: CommittedTick) -> None:
        count = self._meter.count
        count(metrics.TOWN_TICKS)
        self._meter.observe(metrics.TOWN_TICK_SECONDS, point.wall_ms / SECOND_MS)
        if point.late_ms > LATE_MS:
            count(metrics.TOWN_TICKS_LATE)
        for metric, by in (
            (metrics.TOWN_EVENTS, point.drained),
            (metrics.TOWN_VIOLATION_TICKS, point.violations),
        ):
            if by:
                count(metric, by)
        for result in ("attempted", "succeeded", "failed"):
            if by := getattr(point, result):
                count(metrics.TOWN_CALLS, by, result=result)
        for change in ("opened", "resolved"):
            if by := getattr(point, change):
                count(metrics.TOWN_VIOLATION_CHANGES, by, change=change)
        for decision in committed.tick.decisions:
            count(metrics.TOWN_ACTIONS, type=decision.name)
        for one in committed.tick.withheld:
            rule, because = self._label(one.rule, one.because)
            count(metrics.TOWN_WITHHELD, one.count, rule=rule, because=because)

    def _label(self, rule: str, because: str) -> tuple[str, str]:
        """Return the values of the labels, which are few whatever reasons say."""
        if (rule, because) not in self._reasons:
            if len(self._reasons) >= REASONS_MAX:
                return rule, "other"
            self._reasons.add((rule, because))
        return rule, because

    def measure(self, loss: Loss) -> None:
        """Set the gauges: the worst of all towns, never a mean.

        Queues and waits are asked for, since a town that does not tick, or was never loaded, has no
        tick to read them from.
        """
        gauge, now_ms = self._meter.gauge, self._clock.now_ms()
        latest = self._latest.values()
        late_ms = {actor.id: ms for actor, ms in self._waiting() if actor.kind == KIND}
        queues = [self._backlog(address(KIND, town)) for town in {*self._latest, *late_ms}]
        gauge(metrics.TOWNS, len(latest))
        gauge(metrics.TOWN_VIOLATIONS, sum(point.violations for point, _ in latest))
        gauge(metrics.TOWN_PENDING, max((events for events, _ in queues), default=0))
        oldest_ms = min((accepted_ms for events, accepted_ms in queues if events), default=now_ms)
        gauge(metrics.TOWN_OLDEST, max(0, now_ms - oldest_ms) / SECOND_MS)
        breakers = Counter(point.breaker for point, _ in latest)
        for state in ("closed", "open", "half_open"):
            gauge(metrics.TOWN_BREAKERS, breakers[state], state=state)
        due_ms = min((due for _, due in latest if due is not None), default=now_ms)
        overdue_ms = max(0, now_ms - due_ms, *late_ms.values())
        gauge(metrics.TOWN_OVERDUE, overdue_ms / SECOND_MS)
        gauge(metrics.TOWN_POINTS_LOST, loss.dropped, why="no_room")
        gauge(metrics.TOWN_POINTS_LOST, loss.poisoned, why="refused")
