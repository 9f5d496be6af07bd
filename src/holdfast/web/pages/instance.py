"""The page of one instance: its actions, the explanation of its state, and all its panels.

Panels that are long are in `parts`. Some are parts of the page that the browser requests when a
person opens them, because they call the instance's machine or are audited.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from holdfast.letters import topics
from holdfast.web.api import Missing, unless_missing
from holdfast.web.hub import Batch
from holdfast.web.limits import INBOX_ITEMS, LOG_LINES, LOG_PERIOD_S, LOOK_S, TIMELINE_ENTRIES
from holdfast.web.live_page import OpenPage, fingerprint
from holdfast.web.page import Context, Names, Page, update
from holdfast.web.parts.budget import budget
from holdfast.web.parts.inbox import NOBODY, Inbox, history, inbox
from holdfast.web.parts.incidents import incidents
from holdfast.web.parts.maintenance import doctor, versions
from holdfast.web.parts.moments import NOTHING, Moment, moment
from holdfast.web.parts.pairing_policy import Policy, policy
from holdfast.web.parts.recovery import recovery
from holdfast.web.parts.rehearsed import what_next
from holdfast.web.parts.secrets import SecretsPanel, secrets_panel
from holdfast.web.parts.start import start
from holdfast.web.parts.timeline import joined, stories
from holdfast.web.parts.words import (
    Badge,
    channel_words,
    status_badge,
    wanted_words,
)
from holdfast.wire.api.budgets import BudgetView
from holdfast.wire.api.call import Call
from holdfast.wire.api.endpoint import Detail
from holdfast.wire.api.instances import (
    Explanation,
    InstanceDetail,
    InstanceView,
    LogTail,
    Timeline,
)
from holdfast.wire.api.maintenance import ConfigVersions, DoctorRun
from holdfast.wire.api.pairing import PairingInbox, PairingList, PairingPolicy, PairingSource
from holdfast.wire.api.rehearsals import DryRunRequest, Rehearsal
from holdfast.wire.api.secrets import SecretList
from holdfast.wire.api.upgrades import UpgradePreview
from holdfast.wire.confinement import CONFINEMENT_WORDS
from holdfast.wire.health import WORKING

_PAUSED: Final = "The cap of its budget pauses it: go on, or raise the budget."


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
    said: str
    since: Moment | None
    next_try: Moment | None
    wanted: str
    attention: str
    error: str
    is_paused: bool
    orders: tuple[Order, ...]
    open_href: str
    facts: tuple[Fact, ...]
    details: tuple[Detail, ...]


class Why(NamedTuple):
    """Why the instance is as it is."""

    title: str
    summary: str
    facts: tuple[tuple[str, Moment | None], ...]
    waiting_for: str
    next_at: Moment | None
    fix: str


class SourceRow(NamedTuple):
    """How one source of an instance's list stands."""

    name: str
    badge: Badge
    text: str
    at: Moment | None


class PairingPanels(NamedTuple):
    """What the page shows of pairing; a part that could not be had says why."""

    inbox: Inbox
    policy: Policy | Missing
    secrets: SecretsPanel | Missing


def orders(view: InstanceView) -> tuple[Order, ...]:
    """Return the buttons of an instance; the plane decides again when one is pressed."""
    leaving = "It is being destroyed." if view.desired == "destroyed" else ""
    started = "" if view.desired != "running" else "It is wanted running already."
    if view.paused:
        started = _PAUSED
    stopped = "" if view.desired != "stopped" else "It is wanted stopped already."
    at_rest = "" if view.desired == "running" else "Start it first."
    if view.paused:
        at_rest = _PAUSED
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
        said=view.health.text,
        since=moment(view.health.since, now_ms),
        next_try=moment(view.health.next_try, now_ms),
        wanted=wanted_words(view),
        attention="" if view.health.text in view.attention else view.attention,
        error=view.error,
        is_paused=view.paused,
        orders=orders(view),
        open_href=f"/instances/{view.id}/open" if view.desired == "running" else "",
        facts=facts,
        details=detail.details,
    )


def _confinement(view: InstanceView) -> str:
    """Return what keeps the agent from what is not its own; nothing where none runs."""
    return CONFINEMENT_WORDS[view.confinement] if view.status == "running" else NOTHING


def why(found: Explanation, view: InstanceView, *, now_ms: int) -> Why:
    """Return an explanation as a panel, with a question as its title."""
    title = "Why is it not running?"
    if view.health.code in WORKING:
        title = "Why is it running?"
    elif view.status == "running":
        title = "Why does it not work?"
    return Why(
        title=title,
        summary=found.summary,
        facts=tuple((fact.text, moment(fact.at, now_ms)) for fact in found.facts),
        waiting_for=found.waiting_for,
        next_at=moment(found.next_at, now_ms),
        fix=found.fix,
    )


def source_row(found: PairingSource, *, now_ms: int) -> SourceRow:
    """Return how a source stands; one that was never read is unknown, which is not empty."""
    badge = Badge("read", "ok")
    if found.error:
        badge = Badge("old", "warn") if found.stale else Badge("unknown", "bad")
    elif found.stale:
        badge = Badge("old", "warn")
    return SourceRow(
        name="Devices" if found.name == "devices" else channel_words(found.name),
        badge=badge,
        text=found.error,
        at=moment(found.last_success_at, now_ms),
    )


def sources(found: PairingList, *, now_ms: int) -> tuple[SourceRow, ...]:
    """Return every source of an instance's list."""
    return tuple(source_row(each, now_ms=now_ms) for each in found.sources)


async def _detail(context: Context, call: Call) -> InstanceDetail:
    return await context.api.ask(call, "instance.get", InstanceDetail, path=call.path)


def _reported(detail: InstanceDetail, now_ms: int) -> Names:
    """Return what the page shows of its machine's check-ins."""
    return {
        "header": header(detail, now_ms=now_ms),
        "start": start(detail, now_ms=now_ms),
        "recovery": recovery(detail, now_ms=now_ms),
        "incidents": incidents(detail, now_ms=now_ms),
    }


async def load(context: Context, call: Call) -> Names:
    """Return what the page shows; a part that fails says so in its place."""
    detail = await _detail(context, call)
    found = await context.api.attempt(call, "instance.explain", Explanation, path=call.path)
    spent = await context.api.attempt(call, "instance.budget", BudgetView, path=call.path)
    return {
        **_reported(detail, call.now_ms),
        "id": call.path["id"],
        "detail": detail,
        "why": unless_missing(found, lambda it: why(it, detail.instance, now_ms=call.now_ms)),
        "budget": unless_missing(spent, lambda it: budget(it, now_ms=call.now_ms)),
        **await load_timeline(context, call),
        "pairing": await _pairing(context, call, detail),
    }


async def load_timeline(context: Context, call: Call) -> Names:
    """Return some of a timeline: its stories, and where it goes on."""
    given = {name: call.query.get(name, "") for name in ("after", "cause")}
    query = {"limit": str(TIMELINE_ENTRIES)} | {name: v for name, v in given.items() if v}
    found = await context.api.attempt(
        call, "instance.timeline", Timeline, path=call.path, query=query
    )
    timeline = unless_missing(
        found,
        lambda it: {
            "stories": joined(stories(it.entries, now_ms=call.now_ms)),
            "next": it.next,
            "is_first": not given["after"],
        },
    )
    return {"timeline": timeline, "id": call.path["id"]}


async def load_next(context: Context, call: Call) -> Names:
    """Return what the next tick would do; operators only, and audited."""
    path = {"kind": "instance", "id": call.path["id"]}
    found = await context.api.attempt(
        call, "rehearse.dry-run", Rehearsal, path=path, body=DryRunRequest()
    )
    return {"next": unless_missing(found, lambda it: what_next(it, now_ms=call.now_ms))}


async def load_sources(context: Context, call: Call) -> Names:
    """Return how each source of requests stands, asked of the machine; it may take its time."""
    query = {"refresh": "true"} if call.query.get("refresh") == "true" else {}
    found = await context.api.attempt(
        call, "pairing.list", PairingList, path=call.path, query=query
    )
    if isinstance(found, Missing):
        return {"id": call.path["id"], "missing": found, "sources": (), "list": None}
    return {
        "id": call.path["id"],
        "missing": None,
        "sources": sources(found, now_ms=call.now_ms),
        "list": found,
    }


async def load_care(context: Context, call: Call) -> Names:
    """Return the parts that need a call to the instance's machine, which may be slow."""
    found = await context.api.attempt(call, "config.versions", ConfigVersions, path=call.path)
    run = await context.api.attempt(call, "doctor.run", DoctorRun, path=call.path)
    return {
        "id": call.path["id"],
        "versions": unless_missing(found, lambda it: versions(it, now_ms=call.now_ms)),
        "doctor": unless_missing(run, lambda it: doctor(it, now_ms=call.now_ms)),
    }


async def load_upgrade(context: Context, call: Call) -> Names:
    """Return what another version would change: the asked one, else the newest other one."""
    asked, name = call.query.get("version", ""), "instance.upgrade-preview"
    query = {"version": asked} if asked else {}
    found = await context.api.attempt(call, name, UpgradePreview, path=call.path, query=query)
    if not asked and not isinstance(found, Missing) and found.versions:
        query = {"version": found.versions[0]}
        found = await context.api.attempt(call, name, UpgradePreview, path=call.path, query=query)
    return {"id": call.path["id"], "preview": found}


async def _pairing(context: Context, call: Call, detail: InstanceDetail) -> PairingPanels:
    """Return the pairing requests, policy and secrets, as the machine last reported them."""
    api, path, now_ms = context.api, call.path, call.now_ms
    instance, name = path["id"], detail.instance.name
    query = {"limit": str(INBOX_ITEMS)} | ({"text": name} if name else {})
    whole = await api.ask_or(call, "pairing.inbox", NOBODY, query=query)
    mine = PairingInbox(
        items=tuple(each for each in whole.items if each.instance == instance),
        total=whole.counts.get(instance, 0),
        troubles=tuple(each for each in whole.troubles if each.instance == instance),
    )
    entries = await history(context, call, instance)
    histories = {} if isinstance(entries, Missing) else {instance: (name, entries)}
    rules = await api.attempt(call, "pairing.policy", PairingPolicy, path=path)
    secrets = await api.attempt(call, "instance.secrets", SecretList, path=path)
    return PairingPanels(
        inbox=inbox(mine, histories, now_ms=now_ms),
        policy=unless_missing(rules, lambda it: policy(it, now_ms=now_ms)),
        secrets=unless_missing(secrets, secrets_panel),
    )


_REPORTED: Final = ("instance-header", "start", "recovery", "incidents")
_PAIRING: Final = ("instance-inbox", "policy", "secrets")


class LiveInstance(OpenPage):
    """The page of one instance for one reader: all of it on a change, its log as time passes."""

    topics = frozenset({topics.INSTANCE, topics.CONTACT, topics.PAIRING})
    idle_s = LOG_PERIOD_S

    def __init__(self, context: Context, page: Page, call: Call) -> None:
        super().__init__(context, page, call)
        self._id = call.path["id"]
        self._log = ""
        self._looked_s = 0.0
        self._sent = ""

    async def full(self) -> str:
        """Return every panel, and the log."""
        names = await self.page.load(self.context, self.now())
        self._looked_s = self.steady_s()
        reported = self.draw_elements(*_REPORTED, **names)
        self._sent = fingerprint(reported)
        rest = self.draw_elements("why", "budget", "timeline", "variables", *_PAIRING, **names)
        return reported + rest + await self._tail()

    async def changed(self, batch: Batch) -> str:
        """Return everything after an event, only what was reported after a check-in."""
        changed = {change.topic for change in batch.changes if change.key == self._id}
        if batch.all_stale or topics.INSTANCE in changed:
            return await self.full()
        drawn = await self._panels() if topics.PAIRING in changed else ""
        return drawn + (await self._look() if topics.CONTACT in changed else "")

    async def _panels(self) -> str:
        """Return who waits, how it is decided, and which secrets are set."""
        call = self.now()
        found = await _pairing(self.context, call, await _detail(self.context, call))
        return self.draw_elements(*_PAIRING, id=self._id, pairing=found)

    async def _look(self) -> str:
        """Return what its machine reported, if that is another."""
        self._looked_s = self.steady_s()
        call = self.now()
        names = _reported(await _detail(self.context, call), call.now_ms)
        drawn = self.draw_elements(*_REPORTED, id=self._id, **names)
        found = fingerprint(drawn)
        if found == self._sent:
            return ""
        self._sent = found
        return drawn

    async def idle(self) -> str:
        """Return the log where it has new lines, and now and then what was reported."""
        is_due = self.steady_s() - self._looked_s >= LOOK_S
        reported = await self._look() if is_due else ""
        return reported + await self._tail()

    async def _tail(self) -> str:
        """Return the log where it has new lines."""
        path, query = {"id": self._id}, {"lines": str(LOG_LINES)}
        tail = await self.context.api.attempt(
            self.now(), "instance.logs", LogTail, path=path, query=query
        )
        missing = tail if isinstance(tail, Missing) else None
        drawn = self.context.renderer.draw("parts/log.html", tail=tail, missing=missing)
        if drawn == self._log:
            return ""
        self._log = drawn
        return update("#log", drawn)


PAGE: Final = Page("instance", "instance.html", load, section="fleet", live=LiveInstance)
PARTS: Final = (
    Page("instance-timeline", "parts/stories.html", load_timeline, is_part=True),
    Page("instance-next", "parts/next.html", load_next, is_part=True),
    Page("instance-sources", "parts/sources.html", load_sources, is_part=True),
    Page("instance-care", "parts/care.html", load_care, is_part=True),
    Page("instance-upgrade", "parts/upgrade.html", load_upgrade, is_part=True),
)
