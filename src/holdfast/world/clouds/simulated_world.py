"""The true state behind the simulated cloud: machines and volumes, changing with time.

Everything here is synchronous and lazy: a machine has its next state and when it is due, and is
updated on each access. That makes 10,000 idle machines cost nothing. It answers as Fly does, by a
status and a text; it must not use typed failures.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final, TypeVar

from msgspec import Struct

from holdfast.kernel.ids import derive
from holdfast.world.clouds.faults import Draws
from holdfast.world.clouds.port import (
    LABEL_SANDBOX,
    Machine,
    MachineSpec,
    MachineState,
    Volume,
    VolumeSpec,
    labels_of,
)

T = TypeVar("T")

_ID_CHARS: Final = 14
_UP: Final = frozenset({"starting", "started", "replacing", "updating"})


class Timing(Struct, frozen=True, kw_only=True, gc=False):
    """Durations in milliseconds. `call_ms` is one whole round trip."""

    call_ms: int = 40
    create_ms: int = 200
    start_ms: int = 300
    stop_ms: int = 500
    destroy_ms: int = 300
    listing_lag_ms: int = 2_000
    forget_ms: int = 60_000


class RefusedError(Exception):
    """The provider's refusal: a status, and a body as it would send it."""

    def __init__(self, status: int, body: str, retry_after: str | None = None) -> None:
        """`retry_after` is the header in seconds."""
        super().__init__(f"{status} {body}")
        self.status = status
        self.body = body
        self.retry_after = retry_after


class Row:
    """One machine; small, because there are ten thousand of them."""

    __slots__ = (
        "created_at_ms",
        "due_at_ms",
        "due_state",
        "exit_code",
        "id",
        "listed_state",
        "listed_until_ms",
        "spec",
        "starts",
        "state",
        "updated_at_ms",
    )

    def __init__(self, machine_id: str, spec: MachineSpec, now_ms: int) -> None:
        self.id = machine_id
        self.spec = spec
        self.state: MachineState = "created"
        self.starts = 0
        self.created_at_ms = now_ms
        self.updated_at_ms = now_ms
        self.due_state: MachineState | None = None
        self.due_at_ms = 0
        self.exit_code: int | None = None
        self.listed_state: MachineState | None = None
        self.listed_until_ms = 0

    def machine(self, state: MachineState | None = None) -> Machine:
        """Return the cloud's view of it, in the given state or the present one."""
        return Machine(
            id=self.id,
            name=self.spec.name,
            state=state or self.state,
            region=self.spec.region,
            incarnation=f"{self.id}-{self.starts}",
            labels=labels_of(self.spec),
            volume_id=self.spec.volume_id,
            created_at_ms=self.created_at_ms,
            updated_at_ms=self.updated_at_ms,
            exit_code=self.exit_code,
        )


class World:
    """Machines by id, name and sandbox, and volumes; `now_ms` returns its time."""

    def __init__(self, *, now_ms: Callable[[], int], chance: Draws, timing: Timing) -> None:
        self.now_ms = now_ms
        self.timing = timing
        self.full_regions: set[str] = set()
        self.on_change: Callable[[Machine], None] | None = None
        self.wake_at: Callable[[int, Callable[[], None]], None] | None = None
        self._chance = chance
        self._rows: dict[str, Row] = {}
        self._by_name: dict[str, str] = {}
        self._by_sandbox: dict[str, tuple[str, ...]] = {}
        self._volumes: dict[str, Volume] = {}
        self._made = 0

    # ------------------------------------------------------------------ looking

    def rows(self) -> Iterator[Row]:
        """Yield every machine, updated, in the order of creation."""
        for machine_id in list(self._rows):
            row = self._rows.get(machine_id)
            if row is not None and self.advance(row):
                yield row

    def row(self, machine_id: str) -> Row:
        """Return a machine, updated; refuse with 404 if it is forgotten or never existed."""
        found = self._rows.get(machine_id)
        if found is None or not self.advance(found):
            raise RefusedError(404, '{"error":"machine not found"}')
        return found

    def rows_of(self, sandbox_id: str) -> list[Row]:
        """Return the machines of one sandbox."""
        found = (self._rows.get(one) for one in self._by_sandbox.get(sandbox_id, ()))
        return [row for row in found if row is not None and self.advance(row)]

    def listed(self, labels: dict[str, str]) -> tuple[Machine, ...]:
        """Return the listing: the state of up to `listing_lag_ms` ago."""
        sandbox = labels.get(LABEL_SANDBOX)
        rows = self.rows() if sandbox is None else iter(self.rows_of(sandbox))
        now = self.now_ms()
        shown: list[Machine] = []
        for row in rows:
            lagging = now < row.listed_until_ms
            state = row.listed_state if lagging else row.state
            if state is None and now >= row.created_at_ms + self.timing.listing_lag_ms:
                state = row.state  # it changed so often that no older state was ever listed
            if state is None or (state == "destroyed" and not lagging):
                continue
            machine = row.machine(state)
            if labels.items() <= machine.labels.items():
                shown.append(machine)
        return tuple(shown)

    # ----------------------------------------------------------------- changing

    def advance(self, row: Row) -> bool:
        """Update a machine to the present; return whether it is still remembered."""
        now = self.now_ms()
        while row.due_state is not None and row.due_at_ms <= now:
            state, at_ms = row.due_state, row.due_at_ms
            row.due_state = None
            self._enter(row, state, at_ms)
            if state == "starting":
                self._later(row, "started", at_ms + self.timing.start_ms)
        if row.state == "destroyed" and row.updated_at_ms + self.timing.forget_ms <= now:
            self._forget(row)
            return False
        return True

    def create(self, spec: MachineSpec) -> Row:
        """Make and launch a machine; refuse with 409 or 422 if the name is taken."""
        holder = self._rows.get(self._by_name.get(spec.name, ""))
        if holder is not None and self.advance(holder) and holder.state != "destroyed":
            text = (
                "already_exists: unique machine name violation, machine ID "
                f'{holder.id} already exists with name \\"{spec.name}\\"'
            )
            raise RefusedError(self._either(409, 422), f'{{"error":"{text}"}}')
        self._check_capacity(spec.region)
        self._check_volume(spec, "")
        self._made += 1
        row = Row(derive("simulated", self._made, spec.name)[:_ID_CHARS], spec, self.now_ms())
        row.starts = 1
        row.listed_until_ms = row.created_at_ms + self.timing.listing_lag_ms
        self._rows[row.id] = row
        self._by_name[spec.name] = row.id
        self._by_sandbox[spec.sandbox_id] = (*self._by_sandbox.get(spec.sandbox_id, ()), row.id)
        self._attach(row)
        self._notify(row)
        self._later(row, "starting", row.created_at_ms + self.timing.create_ms)
        return row

    def start(self, machine_id: str) -> Row:
        """Launch a machine that is not up; a machine that is up stays as it is."""
        row = self.row(machine_id)
        if row.state in _UP or row.state == "created":
            return row
        self._check_movable(row)
        self._check_capacity(row.spec.region)
        self._check_volume(row.spec, row.id)
        row.starts += 1
        self._launch(row)
        return row

    def stop(self, machine_id: str) -> Row:
        """Begin to stop; a machine that is down stays as it is."""
        row = self.row(machine_id)
        if row.state in {"stopped", "failed", "suspended", "stopping"}:
            return row
        if row.state in {"destroying", "destroyed"}:
            raise RefusedError(412, '{"error":"failed_precondition: machine is being destroyed"}')
        row.due_state = None
        self._enter(row, "stopping", self.now_ms())
        self._later(row, "stopped", self.now_ms() + self.timing.stop_ms)
        return row

    def update(self, machine_id: str, spec: MachineSpec) -> Row:
        """Replace the spec and launch under a new incarnation."""
        row = self.row(machine_id)
        self._check_movable(row)
        self._check_capacity(spec.region)
        self._check_volume(spec, row.id)
        if spec.name != row.spec.name:
            raise RefusedError(400, '{"error":"invalid: a machine keeps its name"}')
        self._detach(row)
        row.spec = spec
        row.starts += 1
        self._attach(row)
        if row.state in _UP:
            row.due_state = None
            self._enter(row, "replacing", self.now_ms())
            self._later(row, "starting", self.now_ms() + self.timing.stop_ms)
        else:
            self._launch(row)
        return row

    def store(self, machine_id: str, spec: MachineSpec) -> Row:
        """Replace the spec without touching what runs."""
        row = self.row(machine_id)
        if row.state in {"destroying", "destroyed"}:
            raise RefusedError(404, '{"error":"machine not found"}')
        if spec.name != row.spec.name or spec.volume_id != row.spec.volume_id:
            raise RefusedError(400, '{"error":"invalid: a machine keeps its name and volume"}')
        row.spec = spec
        return row

    def destroy(self, machine_id: str) -> None:
        """Begin to remove a machine, from any state."""
        row = self.row(machine_id)
        if row.state == "destroyed":
            raise RefusedError(404, '{"error":"machine not found"}')
        if row.state == "destroying":
            return
        row.due_state = None
        self._enter(row, "destroying", self.now_ms())
        self._later(row, "destroyed", self.now_ms() + self.timing.destroy_ms)

    def force(self, machine_id: str, state: MachineState, *, exit_code: int | None = None) -> None:
        """Force a machine into a state: it crashed, its host is lost."""
        row = self.row(machine_id)
        row.due_state = None
        row.exit_code = exit_code
        self._enter(row, state, self.now_ms())

    # ------------------------------------------------------------------ volumes

    def volume(self, volume_id: str) -> Volume:
        """Return a volume; refuse with 404."""
        found = self._volumes.get(volume_id)
        if found is None:
            raise RefusedError(404, '{"error":"volume not found"}')
        return self._with_holder(found)

    def volumes(self) -> list[Volume]:
        """Return every volume, in the order of making."""
        return [self._with_holder(volume) for volume in self._volumes.values()]

    def create_volume(self, spec: VolumeSpec) -> Volume:
        """Make a volume; it has no unique name, as with Fly: repeating makes two."""
        size_gb = spec.size_gb
        if spec.source_volume_id is not None:
            source = self._volumes.get(spec.source_volume_id)
            if source is None:
                raise RefusedError(404, '{"error":"source volume_id not known"}')
            size_gb = source.size_gb
        if spec.region in self.full_regions:
            raise RefusedError(412, '{"error":"insufficient resources to create new volume"}')
        self._made += 1
        volume = Volume(
            id=f"vol_{derive('volume', self._made)[:_ID_CHARS]}",
            name=spec.name,
            state="created",
            region=spec.region,
            size_gb=size_gb,
            created_at_ms=self.now_ms(),
        )
        self._volumes[volume.id] = volume
        return volume

    def destroy_volume(self, volume_id: str) -> None:
        """Remove a volume; refuse with 412 while a machine holds it."""
        if self.volume(volume_id).attached_machine_id is not None:
            raise RefusedError(412, '{"error":"failed_precondition: volume is attached"}')
        del self._volumes[volume_id]

    def lose_volume(self, volume_id: str) -> None:
        """Remove a volume, as when its host's disk is lost."""
        self._volumes.pop(volume_id, None)

    # ------------------------------------------------------------------- within

    def _launch(self, row: Row) -> None:
        row.due_state = None
        row.exit_code = None
        self._enter(row, "starting", self.now_ms())
        self._later(row, "started", self.now_ms() + self.timing.start_ms)

    def _enter(self, row: Row, state: MachineState, at_ms: int) -> None:
        if at_ms >= row.listed_until_ms:
            row.listed_state = row.state
        row.listed_until_ms = at_ms + self.timing.listing_lag_ms
        row.state = state
        row.updated_at_ms = at_ms
        if state == "destroyed":
            self._detach(row)
            if self._by_name.get(row.spec.name) == row.id:
                del self._by_name[row.spec.name]
        self._notify(row)

    def _later(self, row: Row, state: MachineState, at_ms: int) -> None:
        row.due_state, row.due_at_ms = state, at_ms
        if self.wake_at is not None:
            self.wake_at(at_ms, lambda: self._wake(row))

    def _wake(self, row: Row) -> None:
        self.advance(row)

    def _notify(self, row: Row) -> None:
        if self.on_change is not None:
            self.on_change(row.machine())

    def _forget(self, row: Row) -> None:
        self._rows.pop(row.id, None)
        sandbox = row.spec.sandbox_id
        rest = tuple(one for one in self._by_sandbox.get(sandbox, ()) if one != row.id)
        if rest:
            self._by_sandbox[sandbox] = rest
        else:
            self._by_sandbox.pop(sandbox, None)

    def _check_movable(self, row: Row) -> None:
        if row.state in {"destroying", "destroyed"}:
            raise RefusedError(412, '{"error":"failed_precondition: machine is being destroyed"}')
        if row.state == "stopping":
            raise RefusedError(412, '{"error":"failed_precondition: machine still stopping"}')

    def _check_capacity(self, region: str) -> None:
        if region in self.full_regions:
            text = self._either("insufficient resources available", "insufficient memory available")
            status = 409 if "memory" in text else 412
            raise RefusedError(status, f'{{"error":"{text} to fulfill request"}}')

    def _check_volume(self, spec: MachineSpec, machine_id: str) -> None:
        if spec.volume_id is None:
            return
        found = self._volumes.get(spec.volume_id)
        if found is None:
            raise RefusedError(400, '{"error":"invalid_argument: volume does not exist"}')
        holder = self._with_holder(found).attached_machine_id
        if holder is not None and holder != machine_id:
            raise RefusedError(412, '{"error":"failed_precondition: volume in use"}')

    def _with_holder(self, volume: Volume) -> Volume:
        """Return the volume after updating its holder: a destroyed machine releases it."""
        holder = self._rows.get(volume.attached_machine_id or "")
        if holder is not None:
            self.advance(holder)
        return self._volumes[volume.id]

    def _attach(self, row: Row) -> None:
        self._hold(row.spec.volume_id, row.id)

    def _detach(self, row: Row) -> None:
        self._hold(row.spec.volume_id, None)

    def _hold(self, volume_id: str | None, machine_id: str | None) -> None:
        found = self._volumes.get(volume_id or "")
        if found is not None:
            self._volumes[found.id] = Volume(
                id=found.id,
                name=found.name,
                state="detached" if machine_id is None else "attached",
                region=found.region,
                size_gb=found.size_gb,
                attached_machine_id=machine_id,
                created_at_ms=found.created_at_ms,
            )

    def _either(self, one: T, other: T) -> T:
        return one if self._chance.random() < 0.5 else other  # noqa: PLR2004 - a fair coin
