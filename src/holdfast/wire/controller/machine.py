"""The controller itself: health, version, start, and the secrets that it and its agent hold."""

from __future__ import annotations

from typing import Annotated, Final, TypeAlias

from msgspec import UNSET, Meta, Struct, UnsetType, field

from holdfast.wire.api.endpoint import Label
from holdfast.wire.controller.agent import GatewayStatus
from holdfast.wire.controller.doctor import OkAnswer
from holdfast.wire.controller.endpoint import OURS, act, look, order, wanted
from holdfast.wire.limits import ENV_VALUE_MAX, ROTATION_OVERLAP_S_MAX, TEXT_MAX

CAPABILITY: Final = r"^[a-z][a-z0-9]*(?:[.-][a-z][a-z0-9]*)*$(?!\n)"
"""The form of a capability's name: lower-case segments joined by dot or hyphen."""

TOKEN_CHARS_MIN: Final = 32
TOKEN_CHARS_MAX: Final = 256
"""A token that the plane hands over; ours are 64 hexadecimal digits."""

OVERLAP_MS_MAX: Final = ROTATION_OVERLAP_S_MAX * 1_000
"""How long replaced tokens may still be known."""


class HealthAnswer(Struct, frozen=True, kw_only=True, rename="camel"):
    """How far the start has come; `phase` and `error` are fixed texts that hold no secret.

    `state` is bootstrapping, starting, ready or degraded. `observer` is `failing` while the one
    beside the agent does not stay up, and absent otherwise.
    """

    status: str = "ok"
    state: str | UnsetType = UNSET
    phase: str | UnsetType = UNSET
    error: str | UnsetType = UNSET
    agent_ready: bool | UnsetType = UNSET
    observer: str | UnsetType = UNSET


class DeviceRepairTold(Struct, frozen=True, kw_only=True, rename="camel"):
    """What a repair of the agent's record of devices came to."""

    status: str
    because: str = ""
    repaired_count: int = 0
    removed_count: int = 0
    token_updated: bool = False
    warnings: tuple[str, ...] = ()


class ControllerVersion(Struct, frozen=True, kw_only=True, rename="camel"):
    """What a controller is and can do; older ones have neither number nor list."""

    version: Annotated[str, Meta(max_length=TEXT_MAX)] = ""
    commit: Annotated[str, Meta(max_length=TEXT_MAX)] = ""
    api_version: int = 0
    capabilities: Annotated[
        tuple[Annotated[str, Meta(max_length=TEXT_MAX, pattern=CAPABILITY)], ...],
        Meta(max_length=256),
    ] = ()
    openclaw_version: Annotated[str, Meta(max_length=TEXT_MAX)] | None = None
    openclaw_commit: str | None = None
    agent: str = ""
    gateway: GatewayStatus | None = None
    controller_state: Annotated[str, Meta(max_length=TEXT_MAX)] = ""
    device_pairing_repair: DeviceRepairTold | None = None


class RetryAnswer(Struct, frozen=True, kw_only=True):
    """The phase that is tried again."""

    ok: bool
    phase: Label


OUR_KEY: Final = "HOLDFAST_API_KEY"
AGENTS_KEY: Final = "KILOCODE_API_KEY"
"""The controller's key by our name, and by that of compat/controller.md: the agent has it too."""

_KEY: Final = wanted(
    type="a text that is not empty",
    form="a text that is not empty",
    limits={"min_length": 1, "max_length": ENV_VALUE_MAX, "pattern": r"^[^\x00]*$(?!\n)"},
)
KeyGiven: TypeAlias = Annotated[str, _KEY] | UnsetType


class EnvOrder(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A renewed key: the controller's alone by our name, the agent's too by the other.

    One of them at least.
    """

    ours: KeyGiven = field(name=OUR_KEY, default=UNSET)
    agents: KeyGiven = field(name=AGENTS_KEY, default=UNSET)

    def __repr__(self) -> str:
        """Return a form without the keys."""
        return "EnvOrder(…)"


class EnvAnswer(Struct, frozen=True, kw_only=True, rename="camel"):
    """What came of it; `signaled` when the agent is restarted.

    `migrated_profiles` counts uses in its configuration that refer to a file now.
    """

    ok: bool
    reloaded: bool = False
    signaled: bool = False
    migrated_profiles: int = 0


TokenGiven: TypeAlias = Annotated[
    str,
    wanted(
        form=f"{TOKEN_CHARS_MIN} letters and digits at least",
        limits={"max_length": TOKEN_CHARS_MAX, "pattern": r"^[^\W_]{32,}$(?!\n)"},
    ),
]


class RotateOrder(Struct, frozen=True, kw_only=True, rename="camel"):
    """Take these tokens; those of before stay good for `overlap_ms`."""

    gateway_token: TokenGiven
    proxy_token: TokenGiven
    overlap_ms: Annotated[
        int, wanted(f"milliseconds, 0 to {OVERLAP_MS_MAX}", limits={"ge": 0, "le": OVERLAP_MS_MAX})
    ]

    def __repr__(self) -> str:
        """Return a form without the tokens."""
        return f"RotateOrder(overlap_ms={self.overlap_ms})"


class TokenAnswer(Struct, frozen=True, kw_only=True):
    """The token that the agent's own page requires."""

    token: str = ""

    def __repr__(self) -> str:
        """Return a form without the token."""
        return "TokenAnswer(…)"


PLATFORM_HEALTH: Final = look(
    "health", HealthAnswer, "Whether the process answers, for the platform; no detail.",
    scope="public", prefix="/",
)  # fmt: skip
HEALTH: Final = look("health", HealthAnswer, "How far the start has come.", scope="public")
VERSION: Final = look(
    "version", ControllerVersion, "What controller and agent are, and what the former can do."
)
BOOTSTRAP_RETRY: Final = act(
    "bootstrap/retry", RetryAnswer, "Go on with the start from the phase that failed.",
    capability="bootstrap.retry",
    codes=("shutting_down", "bootstrap_running", "bootstrap_not_failed"),
)  # fmt: skip
ENV_PATCH: Final = order(
    "env/patch", EnvOrder, EnvAnswer, "Renew a key of a machine that runs.", capability="env.patch"
)
PROXY_STATS: Final = look(
    "proxy/stats", dict[str, int], "What the proxy has passed on, in counts and bytes.",
    capability="proxy.stats", prefix=OURS,
)  # fmt: skip
AGENT_TOKEN: Final = look(
    "agent/token", TokenAnswer, "The token that the agent's own page requires.",
    capability="agent.token", prefix=OURS,
)  # fmt: skip
CREDENTIALS_ROTATE: Final = order(
    "credentials/rotate", RotateOrder, OkAnswer, "Take new tokens of the controller and its proxy.",
    capability="credentials.rotate", prefix=OURS,
)  # fmt: skip

MACHINE: Final = (HEALTH, VERSION, BOOTSTRAP_RETRY, ENV_PATCH)
PROXY: Final = (PROXY_STATS, AGENT_TOKEN, CREDENTIALS_ROTATE)
