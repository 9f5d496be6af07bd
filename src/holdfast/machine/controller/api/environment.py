"""The route by which the plane renews a key of a running machine."""

from __future__ import annotations

from typing import Final

from msgspec import UNSET

from holdfast.kernel.secret import Secret
from holdfast.machine.controller.api.binder import INVALID_BODY, Call, bind
from holdfast.machine.controller.api.context import Context
from holdfast.machine.controller.errors import RefusedError
from holdfast.wire.controller.machine import AGENTS_KEY, ENV_PATCH, OUR_KEY, EnvAnswer, EnvOrder


async def _patch(context: Context, call: Call[EnvOrder]) -> EnvAnswer:
    given = {OUR_KEY: call.body.ours, AGENTS_KEY: call.body.agents}
    keys = {name: Secret(value) for name, value in given.items() if value is not UNSET}
    if not keys:
        raise RefusedError(400, INVALID_BODY, f"Want at least one of {', '.join(given)}")
    done = await context.maintenance.renewal.apply(keys)
    return EnvAnswer(
        ok=True, reloaded=done.reloaded, signaled=done.signaled, migrated_profiles=done.moved
    )


ENVIRONMENT: Final = (bind(ENV_PATCH, _patch),)
