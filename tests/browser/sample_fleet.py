"""A fleet that exists only here: sample data for the pages, changing when it is ordered to.

It answers the API's instance, operation and quarantine endpoints from memory, so that pages can
be looked at and tested without an engine. The real plane's own tests use the real handlers.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable
from typing import Any

import msgspec

from holdfast.web.stream import CONTACT, INSTANCE, Hub
from holdfast.wire.call import Call, Refusal, Reply
from holdfast.wire.messages.fields import Detail
from holdfast.wire.messages.instances import (
    BulkAnswer,
    BulkItem,
    Chart,
    ChartSeries,
    ChartSet,
    Explanation,
    Fact,
    InstanceDetail,
    InstanceList,
    InstanceView,
    LogLine,
    LogTail,
    Timeline,
    TimelineEntry,
)
from holdfast.wire.messages.operations import (
    Operation,
    OperationList,
    OperationStep,
    Pending,
    QuarantineAnswer,
    QuarantinedEvent,
    QuarantineList,
)
from holdfast.wire.messages.plane import AgentList, AgentView
from holdfast.wire.messages.rehearsal import (
    Rehearsal,
    RehearsedAction,
    RehearsedTick,
    Suppressed,
)
from holdfast.wire.times import time_text

NAMES = (
    "atlas birch cedar delta ember fjord grove heron iris juniper krill lumen maple nova otter "
    "pike quartz raven sage tern umber vega wren xenon yarrow zephyr amber basil coral dune"
).split()
SECOND, MINUTE, HOUR, DAY = 1_000, 60_000, 3_600_000, 86_400_000
LOST = "The machine has missed three check-ins; it was last heard 14 minutes ago."
CRASHES = "The agent has crashed five times in ten minutes."


def _status(at: int) -> tuple[str, str]:
    """Return status and desired of the sample's n-th instance: mostly well, some of each."""
    odd = {
        3: ("stopped", "stopped"), 7: ("starting", "running"), 11: ("restarting", "running"),
        16: ("stopped", "running"), 19: ("provisioned", "stopped"), 23: ("destroying", "destroyed"),
        28: ("stopped", "stopped"), 37: ("stopped", "stopped"), 45: ("stopped", "stopped"),
    }  # fmt: skip
    return odd.get(at, ("running", "running"))


class SampleFleet:
    """Some instances and what can be asked about them."""

    def __init__(self, hub: Hub, *, now_ms: int, count: int = 60) -> None:
        self._hub = hub
        self.instances: dict[str, InstanceView] = {}
        self.env: dict[str, dict[str, str]] = {}
        self.secrets: dict[str, list[str]] = {}
        self.lines: list[str] = []
        self.quarantined = {"ev-q1": "KeyError: 'machine_id'", "ev-q2": "ValueError: bad region"}
        for at in range(count):
            view = self._sample(at, now_ms)
            self.instances[view.id] = view
            self.env[view.id] = {"MODEL": "sonnet", "LOG_LEVEL": "info", "WORKSPACE": "/srv/work"}
            self.secrets[view.id] = ["ANTHROPIC_API_KEY", "SLACK_TOKEN"]
        self.say("agent", 24)

    def _sample(self, at: int, now_ms: int) -> InstanceView:
        status, desired = _status(at)
        name = NAMES[at % len(NAMES)] + (f"-{at // len(NAMES) + 1}" if at >= len(NAMES) else "")
        runs = status == "running"
        lost = at == 5
        heard = now_ms - (14 * MINUTE if lost else (at * 977) % 58_000) if status != "provisioned" else None
        return InstanceView(
            id=f"in-{at:04d}", name=name, account="local" if at % 4 else "studio",
            agent="openclaw" if at % 3 else "demo", desired=desired, status=status,  # type: ignore[arg-type]
            restarts={9: 5, 14: 2, 30: 1, 41: 12}.get(at, 0),
            last_contact_at=None if heard is None else time_text(heard),
            created_at=time_text(now_ms - 9 * DAY - at * HOUR), region="local",
            machine_id=f"m-{at:06x}", agent_version="2026.3.11" if at % 3 else "0.1.0",
            controller_version="0.1.0", agent_ready=(at != 9) if runs else None,
            contact="lost" if lost else "never" if status == "provisioned" else "here",
            load=round(0.12 + (at * 37 % 100) / 90, 2) if runs else None, epoch=2 + at % 3, seq=40 + at,
            attention=LOST if lost else CRASHES if at == 9 else "",
            error="exit status 137 (killed)" if at == 9 else "",
        )  # fmt: skip

    def say(self, what: str, times: int = 1) -> None:
        """Print lines into every log."""
        for _ in range(times):
            self.lines.append(f"{what}: turn {len(self.lines) + 1} done in 1.{len(self.lines) % 10} s")

    def change(self, instance_id: str, **fields: Any) -> InstanceView:
        """Commit a change of an instance and tell the pages."""
        view = msgspec.structs.replace(self.instances[instance_id], **fields)
        self.instances[instance_id] = view
        topic = CONTACT if set(fields) <= {"last_contact_at", "load"} else INSTANCE
        self._hub.publish(topic, instance_id, view.account)
        return view

    def _visible(self, call: Call) -> Iterable[InstanceView]:
        account = call.principal.account
        return [v for v in self.instances.values() if account in {None, v.account}]

    def _one(self, call: Call) -> InstanceView:
        found = [view for view in self._visible(call) if view.id == call.path["id"]]
        if not found:
            raise Refusal(404, "no_such_instance", "There is no such instance.", fix="See the fleet.")
        return found[0]

    async def list(self, call: Call) -> Reply:
        visible = list(self._visible(call))
        rows = visible
        asked = call.query
        if "status" in asked:
            rows = [v for v in rows if v.status in asked["status"].split(",")]
        if "agent" in asked:
            rows = [v for v in rows if v.agent == asked["agent"]]
        if "attention" in asked:
            rows = [v for v in rows if bool(v.attention) == (asked["attention"] == "true")]
        if "text" in asked:
            rows = [v for v in rows if asked["text"].lower() in v.name + " " + v.id]
        sort = asked.get("sort", "name")
        key = {"contact": "last_contact_at", "created": "created_at"}.get(sort.lstrip("-"), sort.lstrip("-"))
        rows.sort(key=lambda v: (getattr(v, key) is not None, getattr(v, key) or 0 if key in {"load", "restarts"} else getattr(v, key) or "", v.name), reverse=sort.startswith("-"))
        limit, after = int(asked.get("limit", 100)), int(asked.get("after", 0))
        more = str(after + limit) if after + limit < len(rows) else ""
        counts: Any = dict(Counter(v.status for v in visible))
        items = tuple(rows[after : after + limit])
        return Reply(InstanceList(items=items, next=more, total=len(rows), counts=counts))

    async def get(self, call: Call) -> Reply:
        view = self._one(call)
        return Reply(
            InstanceDetail(
                instance=view, env=self.env[view.id], secret_names=tuple(self.secrets[view.id]),
                started_at=view.created_at, next_alarm_at=time_text(call.now_ms + 5 * MINUTE),
                details=(Detail(name="Disk", value="1.2 of 20.0 GiB"), Detail(name="Ports", value="21008–21015")),
            )
        )  # fmt: skip

    def _ordered(self, call: Call, status: str, **fields: Any) -> Reply:
        view = self._one(call)
        if view.status == status:
            raise Refusal(409, "already", f"{view.name} is {status} already.", fix="Nothing needs to be done.")
        return Reply(self.change(view.id, status=status, **fields))

    async def start(self, call: Call) -> Reply:
        return self._ordered(call, "starting", desired="running")

    async def stop(self, call: Call) -> Reply:
        return self._ordered(call, "stopped", desired="stopped", agent_ready=None, load=None)

    async def restart(self, call: Call) -> Reply:
        self._one(call)
        return Reply(Pending(operation="ev-0001", url="/api/operations/ev-0001"), status=202)

    async def destroy(self, call: Call) -> Reply:
        if call.body.confirm != self._one(call).name:
            raise Refusal(409, "confirm", "The name does not fit.", field="confirm", fix="Type the name.")
        return self._ordered(call, "destroying", desired="destroyed")

    async def patch(self, call: Call) -> Reply:
        view = self._one(call)
        for name, value in call.body.env.items():
            self.env[view.id].pop(name, None)
            if value is not None:
                self.env[view.id][name] = value
        for name, value in call.body.secrets.items():
            kept = [n for n in self.secrets[view.id] if n != name]
            self.secrets[view.id] = kept + ([name] if value is not None else [])
        return Reply(self.change(view.id, seq=view.seq + 1))

    async def create(self, call: Call) -> Reply:
        view = msgspec.structs.replace(
            self.instances["in-0019"], id=f"in-{len(self.instances):04d}", name=call.body.name,
            agent=call.body.agent, account=call.principal.account or "local",
        )  # fmt: skip
        self.instances[view.id] = view
        self.env[view.id], self.secrets[view.id] = {}, []
        self._hub.publish(INSTANCE, view.id, view.account)
        return Reply(view, status=201)

    def bulk(self, status: str, desired: str) -> Any:
        async def handler(call: Call) -> Reply:
            items = []
            for item in call.body.ids:
                if self.instances[item].status == "destroying":
                    items.append(BulkItem(id=item, result="refused", message="It is being destroyed."))
                else:
                    self.change(item, status=status, desired=desired)
                    items.append(BulkItem(id=item, result="done"))
            return Reply(BulkAnswer(items=tuple(items)))

        return handler

    async def logs(self, call: Call) -> Reply:
        self._one(call)
        first = call.now_ms - len(self.lines) * 700
        lines = [LogLine(text=t, at=time_text(first // 60_000 * 60_000 + i * 700)) for i, t in enumerate(self.lines)]
        warn = LogLine(text="warning: model answered after 9.1 s", stream="stderr", at=time_text(first))
        ctl = LogLine(text="controller: agent ready after 1.2 s", stream="controller", at=time_text(first))
        return Reply(LogTail(lines=(ctl, warn, *lines)[-200:]))

    async def timeline(self, call: Call) -> Reply:
        view = self._one(call)
        now = call.now_ms // MINUTE * MINUTE - (int(call.query.get("after", 0)) * HOUR)
        rows = [
            ("e5", 2 * MINUTE, "event", "ContactRegained", "", "", ""),
            ("o3", 9 * MINUTE, "outcome", "MachineStarted", "", "listening after 1.1 s", "x3"),
            ("x3", 9 * MINUTE + 900, "effect", "start", "", "", "a3"),
            ("a3", 9 * MINUTE + 950, "action", "start_machine", "start.down", "the machine is down and should run", "e3"),
            ("e3", 9 * MINUTE + 999, "event", "DownNoticed", "", "exit status 137 (killed)", ""),
            ("c2", 40 * MINUTE, "conflict", "create_machine", "", "the name was taken; it is ours and was adopted", "a2"),
            ("a2", 40 * MINUTE + 9, "action", "create_machine", "start.wanted", "desired running, nothing there", "e2"),
            ("e2", 40 * MINUTE + 20, "event", "StartRequested", "", "by operator", ""),
            ("r1", 50 * MINUTE, "refusal", "RestartRequested", "", "it is stopped; start it first", ""),
            ("e1", 60 * MINUTE, "event", "InstanceCreated", "", "", ""),
        ]  # fmt: skip
        page = call.query.get("after", "0")
        entries = tuple(
            TimelineEntry(
                id=f"{page}-{i}", at=time_text(now - ago), kind=kind, name=name, rule=rule,  # type: ignore[arg-type]
                reason=reason, cause=f"{page}-{cause}" if cause else "", seq=view.seq, tick=9,
                outcome="refused" if kind == "refusal" else "",
            )
            for i, ago, kind, name, rule, reason, cause in rows
        )  # fmt: skip
        return Reply(Timeline(entries=entries, next=str(int(page) + 1) if int(page) < 2 else ""))

    async def explain(self, call: Call) -> Reply:
        view = self._one(call)
        if view.status == "running":
            summary, facts = "It runs, as it should.", [("The agent answered its probe.", 30 * SECOND)]
        else:
            summary = f"It is {view.status} because it is wanted {view.desired}."
            facts = [("An operator asked for it.", 3 * MINUTE), ("The last start took 1.2 s.", HOUR)]
        return Reply(
            Explanation(
                id=view.id, desired=view.desired, status=view.status, summary=summary,
                facts=tuple(Fact(code="c", text=t, at=time_text(call.now_ms - ago)) for t, ago in facts),
                waiting_for="the next check-in", next_at=time_text(call.now_ms + 90 * SECOND),
            )
        )  # fmt: skip

    async def dry_run(self, call: Call) -> Reply:
        tick = RehearsedTick(
            number=12, at=time_text(call.now_ms), deadline_at=time_text(call.now_ms + MINUTE),
            actions=(RehearsedAction(name="start_machine", rule="start.down", reason="it should run"),),
            suppressed=(Suppressed(name="restart_agent", rule="restart.cooldown", reason="restarted 20 s ago", until=time_text(call.now_ms + 40 * SECOND)),),
        )  # fmt: skip
        return Reply(Rehearsal(actor="instance/x", mode="dry-run", ticks=(tick,), summary="One action is due.", changes=("status: stopped → starting",)))

    async def charts(self, call: Call) -> Reply:
        until = call.now_ms // 1_000 // 60 * 60
        at = tuple(range(until - 3_600, until, 60))

        def wave(base: float, swing: float, phase: float) -> tuple[float | None, ...]:
            return tuple(
                None if 20 <= i < 23 else max(0.0, round(base + swing * math.sin(i / 7 + phase) + swing / 3 * math.sin(i * 1.7 + phase), 3))
                for i in range(len(at))
            )  # fmt: skip

        def chart(name: str, title: str, *lines: tuple[str, str, tuple[float | None, ...]]) -> Chart:
            return Chart(name=name, title=title, at_s=at, series=tuple(ChartSeries(name=n, unit=u, values=v) for n, u, v in lines))

        zero = tuple(float(i in {8, 9, 31, 44, 45}) for i in range(len(at)))
        load = chart("load", "Load (5 min average)", ("p50", "load", wave(0.4, 0.1, 0)), ("p95", "load", wave(1.3, 0.3, 1)))
        rest = chart("restarts", "Agent restarts", ("restarts", "restarts", zero), ("crashes", "crashes", tuple(v / 1 if i % 2 else 0.0 for i, v in enumerate(zero))))
        band = chart("bandwidth", "Bandwidth", ("in", "bytes/s", wave(220_000, 90_000, 2)), ("out", "bytes/s", wave(90_000, 40_000, 3)))
        disk = chart("disk", "Disk used", ("p50", "%", wave(31, 1, 0)), ("p95", "%", wave(64, 2, 0)))
        seen = chart("reporting", "Machines reporting", ("machines", "machines", tuple(None if v is None else float(round(v)) for v in wave(50, 1.4, 0))))
        one = "id" in call.path
        return Reply(ChartSet(since=time_text((until - 3_600) * 1_000), until=time_text(until * 1_000), step_s=60, charts=(load, rest, band, disk) if one else (seen, load, rest, band, disk)))

    async def agents(self, call: Call) -> Reply:
        one = AgentView(name="demo", summary="A small agent.", bundled=True, installed=True)
        two = AgentView(name="openclaw", summary="OpenClaw.", bundled=False, installed=True)
        return Reply(AgentList(items=(one, two)))

    def _operation(self, at: int, now_ms: int) -> Operation:
        outcome = ("applied", "applied", "refused", "applied")[at % 4]
        steps = (
            OperationStep(kind="event", id="e", name="StartRequested", at=time_text(now_ms - MINUTE), state="done"),
            OperationStep(kind="action", id="a", name="start_machine", at=time_text(now_ms - MINUTE), state="done", rule="start.wanted", reason="desired running"),
            OperationStep(kind="effect", id="x", name="start", at=time_text(now_ms - MINUTE), state="running" if at == 1 else "done", attempts=2),
        )  # fmt: skip
        return Operation(
            event=f"ev-{at:04d}", actor=f"instance/in-{at:04d}", name=("StartRequested", "RestartRequested", "StopRequested")[at % 3],
            accepted_at=time_text(now_ms - at * 7 * MINUTE - 20_000), outcome=outcome, by="operator",  # type: ignore[arg-type]
            message="It is being destroyed." if outcome == "refused" else "", seq=90 - at, done=at != 1, steps=steps,
        )  # fmt: skip

    async def operations(self, call: Call) -> Reply:
        items = tuple(self._operation(at, call.now_ms) for at in range(24))
        return Reply(OperationList(items=items))

    async def operation(self, call: Call) -> Reply:
        if not call.path["event"].startswith("ev-"):
            raise Refusal(404, "no_such_operation", "There is no such operation.", fix="See the list.")
        return Reply(self._operation(int(call.path["event"][3:]), call.now_ms))

    async def quarantine(self, call: Call) -> Reply:
        items = tuple(
            QuarantinedEvent(event=e, actor="instance/in-0003", name="MachineDescribed", at=time_text(call.now_ms - HOUR), error=text, attempts=1)
            for e, text in self.quarantined.items()
        )  # fmt: skip
        return Reply(QuarantineList(items=items))

    async def decide(self, call: Call) -> Reply:
        self.quarantined.pop(call.path["event"])
        retries = call.endpoint == "quarantine.retry"
        return Reply(QuarantineAnswer(event=call.path["event"], result="retrying" if retries else "dropped"))

    def handlers(self) -> dict[str, Any]:
        """Return the handlers by endpoint."""
        return {
            "instance.list": self.list, "instance.get": self.get, "instance.create": self.create,
            "instance.start": self.start, "instance.stop": self.stop, "instance.restart": self.restart,
            "instance.destroy": self.destroy, "instance.patch": self.patch, "instance.logs": self.logs,
            "instance.timeline": self.timeline, "instance.explain": self.explain,
            "instance.charts": self.charts, "instance.fleet-charts": self.charts,
            "instance.bulk-start": self.bulk("starting", "running"),
            "instance.bulk-stop": self.bulk("stopped", "stopped"),
            "rehearse.dry-run": self.dry_run, "agent.list": self.agents,
            "operation.list": self.operations, "operation.get": self.operation,
            "quarantine.list": self.quarantine, "quarantine.retry": self.decide,
            "quarantine.drop": self.decide,
        }  # fmt: skip
