"""Who of a town's agents is heard, silent or without work: a timer wheel in memory.

A heartbeat is never an event and writes nothing: it moves two numbers. An event comes of it when a
level changes: `AgentHeard` at the first sign and at the first after a silence or new work after a
warning, `AgentSilent` after the policy's time, `AgentInactive` at its three levels. Each run has at
most one place in the wheel, which is looked at when it passes: if heartbeats came since, it is put
further on. Times are milliseconds of the steady clock. Pure.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, Literal, TypeAlias

from holdfast.kernel.clock import SECOND_MS
from holdfast.towns import events
from holdfast.towns.policy import Policy
from holdfast.towns.state import Agent

SLOT_MS: Final = SECOND_MS
"""Width of a place in the wheel: what is due is said at most two of these late."""

STALLED_MS: Final = 5 * SECOND_MS
"""The wheel not looked at for so long means that this process stood still: all times begin anew,
because nobody could be heard meanwhile."""

JUDGED_MAX: Final = 256
"""Runs that are looked at in one go: about 2 ms of the loop."""

JITTER_MS: Final = 5 * SECOND_MS
"""An age is in whole seconds and was some time on its way: work is new only if it is newer by more
than that, so that an old age that is repeated never looks like new work."""

_LEVELS: Final[tuple[Literal[1], Literal[2], Literal[3]]] = (1, 2, 3)

Key: TypeAlias = tuple[str, str]
"""A town and its agent."""
News: TypeAlias = tuple[str, events.Report]
"""A town, and what is to be accepted for it."""


class _Run:
    """What is known of one run of an agent. `level` and `tools` are what its town was told last."""

    __slots__ = (
        "attempt", "heard", "heard_ms", "level", "mayor", "slot", "tools", "tools_now", "waits",
        "worked_ms", "works_by_age",
    )  # fmt: skip

    def __init__(self, attempt: str, now_ms: float, *, mayor: bool) -> None:
        self.attempt = attempt
        self.mayor = mayor
        self.heard = False
        self.heard_ms = self.worked_ms = now_ms
        self.works_by_age = False
        self.level = 0
        self.tools = self.tools_now = False
        self.waits = False
        self.slot = -1


class Silence:
    """The wheel. `news` collects what is to be accepted until it is taken."""

    def __init__(self, policy: Policy, now_ms: float) -> None:
        """Begin with nobody; nobody is silent or inactive before a full wait from `now_ms`."""
        self._silent_ms = policy.silent_ms
        self._levels_ms = policy.inactive_ms
        self._runs: dict[Key, _Run] = {}
        self._slots: dict[int, dict[Key, None]] = {}
        self._at = int(now_ms // SLOT_MS)
        self._looked_ms = self._resumed_ms = now_ms
        self.news: list[News] = []

    def __len__(self) -> int:
        return len(self._runs)

    # -- what is committed

    def put(self, town: str, agent: Agent, now_ms: float) -> None:
        """Take in an agent with a run, as its town committed it."""
        key, run = (town, agent.id), self._runs.get((town, agent.id))
        if run is None or run.attempt != agent.attempt:
            run = self._begin(key, agent.attempt, now_ms, mayor=agent.role == "mayor")
        run.mayor = agent.role == "mayor"
        run.heard = agent.contact == "heard"
        run.level, run.tools = agent.inactive, agent.tools
        run.waits = agent.status == "waiting"
        self._place(key, run)

    def drop(self, town: str, agent: str) -> None:
        """Forget an agent that has no run any more."""
        run = self._runs.pop((town, agent), None)
        if run is not None and run.slot >= 0:
            self._slots[run.slot].pop((town, agent), None)

    # -- what is heard

    def beat(
        self,
        town: str,
        agent: str,
        attempt: str,
        now_ms: float,
        *,
        worked_ago_ms: float | None = None,
        tools: bool = False,
        waits: bool | None = None,
        works: bool = True,
    ) -> None:
        """Take a heartbeat of a run. The age of its work counts only from when the loop resumed.

        One without an age counts as work too, unless an earlier one had it, or `works` is false:
        then it only says that the run lives. That a mayor waits for its person counts as work.
        """
        key = (town, agent)
        run = self._runs.get(key)
        if run is None or run.attempt != attempt:
            run = self._begin(key, attempt, now_ms, mayor=False)
        run.heard_ms = now_ms
        if run.mayor and waits:  # for its person, and not for long work
            self._worked(key, run, now_ms)
        elif worked_ago_ms is not None:
            run.works_by_age = True
            self._worked(key, run, now_ms - worked_ago_ms)
        elif works and not run.works_by_age:
            self._worked(key, run, now_ms)
        if works:
            run.tools_now = tools
        if not run.heard:
            self._say_heard(key, run)
        elif run.level == 1 and run.tools != run.tools_now:
            self._say_inactive(key, run, 1)
        if run.mayor and waits is not None and waits != run.waits:
            run.waits = waits
            self.news.append((town, events.MayorWaits(agent, waits, attempt)))
        if run.slot < 0:
            self._place(key, run)

    def worked(self, town: str, agent: str, attempt: str, now_ms: float) -> None:
        """Take a call of a tool: it is a sign of life, and work."""
        self.beat(town, agent, attempt, now_ms, works=False)  # it says nothing of what runs
        self._worked((town, agent), self._runs[town, agent], now_ms)

    def _worked(self, key: Key, run: _Run, at_ms: float) -> None:
        if at_ms - run.worked_ms <= JITTER_MS:
            return
        run.worked_ms = at_ms
        if run.level and run.heard:
            self._say_heard(key, run)

    # -- what is due

    def advance(self, now_ms: float) -> bool:
        """Look at places that have passed, at few runs at once; return whether more are due."""
        if now_ms - self._looked_ms > STALLED_MS:
            self._resumed_ms = now_ms
        self._looked_ms = now_ms
        last, left = int(now_ms // SLOT_MS), JUDGED_MAX
        while self._at < last:
            place = self._slots.get(self._at, {})
            while place and left:
                key, _ = place.popitem()
                left -= 1
                run = self._runs[key]
                run.slot = -1
                self._judge(key, run, now_ms)
            if place:
                return True
            self._slots.pop(self._at, None)
            self._at += 1
        return False

    def _judge(self, key: Key, run: _Run, now_ms: float) -> None:
        town, agent = key
        if now_ms > self._silent_at(run):
            run.heard = False
            self.news.append((town, events.AgentSilent(agent, run.attempt)))
        if run.heard:
            quiet_ms = now_ms - max(run.worked_ms, self._resumed_ms)
            level = sum(quiet_ms > wait_ms for wait_ms in self._levels_ms)
            if level > run.level:
                self._say_inactive(key, run, level)
        self._place(key, run)

    def _silent_at(self, run: _Run) -> float:
        return max(run.heard_ms, self._resumed_ms) + self._silent_ms

    def _place(self, key: Key, run: _Run) -> None:
        """Put a run where it is due; one that was not heard is due by its town's own rules."""
        if run.slot >= 0:
            self._slots[run.slot].pop(key, None)
            run.slot = -1
        if not run.heard:
            return
        due_ms = self._silent_at(run)
        if run.level < len(self._levels_ms):
            base_ms = max(run.worked_ms, self._resumed_ms)
            due_ms = min(due_ms, base_ms + self._levels_ms[run.level])
        # A place passes when its whole width has: by then it is later than what is due. The present
        # place may be the one that is being looked at.
        run.slot = max(int(due_ms // SLOT_MS), self._at + 1)
        self._slots.setdefault(run.slot, {})[key] = None

    # -- helpers

    def _begin(self, key: Key, attempt: str, now_ms: float, *, mayor: bool) -> _Run:
        self.drop(*key)
        run = self._runs[key] = _Run(attempt, now_ms, mayor=mayor)
        return run

    def _say_heard(self, key: Key, run: _Run) -> None:
        run.heard, run.level, run.tools = True, 0, False
        self.news.append((key[0], events.AgentHeard(key[1], run.attempt)))

    def _say_inactive(self, key: Key, run: _Run, level: int) -> None:
        run.level, run.tools = level, run.tools_now
        said = events.AgentInactive(
            agent=key[1], attempt=run.attempt, level=_LEVELS[level - 1], tools=run.tools_now
        )
        self.news.append((key[0], said))

    def take(self) -> list[News]:
        """Return what is to be accepted, once."""
        news, self.news = self.news, []
        return news

    def unsaid(self, news: Iterable[News]) -> None:
        """Take back what could not be accepted: the next heartbeat or look says it again."""
        for town, event in news:
            run = self._runs.get((town, event.agent))
            match event:
                case events.AgentHeard() if run is not None:
                    run.heard = False
                case events.AgentSilent() if run is not None:
                    run.heard = True
                    self._place((town, event.agent), run)
                case events.AgentInactive(level=level) if run is not None:
                    run.level = level - 1
                    self._place((town, event.agent), run)
                case events.MayorWaits(waits=waits) if run is not None:
                    run.waits = not waits
                case _:
                    pass
