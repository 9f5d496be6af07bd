"""How the agent is kept running: a state machine of values, without a process in sight.

`step` takes what is, what happened and the time, and returns what is now and what to do. The
supervisor carries the commands out; tests and the simulator do not need to. Times are whole
milliseconds of a clock that never goes back; only `Exit.at_ms` is a time of day.

Three rules keep an agent from being started in a hot loop. Between two starts that nobody asked
for lies at least `start_gap_ms`. A crash waits for a backoff that a healthy run resets. A clean
exit (code 0, no signal) is the agent asking to be started again, and it is, at once: the first
time after a healthy run or an operator's start, and each time after a healthy run; further clean
exits of short runs wait for a backoff of their own.

It must never hold two children, start one while stopping, or leave `shutting_down`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, Final, Literal, TypeAlias

from holdfast.kernel.backoff import Backoff

Status: TypeAlias = Literal[
    "stopped", "starting", "running", "stopping", "crashed", "shutting_down"
]
Mending: TypeAlias = Literal["none", "running", "done"]

EX_CONFIG: Final = 78
"""The exit code that says: my configuration is wrong, starting me again will not help."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """The figures of supervision, in milliseconds; the defaults are the contract's.

    `start_gap_ms` and `kill_again_ms` are ours. `misconfigured` are exit codes that mean a wrong
    configuration; with `mends` the agent's own repair is run once before the next try. `seed`
    spreads the jitter.
    """

    backoff: Backoff = field(default_factory=Backoff)
    healthy_ms: int = 30_000
    start_gap_ms: int = 1_000
    stop_grace_ms: int = 10_000
    kill_again_ms: int = 1_000
    misconfigured: tuple[int, ...] = (EX_CONFIG,)
    mends: bool = False
    seed: str = ""


@dataclass(frozen=True, slots=True)
class Exit:
    """How a child ended: a code, or the name of a signal; `requested` when we asked it to."""

    code: int | None
    signal: str | None
    at_ms: int
    requested: bool


@dataclass(frozen=True, slots=True)
class State:
    """What the supervisor knows.

    `child` numbers the current child, 0 for none; `started_ms` is when its start was ordered and
    `spawned_ms` when the system reported it. `again` remembers that a start follows the stop.
    `failures` counts crashes in a row and `clean_run` clean exits in a row, both ended by a
    healthy run. The three totals never go back. `parked` says why nothing more is tried.
    """

    status: Status = "stopped"
    child: int = 0
    children: int = 0
    started_ms: int | None = None
    spawned_ms: int | None = None
    ready: bool = False
    again: bool = False
    retry_at_ms: int | None = None
    kill_at_ms: int | None = None
    failures: int = 0
    clean_run: int = 0
    crashes: int = 0
    clean_exits: int = 0
    misconfigurations: int = 0
    mending: Mending = "none"
    parked: str = ""
    last_exit: Exit | None = None

    @property
    def restarts(self) -> int:
        """Return the exits that nobody asked for, of every sort, since the controller started."""
        return self.crashes + self.clean_exits + self.misconfigurations

    @property
    def idle(self) -> bool:
        """Return whether nothing of ours runs: neither a child nor a repair."""
        return not self.child and self.mending != "running"

    @property
    def deadline_ms(self) -> int | None:
        """Return when `Due` must come next, or None."""
        return min(
            (at for at in (self.retry_at_ms, self.kill_at_ms) if at is not None), default=None
        )


@dataclass(frozen=True, slots=True)
class Start:
    """Somebody wants the agent to run."""


@dataclass(frozen=True, slots=True)
class Stop:
    """Somebody wants it not to run."""


@dataclass(frozen=True, slots=True)
class Restart:
    """Somebody wants a new one."""


@dataclass(frozen=True, slots=True)
class Shutdown:
    """The controller ends; `signal` is what it was told, and what the agent is told."""

    signal: int


@dataclass(frozen=True, slots=True)
class Spawned:
    """The system reported that the process exists. It is not ready yet."""

    child: int


@dataclass(frozen=True, slots=True)
class SpawnFailed:
    """The process could not be made."""

    child: int
    at_ms: int


@dataclass(frozen=True, slots=True)
class Exited:
    """A child ended, by itself with `code` or by the signal named."""

    child: int
    code: int | None
    signal: str | None
    at_ms: int


@dataclass(frozen=True, slots=True)
class BecameReady:
    """The child answers its readiness probe."""

    child: int


@dataclass(frozen=True, slots=True)
class LostReady:
    """The child no longer answers it."""

    child: int


@dataclass(frozen=True, slots=True)
class Mended:
    """The agent's own repair ended, well or not."""


@dataclass(frozen=True, slots=True)
class Due:
    """The deadline has come."""


Event: TypeAlias = (
    Start | Stop | Restart | Shutdown | Spawned | SpawnFailed | Exited
    | BecameReady | LostReady | Mended | Due
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Spawn:
    """Make the process."""

    child: int


@dataclass(frozen=True, slots=True)
class Terminate:
    """Ask the process to end, by this signal."""

    child: int
    signal: int


@dataclass(frozen=True, slots=True)
class Kill:
    """End the process and its group."""

    child: int


@dataclass(frozen=True, slots=True)
class Mend:
    """Run the agent's own repair, once."""


@dataclass(frozen=True, slots=True)
class CancelMend:
    """End the repair."""


Command: TypeAlias = Spawn | Terminate | Kill | Mend | CancelMend
Step: TypeAlias = tuple[State, tuple[Command, ...]]

_SIGTERM: Final = 15


def step(policy: Policy, state: State, event: Event, now_ms: int) -> Step:
    """Return the state after `event` and the commands to carry out, in order."""
    return _RULES[type(event)](policy, state, event, now_ms)


def _start(_policy: Policy, state: State, _event: Start, now_ms: int) -> Step:
    if state.status not in {"stopped", "crashed"}:
        return state, ()
    return _spawn(_fresh(state), now_ms)


def _stop(policy: Policy, state: State, _event: Stop, now_ms: int) -> Step:
    if state.status == "stopping":
        return replace(state, again=False), ()
    if state.status == "crashed":
        return replace(state, status="stopped", retry_at_ms=None, parked=""), ()
    if state.status in {"starting", "running"}:
        return _end(policy, replace(state, status="stopping", again=False), _SIGTERM, now_ms)
    return state, ()


def _restart(policy: Policy, state: State, _event: Restart, now_ms: int) -> Step:
    if state.status == "shutting_down":
        return state, ()
    if state.status in {"stopped", "crashed"}:
        return _spawn(_fresh(state), now_ms)
    if state.status == "stopping":
        return replace(state, again=True), ()
    return _end(policy, replace(_fresh(state), status="stopping", again=True), _SIGTERM, now_ms)


def _shutdown(policy: Policy, state: State, event: Shutdown, now_ms: int) -> Step:
    if state.status == "shutting_down":
        return state, ()
    ending = replace(state, status="shutting_down", again=False, retry_at_ms=None)
    return _end(policy, ending, event.signal, now_ms)


def _spawned(_policy: Policy, state: State, event: Spawned, now_ms: int) -> Step:
    if event.child != state.child:
        return state, ()
    status: Status = "running" if state.status == "starting" else state.status
    return replace(state, status=status, spawned_ms=now_ms), ()


def _spawn_failed(policy: Policy, state: State, event: SpawnFailed, now_ms: int) -> Step:
    failed = Exited(event.child, code=1, signal=None, at_ms=event.at_ms)
    return _exited(policy, state, failed, now_ms)


def _exited(policy: Policy, state: State, event: Exited, now_ms: int) -> Step:
    if not event.child or event.child != state.child:
        return state, ()
    requested = state.status in {"stopping", "shutting_down"}
    healthy = state.spawned_ms is not None and now_ms - state.spawned_ms >= policy.healthy_ms
    ended = replace(
        state,
        child=0,
        spawned_ms=None,
        ready=False,
        kill_at_ms=None,
        failures=0 if healthy else state.failures,
        clean_run=0 if healthy else state.clean_run,
        mending="none" if healthy else state.mending,
        last_exit=Exit(event.code, event.signal, event.at_ms, requested),
    )
    if requested:
        return _rest(ended, now_ms)
    if event.signal is None and event.code in policy.misconfigured:
        return _misconfigured(policy, ended, event)
    if event.signal is None and event.code == 0:
        return _clean(policy, ended, now_ms)
    crashed = replace(ended, crashes=ended.crashes + 1, failures=ended.failures + 1)
    return _retry(policy, crashed, _delay_ms(policy, crashed.failures), now_ms)


def _clean(policy: Policy, state: State, now_ms: int) -> Step:
    counted = replace(
        state, clean_exits=state.clean_exits + 1, clean_run=state.clean_run + 1, failures=0
    )
    delay_ms = 0 if counted.clean_run == 1 else _delay_ms(policy, counted.clean_run - 1)
    return _retry(policy, counted, delay_ms, now_ms)


def _misconfigured(policy: Policy, state: State, event: Exited) -> Step:
    counted = replace(state, misconfigurations=state.misconfigurations + 1)
    if policy.mends and counted.mending == "none":
        return replace(counted, status="starting", mending="running"), (Mend(),)
    after = " after its own repair" if counted.mending == "done" else ""
    reason = f"exit code {event.code}{after}: the agent's configuration is wrong"
    return replace(counted, status="crashed", parked=reason), ()


def _became_ready(_policy: Policy, state: State, event: BecameReady, _now_ms: int) -> Step:
    ready = event.child == state.child and state.status == "running"
    return (replace(state, ready=True) if ready else state), ()


def _lost_ready(_policy: Policy, state: State, event: LostReady, _now_ms: int) -> Step:
    return (replace(state, ready=False) if event.child == state.child else state), ()


def _mended(policy: Policy, state: State, _event: Mended, now_ms: int) -> Step:
    if state.mending != "running":
        return state, ()
    mended = replace(state, mending="done", kill_at_ms=None)
    if mended.status == "starting":
        return _retry(policy, mended, 0, now_ms)
    return _rest(mended, now_ms)


def _due(policy: Policy, state: State, _event: Due, now_ms: int) -> Step:
    if state.kill_at_ms is not None and state.kill_at_ms <= now_ms and state.child:
        again = replace(state, kill_at_ms=now_ms + policy.kill_again_ms)
        return again, (Kill(state.child),)
    if state.retry_at_ms is not None and state.retry_at_ms <= now_ms:
        return _spawn(state, now_ms)
    return state, ()


def _fresh(state: State) -> State:
    """Return the state as an operator's start leaves it: no grudge, no timer."""
    return replace(
        state, failures=0, clean_run=0, retry_at_ms=None, parked="",
        mending=state.mending if state.mending == "running" else "none",
    )  # fmt: skip


def _spawn(state: State, now_ms: int) -> Step:
    number = state.children + 1
    started = replace(
        state, status="starting", child=number, children=number, started_ms=now_ms,
        spawned_ms=None, ready=False, again=False, retry_at_ms=None, kill_at_ms=None,
    )  # fmt: skip
    return started, (Spawn(number),)


def _end(policy: Policy, state: State, signal: int, now_ms: int) -> Step:
    """Ask whatever runs to end; SIGKILL follows after the grace."""
    if state.mending == "running":
        return state, (CancelMend(),)
    if not state.child:
        return _rest(state, now_ms)
    kill_at_ms = now_ms + policy.stop_grace_ms
    if state.kill_at_ms is not None:
        kill_at_ms = min(kill_at_ms, state.kill_at_ms)
    return replace(state, kill_at_ms=kill_at_ms), (Terminate(state.child, signal),)


def _rest(state: State, now_ms: int) -> Step:
    """Return what follows an end that was asked for."""
    if state.status == "shutting_down":
        return state, ()
    if state.again:
        return _spawn(_fresh(state), now_ms)
    return replace(state, status="stopped", retry_at_ms=None), ()


def _retry(policy: Policy, state: State, delay_ms: int, now_ms: int) -> Step:
    at_ms = now_ms + delay_ms
    if state.started_ms is not None:
        at_ms = max(at_ms, state.started_ms + policy.start_gap_ms)
    if at_ms <= now_ms:
        return _spawn(state, now_ms)
    return replace(state, status="crashed", retry_at_ms=at_ms), ()


def _delay_ms(policy: Policy, failures: int) -> int:
    """Return the wait; jitter takes from it, but never below the first wait."""
    drawn = policy.backoff.delay_ms(failures, policy.seed)
    return max(drawn, min(policy.backoff.first_ms, policy.backoff.cap_ms))


_RULES: Final[dict[type, Callable[[Policy, State, Any, int], Step]]] = {
    Start: _start,
    Stop: _stop,
    Restart: _restart,
    Shutdown: _shutdown,
    Spawned: _spawned,
    SpawnFailed: _spawn_failed,
    Exited: _exited,
    BecameReady: _became_ready,
    LostReady: _lost_ready,
    Mended: _mended,
    Due: _due,
}
