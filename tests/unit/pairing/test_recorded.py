"""Pairings in the hands of chance are decided as they were: states, calls, reasons and views."""

from __future__ import annotations

import random
from typing import Any

import pytest

from holdfast.actors.ports import Pending
from holdfast.actors.tick import Tick
from holdfast.kernel.clock import DAY_MS, MINUTE_MS, SECOND_MS
from holdfast.kernel.outcome import Ok, Permanent, Retryable
from holdfast.pairing import events, ports
from holdfast.pairing.definition import PAIRING
from holdfast.pairing.policy import Rule
from holdfast.pairing.requests import Waiting
from holdfast.pairing.state import Pairing
from tests.support.recorded import History, hold
from tests.unit.pairing.rig import Driver, approve, device, rules, telegram

REQUESTS: tuple[Waiting, ...] = (
    *(telegram(code=f"C{number}", sender=str(number)) for number in range(4)),
    device("8d08d697-1111-4222-8333-000000000001", roles=("operator",), scopes=("b", "a")),
    device("8d08d697-1111-4222-8333-000000000002", "dev2", roles=("node",), scopes=None),
)
RULES = (
    Rule(id="r1", kind="channel", channel="telegram", sender="1"),
    Rule(id="r2", kind="device", sender="*", role="operator", scopes=("a", "b")),
    Rule(id="r3", kind="channel", channel="telegram", sender="*", expires_ms=1),
)
OUTCOMES = (
    Ok(ports.Carried("done", "controller")),
    Ok(ports.Carried("done", "exec")),
    Ok(ports.StillWaits()),
    Permanent(ports.DOUBT, "lost"),
    Permanent(ports.MAY_RUN, "reset"),
    Permanent("pairing_failed", "it broke"),
    Retryable("expired", "late"),
    Retryable("timeout", "slow"),
)
WAITS = (1, SECOND_MS, 5 * SECOND_MS, MINUTE_MS, 10 * MINUTE_MS, DAY_MS)


class Recorder(Driver):
    """A driver that adds each tick to a history."""

    def __init__(self, history: History) -> None:
        super().__init__()
        self.history = history

    def _tick(self, pending: tuple[Pending, ...]) -> Tick[Pairing]:
        result = super()._tick(pending)
        self.history.add((
            self.clock.now_ms(), PAIRING.encode_state(self.state), result.after.alarm_ms,
            result.stamps, result.decisions, result.withheld, result.changed_reasons,
            result.intents, result.calls, result.letters, result.views, result.deadline_ms,
        ))  # fmt: skip
        return result


def remembering(request: Waiting, chance: random.Random) -> events.PairingDecided:
    rule = Rule(
        id=f"m{chance.randrange(3)}", kind="channel", channel="telegram",
        sender=request.asked.sender, by="ann",
    )  # fmt: skip
    return approve(request, remember=rule)


def step(driver: Driver, chance: random.Random) -> None:
    request = chance.choice(REQUESTS)
    forget_ms = driver.clock.now_ms() + chance.choice(WAITS)
    match chance.randrange(10):
        case 0 | 1:
            verb: Any = chance.choice(("approve", "dismiss"))
            driver.send(approve(request, verb=verb, forget_ms=forget_ms))
        case 2:
            driver.send(remembering(request, chance))
        case 3 | 4:
            seen = events.PairingSeen(account="acme", request=request, forget_ms=forget_ms)
            driver.send(seen)
        case 5:
            listed = RULES[: chance.randrange(4)]
            driver.send(rules(*listed, mode=chance.choice(("rules", "rules", "manual"))))
        case 6 | 7 | 8 if driver.calls:
            call = driver.calls.pop(chance.randrange(len(driver.calls)))
            call = call._replace(attempt=chance.randrange(1, 3))
            if PAIRING.wanted(driver.state, call, driver.clock.now_ms()):
                driver.send(PAIRING.settle(call, chance.choice(OUTCOMES)))
        case _:
            driver.wait(chance.choice(WAITS))


@pytest.mark.parametrize("seed", range(24))
def test_a_pairing_is_decided_as_it_was(seed: int) -> None:
    chance, history = random.Random(seed), History()
    driver = Recorder(history)
    for _ in range(40):
        step(driver, chance)
    if seed % 3 == 0:
        driver.send(events.InstanceGone(account="acme"))
        for _ in range(8):
            step(driver, chance)
    hold("pairing", str(seed), history)
