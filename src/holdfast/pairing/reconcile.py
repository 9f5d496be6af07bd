"""The rules: which decisions to send, check or remove, and the next deadline."""

from __future__ import annotations

from typing import Any

from holdfast.actors.definition import Plan, Suppressed
from holdfast.pairing import actions as act
from holdfast.pairing.state import Decision, Pairing


def reconcile(state: Pairing, _policy: Any, now_ms: int, _number: int) -> Plan[act.Action]:
    """Return the plan of this tick: each decision's next step, and decisions to remove."""
    planned: list[act.Action] = []
    held: list[Suppressed] = []
    forgettable: list[Decision] = []
    for decision in state.decisions:
        if is_forgettable(decision, now_ms):
            forgettable.append(decision)
        elif (step := _step(state, decision, now_ms)) is not None:
            planned.append(step)
        elif decision.status in {"sent", "doubted"}:
            held.append(Suppressed(f"pairing.{decision.status}", "an answer is waited for"))
    if forgettable:
        planned.append(
            act.Forget(
                rule="pairing.forget",
                reason="no source can list these requests any more",
                expect=act.expect_of(state, forgettable[0].serial),
                serials=tuple(one.serial for one in forgettable),
            )
        )
    return Plan(actions=tuple(planned), suppressed=tuple(held))


def _step(state: Pairing, decision: Decision, now_ms: int) -> act.Action | None:
    """Return a decision's next action, or None while it waits."""
    expect = act.expect_of(state, decision.serial)
    if decision.status == "asked":
        text = f"{decision.by or 'somebody'} decided: {decision.verb}"
        return act.TellMachine(rule="pairing.tell", reason=text, expect=expect)
    if now_ms < decision.until_ms:
        return None
    if decision.status == "sent":
        text = "nothing was heard of it"
        return act.GiveUp(rule="pairing.sent.expire", reason=text, expect=expect)
    if decision.status == "doubted":
        text = "whether it was carried out is not known"
        return act.LookForIt(rule="pairing.look", reason=text, expect=expect)
    return None


def is_forgettable(decision: Decision, now_ms: int) -> bool:
    """Return whether a decision can be removed."""
    match decision.status:
        case "done":
            return now_ms >= decision.forget_ms
        case "failed":
            return now_ms >= decision.until_ms
        case "doubted":
            return now_ms >= decision.forget_ms and now_ms >= decision.until_ms
        case _:
            return False


def deadline(state: Pairing, _policy: Any, now_ms: int) -> int | None:
    """Return when a decision needs an action without an event, in ms since the epoch."""
    moments = [_moment(one, now_ms) for one in state.decisions]
    return min(moments, default=None)


def _moment(decision: Decision, now_ms: int) -> int:
    match decision.status:
        case "asked":
            return now_ms
        case "done":
            return decision.forget_ms
        case _:
            return decision.until_ms
