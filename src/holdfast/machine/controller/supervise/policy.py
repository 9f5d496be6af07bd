"""The figures of supervision, as one value."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from holdfast.kernel.backoff import Backoff

EX_CONFIG: Final = 78
"""The exit code for a wrong configuration, which a restart does not cure."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """How one agent is supervised; durations in milliseconds.

    `backoff`, `healthy_ms` and `stop_grace_ms` are those of compat/controller.md, the rest is ours.

    Starts: two of them are `start_gap_ms` apart, whatever their cause. A start that is not ready
    within `start_ms` has failed. OpenClaw took 23 s on a busy machine with empty caches.

    Health: a run of `healthy_ms` resets the failures; after an agent got stuck, one of `calm_ms`,
    because an agent that gets stuck every minute is not healthy. It is no longer ready after
    `ready_misses` probes in a row that did not find it so, and stuck once `stuck_misses` probes in
    a row and `stuck_ms` brought no answer of any kind. A ready one is probed each `watch_ms`.

    Ends: a requested stop or restart gives running work `drain_ms` (0: the agent cannot drain),
    then SIGTERM `stop_grace_ms`, then SIGKILL each `kill_again_ms`. With `term_drains` the agent
    finishes its work after SIGTERM too.

    Trial of a changed configuration: ready within `trial_ready_ms` of its start and then without a
    failure for `trial_ms`. One that fails is ended within `trial_grace_ms`. A version on trial has
    `version_ready_ms`: its first start has no compile caches, and took OpenClaw 87 s at load 6.

    Ladder: `restart_tries` failures in a row before the first repair, `rung_tries` after each.
    Nothing is parked before failures have gone on for `park_ms`, so that an outage of something the
    agent needs does not end it. A port held by another program is checked again after at most
    `blocked_cap_ms`.

    `misconfigured` are the exit codes that mean a wrong configuration; with `can_repair` the
    agent's own repair is run once before the next try. `seed` sets the jitter.
    """

    backoff: Backoff = field(default_factory=Backoff)
    healthy_ms: int = 30_000
    calm_ms: int = 600_000
    start_gap_ms: int = 1_000
    start_ms: int = 120_000
    stop_grace_ms: int = 10_000
    kill_again_ms: int = 1_000
    drain_ms: int = 0
    term_drains: bool = False
    ready_misses: int = 3
    stuck_ms: int = 30_000
    stuck_misses: int = 6
    watch_ms: int = 5_000
    trial_ready_ms: int = 40_000
    trial_ms: int = 30_000
    version_ready_ms: int = 300_000
    trial_grace_ms: int = 3_000
    restart_tries: int = 6
    rung_tries: int = 2
    park_ms: int = 1_800_000
    blocked_cap_ms: int = 30_000
    misconfigured: tuple[int, ...] = (EX_CONFIG,)
    can_repair: bool = False
    seed: str = ""
