"""The actions that rules may return, and the intents and calls that each one makes.

An action has the name of its rule, the reason as text, and the facts that the rule used. It makes
intents and at most one call, which contains all that its provider needs. Whether an action is right
is decided by the rules, not here.
"""

from __future__ import annotations

from typing import Any, Final, Literal, TypeAlias

from msgspec import Struct

from holdfast.actors.definition import SELF, At, Effect, Work
from holdfast.actors.limits import LANE_RETRY_MS_MAX
from holdfast.instances import events, ports
from holdfast.instances.limits import MINT_MS, OVERLAP_MS_MAX
from holdfast.instances.policy import Policy
from holdfast.instances.state import Instance
from holdfast.kernel.clock import SECOND_MS

MACHINE_LANE: Final = "machine"
"""Calls that change the machine, and looks that must come after them, in order."""

ANSWER_SLACK_MS: Final = 15 * SECOND_MS
"""How much later than its last moment a call's answer may arrive."""


class Expect(Struct, frozen=True, gc=False):
    """What a rule saw."""

    status: str
    aim: str
    epoch: int
    serial: int
    busy: bool


class _Action(Struct, frozen=True, kw_only=True):
    """What every action carries."""

    rule: str
    reason: str
    expect: Expect
    entity: str = SELF


class BeginStart(_Action, frozen=True, kw_only=True):
    """Begin a start under the next epoch."""


class BeginStop(_Action, frozen=True, kw_only=True):
    """Begin a stop under the next epoch."""


class BeginRestart(_Action, frozen=True, kw_only=True):
    """Begin a restart under the next epoch; `silent` if it is because of silence."""

    silent: bool = False


class BeginDestroy(_Action, frozen=True, kw_only=True):
    """Begin the destruction under the next epoch."""


class FindMachines(_Action, frozen=True, kw_only=True):
    """List the machines with our labels."""


class EnsureVolume(_Action, frozen=True, kw_only=True):
    """Look whether the known volume is there, or make one."""


class CreateMachine(_Action, frozen=True, kw_only=True):
    """Create a machine under the instance's unique name."""


class LaunchMachine(_Action, frozen=True, kw_only=True):
    """Give the machine its configuration and launch it."""


class StartMachine(_Action, frozen=True, kw_only=True):
    """Start the machine that has its configuration."""


class WaitForMachine(_Action, frozen=True, kw_only=True):
    """Wait for the machine to reach a state."""

    until: Literal["started", "stopped"]


class DescribeMachine(_Action, frozen=True, kw_only=True):
    """Ask the cloud for the machine's state."""


class StopMachine(_Action, frozen=True, kw_only=True):
    """Stop the machine."""


class DestroyMachine(_Action, frozen=True, kw_only=True):
    """Destroy one machine of ours."""

    machine_id: str


class DestroyVolume(_Action, frozen=True, kw_only=True):
    """Destroy the instance's volume."""


class MintKey(_Action, frozen=True, kw_only=True):
    """Make a new key."""


class HandOver(_Action, frozen=True, kw_only=True):
    """Hand the machine its present secrets while it runs."""


class Note(_Action, frozen=True, kw_only=True):
    """Write down something that needs no call: what settled, ended or ran out of time."""

    event: events.Intent


class KeepBudget(_Action, frozen=True, kw_only=True):
    """Write down alerts of the budget, and begin or end the pause of its cap."""

    events: tuple[events.Intent, ...]


class TellTowns(_Action, frozen=True, kw_only=True):
    """Write to the towns whose agents work on it."""

    told: events.TownsTold


Begin: TypeAlias = BeginStart | BeginStop | BeginRestart | BeginDestroy
Call: TypeAlias = (
    FindMachines
    | EnsureVolume
    | CreateMachine
    | LaunchMachine
    | StartMachine
    | WaitForMachine
    | DescribeMachine
    | StopMachine
    | DestroyMachine
    | DestroyVolume
    | MintKey
    | HandOver
)
Action: TypeAlias = Begin | Call | Note | KeepBudget | TellTowns


def expect_of(state: Instance) -> Expect:
    """Return what a rule sees of a state, to be compared when its action is carried out."""
    return Expect(state.status, state.aim, state.epoch, state.serial, state.job is not None)


def begun(state: Instance, action: Begin, epoch: int) -> events.Intent:
    """Return the intent that a beginning is written down as."""
    match action:
        case BeginStart():
            return events.StartBegun(epoch, boot=state.contact.boot_id)
        case BeginStop():
            return events.StopBegun(epoch)
        case BeginRestart(silent=silent):
            return events.RestartBegun(epoch, silent, boot=state.contact.boot_id)
        case BeginDestroy():
            return events.DestroyBegun(epoch)


def call(state: Instance, action: Call, policy: Policy, at: At) -> Work:
    """Return the intent and the effect of one call to the cloud."""
    serial = state.serial + 1
    body, extra_ms = _body(state, action, policy, serial, at.now_ms)
    valid_until_ms = at.now_ms + policy.call_ms
    until_ms = valid_until_ms + policy.call_ms + extra_ms + LANE_RETRY_MS_MAX + ANSWER_SLACK_MS
    intent: events.Intent
    if isinstance(action, CreateMachine):
        intent = events.MachineCreateBegun(serial, state.sandbox_id, until_ms)
    else:
        intent = events.CallBegun(serial, ports.step_of(body), until_ms)
    waits = isinstance(action, WaitForMachine)
    effect = Effect(
        lane=f"wait/{state.epoch}" if waits else MACHINE_LANE,
        provider=state.provider,
        body=body,
        epoch=state.epoch,
        valid_until_ms=valid_until_ms,
        supersedes=True,
    )
    return Work(intents=(intent,), effects=(effect,))


def _body(
    state: Instance, action: Call, policy: Policy, serial: int, now_ms: int
) -> tuple[ports.Body, int]:
    """Return the body of the call, and the ms it may take beyond the time of any call."""
    match action:
        case FindMachines():
            return ports.FindCall(serial, state.id, state.sandbox_id), 0
        case CreateMachine():
            return ports.CreateCall(serial, launch_of(state)), 0
        case EnsureVolume():
            region = state.volume_region or state.region
            return ports.VolumeCall(serial, state.volume_id, state.sandbox_id, region), 0
        case DestroyVolume():
            return ports.DestroyVolumeCall(serial, state.volume_id, state.sandbox_id), 0
        case DestroyMachine(machine_id=doomed):
            return ports.DestroyCall(serial, doomed), 0
        case MintKey():
            return ports.MintCall(serial, state.id, state.account, MINT_MS), MINT_MS
        case HandOver():
            return _hand_over(state, serial, now_ms), MINT_MS
        case _:
            return _to_machine(state, action, policy, serial)


def _hand_over(state: Instance, serial: int, now_ms: int) -> ports.HandOverCall:
    """Return the call that brings a running machine what it does not have."""
    credentials = state.credentials
    left_ms, doubt = credentials.previous_token_expires_ms - now_ms, credentials.doubt_until_ms
    return ports.HandOverCall(
        serial,
        state.machine.id,
        launch_of(state),
        min(max(left_ms, 0), OVERLAP_MS_MAX),
        with_key=bool(credentials.pending_hash or credentials.live_hash or doubt),
        with_tokens=bool(credentials.live_token_version or doubt),
    )


def _to_machine(
    state: Instance,
    action: LaunchMachine | StartMachine | WaitForMachine | DescribeMachine | StopMachine,
    policy: Policy,
    serial: int,
) -> tuple[ports.Body, int]:
    """Return the body of a call about the bound machine, and the extra ms it may take."""
    machine_id = state.machine.id
    match action:
        case LaunchMachine():
            return ports.UpdateCall(serial, machine_id, launch_of(state)), 0
        case StartMachine():
            return ports.StartCall(serial, machine_id), 0
        case DescribeMachine():
            return ports.DescribeCall(serial, machine_id), 0
        case StopMachine():
            return ports.StopCall(serial, machine_id, policy.stop_grace_ms), policy.stop_grace_ms
        case WaitForMachine(until=wanted):
            incarnation = state.machine.incarnation if wanted == "started" else ""
            wait = ports.WaitCall(serial, machine_id, wanted, incarnation, policy.wait_ms)
            return wait, policy.wait_ms


def launch_of(state: Instance) -> ports.Launch:
    """Return everything that a machine of this instance is launched with now."""
    config, credentials = state.config, state.credentials
    return ports.Launch(
        instance_id=state.id,
        sandbox_id=state.sandbox_id,
        account=state.account,
        epoch=state.epoch,
        agent=state.agent,
        region=state.volume_region or state.region,
        env=config.env,
        secrets=config.secrets,
        paths=config.paths,
        sealed_key=credentials.pending_sealed or credentials.sealed_key,
        key_hash=credentials.pending_hash or credentials.key_hash,
        token_version=credentials.token_version,
        cpus=config.cpus,
        memory_mb=config.memory_mb,
        cpu_kind=config.cpu_kind,
        agent_version=config.agent_version,
        agent_turn=config.agent_turn,
        model=config.model,
        volume_id=state.volume_id,
        config_version=config.version,
    )


def found(state: Instance, _action: Any) -> Expect:
    """Return what an action's expectation is compared with."""
    return expect_of(state)
