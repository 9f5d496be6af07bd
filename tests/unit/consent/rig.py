"""A node's consent without a plane: the real tick and key, scripted deletions, a manual clock."""

from __future__ import annotations

from typing import Any

from holdfast.actors.definition import EffectCall, ViewRow
from holdfast.actors.ports import Pending, Stamp
from holdfast.actors.tick import Folded, Tick, begin, full_digest, tick
from holdfast.consent import events, ports
from holdfast.consent.definition import NODE_DEFINITION, Policy
from holdfast.consent.state import Node, decode_state, standing
from holdfast.consent.views import views
from holdfast.kernel.clock import ManualClock
from holdfast.kernel.ids import EventId, address
from holdfast.kernel.outcome import Ok, Outcome
from holdfast.plane.consent_key import ConsentKey, make_consent_key, verify
from holdfast.wire.consent import (
    CLASSES,
    ContentClass,
    Document,
    Standing,
    from_base64url,
    node_of_name,
)

NODE = node_of_name("acme", "laptop")
TICKS_MAX = 40
OWNER: dict[str, Any] = {"by": "ann", "credential": "session:ann"}
AGENT: dict[str, Any] = {"by": "agent", "credential": "observer:cm_1"}


def registered(**changes: Any) -> events.NodeRegistered:
    plain = {"account": "acme", "name": "laptop", **AGENT}
    return events.NodeRegistered(**(plain | changes))


def grant(*classes: ContentClass, **changes: Any) -> events.ConsentGranted:
    return events.ConsentGranted(classes=classes, **(OWNER | changes))


def revoke(*classes: ContentClass, **changes: Any) -> events.ConsentRevoked:
    return events.ConsentRevoked(classes=classes, **(OWNER | changes))


class Driver:
    """Runs one node; every tick must keep its invariants and end with rows that say the state."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.key: ConsentKey = make_consent_key(bytes(range(32)), now_ms=0)
        self.folded: Folded[Node] = begin(NODE_DEFINITION, address("node", NODE))
        self.calls: list[EffectCall] = []
        self.rows: dict[tuple[str, str], ViewRow] = {}
        self.log: list[tuple[events.Event, int]] = []
        self._events = 0

    @property
    def state(self) -> Node:
        return self.folded.state

    def standing(self) -> Standing:
        return standing(self.state, self.clock.now_ms())

    def in_force(self) -> tuple[ContentClass, ...]:
        return tuple(each for each in CLASSES if each in self.standing().classes)

    def settle_next(self, outcome: Outcome[Any] | None = None) -> None:
        """Answer the call that waits longest: as a plane that works does, unless told otherwise."""
        if not self.calls:
            return
        call = self.calls[0]
        if outcome is None and isinstance(call.body, ports.SignCall):
            outcome = Ok(self.key.sign(from_base64url(call.body.payload)))
        classes = call.body.classes if isinstance(call.body, ports.DeleteCall) else ()
        self.settle(call, outcome or Ok(ports.Deleted(dict.fromkeys(classes, 1))))

    def send(self, event: events.Event) -> Stamp:
        """Have the event taken, and go on until nothing more is due."""
        self._events += 1
        row = Pending(
            id=EventId(f"e{self._events}"),
            body=NODE_DEFINITION.encode_event(event),
            version=NODE_DEFINITION.version,
            source="api",
            accepted_ms=self.clock.now_ms(),
        )
        result = self._tick((row,))
        self.run()
        return result.stamps[0]

    def ok(self, event: events.Event) -> Stamp:
        """Have an event applied, and sign what it led to."""
        stamp = self.send(event)
        assert stamp.outcome == "applied", stamp
        self.sign()
        return stamp

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

    def sign(self) -> None:
        """Answer every waiting signature."""
        while signing := [one for one in self.calls if isinstance(one.body, ports.SignCall)]:
            signed = self.key.sign(from_base64url(signing[0].body.payload))
            self.settle(signing[0], Ok(signed))

    def settle(self, call: EffectCall, outcome: Outcome[Any]) -> Stamp | None:
        """Answer a call that waits, unless it is not wanted any more."""
        self.calls.remove(call)
        if not NODE_DEFINITION.wanted(self.state, call, self.clock.now_ms()):
            return None
        return self.send(NODE_DEFINITION.settle(call, outcome))

    def deletions(self) -> list[EffectCall]:
        """Return the deletions that were asked for and not answered."""
        return [one for one in self.calls if isinstance(one.body, ports.DeleteCall)]

    def receipts(self) -> list[Document]:
        """Return what every kept receipt says, the oldest first, each verified."""
        return [verify(one.document, self.key.public_key) for one in self.state.receipts]

    def _tick(self, pending: tuple[Pending, ...]) -> Tick[Node]:
        result = tick(
            NODE_DEFINITION, Policy(), self.folded, pending, self.clock.now_ms(),
            self.folded.number + 1,
        )  # fmt: skip
        assert not result.notes, result.notes
        assert all(one.result == "done" for one in result.decisions), result.decisions
        self.folded = result.after
        assert self.folded.digest == full_digest(NODE_DEFINITION, self.state)
        assert decode_state(NODE_DEFINITION.encode_state(self.state), 1) == self.state
        for row in result.views:
            if row.body is None:
                self.rows.pop((row.view, row.key))
            else:
                self.rows[row.view, row.key] = row
        rebuilt = {(row.view, row.key): row for row in views(None, self.state, ())}
        assert rebuilt == self.rows
        taken = zip(pending, result.stamps, strict=True)
        bodies = [row.body for row, stamp in taken if stamp.outcome == "applied"]
        bodies += [one.body for one in result.intents]
        self.log += [(events.decode_event(body, 1), result.now_ms) for body in bodies]
        self.calls += [call.call for call in result.calls]
        return result
