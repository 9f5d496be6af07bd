"""The fold of attempts: an agent is started on a bead, reports, finishes, fails or is lost.

What an agent reports counts only for the attempt that it names, and is looked up by it: an agent
that was thought dead and finishes all the same changes nothing, because its bead was handed on.
"""

from __future__ import annotations

from typing import Any

from msgspec.structs import replace

from holdfast.actors.definition import At, Declined, Ignored, Refused
from holdfast.kernel.clock import DAY_MS
from holdfast.kernel.ids import derive
from holdfast.towns import events, intents
from holdfast.towns.draft import Draft
from holdfast.towns.limits import AGENT_KEPT_MS, RECENT_MAX, kept_until
from holdfast.towns.state import (
    FIXES,
    TERMINAL,
    Agent,
    Bead,
    Review,
    is_awaited,
    is_closed,
    spent_today,
)

LATE = Ignored("it is of an attempt that is over")
PR_PREFIX = "https://"


def idle(d: Draft, agent: Agent) -> Agent:
    """Take an agent from its bead: it may be handed another one."""
    waits = _tried_again(d, agent) if agent.role == "mayor" else {}
    new = d.put(
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
            looks=False,
            **(waits or {"due_ms": kept_until(d.now_ms, AGENT_KEPT_MS), "span_ms": 0}),
        )
    )
    if agent.leaves:
        d.drop_agent(new)
    return new


def _tried_again(d: Draft, mayor: Agent) -> dict[str, int]:
    """Return how long a mayor waits: for what its attempt leaves undone, longer each time."""
    if not mayor.attempt or is_closed(d) or not is_awaited(d, mayor.id):
        return {"tries": 0, "due_ms": 0, "span_ms": 0}
    due_ms = d.now_ms + mayor.again_ms
    return {"tries": mayor.tries + 1, "due_ms": due_ms, "span_ms": mayor.again_ms}


def _rest(d: Draft, mayor: Agent, *, is_well: bool) -> None:
    """End the run of a mayor; what waited as one began that ended well has been looked at."""
    if is_well and mayor.looks:
        mayor = d.put(replace(mayor, looked_ms=mayor.dispatched_ms))
    idle(d, mayor)


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
    if ok and breaker.state == "closed":
        breaker = replace(breaker, trips=0, closing_told=False)
    d.set_town(breaker=replace(breaker, ends=ends))


def _bead_of(d: Draft, attempt: str) -> Bead | None:
    """Return the bead on which an attempt is under way."""
    return d.bead(d.first("attempt", attempt)) if attempt else None


def _agent_on(d: Draft, agent: str, attempt: str) -> Agent | None:
    """Return an agent if this is its present attempt."""
    known = d.agent(agent)
    return known if known is not None and known.attempt == attempt and attempt else None


def _mayor_on(d: Draft, agent: str, attempt: str) -> Agent | None:
    """Return an agent if it is a mayor that runs, and this its attempt.

    One that was started by others has no attempts.
    """
    known = d.agent(agent)
    is_one = known is not None and known.role == "mayor" and known.status != "idle"
    return known if is_one and known is not None and known.attempt == attempt else None


def _fail(d: Draft, agent: Agent | None, bead: Bead | None, code: str, *, charged: bool) -> None:
    """Give a bead back and free its agent; what is not charged waits as a refused start does."""
    if bead is not None and charged:
        give_back(d, bead, code, wait_ms=bead.cooldown_ms, charged=bead.charged + 1)
    elif bead is not None:
        give_back(d, bead, code, wait_ms=bead.refused_ms, refused=bead.refused + 1)
    if agent is not None:
        idle(d, agent)
    if agent is None or agent.role != "mayor":
        count_end(d, ok=False)


# ------------------------------------------------------------------------------------- starting


def dispatched(d: Draft, e: intents.Dispatched, _at: At) -> Declined:
    """Put an agent to work on a bead."""
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
            cost=0,
            due_ms=d.now_ms + e.unheard_ms,
            span_ms=e.unheard_ms,
        )
    )
    if e.probe:
        d.set_town(breaker=replace(d.town.breaker, probe=e.attempt))
    return None


def mayor_started(d: Draft, e: intents.MayorStarted, _at: At) -> Declined:
    """Put the mayor to work."""
    agent = d.agent(e.agent)
    if agent is None or agent.role != "mayor" or agent.status != "idle":
        return Refused("not_idle", f"agent {e.agent} cannot be started")
    d.put(
        replace(
            agent,
            status="working",
            attempt=e.attempt,
            epoch=agent.epoch + 1,
            contact="unheard",
            dispatched_ms=d.now_ms,
            cost=0,
            again_ms=e.again_ms,
            looks=e.looks,
            due_ms=d.now_ms + e.unheard_ms,
            span_ms=e.unheard_ms,
        )
    )
    return None


def mayor_idles(d: Draft, e: intents.MayorIdles, _at: At) -> Declined:
    """Set when a mayor rests, unless something waits for it until then."""
    agent = d.agent(e.agent)
    if agent is None or not agent.attempt:
        return LATE
    due_ms = d.now_ms + e.after_ms if e.after_ms else 0
    d.put(replace(agent, due_ms=due_ms, span_ms=e.after_ms, handled=0))
    return None


def started(d: Draft, e: events.AgentStarted, _at: At) -> Declined:
    """Note that starting works: beads whose starts were refused need not wait any longer."""
    if _agent_on(d, e.agent, e.attempt) is None:
        return LATE
    waiting = d.at("refusing")
    if not waiting:
        return Ignored("it is expected to be heard")
    for one in waiting:
        bead = d.bead(one)
        if bead is not None:
            d.edit(bead, due_ms=0, span_ms=0)
    return None


def start_refused(d: Draft, e: events.StartRefused, _at: At) -> Declined:
    """Give a bead back whose attempt did not start: at once, and not after a silence."""
    agent, bead = _agent_on(d, e.agent, e.attempt), _bead_of(d, e.attempt)
    if agent is None and bead is None:
        return LATE
    if bead is not None and not e.charged:  # what never started was no attempt at the bead
        bead = d.edit(bead, attempts=bead.attempts - 1)
    _fail(d, agent, bead, e.code, charged=e.charged)
    return None


def start_doubted(d: Draft, e: events.StartDoubted, _at: At) -> Declined:
    """Wait: an attempt that started is heard, and one that is not heard is given up."""
    if _agent_on(d, e.agent, e.attempt) is None:
        return LATE
    return Ignored(f"whether it started is not known ({e.code}); it is heard or given up")


# -------------------------------------------------------------------------------------- reports


def heard(d: Draft, e: events.AgentHeard, _at: At) -> Declined:
    """Note a sign of life."""
    agent = d.agent(e.agent)
    if agent is None or agent.attempt != e.attempt:
        return LATE
    if agent.role == "mayor" and agent.status == "idle":  # it was started by others
        d.put(replace(agent, status="working", contact="heard"))
        return None
    if agent.status not in {"working", "stalled", "waiting"}:
        return LATE
    if agent.contact == "heard" and not agent.inactive:
        return Ignored("it is heard already")
    changes = {} if agent.status == "stalled" else {"due_ms": 0, "span_ms": 0}
    if agent.role == "mayor" and agent.handled:  # it was poked, and has looked at what waits
        changes["looked_ms"] = agent.nudged_ms
    d.put(replace(agent, contact="heard", inactive=0, handled=0, tools=False, **changes))
    breaker = d.town.breaker
    if breaker.state == "half_open" and breaker.probe == e.attempt:
        count_end(d, ok=True)
    return None


def silent(d: Draft, e: events.AgentSilent, _at: At) -> Declined:
    """Note that heartbeats stopped; a mayor of others rests until it is heard again."""
    mayor = _mayor_on(d, e.agent, e.attempt)
    if mayor is not None and not mayor.attempt:
        idle(d, mayor)
        return None
    agent = _agent_on(d, e.agent, e.attempt)
    if agent is None or agent.contact == "silent":
        return LATE
    d.put(replace(agent, contact="silent"))
    return None


def inactive(d: Draft, e: events.AgentInactive, _at: At) -> Declined:
    """Note that an agent lives without work to report."""
    agent = _agent_on(d, e.agent, e.attempt)
    if agent is None or agent.inactive > e.level:
        return LATE
    if (agent.inactive, agent.tools) == (e.level, e.tools):
        return Ignored("it is known already")
    d.put(replace(agent, inactive=e.level, tools=e.tools))
    return None


def cost_reported(d: Draft, e: events.CostReported, _at: At) -> Declined:
    """Add what an attempt cost to its bead's, and to the day's."""
    agent = _agent_on(d, e.agent, e.attempt)
    if agent is None and not e.late:
        return LATE
    more = e.microdollars if e.id or agent is None else e.microdollars - agent.cost
    if more <= 0:
        return Ignored("it costs nothing more")
    if agent is not None:
        d.put(replace(agent, cost=agent.cost + more))
        bead = d.bead(agent.hook)
    else:
        bead = d.bead(e.bead)
        bead = None if bead is None or bead.status in TERMINAL else bead  # what ended has ended
    if bead is not None:
        d.edit(bead, cost=bead.cost + more)
    spent = spent_today(d.town, d.now_ms) + more
    d.set_town(spent_day=d.now_ms // DAY_MS, spent=spent)
    return None


def mayor_waits(d: Draft, e: events.MayorWaits, _at: At) -> Declined:
    """Move the mayor between working and waiting."""
    agent = d.agent(e.agent)
    if agent is None or agent.role != "mayor":
        return Refused("not_the_mayor", "only the mayor of a town waits for its person")
    if e.attempt and agent.attempt != e.attempt:
        return LATE
    wanted = ("working", "waiting") if e.waits else ("waiting", "working")
    if agent.status != wanted[0]:
        return Ignored(f"the mayor is {agent.status}")
    d.put(replace(agent, status="waiting" if e.waits else "working"))
    return None


def done(d: Draft, e: events.AgentDone, at: At) -> Declined:
    """Take what an attempt made: work goes to review, a review goes on to the gates."""
    bead = _bead_of(d, e.attempt)
    if bead is None:
        if (mayor := _mayor_on(d, e.agent, e.attempt)) is None:
            return LATE
        _rest(d, mayor, is_well=True)
        return None
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
    return None


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
            review=Review(branch=e.branch, target=target, commit=e.commit, pr_url=e.pr_url),
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
    known = replace(
        review, pr_url=e.pr_url or review.pr_url, commit=e.commit or review.commit, calls=0
    )
    if known.pr_url:
        new = replace(known, stage="polling")
    elif d.town.config.merge_strategy == "direct":
        new = replace(known, stage="approved")
    else:
        new = replace(known, stage="red", why="no_pull_request")
    d.edit(bead, review=new, assignee="", attempt="", due_ms=0, span_ms=0, refused=0, failure="")


def changes_requested(d: Draft, e: events.ChangesRequested, _at: At) -> Declined:
    """Send a merge request back, as its reviewer asks."""
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
    return None


def exited(d: Draft, e: events.AgentExited, _at: At) -> Declined:
    """Take in that a process ended.

    One that completed may have said that it is done in an event that comes later, so its bead waits
    for that for a while.
    """
    if (mayor := _mayor_on(d, e.agent, e.attempt)) is not None:
        _rest(d, mayor, is_well=e.status == "completed")
        return None
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
    return None


# -------------------------------------------------------------------------------------- intents


def attempt_failed(d: Draft, e: intents.AttemptFailed, _at: At) -> Declined:
    """Give an attempt up."""
    agent, bead = _agent_on(d, e.agent, e.attempt), _bead_of(d, e.attempt)
    if agent is None and bead is None:
        return LATE
    _fail(d, agent, bead, e.code, charged=e.charged)
    return None


def released(d: Draft, e: intents.AgentReleased, _at: At) -> Declined:
    """Take an agent from a bead that ended, or from work without one."""
    agent = d.agent(e.agent)
    if agent is None:
        return LATE
    bead = _bead_of(d, agent.attempt)
    if bead is not None:
        give_back(d, bead, "released", wait_ms=0)
    idle(d, agent)
    if e.repair:
        d.set_town(repairs=(*d.town.repairs, d.now_ms)[-RECENT_MAX:])
    return None


def stalled(d: Draft, e: intents.AgentStalled, _at: At) -> Declined:
    """Set a stopped agent aside until somebody looked, or for a while."""
    agent = d.agent(e.agent)
    if agent is None:
        return LATE
    due_ms = d.now_ms + e.release_ms
    d.put(replace(agent, status="stalled", due_ms=due_ms, span_ms=e.release_ms, handled=3))
    return None


def inactivity_handled(d: Draft, e: intents.InactivityHandled, _at: At) -> Declined:
    """Note that the rules answered a level of inactivity."""
    agent = d.agent(e.agent)
    if agent is None:
        return LATE
    times = {"nudged_ms": d.now_ms} if e.level == 1 else {"escalated_ms": d.now_ms}
    if e.again_ms:
        times |= {"due_ms": d.now_ms + e.again_ms, "span_ms": e.again_ms}
    d.put(replace(agent, handled=e.level, **times))
    return None
