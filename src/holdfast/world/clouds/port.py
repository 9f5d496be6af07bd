"""The cloud port: calls to a place where machines run, and their typed answers.

It fits local processes, containers and Fly Machines alike, so it promises only what all of them can
keep: names are unique within a cloud, a listing may lag, every call may be lost after it was
executed, and an incarnation (Fly's `instance_id`) changes with each start or update. This module is
pure: types and classifications only. It must never decide what to do about an answer.
"""

from __future__ import annotations

from typing import Final, Literal, Protocol, TypeAlias

from msgspec import Struct, field

from holdfast.kernel.outcome import Conflict, Ok, Outcome, Permanent

LABEL_INSTANCE: Final = "holdfast_instance"
LABEL_SANDBOX: Final = "holdfast_sandbox"
LABEL_EPOCH: Final = "holdfast_epoch"
LABEL_ACCOUNT: Final = "holdfast_account"
LABEL_AGENT: Final = "holdfast_agent"
"""What an instance whose journal was lost can be made again from; who makes a spec sets them."""

NOT_FOUND: Final = "not_found"
"""Permanent: no such machine or volume."""
MISSING_VOLUME: Final = "missing_volume"
"""Permanent: the machine exists or could, but the volume it names does not."""
NAME_TAKEN: Final = "name_taken"
"""Conflict: a machine of this name exists; `holder` is its id if the cloud gave it."""
COLLISION: Final = "collision"
"""Conflict: the name's holder is not ours; it must never be adopted. `holder` is its id."""
CONFLICT: Final = "conflict"
"""Conflict: a concurrent change, or a state that does not allow the call."""
CAPACITY: Final = "capacity"
"""Retryable: no room there now; another region or size may have some."""
RATE_LIMITED: Final = "rate_limited"
"""Retryable: too many calls; `retry_after_ms` is the wait."""
WAIT_TIMEOUT: Final = "wait_timeout"
"""Retryable: the awaited state did not come in time; nothing is wrong yet."""
TRANSIENT: Final = "transient"
"""Retryable: a fault of the other side or the way to it; the call may have been executed."""
INVALID: Final = "invalid"
"""Permanent: the request itself is wrong."""
DENIED: Final = "denied"
"""Permanent: the credentials are not accepted; a person must check them."""
UNSUPPORTED: Final = "unsupported"
"""Permanent: this cloud does not support it; see `Capabilities`."""

MachineState: TypeAlias = Literal[
    "created",
    "starting",
    "started",
    "stopping",
    "stopped",
    "suspended",
    "replacing",
    "updating",
    "failed",
    "destroying",
    "destroyed",
]
WaitableState: TypeAlias = Literal["started", "stopped", "suspended", "destroyed"]
VolumeState: TypeAlias = Literal[
    "created", "attached", "detached", "pending_destroy", "destroying", "destroyed"
]
CpuKind: TypeAlias = Literal["shared", "performance"]
SnapshotKind: TypeAlias = Literal["none", "copy", "provider"]
Verdict: TypeAlias = Literal["here", "gone", "unknown"]

WAIT_MS_MAX: Final = 60_000
"""The longest single wait in milliseconds; Fly answers 1 to 60 s."""

LOG_LINES_MAX: Final = 1_000
"""Lines of one log tail."""

EXEC_OUTPUT_BYTES_MAX: Final = 262_144
"""Bytes kept of each output stream of one exec; the rest is cut and marked."""

_HOPELESS_STATES: Final = frozenset({"failed", "destroyed", "destroying"})


class Size(Struct, frozen=True, kw_only=True, gc=False):
    """How large a machine is."""

    cpus: int = 1
    memory_mb: int = 1_024
    cpu_kind: CpuKind = "shared"


class MachineSpec(Struct, frozen=True, kw_only=True):
    """The specification of a machine. `name` is unique within the cloud and is the sandbox id.

    `env` holds plain values and must carry no secret. `sealed` maps a variable's name to its value
    as `enc:v1:...`; the cloud passes it on still sealed, as `HOLDFAST_ENC_<NAME>`, and provides the
    key by its own means. `epoch` names the incarnation in our own counting.
    """

    name: str
    instance_id: str
    sandbox_id: str
    account_id: str
    epoch: int = 0
    agent: str = "demo"
    size: Size = Size()
    region: str = ""
    labels: dict[str, str] = field(default_factory=dict)
    env: dict[str, str] = field(default_factory=dict)
    sealed: dict[str, str] = field(default_factory=dict)
    volume_id: str | None = None


class Usage(Struct, frozen=True, kw_only=True, gc=False):
    """Resource use of a machine: CPU time since its start, resident memory, bytes on disk."""

    cpu_ms: int = 0
    rss_bytes: int = 0
    disk_bytes: int | None = None
    processes: int = 0


class Machine(Struct, frozen=True, kw_only=True):
    """A machine as reported by the cloud.

    `address` is `host:port` of its controller, empty if there is none; with `tls` it is spoken to
    by TLS only. `headers` are needed in requests to it where a cloud routes by id. `exit_code` is
    that of the last incarnation if known; killed by signal n is -n.
    """

    id: str
    name: str
    state: MachineState
    region: str = ""
    incarnation: str = ""
    labels: dict[str, str] = field(default_factory=dict)
    volume_id: str | None = None
    created_at_ms: int = 0
    updated_at_ms: int = 0
    address: str = ""
    tls: bool = False
    headers: dict[str, str] = field(default_factory=dict)
    exit_code: int | None = None
    usage: Usage | None = None


class VolumeSpec(Struct, frozen=True, kw_only=True, gc=False):
    """The specification of a volume.

    `name` is `volume_name` of the sandbox: a cloud may keep a sandbox's volumes and machine apart
    from all others, and then attaches a volume to no other machine. With `source_volume_id` it
    starts as a copy of that one (a fork), within the same sandbox.

    `size_hint` is the machine it will be attached to, so that a cloud can place it where there is
    room for both. A fork keeps the size of its source and ignores `size_gb`.
    """

    name: str
    region: str = ""
    size_gb: int = 10
    source_volume_id: str | None = None
    size_hint: Size | None = None


class Volume(Struct, frozen=True, kw_only=True, gc=False):
    """A volume as reported by the cloud."""

    id: str
    name: str
    state: VolumeState
    region: str = ""
    size_gb: int = 0
    attached_machine_id: str | None = None
    created_at_ms: int = 0


class Execution(Struct, frozen=True, kw_only=True, gc=False):
    """The result of a command in a machine; the streams are cut at a limit."""

    exit_code: int
    stdout: str = ""
    stderr: str = ""
    truncated: bool = False


class Capabilities(Struct, frozen=True, kw_only=True, gc=False):
    """Features of a cloud, so that no caller depends on which cloud it is.

    `isolation` is a sentence for people. `call_per_s` and `call_burst` are its rate for one action
    on one machine, `read_per_s` and `read_burst` for reads; 0 means no limit. `sizes` is whether a
    machine gets the size of its specification, and no more. `regions` are tried where none is asked
    for; with `more_regions` there are others. `snapshots` says who keeps earlier
    contents of a volume: nobody, who copies it while its machine is stopped, or the provider.
    """

    kind: str
    isolation: str
    volumes: bool = True
    forks: bool = False
    regions: tuple[str, ...] = ()
    more_regions: bool = False
    survives_plane: bool = True
    routes_by_id: bool = False
    sizes: bool = True
    snapshots: SnapshotKind = "none"
    call_per_s: float = 0.0
    call_burst: int = 0
    read_per_s: float = 0.0
    read_burst: int = 0


class Cloud(Protocol):
    """A place where machines run. Every call is bounded in time and returns an `Outcome`.

    A `Retryable` answer to a call that changes something may mean that it was executed: check
    before repeating it, or repeat it with the same unique name, the only idempotency that all
    clouds have.
    """

    @property
    def capabilities(self) -> Capabilities:
        """Return the features of this cloud; they do not change while it runs."""
        ...

    async def create(
        self, spec: MachineSpec, *, idempotency_key: str, timeout_ms: int
    ) -> Outcome[Machine]:
        """Create and launch a machine; return as soon as its id is known, before it is up.

        Fail with `name_taken`, `capacity`, `missing_volume`, `invalid` and the common ones.
        """
        ...

    async def describe(self, machine_id: str) -> Outcome[Machine]:
        """Return the machine's current state, from the source of truth; fail with `not_found`."""
        ...

    async def find(self, labels: dict[str, str]) -> Outcome[tuple[Machine, ...]]:
        """Return machines that carry all these labels; the listing may lag behind."""
        ...

    async def start(self, machine_id: str) -> Outcome[Machine]:
        """Start a stopped, failed or created machine; started or starting already is `Ok`."""
        ...

    async def stop(self, machine_id: str, *, grace_ms: int) -> Outcome[Machine]:
        """Send it SIGTERM, then kill it after `grace_ms`; return at once, `wait` for the rest."""
        ...

    async def update(self, machine_id: str, spec: MachineSpec) -> Outcome[Machine]:
        """Apply a new spec under a new incarnation; a running one restarts, any other starts."""
        ...

    async def store(self, machine_id: str, spec: MachineSpec) -> Outcome[Machine]:
        """Store a new spec for its next start, without touching what runs now."""
        ...

    async def wait(
        self, machine_id: str, *, state: WaitableState, incarnation: str, timeout_ms: int
    ) -> Outcome[Machine]:
        """Wait until this incarnation is in `state`; an empty incarnation means any.

        Fail with `wait_timeout`, and with `conflict` if the state can no longer come (another
        incarnation took over, or it failed). Waiting for `destroyed` treats not-found as success.
        """
        ...

    async def destroy(self, machine_id: str) -> Outcome[None]:
        """Kill and remove the machine from any state; keep its volume.

        Destroying an absent machine fails with `not_found`, which `settles_destroy` accepts.
        """
        ...

    async def exec(
        self, machine_id: str, argv: tuple[str, ...], *, timeout_ms: int
    ) -> Outcome[Execution]:
        """Run a command inside a started machine; fail with `conflict` if it is not started."""
        ...

    async def create_volume(
        self, spec: VolumeSpec, *, idempotency_key: str, timeout_ms: int
    ) -> Outcome[Volume]:
        """Create or fork a volume; fail with `capacity`, and `not_found` for the fork's source.

        Names are not unique and not every cloud honours the key: find by name before repeating.
        """
        ...

    async def describe_volume(self, volume_id: str) -> Outcome[Volume]:
        """Return the volume's current state; fail with `not_found`."""
        ...

    async def find_volumes(self, name: str) -> Outcome[tuple[Volume, ...]]:
        """Return volumes of exactly this name, oldest first; the listing may lag behind."""
        ...

    async def destroy_volume(self, volume_id: str) -> Outcome[None]:
        """Remove a volume; fail with `conflict` while attached, `not_found` if absent."""
        ...

    async def log_tail(self, machine_id: str, *, lines: int) -> Outcome[tuple[str, ...]]:
        """Return the newest lines of its output, oldest first, at most `LOG_LINES_MAX`."""
        ...

    async def close(self) -> None:
        """Close connections and tasks; machines live on."""
        ...


def labels_of(spec: MachineSpec) -> dict[str, str]:
    """Return the labels of a machine with this spec: its own, then ours, which take precedence."""
    return {
        **spec.labels,
        LABEL_INSTANCE: spec.instance_id,
        LABEL_SANDBOX: spec.sandbox_id,
        LABEL_EPOCH: str(spec.epoch),
    }


def verdict(outcome: Outcome[Machine]) -> Verdict:
    """Return whether the machine exists: only a confirmed absence is `gone`.

    A stopped, failed or even a destroying machine is `here`, because its name and its data are
    still held. Timeouts, refusals and server errors are `unknown`: unreachable is not dead.
    """
    match outcome:
        case Ok(machine):
            return "gone" if machine.state == "destroyed" else "here"
        case Permanent(code) if code == NOT_FOUND:
            return "gone"
        case _:
            return "unknown"


def settles_destroy(outcome: Outcome[None]) -> bool:
    """Return whether a destroy is complete: executed now, or there was nothing."""
    return isinstance(outcome, Ok) or (isinstance(outcome, Permanent) and outcome.code == NOT_FOUND)


def verify_ours(machine: Machine, spec: MachineSpec) -> Outcome[Machine]:
    """Return the machine if it belongs to this instance and sandbox, else a `collision`.

    The epoch may differ: an earlier incarnation of ours is ours, and is updated after adoption.
    """
    labels = machine.labels
    if (
        labels.get(LABEL_SANDBOX) == spec.sandbox_id
        and labels.get(LABEL_INSTANCE) == spec.instance_id
    ):
        return Ok(machine)
    message = f"machine {machine.id} holds the name {spec.name!r} but is not of this instance"
    return Conflict(COLLISION, message, machine.id)


def judge_wait(
    answer: Outcome[Machine], *, state: WaitableState, incarnation: str
) -> Outcome[Machine] | None:
    """Return a wait's answer for an observed state, or None to go on waiting."""
    if not isinstance(answer, Ok):
        gone = isinstance(answer, Permanent) and answer.code == NOT_FOUND
        if gone and state == "destroyed":
            return Ok(Machine(id="", name="", state="destroyed"))
        return answer
    machine = answer.value
    if incarnation and machine.incarnation != incarnation and state != "destroyed":
        text = f"{machine.id} is now incarnation {machine.incarnation}, not {incarnation}"
        return Conflict(CONFLICT, text)
    if machine.state == state:
        return Ok(machine)
    if machine.state in _HOPELESS_STATES and state != "destroyed":
        return Conflict(CONFLICT, f"{machine.id} is {machine.state} and will not be {state}")
    return None
