"""Supervision in the hands of chance decides as it did: states and commands, for each policy."""

from __future__ import annotations

import random

import pytest

from holdfast.kernel.backoff import Backoff
from holdfast.machine.controller import supervise
from holdfast.machine.controller.supervise import Event, Policy
from tests.support.recorded import History, hold
from tests.unit.machine.supervision import PLAIN, Bench

POLICIES = {
    "plain": PLAIN,
    "repairs": Policy(backoff=Backoff(jitter=0.0), can_repair=True),
    "drains": Policy(backoff=Backoff(jitter=0.0), can_repair=True, drain_ms=20_000),
}
ASKED: list[Event] = [
    supervise.Restart(),
    supervise.Restart(drain_ms=0),
    supervise.ConfigChanged("e1"),
    supervise.ConfigChanged("e2", restart=False),
    supervise.HoldLadder(),
    supervise.RetryLadder(),
    supervise.Start(),
]
CODES = (0, 1, 1, 78, 137, None)


class Recorder(Bench):
    """A bench that keeps all that was decided since the last step of a history."""

    def __init__(self, policy: Policy, history: History) -> None:
        super().__init__(policy, works=())
        self.history = history
        self.since: list[object] = []

    def feed(self, event: Event) -> None:
        super().feed(event)
        self.since.append((self.now_ms, event, self.state, self.commands))

    def end_step(self) -> None:
        self.history.add(self.since)
        self.since = []


def step(bench: Recorder, chance: random.Random) -> None:
    match chance.randrange(10):
        case 0:
            bench.feed(ASKED[chance.randrange(len(ASKED))])
        case 1 | 2 if bench.state.status == "running":
            code = CODES[chance.randrange(len(CODES))]
            bench.exit(code, "SIGSEGV" if code is None else None, after_ms=chance.randrange(40_000))
        case 3 | 4:
            bench.ready()
        case 5:
            bench.probe(
                answered=bool(chance.randrange(2)), times=chance.randrange(1, 6), each_ms=10_000
            )
        case _:
            bench.wait((1, 1_000, 29_999, 60_000, 400_000)[chance.randrange(5)])


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("seed", range(12))
def test_a_history_is_decided_as_it_was(seed: int, policy: str) -> None:
    chance, history = random.Random(seed), History()
    bench = Recorder(POLICIES[policy], history)
    bench.start()
    for _ in range(50):
        step(bench, chance)
        bench.end_step()
    bench.feed(supervise.Stop())
    bench.end_step()
    hold("supervision", f"{policy} {seed}", history)
