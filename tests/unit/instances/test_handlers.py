"""The calls about instances over the real engine, in virtual time on the simulated cloud."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Coroutine
from typing import Any, TypeVar
from uuid import UUID

import pytest

from holdfast.actors.dispatch import Provider
from holdfast.actors.kinds import make_kinds
from holdfast.actors.limiter import Limiter
from holdfast.actors.probing import Lookout
from holdfast.instances.effects import CloudCalls
from holdfast.instances.environment import Platform
from holdfast.instances.handlers import Deps, handlers
from holdfast.instances.index import FleetIndex
from holdfast.instances.placement import Offer, Placement
from holdfast.instances.policy import Policy
from holdfast.instances.ports import LogChunk
from holdfast.instances.views import DETAIL_VIEW, read_detail
from holdfast.kernel.secret import Secret
from holdfast.letters.machine import LastContact
from holdfast.plane.wiring.consent import node_kind
from holdfast.plane.wiring.engine import make_engine
from holdfast.plane.wiring.instances import instance_kind
from holdfast.plane.wiring.machine_secrets import ControllersAsHolders, OwnMint
from holdfast.plane.wiring.pairing import pairing_kind
from holdfast.sim.loop import SimClock, run
from holdfast.stores.memory.journal import MemoryJournal, MemoryReader, MemoryStore
from holdfast.stores.sqlite.fleet import SqliteFleet
from holdfast.wire.api.call import Call, Principal, Refusal
from holdfast.wire.api.instances import (
    BulkOrder,
    InstanceCreate,
    InstanceDestroy,
    InstanceOrder,
    InstancePatch,
)
from holdfast.wire.controller.checkin import MachineStatus
from holdfast.world.clouds.simulated import SimulatedCloud
from tests.support.logs import Lines
from tests.support.patience import patience
from tests.support.runnable import Runnable
from tests.unit.actors.rig import Figures
from tests.unit.instances.test_clouds import RING

T = TypeVar("T")

OPERATOR = Principal("root", "operator", None, "session")
OWNER = Principal("ann", "owner", "acme", "token")
STRANGER = Principal("bob", "owner", "other", "token")


class Dice:
    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)

    def token(self, prefix: str) -> str:
        return prefix + self._random.randbytes(32).hex()

    def uuid(self) -> str:
        return str(UUID(bytes=self._random.randbytes(16), version=4))


class Heard:
    def contact(self, instance: str) -> LastContact | None:
        return LastContact(
            heard_ms=1_700_000_000_000,
            restarts=4,
            status=MachineStatus(uptime_seconds=0, load_avg_5m=0.5),
        )


class Printed:
    async def tail(self, provider: str, machine_id: str, *, lines: int) -> LogChunk:
        return LogChunk(
            (
                '{"at_ms":1700000000000,"event":"agent.line","stream":"stderr","line":"oh"}',
                '{"at_ms":1700000000000,"event":"listening"}',
                "plain",
            )
        )


class Plane:
    """Handlers, engine and cloud of one plane."""

    def __init__(self, clock: SimClock) -> None:
        store = MemoryStore()
        self.store = store
        self.cloud = SimulatedCloud(
            clock=clock,
            chance=random.Random(3),
            sleep=lambda wait_ms: asyncio.sleep(wait_ms / 1_000),
        )
        calls = CloudCalls(
            self.cloud,
            sealer=RING,
            platform=Platform(checkin_url="http://plane/api/controller/checkin"),
            token_secret=Secret("fleet"),
            mint=OwnMint(Dice(2), clock),
            holders=ControllersAsHolders(),
        )
        gate = Limiter(clock, rate_per_s=1e6)
        policy = Policy(first_contact_ms=0)
        self.log = Lines()
        self.engine = make_engine(
            MemoryJournal(store, clock=clock),
            make_kinds(instance_kind(policy), pairing_kind(), node_kind()),
            providers={"sim": Provider(execute=calls.execute, gate=gate)},
            lookouts={"sim": Lookout(look=calls.look, gate=gate)},
            clock=clock,
            log=self.log,
            meter=Figures(),
            holder="test",
            code="test",
        )
        heard, reader = Heard(), MemoryReader(store)
        self.fleet = FleetIndex(SqliteFleet(), reader, heard, log=self.log)
        self.engine.owner.listen(self.fleet.on_commit)
        self.calls = handlers(
            Deps(
                mailboxes=self.engine.mailbox,
                reader=reader,
                contacts=heard,
                fleet=self.fleet,
                logs=Printed(),
                sealer=RING,
                chance=Dice(1),
                clock=clock,
                policy=policy,
                placement=Placement(
                    cloud="sim",
                    region="ams",
                    offers={
                        "sim": Offer(sizes=True),
                        "host": Offer(sizes=False, regions=("local",)),
                    },
                ),
                account="local",
                agents=Runnable({"demo": (), "openclaw": ("2026.8.1-node-24", "2026.9.6-node-24")}),
            )
        )

    async def do(
        self,
        name: str,
        body: Any = None,
        *,
        by: Principal = OWNER,
        one: str = "",
        key: str = "",
        **query: str,
    ) -> Any:
        call = Call(
            endpoint=name,
            principal=by,
            path={"id": one} if one else {},
            query=query,
            body=body,
            idempotency_key=key,
        )
        return (await self.calls[name](call)).body

    async def refused(self, name: str, body: Any = None, **more: Any) -> tuple[int, str]:
        with pytest.raises(Refusal) as refusal:
            await self.do(name, body, **more)
        return refusal.value.status, refusal.value.problem.code

    async def create(self, name: str = "alpha", **more: Any) -> str:
        made = await self.do("instance.create", InstanceCreate(name=name, **more))
        return str(made.id)

    async def until(self, instance_id: str, status: str) -> None:
        async with asyncio.timeout(patience(120)):
            while (await self.do("instance.get", one=instance_id)).instance.status != status:  # noqa: ASYNC110
                await asyncio.sleep(0.05)


def story(main: Any) -> None:
    async def told(clock: SimClock) -> None:
        plane = Plane(clock)
        await plane.engine.start()
        await plane.fleet.fill()
        try:
            await main(plane)
        finally:
            await plane.engine.stop()
        assert plane.log.at_least("error", "critical") == []

    def begin(_loop: Any, clock: SimClock) -> Coroutine[Any, Any, None]:
        return told(clock)

    run(1, begin)


def test_an_instance_is_made_started_stopped_and_destroyed() -> None:
    async def main(plane: Plane) -> None:
        one = await plane.create(env={"A": "1"}, secrets={"S": "hidden"})
        await plane.until(one, "running")
        detail = await plane.do("instance.get", one=one)
        assert detail.env == {"A": "1"}
        assert detail.secret_names == ("S",)
        assert detail.sandbox_id == "ki_" + one.replace("-", "")
        assert (detail.instance.account, detail.instance.region) == ("acme", "ams")
        assert detail.instance.load == 0.5
        assert detail.instance.restarts == 4
        view = await plane.do("instance.stop", InstanceOrder(reason="rest"), one=one)
        assert view.desired == "stopped"
        await plane.until(one, "stopped")
        await plane.do("instance.patch", InstancePatch(env={"A": None, "B": "2"}), one=one)
        assert (await plane.do("instance.get", one=one)).env == {"B": "2"}
        await plane.do("instance.start", InstanceOrder(), one=one)
        await plane.until(one, "running")
        await plane.do("instance.restart", InstanceOrder(), one=one)
        await plane.until(one, "running")
        wrong = InstanceDestroy(confirm="alpah")
        assert await plane.refused("instance.destroy", wrong, one=one) == (400, "not_confirmed")
        view = await plane.do("instance.destroy", InstanceDestroy(confirm="alpha"), one=one)
        assert view.desired == "destroyed"
        await asyncio.sleep(180)
        assert await plane.refused("instance.get", one=one) == (404, "no_such_instance")
        assert [m for m in plane.cloud.all_machines() if m.state != "destroyed"] == []
        assert b"hidden" not in repr(vars(plane.store)).encode()

    story(main)


def test_what_is_not_visible_is_not_there() -> None:
    async def main(plane: Plane) -> None:
        one = await plane.create()
        for name, body in (
            ("instance.get", None),
            ("instance.start", InstanceOrder()),
            ("instance.patch", InstancePatch()),
            ("instance.destroy", InstanceDestroy(confirm="alpha")),
            ("instance.timeline", None),
            ("instance.explain", None),
            ("instance.upgrade-preview", None),
            ("instance.logs", None),
        ):
            assert await plane.refused(name, body, by=STRANGER, one=one) == (
                404,
                "no_such_instance",
            )
        assert (await plane.do("instance.list", by=STRANGER)).total == 0
        assert (await plane.do("instance.list", by=OPERATOR)).total == 1
        missing = await plane.refused("instance.get", one="a b")
        assert missing == (404, "no_such_instance")

    story(main)


def test_a_name_is_taken_once_in_an_account_and_free_in_another() -> None:
    async def main(plane: Plane) -> None:
        await plane.create()
        again = InstanceCreate(name="alpha")
        assert await plane.refused("instance.create", again) == (409, "name_taken")
        await plane.do("instance.create", again, by=STRANGER)

    story(main)


def test_nobody_is_answered_by_the_key_of_a_namesake() -> None:
    async def main(plane: Plane) -> None:
        person = Principal("ann", "owner", "acme", "session", "a-session")
        first = Principal("ann", "owner", "acme", "token", "tok_1")
        second = Principal("ann", "owner", "acme", "token", "tok_2")
        made = {
            who.token_id: await plane.do(
                "instance.create", InstanceCreate(name=name), by=who, key="k1"
            )
            for name, who in (("a1", person), ("a2", first), ("a3", second))
        }
        assert [view.name for view in made.values()] == ["a1", "a2", "a3"]
        again = Principal("ann", "owner", "acme", "session", "another-session")
        repeated = await plane.do("instance.create", InstanceCreate(name="a1"), by=again, key="k1")
        assert repeated.id == made["a-session"].id

    story(main)


def test_a_repeated_key_makes_one_instance() -> None:
    async def main(plane: Plane) -> None:
        body = InstanceCreate(name="alpha")
        first = await plane.do("instance.create", body, key="k1")
        second = await plane.do("instance.create", body, key="k1")
        assert first.id == second.id
        assert (await plane.do("instance.list")).total == 1

    story(main)


def test_a_preview_of_another_version_changes_nothing() -> None:
    async def main(plane: Plane) -> None:
        older = InstanceCreate(name="b", agent="openclaw", version="2026.8.1")
        made = await plane.do("instance.create", older)
        told = await plane.do("instance.upgrade-preview", one=made.id)
        assert (told.outcome, told.after) == ("changes", "2026.9.6-node-24")
        assert told.versions == ("2026.9.6-node-24",)
        same = await plane.do("instance.upgrade-preview", one=made.id, version="2026.8.1")
        assert same.outcome == "nothing"
        missing = await plane.refused("instance.upgrade-preview", one=made.id, version="1.0")
        assert missing[0] == 400
        demo = await plane.create()
        told = await plane.do("instance.upgrade-preview", one=demo)
        assert told.outcome == "refused"

    story(main)


def test_an_instance_keeps_the_version_that_it_was_given() -> None:
    async def main(plane: Plane) -> None:
        async def kept(instance: str) -> str:
            row = await MemoryReader(plane.store).view(DETAIL_VIEW, instance)
            assert row is not None
            return read_detail(row[0]).agent_version

        made = await plane.do("instance.create", InstanceCreate(name="a", agent="openclaw"))
        assert await kept(made.id) == "2026.9.6-node-24"
        older = InstanceCreate(name="b", agent="openclaw", version="2026.8.1")
        other = await plane.do("instance.create", older)
        assert await kept(other.id) == "2026.8.1-node-24"
        await plane.do("instance.patch", InstancePatch(version="2026.9.6"), one=other.id)
        assert await kept(other.id) == "2026.9.6-node-24"
        await plane.do("instance.patch", InstancePatch(env={"A": "1"}), one=other.id)
        assert await kept(other.id) == "2026.9.6-node-24"
        detail = await plane.do("instance.get", one=other.id)
        assert ("version", "2026.9.6-node-24") in {(d.name, d.value) for d in detail.details}
        plain = await plane.do("instance.create", InstanceCreate(name="c"))
        assert await kept(plain.id) == ""

    story(main)


@pytest.mark.parametrize("agent", ["demo", "openclaw"])
def test_a_version_that_is_not_installed_is_refused(agent: str) -> None:
    async def main(plane: Plane) -> None:
        body = InstanceCreate(name="a", agent=agent, version="1.2.3")
        assert await plane.refused("instance.create", body) == (400, "unknown_version")
        made = await plane.do("instance.create", InstanceCreate(name="a", agent=agent))
        change = InstancePatch(version="1.2.3")
        assert await plane.refused("instance.patch", change, one=made.id) == (
            400,
            "unknown_version",
        )

    story(main)


def test_creation_refuses_strange_agents_accounts_and_names() -> None:
    async def main(plane: Plane) -> None:
        body = InstanceCreate(name="a", agent="nobody")
        assert await plane.refused("instance.create", body) == (400, "unknown_agent")
        body = InstanceCreate(name="a", account="other")
        assert await plane.refused("instance.create", body) == (400, "not_your_account")
        body = InstanceCreate(name="a", env={"HOLDFAST_X": "1"})
        assert await plane.refused("instance.create", body) == (409, "reserved_name")
        made = await plane.do("instance.create", InstanceCreate(name="a"), by=OPERATOR)
        assert made.account == "local"

    story(main)


async def details(plane: Plane, instance: str) -> dict[str, str]:
    found = await plane.do("instance.get", one=instance)
    return {one.name: one.value for one in found.details}


def test_an_instance_says_where_it_runs_and_how_large_it_is() -> None:
    async def main(plane: Plane) -> None:
        body = InstanceCreate(name="a", region="fra", cpus=2, memory_mb=4_096)
        made = await plane.do("instance.create", body)
        await plane.until(made.id, "running")
        (machine,) = plane.cloud.world.rows()
        assert (machine.spec.region, machine.spec.size.cpus) == ("fra", 2)
        assert machine.spec.size.memory_mb == 4_096
        await plane.do("instance.patch", InstancePatch(memory_mb=8_192), one=made.id)
        shown = {
            one.name: one.value for one in (await plane.do("instance.get", one=made.id)).details
        }
        assert shown["size"] == "2 CPUs, 8,192 MiB of memory"
        assert shown["configuration"] == "changed since its launch; restart to apply"
        await plane.do("instance.restart", InstanceOrder(), one=made.id)
        await plane.until(made.id, "running")
        (machine,) = plane.cloud.world.rows()
        assert (machine.spec.size.cpus, machine.spec.size.memory_mb) == (2, 8_192)

    story(main)


def test_what_a_cloud_cannot_give_is_refused_by_the_field() -> None:
    async def main(plane: Plane) -> None:
        asked = (
            (InstanceCreate(name="a", cloud="moon"), "unknown_cloud"),
            (InstanceCreate(name="a", cloud="host", region="fra"), "unknown_region"),
            (InstanceCreate(name="a", cloud="host", cpus=2), "size_not_enforced"),
            (InstanceCreate(name="a", cloud="host", memory_mb=2_048), "size_not_enforced"),
        )
        for body, code in asked:
            assert await plane.refused("instance.create", body) == (400, code)
        body = InstanceCreate(name="b", cloud="host", region="local", desired="stopped")
        made = await plane.do("instance.create", body)
        change = InstancePatch(cpus=4)
        assert await plane.refused("instance.patch", change, one=made.id) == (
            400,
            "size_not_enforced",
        )
        shown = {
            one.name: one.value for one in (await plane.do("instance.get", one=made.id)).details
        }
        assert shown == {"provider": "host"}

    story(main)


def test_lists_filter_sort_and_page() -> None:
    async def main(plane: Plane) -> None:
        for name in ("yak", "owl", "zebu"):
            await plane.create(
                name, desired="stopped", agent="openclaw" if name == "zebu" else "demo"
            )
        page = await plane.do("instance.list", limit="2")
        assert [view.name for view in page.items] == ["owl", "yak"]
        rest = await plane.do("instance.list", limit="2", after=page.next)
        assert ([view.name for view in rest.items], rest.next) == (["zebu"], "")
        turned = await plane.do("instance.list", sort="-name")
        assert [view.name for view in turned.items] == ["zebu", "yak", "owl"]
        assert (await plane.do("instance.list", agent="openclaw")).total == 1
        assert (await plane.do("instance.list", status="running")).total == 0
        assert (await plane.do("instance.list", text="OWL")).total == 1
        assert page.counts == {"provisioned": 3}
        assert await plane.refused("instance.list", after="x") == (400, "bad_cursor")

    story(main)


def test_many_are_answered_each_for_itself() -> None:
    async def main(plane: Plane) -> None:
        one = await plane.create("a", desired="stopped")
        two = await plane.create("b", desired="stopped")
        other = await plane.do("instance.create", InstanceCreate(name="z"), by=STRANGER)
        order = BulkOrder(ids=(one, other.id, two))
        answer = await plane.do("instance.bulk-start", order)
        assert [item.result for item in answer.items] == ["done", "missing", "done"]
        await plane.until(two, "running")
        answer = await plane.do("instance.bulk-stop", BulkOrder(ids=(one,)))
        assert answer.items[0].result == "done"

    story(main)


def test_the_timeline_tells_events_decisions_and_outcomes() -> None:
    async def main(plane: Plane) -> None:
        one = await plane.create(secrets={"S": "hidden"})
        await plane.until(one, "running")
        entries = (await plane.do("instance.timeline", one=one)).entries
        names = [entry.name for entry in entries][::-1]
        assert names.index("InstanceCreated") < names.index("MachineCreated")
        assert {entry.kind for entry in entries} == {"event", "action", "outcome"}
        assert "start.create" in {entry.rule for entry in entries}
        first = next(entry for entry in entries if entry.name == "InstanceCreated")
        assert {detail.name: detail.value for detail in first.details}["by"] == "ann"
        assert "sealed_key" not in {detail.name for detail in first.details}
        led = (await plane.do("instance.timeline", one=one, cause=first.id)).entries
        assert "MachineCreated" in {entry.name for entry in led}
        page = await plane.do("instance.timeline", one=one, limit="2")
        assert page.next
        assert (await plane.do("instance.timeline", one=one, limit="2", after=page.next)).entries

    story(main)


def test_an_explanation_comes_from_the_rules() -> None:
    async def main(plane: Plane) -> None:
        one = await plane.create()
        await plane.until(one, "running")
        told = await plane.do("instance.explain", one=one)
        assert told.summary == "Starting: its machine runs and has not reported yet."
        assert (told.health.code, told.waiting_for) == ("starting", "")
        await plane.do("instance.stop", InstanceOrder(), one=one)
        await plane.until(one, "stopped")
        told = await plane.do("instance.explain", one=one)
        assert told.summary == "Stopped: it is stopped, as was asked for."

    story(main)


def test_log_lines_are_told_apart() -> None:
    async def main(plane: Plane) -> None:
        one = await plane.create()
        assert (await plane.do("instance.logs", one=one)).note
        await plane.until(one, "running")
        lines = (await plane.do("instance.logs", one=one)).lines
        assert (lines[0].stream, lines[0].text) == ("stderr", "oh")
        assert [line.stream for line in lines] == ["stderr", "controller", "controller"]
        only = (await plane.do("instance.logs", one=one, stream="stderr")).lines
        assert len(only) == 1

    story(main)
