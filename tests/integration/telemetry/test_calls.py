"""Check-ins, long polls and charts through the real edge, with the stores on disk."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import pytest

from holdfast.accounts.browser import BrowserSessions
from holdfast.accounts.records import AuditEntry, AuditRow
from holdfast.kernel.clock import ManualClock
from holdfast.plane.edge.app import Edge
from holdfast.relay.rate import Rates
from holdfast.stores.duckdb.telemetry import DuckdbAnalytics
from holdfast.stores.sqlite.contact import SqliteContacts
from holdfast.telemetry.checkins import Telemetry
from holdfast.telemetry.handlers import ChartCalls, ControllerCalls
from holdfast.telemetry.machines import MachineIndex
from holdfast.wire.api.call import Principal
from holdfast.wire.api.controller import CONTROLLER
from holdfast.wire.api.instances import INSTANCES
from holdfast.wire.controller.directive import Directive
from holdfast.wire.controller.identity import key_hash
from tests.support.asgi import Answer, call
from tests.support.patience import patience
from tests.support.toys.machines import CONTRACT, KEY, SECRET, Ear, Quiet, body, facts, headers

ONE = facts()
CHECKIN = "/api/controller/checkin"
PEOPLE = {
    "root": Principal("root", "operator", None, "token", "t0"),
    "ann": Principal("ann", "owner", "ann", "token", "t1"),
    "bob": Principal("bob", "owner", "bob", "token", "t2"),
}


class Door:
    """Knows three people by their names, and keeps no audit."""

    async def by_token(self, text: str) -> Principal | None:
        return PEOPLE.get(text)

    async def by_session(self, text: str, bound: str) -> Principal | None:
        return None

    async def append_audit(self, entry: AuditEntry) -> AuditRow:
        raise NotImplementedError(entry)


@dataclass
class Plane:
    """The parts of a plane that a test looks into."""

    edge: Edge
    telemetry: Telemetry
    machine_index: MachineIndex
    analytics: DuckdbAnalytics
    clock: ManualClock
    numbers: Any

    async def checkin(self, header: dict[str, str], raw: bytes) -> Answer:
        return await call(self.edge, "POST", CHECKIN, headers=header, body=raw)

    async def beat(self, **more: Any) -> Answer:
        self.clock.advance(60_000)
        return await self.checkin(headers(ONE), body(sequence=next(self.numbers), **more))


def make_plane(folder: Path, *, secret: str = SECRET) -> tuple[Plane, SqliteContacts]:
    clock, log, machine_index = ManualClock(), Quiet(), MachineIndex()
    contacts = SqliteContacts(folder / "contact.db", clock=clock)
    analytics = DuckdbAnalytics(folder / "telemetry.duckdb", clock=clock)
    telemetry = Telemetry(
        clock=clock,
        log=log,
        machines=machine_index,
        contacts=contacts,
        analytics=analytics,
        transitions=Ear(),
        interval_ms=60_000,
        flush_ms=5,
    )
    machine = ControllerCalls(
        telemetry, machine_index, clock=clock, secret=secret, publish=lambda *_: None
    )
    charts = ChartCalls(
        analytics,
        clock=clock,
        account_of=lambda name: (
            known.account if (known := machine_index.of_instance(name)) else None
        ),
        interval_ms=60_000,
    )
    handlers = {
        "controller.checkin": machine.checkin,
        "controller.wake": machine.wake,
        "instance.fleet-charts": charts.fleet,
        "instance.charts": charts.instance,
    }
    table = [row for row in (*CONTROLLER, *INSTANCES) if row.name in handlers]
    edge = Edge(
        table,
        handlers,
        authenticator=Door(),
        browsers=BrowserSessions(bytes(32)),
        audit=Door(),
        clock=clock,
        log=log,
        rates=Rates(clock),
        request_prefix="test",
        check_responses=True,
    )
    machine_index.put(ONE)
    return Plane(edge, telemetry, machine_index, analytics, clock, itertools.count(1)), contacts


@pytest.fixture
async def plane(tmp_path: Path) -> AsyncIterator[Plane]:
    made, contacts = make_plane(tmp_path)
    await made.telemetry.start()
    made.machine_index.listen(made.telemetry)
    yield made
    await made.telemetry.close()
    await made.analytics.close()
    await contacts.close()


async def test_the_contracts_form_gets_204_without_a_body(plane: Plane) -> None:
    answer = await plane.checkin(headers(ONE), body(CONTRACT))
    assert (answer.status, answer.body) == (204, b"")


async def test_our_form_gets_200_with_a_directive(plane: Plane) -> None:
    answer = await plane.beat()
    assert answer.status == 200
    directive = msgspec.json.decode(answer.body, type=Directive)
    assert (directive.desired, directive.revision) == ("running", 1)
    assert directive.checkin_interval_ms == 60_000


@pytest.mark.parametrize(
    ("header", "raw", "status"),
    [
        ({}, body(), 401),
        ({"authorization": f"Bearer {KEY}"}, body(), 401),
        (headers(ONE), b"not json", 400),
        (headers(ONE), b"", 400),
        (headers(ONE), body(totalRestarts=-1), 400),
        ({**headers(ONE), "x-kiloclaw-gateway-token": "0" * 64}, body(), 403),
        (headers(facts(sandbox="_w")), body(sandboxId="_w"), 400),
        (headers(facts(9)), body(sandboxId=facts(9).sandbox), 403),
        (headers(ONE, key="hfm_wrong"), body(), 403),
        (headers(ONE), body(padding="x" * 16_384), 413),
    ],
)
async def test_the_order_of_refusals_is_the_contracts(
    plane: Plane, header: dict[str, str], raw: bytes, status: int
) -> None:
    answer = await plane.checkin(header, raw)
    assert answer.status == status
    assert answer.json()["code"]
    assert plane.telemetry.points.loss().waiting == 0


async def test_without_a_secret_the_plane_says_so(tmp_path: Path) -> None:
    plane, contacts = make_plane(tmp_path, secret="")
    assert (await plane.checkin(headers(ONE), body())).status == 503
    assert (await plane.checkin(headers(ONE), b"not json")).status == 400
    await plane.analytics.close()
    await contacts.close()


async def test_a_rotated_key_is_good_for_a_while(plane: Plane) -> None:
    plane.machine_index.put(
        facts(
            api_key_hash=key_hash("hfm_new"),
            previous_key_hash=key_hash(KEY),
            previous_key_until_ms=plane.clock.now_ms() + 90_000,
        )
    )
    assert (await plane.beat()).status == 200
    assert (await plane.beat()).status == 403


async def test_too_many_are_refused_with_the_time_to_wait(plane: Plane) -> None:
    answers = [await plane.checkin(headers(ONE), body(sequence=number)) for number in range(1, 20)]
    assert [answer.status for answer in answers[:2]] == [200, 200]
    assert answers[-1].status == 429
    assert int(answers[-1].header("retry-after")) >= 1


async def test_a_replayed_message_is_stored_once(plane: Plane) -> None:
    for _ in range(2):
        plane.clock.advance(60_000)
        assert (await plane.checkin(headers(ONE), body(sequence=7))).status == 200
    await plane.telemetry.points.flush()
    assert await plane.analytics.count() == (1, 0)


async def test_disk_values_that_mean_nothing_are_zero(plane: Plane) -> None:
    for used in (None, -5, 123):
        assert (await plane.beat(diskUsedBytes=used, diskTotalBytes=1_000)).status == 200
    await plane.telemetry.points.flush()
    rows = plane.analytics._connection.execute(
        "SELECT double7, double8 FROM kiloclaw_controller_telemetry ORDER BY timestamp"
    ).fetchall()
    assert rows == [(0.0, 1_000.0), (0.0, 1_000.0), (123.0, 1_000.0)]


async def test_a_change_of_mind_is_heard_by_a_waiting_machine(plane: Plane) -> None:
    path = f"/api/controller/wake?sandbox={ONE.sandbox}&revision=1&wait_s=20"
    poll = asyncio.create_task(call(plane.edge, "GET", path, headers=headers(ONE)))
    async with asyncio.timeout(patience(5)):
        while not len(plane.telemetry.hub):  # noqa: ASYNC110  there is no event to wait for
            await asyncio.sleep(0.002)
        plane.machine_index.put(facts(desired="stopped", revision=2))
        answer = await poll
    assert answer.status == 200
    assert (answer.json()["desired"], answer.json()["revision"]) == ("stopped", 2)


async def test_a_long_poll_wants_both_credentials(plane: Plane) -> None:
    path = f"/api/controller/wake?sandbox={ONE.sandbox}&wait_s=0"
    assert (await call(plane.edge, "GET", path)).status == 401
    wrong = headers(ONE, key="hfm_wrong")
    assert (await call(plane.edge, "GET", path, headers=wrong)).status == 403
    assert (await call(plane.edge, "GET", path, headers=headers(ONE))).status == 200
    newest = f"{path}&revision=1"
    assert (await call(plane.edge, "GET", newest, headers=headers(ONE))).status == 204


async def test_charts_show_what_was_reported_to_whom_may_see_it(plane: Plane) -> None:
    for _ in range(3):
        await plane.beat()
    await plane.telemetry.points.flush()
    await plane.analytics.settle(plane.clock.now_ms())

    async def charts(path: str, who: str) -> Answer:
        return await call(plane.edge, "GET", path, headers={"authorization": f"Bearer {who}"})

    fleet = (await charts("/api/charts?window=1h", "root")).json()
    assert [chart["name"] for chart in fleet["charts"]] == [
        "reporting",
        "load",
        "restarts",
        "bandwidth",
        "disk",
    ]
    assert fleet["step_s"] == 60
    values = fleet["charts"][0]["series"][0]["values"]
    assert (len(values), sum(value or 0 for value in values)) == (60, 3)
    bobs = (await charts("/api/charts?window=1h", "bob")).json()
    assert not any(bobs["charts"][0]["series"][0]["values"])
    mine = (await charts("/api/instances/instance-1/charts", "ann")).json()
    assert [chart["name"] for chart in mine["charts"]] == ["load", "restarts", "bandwidth", "disk"]
    assert sum(value or 0 for value in mine["charts"][1]["series"][0]["values"]) == 3
    assert (await charts("/api/instances/instance-1/charts", "bob")).status == 404
    assert (await charts("/api/instances/nobody/charts", "root")).status == 404
