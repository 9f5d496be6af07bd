"""The calls about the agent's process: its status, start, stop, restart, recovery."""

from __future__ import annotations

from typing import Annotated, Any, Final

from msgspec import UNSET, Struct, UnsetType

from holdfast.wire.api.endpoint import Counter, Param, Time
from holdfast.wire.controller.endpoint import act, look, order, wanted
from holdfast.wire.limits import REASON_MAX

DRAIN_MS_MAX: Final = 3_600_000
"""The longest wait for running work that a request may set, in ms."""

DRAIN_MS: Final = Param(
    "drain_ms", r"0*(?:3600000|3[0-5][0-9]{5}|[0-2]?[0-9]{1,6})",
    f"a whole number of milliseconds up to {DRAIN_MS_MAX}",
)  # fmt: skip
"""How long running work is waited for; 0 is not at all."""


class LastExit(Struct, frozen=True, kw_only=True):
    """How the agent's process ended last: a code, or a signal's name.

    `cause` says why the controller ended it, if it did: asked, stuck or slow.
    """

    code: int | None = None
    signal: str | None = None
    at: str = ""
    requested: bool = False
    cause: str | None = None


class LastEnd(Struct, frozen=True, kw_only=True, rename="camel"):
    """What became of running work at the last end on purpose; null where it is unknown."""

    reason: str = ""
    work_cut: bool | None = None
    took_ms: int = 0
    at: Time = ""


class ConfigState(Struct, frozen=True, kw_only=True):
    """What is known of the configuration that was changed last.

    `state` is trial, healthy, rolled_back or failed (and not rolled back), empty before the first
    change.
    """

    state: str = ""
    etag: str = ""
    reason: str = ""


class GatewayStatus(Struct, frozen=True, kw_only=True, rename="camel"):
    """The supervisor's figures: those of compat/controller.md, and ours; `uptime` in seconds.

    `parked` says why nothing is tried any more, `blocked` who holds the agent's port.
    """

    state: str = ""
    pid: int | None = None
    uptime: float = 0
    restarts: int = 0
    last_exit: LastExit | None = None
    ready: bool = False
    draining: bool = False
    repairing: str | None = None
    crashes: int = 0
    clean_exits: int = 0
    misconfigurations: int = 0
    stuck: int = 0
    slow_starts: int = 0
    work_cuts: int = 0
    parked: str | None = None
    blocked: str | None = None
    rung: str = ""
    last_end: LastEnd | None = None
    config: ConfigState | None = None


class OrderedAnswer(Struct, frozen=True, kw_only=True, rename="camel"):
    """It was done; `work_cut` says whether an end cut running work, null if it is unknown."""

    ok: bool
    work_cut: bool | UnsetType | None = UNSET


class HoldOrder(Struct, frozen=True, kw_only=True):
    """Stop the recovery, for this reason."""

    reason: Annotated[
        str,
        wanted(f"a text of at most {REASON_MAX} characters", limits={"max_length": REASON_MAX}),
    ] = ""


class ClimbTold(Struct, frozen=True, kw_only=True):
    """One rung that was taken; `done` is null while it is under way."""

    rung: str
    reason: str
    at: Time
    done: bool | None
    detail: str


class LadderAnswer(Struct, frozen=True, kw_only=True):
    """How far the recovery has come, and why; `ok` answers an order."""

    ok: bool | UnsetType = UNSET
    rung: str
    reason: str
    failures: Counter
    held: bool
    repairing: str | None
    parked: str | None
    blocked: str | None
    history: tuple[ClimbTold, ...]


_LIFE: Final = "gateway.lifecycle"
_LADDER: Final = "gateway.ladder"

GATEWAY_STATUS: Final = look(
    "gateway/status", GatewayStatus, "How the agent's process does.", capability=_LIFE
)
GATEWAY_START: Final = act(
    "gateway/start", OrderedAnswer, "Start the agent.",
    capability=_LIFE, codes=("gateway_busy", "version_changing"),
)  # fmt: skip
GATEWAY_STOP: Final = act(
    "gateway/stop", OrderedAnswer, "Stop the agent once its work is done.", DRAIN_MS,
    capability=_LIFE, statuses=(200,),
)  # fmt: skip
GATEWAY_RESTART: Final = act(
    "gateway/restart", OrderedAnswer, "Restart the agent once its work is done.", DRAIN_MS,
    capability=_LIFE, codes=("shutting_down", "version_changing"),
)  # fmt: skip
GATEWAY_READY: Final = look(
    "gateway/ready", dict[str, Any], "The agent's own readiness, and the machine's load average.",
    capability="gateway.ready", statuses=(200, 502, 503),
    codes=("gateway_not_running", "gateway_unreachable"),
)  # fmt: skip
LADDER: Final = look(
    "gateway/ladder", LadderAnswer, "How far the recovery has come, and why.", capability=_LADDER
)
LADDER_STOP: Final = order(
    "gateway/ladder/stop", HoldOrder, LadderAnswer, "Hold the recovery where it is.",
    capability=_LADDER, may_be_empty=True,
)  # fmt: skip
LADDER_RETRY: Final = act(
    "gateway/ladder/retry", LadderAnswer, "Let the recovery begin anew.",
    capability=_LADDER, statuses=(200,),
)  # fmt: skip

GATEWAY: Final = (
    GATEWAY_STATUS, GATEWAY_START, GATEWAY_STOP, GATEWAY_RESTART, GATEWAY_READY,
    LADDER, LADDER_STOP, LADDER_RETRY,
)  # fmt: skip
