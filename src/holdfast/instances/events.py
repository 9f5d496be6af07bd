"""What happens to an instance, in the past tense.

Four families: what people asked for, what the rules set out to do (intents, folded in the tick
that makes them), what came of calls to the cloud, and what contact with the machine showed. An
outcome carries the `epoch` and `serial` of its call; serial 0 is a probe's. `repeated` says that
the call was made, or may have been made, before: an earlier try may yet be done. Events hold no
plaintext secret and no output of an agent.
"""

from __future__ import annotations

from typing import Literal, TypeAlias

import msgspec
from msgspec import Struct

from holdfast.instances.ports import Seen
from holdfast.instances.state import Config, Step
from holdfast.letters.machine import Condition
from holdfast.letters.spend import Crossing
from holdfast.letters.towns import Absence
from holdfast.wire.budget import Budget

EVENT_VERSION = 1

# ------------------------------------------------------------------ what people asked for


class InstanceCreated(Struct, frozen=True, kw_only=True, tag="InstanceCreated"):
    """An instance was requested; with `desired` running it starts at once."""

    account: str
    name: str
    sandbox_id: str
    agent: str
    provider: str
    region: str = ""
    desired: Literal["running", "stopped"] = "running"
    config: Config = Config()
    key_hash: str
    sealed_key: str
    key_expires_ms: int = 0


class StartRequested(Struct, frozen=True, tag="StartRequested", gc=False):
    """A start was requested."""

    reason: str = ""


class StopRequested(Struct, frozen=True, tag="StopRequested", gc=False):
    """A stop was requested."""

    reason: str = ""


class RestartRequested(Struct, frozen=True, tag="RestartRequested", gc=False):
    """A new launch with its present configuration was requested."""

    reason: str = ""


class LadderStopRequested(Struct, frozen=True, tag="LadderStopRequested", gc=False):
    """A hold of the recovery of its agent, where it is, was requested."""

    reason: str = ""


class LadderRetryRequested(Struct, frozen=True, tag="LadderRetryRequested", gc=False):
    """A new beginning of the recovery of its agent was requested."""

    reason: str = ""


class DestroyRequested(Struct, frozen=True, tag="DestroyRequested", gc=False):
    """Its destruction was requested, from whatever status."""

    reason: str = ""


class ConfigChanged(Struct, frozen=True, kw_only=True, tag="ConfigChanged"):
    """Variables or secrets (sealed) were changed: None removes, what is not named stays."""

    env: dict[str, str | None] = {}
    secrets: dict[str, str | None] = {}
    paths: dict[str, str | None] = {}
    cpus: int | None = None
    memory_mb: int | None = None
    agent_version: str | None = None
    model: str | None = None


class UpgradeRequested(Struct, frozen=True, kw_only=True, tag="UpgradeRequested", gc=False):
    """Another version of its agent was requested; an older one with the state that it wrote."""

    version: str
    restore: bool = False
    reason: str = ""


class KeyRotated(Struct, frozen=True, kw_only=True, tag="KeyRotated", gc=False):
    """The machine has a new API key; the one before stays valid until `previous_expires_ms`."""

    key_hash: str
    sealed_key: str
    previous_expires_ms: int
    key_expires_ms: int = 0


class TokenRotated(Struct, frozen=True, kw_only=True, tag="TokenRotated", gc=False):
    """The machine's tokens have their next number; those before stay valid for a while.

    With `renew_key` its key is to be replaced as well, and good for as long.
    """

    previous_expires_ms: int
    renew_key: bool = False


class SecretsResealed(Struct, frozen=True, kw_only=True, tag="SecretsResealed", gc=False):
    """Sealed texts were sealed again under a newer key; their content is unchanged.

    `sealed` maps old texts to new ones; secrets that were set meanwhile are not changed.
    """

    sealed: dict[str, str]


class BudgetChanged(Struct, frozen=True, kw_only=True, tag="BudgetChanged", gc=False):
    """What it may spend was set anew, or with None no longer limited; it replaces the one before.

    `crossings` are how far its limits were used up at that time, where it was known.
    """

    budget: Budget | None
    crossings: tuple[Crossing, ...] = ()


class GoOnRequested(Struct, frozen=True, tag="GoOnRequested", gc=False):
    """It is to go on although its cap pauses it, until the day or month of the limit is over."""

    reason: str = ""


# ------------------------------------------------------------------------------ intents


class StartBegun(Struct, frozen=True, tag="StartBegun", gc=False):
    """A start began under this epoch; `boot` is that of the machine that had reported last."""

    epoch: int
    boot: str | None = None


class StopBegun(Struct, frozen=True, tag="StopBegun", gc=False):
    """A stop began under this epoch."""

    epoch: int


class RestartBegun(Struct, frozen=True, tag="RestartBegun", gc=False):
    """A restart began under this epoch; `boot` is that of the machine that had reported last."""

    epoch: int
    silent: bool = False
    boot: str | None = None


class DestroyBegun(Struct, frozen=True, tag="DestroyBegun", gc=False):
    """The destruction began under this epoch."""

    epoch: int


class CallBegun(Struct, frozen=True, tag="CallBegun", gc=False):
    """A call to the cloud is about to be made; it is given up as unanswered at `until_ms`."""

    serial: int
    step: Step
    until_ms: int


class MachineCreateBegun(Struct, frozen=True, tag="MachineCreateBegun", gc=False):
    """A machine of this unique name is about to be asked for."""

    serial: int
    name: str
    until_ms: int


class CallExpired(Struct, frozen=True, tag="CallExpired", gc=False):
    """The call had no outcome within its time; it may or may not have been made."""

    serial: int
    step: Step


class StartEnded(Struct, frozen=True, tag="StartEnded", gc=False):
    """A start that did not settle in time was given up; the machine's id is kept."""

    code: str
    message: str


class RestartEnded(Struct, frozen=True, tag="RestartEnded", gc=False):
    """A restart that did not settle in time was given up."""

    status: Literal["running", "stopped"]
    code: str
    message: str


class StopSettled(Struct, frozen=True, tag="StopSettled", gc=False):
    """No machine of it runs any more."""


class StopOverdue(Struct, frozen=True, tag="StopOverdue", gc=False):
    """A stop of something that was starting takes too long; it is shown as stopped meanwhile."""


class DownNoticed(Struct, frozen=True, tag="DownNoticed", gc=False):
    """Enough looks found the machine down that should run."""

    count: int


class SilenceNoticed(Struct, frozen=True, tag="SilenceNoticed", gc=False):
    """A started machine did not check in within its time."""


class ProvisionExpired(Struct, frozen=True, tag="ProvisionExpired", gc=False):
    """It was never started and has no machine, for so long that it is abandoned."""


class VolumeAbandoned(Struct, frozen=True, tag="VolumeAbandoned", gc=False):
    """A volume could not be deleted however often it was tried; a person must look."""

    volume_id: str


class DestroyFinished(Struct, frozen=True, tag="DestroyFinished", gc=False):
    """The destruction is finished; only a tombstone stays."""


class ClockSetBack(Struct, frozen=True, tag="ClockSetBack", gc=False):
    """The clock was set back; stored times that are later than now are set to now."""


class SpendAlerted(Crossing, frozen=True, kw_only=True, tag="SpendAlerted", gc=False):
    """A limit of its budget is used up as far as `level`: once for each level and period."""


class SpendPeriodEnded(Struct, frozen=True, tag="SpendPeriodEnded", gc=False):
    """A day or month of its budget is over; what was used in it counts no more."""


class BudgetPaused(Crossing, frozen=True, kw_only=True, tag="BudgetPaused", gc=False):
    """Its cap pauses it, by this limit."""


class BudgetPauseEnded(Struct, frozen=True, tag="BudgetPauseEnded", gc=False):
    """No limit pauses it any more; what was desired meanwhile holds."""


# ----------------------------------------------------------------------------- outcomes


class MachineCreated(Struct, frozen=True, tag="MachineCreated", gc=False):
    """The cloud made a machine."""

    serial: int
    epoch: int
    machine: Seen
    config_version: int = 0
    repeated: bool = False
    key_hash: str = ""
    token_version: int = 0


class MachineAdopted(Struct, frozen=True, tag="MachineAdopted", gc=False):
    """The name was taken by a machine that is verifiably ours; it is taken over."""

    serial: int
    epoch: int
    machine: Seen
    repeated: bool = False


class MachineUpdated(Struct, frozen=True, tag="MachineUpdated", gc=False):
    """The machine took its configuration and is being launched."""

    serial: int
    epoch: int
    machine: Seen
    config_version: int = 0
    repeated: bool = False
    key_hash: str = ""
    token_version: int = 0


class MachineStarted(Struct, frozen=True, tag="MachineStarted", gc=False):
    """The cloud took the order to start the machine."""

    serial: int
    epoch: int
    machine: Seen
    repeated: bool = False


class MachineStopped(Struct, frozen=True, tag="MachineStopped", gc=False):
    """The cloud took the order to stop the machine; `machine` says how far it is."""

    serial: int
    epoch: int
    machine: Seen


class MachineDescribed(Struct, frozen=True, tag="MachineDescribed", gc=False):
    """The cloud described the machine."""

    serial: int
    epoch: int
    machine: Seen


class MachineMissing(Struct, frozen=True, tag="MachineMissing", gc=False):
    """The cloud says that there is no such machine."""

    serial: int
    epoch: int
    machine_id: str


class MachinesFound(Struct, frozen=True, tag="MachinesFound", gc=False):
    """The living machines that carry our labels, the best first; empty is an answer too."""

    serial: int
    epoch: int
    machines: tuple[Seen, ...] = ()


class MachineDestroyed(Struct, frozen=True, tag="MachineDestroyed", gc=False):
    """The machine is gone: removed now, or `missing`, which one answer may say wrongly."""

    serial: int
    epoch: int
    machine_id: str
    missing: bool = False


class VolumeSeen(Struct, frozen=True, tag="VolumeSeen", gc=False):
    """The volume exists, here."""

    serial: int
    epoch: int
    volume_id: str
    region: str = ""


class VolumeMissing(Struct, frozen=True, tag="VolumeMissing", gc=False):
    """The known volume does not exist."""

    serial: int
    epoch: int
    volume_id: str


class VolumeDestroyed(Struct, frozen=True, tag="VolumeDestroyed", gc=False):
    """No volume of this instance is left."""

    serial: int
    epoch: int


class KeyMinted(Struct, frozen=True, kw_only=True, tag="KeyMinted", gc=False):
    """A new key was made; it is known from now on, and in force when it has arrived."""

    serial: int
    epoch: int
    key_hash: str
    sealed_key: str
    expires_ms: int


class SecretsHandedOver(Struct, frozen=True, kw_only=True, tag="SecretsHandedOver", gc=False):
    """The machine's secrets arrived: in its stored configuration, at its controller, or both."""

    serial: int
    epoch: int
    key_hash: str
    token_version: int
    stored: bool
    pushed: bool


class CallFailed(Struct, frozen=True, tag="CallFailed", gc=False):
    """A call had another answer than hoped for, or none; `code` is one of the cloud port's."""

    serial: int
    epoch: int
    step: Step
    kind: Literal["retryable", "permanent", "conflict"]
    code: str
    message: str
    retry_after_ms: int = 0
    repeated: bool = False


# ------------------------------------------------------------------------------ contact


class ContactLost(Struct, frozen=True, tag="ContactLost", gc=False):
    """The machine was silent for a whole level; level 1 is three missed check-ins."""

    level: int = 1


class ContactRegained(Struct, frozen=True, tag="ContactRegained", gc=False):
    """The machine checked in again after its contact was lost."""


class MachineReported(Condition, frozen=True, kw_only=True, tag="MachineReported", gc=False):
    """A check-in showed something new: readiness, versions, a boot, restarts, the recovery."""


class TwinSeen(Struct, frozen=True, tag="TwinSeen", gc=False):
    """Two machines reported for this instance."""

    machine_ids: tuple[str, ...]


class MachineWatched(Struct, frozen=True, tag="MachineWatched", gc=False):
    """The watch of machines reports a change of state; the cloud is asked at once."""

    machine_id: str
    state: str


class SpendReported(Crossing, frozen=True, kw_only=True, tag="SpendReported", gc=False):
    """The counters of its node show another level of a limit of its budget."""


class AgentsHosted(Struct, frozen=True, kw_only=True, tag="AgentsHosted", gc=False):
    """Agents of a town work on the instance, or none any more; `account` owns the town.

    `destroyed`: it is answered even if it was destroyed; letters from before were not.
    """

    town: str
    account: str
    hosted: bool
    destroyed: bool = False


class TownsTold(Struct, frozen=True, tag="TownsTold", gc=False):
    """Intent: the towns of its agents are told why nothing can be started on it, or that it can."""

    absence: Absence


class ClaimLost(Struct, frozen=True, tag="ClaimLost", gc=False):
    """Another actor holds the claim that this one tried to take."""

    scope: str
    key: str


class Restored(Struct, frozen=True, kw_only=True, tag="Restored"):
    """The journal is a backup's: these machines of the instance are there now, the best first.

    With `hold` nothing is created in the place of a machine that is gone before somebody decides.
    """

    machines: tuple[Seen, ...] = ()
    hold: bool = True


Request: TypeAlias = (
    InstanceCreated
    | StartRequested
    | StopRequested
    | RestartRequested
    | LadderStopRequested
    | LadderRetryRequested
    | DestroyRequested
    | ConfigChanged
    | UpgradeRequested
    | KeyRotated
    | TokenRotated
    | SecretsResealed
    | BudgetChanged
    | GoOnRequested
)
Intent: TypeAlias = (
    StartBegun
    | StopBegun
    | RestartBegun
    | DestroyBegun
    | CallBegun
    | MachineCreateBegun
    | CallExpired
    | StartEnded
    | RestartEnded
    | StopSettled
    | StopOverdue
    | DownNoticed
    | SilenceNoticed
    | ProvisionExpired
    | VolumeAbandoned
    | DestroyFinished
    | ClockSetBack
    | SpendAlerted
    | SpendPeriodEnded
    | BudgetPaused
    | BudgetPauseEnded
    | TownsTold
)
CallOutcome: TypeAlias = (
    MachineCreated
    | MachineAdopted
    | MachineUpdated
    | MachineStarted
    | MachineStopped
    | MachineDescribed
    | MachineMissing
    | MachinesFound
    | MachineDestroyed
    | VolumeSeen
    | VolumeMissing
    | VolumeDestroyed
    | KeyMinted
    | SecretsHandedOver
    | CallFailed
)
ContactEvent: TypeAlias = (
    ContactLost
    | ContactRegained
    | MachineReported
    | TwinSeen
    | MachineWatched
    | SpendReported
    | AgentsHosted
    | ClaimLost
)
Event: TypeAlias = Request | Intent | CallOutcome | ContactEvent | Restored

_decoder = msgspec.json.Decoder(Event)
encode_event = msgspec.json.Encoder(order="deterministic").encode


def decode_event(body: bytes, _version: int) -> Event:
    """Return a stored event; there is one version so far, so there is nothing to upcast."""
    event: Event = _decoder.decode(body)
    return event
