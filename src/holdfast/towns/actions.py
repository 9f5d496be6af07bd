"""What a town can do: each action with what it expects to find, its intents and its effect.

`bead` and `agent` are what an action writes; a plan has at most one action for each of them.
"""

from __future__ import annotations

from typing import Any, TypeAlias

from msgspec import Struct

from holdfast.actors.definition import SELF, At, Letter, Work
from holdfast.kernel.ids import address, derive
from holdfast.letters.towns import INSTANCE, AgentsHosted
from holdfast.towns import events, intents, ports
from holdfast.towns import outgoing as out
from holdfast.towns.limits import (
    ENDED_EVERY_MS,
    GATES_VALID_MS,
    LAND_VALID_MS,
    START_VALID_MS,
)
from holdfast.towns.policy import Policy, cooldown_ms, doubled_ms
from holdfast.towns.state import (
    Bead,
    NewBead,
    Nudge,
    Purpose,
    Review,
    Role,
    Severity,
    Tables,
    rests,
)


class Expect(Struct, frozen=True, omit_defaults=True, gc=False):
    """What a rule saw of a bead (its version), of an agent, of the breaker and of the drain.

    The breaker is its state and the attempt that it lets through: two rules may both plan that one,
    and only the first is carried out.
    """

    bead: int = 0
    agent: tuple[str, str, int] = ("", "", 0)
    breaker: str = ""
    draining: bool = False


class _Action(Struct, frozen=True, kw_only=True, omit_defaults=True):
    rule: str
    reason: str
    expect: Expect
    entity: str = SELF
    bead: str = ""
    agent: str = ""


class Dispatch(_Action, frozen=True, kw_only=True):
    """Start an agent on a bead; `create` makes the agent. `probe` tries whether starting works."""

    role: Role
    rig: str
    create: bool = False
    probe: bool = False


class StartMayor(_Action, frozen=True, kw_only=True):
    """Start a mayor, with a clone of a rig to look into."""

    rig: str


class IdleMayor(_Action, frozen=True, kw_only=True):
    """Set when a mayor for which nothing waits is stopped; 0 when something waits again."""

    after_ms: int


class AskHosts(_Action, frozen=True, kw_only=True):
    """Write to instances on which agents work, or none does any more."""

    hosts: tuple[str, ...]


class TellAbsence(_Action, frozen=True, kw_only=True):
    """Ask for somebody because an agent's instance was destroyed."""


class HandOn(_Action, frozen=True, kw_only=True):
    """Stop an agent whose instance does not run, and hand its bead out again at once."""

    attempt: str


class Recover(_Action, frozen=True, kw_only=True):
    """Stop an agent, take it from its bead and hand the bead out again, as one step."""

    attempt: str
    code: str
    charged: bool = True


class Release(_Action, frozen=True, kw_only=True):
    """Stop an agent whose bead ended, or that works without one (`repair`)."""

    repair: bool = False


class Stall(_Action, frozen=True, kw_only=True):
    """Stop an agent that reports no work, and ask for somebody."""


class Poke(_Action, frozen=True, kw_only=True):
    """Nudge an agent, and ask for somebody at the second level; `again_ms` is a mayor's."""

    level: int
    again_ms: int = 0


class PushNudge(_Action, frozen=True, kw_only=True):
    """Send a nudge that waits."""

    nudge: str


class DeliverMail(_Action, frozen=True, kw_only=True):
    """Send a message that waits."""


class FailBead(_Action, frozen=True, kw_only=True):
    """Give a bead up, and ask for somebody."""

    code: str


class SkipReview(_Action, frozen=True, kw_only=True):
    """Let a merge request go on without a review."""


class FailReview(_Action, frozen=True, kw_only=True):
    """Give a merge request up."""

    code: str


class RunGates(_Action, frozen=True, kw_only=True):
    """Run the gates of a rig."""


class Land(_Action, frozen=True, kw_only=True):
    """Land a branch, or merge its pull request."""


class RepeatCall(_Action, frozen=True, kw_only=True):
    """Ask gates or forge again; `tell` says that they have not answered for long."""

    tell: bool = False


class SendBack(_Action, frozen=True, kw_only=True):
    """Make work that a merge request waits for."""

    purpose: Purpose


class CreateLanding(_Action, frozen=True, kw_only=True):
    """Have the branch of a convoy merged."""


class EndConvoy(_Action, frozen=True, kw_only=True):
    """Close a convoy that is done, or give it up by a code."""

    code: str = ""


class AskAboutConvoy(_Action, frozen=True, kw_only=True):
    """Ask for somebody because a bead of a convoy failed."""


class Bump(_Action, frozen=True, kw_only=True):
    """Make an escalation more severe, or set when that is looked at."""

    severity: Severity
    next_ms: int
    tell: bool = True


class OpenBreaker(_Action, frozen=True, kw_only=True):
    """Cut dispatching off; `tell` the first time."""

    until_ms: int
    tell: bool = False


class HalfOpenBreaker(_Action, frozen=True, kw_only=True):
    """Let one attempt through."""


class CloseBreaker(_Action, frozen=True, kw_only=True):
    """Go on dispatching; `tell` the first time."""

    tell: bool = False


class ChangeBudget(_Action, frozen=True, kw_only=True):
    """Note that the day's money is used up, or that there is some."""

    exhausted: bool


class EndDrain(_Action, frozen=True, kw_only=True):
    """Give up waiting for a host that does not come back."""


class Retire(_Action, frozen=True, kw_only=True):
    """Drop what ended long ago; there may be more, which goes after `again_ms`."""

    keys: tuple[str, ...]
    again_ms: int = 0


class EndBeads(_Action, frozen=True, kw_only=True):
    """End some of what is left in a town that was closed."""

    beads: tuple[str, ...]


class FreeBeads(_Action, frozen=True, kw_only=True):
    """Let some beads wait no longer for what failed."""

    beads: tuple[str, ...]


class Alert(_Action, frozen=True, kw_only=True):
    """Announce a violation."""

    number: int
    about: str


class AwaitViolation(_Action, frozen=True, kw_only=True):
    """Look at a violation again when it should have passed."""

    number: int
    about: str
    after_ms: int


Action: TypeAlias = (
    Dispatch | StartMayor | IdleMayor | AskHosts | TellAbsence | HandOn | Recover | Release | Stall
    | Poke | PushNudge | DeliverMail | FailBead | SkipReview | FailReview | RunGates | Land
    | RepeatCall | SendBack
    | CreateLanding | EndConvoy
    | AskAboutConvoy | Bump | OpenBreaker | HalfOpenBreaker | CloseBreaker | ChangeBudget
    | EndDrain | Retire | EndBeads | FreeBeads | Alert | AwaitViolation
)  # fmt: skip


def saw(state: Tables, bead: str = "", agent: str = "") -> Expect:
    """Return what a rule sees of a bead, an agent and the town."""
    work, worker = state.beads.get(bead), state.agents.get(agent)
    return Expect(
        bead=0 if work is None else work.version + 1,
        agent=("", "", 0) if worker is None else (worker.status, worker.hook, worker.epoch),
        breaker=f"{state.town.breaker.state} {state.town.breaker.probe}".rstrip(),
        draining=bool(state.town.drain_nonce),
    )


def found(state: Tables, action: Any) -> Expect:
    """Return what an action's expectation is compared with."""
    return saw(state, action.bead, action.agent)


def act(state: Tables, action: Action, policy: Policy, at: At) -> Work:
    """Return the intents of an action, its effects, and nothing else."""
    match action:
        case Dispatch():
            return _dispatch(state, action, policy, at)
        case StartMayor():
            return _start_mayor(state, action, policy, at)
        case IdleMayor(agent=agent, after_ms=after_ms):
            return Work(intents=(intents.MayorIdles(agent, after_ms),))
        case AskHosts(hosts=hosts):
            return _ask_hosts(state, hosts, policy)
        case TellAbsence(agent=agent):
            told = Work(intents=(intents.AbsenceTold(agent),))
            return out.both(told, out.asked(state, "host_destroyed", f"a/{agent}", at, "high"))
        case HandOn(agent=agent, attempt=attempt):
            gone = events.AgentExited(agent=agent, attempt=attempt, status="evicted", code="away")
            return Work(intents=(gone,), effects=(out.stop(state.agents[agent], at),))
        case Recover() | Release() | Stall() | Poke() | PushNudge() | DeliverMail():
            return _about_agent(state, action, policy, at)
        case SkipReview() | FailReview() | RunGates() | Land() | RepeatCall() | SendBack():
            return _about_review(state, action, policy, at)
        case CreateLanding() | EndConvoy() | AskAboutConvoy() | FailBead() | Bump():
            return _about_work(state, action, policy, at)
        case _:
            return _about_town(state, action, at)


# ------------------------------------------------------------------------------------- dispatch


def _dispatch(state: Tables, action: Dispatch, policy: Policy, at: At) -> Work:
    bead, agent = state.beads[action.bead], state.agents.get(action.agent)
    attempt = str(at.event)
    made: tuple[events.Event, ...] = ()
    if action.create:
        name = f"{action.role.capitalize()}-{len(state.agents) + 1}"
        made = (events.AgentAdded(agent=action.agent, role=action.role, rig=action.rig, name=name),)
    intent = intents.Dispatched(
        bead=bead.id,
        agent=action.agent,
        attempt=attempt,
        unheard_ms=policy.unheard_ms,
        stale_ms=policy.stale_ms,
        cooldown_ms=cooldown_ms(policy, bead.charged),
        refused_ms=doubled_ms(policy.refused_first_ms, policy.refused_cap_ms, bead.refused),
        probe=action.probe,
    )
    branch, target = out.branches(state, bead)
    epoch = 1 if agent is None else agent.epoch + 1
    body = ports.StartCall(
        agent=action.agent,
        attempt=attempt,
        role=action.role,
        rig=action.rig,
        bead=bead.id,
        content=bead.content,
        branch=branch,
        target=target,
        host="" if agent is None else agent.host,
        epoch=epoch,
    )
    effect = out.effect(
        out.HOSTS, out.agent_lane(action.agent), body, at.now_ms + START_VALID_MS, epoch
    )
    return Work(intents=(*made, intent), effects=(effect,))


def _start_mayor(state: Tables, action: StartMayor, policy: Policy, at: At) -> Work:
    agent, attempt = state.agents[action.agent], str(at.event)
    intent = intents.MayorStarted(
        agent=agent.id,
        attempt=attempt,
        unheard_ms=policy.unheard_ms,
        again_ms=doubled_ms(policy.mayor_first_ms, policy.mayor_cap_ms, agent.tries),
        looks=policy.mayor_looks_once,
    )
    epoch = agent.epoch + 1
    body = ports.StartCall(
        agent=agent.id,
        attempt=attempt,
        role="mayor",
        rig=action.rig,
        bead="",
        branch=f"mayor/{epoch}",
        target=state.rigs[action.rig].branch,
        host=agent.host,
        epoch=epoch,
    )
    lane = out.agent_lane(agent.id)
    effect = out.effect(out.HOSTS, lane, body, at.now_ms + START_VALID_MS, epoch)
    return Work(intents=(intent,), effects=(effect,))


def _ask_hosts(state: Tables, hosts: tuple[str, ...], policy: Policy) -> Work:
    known = state.town.hosts
    changed = sorted({*hosts}.symmetric_difference(known))
    account, destroyed = state.town.account, policy.destroyed_told
    letters = (
        Letter(
            to=address(INSTANCE, one),
            body=AgentsHosted(account=account, hosted=one in hosts, destroyed=destroyed),
        )
        for one in changed
    )
    return Work(intents=(intents.HostsAsked(hosts),), letters=tuple(letters))


# --------------------------------------------------------------------------------------- agents


def _about_agent(state: Tables, action: Any, policy: Policy, at: At) -> Work:
    agent = state.agents.get(action.agent)
    match action:
        case Recover(attempt=attempt, bead=bead, code=code, charged=charged):
            lost = intents.AttemptFailed(
                agent=action.agent, attempt=attempt, bead=bead, code=code, charged=charged
            )
            effects = () if agent is None or agent.attempt != attempt else (out.stop(agent, at),)
            return Work(intents=(lost,), effects=effects)
        case DeliverMail(bead=message):
            assert agent is not None
            return out.mail(state.beads[message], agent, policy, at)
        case PushNudge(nudge=one):
            assert agent is not None
            return out.nudge(agent, state.nudges[one], policy, at)
        case _:
            pass
    assert agent is not None
    match action:
        case Release(repair=repair):
            freed = intents.AgentReleased(agent.id, repair)
            return Work(intents=(freed,), effects=(out.stop(agent, at),))
        case Stall():
            stalled = intents.AgentStalled(agent=agent.id, release_ms=policy.stalled_ms)
            work = Work(intents=(stalled,), effects=(out.stop(agent, at),))
            return out.both(work, out.asked(state, "stuck_agent", f"a/{agent.id}", at, "high"))
        case Poke(level=level, again_ms=again_ms):
            handled = Work(intents=(intents.InactivityHandled(agent.id, level, again_ms),))
            one = f"nudge-{derive(at.event)[:16]}"
            fresh = Nudge(id=one, agent=agent.id, level=level, attempt=agent.attempt)
            work = out.both(handled, out.nudge(agent, fresh, policy, at))
            if level == 1:
                return work
            return out.both(work, out.asked(state, "stuck_agent", f"a/{agent.id}", at, "medium"))
        case other:
            raise TypeError(f"{type(other).__name__} is not about an agent")


# -------------------------------------------------------------------------------------- reviews


def _about_review(state: Tables, action: Any, policy: Policy, at: At) -> Work:
    bead = state.beads[action.bead]
    review = bead.review
    assert review is not None
    match action:
        case SkipReview():
            return Work(intents=(intents.ReviewSkipped(bead.id),))
        case FailReview(code=code):
            return Work(intents=(intents.ReviewFailed(bead.id, code),))
        case RepeatCall(tell=tell):
            again = Work(intents=(intents.CallRepeated(bead.id),))
            return (
                out.both(again, out.asked(state, "no_answer", f"b/{bead.id}", at, "high"))
                if (tell)
                else again
            )
        case SendBack(purpose=purpose):
            new = NewBead(
                id=f"fix-{derive(at.event)[:16]}",
                rig=bead.rig,
                content=review.content or bead.content,
                priority=max(bead.priority - 1, 0),
                purpose=purpose,
            )
            return Work(intents=(intents.SentBack(mr=bead.id, bead=new),))
        case RunGates():
            return _gates(state, bead, review, policy, at)
        case _:
            return _land(bead, review, policy, at)


def _again_ms(review: Review, policy: Policy) -> int:
    return doubled_ms(policy.call_again_ms, policy.call_cap_ms, review.calls)


def _gates(state: Tables, bead: Bead, review: Review, policy: Policy, at: At) -> Work:
    call, again_ms = review.call + 1, _again_ms(review, policy)
    asked = intents.GatesAsked(bead.id, call, policy.gates_ms, again_ms)
    body = ports.GatesCall(
        mr=bead.id,
        call=call,
        rig=bead.rig,
        branch=review.branch,
        target=review.target,
        commit=review.commit,
        gates=state.rigs[bead.rig].gates,
    )
    effect = out.effect(out.GATES, f"gates/{bead.id}", body, at.now_ms + GATES_VALID_MS, call)
    return Work(intents=(asked,), effects=(effect,))


def sides(bead: Bead, review: Review) -> tuple[str, str]:
    """Return the branch and target that a pull request must have; empty for one that was adopted.

    A person answers for what was adopted; an agent could name a pull request of anybody else's.
    """
    return (review.branch, review.target) if bead.source else ("", "")


def _land(bead: Bead, review: Review, policy: Policy, at: At) -> Work:
    call, again_ms = review.call + 1, _again_ms(review, policy)
    asked = intents.LandAsked(bead.id, call, policy.land_ms, again_ms)
    body: ports.Body
    if review.stage == "polling":
        branch, target = sides(bead, review)
        body = ports.MergeCall(
            mr=bead.id, call=call, rig=bead.rig, pr_url=review.pr_url, branch=branch, target=target
        )
    else:
        body = ports.LandCall(
            mr=bead.id,
            call=call,
            rig=bead.rig,
            branch=review.branch,
            target=review.target,
            commit=review.commit,
        )
    effect = out.effect(out.FORGES, f"rig/{bead.rig}", body, at.now_ms + LAND_VALID_MS, call)
    return Work(intents=(asked,), effects=(effect,))


# ----------------------------------------------------------------------------- beads and convoys


def _about_work(state: Tables, action: Any, policy: Policy, at: At) -> Work:
    bead = state.beads[action.bead]
    key = f"b/{bead.id}"
    match action:
        case FailBead(code=code):
            failed = Work(intents=(intents.BeadFailed(bead.id, code),))
            return out.both(failed, out.asked(state, "bead_failed", key, at, "high"))
        case EndConvoy(code=code):
            ended = Work(intents=(intents.ConvoyEnded(bead.id, code),))
            return (
                out.both(ended, out.asked(state, "convoy_failed", key, at, "high"))
                if code
                else ended
            )
        case AskAboutConvoy():
            waits = Work(intents=(intents.ConvoyWaits(bead.id),))
            return out.both(waits, out.asked(state, "convoy_waits", key, at, "high"))
        case CreateLanding():
            assert bead.convoy_of is not None
            wait_ms = doubled_ms(
                policy.landing_first_ms, policy.landing_cap_ms, bead.convoy_of.landings + 1
            )
            mr = f"mr-{derive(at.event)[:16]}"
            made = intents.LandingCreated(convoy=bead.id, mr=mr, again_ms=wait_ms)
            return Work(intents=(made,))
        case Bump(severity=severity, next_ms=next_ms, tell=tell):
            bumped = intents.EscalationBumped(bead.id, severity, next_ms)
            notice = (out.notice("escalation_waits", key, at, severity),) if tell else ()
            return Work(intents=(bumped,), effects=notice)
        case other:
            raise TypeError(f"{type(other).__name__} is not about work")


# ------------------------------------------------------------------------------- the town itself


def _about_many(state: Tables, action: Retire | EndBeads | FreeBeads) -> tuple[intents.Intent, ...]:
    """Return the intent of what is done to many entities, few at once.

    What leaves the state must still be over: an agent may have been given work since the rules
    looked.
    """
    match action:
        case Retire(keys=keys, again_ms=again_ms):
            over = tuple(key for key in keys if not _works(state, key))
            return (intents.Retired(over, again_ms),) if over else ()
        case EndBeads(beads=beads):
            return (intents.BeadsEnded(beads, ENDED_EVERY_MS),)
        case FreeBeads(beads=beads):
            return (intents.BeadsFreed(beads),)


def _works(state: Tables, key: str) -> bool:
    agent = state.agents.get(key[2:]) if key.startswith("a/") else None
    return agent is not None and not rests(agent)


def _about_town(state: Tables, action: Any, at: At) -> Work:
    match action:
        case Retire() | EndBeads() | FreeBeads():
            return Work(intents=_about_many(state, action))
        case OpenBreaker(until_ms=until_ms, tell=tell):
            notice = (out.notice("breaker_opened", SELF, at, "critical"),) if tell else ()
            return Work(intents=(intents.BreakerOpened(until_ms),), effects=notice)
        case HalfOpenBreaker():
            return Work(intents=(intents.BreakerHalfOpened(),))
        case CloseBreaker(tell=tell):
            closed = (out.notice("breaker_closed", SELF, at),) if tell else ()
            return Work(intents=(intents.BreakerClosed(),), effects=closed)
        case ChangeBudget(exhausted=exhausted):
            code = "budget_exhausted" if exhausted else "budget_restored"
            notice = (out.notice(code, SELF, at, "high"),)
            return Work(intents=(intents.BudgetChanged(exhausted),), effects=notice)
        case EndDrain():
            return Work(intents=(events.DrainEnded(),))
        case Alert(number=number, about=about):
            alerted = (intents.ViolationAlerted(number, about),)
            return Work(
                intents=alerted, effects=(out.notice(f"invariant_{number}", about, at, "critical"),)
            )
        case AwaitViolation(number=number, about=about, after_ms=after_ms):
            return Work(intents=(intents.ViolationWaits(number, about, after_ms),))
        case other:
            raise TypeError(f"a town does not know {type(other).__name__}")
