"""Any order of orders, answers, silence and time: a way on is left, always.

The driver checks every tick: invariants, digest, a deadline for what should pass, no rule that
never rests. This machine adds what holds of whole histories.
"""

from __future__ import annotations

from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from holdfast.instances import events, ports
from holdfast.instances.definition import INSTANCE
from holdfast.kernel.clock import HOUR_MS, MINUTE_MS, SECOND_MS
from holdfast.kernel.outcome import Conflict, Ok, Outcome, Permanent, Retryable
from tests.support.slices import slice_of
from tests.unit.instances.driver import Driver, created, seen
from tests.unit.instances.test_chaos import PLAIN, POLLING
from tests.unit.instances.test_clouds import POLICY

FAILURES: list[Outcome[Any]] = [
    Retryable("transient", "503"),
    Retryable("capacity", "412"),
    Retryable("rate_limited", "429", retry_after_ms=5_000),
    Retryable("wait_timeout", "408"),
    Retryable("expired", "too late"),
    Permanent("not_found", "404"),
    Permanent("denied", "401"),
    Permanent("invalid", "422"),
    Permanent("missing_volume", "400"),
    Permanent("unwanted", "superseded"),
    Conflict("conflict", "409"),
    Conflict("collision", "409", "m9"),
]
STATES = ["created", "starting", "started", "stopping", "stopped", "failed", "destroyed"]


def good(body: ports.Body, state: str, machine_id: str, incarnation: str) -> Ok[Any]:
    """A success that fits the call."""
    one = seen(state, machine_id, incarnation=incarnation)
    match body:
        case ports.FindCall():
            return Ok(ports.Listed(() if state == "destroyed" else (one,)))
        case ports.CreateCall():
            return Ok(ports.Made(one, adopted=state == "stopped"))
        case ports.VolumeCall():
            return Ok(ports.VolumeFound("v1", "ams"))
        case ports.DestroyCall() | ports.DestroyVolumeCall():
            return Ok(ports.Destroyed())
        case _:
            return Ok(seen(state, getattr(body, "machine_id", "m1"), incarnation=incarnation))


def ideal(body: ports.Body) -> Ok[Any]:
    """What a cloud without faults answers."""
    match body:
        case ports.FindCall():
            return Ok(ports.Listed())
        case ports.StopCall():
            return good(body, "stopped", "m1", "ideal")
        case ports.WaitCall(state="stopped"):
            return good(body, "stopped", "m1", "ideal")
        case _:
            return good(body, "started", "mN", "ideal")


def drive(driver: Driver, goal: str) -> None:
    """Answer everything well and let time pass until the goal is reached."""
    for _ in range(200):
        if driver.status == goal and driver.state.aim == "":
            return
        wanted = [one for one in driver.waiting if INSTANCE.wanted(driver.state, one, 0)]
        if wanted:
            driver.waiting = [one for one in wanted if one is not wanted[0]]
            driver.reply(wanted[0], ideal(wanted[0].body))
        elif driver.deadline_ms is not None:
            driver.advance(max(1, driver.deadline_ms - driver.clock.now_ms()))
        elif driver.state.blocked:
            driver.send(events.StartRequested())
        else:
            break
    assert driver.status == goal, (driver.state, driver.rules()[-8:])


class Walk(RuleBasedStateMachine):
    """One instance in the hands of chance."""

    @initialize(
        policy=st.sampled_from([PLAIN, POLICY, POLLING]),
        desired=st.sampled_from(["running", "stopped"]),
    )
    def begin(self, policy: Any, desired: str) -> None:
        self.driver = Driver(policy)
        self.driver.send(created(desired=desired))

    @rule(
        event=st.sampled_from(
            [
                events.StartRequested(),
                events.StopRequested(),
                events.RestartRequested(),
                events.ContactLost(),
                events.ContactRegained(),
                events.MachineReported(machine_id="m1", agent_ready=True),
                events.TwinSeen(("m1", "m2")),
                events.MachineWatched("m1", "failed"),
                events.ConfigChanged(env={"A": "1"}),
                events.KeyRotated(key_hash="k", sealed_key="s", previous_expires_ms=1),
                events.TokenRotated(previous_expires_ms=1),
                events.TokenRotated(previous_expires_ms=2**41, renew_key=True),
                events.SecretsResealed(sealed={"s": "t", "t": "s"}),
            ]
        )
    )
    def hear(self, event: events.Event) -> None:
        self.driver.send(event)

    @precondition(lambda self: self.driver.made)
    @rule(
        outcome=st.sampled_from([None, *FAILURES]),
        state=st.sampled_from(STATES),
        machine_id=st.sampled_from(["m1", "m2"]),
        incarnation=st.sampled_from(["i1", "i2", "i3"]),
        back=st.integers(1, 3),
    )
    def answer(
        self, outcome: Outcome[Any] | None, state: str, machine_id: str, incarnation: str, back: int
    ) -> None:
        """Answer one of the newest calls, perhaps a second time or one nobody waits for."""
        call = self.driver.made[-min(back, len(self.driver.made))]
        if outcome is None:
            outcome = good(call.body, state, machine_id, incarnation)
        self.driver.waiting = [one for one in self.driver.waiting if one is not call]
        self.driver.reply(call, outcome)

    @rule(by_ms=st.sampled_from([1, SECOND_MS, MINUTE_MS, 10 * MINUTE_MS, 9 * HOUR_MS]))
    def wait(self, by_ms: int) -> None:
        self.driver.advance(by_ms)

    @rule()
    def destroy(self) -> None:
        self.driver.send(events.DestroyRequested())

    @invariant()
    def at_most_one_machine_is_bound_and_what_exists_is_looked_at(self) -> None:
        state = self.driver.state
        assert state.machine.id not in state.doomed or state.desired == "destroyed"
        if state.status not in {"absent", "destroyed"} and self.driver.deadline_ms is None:
            assert INSTANCE.probes(state, self.driver.policy)

    def teardown(self) -> None:
        """From wherever it ended there is a way to run, and a way to be gone."""
        driver = self.driver
        if driver.state.desired != "destroyed":
            driver.send(events.StartRequested())
            drive(driver, "running")
            driver.send(events.DestroyRequested())
        drive(driver, "destroyed")


Walk.TestCase.settings = settings(
    max_examples=slice_of(60, here=25),
    stateful_step_count=30,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
TestWalk = Walk.TestCase
