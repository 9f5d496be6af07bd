"""Events of any kind in any order are folded and answered by the rules as they were before.

A log may have answers that came late, twice, or of a machine that is another by now. Nothing in it
may be refused with an exception, and what was made of it once is made of it again.
"""

from __future__ import annotations

import random
from typing import Any, get_args

import msgspec
import pytest

from holdfast.actors.definition import Applied, At
from holdfast.instances import events, ports
from holdfast.instances.definition import INSTANCE, act
from holdfast.instances.policy import Policy
from holdfast.instances.presenters import explain
from holdfast.instances.reconcile import Hold, deadline, decide
from holdfast.instances.state import Config, Instance, Step, machine_key
from holdfast.kernel.clock import DAY_MS, MINUTE_MS, SECOND_MS
from holdfast.kernel.ids import EventId
from holdfast.wire.budget import Budget
from holdfast.wire.controller.checkin import Recovery
from tests.support.recorded import History, hold
from tests.unit.instances.driver import UUID, created
from tests.unit.instances.test_walk import STATES

STEPS = 250
BEGAN_MS = 1_700_000_000_000
FAMILIES = (events.Request, events.CallOutcome, events.ContactEvent, events.Restored | None)
NEWER = {events.AgentsHosted, events.UpgradeRequested}
"""What is recorded is of logs from before there were these."""
FROM_OUTSIDE = [
    kind
    for family in FAMILIES
    for kind in get_args(family)
    if kind not in {events.InstanceCreated, *NEWER, type(None)}
]
RARE = (events.DestroyRequested, events.Restored, events.SecretsResealed)
POLICIES = (Policy(), Policy(first_contact_ms=0))


def seen(state: Instance, chance: random.Random) -> ports.Seen:
    known = state.machine.id or "m1"
    return ports.Seen(
        chance.choice((known, known, known, "m2", *state.doomed)), chance.choice(STATES),
        region=chance.choice(("", "eu")), incarnation=chance.choice(("i1", "i2")),
        epoch=state.epoch, volume_id=chance.choice(("", "v1", state.volume_id)),
    )  # fmt: skip


def pools(state: Instance, chance: random.Random, now_ms: int) -> dict[str, Any]:
    """Return a value for each field of an event, mostly one that fits the state."""
    serial = 0 if state.job is None else state.job.serial
    step = chance.choice(get_args(Step)) if state.job is None else state.job.step
    later_ms = now_ms + chance.choice((1, MINUTE_MS, DAY_MS))
    key = {"key_hash": chance.choice(("h1", "h2")), "sealed_key": "sealed", "step": step}
    return key | {
        "serial": chance.choice((serial, serial, serial, 0, serial + 1)),
        "epoch": chance.choice((state.epoch, state.epoch, state.epoch, max(state.epoch - 1, 0))),
        "machine": seen(state, chance),
        "machines": tuple(seen(state, chance) for _ in range(chance.randrange(3))),
        "machine_id": seen(state, chance).id,
        "machine_ids": ("m1", "m2"),
        "repeated": chance.random() < 0.3,
        "missing": chance.random() < 0.3,
        "config_version": state.config.version,
        "token_version": state.credentials.token_version,
        "volume_id": chance.choice(("v1", "v2", state.volume_id)),
        "region": chance.choice(("", "eu")),
        "expires_ms": later_ms,
        "previous_expires_ms": later_ms,
        "key_expires_ms": chance.choice((0, later_ms)),
        "renew_key": chance.random() < 0.5,
        "stored": chance.random() < 0.7,
        "pushed": chance.random() < 0.7,
        "kind": chance.choice(("retryable", "retryable", "permanent", "conflict")),
        "code": chance.choice(("transient", "not_found", "quota", "timeout", "expired")),
        "message": "so it is said",
        "retry_after_ms": chance.choice((0, 0, 5_000)),
        "level": chance.choice((1, 2, 80, 100)),
        "state": chance.choice(STATES),
        **_spending(chance, now_ms),
        "scope": chance.choice(("machine", "sandbox", "instance-name")),
        "key": machine_key(state, "m1"),
        "hold": chance.random() < 0.5,
        "sealed": {},
        "env": {chance.choice("AB"): chance.choice((None, "1", "2"))},
        "reason": chance.choice(("", "disk full")),
        "boot_id": chance.choice(("b1", "b2")),
        "agent_ready": chance.choice((None, True, False)),
        "restarts": chance.randrange(3),
        "recovery": chance.choice((None, Recovery(rung="reinstall", reason="crash", work_cuts=2))),
    }


def _spending(chance: random.Random, now_ms: int) -> dict[str, Any]:
    """Return a value for each field about a budget, mostly of one limit in the present day."""
    budget = Budget(day_micro=10, month_tokens=20, cap=chance.random() < 0.7)
    return {
        "budget": chance.choice((None, budget, budget)),
        "period": "day",
        "measure": "money",
        "starts_ms": now_ms // DAY_MS * DAY_MS - chance.choice((0, 0, 0, DAY_MS)),
        "spent": 10,
        "most": 10,
        "currency": "USD",
    }


def from_outside(state: Instance, chance: random.Random, now_ms: int) -> events.Event:
    kind = chance.choice(FROM_OUTSIDE)
    if kind in RARE and chance.random() < 0.8:
        kind = events.CallFailed
    values = pools(state, chance, now_ms)
    named = {field.name for field in msgspec.structs.fields(kind)}
    event: events.Event = kind(**{name: values[name] for name in named & values.keys()})
    return event


class Log:
    """A log that is folded event by event, each with its traces in the history."""

    def __init__(self, policy: Policy, history: History) -> None:
        self.policy = policy
        self.history = history
        self.state: Instance = INSTANCE.empty(UUID)
        self.now_ms = BEGAN_MS
        self.number = 0

    def fold(self, event: events.Event) -> None:
        self.number += 1
        before = self.state
        at = At(self.now_ms, self.number, EventId(f"e{self.number}"))
        verdict = INSTANCE.apply(before, event, at)
        if isinstance(verdict, Applied):
            self.state = verdict.state
        state = self.state
        self.history.add((
            type(event).__name__, INSTANCE.encode_state(state), type(verdict).__name__,
            None if isinstance(verdict, Applied) else tuple(verdict),
            decide(state, self.policy, self.now_ms), deadline(state, self.policy, self.now_ms),
            explain(state, self.policy, self.now_ms), tuple(INSTANCE.views(before, state, ())),
            sorted(INSTANCE.claims(state)), INSTANCE.probes(state, self.policy),
        ))  # fmt: skip

    def follow(self) -> None:
        """Do what the rules say, as a tick does."""
        decision = decide(self.state, self.policy, self.now_ms)
        if isinstance(decision, Hold):
            return
        at = At(self.now_ms, self.number, EventId("decided"))
        work = act(self.state, decision, self.policy, at)
        self.history.add((work.effects, work.letters))
        for intent in work.intents:
            self.fold(intent)


@pytest.mark.parametrize("seed", range(16))
def test_any_log_is_folded_as_it_was(seed: int) -> None:
    chance, history = random.Random(seed), History()
    log = Log(POLICIES[seed % 2], history)
    log.fold(created(desired=("running", "stopped")[seed // 2 % 2], config=Config(env={"A": "0"})))
    for _ in range(STEPS):
        log.now_ms += chance.choice((0, 1, SECOND_MS, SECOND_MS, MINUTE_MS, 10 * MINUTE_MS))
        log.follow()
        if chance.random() < 0.6:
            log.fold(from_outside(log.state, chance, log.now_ms))
    hold("instances", f"any order {seed}", history)
