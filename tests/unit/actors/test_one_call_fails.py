"""Each call of a log, a meter, a store and a clock fails once: nobody is stuck, or it ends loudly.

A short life of the engine is played as often as it makes such calls, and the n-th of them raises.
Afterwards every lamp must do all that lamps do; or the engine says why it ended, and the next one
over the same store takes everything up.
"""

from __future__ import annotations

import asyncio
import inspect
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any, Literal, cast

import pytest

from holdfast.actors.limiter import Limiter
from holdfast.actors.ports import Journal
from holdfast.kernel.clock import Clock
from holdfast.kernel.metrics import TotalMeter
from holdfast.kernel.outcome import Outcome
from holdfast.sim.loop import SimClock, SimLoop, run
from holdfast.stores.memory.journal import MemoryStore
from tests.support.patience import patience
from tests.support.toys.lamp import BulbAdded, Event, Made, NoteWritten, Policy, SwitchedOn
from tests.unit.actors.rig import Rig, lamp, until

What = Literal["log", "meter", "store before", "store after", "clock"]
NAMES = ("hall", "attic")
POLICY = Policy(period_ms=6_000, patience_ms=5_000)
WITHIN_S = 900.0
CLOCK_PARTS = 4


class FuseError(Exception):
    """What the chosen call raises."""


class Fuse:
    """Counts calls and makes one of them fail; `at` 0 makes none."""

    def __init__(self, at: int = 0) -> None:
        self.at = at
        self.calls: Counter[str] = Counter()
        self.open = False

    def pass_one(self, name: str) -> None:
        if not self.open:
            return
        self.calls[name] += 1
        if self.calls.total() == self.at:
            raise FuseError(f"call {self.at}, of {name}")


class Fused:
    """Another object, each of whose calls passes a fuse, before or after it was made."""

    def __init__(self, inner: Any, fuse: Fuse, *, after: bool = False) -> None:
        self._inner, self._fuse, self._after = inner, fuse, after

    def __getattr__(self, name: str) -> Any:
        inner = getattr(self._inner, name)
        if not callable(inner):
            return inner
        if inspect.iscoroutinefunction(inner):
            return lambda *given, **named: self._awaited(name, inner(*given, **named))

        def call(*given: Any, **named: Any) -> Any:
            if not self._after:
                self._fuse.pass_one(name)
            came = inner(*given, **named)
            if self._after:
                self._fuse.pass_one(name)
            return came

        return call

    async def _awaited(self, name: str, work: Any) -> Any:
        if not self._after:
            try:
                self._fuse.pass_one(name)
            except FuseError:
                work.close()
                raise
        came = await work
        if self._after:
            self._fuse.pass_one(name)
        return came


def make_rig(what: What, clock: SimClock, store: MemoryStore, fuse: Fuse) -> Rig:
    """Return an engine, one of whose neighbours is behind the fuse."""
    given: Clock = cast("Clock", Fused(clock, fuse)) if what == "clock" else clock
    wrap: Callable[[Journal], Journal] | None = None
    if what.startswith("store"):
        after = what == "store after"
        wrap = lambda journal: cast("Journal", Fused(journal, fuse, after=after))  # noqa: E731
    broken: Any = None
    if what == "log":
        broken = lambda rig: (Fused(rig.log, fuse), rig.meter)  # noqa: E731
    elif what == "meter":
        broken = lambda rig: (rig.log, Fused(rig.meter, fuse))  # noqa: E731
    return Rig(given, store, policy=POLICY, wrap=wrap, instruments=broken)


def why_ended(rig: Rig) -> list[str]:
    return [why for vital in rig.engine.vitals() if (why := vital.ended()) is not None]


async def insist(rig: Rig, name: str, event: Event, key: str) -> None:
    """Ask as a patient client does: with one key, until it is answered."""
    async with asyncio.timeout(WITHIN_S):
        while not why_ended(rig):
            with suppress(FuseError):
                answer = await rig.ask(name, event, key=key)
                if answer.stamp is not None:
                    return
            await asyncio.sleep(1)


async def live(rig: Rig) -> None:
    """Have both lamps do everything that lamps do."""
    for name in NAMES:
        for number, event in enumerate((Made(name), BulbAdded("a"), BulbAdded("b"), SwitchedOn())):
            await insist(rig, name, event, f"{name}:{number}")
    await insist(rig, "hall", NoteWritten("lamp/attic", "echo"), "note")
    await asyncio.sleep(10)


async def wait_until_well(rig: Rig, bulb: str) -> None:
    """Wait until a new bulb of each lamp shines, nothing waits, and both are being looked at."""
    for name in NAMES:
        await insist(rig, name, BulbAdded(bulb), f"{name}:{bulb}")
    looks = len(rig.grid.looks)

    def well() -> bool:
        looked = {str(look.actor) for look in rig.grid.looks[looks:]}
        return bool(why_ended(rig)) or (
            not rig.store.waiting
            and not any(rig.store.lanes.values())
            and len(rig.engine.dispatch) == 0
            and looked == {str(lamp(name)) for name in NAMES}
        )

    await until(well, within_s=WITHIN_S, step_s=0.1)
    for name in () if why_ended(rig) else NAMES:
        state = await rig.state(name)
        assert {key: one.status for key, one in state.bulbs.items()} == dict.fromkeys(
            ("a", "b", *(("y",) if bulb == "z" else ()), bulb), "lit"
        )
        assert state.grid
        assert len(state.heard) > 0


async def play(what: What, clock: SimClock, fuse: Fuse) -> str:
    """Play one life, and the next where it ended; return why it did."""
    store = MemoryStore()
    rig = make_rig(what, clock, store, fuse)
    fuse.open = True
    try:
        await rig.engine.start()
        await live(rig)
        fuse.open = False
        await wait_until_well(rig, "y")
        ended = "; ".join(why_ended(rig))
    except FuseError as error:
        ended = f"it did not start: {error!r}"
    fuse.open = False
    with suppress(ExceptionGroup):
        await rig.engine.stop()
    if ended:
        async with Rig(clock, store, policy=POLICY) as following:
            await live(following)
            await wait_until_well(following, "y")
            assert not why_ended(following)
    return ended


def life(what: What, fuse: Fuse) -> str:
    """Play one life in virtual time; what only a loop's exception handler hears is no matter."""

    async def main(loop: SimLoop, clock: SimClock) -> str:
        loop.set_exception_handler(lambda *_: None)
        return await play(what, clock, fuse)

    return run(7, main)


def every_call(what: What, part: int = 0, parts: int = 1) -> Iterator[tuple[int, str, Fuse]]:
    """Play a life for each call, or for each of the `part`-th of `parts`."""
    counted = Fuse()
    assert life(what, counted) == ""
    for number in range(1 + part, counted.calls.total() + 1, parts):
        fuse = Fuse(number)
        yield number, life(what, fuse), fuse


@pytest.mark.parametrize("what", ["log", "meter"])
def test_a_line_or_a_figure_that_fails_changes_nothing(what: What) -> None:
    tried = 0
    for number, ended, _ in every_call(what):
        assert ended == "", f"{what} call {number}: {ended}"
        tried = number
    assert tried > 20


@pytest.mark.parametrize("what", ["store before", "store after"])
def test_a_call_of_the_store_that_fails_leaves_nobody_stuck(what: What) -> None:
    names: Counter[str] = Counter()
    for number, ended, fuse in every_call(what):
        names += fuse.calls
        assert not ended or ended.startswith("it did not start"), f"call {number}: {ended}"
    reached = {"accept", "commit", "finish_effect", "answer_probe", "load", "pending", "alarms"}
    assert reached <= names.keys()


@pytest.mark.parametrize("part", range(CLOCK_PARTS))
def test_a_clock_that_fails_leaves_nobody_stuck_or_ends_loudly(part: int) -> None:
    ends = [ended for _, ended, _ in every_call("clock", part, CLOCK_PARTS)]
    assert any(not ended for ended in ends)
    assert all(not ended or "FuseError" in ended for ended in ends)


def test_what_a_log_and_a_meter_do_not_take_is_counted() -> None:
    async def main(_loop: SimLoop, clock: SimClock) -> int:
        fuse = Fuse(3)
        rig = make_rig("meter", clock, MemoryStore(), fuse)
        fuse.open = True
        async with rig:
            await live(rig)
        assert isinstance(rig.total, TotalMeter)
        return rig.total.dropped

    assert run(1, main) == 1


def test_a_limiter_gives_turns_out_again_after_its_clock_failed() -> None:
    async def main(loop: SimLoop, clock: SimClock) -> list[str]:
        told: list[str] = []
        loop.set_exception_handler(lambda _loop, context: told.append(repr(context["exception"])))
        fuse, turns = Fuse(1), asyncio.Event()
        gate = Limiter(cast("Clock", Fused(clock, fuse)))
        fuse.open = True
        gate.submit(turns.set)
        assert not turns.is_set()
        async with asyncio.timeout(patience(10)):
            await turns.wait()
        return told

    (said,) = run(1, main)
    assert "FuseError" in said


def test_what_others_cancelled_is_an_outcome_and_no_end() -> None:
    async def main(_loop: SimLoop, clock: SimClock) -> None:
        async def cancelled(_call: object) -> Outcome[Any]:
            raise asyncio.CancelledError

        async with Rig(clock, policy=POLICY) as rig:
            rig.grid.answers["a"] = cancelled
            await insist(rig, "hall", Made("hall"), "1")
            await insist(rig, "hall", BulbAdded("a"), "2")
            await insist(rig, "hall", SwitchedOn(), "3")
            await until(lambda: bool(rig.log.named("effect.bug")))
            del rig.grid.answers["a"]
            await insist(rig, "hall", BulbAdded("b"), "4")
            await until(lambda: len(rig.engine.dispatch) == 0 and "b" in rig.grid.lit())
            assert (await rig.state("hall")).bulbs["a"].status == "broken"

    run(1, main)
