"""A pairing of one instance without a plane: the real tick, scripted machines, a manual clock."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from holdfast.actors.definition import EffectCall
from holdfast.actors.ports import Pending, Stamp
from holdfast.actors.tick import Folded, Tick, begin, full_digest, tick
from holdfast.kernel.clock import ManualClock
from holdfast.kernel.ids import EventId, address
from holdfast.kernel.outcome import Ok, Outcome, Permanent
from holdfast.pairing import events
from holdfast.pairing.definition import PAIRING, Policy
from holdfast.pairing.policy import Rule
from holdfast.pairing.ports import Place
from holdfast.pairing.requests import Asked, Waiting, marks
from holdfast.pairing.state import Pairing
from holdfast.wire.controller.calls import ControllerError, understand
from holdfast.wire.controller.endpoint import A, B, ControllerEndpoint
from holdfast.world.clouds.port import Capabilities, Execution

INSTANCE = "0b1c2d3e-4f50-4a6b-8c7d-9e0f1a2b3c4d"
UUID = "8d08d697-1111-4222-8333-0123456789ab"
TICKS_MAX = 12
FAR_MS = 2_000_000_000_000


def place(**changes: Any) -> Place:
    values: dict[str, Any] = {
        "instance": INSTANCE,
        "name": "alpha",
        "account": "acme",
        "running": True,
        "provider": "there",
        "machine_id": "m1",
        "epoch": 1,
        "config_version": 1,
    }
    return Place(**(values | changes))


def telegram(code: str = "AB12", sender: str = "777001", **more: Any) -> Waiting:
    asked = Asked(kind="channel", channel="telegram", code=code, sender=sender)
    return Waiting(asked=asked, marks=marks(asked, created_ms=more.get("created_ms")), **more)


def device(request: str = UUID, sender: str = "dev1", **more: Any) -> Waiting:
    asked = Asked(kind="device", machine_id=request, sender=sender)
    return Waiting(asked=asked, marks=marks(asked), **more)


def approve(request: Waiting, *, by: str = "ann", **more: Any) -> events.PairingDecided:
    return events.PairingDecided(
        account="acme",
        verb=more.pop("verb", "approve"),
        asked=request.asked,
        marks=request.marks,
        by=by,
        forget_ms=more.pop("forget_ms", FAR_MS),
        **more,
    )


def rules(*listed: Rule, mode: Any = "rules") -> events.PolicySet:
    return events.PolicySet(account="acme", mode=mode, by="ann", rules=listed)


class Driver:
    """Runs the pairing of one instance; every tick must keep its invariants."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.folded: Folded[Pairing] = begin(PAIRING, address("pairing", INSTANCE))
        self.calls: list[EffectCall] = []
        self.stamps: list[Stamp] = []
        self._events = 0

    @property
    def state(self) -> Pairing:
        return self.folded.state

    def send(self, event: events.Event) -> Stamp:
        """Have the event taken, and go on until nothing more is due."""
        self._events += 1
        row = Pending(
            id=EventId(f"e{self._events}"),
            body=PAIRING.encode_event(event),
            version=PAIRING.version,
            source="api",
            accepted_ms=self.clock.now_ms(),
        )
        result = self._tick((row,))
        self.run()
        return result.stamps[0]

    def run(self) -> None:
        """Tick for as long as something is due."""
        for _ in range(TICKS_MAX):
            due = self.folded.alarm_ms
            if due is None or due > self.clock.now_ms():
                return
            self._tick(())
        raise AssertionError("it does not come to rest")

    def wait(self, ms: int) -> None:
        """Let time pass."""
        self.clock.advance(ms)
        self.run()

    def _tick(self, pending: tuple[Pending, ...]) -> Tick[Pairing]:
        result = tick(
            PAIRING, Policy(), self.folded, pending, self.clock.now_ms(), self.folded.number + 1
        )
        assert not result.notes, result.notes
        self.folded = result.after
        assert self.folded.digest == full_digest(PAIRING, self.state)
        assert PAIRING.decode_state(PAIRING.encode_state(self.state), 1) == self.state
        self.calls += [call.call for call in result.calls]
        self.stamps += result.stamps
        return result

    def settle(self, outcome: Outcome[Any], *, attempt: int = 1) -> Stamp:
        """Answer the oldest call that waits."""
        call = self.calls.pop(0)._replace(attempt=attempt)
        assert PAIRING.wanted(self.state, call, self.clock.now_ms())
        return self.send(PAIRING.settle(call, outcome))


class Fixed:
    """The place of one instance, as set by a test."""

    def __init__(self) -> None:
        self.place: Place | None = place()
        self.state = Pairing(instance=INSTANCE)

    def of(self, instance: str) -> Place | None:
        return self.place if instance == INSTANCE else None

    def pairing(self, instance: str) -> Pairing:
        del instance
        return self.state


Answer = Callable[[str, str, Any], tuple[int, Any]]


class Scripted:
    """Controllers with answers set by a test; calls are recorded."""

    def __init__(self, *capabilities: str) -> None:
        self.can = frozenset(capabilities)
        self.version_trouble: ControllerError | None = None
        self.asked: list[str] = []
        self.bodies: list[Any] = []
        self.answers: dict[str, tuple[int, Any] | ControllerError] = {}

    async def call(
        self,
        instance_id: str,
        endpoint: ControllerEndpoint[B, A],
        *,
        path: Mapping[str, str] | None = None,
        query: Mapping[str, str] | None = None,
        body: B | None = None,
        timeout_ms: int = 30_000,
    ) -> A:
        del instance_id, timeout_ms
        tail = "?refresh=true" if (query or {}).get("refresh") == "true" else ""
        self.asked.append(f"{endpoint.method} {endpoint.target(path)}{tail}")
        self.bodies.append(None if body is None else msgspec.to_builtins(body))
        found = self.answers[endpoint.tail.removeprefix("pairing/")]
        if isinstance(found, ControllerError):
            raise found
        status, content = found
        raw = content if isinstance(content, bytes) else msgspec.json.encode(content)
        return understand(status, raw, endpoint.response)

    async def capabilities(self, instance_id: str) -> frozenset[str]:
        del instance_id
        if self.version_trouble is not None:
            raise self.version_trouble
        return self.can


class Shell:
    """A cloud whose commands print texts set by a test."""

    def __init__(self, kind: str = "fly") -> None:
        self.capabilities = Capabilities(kind=kind, isolation="none")
        self.ran: list[tuple[str, ...]] = []
        self.prints: list[tuple[str, Outcome[Execution]]] = []
        self.default: Outcome[Execution] = Permanent("unsupported", "no commands here")

    def says(self, word: str, stdout: str = "", *, code: int = 0, stderr: str = "") -> None:
        ran = Execution(exit_code=code, stdout=stdout, stderr=stderr)
        self.prints.append((word, Ok(ran)))

    async def exec(
        self, machine_id: str, argv: tuple[str, ...], *, timeout_ms: int
    ) -> Outcome[Execution]:
        del machine_id, timeout_ms
        self.ran.append(argv)
        text = " ".join(argv)
        return next((found for word, found in self.prints if word in text), self.default)
