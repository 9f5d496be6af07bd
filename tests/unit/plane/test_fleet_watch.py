"""The watch over the fleet: which alerts are counted, and when begin and end are logged."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from holdfast.instances.views import INSTANCE_VIEW
from holdfast.kernel import metrics
from holdfast.kernel.log import NoLog
from holdfast.plane.wiring.fleet_checks import fleet_checks
from holdfast.plane.wiring.fleet_watch import _CHUNK, Watch, find_wrong
from holdfast.wire.api.instances import InstanceView, RecoveryView
from tests.unit.web.shapes import view


class Fleet(metrics.NoMeter, NoLog):
    """Views, a meter and a log in one."""

    def __init__(self, *views: InstanceView) -> None:
        self.shown = {one.id: one for one in views}
        self.gauges: dict[tuple[str, ...], float] = {}
        self.lines: list[tuple[str, str, str]] = []
        self.watch = Watch(self, meter=self, log=self)

    async def views(
        self, view: str, *, account: str | None, after: str = "", limit: int = 1_000
    ) -> list[tuple[str, bytes, int]]:
        assert (view, account) == (INSTANCE_VIEW, None)
        keys = sorted(key for key in self.shown if key > after)[:limit]
        return [(key, msgspec.json.encode(self.shown[key]), 1) for key in keys]

    def gauge(self, metric: metrics.Gauge, value: float, **labels: str) -> None:
        self.gauges[metric.name, *labels.values()] = value

    def write(self, level: str, event: str, fields: dict[str, Any]) -> None:
        assert level in {"warning", "info"}
        self.lines.append((event, fields["instance"], fields["code"]))


PARKED = RecoveryView(rung="parked", reason="exit code 1")


@pytest.mark.parametrize(
    ("fields", "codes"),
    [
        ({}, []),
        ({"attention": "look", "recovery": PARKED}, ["attention", "parked"]),
        ({"contact": "lost"}, ["silent"]),
        ({"recovery": RecoveryView(held=True, blocked="nginx")}, ["port_taken", "held"]),
        ({"desired": "stopped", "contact": "lost", "recovery": PARKED}, []),
    ],
)
def test_what_is_wrong_with_one(fields: dict[str, Any], codes: list[str]) -> None:
    assert list(find_wrong(view(**fields))) == codes


async def test_a_parked_agent_is_counted_and_told_once_until_it_is_well() -> None:
    fleet = Fleet(view(id="a", recovery=PARKED, attention="look"), view(id="b"))
    await fleet.watch.look()
    await fleet.watch.look()
    assert fleet.lines == [
        ("instance.alert_began", "a", "attention"), ("instance.alert_began", "a", "parked"),
    ]  # fmt: skip
    assert fleet.gauges["holdfast_instance_alerts", "parked"] == 1
    assert fleet.gauges["holdfast_instance_alerts", "silent"] == 0
    assert fleet.gauges["holdfast_instances", "running"] == 2
    fleet.shown["a"] = view(id="a")
    await fleet.watch.look()
    assert fleet.lines[2:] == [
        ("instance.alert_ended", "a", "attention"), ("instance.alert_ended", "a", "parked"),
    ]  # fmt: skip
    assert fleet.gauges["holdfast_instance_alerts", "parked"] == 0


async def test_agents_that_cannot_work_are_counted_where_their_machine_runs() -> None:
    fleet = Fleet(
        view(id="a", agent_ready=False), view(id="b", agent_ready=True), view(id="c"),
        view(id="d", agent_ready=False, status="starting"),
    )  # fmt: skip
    await fleet.watch.look()
    assert fleet.gauges["holdfast_agents_not_ready",] == 1


async def test_a_large_fleet_is_read_to_its_end() -> None:
    fleet = Fleet(*(view(id=f"i-{at:05}", contact="lost") for at in range(2 * _CHUNK + 1)))
    await fleet.watch.look()
    assert fleet.gauges["holdfast_instance_alerts", "silent"] == 2 * _CHUNK + 1


async def test_the_doctor_names_instances_that_need_a_look() -> None:
    fleet = Fleet(view(id="a", name="kalle", recovery=PARKED, attention="look"), view(id="b"))
    check_instances, _ = fleet_checks(fleet.watch, None)
    found = await check_instances()
    assert (found.result, found.fix) == ("warning", "holdfast instance show kalle")
    assert found.message == "1 need a look: kalle (attention), kalle (parked)"
    fleet.shown["a"] = view(id="a", name="kalle")
    assert (await check_instances()).message == "nothing is wrong with 2 instances"


async def test_the_doctor_names_agents_that_cannot_be_run() -> None:
    fleet = Fleet(view(id="a", agent="openclaw"), view(id="b", agent="demo"))
    runnable = frozenset({"demo"})
    _, check_agents = fleet_checks(fleet.watch, lambda: runnable)
    found = await check_agents()
    assert (found.result, found.fix) == ("failed", "holdfast agents install openclaw")
    runnable = frozenset({"demo", "openclaw"})
    assert (await check_agents()).result == "ok"
    fleet.shown["b"] = view(id="b", agent="demo", status="running", agent_ready=False)
    found = await check_agents()
    assert (found.result, "1 cannot work now" in found.message) == ("warning", True)
