"""The kind of actor `town`: its `Definition`, and the events of outcomes and answers."""

from __future__ import annotations

from functools import partial
from typing import Any, Final

from holdfast.actors.definition import (
    Claim,
    Definition,
    EffectCall,
    Letter,
    Probe,
    ProbeAnswer,
)
from holdfast.actors.ports import arrival_of
from holdfast.kernel.ids import Address
from holdfast.kernel.outcome import Conflict, Failure, Ok, Outcome, Permanent
from holdfast.letters.towns import INSTANCE, HostSeen
from holdfast.towns import actions, events, outgoing, ports
from holdfast.towns.apply import apply, fold
from holdfast.towns.draft import Draft, decode_state
from holdfast.towns.invariants import INVARIANTS, noticed
from holdfast.towns.policy import Policy, decode_policy, encode_policy
from holdfast.towns.reconcile import cadence, deadline, explain, is_alive, reconcile
from holdfast.towns.state import (
    PullRequest,
    State,
    empty,
    encode_entity,
    encode_state,
    entity_of,
    found,
    is_closed,
    is_created,
    keys,
)
from holdfast.towns.views import views

KIND: Final = "town"
NAME_SCOPE: Final = "town-name"

_ENGINE: Final = frozenset({"unwanted", "bug", "undecodable", "no_provider"})
"""Codes of Permanent outcomes that are the engine's own and say nothing about the outside."""


def wanted(state: State, call: EffectCall, _now_ms: int) -> bool:
    """Return whether a call is still the one that its state waits for."""
    body = call.body
    match body:
        case ports.StartCall(agent=agent, attempt=attempt):
            known = state.agents.get(agent)
            return known is not None and known.attempt == attempt and not known.release
        case ports.StopCall(agent=agent, epoch=epoch):
            known = state.agents.get(agent)
            return known is None or known.epoch > epoch or known.status != "working"
        case ports.GatesCall(mr=mr, call=number):
            review = _review_of(state, mr)
            return review is not None and (review.stage, review.call) == ("gating", number)
        case ports.LandCall(mr=mr, call=number):
            review = _review_of(state, mr)
            return review is not None and (review.stage, review.call) == ("landing", number)
        case ports.MergeCall(mr=mr, call=number):
            review = _review_of(state, mr)
            return review is not None and review.merging and review.call == number
        case ports.NudgeCall(nudge=nudge, agent=agent, attempt=attempt):
            known = state.agents.get(agent)
            return nudge in state.nudges and known is not None and known.attempt == attempt
        case ports.MailCall(message=message):
            bead = state.beads.get(message)
            return bead is not None and bead.status == "open"
        case _:
            return True


def _review_of(state: State, mr: str) -> Any:
    bead = state.beads.get(mr)
    return None if bead is None or bead.ended_ms else bead.review


def settle(call: EffectCall, outcome: Outcome[Any]) -> events.Event:
    """Return the event of a call's outcome."""
    match call.body:
        case ports.StartCall() as body:
            return _started(call, body, outcome)
        case ports.StopCall(agent=agent, epoch=epoch):
            if isinstance(outcome, Ok):
                return events.AgentStopped(agent, epoch)
            return events.StopFailed(agent, epoch, outcome.code)
        case ports.GatesCall() | ports.LandCall() | ports.MergeCall() as body:
            return _called(body, outcome)
        case ports.NudgeCall(nudge=nudge):
            arrived = isinstance(outcome, Ok) or _is_certain(outcome)
            return events.NudgeDelivered(nudge) if arrived else _unsent(nudge, outcome)
        case ports.MailCall(message=message):
            sent = isinstance(outcome, Ok)
            return events.MailDelivered(message) if sent else _unsent(message, outcome)
        case ports.NoticeCall(code=code):
            return events.Notified(code) if isinstance(outcome, Ok) else _unsent(code, outcome)
        case other:
            raise TypeError(f"a town makes no {type(other).__name__}")


def _unsent(what: str, outcome: Outcome[Any]) -> events.SendFailed:
    code = "" if isinstance(outcome, Ok) else outcome.code
    return events.SendFailed(what=what, code=code)


def _is_certain(outcome: Outcome[Any]) -> bool:
    return isinstance(outcome, Permanent) and outcome.code not in _ENGINE


def _started(call: EffectCall, body: ports.StartCall, outcome: Outcome[Any]) -> events.Event:
    """Return how a start ended: it failed for certain only where its host says so."""
    agent, attempt = body.agent, body.attempt
    match outcome:
        case Ok():
            return events.AgentStarted(agent, attempt)
        case Permanent(code=code) if code != "bug":
            charged = code in ports.CHARGED
            return events.StartRefused(agent=agent, attempt=attempt, code=code, charged=charged)
        case Conflict(code=code):
            return events.StartRefused(agent=agent, attempt=attempt, code=code)
        case failure if failure.code == "expired" and call.attempt <= 1:
            return events.StartRefused(agent=agent, attempt=attempt, code=failure.code)
        case failure:
            return events.StartDoubted(agent, attempt, failure.code)


def _called(
    body: ports.GatesCall | ports.LandCall | ports.MergeCall, outcome: Outcome[Any]
) -> events.Event:
    mr, call = body.mr, body.call
    match outcome:
        case Ok(ports.GatesRan(commit=commit, results=results)):
            return events.GatesFinished(mr=mr, call=call, commit=commit, results=results)
        case Ok(ports.Merged(commit=commit)):
            return events.Landed(mr=mr, call=call, commit=commit)
        case Ok(value):
            message = f"{type(body).__name__} was answered with {type(value).__name__}"
            raise TypeError(message)
        case failure:
            return _not_called(mr, call, failure)


def _not_called(mr: str, call: int, failure: Failure) -> events.Event:
    if isinstance(failure, Conflict):
        return events.LandRefused(mr=mr, call=call, code=ports.CONFLICT)
    if _is_certain(failure):
        return events.LandRefused(mr=mr, call=call, code=failure.code)
    return events.CallFailed(mr=mr, call=call, code=failure.code)


def probes(state: State, policy: Policy) -> tuple[Probe, ...]:
    """Return the questions about pull requests, sorted by their keys."""
    if is_closed(state):
        return ()
    asked = []
    for rig in sorted(state.rigs):
        for one in sorted(found(state, "polling", rig).ids()):
            bead = state.beads[one]
            review = bead.review
            assert review is not None
            branch, target = actions.sides(bead, review)
            body = ports.PollCall(
                mr=one, rig=rig, pr_url=review.pr_url, branch=branch, target=target
            )
            asked.append(
                Probe(
                    key=f"pr/{one}",
                    provider=outgoing.FORGES,
                    body=body,
                    period_ms=policy.poll_ms,
                    epoch=review.looks,
                )
            )
    return tuple(asked)


def probed(answer: ProbeAnswer) -> events.Event:
    """Return the event of an answer that differs from the one before."""
    mr = answer.key.removeprefix("pr/")
    match answer.outcome:
        case Ok(PullRequest() as pr):
            return events.PullRequestSeen(mr, pr)
        case Ok(ports.Unreadable(code=code, lasting=lasting)):
            return events.PullRequestUnreadable(mr=mr, code=code, lasting=lasting)
        case other:
            message = f"the probe {answer.key} was answered with {type(other).__name__}"
            raise TypeError(message)


def received(sender: Address, letter: Letter) -> events.Event:
    """Return the event of a letter; raise ValueError for an unsupported one."""
    match letter.body:
        case HostSeen(account=account, absence=absence) if sender.kind == INSTANCE:
            return events.HostSeen(host=sender.id, account=account, absence=absence)
        case other:
            message = f"{sender} may not write {type(other).__name__} to {letter.to}"
            raise ValueError(message)


def claims(state: State) -> frozenset[Claim]:
    """Return the name that no other town of the account may have."""
    if not is_created(state) or is_closed(state):
        return frozenset()
    return frozenset({Claim(NAME_SCOPE, f"{state.town.account}/{state.town.name}")})


def claim_lost(_claim: Claim) -> events.Event:
    """Return the event of a name that another town has."""
    return events.NameLost()


def _entity(state: State, key: str) -> bytes | None:
    one = entity_of(state, key)
    if one is None or (not key and not is_created(state)):
        return None
    return encode_entity(one)


TOWN: Final[Definition[State, events.Event, actions.Action, Policy]] = Definition(
    kind=KIND,
    found_at="holdfast.towns.definition:TOWN",
    version=events.EVENT_VERSION,
    empty=empty,
    encode_state=encode_state,
    decode_state=decode_state,
    encode_event=events.encode_event,
    decode_event=events.decode_event,
    apply=apply,
    reconcile=reconcile,
    found=actions.found,
    act=actions.act,
    deadline=deadline,
    exists=is_alive,
    account=lambda state: state.town.account,
    views=views,
    entity=_entity,
    entities=keys,
    claims=claims,
    probes=probes,
    invariants=INVARIANTS,
    look=entity_of,
    cadence=cadence,
    draft=Draft,
    fold=fold,
    encode_effect=ports.encode_body,
    decode_effect=ports.decode_body,
    wanted=wanted,
    settle=settle,
    probed=probed,
    claim_lost=claim_lost,
    received=received,
    explain=explain,
    noticed=noticed,
    encode_policy=encode_policy,
    decode_policy=decode_policy,
)

arrival: Final = partial(arrival_of, TOWN)
