"""Supervision in the face of events in any order: every deadline is met, and as it was before."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest

from holdfast.kernel.backoff import Backoff
from holdfast.machine.controller import supervise
from holdfast.machine.controller.supervise import Event, Policy, Spawn, State
from holdfast.machine.controller.supervise.state import RISES
from tests.support.recorded import History, hold

POLICY = Policy(backoff=Backoff(jitter=0.0), can_repair=True, drain_ms=20_000)
STEPS = 300


def an_event(chance: random.Random, state: State, now_ms: int) -> Event:
    """Return any event, of the present child, of an older one, or of none."""
    child = chance.choice((state.child, state.child, state.child, max(state.child - 1, 0)))
    events: tuple[Event, ...] = (
        supervise.Start(),
        supervise.Stop(drain_ms=chance.choice((None, 0, 5_000))),
        supervise.Restart(drain_ms=chance.choice((None, 0, 5_000))),
        supervise.ConfigChanged("e", restart=chance.random() < 0.5),
        supervise.HoldLadder(),
        supervise.RetryLadder(),
        supervise.Spawned(child),
        supervise.SpawnFailed(child, now_ms),
        supervise.PortTaken(child, "somebody", freed=chance.random() < 0.5),
        supervise.Exited(child, chance.choice((0, 1, 78)), None, now_ms),
        supervise.Exited(child, None, "SIGKILL", now_ms),
        supervise.Probed(child, ready=True),
        supervise.Probed(child, ready=False, answered=chance.random() < 0.5),
        supervise.WorkEnded(child, cut=chance.choice((None, True, False))),
        supervise.Repaired(
            chance.choice(RISES) if state.repair is None else state.repair,
            chance.random() < 0.5,
            now_ms,
            "so it ended",
        ),
        supervise.Due(now_ms),
    )
    return chance.choice(events)


def broken_rule(state: State) -> str:
    if state.child and state.repair is not None:
        return "a child beside a repair"
    if state.status in {"stopped", "crashed"} and not state.idle:
        return f"{state.status}, and something runs"
    if state.status == "running" and not state.child:
        return "running without a child"
    of_child = replace(state, retry_at_ms=None).deadline_ms
    if not state.child and of_child is not None:
        return "a deadline of a child that is not there"
    if state.status == "stopping" and state.idle:
        return "it is stopping, and nothing is there to stop"
    return ""


def walk(seed: int, history: History) -> None:
    chance, state, now_ms = random.Random(seed), State(), 0
    for _ in range(STEPS):
        now_ms += chance.choice((0, 0, 1, 500, 5_000, 60_000))
        while (due := state.deadline_ms) is not None and due <= now_ms:
            before = state
            state, commands = supervise.step(POLICY, state, supervise.Due(now_ms), now_ms)
            assert state != before, (due, now_ms, state)
            assert all(one.child for one in commands if isinstance(one, Spawn | supervise.Kill))
            history.add((now_ms, state, commands))
        event, before = an_event(chance, state, now_ms), state
        state, commands = supervise.step(POLICY, state, event, now_ms)
        assert not broken_rule(state), (broken_rule(state), event, before, state)
        history.add((now_ms, event, state, commands))


@pytest.mark.parametrize("seed", range(10, 100))
def test_no_order_of_events_leaves_a_deadline_that_nothing_answers(seed: int) -> None:
    walk(seed, History())


@pytest.mark.parametrize("seed", range(10))
def test_events_in_any_order_are_decided_as_they_were(seed: int) -> None:
    history = History()
    walk(seed, history)
    hold("supervision", f"any order {seed}", history)
