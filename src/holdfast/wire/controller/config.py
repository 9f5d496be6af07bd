"""The agent's configuration as its controller reads and changes it."""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal, TypeAlias

from msgspec import UNSET, Meta, Struct, UnsetType

from holdfast.wire.api.endpoint import Label, Param, Reason, Time
from holdfast.wire.api.maintenance import CONFIG_BYTES_MAX, VERSIONS_MAX, Config, Etag
from holdfast.wire.controller.endpoint import act, look, order, wanted

BODY_BYTES_MAX: Final = 2 * CONFIG_BYTES_MAX
"""A configuration in a request, with room for escapes."""

_WANTED_ETAG: Final = "the etag that was read, or leave it out"
_ETAG_FORM: Final = r"""[^"\s]"""

EtagGiven: TypeAlias = (
    Annotated[str, wanted(_WANTED_ETAG, limits={"pattern": _ETAG_FORM})] | UnsetType | None
)
"""The text that a change is meant for; absent or null for whatever is there."""

ETAG: Final = Param("etag", rf".*{_ETAG_FORM}.*", _WANTED_ETAG)
FORCE: Final = Param("force", r"true|false", "true or false")
VERSION: Final = Param(
    "version", r"base|last-healthy|[0-9a-f]{8,64}",
    "base, last-healthy, or at least 8 digits of a version's etag", required=True,
)  # fmt: skip


class ConfigAnswer(Struct, frozen=True, kw_only=True):
    """The configuration; older controllers do not say whether it is plain JSON."""

    config: Config
    etag: Etag
    plain: bool = True


class VersionAnswer(Struct, frozen=True, kw_only=True, rename="camel"):
    """One version of a configuration, and what became of the agent with it."""

    etag: Etag
    at: Time
    origin: Label
    verdict: Literal["healthy", "bad", "unknown"] = "unknown"
    verdict_at: Time | UnsetType | None = UNSET
    reason: Reason | UnsetType = UNSET


class VersionsAnswer(Struct, frozen=True, kw_only=True):
    """The versions, the latest first."""

    versions: Annotated[tuple[VersionAnswer, ...], Meta(max_length=VERSIONS_MAX)]


class ReplaceOrder(Struct, frozen=True, kw_only=True):
    """Put this configuration in place of the one named by `etag`."""

    config: Annotated[dict[str, Any], wanted("an object")]
    etag: EtagGiven = UNSET

    def __repr__(self) -> str:
        """Return a form without the values."""
        return f"ReplaceOrder(etag={self.etag!r})"


class ChangeAnswer(Struct, frozen=True, kw_only=True):
    """What came of a change; `signaled` says, after a restore, whether the agent was signalled."""

    ok: bool
    etag: Etag = ""
    changed: bool = True
    signaled: bool | UnsetType = UNSET


_CODES: Final = ("config_etag_conflict", "config_read_failed", "config_too_large")
_CHANGED: Final = (200, 409, 413, 422)

CONFIG_READ: Final = look(
    "config/read", ConfigAnswer, "The agent's configuration as it is.",
    capability="config.read", codes=("config_read_failed",),
)  # fmt: skip
CONFIG_VERSIONS: Final = look(
    "config/versions", VersionsAnswer, "The versions that are kept, the latest first.",
    capability="config.versions",
)  # fmt: skip
CONFIG_REPLACE: Final = order(
    "config/replace", ReplaceOrder, ChangeAnswer, "Replace the configuration.", FORCE,
    capability="config.replace", codes=_CODES, statuses=_CHANGED,
    body_bytes_max=BODY_BYTES_MAX, if_match="body",
)  # fmt: skip
CONFIG_PATCH: Final = order(
    "config/patch", dict[str, Any], ChangeAnswer,
    "Merge the body into the configuration (RFC 7396).", ETAG, FORCE,
    capability="config.patch", codes=_CODES, statuses=_CHANGED,
    body_bytes_max=BODY_BYTES_MAX, if_match="query",
)  # fmt: skip
CONFIG_RESTORE: Final = act(
    "config/restore/{version}", ChangeAnswer, "Put an earlier configuration back.",
    VERSION, FORCE,
    capability="config.restore", codes=("config_version_not_found", *_CODES),
    statuses=(404, *_CHANGED),
)  # fmt: skip

CONFIG: Final = (CONFIG_READ, CONFIG_VERSIONS, CONFIG_REPLACE, CONFIG_PATCH, CONFIG_RESTORE)
