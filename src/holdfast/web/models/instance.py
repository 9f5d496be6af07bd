"""The page of one instance: its header, what may be ordered, why it is as it is. Pure."""

from __future__ import annotations

from typing import NamedTuple

from holdfast.web.models.moments import NOTHING, Moment, moment
from holdfast.web.models.words import Badge, outcome_badge, spoken, status_badge, wanted_words
from holdfast.wire.api.endpoint import Detail
from holdfast.wire.api.instances import Explanation, InstanceDetail, InstanceView
from holdfast.wire.api.rehearsals import Rehearsal, RehearsedTick
from holdfast.wire.confinement import CONFINEMENT_WORDS


class Order(NamedTuple):
    """A button: what it orders, and why it cannot be pressed now (nothing when it can)."""

    verb: str
    title: str
    closed: str


class Fact(NamedTuple):
    """A named value under the header; one that `is_long` is shown whole, in lines."""

    name: str
    value: str
    at: Moment | None = None
    is_long: bool = False


class Header(NamedTuple):
    """The top of the page; `open_href` leads to the agent's own, where it is meant to run."""

    id: str
    name: str
    badge: Badge
    wanted: str
    attention: str
    error: str
    orders: tuple[Order, ...]
    open_href: str
    facts: tuple[Fact, ...]
    details: tuple[Detail, ...]

    def likeness(self) -> Header:
        """Return what differs when the header does, apart from the time that passes."""
        facts = tuple(Fact(f.name, f.at.iso if f.at else f.value) for f in self.facts)
        return self._replace(facts=facts)


class Why(NamedTuple):
    """Why the instance is as it is."""

    title: str
    summary: str
    facts: tuple[tuple[str, Moment | None], ...]
    waiting_for: str
    next_at: Moment | None
    fix: str


class Step(NamedTuple):
    """One thing that the next tick would do, or would not."""

    title: str
    badge: Badge | None
    rule: str
    reason: str
    at: Moment | None = None


class Next(NamedTuple):
    """What the next tick would do."""

    summary: str
    steps: tuple[Step, ...]
    held: tuple[Step, ...]
    changes: tuple[str, ...]
    notes: tuple[str, ...]
    deadline: Moment | None


def orders(view: InstanceView) -> tuple[Order, ...]:
    """Return the buttons of an instance; the plane decides again when one is pressed."""
    leaving = "It is being destroyed." if view.desired == "destroyed" else ""
    started = "" if view.desired != "running" else "It is wanted running already."
    stopped = "" if view.desired != "stopped" else "It is wanted stopped already."
    at_rest = "" if view.desired == "running" else "Start it first."
    return (
        Order("start", "Start", leaving or started),
        Order("stop", "Stop", leaving or stopped),
        Order("restart", "Restart", leaving or at_rest),
        Order("destroy", "Destroy", leaving),
    )


def header(detail: InstanceDetail, *, now_ms: int) -> Header:
    """Return the top of an instance's page."""
    view = detail.instance
    facts = (
        Fact("Agent", " ".join(part for part in (view.agent, view.agent_version) if part)),
        Fact("Restarts", str(view.restarts)),
        Fact("Load", NOTHING if view.load is None else f"{view.load:.2f}"),
        Fact("Last contact", "never", moment(view.last_contact_at, now_ms)),
        Fact("Started", NOTHING, moment(detail.started_at, now_ms)),
        Fact("Created", NOTHING, moment(view.created_at, now_ms)),
        Fact("Next look", NOTHING, moment(detail.next_alarm_at, now_ms)),
        Fact("Region", view.region or NOTHING),
        Fact("Machine", view.machine_id or NOTHING),
        Fact("Confinement", _confinement(view), is_long=True),
        Fact("Controller", view.controller_version or NOTHING),
        Fact("Account", view.account or NOTHING),
        Fact("Epoch", str(view.epoch)),
    )
    return Header(
        id=view.id,
        name=view.name,
        badge=status_badge(view),
        wanted=wanted_words(view),
        attention=view.attention,
        error=view.error,
        orders=orders(view),
        open_href=f"/instances/{view.id}/open" if view.desired == "running" else "",
        facts=facts,
        details=detail.details,
    )


def _confinement(view: InstanceView) -> str:
    """Return what keeps the agent from what is not its own; nothing where none runs."""
    return CONFINEMENT_WORDS[view.confinement] if view.status == "running" else NOTHING


def why(found: Explanation, view: InstanceView, *, now_ms: int) -> Why:
    """Return an explanation as a panel; its title asks what a person would."""
    is_well = status_badge(view).tone == "ok"
    return Why(
        title="Why is it running?" if is_well else "Why is it not running?",
        summary=found.summary,
        facts=tuple((fact.text, moment(fact.at, now_ms)) for fact in found.facts),
        waiting_for=found.waiting_for,
        next_at=moment(found.next_at, now_ms),
        fix=found.fix,
    )


def what_next(rehearsal: Rehearsal, *, now_ms: int) -> Next:
    """Return a dry run as a panel."""
    ticks = rehearsal.ticks
    return Next(
        summary=rehearsal.summary,
        steps=tuple(step for tick in ticks for step in _steps(tick)),
        held=tuple(
            Step(spoken(item.name), None, item.rule, item.reason, moment(item.until, now_ms))
            for tick in ticks
            for item in tick.suppressed
        ),
        changes=rehearsal.changes,
        notes=tuple(note for tick in ticks for note in tick.notes),
        deadline=moment(ticks[-1].deadline_at, now_ms) if ticks else None,
    )


def _steps(tick: RehearsedTick) -> list[Step]:
    """Return what a rehearsed tick takes and does, in order."""
    taken = [
        Step(spoken(event.name), outcome_badge(event.outcome), "", event.message)
        for event in tick.events
    ]
    done = [
        Step(
            spoken(action.name),
            Badge("conflict", "warn", action.conflict) if action.conflict else None,
            action.rule,
            action.conflict or action.reason,
        )
        for action in tick.actions
    ]
    return taken + done
