"""Random faults of one supervised agent in virtual time, repeatable by the seed.

Children exit with 0, 1 or 78, are killed, run out of memory, find their port busy, never become
ready, get stuck, or ignore SIGTERM, while the agent is started, stopped and reconfigured. The
policy is the real one; its commands are carried out by a simulated process.
"""

from __future__ import annotations

import heapq
import random
from dataclasses import dataclass, field

from holdfast.machine.controller import supervise
from holdfast.machine.controller.supervise import (
    BeginRepair,
    CancelRepair,
    Command,
    Drain,
    Event,
    Kill,
    Policy,
    Spawn,
    State,
    Terminate,
)

FATES = ("0", "1", "78", "killed", "oom", "busy", "slow", "stuck", "lasts")
ASKED: tuple[Event, ...] = (
    supervise.Start(),
    supervise.Restart(),
    supervise.Restart(drain_ms=0),
    supervise.ConfigChanged("changed"),
    supervise.HoldLadder(),
    supervise.RetryLadder(),
    supervise.Stop(),
)
SHORTEST_MS, LONGEST_MS = 1, 90_000


@dataclass
class FaultRun:
    """One run: `starts` are the times at which children were made, in ms."""

    seed: int
    minutes: int = 30
    policy: Policy = field(
        default_factory=lambda: Policy(can_repair=True, drain_ms=30_000, term_drains=True)
    )
    state: State = field(default_factory=State)
    now_ms: int = 0
    starts: list[int] = field(default_factory=list)
    fates: list[str] = field(default_factory=list)
    broken: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.chance = random.Random(self.seed)
        self.alive: set[int] = set()
        self.repairing = False
        self._queue: list[tuple[int, int, Event]] = []
        self._number = 0

    def run(self) -> FaultRun:
        """Inject the faults, then stop the agent; rules that did not hold are in `broken`."""
        for _ in range(self.minutes):
            at = self.chance.randrange(self.minutes * 60_000)
            self._later(at, self.chance.choice(ASKED))
        self._feed(supervise.Start())
        self._until(self.minutes * 60_000)
        self._queue = [row for row in self._queue if not isinstance(row[2], ASKED_KINDS)]
        self._feed(supervise.Stop())
        self._until(self.now_ms + 120_000)
        if self.alive or self.repairing or self.state.status != "stopped":
            self.broken.append(f"not stopped: {self.state.status}, {len(self.alive)} alive")
        for before, after in zip(self.starts, self.starts[1:], strict=False):
            if after - before < 1_000:
                self.broken.append(f"two starts within a second, at {before} and {after} ms")
        return self

    def _until(self, end_ms: int) -> None:
        while True:
            deadline = self.state.deadline_ms
            queued = self._queue[0][0] if self._queue else None
            times = [at for at in (deadline, queued) if at is not None]
            if not times or min(times) > end_ms:
                self.now_ms = end_ms
                return
            self.now_ms = max(self.now_ms, min(times))
            if queued is not None and queued <= self.now_ms:
                self._feed(heapq.heappop(self._queue)[2])
            else:
                self._feed(supervise.Due(self.now_ms))
            self._check()

    def _feed(self, event: Event) -> None:
        if isinstance(event, supervise.Exited):
            self.alive.discard(event.child)
        if isinstance(event, supervise.Repaired):
            self.repairing = False
        self.state, commands = supervise.step(self.policy, self.state, event, self.now_ms)
        for command in commands:
            self._obey(command)

    def _obey(self, command: Command) -> None:
        match command:
            case Spawn(child):
                self._spawn(child)
            case Drain(child) | Terminate(child) if child in self.alive:
                if self.fates[-1] not in {"slow", "stuck"}:
                    self._exit(child, 0, None, self.chance.randrange(40_000))
            case Kill(child) if child in self.alive:
                self._exit(child, None, "SIGKILL", 1)
            case BeginRepair(repair):
                self.repairing = True
                done = self.chance.random() < 0.5
                took = self.chance.randrange(1, 20_000)
                self._later(took, supervise.Repaired(repair, done, self.now_ms))
            case CancelRepair():
                repaired = (row[2] for row in self._queue)
                for event in [e for e in repaired if isinstance(e, supervise.Repaired)]:
                    self._later(1, event)
            case _:
                pass

    def _spawn(self, child: int) -> None:
        if self.alive or self.repairing:
            self.broken.append(f"child {child} beside {self.alive or 'a repair'}")
        fate = self.chance.choice(FATES)
        if fate == "busy":
            freed = self.chance.random() < 0.5
            self._later(0, supervise.PortTaken(child, "somebody", freed=freed))
            return
        self.starts.append(self.now_ms)
        self.fates.append(fate)
        self.alive.add(child)
        self._later(0, supervise.Spawned(child))
        lives = int(SHORTEST_MS * (LONGEST_MS / SHORTEST_MS) ** self.chance.random())
        if fate in {"0", "1", "78"}:
            self._exit(child, int(fate), None, lives)
        elif fate in {"killed", "oom"}:
            self._exit(child, None, "SIGTERM" if fate == "killed" else "SIGKILL", lives)
        if fate != "slow":
            self._later(self.chance.randrange(1, 20_000), supervise.Probed(child, ready=True))
        if fate == "stuck":
            for number in range(1, 20):
                silence = supervise.Probed(child, ready=False, answered=False)
                self._later(20_000 + 2_000 * number, silence)

    def _exit(self, child: int, code: int | None, name: str | None, after_ms: int) -> None:
        self._later(after_ms, supervise.Exited(child, code, name, self.now_ms + after_ms))

    def _later(self, after_ms: int, event: Event) -> None:
        self._number += 1
        heapq.heappush(self._queue, (self.now_ms + after_ms, self._number, event))

    def _check(self) -> None:
        state = self.state
        waits = state.deadline_ms is not None or state.repair is not None or bool(state.parked)
        if state.status in {"starting", "stopping", "crashed"} and not waits and not state.child:
            self.broken.append(f"{state.status} for ever, at {self.now_ms} ms")


ASKED_KINDS = tuple({type(event) for event in ASKED})
