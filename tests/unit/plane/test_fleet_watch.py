"""The watch over the fleet: which alerts are counted, and when begin and end are logged."""

from __future__ import annotations

import asyncio
import re
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast, get_args

import msgspec
import pytest

from holdfast.actors.committed_tick import CommittedTick
from holdfast.instances.index import FleetIndex, Page, Query
from holdfast.instances.views import INSTANCE_VIEW
from holdfast.kernel import metrics
from holdfast.kernel.log import NoLog
from holdfast.plane.wiring.fleet_checks import fleet_checks
from holdfast.plane.wiring.fleet_watch import SPAN, AlertCode, Watch, find_wrong
from holdfast.stores.sqlite.fleet import SqliteFleet
from holdfast.wire.api.instances import InstanceView, RecoveryView
from holdfast.wire.health import RANKS
from tests.support.runnable import Runnable
from tests.unit.web.shapes import view


class Fleet(metrics.NoMeter, NoLog):
    """The index, a meter and a log in one."""

    def __init__(self, *views: InstanceView) -> None:
        self.shown: dict[str, InstanceView] = {}
        self.gauges: dict[tuple[str, ...], float] = {}
        self.lines: list[tuple[str, str, str]] = []
        self.watch = Watch(self, meter=self, log=self)
        for one in views:
            self.show(one)

    def listen(self, saw: Callable[[str, InstanceView | None], None]) -> None:
        self.saw = saw

    def show(self, view: InstanceView) -> None:
        """Commit a row."""
        self.shown[view.id] = view
        self.saw(view.id, view)

    async def page(self, query: Query) -> Page:
        assert query.account is None
        views = self.shown.values()
        ranks = Counter(RANKS[one.health.code] for one in views)
        return Page((), None, 0, Counter(one.status for one in views), ranks)

    async def agents(self) -> frozenset[str]:
        return frozenset(one.agent for one in self.shown.values())

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
        ({"health": {"code": "crashing"}}, ["down"]),
        ({"desired": "stopped", "health": {"code": "crashing"}}, []),
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
    fleet.show(view(id="a"))
    await fleet.watch.look()
    assert fleet.lines[2:] == [
        ("instance.alert_ended", "a", "attention"), ("instance.alert_ended", "a", "parked"),
    ]  # fmt: skip
    assert fleet.gauges["holdfast_instance_alerts", "parked"] == 0


async def test_agents_that_cannot_work_are_counted_where_their_machine_runs() -> None:
    fleet = Fleet(
        view(id="a", health={"code": "crashing"}), view(id="b", agent_ready=True), view(id="c"),
        view(id="d", health={"code": "failing"}, status="starting"),
    )  # fmt: skip
    await fleet.watch.look()
    assert fleet.gauges["holdfast_instance_health", "crashing"] == 1
    assert fleet.gauges["holdfast_instance_health", "ready"] == 2
    assert fleet.gauges["holdfast_agents_not_ready",] == 1


async def test_many_that_changed_are_looked_at_in_spans_between_which_the_loop_runs() -> None:
    turns = 0

    def turn() -> None:
        nonlocal turns
        turns += 1
        if not done:
            asyncio.get_running_loop().call_soon(turn)

    class Turns(Fleet):
        """Keeps at which turn of the loop a line was written."""

        def write(self, level: str, event: str, fields: dict[str, Any]) -> None:
            super().write(level, event, fields)
            at[turns] += 1

    done = False
    at: Counter[int] = Counter()
    fleet = Turns(*(view(id=f"i-{at:05}", contact="lost") for at in range(2 * SPAN + 1)))
    turn()
    await fleet.watch.look()
    done = True
    assert fleet.gauges["holdfast_instance_alerts", "silent"] == 2 * SPAN + 1
    assert at.total() == 2 * SPAN + 1
    assert max(at.values()) <= SPAN


async def test_what_is_well_again_during_a_check_is_not_lost() -> None:
    fleet = Fleet(*(view(id=f"i-{at:05}", contact="lost") for at in range(2 * SPAN + 1)))
    last = f"i-{2 * SPAN:05}"
    asyncio.get_running_loop().call_soon(lambda: fleet.show(view(id=last)))
    await fleet.watch.look()
    await fleet.watch.look()
    assert last not in {shown.id for shown, _ in fleet.watch.wrong()}
    assert fleet.gauges["holdfast_instance_alerts", "silent"] == 2 * SPAN


class Rows:
    """Committed rows, which count how many were read."""

    def __init__(self, many: int) -> None:
        self.rows = {
            f"i-{at:05}": msgspec.json.encode(view(id=f"i-{at:05}", contact="lost"))
            for at in range(many)
        }
        self.read = 0

    async def views(
        self, view: str, *, account: str | None, after: str = "", limit: int = 1_000
    ) -> list[tuple[str, bytes, int]]:
        assert (view, account) == (INSTANCE_VIEW, None)
        keys = sorted(key for key in self.rows if key > after)[:limit]
        self.read += len(keys)
        return [(key, self.rows[key], 1) for key in keys]

    def contact(self, instance: str) -> None:
        del instance


async def test_a_check_reads_no_row() -> None:
    rows, log, store = Rows(250), Fleet(), SqliteFleet()
    index = FleetIndex(store, cast("Any", rows), cast("Any", rows), log=NoLog())
    watch = Watch(index, meter=log, log=log)
    await index.fill()
    assert rows.read == 250, "the index has read each once"
    await watch.look()
    assert (watch.count, watch.wrong_count) == (250, 250)
    committed = CommittedTick(
        kind=cast("Any", None),
        tick=cast(
            "Any",
            SimpleNamespace(
                views=[
                    SimpleNamespace(
                        view=INSTANCE_VIEW, key="i-00000", account="acme",
                        body=msgspec.json.encode(view(id="i-00000")),
                    ),
                    SimpleNamespace(view=INSTANCE_VIEW, key="i-00001", account="acme", body=None),
                ]
            ),
        ),
        commit=cast("Any", object()),
    )  # fmt: skip
    index.on_commit(committed)
    await watch.look()
    assert (watch.count, watch.wrong_count) == (249, 248)
    assert [line[0] for line in log.lines[250:]] == ["instance.alert_ended"] * 2
    assert rows.read == 250
    await store.close()


async def no_uses() -> dict[tuple[str, str], int]:
    return {}


async def test_the_doctor_names_a_version_that_is_kept_and_not_installed() -> None:
    async def uses() -> dict[tuple[str, str], int]:
        return {("openclaw", "2026.8.1-node-24"): 2, ("demo", ""): 1}

    fleet = Fleet(view(id="a", agent="openclaw"))
    runnable = Runnable({"demo": (), "openclaw": ["2026.9.6-node-24"]})
    _, check_agents = fleet_checks(fleet.watch, runnable, uses)
    found = await check_agents()
    assert (
        found.message
        == "instances keep openclaw 2026.8.1-node-24, which is not installed on this host"
    )
    assert found.fix == "holdfast agents install openclaw --version 2026.8.1"
    runnable.installed["openclaw"] = ("2026.8.1-node-24", "2026.9.6-node-24")
    assert (await check_agents()).result == "ok"


async def test_the_doctor_names_instances_that_need_a_look() -> None:
    fleet = Fleet(view(id="b"))
    fleet.show(
        view(id="a", name="kalle", recovery=PARKED, attention="look", health={"code": "parked"})
    )
    check_instances, _ = fleet_checks(fleet.watch, None, no_uses)
    found = await check_instances()
    assert (found.result, found.fix) == ("warning", "holdfast instance why kalle")
    assert found.message == "1 need a look: kalle (parked)"
    fleet.show(view(id="a", name="kalle"))
    assert (await check_instances()).message == "nothing is wrong with 2 instances (2 ready)"


async def test_the_doctor_names_agents_that_cannot_be_run() -> None:
    fleet = Fleet(view(id="a", agent="openclaw"), view(id="b", agent="demo"))
    runnable = Runnable({"demo": ()})
    _, check_agents = fleet_checks(fleet.watch, runnable, no_uses)
    found = await check_agents()
    assert (found.result, found.fix) == ("failed", "holdfast agents install openclaw")
    runnable.installed["openclaw"] = ("2026.9.6-node-24",)
    assert (await check_agents()).result == "ok"
    fleet.show(view(id="b", agent="demo", health={"code": "crashing"}))
    found = await check_agents()
    assert (found.result, "1 cannot work now" in found.message) == ("warning", True)


def test_the_guide_names_every_alert() -> None:
    guide = Path("docs/guide/operating.md").read_text(encoding="utf-8")
    said = guide.partition("into `holdfast_instance_alerts`, by code:")[2].partition("In the log")[
        0
    ]
    assert set(re.findall(r"`([a-z_]+)`", said)) == set(get_args(AlertCode))
