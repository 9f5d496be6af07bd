"""Carries out what a town decided, through its ports; it reads and changes no state."""

from __future__ import annotations

from typing import Any

from holdfast.actors.definition import EffectCall
from holdfast.actors.probing import ProbeCall
from holdfast.kernel.outcome import Outcome, Permanent
from holdfast.towns.ports import (
    Forges,
    GatesCall,
    Hosts,
    LandCall,
    MailCall,
    MergeCall,
    NoticeCall,
    Notices,
    NudgeCall,
    PollCall,
    StartCall,
    StopCall,
)


class TownCalls:
    """The executor of every effect and probe of a town."""

    def __init__(self, hosts: Hosts, forges: Forges, notices: Notices) -> None:
        self._hosts = hosts
        self._forges = forges
        self._notices = notices

    async def execute(self, call: EffectCall) -> Outcome[Any]:
        """Carry one effect out."""
        town = call.actor.id
        match call.body:
            case StartCall() as body:
                return await self._hosts.start(town, body)
            case StopCall() as body:
                return await self._hosts.stop(town, body)
            case NudgeCall() as body:
                return await self._hosts.nudge(town, body)
            case MailCall() as body:
                return await self._hosts.mail(town, body)
            case GatesCall() as body:
                return await self._forges.gates(town, body)
            case LandCall() as body:
                return await self._forges.land(town, body)
            case MergeCall() as body:
                return await self._forges.merge(town, body)
            case NoticeCall() as body:
                return await self._notices.notice(town, body)
            case other:
                return Permanent("unknown_call", f"a town makes no {type(other).__name__}")

    async def look(self, probe: ProbeCall) -> Outcome[Any]:
        """Answer one probe."""
        match probe.body:
            case PollCall() as body:
                return await self._forges.poll(probe.actor.id, body)
            case other:
                return Permanent("unknown_probe", f"a town asks no {type(other).__name__}")
