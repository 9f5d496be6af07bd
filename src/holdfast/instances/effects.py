"""Carries out what an instance's rules decided, by asking a cloud.

Each call is complete in itself and its outcome is a value: this module looks at no state and
changes none. Secrets are opened here, at the moment of a launch, and sealed again under the
machine's own key; they are in no log, no outcome and no exception. A listing is believed only
where the source of truth agrees, because listings lag.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any, Final

from holdfast.actors.definition import EffectCall
from holdfast.actors.probing import ProbeCall
from holdfast.instances import ports
from holdfast.instances.environment import Platform, compose
from holdfast.instances.ports import Context, Destroyed, Listed, Made, Seen, VolumeFound
from holdfast.kernel.clock import SECOND_MS
from holdfast.kernel.outcome import Conflict, Ok, Outcome, Permanent, Retryable
from holdfast.kernel.secret import Secret
from holdfast.wire.controller.identity import derived_token, gateway_token, key_hash
from holdfast.world.clouds.adoption import adopt, best_candidate
from holdfast.world.clouds.port import (
    INVALID,
    LABEL_ACCOUNT,
    LABEL_AGENT,
    LABEL_EPOCH,
    LABEL_INSTANCE,
    LABEL_SANDBOX,
    NAME_TAKEN,
    NOT_FOUND,
    TRANSIENT,
    Cloud,
    Machine,
    MachineSpec,
    Size,
    VolumeSpec,
)
from holdfast.world.clouds.regions import create_volume_walking, order_regions, volume_name

KEY_NAME: Final = "HOLDFAST_API_KEY"
"""The name that a sealed API key is bound to."""

_DEAD: Final = frozenset({"destroying", "destroyed"})
_CREATE_TIMEOUT_MS: Final = 45 * SECOND_MS


class CloudCalls:
    """One cloud as the instances placed there see it: `execute` for effects, `look` for probes."""

    def __init__(
        self,
        cloud: Cloud,
        *,
        sealer: ports.Sealer,
        platform: Platform,
        token_secret: Secret,
        mint: ports.KeyMint,
        holders: ports.Holders,
        create_timeout_ms: int = _CREATE_TIMEOUT_MS,
    ) -> None:
        """Ask `cloud`; a machine's tokens derive from `token_secret`, its keys from `mint`.

        `holders` are handed new secrets while they run.
        """
        self._cloud = cloud
        self._sealer = sealer
        self._platform = platform
        self._token_secret = token_secret
        self._mint = mint
        self._holders = holders
        self._create_timeout_ms = create_timeout_ms

    async def execute(self, call: EffectCall) -> Outcome[Any]:
        """Carry out one effect; an unknown body is a bug and raises TypeError."""
        match call.body:
            case ports.CreateCall(launch=launch):
                return await self._create(launch, call.key)
            case ports.UpdateCall(machine_id=machine_id, launch=launch):
                return await self._update(machine_id, launch)
            case ports.MintCall():
                return await self._make_key(call.body)
            case ports.HandOverCall():
                return await self._hand_over(call.body)
            case ports.VolumeCall():
                return await self._volume(call.body, call.key)
            case ports.DestroyVolumeCall():
                return await self._destroy_volumes(call.body)
            case ports.DestroyCall(machine_id=machine_id):
                destroyed = await self._cloud.destroy(machine_id)
                return Ok(Destroyed()) if isinstance(destroyed, Ok) else destroyed
            case _:
                return await self._machine_call(call.body)

    async def look(self, probe: ProbeCall) -> Outcome[Any]:
        """Answer one standing question."""
        return await self._machine_call(probe.body)

    async def _machine_call(self, body: Any) -> Outcome[Any]:
        """Describe a machine, or order it to start or stop."""
        cloud = self._cloud
        match body:
            case ports.FindCall(instance_id=instance, sandbox_id=sandbox):
                return await self._find(instance, sandbox)
            case ports.DescribeCall(machine_id=machine_id):
                return _seen(await cloud.describe(machine_id))
            case ports.StartCall(machine_id=machine_id):
                return _seen(await cloud.start(machine_id))
            case ports.StopCall(machine_id=machine_id, grace_ms=grace_ms):
                return _seen(await cloud.stop(machine_id, grace_ms=grace_ms))
            case ports.WaitCall():
                return _seen(
                    await cloud.wait(
                        body.machine_id,
                        state=body.state,
                        incarnation=body.incarnation,
                        timeout_ms=body.timeout_ms,
                    )
                )
            case _:
                message = f"{type(body).__name__} is not a call to a cloud"
                raise TypeError(message)

    async def _find(self, instance_id: str, sandbox_id: str) -> Outcome[Listed]:
        """Return our living machines, the best first, each as the source of truth describes it.

        If a listed machine is missing in the source of truth, one of the two lags or is wrong. Then
        the result is not conclusive, and the call is repeated later.
        """
        listed = await self._cloud.find({LABEL_SANDBOX: sandbox_id, LABEL_INSTANCE: instance_id})
        if not isinstance(listed, Ok):
            return listed
        living: list[Machine] = []
        for row in listed.value:
            described = await self._cloud.describe(row.id)
            if isinstance(described, Ok):
                if described.value.state not in _DEAD:
                    living.append(described.value)
            elif isinstance(described, Permanent) and described.code == NOT_FOUND:
                if row.state not in _DEAD:
                    return Retryable(TRANSIENT, f"machine {row.id} is listed but not there")
            else:
                return described
        return Ok(Listed(seen_best_first(living)))

    async def _create(self, launch: ports.Launch, key: str) -> Outcome[Made]:
        spec = self._spec(launch)
        if isinstance(spec, Permanent):
            return spec
        created = await self._cloud.create(
            spec, idempotency_key=key, timeout_ms=self._create_timeout_ms
        )
        if isinstance(created, Conflict) and created.code == NAME_TAKEN:
            adopted = await adopt(self._cloud, spec, holder=created.holder)
            if isinstance(adopted, Permanent) and adopted.code == NOT_FOUND:
                return Retryable(TRANSIENT, "the name is taken by a machine that is not there")
            return (
                Ok(Made(_machine(adopted.value), adopted=True))
                if isinstance(adopted, Ok)
                else adopted
            )
        return Ok(Made(_machine(created.value))) if isinstance(created, Ok) else created

    async def _update(self, machine_id: str, launch: ports.Launch) -> Outcome[Seen]:
        spec = self._spec(launch)
        if isinstance(spec, Permanent):
            return spec
        return _seen(await self._cloud.update(machine_id, spec))

    def _spec(self, launch: ports.Launch) -> MachineSpec | Permanent:
        """Return the spec of the machine to launch, its secrets sealed with the machine's key."""
        account, instance = launch.account, launch.instance_id
        try:
            secrets = {
                name: self._sealer.open(sealed, Context(account, instance, name))
                for name, sealed in launch.secrets.items()
            }
            api_key = self._sealer.open(launch.sealed_key, Context(account, instance, KEY_NAME))
        except ports.UnsealError as error:
            return Permanent(INVALID, f"a secret does not open: {error}")
        tokens = self._tokens(launch)
        environment = compose(
            launch,
            self._platform,
            secrets=secrets,
            api_key=api_key,
            gateway_token=tokens.gateway_token,
            proxy_token=tokens.proxy_token,
            agent_token=derived_token(
                self._token_secret.reveal(),
                "agent",
                launch.sandbox_id,
                version=launch.token_version,
            ),
        )
        key = self._sealer.env_key(instance)
        return MachineSpec(
            name=launch.sandbox_id,
            instance_id=instance,
            sandbox_id=launch.sandbox_id,
            account_id=account,
            epoch=launch.epoch,
            agent=launch.agent,
            size=Size(cpus=launch.cpus, memory_mb=launch.memory_mb, cpu_kind=launch.cpu_kind),
            region=launch.region,
            labels={LABEL_ACCOUNT: account, LABEL_AGENT: launch.agent},
            env=environment.plain,
            sealed={
                name: self._sealer.seal_env(value, key)
                for name, value in environment.sensitive.items()
            },
            volume_id=launch.volume_id or None,
        )

    def _tokens(self, launch: ports.Launch) -> ports.Secrets:
        """Return the tokens of a launch."""
        secret, sandbox, version = (
            self._token_secret.reveal(),
            launch.sandbox_id,
            launch.token_version,
        )
        return ports.Secrets(
            gateway_token=gateway_token(secret, sandbox, version=version),
            proxy_token=derived_token(secret, "proxy", sandbox, version=version),
        )

    async def _make_key(self, body: ports.MintCall) -> Outcome[ports.Minted]:
        """Make a key within its time limit, after which the mint is cancelled."""
        try:
            async with asyncio.timeout(body.timeout_ms / SECOND_MS):
                api_key, expires_ms = await self._mint.mint(body.instance_id, body.account)
        except TimeoutError:
            return Retryable("mint_timeout", f"no key was made within {body.timeout_ms} ms")
        except OSError as error:
            return Retryable("mint_failed", f"no key was made: {type(error).__name__}")
        context = Context(body.account, body.instance_id, KEY_NAME)
        return Ok(ports.Minted(key_hash(api_key), self._sealer.seal(api_key, context), expires_ms))

    async def _hand_over(self, body: ports.HandOverCall) -> Outcome[ports.HandedOver]:
        """Store the secrets for the next start and hand them to the running controller."""
        launch = body.launch
        spec = self._spec(launch)
        if isinstance(spec, Permanent):
            return spec
        context = Context(launch.account, launch.instance_id, KEY_NAME)
        api_key = self._sealer.open(launch.sealed_key, context)
        stored = await self._cloud.store(body.machine_id, spec)
        if isinstance(stored, Permanent) and stored.code == NOT_FOUND:
            return stored
        handed = self._tokens(launch) if body.with_tokens else ports.Secrets()
        if body.with_key:
            handed = handed._replace(api_key=api_key)
        refused = await self._holders.tell(launch.instance_id, handed, overlap_ms=body.overlap_ms)
        if isinstance(stored, Ok) or not refused:
            return Ok(ports.HandedOver(stored=isinstance(stored, Ok), pushed=not refused))
        return Retryable("undelivered", f"{stored.message}; {refused}")

    async def _volume(self, body: ports.VolumeCall, key: str) -> Outcome[VolumeFound]:
        """Describe the known volume; without one take that of our name, else create it."""
        if body.volume_id:
            described = await self._cloud.describe_volume(body.volume_id)
            if not isinstance(described, Ok):
                return described
            volume = described.value
            if volume.state in {"pending_destroy", "destroying", "destroyed"}:
                return Permanent(NOT_FOUND, f"volume {volume.id} is {volume.state}")
            return Ok(VolumeFound(volume.id, volume.region))
        name = volume_name(body.sandbox_id)
        found = await self._cloud.find_volumes(name)
        if not isinstance(found, Ok):
            return found
        for volume in found.value:
            if volume.state in {"created", "attached", "detached"}:
                return Ok(VolumeFound(volume.id, volume.region))
        known = self._cloud.capabilities.regions
        regions = (body.region,) if body.region else order_regions(known, body.sandbox_id)
        created = await create_volume_walking(
            self._cloud,
            VolumeSpec(name=name),
            regions or ("",),
            idempotency_key=key,
            timeout_ms=self._create_timeout_ms,
        )
        if not isinstance(created, Ok):
            return created
        return Ok(VolumeFound(created.value.id, created.value.region))

    async def _destroy_volumes(self, body: ports.DestroyVolumeCall) -> Outcome[Destroyed]:
        """Destroy the known volume and any other of this sandbox's own, whole-hash name."""
        found = await self._cloud.find_volumes(volume_name(body.sandbox_id))
        if not isinstance(found, Ok):
            return found
        listed = [volume.id for volume in found.value]
        for volume_id in dict.fromkeys((*filter(None, (body.volume_id,)), *listed)):
            gone = await self._cloud.destroy_volume(volume_id)
            if isinstance(gone, Ok):
                continue
            if isinstance(gone, Permanent) and gone.code == NOT_FOUND:
                if volume_id not in listed:
                    continue
                # A listing that lags or an answer that lies: it is over when neither shows it.
                return Retryable(TRANSIENT, f"volume {volume_id} is listed but not there")
            if isinstance(gone, Conflict):
                return Retryable(TRANSIENT, f"volume {volume_id}: {gone.message}")
            return gone
        return Ok(Destroyed())


def seen_best_first(machines: Iterable[Machine]) -> tuple[Seen, ...]:
    """Return what is seen of living machines, the best to take over first."""
    ordered: list[Seen] = []
    rest = list(machines)
    while (best := best_candidate(rest)) is not None:
        ordered.append(_machine(best))
        rest.remove(best)
    return tuple(ordered)


def _seen(outcome: Outcome[Machine]) -> Outcome[Seen]:
    """Return the machine as the cloud describes it, without what changes by itself."""
    return Ok(_machine(outcome.value)) if isinstance(outcome, Ok) else outcome


def _machine(machine: Machine) -> Seen:
    epoch = machine.labels.get(LABEL_EPOCH, "")
    return Seen(
        id=machine.id,
        state=machine.state,
        region=machine.region,
        incarnation=machine.incarnation,
        epoch=int(epoch) if epoch.isdecimal() else 0,
        volume_id=machine.volume_id or "",
    )
