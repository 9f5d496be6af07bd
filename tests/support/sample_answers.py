"""Sample answers that no order changes: charts, a timeline, a rehearsal, operations."""

from __future__ import annotations

import math

import msgspec

from holdfast.wire.api.instances import (
    Chart,
    ChartSeries,
    ChartSet,
    Explanation,
    Fact,
    InstanceView,
    Timeline,
    TimelineEntry,
)
from holdfast.wire.api.operations import Operation, OperationStep
from holdfast.wire.api.rehearsals import Rehearsal, RehearsedAction, RehearsedTick, Suppressed
from holdfast.wire.times import time_text

SECOND, MINUTE, HOUR, DAY = 1_000, 60_000, 3_600_000, 86_400_000
GAP = range(20, 23)
PEAKS = {8, 9, 31, 44, 45}

# id, ago in ms, kind, name, rule, reason, cause
TIMELINE = (
    ("e5", 2 * MINUTE, "event", "ContactRegained", "", "", ""),
    ("o3", 9 * MINUTE, "outcome", "MachineStarted", "", "listening after 1.1 s", "x3"),
    ("x3", 9 * MINUTE + 900, "effect", "start", "", "", "a3"),
    ("a3", 9 * MINUTE + 950, "action", "start_machine", "start.down", "it should run", "e3"),
    ("e3", 9 * MINUTE + 999, "event", "DownNoticed", "", "exit status 137 (killed)", ""),
    ("c2", 40 * MINUTE, "conflict", "create_machine", "", "the name is ours: adopted", "a2"),
    ("a2", 40 * MINUTE + 9, "action", "create_machine", "start.wanted", "none is there", "e2"),
    ("e2", 40 * MINUTE + 20, "event", "StartRequested", "", "by operator", ""),
    ("r1", 50 * MINUTE, "refusal", "RestartRequested", "", "it is stopped; start it first", ""),
    ("e1", 60 * MINUTE, "event", "InstanceCreated", "", "", ""),
)


def timeline(view: InstanceView, *, page: int, now_ms: int) -> Timeline:
    """Return one of three pages of a timeline, an hour each."""
    base = now_ms // MINUTE * MINUTE - page * HOUR
    entries = tuple(
        msgspec.convert(
            {
                "id": f"{page}-{name}",
                "at": time_text(base - ago),
                "kind": kind,
                "name": what,
                "rule": rule,
                "reason": reason,
                "cause": f"{page}-{cause}" if cause else "",
                "seq": view.seq,
                "outcome": "refused" if kind == "refusal" else "",
            },
            TimelineEntry,
        )
        for name, ago, kind, what, rule, reason, cause in TIMELINE
    )
    return Timeline(entries=entries, next=str(page + 1) if page < 2 else "")


def explanation(view: InstanceView, *, now_ms: int) -> Explanation:
    """Return why an instance is as it is."""
    told = [("The last start took 1.2 s.", HOUR)]
    if view.status == "running":
        summary = "It runs, as it should."
    else:
        summary = f"It is {view.status}, and wanted {view.desired}."
        told.insert(0, ("An operator asked for it.", 3 * MINUTE))
    return Explanation(
        id=view.id,
        desired=view.desired,
        status=view.status,
        summary=summary,
        facts=tuple(Fact(code="c", text=text, at=time_text(now_ms - ago)) for text, ago in told),
        waiting_for="the next check-in",
        next_at=time_text(now_ms + 90 * SECOND),
    )


def rehearsal(*, now_ms: int) -> Rehearsal:
    """Return a dry run with one action and one that is held back."""
    action = RehearsedAction(name="start_machine", rule="start.down", reason="it should run")
    held = Suppressed(
        name="restart_agent",
        rule="restart.cooldown",
        reason="restarted 20 s ago",
        until=time_text(now_ms + 40 * SECOND),
    )
    tick = RehearsedTick(
        number=12,
        at=time_text(now_ms),
        deadline_at=time_text(now_ms + MINUTE),
        actions=(action,),
        suppressed=(held,),
    )
    return Rehearsal(
        actor="instance/x",
        mode="dry-run",
        ticks=(tick,),
        summary="One action is due.",
        changes=("status: stopped to starting",),
    )


def charts(*, now_ms: int, fleet: bool) -> ChartSet:
    """Return an hour of five charts, or the four of one machine, with a gap in them."""
    until = now_ms // MINUTE * 60
    at = tuple(range(until - 3_600, until, 60))

    def wave(base: float, swing: float, phase: float) -> tuple[float | None, ...]:
        return tuple(
            None if i in GAP else base + swing * (math.sin(i / 7 + phase) + math.sin(i * 1.7) / 3)
            for i in range(len(at))
        )

    def chart(name: str, title: str, unit: str, **lines: tuple[float | None, ...]) -> Chart:
        series = tuple(ChartSeries(name=n, unit=unit, values=v) for n, v in lines.items())
        return Chart(name=name, title=title, at_s=at, series=series)

    whole = tuple(None if value is None else float(round(value)) for value in wave(50, 1.4, 0))
    peaks = tuple(float(i in PEAKS) for i in range(len(at)))
    crashes = tuple(value if i % 2 else 0.0 for i, value in enumerate(peaks))
    ways = {"in": wave(220_000, 90_000, 2), "out": wave(90_000, 40_000, 3)}
    made = (
        chart("reporting", "Machines reporting", "machines", machines=whole),
        chart("load", "Load", "load", p50=wave(0.4, 0.1, 0), p95=wave(1.3, 0.3, 1)),
        chart("restarts", "Agent restarts", "restarts", restarts=peaks, crashes=crashes),
        chart("bandwidth", "Bandwidth", "bytes/s", **ways),
        chart("disk", "Disk used", "%", p50=wave(31, 1, 0), p95=wave(64, 2, 0)),
    )
    return ChartSet(
        since=time_text((until - 3_600) * 1_000),
        until=time_text(until * 1_000),
        step_s=60,
        charts=made if fleet else made[1:],
    )


def operation(at: int, *, now_ms: int) -> Operation:
    """Return the n-th operation: the second is under way, every fourth was refused."""
    when = time_text(now_ms - MINUTE)
    refused = at % 4 == 2
    steps = (
        OperationStep(kind="event", id="e", name="StartRequested", at=when, state="done"),
        OperationStep(
            kind="action", id="a", name="start_machine", at=when, state="done", rule="start.wanted"
        ),
        OperationStep(
            kind="effect",
            id="x",
            name="start",
            at=when,
            state="running" if at == 1 else "done",
            attempts=2,
        ),
    )
    return Operation(
        event=f"ev-{at:04d}",
        actor=f"instance/in-{at:04d}",
        name=("StartRequested", "RestartRequested", "StopRequested")[at % 3],
        accepted_at=time_text(now_ms - at * 7 * MINUTE - 20 * SECOND),
        outcome="refused" if refused else "applied",
        by="operator",
        message="It is being destroyed." if refused else "",
        seq=90 - at,
        done=at != 1,
        steps=steps,
    )
