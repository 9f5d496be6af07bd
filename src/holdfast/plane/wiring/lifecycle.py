"""Records committed ticks of instances in the lifecycle dataset of docs/compat/check-in.md.

A change of status is an `instance.*` event, a decision of the rules a `reconcile.*` one. Points may
be lost with the sink; the log of events is complete.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Final

from holdfast.actors.committed_tick import CommittedTick
from holdfast.actors.record import Decision
from holdfast.instances.definition import KIND
from holdfast.instances.state import Instance
from holdfast.telemetry.ports import LifecyclePoint

_ENTERED: Final = {
    "provisioned": "instance.provisioned",
    "running": "instance.started",
    "restarting": "instance.restarting",
    "stopped": "instance.stopped",
    "destroying": "instance.destroy_started",
    "destroyed": "instance.destroyed",
}
"""The event of entering a status (compat/check-in.md)."""


def follow_lifecycle(record: Callable[[LifecyclePoint], None]) -> Callable[[CommittedTick], None]:
    """Return a listener that records the points of each committed tick of an instance."""

    def hear(committed: CommittedTick) -> None:
        if committed.commit is None or committed.tick.after.address.kind != KIND:
            return
        for point in points(committed.tick.before.state, committed.tick.after.state, committed):
            record(point)

    return hear


def points(before: Instance, after: Instance, committed: CommittedTick) -> Iterator[LifecyclePoint]:
    """Yield the lifecycle events of one tick: changes of status first, then decisions."""
    now_ms = committed.tick.now_ms
    if before.status == "absent" and after.status != "absent":
        yield _point("instance.provisioned", before, after, now_ms)
    if before.status != after.status and after.status in _ENTERED:
        name = _ENTERED[after.status]
        if name != "instance.provisioned":
            yield _point(name, before, after, now_ms)
    if before.status == "starting" and after.status == "stopped" and after.failures:
        yield _point("instance.provisioning_failed", before, after, now_ms)
    for decision in committed.tick.decisions:
        yield _decided(decision, before, after, now_ms)


def _point(name: str, before: Instance, after: Instance, now_ms: int) -> LifecyclePoint:
    """Return one change; its duration is how long the status before it had lasted."""
    known = after if after.account else before
    newest = max(after.faults.values(), key=lambda fault: fault.at_ms, default=None)
    failed = name.endswith("failed") and newest is not None
    return LifecyclePoint(
        seen_ms=now_ms,
        event=name,
        account=known.account,
        delivery="do",
        error=newest.code if failed and newest is not None else "",
        app=known.provider,
        machine=after.machine.id or before.machine.id,
        sandbox=known.sandbox_id,
        status=after.status,
        agent_version=known.contact.agent_version,
        image_tag=known.config.agent_version,
        region=known.machine.region or known.region,
        label=known.name,
        duration_ms=float(now_ms - before.since_ms) if before.since_ms else 0.0,
        value=float(after.epoch),
    )


def _decided(decision: Decision, before: Instance, after: Instance, now_ms: int) -> LifecyclePoint:
    """Return one decision of the rules."""
    fields: dict[str, Any] = {
        "event": f"reconcile.{decision.rule}",
        "delivery": "reconcile",
        "error": "" if decision.result == "done" else decision.result,
        "label": decision.name,
        "duration_ms": 0.0,
    }
    point = _point("instance.decided", before, after, now_ms)
    return LifecyclePoint(
        **{name: getattr(point, name) for name in point.__struct_fields__} | fields
    )
