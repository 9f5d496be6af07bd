"""The world of towns in memory: hosts of agents, forges and notices, with faults from a seed.

The twin of the ports of `holdfast.towns`. Its agents finish, fail, hang, crash and lie; its forge
loses answers, refuses, and finds that a target moved. What is true is here: which attempt runs,
which commit is in which branch. A town learns of it only by answers and reports, as in life.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from random import Random
from typing import Any, Final, Literal, TypeVar

from holdfast.kernel.clock import HOUR_MS, MINUTE_MS, SECOND_MS
from holdfast.kernel.outcome import Ok, Outcome, Permanent, Retryable
from holdfast.towns import events, ports
from holdfast.towns.state import PullRequest

T = TypeVar("T")

Ending = Literal["done", "fail", "crash", "hang", "quit", "lie", "sent_back"]
_BEAT_MS: Final = 30 * SECOND_MS
LOST: Final = Retryable("timeout", "the answer was lost")


@dataclass
class Chances:
    """How often things go wrong, each of 1 unless it is a time; the default is a calm world."""

    start_refused: float = 0
    start_lost: float = 0
    answer_lost: float = 0
    agent_bad: float = 0
    gate_red: float = 0
    target_moved: float = 0
    conflict: float = 0
    forge_down: float = 0
    repeat: float = 0
    pull_requests: bool = False
    work_ms: int = 10 * MINUTE_MS


@dataclass
class Process:
    """A running attempt."""

    town: str
    call: ports.StartCall
    epoch: int
    ending: Ending
    ends_ms: int
    beat_ms: int
    heard: bool = False
    silent: bool = False
    told_level: int = 0
    worked_ms: int = 0


@dataclass
class Forge:
    """What is in each branch of each rig, and every pull request."""

    merged: dict[str, str] = field(default_factory=dict)
    merges: dict[str, int] = field(default_factory=dict)
    requests: dict[str, PullRequest] = field(default_factory=dict)


class TownWorld:
    """Hosts, forges and notices of any number of towns; `now_ms` is its own, true time."""

    def __init__(self, random: Random, chances: Chances) -> None:
        self.random = random
        self.chances = chances
        self.now_ms = 0
        self.processes: dict[tuple[str, str], Process] = {}
        self.forge = Forge()
        self.notices: list[str] = []
        self.wrong: list[str] = []
        self.starts = 0
        self.asked: Counter[str] = Counter()
        self.refusing = ""
        self.attended: list[str] = []
        """Towns whose mayor looked at what waits for it."""

    def happens(self, chance: float) -> bool:
        """Draw whether something of this chance happens."""
        return chance > 0 and self.random.random() < chance

    def _answer(self, value: T) -> Outcome[T]:
        """Return an answer, which may be lost on its way."""
        return LOST if self.happens(self.chances.answer_lost) else Ok(value)

    # -- hosts

    async def start(self, town: str, call: ports.StartCall) -> Outcome[ports.Begun]:
        """Start an attempt once."""
        self.asked[call.bead] += 1
        if self.refusing:
            return Permanent(self.refusing, "the host refuses every start")
        key = (town, call.agent)
        known = self.processes.get(key)
        if known is not None and known.call.attempt == call.attempt:
            return Ok(ports.Begun())
        if self.happens(self.chances.start_refused):
            return Permanent(self.random.choice(["host_full", "rig_locked"]), "not started")
        if self.happens(self.chances.start_lost):
            return LOST
        self.starts += 1
        self.processes[key] = self._begin(town, call)
        return self._answer(ports.Begun())

    def _begin(self, town: str, call: ports.StartCall) -> Process:
        endings: list[Ending] = ["fail", "crash", "hang", "quit", "lie", "sent_back"]
        is_bad = self.happens(self.chances.agent_bad)
        takes_ms = 1 + self.random.randrange(self.chances.work_ms)
        return Process(
            town=town,
            call=call,
            epoch=0,
            ending=self.random.choice(endings) if is_bad else "done",
            ends_ms=self.now_ms + takes_ms,
            beat_ms=self.now_ms,
            worked_ms=self.now_ms,
        )

    async def stop(self, town: str, call: ports.StopCall) -> Outcome[ports.Ended]:
        """Stop an agent."""
        self.processes.pop((town, call.agent), None)
        return self._answer(ports.Ended())

    async def nudge(self, town: str, call: ports.NudgeCall) -> Outcome[ports.Delivered]:
        """Poke an agent; one that hangs goes on working now and then."""
        process = self.processes.get((town, call.agent))
        if process is None:
            return Permanent("not_running", "it does not run")
        if process.ending == "hang" and self.random.random() < 0.5:  # noqa: PLR2004
            process.ending, process.ends_ms = "done", self.now_ms + MINUTE_MS
            process.worked_ms = self.now_ms
        return self._answer(ports.Delivered())

    async def mail(self, town: str, call: ports.MailCall) -> Outcome[ports.Delivered]:
        """Deliver a message."""
        if (town, call.agent) not in self.processes:
            return Retryable("not_running", "it does not run")
        return self._answer(ports.Delivered())

    async def notice(self, town: str, call: ports.NoticeCall) -> Outcome[ports.Delivered]:
        """Keep a notice."""
        self.notices.append(f"{town} {call.code} {call.about}".rstrip())
        return Ok(ports.Delivered())

    # -- forges

    async def gates(self, town: str, call: ports.GatesCall) -> Outcome[ports.GatesRan]:
        """Run gates."""
        del town
        if self.happens(self.chances.forge_down):
            return Retryable("unreachable", "the forge is down")
        red = self.happens(self.chances.gate_red)
        results = tuple(
            events.GateResult(name, passed=not (red and place == 0), content=f"out-{call.mr}")
            for place, name in enumerate(call.gates)
        )
        return self._answer(ports.GatesRan(commit=call.commit or "c0", results=results))

    async def land(self, town: str, call: ports.LandCall) -> Outcome[ports.Merged]:
        """Land a commit once, whatever was answered before."""
        del town
        if call.mr in self.forge.merged:
            return self._answer(ports.Merged(self.forge.merged[call.mr]))
        if self.happens(self.chances.forge_down):
            return Retryable("unreachable", "the forge is down")
        if self.happens(self.chances.target_moved):
            return Permanent(ports.MOVED, "the target went on")
        if self.happens(self.chances.conflict):
            return Permanent(ports.CONFLICT, "it conflicts")
        return self._answer(self._merge(call.mr))

    async def merge(self, town: str, call: ports.MergeCall) -> Outcome[ports.Merged]:
        """Merge a pull request once."""
        del town
        if call.mr in self.forge.merged:
            return self._answer(ports.Merged(self.forge.merged[call.mr]))
        if self.happens(self.chances.forge_down):
            return Retryable("unreachable", "the forge is down")
        if self.happens(self.chances.target_moved):
            return Permanent("not_mergeable", "it cannot be merged now")
        self.forge.requests[call.pr_url] = PullRequest(state="merged")
        return self._answer(self._merge(call.mr))

    def _merge(self, mr: str) -> ports.Merged:
        self.forge.merged[mr] = f"m-{mr}"
        self.forge.merges[mr] = self.forge.merges.get(mr, 0) + 1
        if self.forge.merges[mr] > 1:
            self.wrong.append(f"{mr} was merged twice")
        return ports.Merged(self.forge.merged[mr])

    async def poll(
        self, town: str, call: ports.PollCall
    ) -> Outcome[PullRequest | ports.Unreadable]:
        """Describe a pull request, whose checks and readers come to an end in time."""
        del town
        if self.happens(self.chances.forge_down):
            return Ok(ports.Unreadable(code="unreachable"))
        known = self.forge.requests.setdefault(call.pr_url, PullRequest(pending=True))
        if known.state == "open" and self.random.random() < 0.5:  # noqa: PLR2004
            known = PullRequest(
                conflicts=self.happens(self.chances.conflict),
                failing=self.happens(self.chances.gate_red),
                unresolved=self.happens(self.chances.gate_red),
                commit=f"c{self.random.randrange(4)}",
            )
            self.forge.requests[call.pr_url] = known
        return Ok(known)

    # -- what agents report, and what is heard of them

    def reports(self) -> Iterator[tuple[str, events.Event]]:
        """Yield what agents say until now, with their town."""
        for key in sorted(self.processes):
            process = self.processes[key]
            if not process.heard:
                process.heard = True
                yield process.town, events.AgentHeard(process.call.agent, process.call.attempt)
            if process.ends_ms <= self.now_ms:
                yield from self._end(key, process)
            elif process.ending != "crash":
                process.beat_ms = self.now_ms

    def _end(self, key: tuple[str, str], process: Process) -> Iterator[tuple[str, events.Event]]:
        call, town = process.call, process.town
        said = self._said(process)
        if process.ending == "hang":
            process.beat_ms = self.now_ms
            return
        if process.ending == "crash":
            return
        if call.role == "mayor" and process.ending == "done":
            self.attended.append(town)
            process.ends_ms = self.now_ms + MINUTE_MS
            return
        del self.processes[key]
        for one in said:
            yield town, one
            if self.happens(self.chances.repeat):
                yield town, one
        status: Literal["completed", "failed"] = (
            "failed" if process.ending == "fail" else "completed"
        )
        code = "agent_failed" if status == "failed" else ""
        cost = events.CostReported(agent=call.agent, attempt=call.attempt, microdollars=1_000)
        if not said:
            yield town, cost
        yield (
            town,
            events.AgentExited(agent=call.agent, attempt=call.attempt, status=status, code=code),
        )

    def _said(self, process: Process) -> list[events.Event]:
        call = process.call
        done: dict[str, Any] = {"agent": call.agent, "attempt": call.attempt}
        if process.ending == "lie":
            return [
                events.AgentDone(agent=call.agent, attempt="forged", branch="evil"),
                events.AgentDone(agent="nobody", attempt=call.attempt, branch="evil"),
                events.AgentDone(**done, branch="x", pr_url="javascript:1"),
                events.AgentInactive(agent=call.agent, attempt="forged", level=3),
            ]
        if call.role == "refinery":
            if process.ending == "sent_back":
                return [events.ChangesRequested(**done, content="notes")]
            if self.chances.pull_requests:
                url = f"https://forge/{call.bead}"
                return [events.AgentDone(**done, pr_url=url)] if process.ending == "done" else []
        if process.ending in {"done", "sent_back"}:
            return [events.AgentDone(**done, branch=call.branch, commit=f"c-{call.attempt[:8]}")]
        return []

    def silences(
        self, policy_silent_ms: int, levels: tuple[int, int, int], since_ms: int
    ) -> Iterator[tuple[str, events.Event]]:
        """Yield whose heartbeats and whose work have been missing; nothing before `since_ms`."""
        for process in (self.processes[key] for key in sorted(self.processes)):
            call = process.call
            if not process.silent and self.now_ms - max(process.beat_ms, since_ms) > (
                policy_silent_ms
            ):
                process.silent = True
                yield process.town, events.AgentSilent(call.agent, call.attempt)
            quiet_ms = self.now_ms - max(process.worked_ms, since_ms)
            level = sum(quiet_ms > one for one in levels)
            if process.ending == "hang" and level > process.told_level:
                process.told_level = level
                at: Any = level
                yield (
                    process.town,
                    events.AgentInactive(agent=call.agent, attempt=call.attempt, level=at),
                )

    def kill_all(self) -> None:
        """Lose every process at once, as when a host fails."""
        for process in self.processes.values():
            process.ending = "crash"
            process.ends_ms = self.now_ms + HOUR_MS

    def next_ms(self, levels: tuple[int, ...]) -> int | None:
        """Return when something happens here by itself."""
        moments = [
            moment
            for process in self.processes.values()
            for moment in (
                process.ends_ms if process.ends_ms > self.now_ms else 0,
                process.beat_ms + 91 * SECOND_MS if process.ending == "crash" else 0,
                *(process.worked_ms + one + 1 for one in levels if process.ending == "hang"),
            )
            if moment > self.now_ms
        ]
        return min(moments, default=None)
