"""Attempts of town agents on an instance: its agent is handed a prompt and a clone.

The repository comes as a git bundle in parts, and what the agent committed goes back as one. Every
call may be repeated: an attempt is started once, and never after it was stopped.
"""

from __future__ import annotations

from typing import Annotated, Final, Literal

from msgspec import Meta, Struct

from holdfast.wire.api.endpoint import Counter, Id, Label
from holdfast.wire.attempt import AttemptEnd
from holdfast.wire.controller.doctor import OkAnswer
from holdfast.wire.controller.endpoint import order, wanted

PART_BYTES_MAX: Final = 524_288
"""Bytes of a bundle in one call."""
BUNDLE_BYTES_MAX: Final = 256 * 1_048_576
"""Bytes of a bundle, either way."""
PROMPT_CHARS_MAX: Final = 262_144
OUTPUT_BYTES_MAX: Final = 65_536
PART_BODY_BYTES_MAX: Final = 2 * PART_BYTES_MAX
"""A part as base64 in JSON."""
ORDER_BODY_BYTES_MAX: Final = 6 * PROMPT_CHARS_MAX + 65_536
"""An order: JSON writes a control character as six."""
DRAIN_MS_MAX: Final = 300_000

_END: Final = r"$(?!\n)"

Branch = Annotated[
    str,
    Meta(max_length=200, pattern=rf"^[A-Za-z0-9][A-Za-z0-9._/-]*{_END}"),
    wanted("a branch: letters, digits, . _ / and -, 1 to 200 of them"),
]
Commit = Annotated[
    str,
    Meta(max_length=64, pattern=rf"^[0-9a-f]{{40,64}}{_END}"),
    wanted("a commit: 40 to 64 hexadecimal digits"),
]
Bytes = Annotated[bytes, Meta(max_length=PART_BYTES_MAX)]


class WorkId(Struct, frozen=True, kw_only=True):
    """An attempt."""

    town: Id
    attempt: Id


class WorkPart(Struct, frozen=True, kw_only=True):
    """A part of the bundle of an attempt that was not started yet; parts follow one another."""

    town: Id
    attempt: Id
    offset: Counter
    data: Bytes


class WorkOrder(Struct, frozen=True, kw_only=True):
    """Start an attempt on what its parts hold; `base` is the commit that `branch` begins at.

    `tools` and `token` are for the agent: where it reports, and as whom. `env` are more variables.
    """

    town: Id
    agent: Id
    attempt: Id
    epoch: Counter
    role: Label
    branch: Branch
    base: Commit
    prompt: Annotated[str, Meta(max_length=PROMPT_CHARS_MAX)]
    tools: Annotated[str, Meta(max_length=2_048)] = ""
    token: Annotated[str, Meta(max_length=256)] = ""
    env: Annotated[dict[Label, Label], Meta(max_length=32)] = {}

    def __repr__(self) -> str:
        """Return a form without the prompt and the token."""
        return f"WorkOrder(town={self.town!r}, attempt={self.attempt!r}, epoch={self.epoch})"


class WorkStop(Struct, frozen=True, kw_only=True):
    """Stop an agent's attempts up to an epoch; what still runs after `drain_ms` is killed."""

    town: Id
    agent: Id
    epoch: Counter
    drain_ms: Annotated[int, Meta(ge=0, le=DRAIN_MS_MAX)] = 0


class WorkPoke(Struct, frozen=True, kw_only=True):
    """Tell a running attempt that something waits for it."""

    town: Id
    attempt: Id
    text: Annotated[str, Meta(max_length=4_096)]


class WorkState(Struct, frozen=True, kw_only=True):
    """How an attempt is. `end` is that of one that ended; null where it is not known how.

    `asked` says that it was stopped.
    """

    status: Literal["unknown", "running", "ended"]
    started_ms: Counter = 0
    asked: bool = False
    end: AttemptEnd | None = None


class WorkOutput(Struct, frozen=True, kw_only=True):
    """The end of what an attempt wrote."""

    data: Annotated[bytes, Meta(max_length=OUTPUT_BYTES_MAX)] = b""


class WorkResult(Struct, frozen=True, kw_only=True):
    """A bundle of what was committed on the branch since its base; of 0 bytes where nothing was."""

    commit: Label = ""
    size: Counter = 0


class WorkFetch(Struct, frozen=True, kw_only=True):
    """Ask for a part of the bundle that was made last."""

    town: Id
    attempt: Id
    offset: Counter


class WorkPiece(Struct, frozen=True, kw_only=True):
    """A part of a bundle."""

    data: Bytes = b""


_CAPABILITY: Final = "work"
_UNKNOWN: Final = "work_unknown"

WORK_PART: Final = order(
    "attempts/part", WorkPart, OkAnswer, "Take a part of the bundle of an attempt.",
    capability=_CAPABILITY, codes=("work_started", "work_gap", "work_too_large"),
    statuses=(200, 409), body_bytes_max=PART_BODY_BYTES_MAX,
)  # fmt: skip
WORK_START: Final = order(
    "attempts/start", WorkOrder, WorkState, "Hand an attempt to the agent.",
    capability=_CAPABILITY,
    codes=("work_stopped", "work_not_offered", "work_failed", "agent_not_ready"),
    statuses=(200, 409), body_bytes_max=ORDER_BODY_BYTES_MAX,
)  # fmt: skip
WORK_STOP: Final = order(
    "attempts/stop", WorkStop, OkAnswer, "Stop an agent's attempts.", capability=_CAPABILITY,
    statuses=(200,),
)  # fmt: skip
WORK_POKE: Final = order(
    "attempts/poke", WorkPoke, OkAnswer, "Tell an attempt that something waits.",
    capability=_CAPABILITY, codes=(_UNKNOWN,), statuses=(200, 409),
)  # fmt: skip
WORK_STATE: Final = order(
    "attempts/state", WorkId, WorkState, "How an attempt is.", capability=_CAPABILITY,
    statuses=(200,),
)  # fmt: skip
WORK_OUTPUT: Final = order(
    "attempts/output", WorkId, WorkOutput, "What an attempt wrote.",
    capability=_CAPABILITY, codes=(_UNKNOWN,), statuses=(200, 409),
)  # fmt: skip
WORK_BUNDLE: Final = order(
    "attempts/bundle", WorkId, WorkResult, "Make a bundle of what an attempt committed.",
    capability=_CAPABILITY, codes=(_UNKNOWN, "work_failed", "work_too_large", "work_waits"),
    statuses=(200, 409, 503),
)  # fmt: skip
WORK_PIECE: Final = order(
    "attempts/piece", WorkFetch, WorkPiece, "A part of the bundle that was made last.",
    capability=_CAPABILITY, codes=(_UNKNOWN,), statuses=(200, 409),
)  # fmt: skip
WORK_DROP: Final = order(
    "attempts/drop", WorkId, OkAnswer, "Delete what is left of an attempt that does not run.",
    capability=_CAPABILITY, codes=("work_runs",), statuses=(200, 409),
)  # fmt: skip

WORK: Final = (
    WORK_PART, WORK_START, WORK_STOP, WORK_POKE, WORK_STATE, WORK_OUTPUT, WORK_BUNDLE, WORK_PIECE,
    WORK_DROP,
)  # fmt: skip
