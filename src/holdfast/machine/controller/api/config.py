"""The routes about the agent's configuration.

`?force=true` insists on what would be refused because it is known to be bad, or because a patch
would lose comments. A change reaches the agent by the file, which OpenClaw watches.
"""

from __future__ import annotations

from typing import Any, Final

from msgspec import UNSET, UnsetType, structs

from holdfast.machine.controller.api.binder import Ask, bind
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


async def _read(context: Context, _ask: Ask[None]) -> ConfigAnswer:
    found = await context.care.config.read()
    return ConfigAnswer(config=found.config, etag=found.etag, plain=found.plain)


async def _versions(context: Context, _ask: Ask[None]) -> VersionsAnswer:
    known = await context.care.config.versions()
    return VersionsAnswer(versions=tuple(_version(*row) for row in known))


def _version(version: Version, verdict: Verdict | None) -> VersionAnswer:
    told = VersionAnswer(etag=version.etag, at=time_text(version.at_ms), origin=version.origin)
    if verdict is None:
        return told
    return structs.replace(
        told,
        verdict="healthy" if verdict.healthy else "bad",
        verdict_at=time_text(verdict.at_ms),
        reason=verdict.reason,
    )


async def _replace(context: Context, ask: Ask[ReplaceOrder]) -> ChangeAnswer:
    change = await context.care.config.replace(
        ask.body.config, etag=ask.body.etag or None, force=_insists(ask)
    )
    return _done(change)


async def _patch(context: Context, ask: Ask[dict[str, Any]]) -> ChangeAnswer:
    change = await context.care.config.patch(
        ask.body, etag=ask.query.get("etag"), force=_insists(ask)
    )
    return _done(change)


async def _restore(context: Context, ask: Ask[None]) -> ChangeAnswer:
    change = await context.care.config.restore(ask.path["version"], force=_insists(ask))
    # The agent sees the file change; there is nothing to signal.
    return _done(change, signaled=False)


def _done(change: Change, *, signaled: bool | UnsetType = UNSET) -> ChangeAnswer:
    changed = change.etag != change.before
    return ChangeAnswer(ok=True, etag=change.etag, changed=changed, signaled=signaled)


def _insists(ask: Ask[Any]) -> bool:
    return ask.query.get("force") == "true"


CONFIG: Final = (
    bind(wire.CONFIG_READ, _read),
    bind(wire.CONFIG_VERSIONS, _versions),
    bind(wire.CONFIG_REPLACE, _replace),
    bind(wire.CONFIG_PATCH, _patch),
    bind(wire.CONFIG_RESTORE, _restore),
)
