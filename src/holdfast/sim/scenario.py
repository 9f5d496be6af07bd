"""The scenario of one simulated fleet: faults, then calm, in which everything must converge.

After the faults every wanted instance must reach running, and stay so without a row written or a
call made; then every one must reach destroyed, and leave nothing behind. That is the model check of
"there is a way on from every state": the faults reach the states, the calm follows the ways.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable, Coroutine
from typing import Any, Final

from msgspec import Struct

from holdfast.instances import keys, spend
from holdfast.instances.events import ClockSetBack, encode_event
from holdfast.instances.state import DOWN, Instance, exists
from holdfast.kernel.clock import SECOND_MS
from holdfast.sim.check import ViolationError
from holdfast.sim.fault_plan import FaultPlan, draw
from holdfast.sim.faults import FaultInjector
from holdfast.sim.fleet import Fleet
from holdfast.sim.loop import SimClock, SimLoop, run
from holdfast.sim.trace import Trace
from holdfast.wire.api.budgets import BudgetSet

RUNNING_WITHIN_S: Final = 3_000
STOPPED_WITHIN_S: Final = 1_800
DESTROYED_WITHIN_S: Final = 1_800
QUIET_S: Final = 600
ORDER_AGAIN_S: Final = 60
SET_BACK: Final = encode_event(ClockSetBack())


class Outcome(Struct, frozen=True, kw_only=True):
    """Result of one seed; `failure` is empty if all invariants held."""

    seed: int
    failure: str = ""
    steps: int = 0
    virtual_s: float = 0
    digest: str = ""
    planes: int = 0
    previews: int = 0
    rules: dict[str, int] = {}
    statuses: dict[str, int] = {}
    faults: dict[str, int] = {}
    refusals: dict[str, int] = {}


def play(seed: int, fault_plan: FaultPlan | None = None) -> tuple[Outcome, Trace]:
    """Simulate a seed to its end; a failure is in the outcome, never raised."""
    drawn = fault_plan or draw(seed)

    fleets: list[Fleet] = []

    async def main(loop: SimLoop, clock: SimClock) -> None:
        fleets.append(Fleet(loop, clock, drawn, seed=seed))
        await live(fleets[0])

    failure = ""
    try:
        run(seed, main)
    except Exception as error:  # noqa: BLE001  whatever it is, the seed has found something
        failure = "".join(traceback.format_exception(error)).strip()
        failure = failure if not isinstance(error, ViolationError) else str(error)
    return _outcome(fleets[0], failure), fleets[0].trace


def _outcome(fleet: Fleet, failure: str) -> Outcome:
    trace = fleet.trace
    return Outcome(
        seed=fleet.seed,
        failure=failure,
        steps=trace.steps,
        virtual_s=fleet.virtual_ms() / SECOND_MS,
        digest=trace.digest(),
        planes=fleet.made,
        previews=fleet.check.previews,
        rules=dict(trace.rules),
        statuses=dict(trace.statuses),
        faults=dict(trace.faults),
        refusals=fleet.people.refusals,
    )


async def live(fleet: Fleet) -> None:
    """Run the whole scenario."""
    injector = FaultInjector(fleet)
    await fleet.begin()
    injector.begin()
    await fleet.pass_time(fleet.fault_plan.faults_s)
    injector.heal()
    await all_agree(fleet)
    await all_running(fleet)
    await without_budgets(fleet)
    await quiet(fleet)
    await all_destroyed(fleet)
    fleet.look()
    await fleet.check.finish()


async def all_agree(fleet: Fleet) -> None:
    """Wait, without an order, until all is folded and nothing runs that is to be stopped.

    Instances created while no plane was up cannot be ordered about before that.
    """

    def wrong() -> list[str]:
        unfolded = [f"{where} has events that wait" for where in fleet.store.waiting]
        return (
            unfolded
            + [*fleet.spenders.unknown()]
            + [
                f"{state.id} is {state.status} and to be stopped, with {row.state} {row.id}"
                for state in fleet.states()
                if exists(state) and spend.wanted(state) == "stopped"
                for row in fleet.living(state.sandbox_id)
                if row.state not in DOWN
            ]
        )

    try:
        await fleet.until(lambda: not wrong(), within_s=STOPPED_WITHIN_S, step_s=5)
    except TimeoutError:
        raise ViolationError(f"they do not come to agree: {wrong()}") from None


async def all_running(fleet: Fleet) -> None:
    """Let people start everything that is not being destroyed, until all of it runs."""

    def wrong() -> list[str]:
        return [text for state in fleet.states() if (text := why_not_running(fleet, state))]

    try:
        await _order_until(fleet, wrong, _to_running, within_s=RUNNING_WITHIN_S)
    except TimeoutError:
        raise ViolationError(f"they do not come to run: {wrong()}") from None


async def without_budgets(fleet: Fleet) -> None:
    """Let people remove every budget: the end of a day of theirs would be a row."""

    def wrong() -> list[str]:
        return [state.id for state in fleet.states() if exists(state) and state.budget is not None]

    async def remove(fleet: Fleet, state: Instance) -> None:
        if state.budget is not None:
            await fleet.people.limit(state.id, BudgetSet())

    await _order_until(fleet, wrong, remove, within_s=RUNNING_WITHIN_S)


async def _to_running(fleet: Fleet, state: Instance) -> None:
    if state.status == "running" and state.contact.heard == "lost":
        await fleet.people.order(state.id, "restart")
    elif spend.over(state) is not None:
        await fleet.people.order(state.id, "go-on")
        await fleet.people.order(state.id, "start")
    elif state.status != "running" or state.desired != "running":
        await fleet.people.order(state.id, "start")


def why_not_running(fleet: Fleet, state: Instance) -> str:
    """Return what keeps an instance from its wanted state, or an empty string."""
    if not exists(state):
        return ""
    if state.desired == "destroyed":
        return f"{state.id} is {state.status} and to be destroyed"
    rows = [(row.id, row.state) for row in fleet.living(state.sandbox_id)]
    if state.status == "running" and rows == [(state.machine.id, "started")]:
        converged = not (state.aim or state.doomed or state.restart_wanted or _renews(fleet, state))
        controller = fleet.machines.running.get(state.machine.id)
        heard = state.contact.heard == "heard" and controller is not None and controller.known
        return "" if converged and heard else f"{state.id} runs, {state.aim} {state.contact}"
    return f"{state.id} is {state.status}/{state.desired}/{state.aim} with {rows}: {state.faults}"


def _renews(fleet: Fleet, state: Instance) -> bool:
    """Return whether its key or tokens are replaced now, or before the quiet time is over."""
    due_ms = keys.due_ms(state, fleet.fault_plan.policy)
    over_ms = fleet.clock.now_ms() + 2 * QUIET_S * SECOND_MS
    return bool(keys.lacks(state)) or (due_ms is not None and due_ms <= over_ms)


async def quiet(fleet: Fleet) -> None:
    """Check that a converged fleet is silent: no row, no tick, no call but regular checks.

    The first check of an incarnation is new and makes one row; those are counted as checks. So is
    the note, in a check's own tick, that a fault set the clock back: without a timed wait there was
    no reason to wake for it before.
    """
    interval_s = fleet.fault_plan.settings.checkin_interval_s
    await fleet.pass_time(3 * interval_s)
    policy = fleet.fault_plan.policy
    if policy.running_look_ms:  # the policy wants polling, the opposite of silence
        return
    before = {where: actor.seq for where, actor in fleet.store.actors.items()}
    calls = fleet.cloud.calls.total()
    await fleet.pass_time(QUIET_S)
    for where, seq in before.items():
        written = await fleet.reader.log(where, after=seq)
        looks = [row for row in written if row.source == "probe" and row.outcome == "ignored"]
        ticks = {row.tick for row in looks} if fleet.fault_plan.jumps_every_s else set()
        notes = [row for row in written if row.tick in ticks and row.body == SET_BACK]
        if len(written) > len(looks) + len(notes) or len(looks) > 1 or len(notes) > 1:
            raise ViolationError(f"{where} is as it should be, and wrote {written}")
    made = fleet.cloud.calls.total() - calls
    each = 1 + QUIET_S * SECOND_MS // policy.daily_look_ms
    most = each * len([state for state in fleet.states() if exists(state)])
    if made > most:
        raise ViolationError(f"a converged fleet asked the cloud {made} times, want {most}")


async def all_destroyed(fleet: Fleet) -> None:
    """Let people destroy everything, until nothing of it is left in the cloud."""

    def wrong() -> list[str]:
        alive = [f"{state.id} is {state.status}" for state in fleet.states() if exists(state)]
        left = [
            f"machine {one.id} {one.state}"
            for one in fleet.cloud.all_machines()
            if not fleet.leapt_near(one.created_at_ms)
        ]
        volumes = [
            f"volume {one.id} {one.name}"
            for one in fleet.cloud.all_volumes()
            if not fleet.leapt_near(one.created_at_ms)
        ]
        return [*alive, *left, *volumes]

    try:
        await _order_until(fleet, wrong, _to_destroyed, within_s=DESTROYED_WITHIN_S)
    except TimeoutError:
        raise ViolationError(f"they are not destroyed: {wrong()}") from None


async def _to_destroyed(fleet: Fleet, state: Instance) -> None:
    if state.desired != "destroyed":
        fleet.people.known.setdefault(state.id, state.name)
        await fleet.people.destroy(state.id)


async def _order_until(
    fleet: Fleet,
    wrong: Callable[[], list[str]],
    order: Callable[[Fleet, Instance], Coroutine[Any, Any, None]],
    *,
    within_s: float,
) -> None:
    """Repeat the order each minute until nothing is wrong."""
    until = fleet.loop.time() + within_s
    while True:
        for state in fleet.states():
            if exists(state) and state.desired != "destroyed":
                fleet.spawn(order(fleet, state))
        try:
            await fleet.until(lambda: not wrong(), within_s=ORDER_AGAIN_S, step_s=2)
        except TimeoutError:
            if fleet.loop.time() >= until:
                raise
        else:
            return
