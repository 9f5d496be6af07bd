"""The gate of a node beside a plane in this process: what it is after a heartbeat's answer."""

from __future__ import annotations

from holdfast.kernel.clock import SystemClock
from holdfast.machine.observer import gate
from holdfast.machine.observer.gate import GateState
from holdfast.plane.wiring.plane import Plane
from tests.support.consent_signer import answer


def pinned(plane: Plane, node: str) -> GateState:
    """Return a gate that pins the key which signs now."""
    return GateState(node=node, keys=(plane.core.consent_key.public_key,))


def heard(plane: Plane, node: str, state: GateState) -> GateState:
    """Return a gate after what the plane answers to a heartbeat of the node now."""
    grant = plane.subjects.consent.index.standing(node).grant
    said = gate.read_answer(200, answer(grant, keys=plane.core.consent_key.successors))
    assert said is not None
    return gate.take(state, said, SystemClock().now_ms()).state


def opened(state: GateState) -> set[str]:
    """Return the classes that a gate lets through now."""
    now_ms = SystemClock().now_ms()
    return {*gate.open_classes(state, gate.standing_grant(state), now_ms)}
