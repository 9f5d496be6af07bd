"""Drives the supervision policy by hand, in virtual time."""

from __future__ import annotations

from holdfast.kernel.backoff import Backoff
from holdfast.machine.controller import supervise
from holdfast.machine.controller.supervise import (
    BeginRepair,
    BeHealthy,
    Command,
    Event,
    Policy,
    Repair,
    Spawn,
    State,
)

PLAIN = Policy(backoff=Backoff(jitter=0.0))
WALL_MS = 1_700_000_000_000


class Bench:
    """A spawn succeeds at once; a repair in `works` is done at once, another one is skipped.

    The agent's own repair, and those in `slow`, wait for `repaired`.
    """

    def __init__(self, policy: Policy = PLAIN, *, works: tuple[Repair, ...] = ()) -> None:
        self.policy = policy
        self.works = works
        self.slow: tuple[Repair, ...] = ("mend",)
        self.state = State()
        self.now_ms = 0
        self.spawns: list[int] = []
        self.repairs: list[tuple[Repair, str]] = []
        self.healthy: list[int] = []
        self.commands: tuple[Command, ...] = ()

    def feed(self, event: Event) -> None:
        self.state, self.commands = supervise.step(self.policy, self.state, event, self.now_ms)
        for command in self.commands:
            if isinstance(command, Spawn):
                self.spawns.append(self.now_ms)
                self.feed(supervise.Spawned(command.child))
            elif isinstance(command, BeginRepair):
                self.repairs.append((command.repair, command.reason))
                if command.repair not in self.slow:
                    self.repaired(command.repair, done=command.repair in self.works)
            elif isinstance(command, BeHealthy):
                self.healthy.append(command.child)

    def status(self) -> str:
        return self.state.status

    def issued(self) -> tuple[Command, ...]:
        return self.commands

    def start(self) -> None:
        self.feed(supervise.Start())

    def exit(self, code: int | None, name: str | None = None, after_ms: int = 0) -> None:
        self.now_ms += after_ms
        self.feed(supervise.Exited(self.state.child, code, name, WALL_MS + self.now_ms))

    def ready(self) -> None:
        self.feed(supervise.Probed(self.state.child, ready=True))

    def probe(self, *, answered: bool, times: int = 1, each_ms: int = 0) -> None:
        """Report it as not ready, so many times, so far apart."""
        for _ in range(times):
            self.wait(each_ms)
            self.feed(supervise.Probed(self.state.child, ready=False, answered=answered))

    def repaired(self, repair: Repair, *, done: bool = True) -> None:
        detail = "" if done else "there is none"
        self.feed(supervise.Repaired(repair, done, WALL_MS + self.now_ms, detail))

    def wait(self, ms: int) -> None:
        """Let time pass, with a Due at each deadline in it."""
        until = self.now_ms + ms
        while (deadline := self.state.deadline_ms) is not None and deadline <= until:
            self.now_ms = max(deadline, self.now_ms)
            self.feed(supervise.Due(WALL_MS + self.now_ms))
        self.now_ms = until

    def fail(self, times: int = 1, code: int = 1) -> None:
        """Crash that often in a row, each time as soon as it is running."""
        for _ in range(times):
            while self.state.status != "running":
                deadline = self.state.deadline_ms
                assert deadline is not None, self.state
                self.wait(deadline - self.now_ms)
            self.exit(code, after_ms=1)
