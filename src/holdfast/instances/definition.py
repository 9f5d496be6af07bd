"""The instance as a kind of actor: the functions of this package, bundled for the engine.

The begin of an aim and its first call are one action of one tick, so that a start needs only one
commit before the cloud is called. This module contains no rules of its own.
"""

from __future__ import annotations

from functools import partial
from typing import Any, Final

from msgspec.structs import replace

from holdfast.actors.definition import (
    SELF,
    Applied,
    At,
    Claim,
    Definition,
    EffectCall,
    Letter,
    Probe,
    ProbeAnswer,
    Work,
)
from holdfast.actors.ports import arrival_of
from holdfast.instances import actions, events, ports, towns
from holdfast.instances.apply import MACHINE_SCOPE, NAME_SCOPE, SANDBOX_SCOPE, apply
from holdfast.instances.invariants import INVARIANTS
from holdfast.instances.policy import Policy, decode_policy, encode_policy
from holdfast.instances.reconcile import Hold, deadline, decide, reconcile
from holdfast.instances.state import (
    Instance,
    claim_lost,
    decode_state,
    empty,
    encode_state,
    exists,
    machine_key,
)
from holdfast.instances.views import views
from holdfast.kernel.ids import Address, address
from holdfast.kernel.outcome import Conflict, Ok, Outcome, Permanent
from holdfast.letters.instances import NODE, PAIRING, InstanceDestroyed
from holdfast.letters.spend import SENDER, SpendCrossed, fields_of
from holdfast.letters.towns import TOWN, AgentsHosted
from holdfast.wire.consent import node_of_instance

KIND: Final = "instance"
NOT_FOUND: Final = "not_found"

_MAY_BE_LATE: Final = (
    events.MachineCreated
    | events.MachineAdopted
    | events.MachineUpdated
    | events.MachineStarted
    | events.CallFailed
)
"""Outcomes of a call whose earlier tries may bring a machine up after it is over."""


def act(state: Instance, action: actions.Action, policy: Policy, at: At) -> Work:
    """Return the intents and effects of an action, with those that follow from it at once.

    One that begins an aim has its first call, and one that pauses has the stop.
    """
    if isinstance(action, actions.Note):
        return Work(intents=(action.event,), letters=_letters(state, action.event))
    if isinstance(action, actions.TellTowns):
        return Work(intents=(action.told,), letters=towns.letters(state, action.told.absence))
    if isinstance(action, actions.KeepBudget):
        intents = action.events
    elif isinstance(action, actions.Begin):
        intents = (actions.begun(state, action, state.epoch + 1),)
    else:
        return actions.call(state, action, policy, at)
    begun = state
    for intent in intents:
        begun = _folded(begun, intent, at)
    following = decide(begun, policy, at.now_ms)
    again = actions.KeepBudget if isinstance(action, actions.KeepBudget) else actions.Begin
    if isinstance(following, Hold | again):
        return Work(intents=intents)
    work = act(begun, following, policy, at)
    return Work(intents=intents + work.intents, effects=work.effects, letters=work.letters)


def _letters(state: Instance, event: events.Intent) -> tuple[Letter, ...]:
    """Return the letters that an intent sends: an instance's pairing and consent end with it."""
    if not isinstance(event, events.DestroyFinished):
        return ()
    letter = InstanceDestroyed(account=state.account)
    return (
        Letter(to=address(PAIRING, state.id), body=letter),
        Letter(to=address(NODE, node_of_instance(state.account, state.id)), body=letter),
        *towns.letters(state, "destroyed"),
    )


def _folded(state: Instance, intent: events.Intent, at: At) -> Instance:
    verdict = apply(state, intent, at)
    if not isinstance(verdict, Applied):
        message = f"intent {type(intent).__name__} was not applied: {verdict}"
        raise TypeError(message)
    folded: Instance = verdict.state
    return folded


def claims(state: Instance) -> frozenset[Claim]:
    """Return the names that no other instance may hold."""
    if not exists(state):
        return frozenset()
    held = {
        Claim(NAME_SCOPE, f"{state.account}/{state.name}"),
        Claim(SANDBOX_SCOPE, state.sandbox_id),
    }
    if state.machine.id and not claim_lost(
        state, MACHINE_SCOPE, machine_key(state, state.machine.id)
    ):
        held.add(Claim(MACHINE_SCOPE, machine_key(state, state.machine.id)))
    return frozenset(held)


def probes(state: Instance, policy: Policy) -> tuple[Probe, ...]:
    """Return the one standing look: at the machine, or for one where none is known."""
    if not exists(state) or state.desired == "destroyed":
        return ()
    body: ports.Body
    if state.machine.id:
        key, body = f"machine/{state.machine.id}", ports.DescribeCall(0, state.machine.id)
    else:
        key, body = "find", ports.FindCall(0, state.id, state.sandbox_id)
    return (
        Probe(
            key=key,
            provider=state.provider,
            body=body,
            period_ms=policy.daily_look_ms,
            epoch=state.epoch,
        ),
    )


def wanted(state: Instance, call: EffectCall, _now_ms: int) -> bool:
    """Return whether a call is still the one under way, of the present epoch."""
    return (
        state.epoch == call.epoch and state.job is not None and state.job.serial == call.body.serial
    )


def settle(call: EffectCall, outcome: Outcome[Any]) -> events.Event:
    """Return the event that the outcome of a call is."""
    event = _event(call.body, call.epoch, outcome)
    if call.attempt > 1 and isinstance(event, _MAY_BE_LATE):
        return replace(event, repeated=True)
    return event


def probed(answer: ProbeAnswer) -> events.Event:
    """Return the event that a probe's new answer is."""
    _, _, machine_id = answer.key.partition("/")
    body: ports.Body = ports.DescribeCall(0, machine_id)
    if not machine_id:
        body = ports.FindCall(0, "", "")
    return _event(body, answer.epoch, answer.outcome)


def _event(body: ports.Body, epoch: int, outcome: Outcome[Any]) -> events.Event:
    """Return the event of an outcome."""
    serial = body.serial
    if isinstance(outcome, Ok):
        return _good(body, epoch, outcome.value)
    if isinstance(outcome, Permanent) and outcome.code == NOT_FOUND:
        match body:
            case ports.DestroyCall(machine_id=machine_id):
                return events.MachineDestroyed(serial, epoch, machine_id, missing=True)
            case ports.VolumeCall(volume_id=volume_id) if volume_id:
                return events.VolumeMissing(serial, epoch, volume_id)
            case (
                ports.UpdateCall(machine_id=machine_id)
                | ports.StartCall(machine_id=machine_id)
                | ports.WaitCall(machine_id=machine_id)
                | ports.DescribeCall(machine_id=machine_id)
                | ports.StopCall(machine_id=machine_id)
                | ports.HandOverCall(machine_id=machine_id)
            ):
                return events.MachineMissing(serial, epoch, machine_id)
            case _:
                pass
    kind: Any = {Permanent: "permanent", Conflict: "conflict"}.get(type(outcome), "retryable")
    wait_ms = getattr(outcome, "retry_after_ms", None) or 0
    step = ports.step_of(body)
    return events.CallFailed(serial, epoch, step, kind, outcome.code, outcome.message, wait_ms)


def _good(body: ports.Body, epoch: int, value: Any) -> events.Event:
    """Return what a call that succeeded has made, seen or removed."""
    serial = body.serial
    match body, value:
        case ports.FindCall(), ports.Listed(machines=machines):
            return events.MachinesFound(serial, epoch, machines)
        case ports.DestroyCall(machine_id=machine_id), ports.Destroyed():
            return events.MachineDestroyed(serial, epoch, machine_id)
        case ports.VolumeCall(), ports.VolumeFound(id=volume_id, region=region):
            return events.VolumeSeen(serial, epoch, volume_id, region)
        case ports.DestroyVolumeCall(), ports.Destroyed():
            return events.VolumeDestroyed(serial, epoch)
        case ports.CreateCall(launch=launch), ports.Made(machine=seen, adopted=adopted):
            if adopted:
                return events.MachineAdopted(serial, epoch, seen)
            return events.MachineCreated(
                serial, epoch, seen, launch.config_version,
                key_hash=launch.key_hash, token_version=launch.token_version,
            )  # fmt: skip
        case ports.MintCall(), ports.Minted():
            return events.KeyMinted(
                serial=serial, epoch=epoch, key_hash=value.key_hash,
                sealed_key=value.sealed_key, expires_ms=value.expires_ms,
            )  # fmt: skip
        case ports.HandOverCall(launch=launch), ports.HandedOver():
            return events.SecretsHandedOver(
                serial=serial, epoch=epoch, key_hash=launch.key_hash,
                token_version=launch.token_version, stored=value.stored, pushed=value.pushed,
            )  # fmt: skip
        case _, ports.Seen():
            return _moved(body, epoch, value)
        case _:
            message = f"{type(body).__name__} was answered with {type(value).__name__}"
            raise TypeError(message)


def _moved(body: ports.Body, epoch: int, seen: ports.Seen) -> events.Event:
    """Return what a call to the bound machine has shown of it."""
    match body:
        case ports.UpdateCall(serial=serial, launch=launch):
            return events.MachineUpdated(
                serial, epoch, seen, launch.config_version,
                key_hash=launch.key_hash, token_version=launch.token_version,
            )  # fmt: skip
        case ports.StartCall(serial=serial):
            return events.MachineStarted(serial, epoch, seen)
        case ports.StopCall(serial=serial):
            return events.MachineStopped(serial, epoch, seen)
        case _:
            return events.MachineDescribed(body.serial, epoch, seen)


def received(sender: Address, letter: Letter) -> events.Event:
    """Return the event of a letter; raise ValueError for an unsupported one."""
    match letter.body:
        case SpendCrossed(account=account) as said if sender == address(
            SENDER, node_of_instance(account, letter.to.id)
        ):
            return events.SpendReported(**fields_of(said))
        case AgentsHosted(account=account, hosted=hosted, destroyed=destroyed) if (
            sender.kind == TOWN
        ):
            return events.AgentsHosted(
                town=sender.id, account=account, hosted=hosted, destroyed=destroyed
            )
        case other:
            message = f"{sender} may not write {type(other).__name__} to {letter.to}"
            raise ValueError(message)


def lost(claim: Claim) -> events.Event:
    """Return the event that a lost claim is."""
    return events.ClaimLost(claim.scope, claim.key)


def entity(state: Instance, _key: str) -> bytes | None:
    """Return what the state's hash is taken of; an instance that never was has none.

    Incidents, and since when its status is what it is, are left out: nothing is decided by them,
    and a plane that did not keep them yet left ticks whose hashes must be met again.
    """
    if state == empty(state.id):
        return None
    return encode_state(replace(state, health_ms=0, incidents=()))


def with_volumes(policy: Policy, *providers: str) -> Policy:
    """Return the policy with these providers' machines having volumes."""
    return replace(policy, volumes=tuple(sorted(providers)))


INSTANCE: Final[Definition[Instance, events.Event, actions.Action, Policy]] = Definition(
    kind=KIND,
    found_at="holdfast.instances.definition:INSTANCE",
    version=events.EVENT_VERSION,
    empty=empty,
    encode_state=encode_state,
    decode_state=decode_state,
    encode_event=events.encode_event,
    decode_event=events.decode_event,
    apply=apply,
    reconcile=reconcile,
    found=actions.found,
    act=act,
    deadline=deadline,
    exists=exists,
    account=lambda state: state.account,
    views=views,
    entity=entity,
    entities=lambda _state: (SELF,),
    claims=claims,
    probes=probes,
    invariants=INVARIANTS,
    encode_effect=ports.encode_body,
    decode_effect=ports.decode_body,
    wanted=wanted,
    settle=settle,
    probed=probed,
    claim_lost=lost,
    received=received,
    encode_policy=encode_policy,
    decode_policy=decode_policy,
)

arrival: Final = partial(arrival_of, INSTANCE)
