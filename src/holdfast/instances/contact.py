"""The fold of what contact with the machine showed; only transitions come here.

Silence proves nothing about the machine: it makes the rules ask the cloud, and the cloud's
answer alone changes the status.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import msgspec
from msgspec.structs import replace

from holdfast.actors.definition import Applied, At, Ignored, Verdict
from holdfast.instances import events, spend, upgrades
from holdfast.instances.state import Contact, Instance


def _lost(state: Instance, event: events.ContactLost, at: At) -> Verdict[Instance]:
    if state.status != "running" or spend.wanted(state) != "running":
        text = f"it is {state.status} and wanted {spend.wanted(state)}; silence is expected"
        return Ignored(text)
    if state.contact.heard == "lost" and event.level <= state.contact.level:
        return Ignored("the silence is known")
    since = state.contact.since_ms if state.contact.heard == "lost" else at.now_ms
    lost = replace(
        state.contact,
        heard="lost",
        level=event.level,
        since_ms=since,
        looked=False,
        agent_ready=None,
    )
    return Applied(replace(state, contact=lost))


def _regained(state: Instance, _event: events.ContactRegained, at: At) -> Verdict[Instance]:
    if state.contact.heard == "heard":
        return Ignored("it was not silent")
    heard = replace(
        state.contact, heard="heard", level=0, since_ms=at.now_ms, looked=False, silent_restarts=0
    )
    return Applied(replace(state, contact=heard))


def _reported(state: Instance, event: events.MachineReported, at: At) -> Verdict[Instance]:
    if event.machine_id and event.machine_id in state.doomed:
        return Ignored("a machine spoke that is being destroyed")
    if event.machine_id and state.machine.id and event.machine_id != state.machine.id:
        return Ignored("another machine spoke; contact tells of two")
    old = state.contact
    new = replace(
        msgspec.convert(event, Contact, from_attributes=True),
        heard="heard",
        since_ms=old.since_ms if old.heard == "heard" else at.now_ms,
    )
    if new == old:
        return Ignored("nothing differs")
    heard = upgrades.follow(replace(state, contact=new))
    if state.status == "stopped" and not state.aim and state.machine.id:
        heard = replace(heard, suspect_ms=at.now_ms)  # a stopped machine sends no check-in
    return Applied(heard)


def _twin(state: Instance, event: events.TwinSeen, at: At) -> Verdict[Instance]:
    others = [name for name in event.machine_ids if name and name != state.machine.id]
    if not others or set(others) <= set(state.doomed):
        return Ignored("the other machine is known and being destroyed, or there is none")
    return Applied(replace(state, twin_ms=at.now_ms))


def _watched(state: Instance, event: events.MachineWatched, at: At) -> Verdict[Instance]:
    if event.machine_id != state.machine.id:
        return Ignored("another machine")
    if event.state == state.machine.state:
        return Ignored("the state is known")
    if state.aim:
        return Ignored(f"the {state.aim} under way asks the cloud itself")
    return Applied(replace(state, suspect_ms=at.now_ms))


FOLDS: Final[dict[type, Callable[[Instance, Any, At], Verdict[Instance]]]] = {
    events.ContactLost: _lost,
    events.ContactRegained: _regained,
    events.MachineReported: _reported,
    events.TwinSeen: _twin,
    events.MachineWatched: _watched,
}
