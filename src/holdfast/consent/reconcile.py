"""The rules: which grants to write or end, what to sign and delete, and the next deadline."""

from __future__ import annotations

from typing import Any

from holdfast.actors.definition import Plan, Suppressed
from holdfast.consent import actions as act
from holdfast.consent.apply import blocked, is_full, ordered
from holdfast.consent.state import Node, granted, is_over


def reconcile(state: Node, _policy: Any, now_ms: int, _number: int) -> Plan[act.Action]:
    """Return the plan of this tick.

    Decisions come alone: they replace the grant that waits to be signed, which the next tick signs.
    """
    held: list[Suppressed] = []
    decided = _decisions(state, now_ms, held)
    if decided:
        return Plan(actions=tuple(decided), suppressed=tuple(held))
    planned: list[act.Action] = []
    for one in state.unsigned:
        if now_ms >= one.next_ms:
            planned.append(
                act.Sign(
                    rule="consent.sign",
                    reason=f"document {one.number} waits for its signature",
                    expect=act.expect_sign(state, one.number),
                    number=one.number,
                )
            )
        else:
            held.append(Suppressed("consent.sign", one.message or "a signature is waited for"))
    for deletion in state.deletions[:1]:
        if is_full(state):
            held.append(Suppressed("consent.delete", "too many documents wait to be signed"))
        elif now_ms >= deletion.next_ms:
            planned.append(
                act.Delete(
                    rule="consent.delete",
                    reason=f"{deletion.by} asked to delete what was stored",
                    expect=act.expect_delete(state, deletion.serial),
                    number=deletion.serial,
                )
            )
        else:
            held.append(Suppressed("consent.delete", deletion.message or "it is under way"))
    return Plan(actions=tuple(planned), suppressed=tuple(held))


def _decisions(state: Node, now_ms: int, held: list[Suppressed]) -> list[act.Action]:
    """Return the grants to write and to end."""
    decided: list[act.Action] = []
    over = ordered(each for each in granted(state) if is_over(state.classes[each], now_ms))
    if over:
        decided.append(
            act.Expire(
                rule="consent.expire",
                reason="its time is over",
                expect=act.Expect(classes=granted(state)),
                classes=over,
            )
        )
    if state.waiting is None:
        return decided
    wait = blocked(state, state.waiting.classes)
    if wait is not None:
        held.append(Suppressed("consent.intent", wait.message))
    else:
        decided.append(
            act.WriteGrant(
                rule="consent.intent",
                reason=state.waiting.reason,
                expect=act.Expect(waiting=state.waiting),
            )
        )
    return decided


def deadline(state: Node, _policy: Any, now_ms: int) -> int | None:
    """Return when the rules may act without an event, in ms since the epoch."""
    moments = [one.until_ms for each in granted(state) if (one := state.classes[each]).until_ms]
    moments += [one.next_ms for one in state.unsigned]
    if not is_full(state):
        moments += [one.next_ms for one in state.deletions[:1]]
    if state.waiting is not None and blocked(state, state.waiting.classes) is None:
        moments.append(now_ms)
    return min(moments, default=None)
