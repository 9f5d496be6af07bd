"""The fold of attempts: an agent is started on a bead, reports, finishes, fails or is lost.

What an agent reports counts only for the attempt that it names, and is looked up by it: an agent
that was thought dead and finishes all the same changes nothing, because its bead was handed on.
"""

from __future__ import annotations

from typing import Any

from msgspec.structs import replace

from holdfast.actors.definition import Applied, At, Ignored, Refused, Verdict
from holdfast.kernel.ids import derive
from holdfast.towns import events, intents
from holdfast.towns.draft import Draft
from holdfast.towns.limits import AGENT_KEPT_MS, KEPT_ROUND_MS, RECENT_MAX
from holdfast.towns.state import FIXES, Agent, Bead, Review, State

LATE = Ignored("it is of an attempt that is over")
PR_PREFIX = "https://"


def idle(d: Draft, agent: Agent) -> Agent:
    """Take an agent from its bead: it may be handed another one."""
    kept_ms = -(-(d.now_ms + AGENT_KEPT_MS) // KEPT_ROUND_MS) * KEPT_ROUND_MS
    return d.put(
        replace(
            agent,
            status="idle",
            hook="",
            attempt="",
            contact="unheard",
            inactive=0,
            handled=0,
            tools=False,
            release=False,
            since_ms=d.now_ms,
            due_ms=0 if agent.role == "mayor" else kept_ms,
            span_ms=0,
        )
    )


def give_back(d: Draft, bead: Bead, code: str, *, wait_ms: int, **changes: Any) -> Bead:
    """Return a bead whose attempt ended without a result to where it can be handed out."""
    due_ms = d.now_ms + wait_ms if wait_ms else 0
    if bead.review is not None:
        changes["review"] = replace(bead.review, stage="queued")
    return d.move(
        bead,
        "open",
        assignee="",
        attempt="",
        failure=code,
        due_ms=due_ms,
        span_ms=wait_ms,
        **changes,
    )


def count_end(d: Draft, *, ok: bool) -> None:
    """Count an attempt that ended, for the town's breaker."""
    breaker = d.town.breaker
    ends = (*breaker.ends, d.now_ms if ok else -d.now_ms)[-RECENT_MAX:]
    trips = 0 if ok and breaker.state == "closed" else breaker.trips
    d.set_town(breaker=replace(breaker, ends=ends, trips=trips))


def _bead_of(d: Draft, attempt: str) -> Bead | None:
    """Return the bead on which an attempt is under way."""
    ids = d.at("attempt", attempt) if attempt else []
    return d.bead(ids[0]) if ids else None


def _agent_on(d: Draft, agent: str, attempt: str) -> Agent | None:
    """Return an agent if this is its present attempt."""
    known = d.agent(agent)
    return known if known is not None and known.attempt == attempt and attempt else None


def _fail(d: Draft, agent: Agent | None, bead: Bead | None, code: str, *, charged: bool) -> None:
    """Give a bead back and free its agent; what is not charged waits as a refused start does."""
    if bead is not None and charged:
        give_back(d, bead, code, wait_ms=bead.cooldown_ms, charged=bead.charged + 1)
    elif bead is not None:
        give_back(d, bead, code, wait_ms=bead.refused_ms, refused=bead.refused + 1)
    if agent is not None:
        idle(d, agent)
    count_end(d, ok=False)


# ------------------------------------------------------------------------------------- starting


def dispatched(state: State, e: intents.Dispatched, at: At) -> Verdict[State]:
    """Put an agent to work on a bead."""
    d = Draft(state, at.now_ms)
    bead, agent = d.bead(e.bead), d.agent(e.agent)
    if bead is None or agent is None or bead.status != "open":
        return Refused("not_open", f"bead {e.bead} or agent {e.agent} cannot be dispatched")
    if bead.held or bead.staged or bead.blockers:
        return Refused("not_ready", f"bead {e.bead} is held back, or waits for others")
    changes: dict[str, Any] = {}
    if bead.review is not None:
        changes["review"] = replace(bead.review, stage="reviewing")
    d.move(
        bead,
        "in_progress",
        assignee=agent.id,
        attempt=e.attempt,
        attempts=bead.attempts + 1,
        cooldown_ms=e.cooldown_ms,
        refused_ms=e.refused_ms,
        due_ms=0,
        span_ms=e.stale_ms,
        **changes,
    )
    d.put(
        replace(
            agent,
            status="working",
            hook=bead.id,
            attempt=e.attempt,
            epoch=agent.epoch + 1,
            contact="unheard",
            drain=d.town.drain_nonce,
            dispatched_ms=d.now_ms,
            since_ms=d.now_ms,
            cost=0,
            due_ms=d.now_ms + e.unheard_ms,
            span_ms=e.unheard_ms,
        )
    )
    if e.probe:
        d.set_town(breaker=replace(d.town.breaker, probe=e.attempt))
    return d.close()


def started(state: State, e: events.AgentStarted, at: At) -> Verdict[State]:
    """Note that starting works: beads whose starts were refused need not wait any longer."""
    d = Draft(state, at.now_ms)
    if _agent_on(d, e.agent, e.attempt) is None:
        return LATE
    waiting = d.at("refusing")
    if not waiting:
        return Ignored("it is expected to be heard")
    for one in waiting:
        bead = d.bead(one)
        if bead is not None:
            d.edit(bead, due_ms=0, span_ms=0)
    return d.close()


def start_refused(state: State, e: events.StartRefused, at: At) -> Verdict[State]:
    """Give a bead back whose attempt did not start: at once, and not after a silence."""
    d = Draft(state, at.now_ms)
    agent, bead = _agent_on(d, e.agent, e.attempt), _bead_of(d, e.attempt)
    if agent is None and bead is None:
        return LATE
    if bead is not None and not e.charged:  # what never started was no attempt at the bead
        bead = d.edit(bead, attempts=bead.attempts - 1)
    _fail(d, agent, bead, e.code, charged=e.charged)
    return d.close()


def start_doubted(state: State, e: events.StartDoubted, at: At) -> Verdict[State]:
    """Wait: an attempt that started is heard, and one that is not heard is given up."""
    d = Draft(state, at.now_ms)
    if _agent_on(d, e.agent, e.attempt) is None:
        return LATE
    return Ignored(f"whether it started is not known ({e.code}); it is heard or given up")


# -------------------------------------------------------------------------------------- reports


def heard(state: State, e: events.AgentHeard, at: At) -> Verdict[State]:
    """Note a sign of life."""
    d = Draft(state, at.now_ms)
    agent = d.agent(e.agent)
    if agent is None or agent.attempt != e.attempt:
        return LATE
    if agent.role == "mayor" and agent.status == "idle":
        d.put(replace(agent, status="working", contact="heard", since_ms=d.now_ms))
        return d.close()
    if agent.status not in {"working", "stalled"}:
        return LATE
    if agent.contact == "heard" and not agent.inactive:
        return Ignored("it is heard already")
    due = {} if agent.status == "stalled" else {"due_ms": 0, "span_ms": 0}
    d.put(replace(agent, contact="heard", inactive=0, handled=0, tools=False, **due))
    breaker = d.town.breaker
    if breaker.state == "half_open" and breaker.probe == e.attempt:
        count_end(d, ok=True)
    return d.close()


def silent(state: State, e: events.AgentSilent, at: At) -> Verdict[State]:
    """Note that heartbeats stopped."""
    d = Draft(state, at.now_ms)
    agent = _agent_on(d, e.agent, e.attempt)
    if agent is None or agent.contact == "silent":
        return LATE
    d.put(replace(agent, contact="silent"))
    return d.close()


def inactive(state: State, e: events.AgentInactive, at: At) -> Verdict[State]:
    """Note that an agent lives without work to report."""
    d = Draft(state, at.now_ms)
    agent = _agent_on(d, e.agent, e.attempt)
    if agent is None or agent.inactive >= e.level:
        return LATE
    d.put(replace(agent, inactive=e.level, tools=e.tools))
    return d.close()


def cost_reported(state: State, e: events.CostReported, at: At) -> Verdict[State]:
    """Add what an attempt cost to its bead's, and to the day's."""
    d = Draft(state, at.now_ms)
    agent = _agent_on(d, e.agent, e.attempt)
    if agent is None or e.microdollars <= agent.cost:
        return LATE
    more = e.microdollars - agent.cost
    d.put(replace(agent, cost=e.microdollars))
    bead = d.bead(agent.hook)
    if bead is not None:
        d.edit(bead, cost=bead.cost + more)
    day = d.now_ms // 86_400_000
    spent = d.town.spent if d.town.spent_day == day else 0
    d.set_town(spent_day=day, spent=spent + more)
    return d.close()


def mayor_waits(state: State, e: events.MayorWaits, at: At) -> Verdict[State]:
    """Move the mayor between working and waiting."""
    d = Draft(state, at.now_ms)
    agent = d.agent(e.agent)
    if agent is None or agent.role != "mayor":
        return Refused("not_the_mayor", "only the mayor of a town waits for its person")
    wanted = ("working", "waiting") if e.waits else ("waiting", "working")
    if agent.status != wanted[0]:
        return Ignored(f"the mayor is {agent.status}")
    d.put(replace(agent, status="waiting" if e.waits else "working", since_ms=d.now_ms))
    return d.close()


def done(state: State, e: events.AgentDone, at: At) -> Verdict[State]:
    """Take what an attempt made: work goes to review, a review goes on to the gates."""
    d = Draft(state, at.now_ms)
    bead = _bead_of(d, e.attempt)
    if bead is None:
        return LATE
    if bead.assignee != e.agent:
        return Refused("other_agent", f"bead {bead.id} is {bead.assignee}'s, not {e.agent}'s")
    if e.pr_url and not e.pr_url.startswith(PR_PREFIX):
        return Refused("bad_pr_url", "pr_url: it must begin with https://")
    if bead.review is not None:
        _reviewed(d, bead, bead.review, e)
    elif bead.purpose in FIXES:
        _fixed(d, bead, e)
    elif not e.branch:
        return Refused("no_branch", "branch: name the branch that holds the work")
    else:
        _to_review(d, bead, e, at)
    agent = _agent_on(d, e.agent, e.attempt)
    if agent is not None:
        idle(d, agent)
    count_end(d, ok=True)
    return d.close()


def _to_review(d: Draft, bead: Bead, e: events.AgentDone, at: At) -> None:
    convoy = d.bead(bead.convoy) if bead.convoy else None
    work = convoy.convoy_of if convoy is not None else None
    rig = d.rig(bead.rig)
    target = "main" if rig is None else rig.branch
    if work is not None and work.mode == "review-then-land":
        target = work.branch
    d.put(
        Bead(
            id=f"mr-{derive(d.town.id, at.event)[:16]}",
            type="merge_request",
            rig=bead.rig,
            priority=bead.priority,
            content=bead.content,
            convoy=bead.convoy,
            source=bead.id,
            created_ms=d.now_ms,
            updated_ms=d.now_ms,
            review=Review(branch=e.branch, target=target, author=e.agent, commit=e.commit),
        )
    )
    d.move(bead, "in_review", assignee="", attempt="", refused=0, due_ms=0, span_ms=0, failure="")


def _fixed(d: Draft, bead: Bead, e: events.AgentDone) -> None:
    """Close work on a merge request, whose branch it changed."""
    request = d.bead(bead.source)
    if request is not None and request.review is not None and not request.ended_ms:
        known = request.review
        commit = e.commit or known.commit
        review = replace(known, commit=commit, why="", pr=None, looks=known.looks + 1)
        d.edit(request, review=review)
    d.move(bead, "closed")


def _reviewed(d: Draft, bead: Bead, review: Review, e: events.AgentDone) -> None:
    if e.pr_url:
        new = replace(review, stage="polling", pr_url=e.pr_url, commit=e.commit or review.commit)
    elif d.town.config.merge_strategy == "direct":
        new = replace(review, stage="approved", commit=e.commit or review.commit, calls=0)
    else:
        new = replace(review, stage="red", why="no_pull_request")
    d.edit(bead, review=new, assignee="", attempt="", due_ms=0, span_ms=0, refused=0, failure="")


def changes_requested(state: State, e: events.ChangesRequested, at: At) -> Verdict[State]:
    """Send a merge request back, as its reviewer asks."""
    d = Draft(state, at.now_ms)
    bead = _bead_of(d, e.attempt)
    if bead is None:
        return LATE
    if bead.review is None or bead.assignee != e.agent:
        return Refused("not_a_review", "only the reviewer of a merge request sends it back")
    review = replace(bead.review, stage="red", why="changes", content=e.content)
    d.edit(bead, review=review, assignee="", attempt="", due_ms=0, span_ms=0)
    agent = _agent_on(d, e.agent, e.attempt)
    if agent is not None:
        idle(d, agent)
    count_end(d, ok=True)
    return d.close()


def exited(state: State, e: events.AgentExited, at: At) -> Verdict[State]:
    """Take in that a process ended.

    One that completed may have said that it is done in an event that comes later, so its bead waits
    for that for a while.
    """
    d = Draft(state, at.now_ms)
    agent, bead = _agent_on(d, e.agent, e.attempt), _bead_of(d, e.attempt)
    if agent is None and bead is None:
        return LATE
    if e.status == "evicted":
        if bead is not None:
            give_back(d, bead, "evicted", wait_ms=0)
        if agent is not None:
            idle(d, agent)
    elif e.status == "completed":
        if bead is not None:
            d.edit(bead, due_ms=d.now_ms + bead.span_ms)
        if agent is not None:
            idle(d, agent)
    else:
        _fail(d, agent, bead, e.code or e.status, charged=e.status == "failed")
    return d.close()


# -------------------------------------------------------------------------------------- intents


def attempt_failed(state: State, e: intents.AttemptFailed, at: At) -> Verdict[State]:
    """Give an attempt up."""
    d = Draft(state, at.now_ms)
    agent, bead = _agent_on(d, e.agent, e.attempt), _bead_of(d, e.attempt)
    if agent is None and bead is None:
        return LATE
    _fail(d, agent, bead, e.code, charged=e.charged)
    return d.close()


def released(state: State, e: intents.AgentReleased, at: At) -> Verdict[State]:
    """Take an agent from a bead that ended, or from work without one."""
    d = Draft(state, at.now_ms)
    agent = d.agent(e.agent)
    if agent is None:
        return LATE
    bead = _bead_of(d, agent.attempt)
    if bead is not None:
        give_back(d, bead, "released", wait_ms=0)
    idle(d, agent)
    if e.repair:
        d.set_town(repairs=(*d.town.repairs, d.now_ms)[-RECENT_MAX:])
    return d.close()


def stalled(state: State, e: intents.AgentStalled, at: At) -> Verdict[State]:
    """Set a stopped agent aside until somebody looked, or for a while."""
    d = Draft(state, at.now_ms)
    agent = d.agent(e.agent)
    if agent is None:
        return LATE
    due_ms = d.now_ms + e.release_ms
    d.put(replace(agent, status="stalled", due_ms=due_ms, span_ms=e.release_ms, handled=3))
    return d.close()


def inactivity_handled(
    state: State, e: intents.InactivityHandled, at: At
) -> Applied[State] | Ignored:
    """Note that the rules answered a level of inactivity."""
    d = Draft(state, at.now_ms)
    agent = d.agent(e.agent)
    if agent is None:
        return LATE
    times = {"nudged_ms": d.now_ms} if e.level == 1 else {"escalated_ms": d.now_ms}
    d.put(replace(agent, handled=e.level, **times))
    return d.close()
