"""How the states and codes of a town are said to people. Pure."""

from __future__ import annotations

from typing import Final

from holdfast.towns.rules.hosts import away_words
from holdfast.towns.state import Agent, Bead, Convoy, Review
from holdfast.wire.limits import REASON_MAX
from holdfast.wire.times import time_text

CODES: Final = {
    "attempts_exhausted": "it failed as often as it may",
    "budget_exhausted": "it cost as much as it may",
    "cancelled": "it was cancelled",
    "closed": "the town was closed",
    "convoy_failed": "a convoy was given up",
    "convoy_waits": "a convoy cannot land, because a bead of it failed",
    "bead_failed": "a bead was given up",
    "conflict": "it conflicts with its target",
    "failed": "its process failed",
    "gone": "its host does not know it any more",
    "inactive": "it has reported no work for too long",
    "host_destroyed": "the instance of an agent was destroyed: remove the agent, and add another",
    "landing_exhausted": "its branch could not be merged",
    "no_answer": "gates or forge have given no answer for long",
    "no_forge": "this plane has no forge for towns",
    "no_host": "this plane has nowhere to run the agents of towns",
    "no_result": "its agent ended without a result",
    "not_heard": "its agent was started and never heard",
    "sent_back": "it was sent back too often",
    "silent": "its agent sends no heartbeat any more",
    "stalled": "nobody looked at its agent after that was stopped",
}
"""What a code means. A code that is not here is said as it is, with spaces."""

STAGES: Final = {
    "queued": "waits for its review",
    "reviewing": "is being reviewed",
    "approved": "is approved, and waits for its gates",
    "gating": "runs through the gates of its rig",
    "green": "has green gates, and waits to land",
    "landing": "is landing",
    "red": "was sent back, and waits for work on its branch",
    "polling": "is a pull request that is watched",
}
"""What a merge request does, by its stage."""

STAGE_ORDER: Final = tuple(reversed(("queued", "red", "reviewing", "polling", "approved", "gating",
                                     "green", "landing")))  # fmt: skip
"""Stages, those nearest to the end first."""

FIXES: Final = {
    "beads.held": "Let it go, and it is handed out.",
    "beads.staged": "Start its convoy.",
    "beads.blocked_by_failed": "Sling the failed work anew, or waive it as a blocker.",
    "convoys.land": "Look at its beads that failed; cancelling the convoy ends it.",
    "breaker": "Look at the attempts that failed; it tries again by itself.",
    "budget": "Raise the money of a day in the town's settings, or wait for tomorrow.",
    "rig": "Add the rig again, or cancel the bead.",
    "cap": "It starts when an agent is free; the caps are in the town's settings.",
}
"""What a person can do about a bead that waits, by the rule or the reason that holds it."""


def code_words(code: str) -> str:
    """Return what a code means."""
    return CODES.get(code, code.replace("_", " "))


def cut(text: str) -> str:
    """Return a sentence that fits a field of the API."""
    return text if len(text) <= REASON_MAX else text[: REASON_MAX - 1] + "\N{HORIZONTAL ELLIPSIS}"


def moment(at_ms: int) -> str | None:
    """Return a time for the API; None for never."""
    return time_text(at_ms) if at_ms else None


def money(microdollars: int) -> str:
    """Return an amount of money."""
    return f"${microdollars / 1_000_000:,.2f}"


def agent_name(agent: Agent) -> str:
    """Return what people call an agent."""
    return agent.name or agent.id


def times_words(number: int) -> str:
    """Return how often something happened."""
    return {1: "once", 2: "twice"}.get(number, f"{number} times")


def count_words(number: int, noun: str) -> str:
    """Return a number with its noun."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def stage_words(review: Review) -> str:
    """Return what a merge request does."""
    said = STAGES[review.stage]
    if review.stage == "red" and review.why:
        return f"{said}: {code_words(review.why)}"
    if review.stage == "queued" and review.reworks:
        return "waits for its review, after work on its branch"
    if review.merging:
        return "is being merged by its forge"
    return said


def convoy_words(convoy: Convoy) -> str:
    """Return how far a convoy is."""
    if convoy.landed_ms:
        return f"It landed with {count_words(convoy.closed, 'bead')}."
    if convoy.staged:
        return f"It has {count_words(convoy.total, 'bead')}, and has not been started."
    failed = f", {convoy.failed} failed" if convoy.failed else ""
    return f"{convoy.closed} of {count_words(convoy.total, 'bead')} are done{failed}."


def ended_words(bead: Bead) -> str:
    """Return how a bead ended."""
    if bead.status == "failed":
        return f"It failed: {code_words(bead.failure)}." if bead.failure else "It failed."
    if bead.review is not None:
        at = f" as {bead.review.merge_commit[:12]}" if bead.review.merge_commit else ""
        return f"It is in {bead.review.target}{at}."
    if bead.escalation is not None:
        return "Somebody took it on."
    return "It was cancelled." if bead.failure == "cancelled" else "It is done."


def agent_does(agent: Agent, bead: Bead | None) -> tuple[str, str]:
    """Return what an agent does in words, and how much that hurts."""
    at = "" if bead is None else {"merge_request": "reviews it", "message": "reads it"}.get(
        bead.type, "works on it"
    )  # fmt: skip
    if agent.away:
        return f"is away: {away_words(agent)}", "warn"
    if agent.release:
        because = "" if agent.role == "mayor" else ": its bead ended without it"
        return f"is being stopped{because}", "info"
    if agent.status == "stalled":
        return "was stopped, and waits for somebody to look", "bad"
    if agent.contact == "silent":
        return "sends no heartbeat any more", "bad"
    if agent.inactive and (agent.role != "mayor" or agent.handled):
        what = "tools run" if agent.tools else "no work reported"
        return f"{at or 'works'}, but {what} for long", "warn"
    if agent.status == "waiting":
        return "waits for its person", "info"
    if agent.role == "mayor" and agent.contact == "heard":
        return "looks after what waits for it", "info"
    if agent.status == "working" and not agent.attempt:
        return "works without a bead", "bad"
    if agent.status == "working":
        return (at if agent.contact == "heard" else "was asked to start, not heard yet"), "info"
    return ("holds a bead and does not work" if agent.hook else "rests"), "info"


def reason_fix(rule: str, because: str) -> str:
    """Return what a person can do about a bead that a rule holds back, or nothing."""
    if rule in FIXES and "failed" in FIXES[rule] + because:
        return FIXES[rule]
    for word, key in (("attempts failed", "breaker"), ("tries whether", "breaker"),
                      ("money", "budget"), ("rig is gone", "rig"), ("as it may", "cap"),
                      ("work as may", "cap")):  # fmt: skip
        if word in because:
            return FIXES[key]
    return FIXES.get(rule, "") if rule != "convoys.land" else ""
