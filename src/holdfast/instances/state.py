"""The state of one instance: a frozen value, with desired and observed state apart.

`desired` is the requested state, `status` the observed one, `aim` the operation under way. An
`epoch` counts incarnations: it grows with each start, stop, restart and destroy, and every call
to the cloud carries it. `job` is the one call of the present aim that is under way, known by its
`serial`. Secrets are here only sealed. This module never decides and never touches the world.
"""

from __future__ import annotations

from typing import Final, Literal, TypeAlias

import msgspec
from msgspec import Struct

from holdfast.letters.machine import Condition
from holdfast.letters.spend import Meter
from holdfast.wire.budget import Budget

Desired: TypeAlias = Literal["running", "stopped", "destroyed"]
Status: TypeAlias = Literal[
    "absent",
    "provisioned",
    "starting",
    "running",
    "restarting",
    "stopped",
    "destroying",
    "destroyed",
]
Aim: TypeAlias = Literal["", "start", "stop", "restart", "destroy"]
Step: TypeAlias = Literal[
    "find",
    "volume",
    "create",
    "update",
    "start",
    "wait",
    "describe",
    "stop",
    "destroy",
    "destroy_volume",
    "mint",
    "hand_over",
]
Verdict: TypeAlias = Literal["unknown", "here", "gone"]
Heard: TypeAlias = Literal["unknown", "heard", "lost"]

DOWN: Final = frozenset({"created", "stopped", "failed", "suspended"})
"""Provider states in which a machine does not run and will not by itself."""

NO_MACHINE: Final = frozenset({"absent", "destroyed"})
"""Statuses in which there is nothing to look after."""

TRANSIENT_STATUSES: Final = frozenset({"starting", "restarting", "destroying"})

STATE_VERSION: Final = 1

CPUS: Final = 1
MEMORY_MB: Final = 1_024
"""Size of a machine for which nothing was asked, in CPUs and MiB."""


class Job(Struct, frozen=True, gc=False):
    """The call under way; it is given up if it has no outcome at `until_ms`."""

    serial: int
    step: Step
    began_ms: int
    until_ms: int


class PendingCreate(Struct, frozen=True, gc=False):
    """A machine that was requested under `name` and may exist without a confirmation.

    `serial` is that of the call, 0 where the machine was known and is said to be gone.
    """

    name: str
    requested_ms: int
    serial: int = 0


class Fault(Struct, frozen=True, gc=False):
    """The last failure of one operation."""

    code: str
    message: str
    at_ms: int


class Machine(Struct, frozen=True, gc=False, omit_defaults=True):
    """The machine as last seen; `state` is empty when the last thing known may be out of date.

    `epoch` and `config_version` are those with which it was launched, `before` the incarnation
    that the launch replaced: an answer about that one is out of date.
    """

    id: str = ""
    state: str = ""
    incarnation: str = ""
    before: str = ""
    epoch: int = 0
    config_version: int = 0
    seen_ms: int = 0
    region: str = ""


class Config(Struct, frozen=True, gc=False, omit_defaults=True):
    """What the machine is launched with; a secret is a sealed text. It grows `version`.

    `paths` says of custom secrets where the agent's configuration refers to them. `agent_turn`
    counts the orders for a version of the agent.
    """

    version: int = 1
    env: dict[str, str] = {}
    secrets: dict[str, str] = {}
    paths: dict[str, str] = {}
    cpus: int = CPUS
    memory_mb: int = MEMORY_MB
    cpu_kind: Literal["shared", "performance"] = "shared"
    agent_version: str = ""
    model: str = ""
    agent_turn: int = 0


class Credentials(Struct, frozen=True, gc=False, omit_defaults=True):
    """The machine's credentials: hashes of its key, and the number of its tokens.

    The previous of each stays valid until its own expiry, in ms since the epoch. `pending` is a
    key that was made and has not arrived anywhere yet. `live_hash` and `live_token_version` are
    what the running machine has if that is not the present one. `renew_until_ms`, if set, requests
    a new key, after which the old one is valid until then. `doubt_until_ms` is set while it is
    unknown which secrets the machine has: until then it may refuse those delivered to it. `tries`
    counts failures in a row.
    """

    key_hash: str = ""
    sealed_key: str = ""
    key_expires_ms: int = 0
    previous_hash: str = ""
    previous_expires_ms: int = 0
    token_version: int = 1
    previous_token_version: int = 0
    previous_token_expires_ms: int = 0
    pending_hash: str = ""
    pending_sealed: str = ""
    pending_expires_ms: int = 0
    live_hash: str = ""
    live_token_version: int = 0
    renew_until_ms: int = 0
    tries: int = 0
    tried_ms: int = 0
    doubt_until_ms: int = 0


class Contact(Condition, frozen=True, gc=False, omit_defaults=True):
    """The machine's condition as last reported; `looked`: the cloud was asked after a silence.

    The fields of the condition follow these in what is stored, because they are keyword-only.
    """

    heard: Heard = "unknown"
    level: int = 0
    since_ms: int = 0
    looked: bool = False
    silent_restarts: int = 0


class Incident(Struct, frozen=True, gc=False, omit_defaults=True):
    """One outage of an instance that was wanted running.

    `code` and `text` say how it was noticed, at `noticed_ms`. `worst` is the status that hurt most
    since. `back_ms` is since when its agent is ready again, 0 while it is not; `ended_ms` is when
    it was over, because the agent proved itself, or was not wanted any more (`dropped`).
    `restarts`, `launches` and `cuts` are counts at its begin, of the agent's restarts, the
    machine's incarnations and running work that was cut; those with `last_` are the latest ones.
    `repairs` names what was tried.
    """

    number: int
    code: str
    text: str
    noticed_ms: int
    worst: str = ""
    back_ms: int = 0
    ended_ms: int = 0
    dropped: bool = False
    restarts: int = 0
    launches: int = 0
    cuts: int = 0
    last_restarts: int = 0
    last_launches: int = 0
    last_cuts: int = 0
    repairs: tuple[str, ...] = ()


class HostedTown(Struct, frozen=True, gc=False, omit_defaults=True):
    """A town whose agents work on the instance; `told` it was last, `?` is nothing yet."""

    id: str
    told: str = "?"


class Upgrade(Struct, frozen=True, gc=False, kw_only=True, omit_defaults=True):
    """The last order for another version of the agent, from the installation `before` to `after`.

    `turn` is its number, `step` what its machine reported of it last (`VersionChange`), empty until
    then.
    """

    before: str
    after: str
    turn: int
    step: str = ""
    reason: str = ""


class Instance(Struct, frozen=True, gc=False, kw_only=True, omit_defaults=True):
    """One instance. Times are ms since the epoch, 0 for never.

    `sent`: the aim's own command was accepted by the cloud in this epoch, `looked` that
    a listing of this epoch was conclusive, `swept_ms` when one found nothing left to destroy.
    `volume_asked_ms` is when a volume was last asked for that may yet come to light;
    `late_create_ms` and `late_launch_ms` are when a create, an update or a start was last asked
    for that is over here but may yet be done by the cloud.
    `tries` count failures of the present step, `failures` those of whole starts in a row.
    `blocked` is the code of what only a person can put right. `doomed` are machines of ours that
    must go. `ladder_held` is true if the recovery of its agent was stopped by request,
    `ladder_turn` counts the requests to begin it anew. `suspect_ms` is when the machine was last
    reported as possibly down, `twin_ms` when two reported for it. `meters` are the limits of its
    budget as far as they are used up, `budget_turn` counts changes of both. `paused_ms` is since
    when its cap pauses it, with `desired` as it was. `health_ms` is since when its status
    (`instances.health`) is what it is, `incidents` are its last outages, the latest last. `towns`
    are those whose agents work on it. `upgrade` is the last order for another version of its agent.
    `aim_boot` is the boot of the machine that had reported last when the launch began, null in logs
    that do not say so.
    """

    id: str
    account: str = ""
    name: str = ""
    sandbox_id: str = ""
    agent: str = ""
    provider: str = ""
    region: str = ""
    desired: Desired = "stopped"
    status: Status = "absent"
    aim: Aim = ""
    epoch: int = 0
    revision: int = 0
    since_ms: int = 0
    created_ms: int = 0
    started_ms: int = 0
    stopped_ms: int = 0
    ever_started: bool = False
    restart_wanted: bool = False
    ladder_held: bool = False
    ladder_turn: int = 0
    machine: Machine = Machine()
    verdict: Verdict = "unknown"
    pending_create: PendingCreate | None = None
    doomed: tuple[str, ...] = ()
    volume_id: str = ""
    volume_region: str = ""
    volume_checked: bool = False
    volume_swept: bool = False
    volume_tries: int = 0
    volume_asked_ms: int = 0
    late_create_ms: int = 0
    late_launch_ms: int = 0
    looked: bool = False
    looked_ms: int = 0
    swept_ms: int = 0
    sent: bool = False
    job: Job | None = None
    serial: int = 0
    tries: int = 0
    tried_ms: int = 0
    tried_step: str = ""
    try_after_ms: int = 0
    failures: int = 0
    failed_ms: int = 0
    retry_after_ms: int = 0
    down_count: int = 0
    suspect_ms: int = 0
    twin_ms: int = 0
    blocked: str = ""
    faults: dict[str, Fault] = {}
    lost_claims: tuple[tuple[str, str], ...] = ()
    config: Config = Config()
    credentials: Credentials = Credentials()
    contact: Contact = Contact()
    budget: Budget | None = None
    meters: tuple[Meter, ...] = ()
    budget_turn: int = 0
    paused_ms: int = 0
    health_ms: int = 0
    incidents: tuple[Incident, ...] = ()
    towns: tuple[HostedTown, ...] = ()
    upgrade: Upgrade | None = None
    aim_boot: str | None = None


def empty(instance_id: str) -> Instance:
    """Return what is known before the first event: nothing but the id."""
    return Instance(id=instance_id)


def exists(state: Instance) -> bool:
    """Return whether there is anything to look after."""
    return state.status not in NO_MACHINE


TIMES: Final = (
    "since_ms",
    "created_ms",
    "started_ms",
    "stopped_ms",
    "looked_ms",
    "swept_ms",
    "tried_ms",
    "failed_ms",
    "suspect_ms",
    "twin_ms",
    "volume_asked_ms",
    "late_create_ms",
    "late_launch_ms",
    "paused_ms",
)
"""Fields that hold a time at which something was folded."""


def newest_ms(state: Instance) -> int:
    """Return the latest time that the rules measure a wait from, in ms since the epoch."""
    asked, job = state.pending_create, state.job
    return max(
        state.since_ms,
        state.created_ms,
        state.started_ms,
        state.stopped_ms,
        state.looked_ms,
        state.swept_ms,
        state.tried_ms,
        state.failed_ms,
        state.suspect_ms,
        state.twin_ms,
        state.volume_asked_ms,
        state.late_create_ms,
        state.late_launch_ms,
        state.paused_ms,
        max((one.at_ms for one in state.meters), default=0),
        state.machine.seen_ms,
        state.contact.since_ms,
        state.credentials.tried_ms,
        0 if asked is None else asked.requested_ms,
        0 if job is None else job.began_ms,
    )


def may_be_up(state: Instance) -> bool:
    """Return whether a machine may be running: known and not known to be down, or asked for."""
    if state.machine.id:
        return state.machine.state not in DOWN
    return state.pending_create is not None


def may_launch_from(state: Instance) -> int:
    """Return when a call was last asked for that may yet bring a machine up, or 0, in ms."""
    return max(state.late_create_ms, state.late_launch_ms)


def claim_lost(state: Instance, scope: str, key: str) -> bool:
    """Return whether another actor was found to hold this name."""
    return (scope, key) in state.lost_claims


def machine_key(state: Instance, machine_id: str) -> str:
    """Return the key under which a machine is claimed: its id within its provider."""
    return f"{state.provider}/{machine_id}"


_encode = msgspec.json.Encoder(order="deterministic").encode
_decoder = msgspec.json.Decoder(Instance)


def encode_state(state: Instance) -> bytes:
    """Return the state as JSON, the same bytes for the same state."""
    return _encode(state)


def decode_state(body: bytes, version: int) -> Instance:
    """Return a stored state; raise ValueError when it is of a version this code does not know."""
    if version > STATE_VERSION:
        message = f"instance state of version {version}; this code knows {STATE_VERSION}"
        raise ValueError(message)
    return _decoder.decode(body)
