"""The outages of an instance: noticed, tried, back, what was lost. A fold over its status. Pure.

An incident begins when an instance that is wanted running is down (`wire.health.DOWN`), and is over
when its agent is ready and proven, or it is not wanted running any more. An agent that comes up and
ends again within it goes on with the same one, so a crash loop is one incident.
"""

from __future__ import annotations

from typing import Final

from msgspec.structs import replace

from holdfast.instances import spend
from holdfast.instances.health import Found, find_health
from holdfast.instances.state import Incident, Instance
from holdfast.wire.health import DOWN, RANKS, WORKING
from holdfast.wire.limits import INCIDENT_REPAIRS_MAX, INCIDENTS_MAX

TEXT_CHARS: Final = 160


def follow(old: Instance, new: Instance, now_ms: int) -> Instance:
    """Return the state with the time of its status, and its incidents, brought up to now."""
    found = find_health(new)
    if find_health(old).code != found.code or not new.health_ms:
        new = replace(new, health_ms=now_ms)
    last = new.incidents[-1] if new.incidents else None
    if last is not None and not last.ended_ms:
        moved = _go_on(last, new, found, now_ms)
        return new if moved == last else replace(new, incidents=(*new.incidents[:-1], moved))
    if found.code not in DOWN or spend.wanted(new) != "running":
        return new
    kept = new.incidents[1 - INCIDENTS_MAX :]
    return replace(new, incidents=(*kept, _begin(last, new, found, now_ms)))


def _begin(last: Incident | None, state: Instance, found: Found, now_ms: int) -> Incident:
    contact = state.contact
    # What ended counts as a restart of the agent already, and is no try to bring it back.
    begun = Incident(
        number=1 if last is None else last.number + 1,
        code=found.code,
        text=found.text[:TEXT_CHARS],
        noticed_ms=now_ms,
        worst=found.code,
        restarts=contact.restarts,
        launches=state.epoch,
        cuts=_cuts(state),
    )
    return _go_on(begun, state, found, now_ms)


def _go_on(incident: Incident, state: Instance, found: Found, now_ms: int) -> Incident:
    """Return the incident with what is so now.

    One that is not wanted running any more is over; it was dropped unless its agent was back.
    """
    if spend.wanted(state) != "running":
        return replace(incident, ended_ms=now_ms, dropped=not incident.back_ms)
    worst = min((incident.worst, found.code), key=lambda code: RANKS.get(code, len(RANKS)))  # type: ignore[call-overload]
    repairs = incident.repairs
    if found.code == "repairing" and found.phase not in repairs:
        repairs = (*repairs, found.phase)[:INCIDENT_REPAIRS_MAX]
    works = found.code in WORKING
    moved = replace(
        incident,
        worst=worst,
        repairs=repairs,
        back_ms=(incident.back_ms or now_ms) if works else 0,
        last_restarts=max(incident.last_restarts, state.contact.restarts),
        last_launches=max(incident.last_launches, state.epoch),
        last_cuts=max(incident.last_cuts, _cuts(state)),
    )
    if found.code == "ready":
        return replace(moved, ended_ms=now_ms)
    return moved


def _cuts(state: Instance) -> int:
    recovery = state.contact.recovery
    return 0 if recovery is None else recovery.work_cuts
