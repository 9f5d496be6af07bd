"""The state of supervision, as frozen values.

Times are whole milliseconds of a monotonic clock, except `at_ms`, which is a time of day for
people.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final, Literal, TypeAlias

Status: TypeAlias = Literal[
    "stopped", "starting", "running", "stopping", "crashed", "shutting_down"
]

Rung: TypeAlias = Literal[
    "restart", "last_healthy_config", "reinstall", "previous_version", "parked"
]
"""What is tried when an agent keeps failing, in this order."""

Rise: TypeAlias = Literal["last_healthy_config", "reinstall", "previous_version"]
"""A rung that repairs something."""

RISES: Final[tuple[Rise, ...]] = ("last_healthy_config", "reinstall", "previous_version")

Repair: TypeAlias = Literal["mend", "roll_back"] | Rise
"""What is done to an agent between two starts: its own repair, the end of a trial, a rung."""

Cause: TypeAlias = Literal["", "asked", "stuck", "slow"]
"""Why we ended a child: on request, no more answers, or not ready in time."""

VERSION_TRIAL: Final = "version "
"""How the name of a trial begins that is of a version, and not of a configuration."""

HISTORY_MAX: Final = 16
"""Rungs recorded with their reasons."""


@dataclass(frozen=True, slots=True)
class Exit:
    """How a child ended: a code, or the name of a signal; `requested` if on request.

    `cause` is why we ended it, if we did.
    """

    code: int | None
    signal: str | None
    at_ms: int
    requested: bool
    cause: Cause = ""


@dataclass(frozen=True, slots=True)
class Climb:
    """One rung that was taken, or skipped if `done` is False; None while under way."""

    rung: Rung
    reason: str
    at_ms: int
    done: bool | None = None
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Ladder:
    """The progress of the recovery.

    `rung` is the last one that was done and `tries` counts the failures since; `reached` is the
    last one that was tried at all. `held` means that it was stopped by an order: no further rung is
    taken, and nothing is parked.
    """

    rung: Rung = "restart"
    reason: str = ""
    tries: int = 0
    reached: Rise | None = None
    held: bool = False
    history: tuple[Climb, ...] = ()


@dataclass(frozen=True, slots=True)
class Trial:
    """A changed configuration, or version, on trial, by a child made after child `after`.

    `etag` names it.
    """

    etag: str
    after: int

    @property
    def of_version(self) -> bool:
        """Return whether a version is on trial."""
        return self.etag.startswith(VERSION_TRIAL)


@dataclass(frozen=True, slots=True)
class Verdict:
    """Result of the last trial.

    `rolled_back` is true if another configuration was put in the place of one that failed.
    """

    etag: str
    healthy: bool
    reason: str
    at_ms: int
    rolled_back: bool = False

    @property
    def of_version(self) -> bool:
        """Return whether a version was on trial."""
        return self.etag.startswith(VERSION_TRIAL)

    @property
    def word(self) -> Literal["healthy", "rolled_back", "failed"]:
        """Return the result in a word."""
        if self.healthy:
            return "healthy"
        return "rolled_back" if self.rolled_back else "failed"


@dataclass(frozen=True, slots=True)
class Goodbye:
    """What became of running work when a child was last ended on purpose.

    `cut` is None if the agent does not report it. `waited_ms` is how long the end took.
    """

    reason: str
    cut: bool | None
    waited_ms: int
    at_ms: int


@dataclass(frozen=True, slots=True)
class Termination:
    """The end of the present child, under way.

    `was_ready` means that it may have had work. `drain_until_ms` is set while work may still
    finish. `drained` and `cut` are the agent's reports about its work.
    """

    cause: Cause
    reason: str
    began_ms: int
    was_ready: bool
    drain_until_ms: int | None = None
    drains: bool = False
    drained: bool = False
    cut: bool = False


@dataclass(frozen=True, slots=True)
class State:
    """The state of supervision.

    `child` numbers the current child, 0 for none; `started_ms` is when its start was ordered, and
    then when it was made, `spawned_ms` when the system reported it and `ready_ms` since when it has
    been ready. `misses` counts probes in a row that did not find it ready, `silences` those without
    any answer, the first at `silent_ms`. `again` means that a start follows the stop. `repair` is
    what is being done instead of running, and why. `repaired_itself` means that the
    agent's own repair has been tried.

    `failures` counts failures in a row, since `failing_ms`, and `clean_run` clean exits in a row; a
    run of `settle_ms` resets both. The totals never decrease. `parked` is why nothing more is
    tried, `blocked` the holder of the agent's port.
    """

    status: Status = "stopped"
    child: int = 0
    children: int = 0
    started_ms: int | None = None
    spawned_ms: int | None = None
    ready: bool = False
    ready_ms: int | None = None
    misses: int = 0
    silences: int = 0
    silent_ms: int | None = None
    again: bool = False
    retry_at_ms: int | None = None
    kill_at_ms: int | None = None
    ready_by_ms: int | None = None
    settle_at_ms: int | None = None
    settle_ms: int = 0
    failures: int = 0
    failing_ms: int | None = None
    clean_run: int = 0
    blocks: int = 0
    crashes: int = 0
    clean_exits: int = 0
    misconfigurations: int = 0
    stuck: int = 0
    slow: int = 0
    cuts: int = 0
    repair: Repair | None = None
    repair_reason: str = ""
    repaired_itself: bool = False
    parked: str = ""
    blocked: str = ""
    ladder: Ladder = field(default_factory=Ladder)
    trial: Trial | None = None
    verdict: Verdict | None = None
    termination: Termination | None = None
    goodbye: Goodbye | None = None
    last_exit: Exit | None = None

    @property
    def restarts(self) -> int:
        """Return the number of unrequested exits, of every kind, since the controller started."""
        return self.crashes + self.clean_exits + self.misconfigurations + self.stuck + self.slow

    @property
    def idle(self) -> bool:
        """Return whether nothing of ours runs: neither a child nor a repair."""
        return not self.child and self.repair is None

    def awaits(self, child: int) -> bool:
        """Return whether this child is the present one, and its start has not been reported."""
        return bool(child) and child == self.child and self.spawned_ms is None

    @property
    def tried(self) -> Trial | None:
        """Return the trial, once a child was started with the configuration on it."""
        if self.trial is None or self.trial.after >= self.children:
            return None
        return self.trial

    @property
    def draining(self) -> bool:
        """Return whether running work is being waited for."""
        return self.termination is not None and self.termination.drain_until_ms is not None

    @property
    def deadline_ms(self) -> int | None:
        """Return when `Due` must come next, or None."""
        drain_ms = None if self.termination is None else self.termination.drain_until_ms
        known = (
            self.retry_at_ms, self.kill_at_ms, self.ready_by_ms, self.settle_at_ms, drain_ms,
        )  # fmt: skip
        return min((at for at in known if at is not None), default=None)
