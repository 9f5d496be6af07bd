"""The Fly cloud: the port's calls as calls of Fly's Machines API.

It keeps nothing that a restart would miss: the app follows from the sandbox, and ids name their
app. A call consists of several requests within one time limit, each of which may be lost after it
was executed; the next try finds what the last one made by its unique name. docs/fly-cloud.md says
what is sent. It must never answer `not_found` for what it could not look at.
"""

from __future__ import annotations

import asyncio
from typing import Final, TypeVar

from msgspec import Struct

from holdfast.kernel.clock import SECOND_MS, Clock
from holdfast.kernel.outcome import Conflict, Failure, Ok, Outcome, Permanent, Retryable
from holdfast.world.clouds.fly.apps import FlyApps
from holdfast.world.clouds.fly.client import (
    ACTIONS_BURST,
    ACTIONS_PER_S,
    READ,
    READS_BURST,
    READS_PER_S,
    Call,
    FlyClient,
)
from holdfast.world.clouds.fly.messages import (
    Config,
    CreateMachine,
    CreateVolume,
    Done,
    Exec,
    Executed,
    SeenMachine,
    SeenVolume,
    StopMachine,
    UpdateMachine,
)
from holdfast.world.clouds.fly.names import Id, app_of, app_of_volume, parse_id
from holdfast.world.clouds.fly.translate import (
    RESERVED_LABELS,
    config_of,
    event_lines,
    guest_of,
    machine_of,
    volume_of,
)
from holdfast.world.clouds.port import (
    CONFLICT,
    EXEC_OUTPUT_BYTES_MAX,
    INVALID,
    LABEL_SANDBOX,
    LOG_LINES_MAX,
    NAME_TAKEN,
    NOT_FOUND,
    TRANSIENT,
    WAIT_MS_MAX,
    WAIT_TIMEOUT,
    Capabilities,
    Execution,
    Machine,
    MachineSpec,
    Volume,
    VolumeSpec,
    WaitableState,
    judge_wait,
)
from holdfast.world.clouds.spec import EnvKeys, refusal

T = TypeVar("T")

CALL_MS: Final = 30_000
"""Time limit of a call whose caller has none, in milliseconds."""
MARGIN_MS: Final = 10_000
"""What an answer may take beyond the time that it was asked to wait for, in milliseconds."""
POLL_S: Final = 15
"""Seconds of one long poll for a state."""
LISTINGS_MAX: Final = 16
"""Apps whose machines are listed at once."""
FIND_ALL_MS: Final = 300_000
"""Time limit of a listing of the whole organisation, in milliseconds."""

_UP: Final = frozenset({"created", "starting", "started", "replacing", "updating"})
_DOWN: Final = frozenset({"stopping", "stopped", "failed", "suspended"})


class Options(Struct, frozen=True, kw_only=True):
    """What every machine of a plane has in common: its image, and where it may be."""

    image: str
    regions: tuple[str, ...] = ("eu", "us")


class FlyCloud:
    """Machines at Fly, in one organisation."""

    def __init__(
        self,
        client: FlyClient,
        *,
        org: str,
        prefix: str,
        options: Options,
        clock: Clock,
        keys: EnvKeys,
    ) -> None:
        """Send by `client`; names of apps begin with `prefix`."""
        self._client = client
        self._prefix = prefix
        self._options = options
        self._clock = clock
        self._keys = keys
        self._apps = FlyApps(client, org=org, prefix=prefix)
        self._capabilities = Capabilities(
            kind="fly",
            isolation="each agent has a virtual machine and a private network of its own",
            forks=True,
            regions=options.regions,
            more_regions=True,
            routes_by_id=True,
            sizes=True,
            call_per_s=ACTIONS_PER_S,
            call_burst=ACTIONS_BURST,
            read_per_s=READS_PER_S,
            read_burst=READS_BURST,
        )

    @property
    def capabilities(self) -> Capabilities:
        """Return Fly's features."""
        return self._capabilities

    async def check(self) -> Outcome[int]:
        """Return how many apps are ours: the token is valid, and the organisation is reached."""
        listed = await self._apps.listed(deadline_ms=self._client.deadline(CALL_MS))
        return Ok(len(listed.value)) if isinstance(listed, Ok) else listed

    # ----------------------------------------------------------------- machines

    async def create(
        self, spec: MachineSpec, *, idempotency_key: str, timeout_ms: int
    ) -> Outcome[Machine]:
        """Create and launch; the name is the only idempotency, the key is not sent."""
        del idempotency_key
        deadline_ms = self._client.deadline(timeout_ms)
        app = app_of(self._prefix, spec.sandbox_id)
        refused = _check(spec, app)
        if refused is not None:
            return refused
        ensured = await self._apps.ensure(app, deadline_ms=deadline_ms)
        if not isinstance(ensured, Ok):
            return ensured
        version = await self._key_version(spec, app, deadline_ms)
        if not isinstance(version, Ok):
            return version
        body = CreateMachine(
            name=spec.name,
            region=spec.region,
            config=self._config(spec, app),
            min_secrets_version=version.value,
        )
        call = Call("create machine", app, "POST", ("apps", app, "machines"), body=body)
        made = await self._client.call(call, SeenMachine, deadline_ms=deadline_ms)
        if isinstance(made, Conflict) and made.code == NAME_TAKEN and made.holder is not None:
            return Conflict(NAME_TAKEN, made.message, str(Id(app, made.holder)))
        return _machine(app, made)

    async def describe(self, machine_id: str) -> Outcome[Machine]:
        """Return the machine as it is now."""
        return await self._describe(machine_id, self._client.deadline(CALL_MS))

    async def find(self, labels: dict[str, str]) -> Outcome[tuple[Machine, ...]]:
        """Return the listing of the sandbox's app; without a sandbox, of every app of ours."""
        sandbox = labels.get(LABEL_SANDBOX)
        if sandbox is not None:
            deadline_ms = self._client.deadline(CALL_MS)
            return await self._find_in(app_of(self._prefix, sandbox), labels, deadline_ms)
        deadline_ms = self._client.deadline(FIND_ALL_MS)
        apps = await self._apps.listed(deadline_ms=deadline_ms)
        if not isinstance(apps, Ok):
            return apps
        turns = asyncio.Semaphore(LISTINGS_MAX)

        async def one(app: str) -> Outcome[tuple[Machine, ...]]:
            async with turns:
                return await self._find_in(app, labels, deadline_ms)

        found: list[Machine] = []
        for outcome in await asyncio.gather(*map(one, apps.value)):
            if not isinstance(outcome, Ok):
                return outcome
            found.extend(outcome.value)
        return Ok(tuple(found))

    async def start(self, machine_id: str) -> Outcome[Machine]:
        """Start a machine that is down; one that is up already is no failure."""
        return await self._order("start", machine_id, None, reached=_UP)

    async def stop(self, machine_id: str, *, grace_ms: int) -> Outcome[Machine]:
        """Send SIGTERM; Fly kills it after the grace, in whole seconds."""
        body = StopMachine(signal="SIGTERM", timeout=f"{_seconds(grace_ms)}s")
        return await self._order("stop", machine_id, body, reached=_DOWN)

    async def update(self, machine_id: str, spec: MachineSpec) -> Outcome[Machine]:
        """Replace the configuration and launch."""
        return await self._update(machine_id, spec, skip_launch=False)

    async def store(self, machine_id: str, spec: MachineSpec) -> Outcome[Machine]:
        """Replace the configuration for the next start."""
        return await self._update(machine_id, spec, skip_launch=True)

    async def wait(
        self, machine_id: str, *, state: WaitableState, incarnation: str, timeout_ms: int
    ) -> Outcome[Machine]:
        """Wait until this incarnation is in `state`, at most 60 s, by Fly's own long poll."""
        deadline_ms = self._client.deadline(min(timeout_ms, WAIT_MS_MAX))
        where = parse_id(machine_id)
        if where is not None and incarnation:  # else its description says what to wait for
            failed = await self._poll(where, state, incarnation, timeout_ms)
            if failed is not None:
                return failed
        while True:
            seen = await self.describe(machine_id)
            judged = judge_wait(seen, state=state, incarnation=incarnation)
            if judged is not None:
                return judged
            left_ms = deadline_ms - self._clock.steady_ms()
            if left_ms <= 0 or where is None or not isinstance(seen, Ok):
                return Retryable(WAIT_TIMEOUT, f"{machine_id} is not {state} yet")
            failed = await self._poll(where, state, incarnation or seen.value.incarnation, left_ms)
            if failed is not None:
                return failed

    async def _poll(
        self, where: Id, state: WaitableState, incarnation: str, left_ms: float
    ) -> Failure | None:
        """Wait for a state at Fly; return a failure after which looking again is of no use.

        A poll is short, because it does not end when the machine fails.
        """
        timeout_s = min(_seconds(left_ms), POLL_S)
        query = (("state", state), ("timeout", str(timeout_s)), ("instance_id", incarnation))
        call = Call("wait", str(where), "GET", (*_path(where), "wait"), query=query)
        limit_ms = self._client.deadline(timeout_s * SECOND_MS + MARGIN_MS)
        waited = await self._client.call(call, Done, deadline_ms=limit_ms)
        return None if isinstance(waited, Ok) or _goes_on(waited) else waited

    async def destroy(self, machine_id: str) -> Outcome[None]:
        """Kill and remove the machine; its volume stays."""
        where = parse_id(machine_id)
        if where is None:
            return _unknown(machine_id)
        query = (("force", "true"),)
        call = Call("delete machine", machine_id, "DELETE", _path(where), query=query)
        return _done(
            await self._client.call(call, Done, deadline_ms=self._client.deadline(CALL_MS))
        )

    async def exec(
        self, machine_id: str, argv: tuple[str, ...], *, timeout_ms: int
    ) -> Outcome[Execution]:
        """Run a command in a started machine."""
        where = parse_id(machine_id)
        if where is None:
            return _unknown(machine_id)
        body = Exec(command=argv, timeout=_seconds(timeout_ms))
        call = Call("exec", machine_id, "POST", (*_path(where), "exec"), body=body)
        limit_ms = self._client.deadline(timeout_ms + MARGIN_MS)
        ran = await self._client.call(call, Executed, deadline_ms=limit_ms)
        return Ok(_execution(ran.value)) if isinstance(ran, Ok) else ran

    async def log_tail(self, machine_id: str, *, lines: int) -> Outcome[tuple[str, ...]]:
        """Return the machine's newest events: its output is not in this API."""
        where = parse_id(machine_id)
        if where is None:
            return _unknown(machine_id)
        seen = await self._seen(where, self._client.deadline(CALL_MS))
        if not isinstance(seen, Ok):
            return seen
        return Ok(event_lines(seen.value, lines=min(lines, LOG_LINES_MAX)))

    # ------------------------------------------------------------------ volumes

    async def create_volume(
        self, spec: VolumeSpec, *, idempotency_key: str, timeout_ms: int
    ) -> Outcome[Volume]:
        """Create or fork a volume in the app of its name's sandbox; the key is not sent."""
        del idempotency_key
        deadline_ms = self._client.deadline(timeout_ms)
        app = app_of_volume(self._prefix, spec.name)
        ensured = await self._apps.ensure(app, deadline_ms=deadline_ms)
        if not isinstance(ensured, Ok):
            return ensured
        source = spec.source_volume_id
        body = CreateVolume(
            name=spec.name,
            region=spec.region,
            size_gb=spec.size_gb if source is None else None,
            compute=guest_of(spec.size_hint) if spec.size_hint is not None else None,
            source_volume_id=None if source is None else _own(source),
        )
        call = Call(
            "create volume", app, "POST", ("apps", app, "volumes"), body=body, subject="volume"
        )
        return _volume(app, await self._client.call(call, SeenVolume, deadline_ms=deadline_ms))

    async def describe_volume(self, volume_id: str) -> Outcome[Volume]:
        """Return the volume as it is now."""
        where = parse_id(volume_id)
        if where is None:
            return _unknown(volume_id)
        call = Call("get volume", volume_id, "GET", _volume_path(where), subject="volume")
        limit_ms = self._client.deadline(CALL_MS)
        return _volume(where.app, await self._client.call(call, SeenVolume, deadline_ms=limit_ms))

    async def find_volumes(self, name: str) -> Outcome[tuple[Volume, ...]]:
        """Return the volumes of this name in the app of its sandbox, the oldest first."""
        app = app_of_volume(self._prefix, name)
        call = Call("list volumes", app, "GET", ("apps", app, "volumes"), subject="volume")
        limit_ms = self._client.deadline(CALL_MS)
        listed = await self._client.call(call, tuple[SeenVolume, ...], deadline_ms=limit_ms)
        if not isinstance(listed, Ok):
            is_absent = isinstance(listed, Permanent) and listed.code == NOT_FOUND
            return Ok(()) if is_absent else listed
        found: list[Volume] = []
        for seen in listed.value:
            volume = _volume(app, Ok(seen))
            if not isinstance(volume, Ok):
                return volume
            if volume.value.name == name and volume.value.state != "destroyed":
                found.append(volume.value)
        return Ok(tuple(sorted(found, key=lambda one: (one.created_at_ms, one.id))))

    async def destroy_volume(self, volume_id: str) -> Outcome[None]:
        """Remove a volume that no machine holds."""
        where = parse_id(volume_id)
        if where is None:
            return _unknown(volume_id)
        call = Call("delete volume", volume_id, "DELETE", _volume_path(where), subject="volume")
        return _done(
            await self._client.call(call, Done, deadline_ms=self._client.deadline(CALL_MS))
        )

    async def close(self) -> None:
        """Close the connections; machines live on."""
        await self._client.close()

    # ------------------------------------------------------------------- within

    async def _key_version(
        self, spec: MachineSpec, app: str, deadline_ms: float
    ) -> Outcome[int | None]:
        """Set the key of a machine's sealed values in its app."""
        key = self._keys(spec) if spec.sealed else None
        if key is None:
            return Ok(None)
        return await self._apps.key_version(app, key, deadline_ms=deadline_ms)

    def _config(self, spec: MachineSpec, app: str) -> Config:
        volume = None if spec.volume_id is None else _own(spec.volume_id)
        return config_of(spec, app=app, image=self._options.image, volume=volume)

    async def _seen(self, where: Id, deadline_ms: float) -> Outcome[SeenMachine]:
        call = Call(READ, str(where), "GET", _path(where))
        return await self._client.call(call, SeenMachine, deadline_ms=deadline_ms)

    async def _describe(self, machine_id: str, deadline_ms: float) -> Outcome[Machine]:
        where = parse_id(machine_id)
        if where is None:
            return _unknown(machine_id)
        return _machine(where.app, await self._seen(where, deadline_ms))

    async def _find_in(
        self, app: str, labels: dict[str, str], deadline_ms: float
    ) -> Outcome[tuple[Machine, ...]]:
        listed = await self._apps.machines(app, labels, deadline_ms=deadline_ms)
        if not isinstance(listed, Ok):
            is_absent = isinstance(listed, Permanent) and listed.code == NOT_FOUND
            return Ok(()) if is_absent else listed
        machines = (machine_of(app, seen) for seen in listed.value)
        return Ok(
            tuple(
                one
                for one in machines
                if one.state != "destroyed" and labels.items() <= one.labels.items()
            )
        )

    async def _order(
        self, verb: str, machine_id: str, body: Struct | None, *, reached: frozenset[str]
    ) -> Outcome[Machine]:
        """Order a machine to start or stop; a refusal is none where it is so already."""
        where = parse_id(machine_id)
        if where is None:
            return _unknown(machine_id)
        deadline_ms = self._client.deadline(CALL_MS)
        call = Call(verb, machine_id, "POST", (*_path(where), verb), body=body)
        ordered = await self._client.call(call, Done, deadline_ms=deadline_ms)
        if not isinstance(ordered, Ok | Conflict):
            return ordered
        seen = await self._describe(machine_id, deadline_ms)
        if (
            isinstance(ordered, Conflict)
            and isinstance(seen, Ok)
            and seen.value.state not in reached
        ):
            return ordered
        return seen

    async def _update(
        self, machine_id: str, spec: MachineSpec, *, skip_launch: bool
    ) -> Outcome[Machine]:
        where = parse_id(machine_id)
        if where is None:
            return _unknown(machine_id)
        refused = _check(spec, where.app)
        if refused is not None:
            return refused
        deadline_ms = self._client.deadline(CALL_MS)
        version = await self._key_version(spec, where.app, deadline_ms)
        if not isinstance(version, Ok):
            return version
        body = UpdateMachine(
            config=self._config(spec, where.app),
            min_secrets_version=version.value,
            skip_launch=skip_launch,
        )
        call = Call("update machine", machine_id, "POST", _path(where), body=body)
        updated = await self._client.call(call, SeenMachine, deadline_ms=deadline_ms)
        return _machine(where.app, updated)


def _check(spec: MachineSpec, app: str) -> Failure | None:
    """Return why Fly could not run this; None if it could."""
    refused = refusal(spec)
    if refused is not None:
        return refused
    reserved = [name for name in spec.labels if name.startswith(RESERVED_LABELS)]
    if reserved:
        return Permanent(INVALID, f"label {reserved[0]!r}: names with {RESERVED_LABELS} are Fly's")
    volume = parse_id(spec.volume_id or "")
    if volume is not None and volume.app != app:
        return Conflict(CONFLICT, f"volume {spec.volume_id} is in another app than {app}")
    return None


def _own(volume_id: str) -> str:
    """Return the id of a volume within its app."""
    where = parse_id(volume_id)
    return where.own if where is not None else volume_id


def _path(where: Id) -> tuple[str, ...]:
    return ("apps", where.app, "machines", where.own)


def _volume_path(where: Id) -> tuple[str, ...]:
    return ("apps", where.app, "volumes", where.own)


def _seconds(ms: float) -> int:
    """Return whole seconds, at least one and none lost."""
    return max(1, -(-int(ms) // SECOND_MS))


def _unknown(thing_id: str) -> Permanent:
    return Permanent(NOT_FOUND, f"{thing_id!r} is no id that this cloud gave out")


def _goes_on(failure: Failure) -> bool:
    """Return whether a failed wait is looked at again: its time is up, or the machine changed."""
    if isinstance(failure, Retryable):
        return failure.code == WAIT_TIMEOUT
    return failure.code in {NOT_FOUND, CONFLICT, INVALID}


def _machine(app: str, outcome: Outcome[SeenMachine]) -> Outcome[Machine]:
    return Ok(machine_of(app, outcome.value)) if isinstance(outcome, Ok) else outcome


def _volume(app: str, outcome: Outcome[SeenVolume]) -> Outcome[Volume]:
    if not isinstance(outcome, Ok):
        return outcome
    volume = volume_of(app, outcome.value)
    if volume is not None:
        return Ok(volume)
    text = f"volume {outcome.value.id} is in a state that is not known"
    return Retryable(TRANSIENT, text)


def _done(outcome: Outcome[Done]) -> Outcome[None]:
    return Ok(None) if isinstance(outcome, Ok) else outcome


def _execution(ran: Executed) -> Execution:
    """Return the result of a command, its streams cut at the limit."""
    stdout, cut = _cut(ran.stdout or "")
    stderr, cut_too = _cut(ran.stderr or "")
    code = -ran.exit_signal if ran.exit_signal else ran.exit_code
    return Execution(exit_code=code, stdout=stdout, stderr=stderr, truncated=cut or cut_too)


def _cut(text: str) -> tuple[str, bool]:
    raw = text.encode()
    if len(raw) <= EXEC_OUTPUT_BYTES_MAX:
        return text, False
    return raw[:EXEC_OUTPUT_BYTES_MAX].decode("utf-8", "ignore"), True
