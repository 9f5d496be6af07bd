"""The facts about one machine that instances and telemetry exchange, each declared here once.

    MachineFacts   instance -> telemetry: what authenticates and directs a machine
    Condition      telemetry -> instance: what decisions depend on; each change is one event
    LastContact    telemetry -> API and pages: the latest check-in, which is in no log

They are passed on as they are: no subject copies one into a struct of its own. `Condition` is a
base class of the event and of the state that keep it, so that both store its fields and neither
repeats them.
"""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

from holdfast.wire.controller.checkin import MachineStatus, Recovery, VersionChange


class MachineFacts(Struct, frozen=True, gc=False, kw_only=True):
    """The facts of a machine that telemetry needs: a committed view row of its instance.

    Key hashes are lower-case hexadecimal SHA-256; `next_key_hash` is of a key that may have
    arrived at the machine already. `token_version` is the number of the tokens in force (0: those
    of compat/instance-life.md), `live_token_version` of those that the running machine has; it and
    the version before `token_version` are accepted until `previous_token_until_ms`. `expected`:
    the instance should be running, so silence is reported. `heard`: the instance knows of a
    check-in of this incarnation; while false, the next one is reported even if nothing changed.
    `revision` grows with each change of what a directive says, `ladder` and `ladder_turn` included.
    Times are ms since the epoch.
    """

    instance: str
    sandbox: str
    account: str
    api_key_hash: str
    previous_key_hash: str = ""
    previous_key_until_ms: int = 0
    next_key_hash: str = ""
    token_version: int = 1
    live_token_version: int = 1
    previous_token_until_ms: int = 0
    epoch: int = 0
    desired: Literal["running", "stopped", "destroyed"] = "running"
    expected: bool = False
    heard: bool = True
    machine_id: str = ""
    region: str = ""
    ladder: Literal["auto", "held"] = "auto"
    ladder_turn: int = 0
    revision: int = 0


class Condition(Struct, frozen=True, gc=False, kw_only=True):
    """The part of a machine's report that its instance stores and uses in its rules.

    It has no measurements. `restarts` counts unrequested restarts of the agent over all boots.
    `reason` says why the controller is degraded or the agent ended last. Events and states store
    the fields in this order, and the hash of a state depends on it: add new ones at the end.
    The fields from `agent_state` on are those of a check-in; `repair` is empty unless one is under
    way, and `next_try_at_ms` 0 unless a start is scheduled.
    """

    machine_id: str = ""
    boot_id: str = ""
    agent_ready: bool | None = None
    agent_version: str = ""
    controller_version: str = ""
    restarts: int = 0
    reason: str = ""
    recovery: Recovery | None = None
    agent_state: str = ""
    phase: str = ""
    degraded: str = ""
    failures: int = 0
    failure: str = ""
    repair: str = ""
    next_try_at_ms: int = 0
    version_change: VersionChange | None = None
    channel_trouble: str = ""


class LastContact(Struct, frozen=True, gc=False, kw_only=True):
    """The data of a machine's check-ins. Times are ms since the epoch, 0 for never.

    `heard_ms` is of the latest check-in, `status_ms` of the one that `status` came with, `epoch`
    the incarnation that it named (0: none). `lost` says that the machine is silent now. Counts are
    the instance's, through all boots; bytes are those of its network interfaces.
    """

    heard_ms: int = 0
    lost: bool = False
    region: str = ""
    restarts: int = 0
    crashes: int = 0
    bytes_in: int = 0
    bytes_out: int = 0
    epoch: int = 0
    pairing_count: int = 0
    status_ms: int = 0
    status: MachineStatus | None = None
