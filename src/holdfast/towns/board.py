"""A town as people look at it: cards, agents, queues, and what keeps it from working. Pure.

All of it is made of one state, so it is the same function for the present and for any earlier tick.
Why a bead waits is what the rules say, in one look at the town for all that are shown.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from heapq import nlargest, nsmallest
from operator import attrgetter
from types import MappingProxyType
from typing import Any, Final, cast

from msgspec.structs import replace

from holdfast.actors.definition import Suppressed
from holdfast.actors.rehearse import Glance
from holdfast.towns.condition import Census, doing, limits, notes, violations
from holdfast.towns.policy import Policy
from holdfast.towns.reconcile import explain_each
from holdfast.towns.state import TERMINAL, Agent, Bead, Rig, State, found, is_closed
from holdfast.towns.words import (
    STAGE_ORDER,
    agent_does,
    agent_name,
    code_words,
    convoy_words,
    count_words,
    cut,
    ended_words,
    moment,
    reason_fix,
    stage_words,
    times_words,
)
from holdfast.wire.api.town_board import (
    MEMBERS_MAX,
    BoardAgent,
    BoardCard,
    BoardColumn,
    BoardConvoy,
    BoardEscalation,
    BoardNote,
    BoardRequest,
    BoardRig,
    BoardStatus,
    TownBoard,
    TownSummary,
    Trouble,
)
from holdfast.wire.times import time_text

CARDS_MAX: Final = 60
"""Cards of one column: the most urgent of those that are open, the latest of those that ended."""
AGENTS_SHOWN: Final = 200
REQUESTS_SHOWN: Final = 100
CONVOYS_SHOWN: Final = 20
ESCALATIONS_SHOWN: Final = 100
TROUBLES: Final[tuple[Trouble, ...]] = ("bad", "warn", "info")
"""The worst first."""
COLUMNS: Final[tuple[BoardStatus, ...]] = ("open", "in_progress", "in_review", "closed", "failed")
_ROLES: Final = {"mayor": 0, "refinery": 1, "polecat": 2}
_SEVERITY: Final[dict[str, int]] = {"critical": 0, "high": 1, "medium": 2, "low": 3}
_NO_REASONS: Final[Mapping[str, tuple[Suppressed, ...]]] = MappingProxyType({})


class Sight:
    """One look at a state, with why each of `shown` beads waits."""

    def __init__(self, state: State, policy: Policy, now_ms: int) -> None:
        self.state = state
        self.census = Census(state)
        self.policy = policy
        self.now_ms = now_ms
        self.reasons = _NO_REASONS

    def ask(self, beads: Iterable[Bead]) -> None:
        """Have the rules say why beads wait and the mayor rests, all at once."""
        keys = [f"b/{bead.id}" for bead in beads if bead.status not in TERMINAL]
        keys += [f"a/{one}" for one in found(self.state, "role", "mayor", "")]
        self.reasons = explain_each(self.state, self.policy, self.now_ms, keys)

    # -- one bead

    def request_of(self, bead: Bead) -> Bead | None:
        """Return the live merge request of a bead."""
        return min(self.census.reviews[bead.id], key=attrgetter("id"), default=None)

    def name(self, agent: str) -> str:
        """Return what people call an agent; its id where it was let go."""
        known = self.state.agents.get(agent)
        return agent if known is None else agent_name(known)

    def content(self, bead: Bead) -> str:
        """Return whose title a bead has: work on a branch goes by what the branch is for."""
        source = self.state.beads.get(bead.source)
        return bead.content if source is None or bead.type != "issue" else source.content

    def why(self, bead: Bead) -> tuple[str, str]:
        """Return how a bead stands in a sentence, and the rule that holds it back, if one does."""
        if bead.status in TERMINAL:
            return ended_words(bead), ""
        held = self.reasons.get(f"b/{bead.id}", ())
        because, rule = (held[0].because, held[0].rule) if held else ("", "")
        if bead.attempt and (agent := self.state.agents.get(bead.assignee)) is not None:
            return f"{agent_name(agent)} {agent_does(agent, bead)[0]}", ""
        if bead.review is not None:
            if bead.review.stage == "queued" and bead.blocked_by:
                often = times_words(bead.review.reworks)
                return f"It was sent back {often}, and waits for the work on its branch", rule
            return f"It {stage_words(bead.review)}{f': {because}' if because else ''}", rule
        if bead.convoy_of is not None:
            said = convoy_words(bead.convoy_of)
            return f"{said} {because.capitalize()}." if because else said, rule
        if bead.status == "in_review":
            request = self.request_of(bead)
            said = "is not there" if request is None else self.why(request)[0].removeprefix("It ")
            return f"Its merge request {said}", ""
        if bead.escalation is not None:
            return "It waits for somebody to take it on", rule
        if because and bead.blocked_by:
            return f"It waits for {count_words(len(bead.blocked_by), 'other bead')}", rule
        return (because[:1].upper() + because[1:] or "It is next: nothing holds it"), rule

    def card(self, bead: Bead) -> BoardCard:
        """Return a bead as a card."""
        text, rule = self.why(bead)
        request = self.request_of(bead) if bead.status == "in_review" else None
        return BoardCard(
            id=bead.id,
            type=bead.type,
            status=bead.status,
            purpose="" if bead.purpose == "work" else bead.purpose,
            rig=bead.rig,
            priority=bead.priority,
            content=self.content(bead),
            agent=bead.assignee,
            agent_name=self.name(bead.assignee),
            why=cut(text),
            rule=rule,
            since=moment(bead.ended_ms or bead.updated_ms),
            attempts=bead.attempts,
            failed_attempts=bead.charged,
            cost=bead.cost,
            held=bead.held,
            staged=bead.staged or (bead.convoy_of is not None and bead.convoy_of.staged),
            convoy=bead.convoy,
            source=bead.source,
            request="" if request is None else request.id,
            failure=bead.failure,
            blocked_by=bead.blocked_by,
        )

    def note(self, bead: Bead) -> tuple[BoardNote, str]:
        """Return why a bead waits, or how it stands, and what a person can do about it."""
        text, rule = self.why(bead)
        if not text.endswith("."):
            text += "."
        held = self.reasons.get(f"b/{bead.id}", ())
        fix = reason_fix(rule, held[0].because) if rule else ""
        is_over = bead.status in TERMINAL
        hurts: Trouble = "info" if rule == "" else "warn" if fix else "info"
        return (
            BoardNote(
                code=rule or bead.status,
                text=cut(text),
                trouble="bad" if bead.status == "failed" else hurts,
                about=f"b/{bead.id}",
                since=moment(bead.ended_ms or bead.updated_ms),
                until=None if is_over or bead.due_ms <= self.now_ms else moment(bead.due_ms),
            ),
            fix,
        )

    def request(self, bead: Bead) -> BoardRequest:
        """Return a merge request of the queue."""
        review = bead.review
        assert review is not None
        return BoardRequest(
            card=self.card(bead),
            branch=review.branch,
            target=review.target,
            stage=review.stage,
            stage_words=cut(stage_words(review)),
            commit=review.merge_commit or review.commit,
            pr_url=review.pr_url,
            reworks=review.reworks,
            landing=review.landing,
        )

    # -- the rest

    def agent(self, agent: Agent) -> BoardAgent:
        """Return an agent."""
        bead = self.state.beads.get(agent.hook)
        does, trouble = agent_does(agent, bead)
        held, until_ms = self.reasons.get(f"a/{agent.id}", ()), 0
        if agent.role == "mayor" and held:
            does, until_ms = f"{does}: {held[0].because}", agent.due_ms
        return BoardAgent(
            id=agent.id,
            name=agent_name(agent),
            role=agent.role,
            rig=agent.rig,
            host=agent.host,
            status=agent.status,
            hook=agent.hook,
            content="" if bead is None else self.content(bead),
            does=does,
            trouble=cast("Trouble", trouble),
            since=moment(agent.dispatched_ms) if agent.attempt else None,
            until=moment(until_ms) if until_ms > self.now_ms else None,
        )

    def members(self, convoy: Bead) -> list[Bead]:
        """Return the beads that a convoy was made with, none of what is no convoy."""
        return sorted(self.census.members[convoy.id], key=attrgetter("id"))[:MEMBERS_MAX]

    def convoy(self, bead: Bead) -> BoardConvoy:
        """Return a convoy with its beads."""
        work = bead.convoy_of
        assert work is not None
        return BoardConvoy(
            card=self.card(bead),
            branch=work.branch,
            staged=work.staged,
            total=work.total,
            closed=work.closed,
            failed=work.failed,
            landed=moment(work.landed_ms),
            beads=tuple(map(self.card, self.members(bead))),
        )

    def rig(self, rig: Rig) -> BoardRig:
        """Return a repository."""
        return BoardRig(
            id=rig.id,
            name=rig.name or rig.id,
            branch=rig.branch,
            repository=rig.repository,
            gates=rig.gates,
            gone=rig.gone,
            busy=self.census.busy[rig.id],
            waiting=self.census.ready[rig.id],
        )


# ---------------------------------------------------------------------------------- whole towns


def board(state: State, policy: Policy, now_ms: int) -> dict[str, Any]:
    """Return the fields of a `TownBoard`, all but its tick and titles."""
    sight = Sight(state, policy, now_ms)
    census = sight.census
    columns = _columns(census)
    shown = [bead for _, beads in columns.values() for bead in beads]
    convoys = sorted(census.convoys, key=lambda it: (it.ended_ms > 0, -it.created_ms, it.id))
    kept = convoys[:CONVOYS_SHOWN]
    requests = sorted(census.requests, key=_in_queue)
    asked = sorted(census.escalations, key=_by_severity)
    members = [bead for convoy in kept for bead in sight.members(convoy)]
    sight.ask([*shown, *requests, *kept, *members, *asked])
    town = state.town
    return {
        "id": town.id,
        "name": town.name,
        "account": town.account,
        "at": time_text(now_ms),
        "closed": is_closed(state),
        "draining": bool(town.drain_nonce),
        "doing": doing(census),
        "notes": notes(census, policy, now_ms),
        "limits": limits(census, policy, now_ms),
        "columns": tuple(
            BoardColumn(status=status, total=total, cards=tuple(map(sight.card, beads)))
            for status, (total, beads) in columns.items()
        ),
        "agents": tuple(map(sight.agent, _agents(state))),
        "agents_total": len(state.agents),
        "requests": tuple(map(sight.request, requests[:REQUESTS_SHOWN])),
        "requests_total": len(requests),
        "convoys": tuple(map(sight.convoy, kept)),
        "escalations": tuple(map(_escalation, asked[:ESCALATIONS_SHOWN])),
        "violations": violations(census),
        "rigs": tuple(sight.rig(state.rigs[one]) for one in sorted(state.rigs)),
    }


def past(glance: Glance) -> TownBoard:
    """Return a town as it was after a tick; another process calls it by its path."""
    return replace(present(glance), past=True, tick=glance.last.number if glance.last else 0)


def present(glance: Glance) -> TownBoard:
    """Return a town as it is; another process calls it by its path."""
    fields = board(glance.folded.state, glance.kind.policy, glance.now_ms)
    return TownBoard(**fields, tick=glance.folded.number)


def brief(glance: Glance) -> TownSummary:
    """Return a town in a list; another process calls it by its path."""
    return summary(glance.folded.state, glance.kind.policy, glance.now_ms)


def summary(state: State, policy: Policy, now_ms: int) -> TownSummary:
    """Return a town in a list: what it does, what hurts, and how many issues it has."""
    town, census = state.town, Census(state)
    hurts = notes(census, policy, now_ms)
    return TownSummary(
        id=town.id,
        name=town.name,
        account=town.account,
        doing=doing(census),
        trouble=_worst(one.trouble for one in hurts),
        hurts=tuple(one.text for one in hurts),
        counts={status: len(census.issues[status]) for status in COLUMNS},
        busy=census.at_work,
        agents=len(state.agents),
        closed=is_closed(state),
        created_at=time_text(town.created_ms),
    )


def _worst(troubles: Iterable[Trouble]) -> Trouble:
    known = set(troubles)
    for one in TROUBLES:
        if one in known:
            return one
    return TROUBLES[-1]


def _columns(census: Census) -> dict[BoardStatus, tuple[int, list[Bead]]]:
    def first(status: str, beads: list[Bead]) -> list[Bead]:
        if status in TERMINAL:
            return nlargest(CARDS_MAX, beads, key=attrgetter("ended_ms", "id"))
        return nsmallest(CARDS_MAX, beads, key=attrgetter("priority", "created_ms", "id"))

    made: dict[BoardStatus, tuple[int, list[Bead]]] = {}
    for status in COLUMNS:
        beads = census.issues[status]
        made[status] = len(beads), first(status, beads)
    return made


def _in_queue(bead: Bead) -> tuple[str, int, int, str]:
    """Return where a merge request stands: by its rig, the nearest to landing first."""
    assert bead.review is not None
    return bead.rig, STAGE_ORDER.index(bead.review.stage), bead.created_ms, bead.id


def _by_severity(bead: Bead) -> tuple[int, int, str]:
    assert bead.escalation is not None
    return _SEVERITY[bead.escalation.severity], bead.created_ms, bead.id


def _agents(state: State) -> list[Agent]:
    def order(agent: Agent) -> tuple[bool, int, str]:
        return (agent.status == "idle", _ROLES[agent.role], agent_name(agent))

    return nsmallest(AGENTS_SHOWN, state.agents.values(), key=order)


def _escalation(bead: Bead) -> BoardEscalation:
    known = bead.escalation
    assert known is not None
    return BoardEscalation(
        id=bead.id,
        severity=known.severity,
        category=known.category,
        text=cut(code_words(known.category).capitalize()),
        about=known.about,
        content=bead.content,
        since=moment(bead.created_ms),
    )


def contents(shown: TownBoard) -> tuple[str, ...]:
    """Return the ids of all texts that a board names."""
    cards = [card for column in shown.columns for card in column.cards]
    cards += [one.card for one in shown.requests]
    cards += [card for one in shown.convoys for card in (one.card, *one.beads)]
    ids = {card.content for card in cards}
    ids |= {agent.content for agent in shown.agents} | {one.content for one in shown.escalations}
    return tuple(sorted(ids - {""}))
