"""A tiny plane for one instance: the real tick, a manual clock, and lanes kept by hand."""

from __future__ import annotations

from typing import Any

from holdfast.actors.definition import Claim, EffectCall, Probe, ProbeAnswer
from holdfast.actors.ports import Pending, Stamp
from holdfast.actors.probing import ProbeCall
from holdfast.actors.tick import Folded, Tick, begin, full_digest, tick
from holdfast.instances import events, ports
from holdfast.instances.definition import INSTANCE
from holdfast.instances.effects import CloudCalls
from holdfast.instances.policy import Policy
from holdfast.instances.state import Instance
from holdfast.kernel.clock import ManualClock
from holdfast.kernel.ids import EventId, address
from holdfast.kernel.outcome import Ok, Outcome

UUID = "0b1c2d3e-4f50-4a6b-8c7d-9e0f1a2b3c4d"
SANDBOX = "ki_" + UUID.replace("-", "")
PROVIDER = "sim"
TICKS_IN_A_ROW_MAX = 12


def created(**changes: Any) -> events.InstanceCreated:
    values: dict[str, Any] = {
        "account": "acme",
        "name": "alpha",
        "sandbox_id": SANDBOX,
        "agent": "demo",
        "provider": PROVIDER,
        "key_hash": "0" * 64,
        "sealed_key": "sealed",
    }
    return events.InstanceCreated(**(values | changes))


def seen(state: str = "started", machine_id: str = "m1", **more: Any) -> ports.Seen:
    return ports.Seen(machine_id, state, incarnation=more.pop("incarnation", "i1"), **more)


class Driver:
    """Runs one instance; every tick must keep the invariants and leave a way on."""

    def __init__(self, policy: Policy | None = None) -> None:
        self.policy = policy or Policy(first_contact_ms=0)
        self.clock = ManualClock()
        self.folded: Folded[Instance] = begin(INSTANCE, address("instance", UUID))
        self.waiting: list[EffectCall] = []
        self.made: list[EffectCall] = []
        self.ticks: list[Tick[Instance]] = []
        self.stamps: dict[str, Stamp] = {}
        self.taken: set[Claim] = set()
        self.probe: Probe | None = None
        self.rows = 0
        self.taken_in: list[str] = []
        self._events = 0

    @property
    def state(self) -> Instance:
        return self.folded.state

    @property
    def status(self) -> str:
        return self.state.status

    @property
    def deadline_ms(self) -> int | None:
        return self.folded.alarm_ms

    def rules(self) -> list[str]:
        return [decision.rule for one in self.ticks for decision in one.decisions]

    def asked(self) -> list[str]:
        """The steps of every call that was ever decided."""
        return [ports.step_of(call.body) for call in self.made]

    # -- ticks

    def send(self, *sent: events.Event) -> Stamp:
        """Take events in one tick, then go on until nothing is due; the last one's stamp."""
        pending = []
        for event in sent:
            self._events += 1
            self.taken_in.append(type(event).__name__)
            pending.append(
                Pending(
                    id=EventId(f"e{self._events}"),
                    body=INSTANCE.encode_event(event),
                    version=INSTANCE.version,
                    source="api",
                    accepted_ms=self.clock.now_ms(),
                )
            )
        stamps = self._tick(pending)
        self._go_on()
        return stamps[-1]

    def _tick(self, pending: list[Pending]) -> tuple[Stamp, ...]:
        number = self.folded.number + 1
        now_ms = self.clock.now_ms()
        result = tick(INSTANCE, self.policy, self.folded, pending, now_ms, number)
        for claim in result.claims:
            if claim in self.taken:
                assert INSTANCE.claim_lost is not None
                lost = INSTANCE.encode_event(INSTANCE.claim_lost(claim))
                self._events += 1
                first = Pending(
                    id=EventId(f"e{self._events}"),
                    body=lost,
                    version=INSTANCE.version,
                    source="engine",
                    accepted_ms=now_ms,
                )
                return self._tick([first, *pending])
        self._take(result)
        return result.stamps

    def _take(self, result: Tick[Instance]) -> None:
        assert result.notes == ()
        assert all(one.result == "done" for one in result.decisions)
        assert all(stamp.outcome != "quarantined" for stamp in result.stamps), result.stamps
        self.folded = result.after
        assert self.folded.digest == full_digest(INSTANCE, self.state)
        assert INSTANCE.decode_state(INSTANCE.encode_state(self.state), 1) == self.state
        if not result.silent:
            self.ticks.append(result)
            self.rows += 1
        for probe in result.probes:
            self.probe = probe
        if self.probe is not None and self.probe.key in result.unprobes:
            self.probe = next(iter(result.probes), None)
        for call in result.calls:
            if call.supersedes:
                self.waiting = [one for one in self.waiting if one.lane != call.call.lane]
            self.waiting.append(call.call)
            self.made.append(call.call)
        if self.status in {"starting", "restarting", "destroying"}:
            assert self.deadline_ms is not None

    def _go_on(self) -> None:
        """Tick while something is due now; a rule that never rests is a bug."""
        for _ in range(TICKS_IN_A_ROW_MAX):
            if self.deadline_ms is None or self.deadline_ms > self.clock.now_ms():
                return
            self._tick([])
        message = f"{TICKS_IN_A_ROW_MAX} ticks in a row: {self.rules()[-TICKS_IN_A_ROW_MAX:]}"
        raise AssertionError(message)

    def advance(self, by_ms: int) -> None:
        """Let time pass, ticking at every deadline on the way."""
        until_ms = self.clock.now_ms() + by_ms
        while self.deadline_ms is not None and self.deadline_ms <= until_ms:
            self.clock.advance(max(0, self.deadline_ms - self.clock.now_ms()))
            self._go_on()
        self.clock.advance(until_ms - self.clock.now_ms())

    # -- answers

    def next_call(self) -> EffectCall:
        """The oldest call still wanted; those that are not are dropped, as dispatch does."""
        while self.waiting:
            call = self.waiting[0]
            if INSTANCE.wanted(self.state, call, self.clock.now_ms()):
                return call
            self.waiting.pop(0)
        raise AssertionError("no call is wanted")

    def take_call(self, kind: type[Any]) -> EffectCall:
        """Take the next call, which must be of this kind, out of its lane: it is in flight."""
        call = self.next_call()
        assert isinstance(call.body, kind), call.body
        self.waiting.remove(call)
        return call

    def reply(self, call: EffectCall, outcome: Outcome[Any]) -> Stamp:
        return self.send(INSTANCE.settle(call, outcome))

    def answer(self, kind: type[Any], outcome: Outcome[Any]) -> Stamp:
        return self.reply(self.take_call(kind), outcome)

    # -- short ways

    def running(self) -> Driver:
        """Create and bring it up by hand, without volumes."""
        self.send(created())
        self.answer(ports.FindCall, Ok(ports.Listed()))
        self.answer(ports.CreateCall, Ok(ports.Made(seen("starting"))))
        self.answer(ports.WaitCall, Ok(seen("started")))
        assert self.status == "running"
        return self

    def stopped(self) -> Driver:
        """Stop what runs, by hand."""
        self.send(events.StopRequested())
        self.answer(ports.StopCall, Ok(seen("stopping")))
        self.answer(ports.WaitCall, Ok(seen("stopped")))
        assert self.status == "stopped"
        return self

    # -- against a cloud

    async def settle(self, calls: CloudCalls, *, for_ms: int = 0) -> None:
        """Carry out calls until none is wanted, letting deadlines within `for_ms` pass."""
        until_ms = self.clock.now_ms() + for_ms
        while True:
            self._go_on()
            wanted = [
                c for c in self.waiting if INSTANCE.wanted(self.state, c, self.clock.now_ms())
            ]
            self.waiting = wanted
            if wanted:
                call = wanted[0]
                outcome = await calls.execute(call)
                self.waiting = [one for one in self.waiting if one is not call]
                self.reply(call, outcome)
            elif self.deadline_ms is not None and self.deadline_ms <= until_ms:
                self.clock.advance(max(0, self.deadline_ms - self.clock.now_ms()))
            else:
                return

    async def look(self, calls: CloudCalls) -> Stamp | None:
        """Ask the standing probe and hand its answer in."""
        probe = self.probe
        assert probe is not None
        outcome = await calls.look(
            ProbeCall(
                actor=self.folded.address,
                key=probe.key,
                provider=probe.provider,
                body=probe.body,
                epoch=probe.epoch,
                period_ms=probe.period_ms,
            )
        )
        assert INSTANCE.probed is not None
        return self.send(INSTANCE.probed(ProbeAnswer(probe.key, probe.epoch, outcome)))
