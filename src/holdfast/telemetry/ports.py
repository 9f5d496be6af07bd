"""The ports of telemetry: machine facts, two stores, and a receiver of transitions.

Each port has a twin in memory that passes the same suite. A store keeps what it is given and
answers panels; it never judges a message, and a failing one never changes the answer to a machine.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple, Protocol

from msgspec import Struct

from holdfast.letters.machine import MachineFacts
from holdfast.telemetry.contact import Contact, Report
from holdfast.wire.controller.checkin import CommandOutcome
from holdfast.wire.controller.directive import Command


class Machines(Protocol):
    """Where facts are looked up: memory, at most one commit old."""

    def lookup(self, sandbox: str) -> MachineFacts | None:
        """Return the facts of a machine, or None when no living instance has this sandbox id."""
        ...

    def of_instance(self, instance: str) -> MachineFacts | None:
        """Return the facts of an instance's machine, or None."""
        ...

    def everyone(self) -> Iterable[MachineFacts]:
        """Return the facts of all machines now known."""
        ...


class Commands(Protocol):
    """Effects that are leased to machines through their directive."""

    def due(self, instance: str, *, now_ms: int) -> tuple[Command, ...]:
        """Return the commands that are due to this machine, and lease them to it.

        A command is due again when its lease lapsed without an outcome, so a machine may get one
        twice, but not with every call.
        """
        ...


class Transitions(Protocol):
    """Turns changes of a machine's contact and report into events of its instance.

    Each call returns once the event is durable and raises when it is not; it is then repeated,
    with the same `dedupe`, for ever. For an instance that no longer exists, return.
    """

    async def contact_lost(
        self, instance: str, *, level: int, epoch: int, since_ms: int, at_ms: int, dedupe: str
    ) -> None:
        """Report that a machine has been silent for `level` levels since `since_ms`.

        `since_ms` is 0 for one that never checked in. `epoch` is the incarnation that was silent.
        """
        ...

    async def contact_regained(self, instance: str, *, epoch: int, at_ms: int, dedupe: str) -> None:
        """Report that a machine whose contact was lost has checked in."""
        ...

    async def reported(
        self, instance: str, report: Report, *, changed: frozenset[str], at_ms: int, dedupe: str
    ) -> None:
        """Report that what a machine says of itself has changed, in the named fields."""
        ...

    async def commands_done(
        self, instance: str, outcomes: tuple[CommandOutcome, ...], *, at_ms: int, dedupe: str
    ) -> None:
        """Report the outcomes of commands that the machine had been given."""
        ...


class ContactStore(Protocol):
    """Last contact of every machine: one row each, written in batches by one writer."""

    async def load(self) -> Sequence[Contact]:
        """Return every row."""
        ...

    async def save(self, rows: Sequence[Contact]) -> None:
        """Write the rows, each in place of the one before; all or none."""
        ...

    async def forget(self, instances: Sequence[str]) -> None:
        """Remove the rows of these instances; one that is not there is no error."""
        ...

    async def close(self) -> None:
        """Give the file back; further calls raise."""
        ...


class CheckinPoint(Struct, frozen=True, gc=False, kw_only=True):
    """One check-in as it is kept: the layout of compat/check-in.md, then what is ours.

    Counters without a suffix are differences since the check-in before; `_total` is the
    controller's own count, `_lifetime` the instance's, through all boots. Bytes, seconds, and a
    load average that is not divided by CPUs.
    """

    seen_ms: int
    sandbox: str
    instance: str
    account: str
    controller_version: str
    controller_commit: str
    agent_version: str
    agent_commit: str
    supervisor_state: str
    region: str
    machine_id: str
    last_exit_reason: str
    restarts: int
    restarts_total: int
    uptime_s: float
    load_5m: float
    bytes_in: int
    bytes_out: int
    disk_used: int
    disk_total: int
    protocol: int = 0
    boot_id: str = ""
    sequence: int = 0
    crashes: int = 0
    agent_ready: bool | None = None
    agent_kind: str = ""
    phase: str = ""
    degraded: str = ""
    cpus: int = 0
    memory_bytes: int = 0
    failed_checkins: int = 0
    restarts_lifetime: int = 0
    crashes_lifetime: int = 0
    bytes_in_lifetime: int = 0
    bytes_out_lifetime: int = 0


class LifecyclePoint(Struct, frozen=True, gc=False, kw_only=True):
    """One lifecycle event: thirteen texts and two numbers (compat/check-in.md).

    `delivery` is how it came about (http, actor, reconcile, queue); `error` a code or a cleaned
    text, never a secret.
    """

    seen_ms: int
    event: str
    account: str = ""
    delivery: str = ""
    route: str = ""
    error: str = ""
    app: str = ""
    machine: str = ""
    sandbox: str = ""
    status: str = ""
    agent_version: str = ""
    image_tag: str = ""
    region: str = ""
    label: str = ""
    duration_ms: float = 0
    value: float = 0


class FleetBucket(NamedTuple):
    """All check-ins of one step of time, for one account or for all.

    Disk shares are of machines that report their disk, 0 to 1; None where no machine did.
    """

    bucket_s: int
    checkins: int
    machines: int
    load_p50: float
    load_p95: float
    restarts: int
    crashes: int
    bytes_in: int
    bytes_out: int
    disk_p50: float | None
    disk_p95: float | None


class MachineBucket(NamedTuple):
    """The check-ins of one instance in one step of time."""

    bucket_s: int
    checkins: int
    load_mean: float
    load_max: float
    restarts: int
    crashes: int
    bytes_in: int
    bytes_out: int
    disk_used: int
    disk_total: int


class Restarts(NamedTuple):
    """How often one instance's agent was restarted within a window."""

    instance: str
    restarts: int
    crashes: int


class Span(NamedTuple):
    """A window of time in steps: `since_s` and `until_s` are seconds, multiples of `step_s`."""

    since_s: int
    until_s: int
    step_s: int


class Analytics(Protocol):
    """The datasets: written in batches, answered as panels.

    Fleet panels are read from a roll-up that `settle` brings up to date; steps are those of
    `views.STEPS_S`. Accounts: an empty text means all.
    """

    async def write(
        self, checkins: Sequence[CheckinPoint], events: Sequence[LifecyclePoint]
    ) -> None:
        """Keep the points; all or none. Raise when they could not be kept."""
        ...

    async def settle(self, now_ms: int) -> None:
        """Bring the roll-up up to date and drop what is older than the retention."""
        ...

    async def fleet(self, span: Span, account: str = "") -> Sequence[FleetBucket]:
        """Return the steps that have check-ins, oldest first."""
        ...

    async def machine(self, span: Span, instance: str) -> Sequence[MachineBucket]:
        """Return the steps in which this instance checked in, oldest first."""
        ...

    async def restarts(self, span: Span, *, limit: int, account: str = "") -> Sequence[Restarts]:
        """Return the most restarted instances, most first, then by instance; none with zero."""
        ...

    async def count(self) -> tuple[int, int]:
        """Return how many check-ins and lifecycle events are kept."""
        ...

    async def close(self) -> None:
        """Write what is pending and give the file back; further calls raise."""
        ...


class Lifecycle(Protocol):
    """Where lifecycle events are recorded; it never blocks and never raises."""

    def record(self, point: LifecyclePoint) -> None:
        """Keep the event as soon as possible; it may be lost, and is then counted."""
        ...


class Watched(Protocol):
    """Is called with changes of machines: by plane/wiring, as view rows are committed."""

    def machine_changed(self, facts: MachineFacts) -> None:
        """Take in new facts: wakes long polls, and watches for silence where it is expected."""
        ...

    def machine_gone(self, facts: MachineFacts) -> None:
        """Forget a machine whose instance was destroyed."""
        ...


class NoCommands:
    """No effect is leased through directives."""

    def due(self, instance: str, *, now_ms: int) -> tuple[Command, ...]:  # noqa: ARG002
        """Return nothing."""
        return ()


def dirty_from(points: Iterable[CheckinPoint]) -> int | None:
    """Return the earliest time among the points, from which a roll-up is out of date."""
    return min((point.seen_ms for point in points), default=None)
