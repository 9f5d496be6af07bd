"""Rules about the town itself: drain, breaker, budget, escalations, violations, retention."""

from __future__ import annotations

from itertools import chain, islice
from typing import Any

from holdfast.actors.definition import SELF, Suppressed
from holdfast.towns import actions as act
from holdfast.towns.draft import LIVE
from holdfast.towns.invariants import is_broken
from holdfast.towns.limits import ENDED_MAX, FREED_MAX, RETIRED_MAX
from holdfast.towns.policy import doubled_ms
from holdfast.towns.rules.view import Findings, View
from holdfast.towns.state import (
    SEVERITIES,
    TERMINAL,
    Bead,
    Severity,
    Violation,
    rests,
    spent_today,
)


def town(view: View) -> Findings:
    """Return what to do about the town."""
    yield from _drain(view)
    yield from _breaker(view)
    yield from _budget(view)
    yield from _freed(view)


def _freed(view: View) -> Findings:
    """Free what waits for beads that failed, few at once, where that does not hold any more."""
    waiting = view.at("blocked-by-failed")
    if waiting and not view.town.config.failures_hold:
        yield act.FreeBeads(
            rule="beads.free", reason="what failed counts as done, as the town is set",
            expect=act.saw(view.state), beads=tuple(islice(waiting, FREED_MAX)),
        )  # fmt: skip


def _drain(view: View) -> Findings:
    if view.draining and view.town.drain_until_ms <= view.now_ms:
        yield act.EndDrain(
            rule="town.drain",
            reason="the host did not come back in time",
            expect=act.saw(view.state),
        )


def _breaker(view: View) -> Findings:
    breaker, policy = view.town.breaker, view.policy
    seen = act.saw(view.state)
    since_ms = view.now_ms - policy.breaker_window_ms
    went_well = sum(at > since_ms for at in breaker.ends)
    failed = sum(-at > since_ms for at in breaker.ends)
    if breaker.state == "closed":
        is_bad = failed >= policy.breaker_failures
        if is_bad and failed >= policy.breaker_share * (failed + went_well):
            yield _open(
                view, f"{failed} attempts failed within half an hour", tell=not (breaker.trips)
            )
    elif breaker.state == "open":
        if breaker.until_ms <= view.now_ms:
            yield act.HalfOpenBreaker(
                rule="breaker.half_open", reason="one attempt may try", expect=seen
            )
        else:
            yield Suppressed("breaker.half_open", "it has not been open for long enough")
    elif went_well:
        yield act.CloseBreaker(
            rule="breaker.close",
            reason="an attempt went well",
            expect=seen,
            tell=not breaker.closing_told,
        )
    elif failed:
        yield _open(view, "the attempt failed too", tell=False)


def _open(view: View, reason: str, *, tell: bool) -> act.OpenBreaker:
    policy = view.policy
    wait_ms = doubled_ms(policy.breaker_first_ms, policy.breaker_cap_ms, view.town.breaker.trips)
    return act.OpenBreaker(
        rule="breaker.open",
        reason=reason,
        expect=act.saw(view.state),
        until_ms=view.now_ms + wait_ms,
        tell=tell,
    )


def is_spent(view: View) -> bool:
    """Return whether the money of this day is used up."""
    most = view.town.config.budget_day
    return bool(most) and spent_today(view.town, view.now_ms) >= most


def _budget(view: View) -> Findings:
    spent = is_spent(view)
    if spent != view.town.exhausted:
        yield act.ChangeBudget(
            rule="budget.change",
            reason="the day's money is used up" if spent else "there is money again",
            expect=act.saw(view.state),
            exhausted=spent,
        )


# -------------------------------------------------------------------------------- what must be so


def violations(view: View) -> Findings:
    """Return which violations to announce: once for each opening, after their grace."""
    graces = dict(view.policy.alert_grace_ms)
    for one in sorted(view.at("unalerted").ids()):
        known: Violation = view.state.violations[one]
        entity, grace_ms = f"v/{one}", graces.get(known.number, 0)
        if not is_broken(view.state, known.number, known.entity):
            yield Suppressed("invariants.alert", "it holds again", entity)
        elif not grace_ms or 0 < known.due_ms <= view.now_ms:
            yield act.Alert(
                rule="invariants.alert", reason=known.text, entity=entity, number=known.number,
                about=known.entity, expect=act.saw(view.state),
            )  # fmt: skip
        elif known.due_ms:
            yield Suppressed("invariants.alert", "it may pass by itself", entity)
        else:
            yield act.AwaitViolation(
                rule="invariants.wait", reason=known.text, entity=entity, number=known.number,
                about=known.entity, after_ms=grace_ms, expect=act.saw(view.state),
            )  # fmt: skip


# ------------------------------------------------------------------------------------ escalations


def escalations(view: View) -> Findings:
    """Return which escalations to make more severe, because nobody took them on."""
    policy = view.policy
    for one in sorted(view.at("escalations").ids()):
        bead: Bead = view.state.beads[one]
        known, entity = bead.escalation, f"b/{one}"
        assert known is not None
        place = SEVERITIES.index(known.severity)
        if known.bumps >= policy.bumps_max or place == len(SEVERITIES) - 1:
            continue
        severity: Severity = known.severity
        next_ms = policy.bump_ms * (known.bumps + 1)
        if bead.due_ms:
            if bead.due_ms > view.now_ms:
                yield Suppressed("escalations.bump", "somebody was asked lately", entity)
                continue
            severity, next_ms = SEVERITIES[place + 1], next_ms + policy.bump_ms
        yield act.Bump(
            rule="escalations.bump", reason="nobody took it on", entity=entity, bead=one,
            severity=severity, next_ms=next_ms, tell=bool(bead.due_ms),
            expect=act.saw(view.state, one),
        )  # fmt: skip


# -------------------------------------------------------------------------------------- retention


def ending(view: View) -> Findings:
    """Return what ends next in a town that was closed: first what somebody works on."""
    ends_ms = view.town.ending_ms
    if not ends_ms or ends_ms > view.now_ms:
        return
    hooks = (view.state.agents[one].hook for one in sorted(view.state.agents))
    worked_on = (one for one in hooks if _is_live(view.state.beads.get(one)))
    rest = chain.from_iterable(view.at(*place) for place in LIVE.values())
    taken = tuple(dict.fromkeys(islice(chain(worked_on, rest), ENDED_MAX)))
    yield act.EndBeads(
        rule="town.end", reason="the town was closed", entity=SELF, beads=taken,
        expect=act.saw(view.state),
    )  # fmt: skip


def _is_live(bead: Bead | None) -> bool:
    return bead is not None and bead.status not in TERMINAL


def retention(view: View) -> Findings:
    """Return what leaves the state: beads that ended, agents that rest, violations long past.

    Few at once, and more after a while, so that others have their turns.
    """
    if view.town.retiring_ms > view.now_ms:
        return
    every_ms = view.policy.retired_every_ms
    ended, now_ms = view.state.ended, view.now_ms
    keys = ended.first_up_to(now_ms, RETIRED_MAX) if every_ms else sorted(ended.up_to(now_ms))
    keys += [f"a/{agent.id}" for agent in view.due("a") if rests(agent)]
    keys += [f"v/{one.id}" for one in view.due("v") if one.status == "resolved"]
    if keys:
        taken: Any = tuple(keys[:RETIRED_MAX])
        yield act.Retire(
            rule="retention", reason="it ended long ago", entity=SELF, keys=taken,
            again_ms=every_ms if len(keys) >= RETIRED_MAX else 0, expect=act.saw(view.state),
        )  # fmt: skip
