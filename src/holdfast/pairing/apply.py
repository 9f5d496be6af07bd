"""The fold of an instance's pairing.

Only the fold ensures that a request is decided at most once, by any number of callers and across
restarts: a decision holds its request's marks until no list can contain the request any more. The
fold is total; an outcome of a decision that is over is ignored.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import msgspec
from msgspec.structs import replace

from holdfast.actors.definition import Applied, At, Ignored, Refused, Verdict
from holdfast.kernel.backoff import Backoff
from holdfast.pairing import events
from holdfast.pairing.limits import (
    ANSWER_MS,
    DECISIONS_MAX,
    FAILURE_SHOWN_MS,
    OPEN_MAX,
    ORDER_RUNS_MS,
    RESOLVE_CAP_MS,
    RESOLVE_FIRST_MS,
    RULES_BYTES_MAX,
    SEND_MS,
)
from holdfast.pairing.policy import Rule, judge, problem
from holdfast.pairing.state import OPEN, Decision, Pairing, by_serial, decided
from holdfast.wire.limits import PAIRING_RULES_MAX

_RESOLVE: Final = Backoff(first_ms=RESOLVE_FIRST_MS, cap_ms=RESOLVE_CAP_MS)
_DONE_WORDS: Final = {"approve": "approved", "dismiss": "dismissed"}


def apply(state: Pairing, event: events.Event, at: At) -> Verdict[Pairing]:
    """Apply an event."""
    if state.gone:
        if isinstance(event, events.InstanceGone):
            return Ignored(
                "it is known already"
            )  # not Refused, which would return the letter to a destroyed instance
        return Refused("destroyed", "the instance was destroyed; make a new one")
    return _FOLDS[type(event)](state, event, at)


# ----------------------------------------------------------------------- decisions


def _decided(state: Pairing, event: events.PairingDecided, at: At) -> Verdict[Pairing]:
    wrong = _not_again(state, event.marks, event.verb)
    if wrong is not None:
        return wrong
    if event.remember is not None:
        wrong = _no_room_to_remember(state, event.remember)
        if wrong is not None:
            return wrong
    fresh = _fresh(state, event, at)
    return _begun(replace(state, account=event.account), fresh)


def _seen(state: Pairing, event: events.PairingSeen, at: At) -> Verdict[Pairing]:
    if state.mode != "rules":
        return Ignored("people decide here")
    rule = judge(state.rules, event.request, at.now_ms)
    if rule is None:
        return Ignored("no rule lets it in")
    wrong = _not_again(state, event.request.marks, "approve")
    if wrong is not None:
        return wrong
    verdict = events.PairingDecided(
        account=event.account,
        verb="approve",
        asked=event.request.asked,
        marks=event.request.marks,
        by=f"rule {rule.id}",
        forget_ms=event.forget_ms,
    )
    return _begun(state, replace(_fresh(state, verdict, at), rule=rule.id))


def _not_again(state: Pairing, marks: tuple[str, ...], verb: str) -> Refused | Ignored | None:
    """Return why a request may not be decided (again), or None."""
    if not marks:
        return Refused("pairing_unnamed", "nothing names the request")
    known = decided(state, marks)
    if known is not None and known.status == "done":
        return Refused("pairing_already", f"the request was {_DONE_WORDS[known.verb]} already")
    if known is not None and known.status in OPEN:
        if known.verb == verb:
            return Ignored("the same decision is on its way already")
        return Refused("pairing_deciding", f"it is being decided: {known.verb}; wait for that")
    if sum(one.status in OPEN for one in state.decisions) >= OPEN_MAX:
        return Refused("pairing_busy", f"{OPEN_MAX} decisions are on their way; wait for them")
    if len(state.decisions) >= DECISIONS_MAX:
        text = f"{DECISIONS_MAX} decisions are remembered, which is all there is room for"
        return Refused("pairing_too_many", f"{text}; the oldest is forgotten within the hour")
    return None


def _fresh(state: Pairing, event: events.PairingDecided, at: At) -> Decision:
    return Decision(
        serial=state.serial + 1,
        verb=event.verb,
        status="asked",
        marks=event.marks,
        at_ms=at.now_ms,
        until_ms=at.now_ms + SEND_MS,
        forget_ms=event.forget_ms,
        by=event.by,
        asked=event.asked,
        remember=event.remember,
    )


def _begun(state: Pairing, fresh: Decision) -> Verdict[Pairing]:
    """Add a decision, replacing a failed one about the same request."""
    marks = set(fresh.marks)
    others = tuple(one for one in state.decisions if not marks.intersection(one.marks))
    return Applied(
        replace(state, decisions=(*others, fresh), serial=fresh.serial, epoch=state.epoch + 1)
    )


# ---------------------------------------------------------------------------- the policy


def _policy(state: Pairing, event: events.PolicySet, _at: At) -> Verdict[Pairing]:
    if event.version is not None and event.version != state.policy_version:
        text = f"the policy is version {state.policy_version} now; look at it, then set it again"
        return Refused("policy_changed", text)
    wrong = _rules_problem(event.rules)
    if wrong is not None:
        return wrong
    if (event.mode, event.rules) == (state.mode, state.rules):
        return Ignored("it is the present policy")
    return Applied(
        replace(
            state,
            account=event.account,
            mode=event.mode,
            rules=event.rules,
            policy_version=state.policy_version + 1,
        )
    )


def _rules_problem(rules: tuple[Rule, ...]) -> Refused | None:
    for number, rule in enumerate(rules):
        wrong = problem(rule)
        if wrong is not None:
            return Refused("bad_rule", f"rules[{number}].{wrong[0]}: {wrong[1]}")
    if len({rule.id for rule in rules}) < len(rules):
        return Refused("bad_rule", "rules: two have the same id")
    if len(rules) > PAIRING_RULES_MAX or len(msgspec.json.encode(rules)) > RULES_BYTES_MAX:
        text = f"rules: at most {PAIRING_RULES_MAX}, and {RULES_BYTES_MAX} bytes as JSON"
        return Refused("too_many_rules", text)
    return None


def _no_room_to_remember(state: Pairing, rule: Rule) -> Refused | None:
    """Return why a sender may not be remembered: other rules would take effect, or no room."""
    if state.mode == "manual" and state.rules:
        text = "the policy is manual and holds rules that this would switch on; set it first"
        return Refused("policy_manual", text)
    return _rules_problem((*_without_alike(state.rules, rule), rule))


def _without_alike(rules: tuple[Rule, ...], rule: Rule) -> tuple[Rule, ...]:
    """Return the rules without those equivalent to `rule`."""
    return tuple(one for one in rules if _gist(one) != _gist(rule))


def _gist(rule: Rule) -> tuple[object, ...]:
    return (rule.kind, rule.channel, rule.sender, rule.role, rule.scopes, rule.expires_ms)


# ------------------------------------------------------------------------ outcomes


def _sent(state: Pairing, event: events.DecisionSent, at: At) -> Verdict[Pairing]:
    return _change(state, event.serial, status="sent", until_ms=at.now_ms + ANSWER_MS)


def _lost(state: Pairing, event: events.DecisionLost, at: At) -> Verdict[Pairing]:
    return _change(state, event.serial, status="doubted", code="no_answer", until_ms=at.now_ms)


def _look_sent(state: Pairing, event: events.LookSent, at: At) -> Verdict[Pairing]:
    known = by_serial(state, event.serial)
    tries = 1 if known is None else known.tries + 1
    return _change(state, event.serial, tries=tries, until_ms=at.now_ms + ANSWER_MS)


def _done(state: Pairing, event: events.DecisionDone, at: At) -> Verdict[Pairing]:
    known = by_serial(state, event.serial)
    if known is None or known.status not in {"sent", "doubted"}:
        return Ignored("the decision is over")
    after = _change(
        state,
        event.serial,
        status="done",
        code="",
        message=event.message,
        via=event.via,
        asked=None,
        remember=None,
        until_ms=max(known.forget_ms, at.now_ms),
    )
    rule = known.remember
    if rule is None or not isinstance(after, Applied) or _no_room_to_remember(state, rule):
        return after
    return Applied(
        replace(
            after.state,
            mode="rules",
            rules=(*_without_alike(state.rules, rule), rule),
            policy_version=state.policy_version + 1,
        )
    )


def _failed(state: Pairing, event: events.DecisionFailed, at: At) -> Verdict[Pairing]:
    known = by_serial(state, event.serial)
    if known is None or known.status not in {"sent", "doubted"}:
        return Ignored("the decision is over")
    return _change(
        state,
        event.serial,
        status="failed",
        code=event.code,
        message=event.message,
        asked=None,
        remember=None,
        until_ms=at.now_ms + FAILURE_SHOWN_MS,
    )


def _doubted(state: Pairing, event: events.DecisionDoubted, at: At) -> Verdict[Pairing]:
    known = by_serial(state, event.serial)
    if known is None or known.status not in {"sent", "doubted"}:
        return Ignored("the decision is over")
    runs_until_ms = at.now_ms + ORDER_RUNS_MS if event.runs else known.runs_until_ms
    look_ms = at.now_ms + _RESOLVE.delay_ms(known.tries + 1, state.instance, event.serial)
    if at.now_ms < runs_until_ms:
        look_ms = min(look_ms, runs_until_ms)  # from this check on the result is certain
    return _change(
        state,
        event.serial,
        status="doubted",
        code=event.code,
        message=event.message,
        until_ms=look_ms,
        runs_until_ms=runs_until_ms,
    )


def _change(state: Pairing, serial: int, **changes: Any) -> Verdict[Pairing]:
    """Return the state with one decision changed; every change invalidates older lists."""
    if by_serial(state, serial) is None:
        return Ignored("there is no such decision any more")
    changed = tuple(
        replace(one, **changes) if one.serial == serial else one for one in state.decisions
    )
    return Applied(replace(state, decisions=changed, epoch=state.epoch + 1))


def _forgotten(state: Pairing, event: events.DecisionsForgotten, _at: At) -> Verdict[Pairing]:
    over = set(event.serials)
    kept = tuple(one for one in state.decisions if one.serial not in over)
    return Applied(replace(state, decisions=kept))


def _gone(state: Pairing, event: events.InstanceGone, _at: At) -> Verdict[Pairing]:
    """End, even without any decision before: a decision that arrives late is refused."""
    account = state.account or event.account
    return Applied(
        Pairing(instance=state.instance, account=account, epoch=state.epoch + 1, gone=True)
    )


_FOLDS: Final[dict[type, Callable[[Pairing, Any, At], Verdict[Pairing]]]] = {
    events.PairingDecided: _decided,
    events.PairingSeen: _seen,
    events.PolicySet: _policy,
    events.InstanceGone: _gone,
    events.DecisionSent: _sent,
    events.DecisionLost: _lost,
    events.LookSent: _look_sent,
    events.DecisionsForgotten: _forgotten,
    events.DecisionDone: _done,
    events.DecisionFailed: _failed,
    events.DecisionDoubted: _doubted,
}
