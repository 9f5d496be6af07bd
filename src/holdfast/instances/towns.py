"""The towns whose agents work on an instance, and what they were told of it. Pure.

A town writes when an agent is put on the instance, and is answered in any case; after that it is
told each change once. A restart is none: what ran is reported by its controller, and the machine is
back before anybody could hand the work on.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from msgspec.structs import replace

from holdfast.actors.definition import Applied, At, Ignored, Letter, Verdict
from holdfast.instances import events, spend
from holdfast.instances.state import HostedTown, Instance
from holdfast.kernel.ids import address
from holdfast.letters.towns import TOWN, Absence, HostSeen


def absence(state: Instance) -> Absence | None:
    """Return why nothing can be started on the instance; None while that is about to be seen."""
    if state.desired == "destroyed":
        return "destroyed"
    if spend.wanted(state) != "running":
        return "stopped"
    if state.status == "restarting":
        return None
    if state.status != "running":
        return "stopped"
    return "lost" if state.contact.heard == "lost" else ""


def untold(state: Instance) -> events.TownsTold | None:
    """Return what towns are still to be told, or None."""
    now = absence(state) if state.towns else None
    return None if now is None or not _behind(state, now) else events.TownsTold(now)


def _behind(state: Instance, now: Absence) -> list[str]:
    return [one.id for one in state.towns if one.told != now]


def letters(state: Instance, now: Absence) -> tuple[Letter, ...]:
    """Return the letters to the towns that were told something else, or nothing yet."""
    body = HostSeen(account=state.account, absence=now)
    return tuple(Letter(to=address(TOWN, one), body=body) for one in _behind(state, now))


def _hosted(state: Instance, event: events.AgentsHosted, _at: At) -> Verdict[Instance]:
    if event.account != state.account:
        return Ignored("it is of another account")
    others = tuple(one for one in state.towns if one.id != event.town)
    new = (*others, HostedTown(event.town)) if event.hosted else others
    if new == state.towns:
        return Ignored("it is known")
    return Applied(replace(state, towns=new))


def _told(state: Instance, event: events.TownsTold, _at: At) -> Verdict[Instance]:
    told = tuple(replace(one, told=event.absence) for one in state.towns)
    return Applied(replace(state, towns=told))


FOLDS: Final[Mapping[type, Callable[[Instance, Any, At], Verdict[Instance]]]] = {
    events.AgentsHosted: _hosted,
    events.TownsTold: _told,
}
