"""Routes of the agent's configuration.

`?force=true` overrides a refusal because it is known to be bad, or because a patch would lose
comments. The agent receives a change through the file, which OpenClaw watches.
"""

from __future__ import annotations

from typing import Any, Final

from msgspec import UNSET, UnsetType, structs

from holdfast.machine.controller.api.binder import Call, bind
from holdfast.machine.controller.api.context import Context
from holdfast.machine.controller.config.history import Verdict, Version
from holdfast.machine.controller.config.store import Change
from holdfast.wire.controller import config as wire
from holdfast.wire.controller.config import (
    ChangeAnswer,
    ConfigAnswer,
    ReplaceOrder,
    VersionAnswer,
    VersionsAnswer,
)
from holdfast.wire.times import time_text


async def _read(context: Context, _call: Call[None]) -> ConfigAnswer:
    found = await context.maintenance.config.read()
    return ConfigAnswer(config=found.config, etag=found.etag, plain=found.plain)


async def _versions(context: Context, _call: Call[None]) -> VersionsAnswer:
    known = await context.maintenance.config.versions()
    return VersionsAnswer(versions=tuple(_version(*row) for row in known))


def _version(version: Version, verdict: Verdict | None) -> VersionAnswer:
    answer = VersionAnswer(etag=version.etag, at=time_text(version.at_ms), origin=version.origin)
    if verdict is None:
        return answer
    return structs.replace(
        answer,
        verdict="healthy" if verdict.healthy else "bad",
        verdict_at=time_text(verdict.at_ms),
        reason=verdict.reason,
    )


async def _replace(context: Context, call: Call[ReplaceOrder]) -> ChangeAnswer:
    change = await context.maintenance.config.replace(
        call.body.config, etag=call.body.etag or None, force=_is_forced(call)
    )
    return _done(change)


async def _patch(context: Context, call: Call[dict[str, Any]]) -> ChangeAnswer:
    change = await context.maintenance.config.patch(
        call.body, etag=call.query.get("etag"), force=_is_forced(call)
    )
    return _done(change)


async def _restore(context: Context, call: Call[None]) -> ChangeAnswer:
    change = await context.maintenance.config.restore(call.path["version"], force=_is_forced(call))
    # The agent watches the file; no signal is needed.
    return _done(change, signaled=False)


def _done(change: Change, *, signaled: bool | UnsetType = UNSET) -> ChangeAnswer:
    changed = change.etag != change.before
    return ChangeAnswer(ok=True, etag=change.etag, changed=changed, signaled=signaled)


def _is_forced(call: Call[Any]) -> bool:
    return call.query.get("force") == "true"


CONFIG: Final = (
    bind(wire.CONFIG_READ, _read),
    bind(wire.CONFIG_VERSIONS, _versions),
    bind(wire.CONFIG_REPLACE, _replace),
    bind(wire.CONFIG_PATCH, _patch),
    bind(wire.CONFIG_RESTORE, _restore),
)
