"""The blocking half of the process cloud: steps on one machine.

Every step holds the machine's lock, reads its record anew and reads from the kernel which processes
live, so that threads, a second plane and a crash at any point all see the same state. Waiting
between two steps (a grace) is left to the asynchronous half. Call from worker threads only, because
it waits for disks and processes.
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from signal import SIGTERM
from typing import Final, NoReturn

from msgspec import Struct
from msgspec.structs import replace

from holdfast.disk.durable_file import sync_folder
from holdfast.kernel.clock import Clock
from holdfast.kernel.failure import brief
from holdfast.kernel.ids import derive
from holdfast.kernel.outcome import Conflict, Failure, Permanent, Retryable
from holdfast.world.clouds.port import (
    CAPACITY,
    CONFLICT,
    INVALID,
    NAME_TAKEN,
    TRANSIENT,
    Machine,
    MachineSpec,
    MachineState,
    Usage,
    labels_of,
)
from holdfast.world.clouds.process_disk import DiskMeter
from holdfast.world.clouds.process_folders import MachineFolders
from holdfast.world.clouds.process_ports import FIRST_PORT, LAST_PORT, LOOPBACK, Ports, is_free
from holdfast.world.clouds.process_record import Phase, Record
from holdfast.world.clouds.process_spawn import environment
from holdfast.world.clouds.process_volumes import Volumes
from holdfast.world.clouds.spec import DeclinedError, EnvKeys, check_spec
from holdfast.world.processes.barrier import HeldProcess, inherited_from, reap
from holdfast.world.processes.confine import VARIABLE, WRAPPER, Confine, order
from holdfast.world.processes.log import LOG_BYTES_MAX, rotate, tail
from holdfast.world.processes.table import (
    identify,
    is_alive,
    kill_members,
    send,
    usage_of,
)

PROGRAM: Final = (sys.executable, "-I", "-m", "holdfast.machine.controller")
"""Isolated: it must not load code or variables of the agent or owner.

It starts in a home that its agent writes to, with variables that owners set, and it holds the
machine's credentials and its key.
"""

UPDATE_GRACE_MS: Final = 10_000
"""Time for a running machine to end for an update, in milliseconds."""

_ID_CHARS: Final = 14
_MAY_END: Final = frozenset({"running", "stopping"})
_STATES: Final[dict[Phase, MachineState]] = {
    "created": "created",
    "running": "stopped",  # recorded as running, yet no process lives: it ended by itself
    "stopping": "stopped",
    "stopped": "stopped",
    "failed": "failed",
    "updating": "updating",
    "destroying": "destroying",
}
_LIVE_STATES: Final[dict[Phase, MachineState]] = {
    "running": "started",
    "stopping": "stopping",
    "updating": "replacing",
    "destroying": "destroying",
}


class Adoption(Struct, frozen=True, kw_only=True):
    """What was found when the cloud was opened.

    `ended` ended while no plane ran, and are to be recorded; `pending` has a step left to finish;
    `unreadable` names machines whose record cannot be read: they are left alone for a person.
    """

    running: tuple[Record, ...] = ()
    pending: tuple[Record, ...] = ()
    ended: tuple[Record, ...] = ()
    unreadable: tuple[str, ...] = ()


class Host:
    """All machines under one home. `on_spawn` is called for each start, in a worker thread."""

    def __init__(
        self,
        home: Path,
        *,
        clock: Clock,
        keys: EnvKeys,
        environ: Mapping[str, str],
        program: Sequence[str] = PROGRAM,
        inherit: Sequence[str] = (),
        confine: Confine | None = None,
        log_bytes_max: int = LOG_BYTES_MAX,
        ports: tuple[int, int] = (FIRST_PORT, LAST_PORT),
    ) -> None:
        """Keep machines under `home/machines` and volumes under `home/volumes`.

        `confine` is how, None for not at all.
        """
        self.folders = MachineFolders(home / "machines")
        self.ports = Ports(self.folders.root / ".ports", first=ports[0], last=ports[1])
        self.volumes = Volumes(home / "volumes", holds=self._holds)
        self.on_spawn: Callable[[Record], None] = _ignore
        self._clock = clock
        self._keys = keys
        self._program = tuple(program)
        self._inherited = inherited_from(environ, inherit)
        self._confine = confine
        self._port_range = ports
        self._log_bytes_max = log_bytes_max
        self._disk = DiskMeter(clock)

    # ----------------------------------------------------------------- adoption

    def adopt(self) -> Adoption:
        """Check every machine on disk: which live, which ended, which have a step to finish."""
        self.folders.prepare()
        self.volumes.clear()
        with self.folders.naming():
            records, unreadable = self.folders.survey()
            self._drop_unborn({*unreadable, *(record.spec.name for record in records)})
            if not unreadable:
                self.ports.release_strays({one.port: one.spec.name for one in records})
        for entry in sorted(self.folders.trash.iterdir()):
            self.purge(entry)
        running = [one for one in records if one.phase == "running" and is_alive(one.leader)]
        dead = [one for one in records if one.phase == "running" and not is_alive(one.leader)]
        return Adoption(
            running=tuple(running),
            pending=tuple(
                one for one in records if one.phase in {"stopping", "updating", "destroying"}
            ),
            ended=tuple(dead),
            unreadable=tuple(unreadable),
        )

    def _drop_unborn(self, known: set[str]) -> None:
        """Remove folders whose creator died before the record was written: nothing ran in them."""
        for name in self.folders.names():
            if name not in known:
                shutil.rmtree(self.folders.root / name)

    # ------------------------------------------------------------------ looking

    def look(self, machine_id: str) -> Machine:
        """Return the machine's state, with its resource use."""
        record = self.folders.find(machine_id)
        usage: Usage | None = None
        if record.leader is not None and is_alive(record.leader):
            disk = self._disk.measure(self._home(record))
            usage = usage_of(record.leader, record.id, disk_bytes=disk)
        return self.machine(record, usage)

    def brief(self, machine_id: str) -> Machine:
        """Return the machine's state, recording its end, without the cost of measuring it."""
        record = self.folders.find(machine_id)
        if record.phase in _MAY_END and not is_alive(record.leader):
            record = self.record_end(machine_id)
        return self.machine(record)

    def find(self, labels: Mapping[str, str]) -> tuple[Machine, ...]:
        """Return the machines that carry all these labels, oldest first."""
        records, _ = self.folders.survey()
        wanted = labels.items()
        found = [one for one in records if wanted <= labels_of(one.spec).items()]
        found.sort(key=lambda one: (one.created_at_ms, one.id))
        return tuple(self.machine(one) for one in found)

    def machine(self, record: Record, usage: Usage | None = None) -> Machine:
        """Return the cloud's view of a record and its living processes."""
        alive = is_alive(record.leader)
        state = _LIVE_STATES.get(record.phase) if alive else None
        return Machine(
            id=record.id,
            name=record.spec.name,
            state=state or _STATES[record.phase],
            region=record.spec.region,
            incarnation=record.incarnation,
            labels=labels_of(record.spec),
            volume_id=record.spec.volume_id,
            created_at_ms=record.created_at_ms,
            updated_at_ms=record.updated_at_ms,
            address=f"{LOOPBACK}:{record.port}",
            exit_code=record.exit_code,
            usage=usage,
        )

    def log_tail(self, machine_id: str, *, lines: int) -> tuple[str, ...]:
        """Return the newest lines of a machine's log."""
        record = self.folders.find(machine_id)
        return tail(self.folders.folder(record.spec.name).log, lines=lines)

    def rotate_logs(self) -> int:
        """Rotate every log that has grown too large; return how many."""
        return sum(
            rotate(self.folders.folder(name).log, bytes_max=self._log_bytes_max)
            for name in self.folders.names()
        )

    @property
    def wrapper(self) -> tuple[str, ...]:
        """Return the program that confines the command after it, empty if nothing is confined."""
        return () if self._confine is None else WRAPPER

    def surroundings(self, machine_id: str) -> tuple[dict[str, str], Path]:
        """Return the environment and home to run a command in; decline unless it is started."""
        record = self.folders.find(machine_id)
        if record.phase != "running" or not is_alive(record.leader):
            _decline(Conflict(CONFLICT, f"machine {machine_id} is not started"))
        home = self._home(record)
        return self._environment(record, home), home

    # ----------------------------------------------------------------- starting

    def create(self, spec: MachineSpec) -> Record:
        """Claim the name and a port range, write the record, then start the program."""
        check_spec(spec)
        with self.folders.naming():
            self._check_name(spec)
            record = self._lay_out(spec)
        return self.start(record.id)

    def start(self, machine_id: str) -> Record:
        """Start a machine that is down; decline with `conflict` while it is being changed."""
        with self.folders.held(machine_id) as record:
            alive = is_alive(record.leader)
            if alive and record.phase == "running":
                return record
            if alive or record.phase in {"updating", "destroying"}:
                _decline(Conflict(CONFLICT, f"machine {machine_id} is {record.phase}"))
            return self._launch(record)

    def _check_name(self, spec: MachineSpec) -> None:
        try:
            holder = self.folders.record(spec.name)
        except ValueError as error:
            _decline(Conflict(NAME_TAKEN, brief(error)))
        if holder is not None:
            text = f"unique machine name violation, machine ID {holder.id} already exists"
            _decline(Conflict(NAME_TAKEN, f"{text} with name {spec.name!r}", holder.id))

    def _lay_out(self, spec: MachineSpec) -> Record:
        """Create folder, ports and record of a new machine; nothing runs yet."""
        if spec.volume_id is not None:
            self.volumes.check(spec.volume_id, machine_id="")
        folder = self.folders.folder(spec.name)
        port = self.ports.claim(spec.name)
        if port is None:
            _decline(Retryable(CAPACITY, "insufficient resources: every port range is held"))
        now = self._clock.now_ms()
        record = Record(
            id=derive("machine", spec.name, now, port)[:_ID_CHARS],
            spec=spec,
            phase="created",
            port=port,
            created_at_ms=now,
            updated_at_ms=now,
        )
        try:
            folder.make()
            self.folders.put(record)
        except OSError:
            self.ports.release(port, spec.name)
            raise
        sync_folder(self.folders.root)
        if spec.volume_id is not None:
            self.volumes.attach(spec.volume_id, machine_id=record.id)
        return record

    def _launch(self, record: Record) -> Record:
        """Start the program; the caller holds the lock and has checked that none runs."""
        if record.starts:
            self._clear_out(record)
        folder = self.folders.folder(record.spec.name)
        folder.make()
        home = self._home(record)
        starts = record.starts + 1
        ready = replace(
            record,
            phase="running",
            port=self._usable_port(record),
            starts=starts,
            incarnation=derive("incarnation", record.id, starts)[:_ID_CHARS],
            updated_at_ms=self._clock.now_ms(),
            stop_by_ms=None,
            exit_code=None,
            error="",
        )
        env = self._environment(ready, home)
        held = HeldProcess(self._program, env=env, home=home, log=folder.log)
        try:
            leader = identify(held.process.pid)
            if leader is None:
                _decline(Retryable(TRANSIENT, f"machine {record.id}: it was killed at its gate"))
            ready = self.folders.put(replace(ready, leader=leader))
        except BaseException:
            held.shut()
            raise
        held.disown()
        self.on_spawn(ready)
        held.open()
        return ready

    def _usable_port(self, record: Record) -> int:
        """Return the machine's port range, or a new one if another program uses the old one."""
        if is_free(record.port):
            return record.port
        with self.folders.naming():
            port = self.ports.claim(record.spec.name)
            if port is None:
                text = f"insufficient resources: port {record.port} is in use, no range is free"
                _decline(Retryable(CAPACITY, text))
            self.ports.release(record.port, record.spec.name)
        return port

    def _environment(self, record: Record, home: Path) -> dict[str, str]:
        folder = self.folders.folder(record.spec.name)
        env = environment(record, folder, home, inherited=self._inherited, keys=self._keys)
        if self._confine is not None:
            own = (home, folder.tmp)
            env[VARIABLE] = order(self._confine, self._inherited, self._port_range, own)
        return env

    def _home(self, record: Record) -> Path:
        if record.spec.volume_id is None:
            return self.folders.folder(record.spec.name).home
        return self.volumes.data_of(record.spec.volume_id)

    # ------------------------------------------------------------------- ending

    def record_end(self, machine_id: str) -> Record:
        """Record the end of a machine, if it has ended, and kill what it left behind."""
        with self.folders.held(machine_id) as record:
            ended = record.phase in _MAY_END and not is_alive(record.leader)
            return self._ended(record) if ended else record

    def begin_stop(self, machine_id: str, *, grace_ms: int) -> Record:
        """Send a machine SIGTERM and record its deadline."""
        with self.folders.held(machine_id) as record:
            if record.phase in {"updating", "destroying"}:
                _decline(Conflict(CONFLICT, f"machine {machine_id} is {record.phase}"))
            if record.leader is None or not is_alive(record.leader):
                return self._ended(record) if record.phase in _MAY_END else record
            stop_by_ms = self._clock.now_ms() + grace_ms
            if record.phase == "stopping":
                earlier = min(stop_by_ms, record.stop_by_ms or stop_by_ms)
                return self.folders.put(replace(record, stop_by_ms=earlier))
            updated = self._phase(record, "stopping", stop_by_ms=stop_by_ms)
            send(record.leader, SIGTERM)
            return updated

    def finish_stop(self, machine_id: str) -> Record:
        """Kill what is left of a stopping machine."""
        with self.folders.held(machine_id) as record:
            return self._ended(record) if record.phase == "stopping" else record

    def store(self, machine_id: str, spec: MachineSpec) -> Record:
        """Store a spec for the next start, without touching what runs."""
        check_spec(spec)
        with self.folders.held(machine_id) as record:
            if spec.name != record.spec.name or spec.volume_id != record.spec.volume_id:
                text = f"machine {machine_id} keeps its name and its volume"
                _decline(Permanent(INVALID, text))
            if record.phase in {"updating", "destroying"}:
                _decline(Conflict(CONFLICT, f"machine {machine_id} is {record.phase}"))
            return self._phase(
                replace(record, spec=spec), record.phase, stop_by_ms=record.stop_by_ms
            )

    def begin_update(self, machine_id: str, spec: MachineSpec) -> Record:
        """Store the new spec and send the running program SIGTERM."""
        check_spec(spec)
        with self.folders.held(machine_id) as record:
            if spec.name != record.spec.name:
                text = f"name {spec.name!r}: machine {machine_id} keeps {record.spec.name!r}"
                _decline(Permanent(INVALID, text))
            alive = is_alive(record.leader)
            if record.phase in {"updating", "destroying"} or (alive and record.phase == "stopping"):
                _decline(Conflict(CONFLICT, f"machine {machine_id} is {record.phase}"))
            if spec.volume_id is not None:
                self.volumes.check(spec.volume_id, machine_id=machine_id)
            stop_by_ms = self._clock.now_ms() + UPDATE_GRACE_MS
            updated = self._phase(replace(record, spec=spec), "updating", stop_by_ms=stop_by_ms)
            if spec.volume_id is not None:
                self.volumes.attach(spec.volume_id, machine_id=machine_id)
            if alive and record.leader is not None:
                send(record.leader, SIGTERM)
            return updated

    def finish_update(self, machine_id: str) -> Record:
        """Kill what is left of the old program and start the new one."""
        with self.folders.held(machine_id) as record:
            if record.phase != "updating":
                return record
            self._clear_out(record)
            try:
                return self._launch(record)
            except DeclinedError as declined:
                self._phase(replace(record, leader=None, error=str(declined)), "failed")
                raise

    def destroy(self, machine_id: str) -> Path:
        """Kill and remove a machine in any state; return its folder, moved aside."""
        with self.folders.held(machine_id) as record:
            self._phase(record, "destroying")
            self._clear_out(record)
            self._disk.forget(self.folders.folder(record.spec.name).home)
            place = self.folders.throw_away(record)
        self.ports.release(record.port, record.spec.name)
        return place

    def purge(self, place: Path) -> None:
        """Delete what `destroy` moved aside; failures are retried at the next open."""
        shutil.rmtree(place, ignore_errors=True)

    # ------------------------------------------------------------------- within

    def _ended(self, record: Record) -> Record:
        exit_code = self._clear_out(record)
        ended = replace(record, leader=None, stop_by_ms=None, exit_code=exit_code)
        return self._phase(ended, "stopped")

    def _clear_out(self, record: Record) -> int | None:
        """Kill every process of a machine; return the leader's exit code if we are its parent."""
        if not kill_members(record.leader, record.id):
            text = f"machine {record.id}: some of its processes do not end when killed"
            _decline(Retryable(TRANSIENT, text))
        return reap(record.leader) if record.leader is not None else None

    def _phase(self, record: Record, phase: Phase, *, stop_by_ms: int | None = None) -> Record:
        now = self._clock.now_ms()
        return self.folders.put(
            replace(record, phase=phase, stop_by_ms=stop_by_ms, updated_at_ms=now)
        )

    def _holds(self, machine_id: str, volume_id: str) -> bool:
        try:
            return self.folders.find(machine_id).spec.volume_id == volume_id
        except DeclinedError as declined:
            return isinstance(declined.failure, Retryable)  # unknown: treated as held


def _ignore(record: Record) -> None:
    del record


def _decline(failure: Failure) -> NoReturn:
    raise DeclinedError(failure)
