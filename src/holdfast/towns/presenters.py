"""Shows towns and what is in them as the API does."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from msgspec import convert

from holdfast.towns.records import GateSetting, Notice, RigSettings, Text
from holdfast.towns.state import Agent, Bead, Rig, Town
from holdfast.wire.api.town_work import (
    BODY_MAX,
    TITLE_MAX,
    BeadDetail,
    BeadView,
    ConvoyFacts,
    ConvoyView,
    Dependency,
    EscalationFacts,
    EscalationView,
    PullRequestView,
    ReviewView,
    TextView,
)
from holdfast.wire.api.towns import (
    DrainView,
    Gate,
    NoticeView,
    RigView,
    TownAgentView,
    TownSettings,
    TownView,
)
from holdfast.wire.times import time_text

Texts = Mapping[str, Text]


def town_view(town: Town) -> TownView:
    """Return a town for the API."""
    return TownView(
        id=town.id,
        account=town.account,
        name=town.name,
        created_at=time_text(town.created_ms),
        closed=town.closed_ms > 0,
        draining=bool(town.drain_nonce),
        breaker=town.breaker.state,
        exhausted=town.exhausted,
        code_review=town.config.code_review,
        agents_max=town.config.town_agents_max,
        settings=convert(town.config, TownSettings, from_attributes=True),
    )


def drain_view(town: Town) -> DrainView:
    """Return whether a town drains."""
    until = _time(town.drain_until_ms)
    return DrainView(draining=bool(town.drain_nonce), nonce=town.drain_nonce, until=until)


def notice_view(notice: Notice) -> NoticeView:
    """Return a notice for the API."""
    return NoticeView(
        code=notice.code,
        about=notice.about,
        severity=notice.severity,
        at=time_text(notice.at_ms),
    )


def rig_view(rig: Rig, settings: RigSettings | None) -> RigView:
    """Return a rig for the API; without its credential."""
    known = settings or RigSettings(rig=rig.id, repository="", branch=rig.branch)
    return RigView(
        name=rig.name,
        repository=known.repository,
        branch=rig.branch,
        forge=known.forge,
        has_token=bool(known.token),
        gates={gate.name: _gate(gate) for gate in known.gates},
        commands=dict(known.commands),
        agents_max=rig.agents_max,
        gone=rig.gone,
    )


def _gate(gate: GateSetting) -> Gate:
    return Gate(command=gate.command, timeout_s=gate.timeout_s)


def agent_view(agent: Agent) -> TownAgentView:
    """Return an agent for the API."""
    return TownAgentView(
        id=agent.id,
        name=agent.name,
        role=agent.role,
        rig=agent.rig,
        host=agent.host,
        status=agent.status,
        hook=agent.hook,
        attempt=agent.attempt,
        attempts=agent.epoch,
        contact=agent.contact,
        inactive=agent.inactive,
        dispatched_at=_time(agent.dispatched_ms),
        cost=agent.cost,
        away=agent.away,
    )


def bead_facts(bead: Bead, texts: Texts) -> dict[str, Any]:
    """Return the fields that every view of a bead has."""
    return {
        "id": bead.id,
        "type": bead.type,
        "status": bead.status,
        "title": title_of(bead, texts),
        "purpose": bead.purpose,
        "rig": bead.rig,
        "priority": bead.priority,
        "content": bead.content,
        "assignee": bead.assignee,
        "attempts": bead.attempts,
        "charged": bead.charged,
        "blockers": bead.blockers,
        "blocked_by": bead.blocked_by,
        "held": bead.held,
        "staged": bead.staged,
        "convoy": bead.convoy,
        "source": bead.source,
        "failure": bead.failure,
        "cost": bead.cost,
        "created_at": time_text(bead.created_ms),
        "updated_at": time_text(bead.updated_ms),
    }


def title_of(bead: Bead, texts: Texts) -> str:
    """Return a bead's title, empty where it has none or its text was erased."""
    known = texts.get(bead.content)
    return known.title[:TITLE_MAX] if known is not None else ""


def body_of(text: Text | None) -> str:
    """Return a text's body as far as an answer carries it."""
    return text.body[:BODY_MAX] if text is not None else ""


def bead_view(bead: Bead, texts: Texts) -> BeadView:
    """Return a bead for the API."""
    return BeadView(**bead_facts(bead, texts))


def bead_detail(bead: Bead, others: Iterable[Bead], texts: Texts) -> BeadDetail:
    """Return one bead with what it depends on, of which `others` are known."""
    return BeadDetail(
        **bead_facts(bead, texts),
        body=body_of(texts.get(bead.content)),
        dependencies=tuple(dependencies(bead, {one.id: one for one in others}, texts)),
        review=review_view(bead, texts),
        convoy_facts=convoy_facts(bead),
        escalation=escalation_facts(bead),
    )


def dependencies(bead: Bead, others: Mapping[str, Bead], texts: Texts) -> Iterable[Dependency]:
    """Yield what a bead waits for, then what it belongs to."""
    tracked = [one for one in (bead.convoy, bead.source) if one]
    for one, of in [(one, "blocks") for one in bead.blocked_by] + [(t, "tracks") for t in tracked]:
        known = others.get(one)
        yield Dependency(
            id=one,
            type="blocks" if of == "blocks" else "tracks",
            status=None if known is None else known.status,
            title="" if known is None else title_of(known, texts),
        )


def depends_on(bead: Bead) -> tuple[str, ...]:
    """Return the ids of what a bead waits for or belongs to."""
    return tuple(one for one in (*bead.blocked_by, bead.convoy, bead.source) if one)


def review_view(bead: Bead, texts: Texts) -> ReviewView | None:
    """Return the part of a merge request."""
    review = bead.review
    if review is None:
        return None
    pr = review.pr
    return ReviewView(
        branch=review.branch,
        target=review.target,
        stage=review.stage,
        commit=review.commit,
        merge_commit=review.merge_commit,
        reworks=review.reworks,
        why=review.why,
        said=body_of(texts.get(review.content)),
        landing=review.landing,
        pr_url=review.pr_url,
        pr=None if pr is None else convert(pr, PullRequestView, from_attributes=True),
    )


def convoy_facts(bead: Bead) -> ConvoyFacts | None:
    """Return the part of a convoy."""
    convoy = bead.convoy_of
    if convoy is None:
        return None
    return ConvoyFacts(
        branch=convoy.branch,
        mode=convoy.mode,
        staged=convoy.staged,
        total=convoy.total,
        closed=convoy.closed,
        failed=convoy.failed,
        landings=convoy.landings,
        landed_at=_time(convoy.landed_ms),
    )


def convoy_view(bead: Bead, tasks: Iterable[Bead], texts: Texts) -> ConvoyView:
    """Return a convoy for the API; `bead` is one."""
    facts = convoy_facts(bead)
    assert facts is not None
    shown = tuple(bead_view(one, texts) for one in tasks)
    return ConvoyView(bead=bead_view(bead, texts), facts=facts, tasks=shown)


def escalation_facts(bead: Bead) -> EscalationFacts | None:
    """Return the part of an escalation."""
    known = bead.escalation
    if known is None:
        return None
    return EscalationFacts(
        severity=known.severity, category=known.category, about=known.about, bumps=known.bumps
    )


def escalation_view(bead: Bead, texts: Texts) -> EscalationView:
    """Return an escalation for the API; `bead` is one."""
    facts = escalation_facts(bead)
    assert facts is not None
    return EscalationView(
        bead=bead_view(bead, texts), facts=facts, body=body_of(texts.get(bead.content))
    )


def text_view(text: Text) -> TextView:
    """Return a text for the API."""
    return TextView(
        id=text.id,
        kind=text.kind,
        title=text.title[:TITLE_MAX],
        body=body_of(text),
        made_at=time_text(text.made_ms),
    )


def _time(at_ms: int) -> str | None:
    return time_text(at_ms) if at_ms else None
