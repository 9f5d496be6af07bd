"""A town's outside without hosts and forges, for tests that play these parts themselves."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import pytest

from holdfast.kernel.outcome import Ok, Outcome, Permanent
from holdfast.plane.wiring.core import Core
from holdfast.plane.wiring.part import Part
from holdfast.plane.wiring.town_notices import TownNotices
from holdfast.towns import ports
from holdfast.towns.state import PullRequest
from holdfast.world.hosts.port import RunningAttempt

NO_HOST: Final = Permanent("no_host", "nothing runs here")
NO_FORGE: Final = Permanent("no_forge", "nothing lands here")


class NoOutside:
    """A plane without hosts and forges: starts are refused."""

    def __init__(self, core: Core) -> None:
        self._notices = TownNotices(core.stores.towns, core.clock, core.log)
        self.hosts = self
        self.part = Part(name="town-hosts")

    async def running(self) -> list[RunningAttempt]:
        """Return nothing."""
        return []

    async def take(self, *_named: str) -> Outcome[Any]:
        """Refuse."""
        return NO_HOST

    async def start(self, town: str, call: ports.StartCall) -> Outcome[ports.Begun]:
        """Refuse."""
        del town, call
        return NO_HOST

    async def stop(self, town: str, call: ports.StopCall) -> Outcome[ports.Ended]:
        """Agree: nothing runs."""
        del town, call
        return Ok(ports.Ended())

    async def nudge(self, town: str, call: ports.NudgeCall) -> Outcome[ports.Delivered]:
        """Refuse."""
        del town, call
        return NO_HOST

    async def mail(self, town: str, call: ports.MailCall) -> Outcome[ports.Delivered]:
        """Refuse."""
        del town, call
        return NO_HOST

    async def gates(self, town: str, call: ports.GatesCall) -> Outcome[ports.GatesRan]:
        """Refuse."""
        del town, call
        return NO_FORGE

    async def land(self, town: str, call: ports.LandCall) -> Outcome[ports.Merged]:
        """Refuse."""
        del town, call
        return NO_FORGE

    async def merge(self, town: str, call: ports.MergeCall) -> Outcome[ports.Merged]:
        """Refuse."""
        del town, call
        return NO_FORGE

    async def poll(
        self, town: str, call: ports.PollCall
    ) -> Outcome[PullRequest | ports.Unreadable]:
        """Say that it cannot be read."""
        del town, call
        return Ok(ports.Unreadable(code=NO_FORGE.code))

    async def notice(self, town: str, call: ports.NoticeCall) -> Outcome[ports.Delivered]:
        """Write it into the log, and keep it for the page."""
        return await self._notices.notice(town, call)


def play(monkeypatch: pytest.MonkeyPatch, outside: Callable[[Core], NoOutside]) -> None:
    """Let planes that are made from now on have this outside."""

    async def opened(core: Core, *_more: Any) -> NoOutside:
        return outside(core)

    monkeypatch.setattr("holdfast.plane.wiring.plane.open_town_world", opened)
