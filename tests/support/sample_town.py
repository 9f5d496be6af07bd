"""A town in the middle of its work, made by the real rules from real events; and its handlers.

The reader, the log and the records are what the handlers get of a plane: rows of the ticks that
were made here.
"""

from __future__ import annotations

from typing import Any

from holdfast.actors.definition import EffectCall
from holdfast.actors.kinds import make_kind
from holdfast.actors.ports import Logged, Pending
from holdfast.actors.record import TickRecord, decode_record, encode_record
from holdfast.actors.rehearse import Glance
from holdfast.actors.tick import Folded, begin, tick
from holdfast.kernel.ids import EventId, address
from holdfast.kernel.outcome import Ok
from holdfast.letters.topics import TOWN as TOPIC
from holdfast.stores.memory.towns import MemoryTownRecords
from holdfast.telemetry import ticks
from holdfast.towns import board, events, ports
from holdfast.towns.board_handlers import BoardDeps, board_handlers
from holdfast.towns.definition import KIND, TOWN
from holdfast.towns.policy import Policy
from holdfast.towns.presenters import town_view
from holdfast.towns.records import RigSettings, Text
from holdfast.towns.state import Config, NewBead, State, encode_entity, found
from holdfast.towns.views import BEAD_VIEW, TOWN_VIEW
from holdfast.web.hub import Hub
from holdfast.wire.api.call import Call, Handler, Refusal, Reply
from holdfast.wire.api.instances import ChartSet
from holdfast.wire.times import time_text

MINUTE_MS = 60_000
TITLES = {
    "schema": "Write the schema of orders",
    "import": "Import the old orders",
    "search": "Search orders by customer",
    "page": "A page that shows an order",
    "docs": "Tell people how to search",
    "flaky": "The login test fails every third run",
    "typo": "A typo in the footer",
    "slow": "The list of customers takes four seconds",
    "held": "Move to the new payment provider",
}
OUTPUT = "tests/test_orders.py ..F.\nE   assert total == 12\nE    +  where 13 = total(orders)\n"


class SampleTown:
    """One town with a convoy, a queue, a failed bead, an escalation and a silent agent."""

    def __init__(self, hub: Hub, *, now_ms: int, name: str = "orders", busy: bool = True) -> None:
        self.hub = hub
        self.name = name
        self.policy = Policy()
        self.now_ms = now_ms - 40 * MINUTE_MS
        self.folded: Folded[State] = begin(TOWN, address(KIND, f"town-{name}"))
        self.before: dict[int, Folded[State]] = {}
        self.log: list[Logged] = []
        self.records: list[bytes] = []
        self.texts = MemoryTownRecords()
        self.calls: list[EffectCall] = []
        self.seq = 0
        config = Config(budget_day=20_000_000, town_agents_max=6)
        self.do(events.TownCreated(account="local", name=name, by="olga", config=config))
        if busy:
            self._work()
        self.now_ms = now_ms

    @property
    def id(self) -> str:
        return f"town-{self.name}"

    @property
    def state(self) -> State:
        return self.folded.state

    # -- what happens

    def do(self, *happened: events.Event, wait_ms: int = 1_000) -> None:
        """Take events, and tick until nothing is due."""
        self.now_ms += wait_ms
        rows = []
        for event in happened:
            self.seq += 1
            rows.append(
                Pending(
                    id=EventId(f"ev-{self.seq}"), body=events.encode_event(event),
                    version=TOWN.version, source="api", accepted_ms=self.now_ms,
                )
            )  # fmt: skip
        for _ in range(50):
            result = tick(TOWN, self.policy, self.folded, rows, self.now_ms, self.folded.number + 1)
            self._keep(result, rows)
            self.calls += [call.call for call in result.calls]
            rows = []
            if result.deadline_ms is None or result.deadline_ms > self.now_ms:
                break
        self.hub.publish(TOPIC, self.id, "local")

    def _keep(self, result: Any, rows: list[Pending]) -> None:
        self.folded = result.after
        self.before[result.after.number] = result.after
        outcomes = {stamp.id: stamp for stamp in result.stamps}
        for row in rows:
            stamp = outcomes[row.id]
            self._log(row.id, row.body, "api", stamp.outcome, result.after.number)
        for n, intent in enumerate(result.intents):
            self._log(
                f"in-{result.after.number}-{n}", intent.body, "intent", "applied",
                result.after.number,
            )  # fmt: skip
        self.records.append(
            encode_record(
                TickRecord(
                    actor=f"{KIND}/{self.id}", number=result.after.number, now_ms=self.now_ms,
                    basis=0, seq=len(self.log), digest="", policy="", code="", state_version=1,
                    inputs=result.inputs, decisions=result.decisions, notes=result.notes,
                )
            )
        )  # fmt: skip

    def _log(self, event: str, body: bytes, source: Any, outcome: Any, number: int) -> None:
        self.log.append(
            Logged(
                id=EventId(event), seq=len(self.log) + 1, tick=number, at_ms=self.now_ms,
                outcome=outcome, body=body, version=1, source=source,
            )
        )  # fmt: skip

    def start_of(self, bead: str) -> ports.StartCall:
        found_calls = [
            call.body for call in self.calls
            if isinstance(call.body, ports.StartCall) and call.body.bead == bead
        ]  # fmt: skip
        return found_calls[-1]

    def heard(self, bead: str) -> None:
        start = self.start_of(bead)
        self.do(events.AgentHeard(start.agent, start.attempt))

    def finish(self, bead: str) -> None:
        start = self.start_of(bead)
        done = events.AgentDone(
            agent=start.agent, attempt=start.attempt, branch=start.branch, commit="4f2a9c1d7e"
        )
        self.do(done, wait_ms=3 * MINUTE_MS)

    def request_of(self, bead: str) -> str:
        (one,) = found(self.state, "reviews", bead)
        return str(one)

    def answer(self, body: type[Any], value: Any) -> None:
        """Answer the last call of a kind."""
        call = [one for one in self.calls if isinstance(one.body, body)][-1]
        self.calls.remove(call)
        self.do(TOWN.settle(call, Ok(value)), wait_ms=20_000)

    def land(self, bead: str) -> None:
        """Take a bead through review, gates and landing."""
        self.finish(bead)
        self.heard(self.request_of(bead))
        self.finish(self.request_of(bead))
        self.gates(green=True)
        self.answer(ports.LandCall, ports.Merged(commit="9be1d20c44"))

    def gates(self, *, green: bool) -> None:
        """Answer the gates that run."""
        call = [one for one in self.calls if isinstance(one.body, ports.GatesCall)][-1].body
        assert isinstance(call, ports.GatesCall)
        results = tuple(
            events.GateResult(name, green or name != "test", f"out-{name}-{call.call}")
            for name in call.gates
        )
        for result in results:
            body = "all is well\n" if result.passed else OUTPUT
            self._text(result.content, result.name, body, "gate")
        self.answer(ports.GatesCall, ports.GatesRan(commit=call.commit, results=results))

    def _text(self, one: str, title: str, body: str = "", kind: Any = "bead") -> None:
        rows = self.texts._texts[self.id]
        rows[one] = Text(id=one, kind=kind, title=title, body=body)

    def _new(self, one: str, **fields: Any) -> NewBead:
        self._text(f"text-{one}", TITLES[one], f"{TITLES[one]}.\n\nKeep what is there working.")
        return NewBead(id=f"bead-{one}", rig="shop", content=f"text-{one}", **fields)

    def _sling(self, one: str, **fields: Any) -> None:
        self.do(events.BeadCreated(bead=self._new(one, **fields), by="olga"))

    def _work(self) -> None:
        self.do(events.RigAdded(rig="shop", name="shop", repository="https://git.example/shop",
                                gates=("lint", "test")))  # fmt: skip
        self.do(events.AgentAdded(agent="agent-mayor", role="mayor", name="Mayor"))
        beads = (
            self._new("schema", priority=1),
            self._new("import", blocked_by=("bead-schema",)),
            self._new("search", blocked_by=("bead-schema",)),
            self._new("page", blocked_by=("bead-import", "bead-search")),
            self._new("docs", blocked_by=("bead-page",), priority=3),
        )
        self._text("text-convoy", "Orders can be found")
        self.do(events.ConvoyCreated(convoy="convoy-orders", beads=beads, branch="convoy/orders",
                                     content="text-convoy", by="olga"))  # fmt: skip
        self.heard("bead-schema")
        self.land("bead-schema")
        self._sling("typo", priority=3)
        self.heard("bead-typo")
        self.finish("bead-typo")
        self._sling("slow", priority=0)
        self._sling("held", held=True)
        self._sling("flaky", priority=1)
        for one in ("import", "search", "slow"):
            self.heard(f"bead-{one}")
        start = self.start_of("bead-flaky")
        refused = events.StartRefused(
            agent=start.agent, attempt=start.attempt, code="no_host", charged=True
        )
        self.do(refused)
        request = self.request_of("bead-typo")
        self.heard(request)
        self.finish(request)
        self.gates(green=False)
        self.do(events.Escalated(escalation="esc-1", severity="high", category="help_request",
                                 about="b/bead-slow"))  # fmt: skip
        start = self.start_of("bead-search")
        self.do(events.AgentSilent(start.agent, start.attempt), wait_ms=MINUTE_MS)

    # -- the plane's side

    def handlers(self) -> dict[str, Handler]:
        """Return the handlers over this town alone."""
        return SampleTowns(self).handlers()


class SampleTowns:
    """The handlers over some towns."""

    def __init__(self, *towns: SampleTown) -> None:
        self.towns = {town.id: town for town in towns}
        self.asked: list[str] = []

    def handlers(self) -> dict[str, Handler]:
        deps = BoardDeps(
            reader=self,  # type: ignore[arg-type]
            records=self,  # type: ignore[arg-type]
            policy=Policy(),
            state=self._state,
            elsewhere=self._elsewhere,
        )
        return dict(board_handlers(deps)) | {"towns.get": self._town, "towns.panels": panels_of}

    async def _town(self, call: Call) -> Reply:
        return Reply(town_view(self.towns[call.path["id"]].state.town))

    async def _state(self, actor: Any) -> Folded[State] | None:
        return self.towns[actor.id].folded

    async def _elsewhere(self, view: str, town: str, number: int | None) -> Any:
        known = self.towns[town]
        number = known.folded.number if number is None else number
        if number not in known.before:
            raise Refusal(404, "no_such_actor", f"tick {number} is not kept")
        record = next(row for row in map(decode_record, known.records) if row.number == number)
        glance = Glance(
            kind=make_kind(TOWN, known.policy),
            folded=known.before[number],
            last=record,
            pending=0,
            now_ms=record.now_ms,
        )
        self.asked.append(view)
        return getattr(board, view)(glance)

    async def view(self, view: str, key: str) -> tuple[bytes, str, int] | None:
        town = self.towns.get(key.partition(":")[0])
        if town is None:
            return None
        if view == TOWN_VIEW:
            return encode_entity(town.state.town), "local", 0
        bead = town.state.beads.get(key.partition(":")[2])
        return None if bead is None else (encode_entity(bead), "local", 0)

    async def views(
        self, view: str, *, account: str | None, after: str = "", limit: int = 1_000
    ) -> list[tuple[str, bytes, int]]:
        assert view in {TOWN_VIEW, BEAD_VIEW}
        rows = [(one, encode_entity(town.state.town), 0) for one, town in self.towns.items()]
        mine = [row for row in sorted(rows) if account in {None, "local"}]
        return [row for row in mine if row[0] > after][:limit]

    async def log_tail(self, actor: Any, *, before: int = 0, limit: int = 100) -> list[Logged]:
        rows = [row for row in self.towns[actor.id].log if not before or row.seq < before]
        return rows[::-1][:limit]

    async def ticks(self, actor: Any, *, after: int = 0, limit: int = 1_000) -> list[bytes]:
        rows = self.towns[actor.id].records
        return [row for row in rows if decode_record(row).number > after][:limit]

    async def rigs(self, town: str) -> tuple[RigSettings, ...]:
        """Return no settings: the rigs of samples have their addresses in the state."""
        del town
        return ()

    async def texts(self, town: str, ids: tuple[str, ...]) -> Any:
        return await self.towns[town].texts.texts(town, ids)

    async def text(self, town: str, text: str) -> Text | None:
        return await self.towns[town].texts.text(town, text)


async def panels_of(call: Call) -> Reply:
    """Return an hour of ticks: busy ones, a slow one, and a queue that grew too long."""
    span = ticks.span_of(3_600, now_ms=call.now_ms)
    moments = range(span.since_s, span.until_s, span.step_s)
    buckets, types = [], []
    for place, at_s in enumerate(moments):
        if place % 17 == 0:
            continue  # it did not tick
        slow, failed = 620 if place == 40 else 12 + place % 9, place % 5 == 0
        buckets.append(
            ticks.TickBucket(
                bucket_s=at_s, ticks=4, wall_sum=4.0 * slow, wall_max=slow * 1.5,
                drained=6 + place % 4, drained_max=4, actions=5, attempted=4,
                succeeded=4 - failed, failed=int(failed), violations=int(place == 41),
                pending=55 if place > len(moments) - 6 else place % 7,
            )
        )  # fmt: skip
        names = ("Dispatch", "RunGates", "Land", "Release", "Poke", "Recover", "Bump", "Retire")
        types += [ticks.TypeBucket(at_s, name, (place + n) % 4) for n, name in enumerate(names)]
    return Reply(
        ChartSet(
            since=time_text(span.since_s * 1_000), until=time_text(span.until_s * 1_000),
            step_s=span.step_s, charts=ticks.panels(span, buckets, types),
        )
    )  # fmt: skip
