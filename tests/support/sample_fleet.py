"""A fleet that exists only here: sample data for the pages, changing when it is ordered to.

It answers the API's instance, operation and quarantine endpoints from memory, so that pages can
be looked at and tested without an engine. The real plane's own tests use the real handlers.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

import msgspec

from holdfast.kernel.clock import SystemClock
from holdfast.letters.topics import CONTACT, INSTANCE
from holdfast.web.hub import Hub
from holdfast.wire.api.budgets import BudgetView
from holdfast.wire.api.call import Call, Refusal, Reply
from holdfast.wire.api.endpoint import Detail
from holdfast.wire.api.instances import (
    BulkAnswer,
    BulkItem,
    Climb,
    InstanceDetail,
    InstanceList,
    InstanceView,
    LogLine,
    LogTail,
    RecoveryView,
    StartView,
)
from holdfast.wire.api.operations import (
    OperationList,
    Pending,
    QuarantineAnswer,
    QuarantinedEvent,
    QuarantineList,
)
from holdfast.wire.api.plane import AgentList, AgentView
from holdfast.wire.api.upgrades import InstanceUpgrade, UpgradePreview
from holdfast.wire.health import HEALTHS, RANKS, Health, HealthCode
from holdfast.wire.times import time_text
from tests.support.sample_answers import (
    DAY,
    HOUR,
    MINUTE,
    charts,
    explanation,
    operation,
    rehearsal,
    timeline,
)

NAMES = (
    "atlas", "birch", "cedar", "delta", "ember", "fjord", "grove", "heron", "iris", "juniper",
    "krill", "lumen", "maple", "nova", "otter", "pike", "quartz", "raven", "sage", "tern",
    "umber", "vega", "wren", "xenon", "yarrow", "zephyr", "amber", "basil", "coral", "dune",
)  # fmt: skip
ODD = {
    3: ("stopped", "stopped"), 7: ("starting", "running"), 11: ("restarting", "running"),
    16: ("stopped", "running"), 19: ("provisioned", "stopped"), 23: ("destroying", "destroyed"),
    28: ("stopped", "stopped"), 37: ("stopped", "stopped"), 45: ("stopped", "stopped"),
}  # fmt: skip
RESTARTS = {9: 5, 14: 2, 30: 1, 41: 12}
LOST = "The machine has missed three check-ins; it was last heard 14 minutes ago."
CRASHES = "The agent has crashed five times in ten minutes."
SORTED_BY = {"contact": "last_contact_at", "created": "created_at"}


def sample(at: int, *, now_ms: int) -> InstanceView:
    """Return the n-th instance: mostly well, some of each status, two that need a person."""
    status, desired = ODD.get(at, ("running", "running"))
    runs, never, lost, fails = status == "running", status == "provisioned", at == 5, at == 9
    heard_ms = now_ms - (14 * MINUTE if lost else (at * 977) % 58_000)
    fields = {
        "id": f"in-{at:04d}",
        "name": NAMES[at % len(NAMES)] + (f"-{at // len(NAMES) + 1}" if at >= len(NAMES) else ""),
        "account": "local" if at % 4 else "studio",
        "agent": "openclaw" if at % 3 else "demo",
        "desired": desired,
        "status": status,
        "restarts": RESTARTS.get(at, 0),
        "last_contact_at": None if never else time_text(heard_ms),
        "created_at": time_text(now_ms - 9 * DAY - at * HOUR),
        "region": "local",
        "machine_id": f"m-{at:06x}",
        "agent_version": "2026.3.11" if at % 3 else "0.1.0",
        "controller_version": "0.1.0",
        "agent_ready": not fails if runs else None,
        "contact": "lost" if lost else "never" if never else "here",
        "load": round(0.12 + (at * 37 % 100) / 90, 2) if runs else None,
        "epoch": 2 + at % 3,
        "seq": 40 + at,
        "attention": LOST if lost else CRASHES if fails else "",
        "error": "exit status 137 (killed)" if fails else "",
        "recovery": {"rung": "parked", "reason": "it crashed five times"} if fails else {},
    }
    return with_health(msgspec.convert(fields, InstanceView))


def with_health(view: InstanceView) -> InstanceView:
    """Return the instance with a status that fits its other fields."""
    code: HealthCode = {"running": "ready", "provisioned": "stopped"}.get(view.status, view.status)  # type: ignore[assignment]
    if view.status == "running" and view.contact == "lost":
        code = "silent"
    elif view.recovery is not None and view.recovery.rung == "parked":
        code = "parked"
    elif view.status == "running" and view.agent_ready is False:
        code = "unready"
    elif view.status in {"stopped", "provisioned"} and view.desired == "running":
        code = "failing"
    said = view.attention or HEALTHS[code].text
    return msgspec.structs.replace(view, health=Health(code=code, text=said))


def climbs_of(view: InstanceView) -> tuple[Climb, ...]:
    """Return what the machine of a parked agent tried."""
    if view.recovery is None or view.recovery.rung != "parked":
        return ()
    now_ms, why = SystemClock().now_ms(), "it crashed six times in a row"
    tried = (
        ("last_healthy_config", 34, False, "it runs on that one"),
        ("reinstall", 33, True, "2026.3.11 anew"),
        ("previous_version", 31, False, "no other version has been healthy in this machine"),
        ("parked", 2, True, ""),
    )
    return tuple(
        Climb(rung=rung, at=time_text(now_ms - ago * 60_000), reason=why, done=done, detail=detail)
        for rung, ago, done, detail in tried
    )


def no_budget(instance: str) -> BudgetView:
    """Return the budget of an instance that has none."""
    return BudgetView(
        instance=instance, budget=None, limits=(), counters=True, note=""
    )  # fmt: skip


def _sorted_by(view: InstanceView, field: str) -> Any:
    return RANKS[view.health.code] if field == "health" else getattr(view, field)


class SampleFleet:
    """Some instances, and handlers about them."""

    def __init__(self, hub: Hub, *, now_ms: int, count: int = 60) -> None:
        self._hub = hub
        views = [sample(at, now_ms=now_ms) for at in range(count)]
        self.instances = {view.id: view for view in views}
        plain = {"MODEL": "sonnet", "LOG_LEVEL": "info", "WORKSPACE": "/srv/work"}
        self.env = {view.id: dict(plain) for view in views}
        self.secrets = {view.id: ["ANTHROPIC_API_KEY", "SLACK_TOKEN"] for view in views}
        self.quarantined = {"ev-q1": "KeyError: 'machine_id'", "ev-q2": "ValueError: bad region"}
        self.climbs = {view.id: climbs_of(view) for view in views}
        self.starts: dict[str, StartView] = {}
        self.budgets: dict[str, BudgetView] = {}
        self.lines: list[str] = []
        self.upgraded: InstanceUpgrade | None = None
        self.say("agent", 24)

    def say(self, what: str, times: int = 1) -> None:
        """Print lines into every log."""
        for _ in range(times):
            number = len(self.lines) + 1
            self.lines.append(f"{what}: turn {number} done in 1.{number % 10} s")

    def change(self, instance_id: str, **fields: Any) -> InstanceView:
        """Commit a change of an instance and notify the pages."""
        view = with_health(msgspec.structs.replace(self.instances[instance_id], **fields))
        self.instances[instance_id] = view
        topic = CONTACT if set(fields) <= {"last_contact_at", "load"} else INSTANCE
        self._hub.publish(topic, instance_id, view.account)
        return view

    def _visible(self, call: Call) -> list[InstanceView]:
        account = call.principal.account
        return [view for view in self.instances.values() if account in {None, view.account}]

    def _one(self, call: Call) -> InstanceView:
        found = [view for view in self._visible(call) if view.id == call.path["id"]]
        if not found:
            raise Refusal(404, "no_such_instance", "There is no such instance.", fix="See all.")
        return found[0]

    async def list(self, call: Call) -> Reply:
        visible, asked = self._visible(call), call.query
        rows = [
            view
            for view in visible
            if view.status in asked.get("status", view.status).split(",")
            if view.health.code in asked.get("health", view.health.code).split(",")
            if view.agent == asked.get("agent", view.agent)
            if "attention" not in asked or bool(view.attention) == (asked["attention"] == "true")
            if asked.get("text", "").lower() in f"{view.name} {view.id}"
        ]
        sort = asked.get("sort", "name")
        field = SORTED_BY.get(sort.lstrip("-"), sort.lstrip("-"))
        none = 0 if field in {"load", "restarts"} else ""
        rows.sort(
            key=lambda v: (_sorted_by(v, field) or none, v.name), reverse=sort.startswith("-")
        )
        limit, after = int(asked.get("limit", 100)), int(asked.get("after", 0))
        more = str(after + limit) if after + limit < len(rows) else ""
        counts: Any = dict(Counter(view.status for view in visible))
        healths: Any = dict(Counter(view.health.code for view in visible))
        items = tuple(rows[after : after + limit])
        return Reply(
            InstanceList(
                items=items, next=more, total=len(rows), counts=counts, health_counts=healths
            )
        )

    async def get(self, call: Call) -> Reply:
        view = self._one(call)
        detail = InstanceDetail(
            instance=view,
            env=self.env[view.id],
            secret_names=tuple(self.secrets[view.id]),
            started_at=view.created_at,
            next_alarm_at=time_text(call.now_ms + 5 * MINUTE),
            details=(
                Detail(name="Disk", value="1.2 of 20.0 GiB"),
                Detail(name="Ports", value="21008 to 21015"),
            ),
            climbs=self.climbs.get(view.id, ()),
            start=self.starts.get(view.id),
        )
        return Reply(detail)

    def _ordered(self, call: Call, status: str, **fields: Any) -> Reply:
        view = self._one(call)
        if view.status == status:
            message = f"{view.name} is {status} already."
            raise Refusal(409, "already", message, fix="Nothing needs to be done.")
        return Reply(self.change(view.id, status=status, **fields))

    async def start(self, call: Call) -> Reply:
        return self._ordered(call, "starting", desired="running")

    async def stop(self, call: Call) -> Reply:
        return self._ordered(call, "stopped", desired="stopped", agent_ready=None, load=None)

    async def restart(self, call: Call) -> Reply:
        self._one(call)
        return Reply(Pending(operation="ev-0001", url="/api/operations/ev-0001"), status=202)

    async def ladder(self, call: Call) -> Reply:
        view = self._one(call)
        told = view.recovery or RecoveryView()
        if call.endpoint == "instance.ladder-retry":
            return Reply(self.change(view.id, recovery=RecoveryView()))
        return Reply(self.change(view.id, recovery=msgspec.structs.replace(told, held=True)))

    async def destroy(self, call: Call) -> Reply:
        if call.body.confirm != self._one(call).name:
            raise Refusal(409, "confirm", "The name does not fit.", field="confirm", fix="Type it.")
        return self._ordered(call, "destroying", desired="destroyed")

    async def patch(self, call: Call) -> Reply:
        view = self._one(call)
        for name, value in call.body.env.items():
            self.env[view.id].pop(name, None)
            if value is not None:
                self.env[view.id][name] = value
        for name, value in call.body.secrets.items():
            kept = [each for each in self.secrets[view.id] if each != name]
            self.secrets[view.id] = kept + ([name] if value is not None else [])
        return Reply(self.change(view.id, seq=view.seq + 1))

    async def create(self, call: Call) -> Reply:
        view = msgspec.structs.replace(
            with_health(sample(19, now_ms=call.now_ms)),
            id=f"in-{len(self.instances):04d}",
            name=call.body.name,
            agent=call.body.agent,
            account=call.principal.account or "local",
        )
        self.instances[view.id] = view
        self.env[view.id], self.secrets[view.id] = {}, []
        self._hub.publish(INSTANCE, view.id, view.account)
        return Reply(view, status=201)

    async def bulk(self, call: Call) -> Reply:
        starts = call.endpoint == "instance.bulk-start"
        items = []
        for each in call.body.ids:
            if self.instances[each].status == "destroying":
                items.append(BulkItem(id=each, result="refused", message="It is being destroyed."))
                continue
            status, desired = ("starting", "running") if starts else ("stopped", "stopped")
            self.change(each, status=status, desired=desired)
            items.append(BulkItem(id=each, result="done"))
        return Reply(BulkAnswer(items=tuple(items)))

    async def logs(self, call: Call) -> Reply:
        view = self._one(call)
        at = view.created_at
        first = (
            LogLine(text="controller: agent ready after 1.2 s", stream="controller", at=at),
            LogLine(text="warning: the model answered after 9.1 s", stream="stderr", at=at),
        )
        lines = tuple(LogLine(text=text, at=at) for text in self.lines)
        return Reply(LogTail(lines=(*first, *lines)[-int(call.query.get("lines", 200)) :]))

    async def timeline(self, call: Call) -> Reply:
        page = int(call.query.get("after", 0))
        return Reply(timeline(self._one(call), page=page, now_ms=call.now_ms))

    async def explain(self, call: Call) -> Reply:
        return Reply(explanation(self._one(call), now_ms=call.now_ms))

    async def dry_run(self, call: Call) -> Reply:
        return Reply(rehearsal(now_ms=call.now_ms))

    async def charts(self, call: Call) -> Reply:
        return Reply(charts(now_ms=call.now_ms, fleet="id" not in call.path))

    async def agents(self, call: Call) -> Reply:
        one = AgentView(name="demo", summary="A small agent.", bundled=True, installed=True)
        two = AgentView(name="openclaw", summary="OpenClaw.", bundled=False, installed=True)
        return Reply(AgentList(items=(one, two)))

    async def operations(self, call: Call) -> Reply:
        return Reply(
            OperationList(items=tuple(operation(at, now_ms=call.now_ms) for at in range(24)))
        )

    async def operation(self, call: Call) -> Reply:
        event = call.path["event"]
        if not event.startswith("ev-"):
            raise Refusal(404, "no_such_operation", "There is no such operation.", fix="See all.")
        return Reply(operation(int(event[3:]), now_ms=call.now_ms))

    async def quarantine(self, call: Call) -> Reply:
        items = tuple(
            QuarantinedEvent(
                event=event,
                actor="instance/in-0003",
                name="MachineDescribed",
                at=time_text(call.now_ms - HOUR),
                error=text,
                attempts=1,
            )
            for event, text in self.quarantined.items()
        )
        return Reply(QuarantineList(items=items))

    async def decide(self, call: Call) -> Reply:
        event = call.path["event"]
        del self.quarantined[event]
        retries = call.endpoint == "quarantine.retry"
        return Reply(QuarantineAnswer(event=event, result="retrying" if retries else "dropped"))

    async def budget(self, call: Call) -> Reply:
        self._one(call)
        return Reply(self.budgets.get(call.path["id"]) or no_budget(call.path["id"]))

    async def preview(self, call: Call) -> Reply:
        """Return what another version would change: there is an older one and a newer one."""
        before, others = "2026.8.1", ("2026.9.6", "2026.3.13")
        asked = call.query.get("version", before)
        found = UpgradePreview(before=before, after=asked, outcome="nothing", versions=others)
        if asked != before:
            steps = ("its state is set aside", f"the doctor of {asked} looks")
            found = msgspec.structs.replace(
                found, outcome="changes", steps=steps, back=f"{before} runs again",
                restore=asked < before,
            )  # fmt: skip
        return Reply(found)

    async def upgrade(self, call: Call) -> Reply:
        """Keep what was ordered."""
        self.upgraded = call.body
        return Reply(self.instances[call.path["id"]])

    def handlers(self) -> dict[str, Any]:
        """Return the handlers by endpoint."""
        return {
            "instance.list": self.list,
            "instance.get": self.get,
            "instance.create": self.create,
            "instance.start": self.start,
            "instance.stop": self.stop,
            "instance.restart": self.restart,
            "instance.ladder-stop": self.ladder,
            "instance.ladder-retry": self.ladder,
            "instance.destroy": self.destroy,
            "instance.patch": self.patch,
            "instance.logs": self.logs,
            "instance.timeline": self.timeline,
            "instance.explain": self.explain,
            "instance.upgrade-preview": self.preview,
            "instance.upgrade": self.upgrade,
            "instance.charts": self.charts,
            "instance.budget": self.budget,
            "instance.fleet-charts": self.charts,
            "instance.bulk-start": self.bulk,
            "instance.bulk-stop": self.bulk,
            "rehearse.dry-run": self.dry_run,
            "agent.list": self.agents,
            "operation.list": self.operations,
            "operation.get": self.operation,
            "quarantine.list": self.quarantine,
            "quarantine.retry": self.decide,
            "quarantine.drop": self.decide,
        }
