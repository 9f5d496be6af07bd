"""Towns beside the fleet: the plane's own part and engine, which dies at any await."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from holdfast.actors.ports import Arrival
from holdfast.kernel.ids import address
from holdfast.sim.fleet import Fleet
from holdfast.sim.plane import ACCOUNT, DownError
from holdfast.sim.town_world import Chances
from holdfast.towns import events
from holdfast.towns.definition import KIND, TOWN, arrival
from holdfast.towns.state import Config, NewBead, State
from tests.sim.stage import play, up

WHERE = address(KIND, "elm")


async def tell(fleet: Fleet, happened: Sequence[Arrival]) -> None:
    """Have events accepted, by the next plane if this one dies."""
    while True:
        try:
            plane = fleet.plane_now()
            await plane.request(plane.core.mailbox.tell([(WHERE, row) for row in happened]))
        except DownError:
            await asyncio.sleep(1)
        else:
            return


def rows(fleet: Fleet, *happened: events.Event) -> list[Arrival]:
    return [arrival(event, dedupe=fleet.names.uuid(), source="api") for event in happened]


async def report(fleet: Fleet) -> None:
    """Pass on what agents say, each second."""
    world = fleet.town_world
    while True:
        world.now_ms = round(fleet.virtual_ms())
        said = [event for _town, event in world.reports()]
        if said:
            await tell(fleet, rows(fleet, *said))
        await asyncio.sleep(1)


def town(fleet: Fleet) -> State | None:
    actor = fleet.store.actors.get(WHERE)
    if actor is None or actor.state is None:
        return None
    return TOWN.decode_state(actor.state, actor.state_version)


def all_closed(fleet: Fleet) -> bool:
    state = town(fleet)
    beads = [] if state is None else list(state.beads.values())
    issues = [bead.status for bead in beads if bead.type == "issue"]
    return len(issues) == 4 and set(issues) == {"closed"}


async def begin(fleet: Fleet) -> None:
    work = [
        events.BeadCreated(bead=NewBead(id=f"b{number}", rig="web", content="c"))
        for number in range(4)
    ]
    made = events.TownCreated(account="acme", name="elm", by="ann", config=Config(polecats_max=2))
    await tell(fleet, rows(fleet, made, events.RigAdded(rig="web", name="web", gates=("test",))))
    await tell(fleet, rows(fleet, *work))
    fleet.spawn(report(fleet))


def test_a_town_is_done_by_the_plane_that_serves_it() -> None:
    async def scenario(fleet: Fleet) -> None:
        await begin(fleet)
        await fleet.until(lambda: all_closed(fleet), within_s=4 * 3_600, step_s=20)
        assert set(fleet.town_world.forge.merges.values()) == {1}

    play(scenario)


def test_a_town_is_done_though_its_planes_die_and_answers_are_lost() -> None:
    async def scenario(fleet: Fleet) -> None:
        fleet.town_world.chances = Chances(answer_lost=0.2, forge_down=0.1, gate_red=0.1)
        await begin(fleet)
        fleet.troubles.crash_write = 30
        for _ in range(6):
            await fleet.pass_time(150)
            for plane in fleet.up():
                plane.crash("in the middle of a town")
        fleet.troubles.crash_write = 0
        fleet.calm.set()
        await fleet.until(lambda: all_closed(fleet), within_s=24 * 3_600, step_s=60)
        assert fleet.town_world.wrong == []
        assert set(fleet.town_world.forge.merges.values()) == {1}
        assert fleet.check.previews > 0

    play(scenario)


def test_work_leaves_an_instance_that_stops_dies_or_is_destroyed_and_comes_back() -> None:
    async def scenario(fleet: Fleet) -> None:
        fleet.town_world.chances = Chances(work_ms=10**12)
        instance = await up(fleet)
        config = Config(polecats_max=2)
        await tell(
            fleet,
            rows(
                fleet,
                events.TownCreated(account=ACCOUNT, name="elm", by="ann", config=config),
                events.RigAdded(rig="web", name="web"),
                events.AgentAdded(agent="there", role="polecat", rig="web", host=instance),
                events.BeadCreated(bead=NewBead(id="b", rig="web", content="c")),
            ),
        )
        fleet.spawn(report(fleet))
        await fleet.until(lambda: stands(fleet) == ("", "there"), within_s=120)
        await fleet.people.order(instance, "stop")
        for plane in fleet.up():
            plane.crash("between the letter and what comes of it")
        await fleet.until(lambda: stands(fleet)[0] == "stopped", within_s=300)
        await fleet.until(lambda: stands(fleet)[1] not in {"", "there"}, within_s=120)
        await fleet.people.order(instance, "start")
        await fleet.until(lambda: stands(fleet)[0] == "", within_s=300)
        more = events.BeadCreated(bead=NewBead(id="b2", rig="web", content="c"))
        await tell(fleet, rows(fleet, more))
        await fleet.until(lambda: stands(fleet, "b2")[1] == "there", within_s=120)
        await fleet.people.destroy(instance)
        await fleet.until(lambda: stands(fleet)[0] == "destroyed", within_s=300)
        await fleet.until(lambda: stands(fleet, "b2")[1] != "there", within_s=120)

    play(scenario)


def stands(fleet: Fleet, bead: str = "b") -> tuple[str, str]:
    """Return why the agent on the instance is away, and who works on a bead."""
    state = town(fleet)
    if state is None or "there" not in state.agents or bead not in state.beads:
        return "?", "?"
    return state.agents["there"].away, state.beads[bead].assignee
