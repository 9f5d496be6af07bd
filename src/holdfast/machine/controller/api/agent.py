"""Routes of the agent's life: status, start, stop, restart and recovery.

A stop or restart may set `drain_ms`, how long to wait for running work (0: not at all), and returns
in `workCut` whether any was cut; null if the agent does not report it.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec
from msgspec import UNSET, UnsetType

from holdfast.machine.controller import supervise
from holdfast.machine.controller.agent.supervisor import Stats
from holdfast.machine.controller.api.binder import Answer, Call, bind
from holdfast.machine.controller.api.context import Context
from holdfast.machine.controller.errors import RefusedError
from holdfast.machine.controller.limits import SETTLED_LOAD
from holdfast.machine.controller.process.sampler import load_average
from holdfast.machine.controller.supervise import Goodbye, State
from holdfast.wire import parsers
from holdfast.wire.controller import agent as wire
from holdfast.wire.controller.agent import (
    ClimbTold,
    ConfigState,
    GatewayStatus,
    HoldOrder,
    LadderAnswer,
    LastEnd,
    LastExit,
    OrderedAnswer,
)
from holdfast.wire.times import time_text

_ANY: Final = msgspec.json.Decoder()


async def _status(context: Context, _call: Call[None]) -> GatewayStatus:
    return describe(context.supervisor.stats())


def _unless_changing(context: Context) -> None:
    """Refuse (409) while another version is given to the agent, or when that could not be done."""
    if context.supervisor.is_changing:
        text = "Another version is being given to the agent, which is started afterwards"
        failed = "; if the start failed in phase upgrade: holdfast instance retry"
        raise RefusedError(409, "version_changing", text + failed)


async def _start(context: Context, _call: Call[None]) -> OrderedAnswer:
    _unless_changing(context)
    if context.supervisor.start():
        return OrderedAnswer(ok=True)
    raise RefusedError(409, "gateway_busy", "Gateway already running or starting")


async def _stop(context: Context, call: Call[None]) -> OrderedAnswer:
    before = context.supervisor.state.goodbye
    await context.supervisor.stop(drain_ms=_drain_ms(call))
    return OrderedAnswer(ok=True, work_cut=_cut(context, before))


async def _restart(context: Context, call: Call[None]) -> OrderedAnswer:
    _unless_changing(context)
    before = context.supervisor.state.goodbye
    if await context.supervisor.restart(drain_ms=_drain_ms(call)):
        return OrderedAnswer(ok=True, work_cut=_cut(context, before))
    raise RefusedError(409, "shutting_down", "Controller is shutting down")


async def _ready(context: Context, _call: Call[None]) -> Answer[dict[str, Any]]:
    load = load_average()
    settled = not context.shared_cpu or load[0] < SETTLED_LOAD
    machine = {"loadAverage": list(load), "settled": settled}
    if context.supervisor.state.status != "running":
        body = {"ready": False, "error": "Gateway not running", "code": "gateway_not_running"}
        return Answer({**body, **machine}, 503)
    try:
        status, content = await context.agent.query_status()
    except (OSError, TimeoutError):
        body = {"ready": False, "error": "Gateway unreachable", "code": "gateway_unreachable"}
        return Answer({**body, **machine}, 502)
    return Answer({**_decode(content), **machine}, status if status == 200 else 503)  # noqa: PLR2004


async def _hold(context: Context, call: Call[HoldOrder]) -> LadderAnswer:
    reason = call.body.reason or "somebody stopped the recovery"
    context.supervisor.feed(supervise.HoldLadder(reason))
    return describe_ladder(context.supervisor.state, ok=True)


async def _retry(context: Context, _call: Call[None]) -> LadderAnswer:
    context.supervisor.feed(supervise.RetryLadder())
    return describe_ladder(context.supervisor.state, ok=True)


async def _ladder(context: Context, _call: Call[None]) -> LadderAnswer:
    return describe_ladder(context.supervisor.state)


GATEWAY: Final = (
    bind(wire.GATEWAY_STATUS, _status),
    bind(wire.GATEWAY_START, _start),
    bind(wire.GATEWAY_STOP, _stop),
    bind(wire.GATEWAY_RESTART, _restart),
    bind(wire.GATEWAY_READY, _ready),
    bind(wire.LADDER, _ladder),
    bind(wire.LADDER_STOP, _hold),
    bind(wire.LADDER_RETRY, _retry),
)


def describe(stats: Stats) -> GatewayStatus:
    """Return the supervisor's figures in the fields of compat/controller.md, plus ours."""
    state = stats.state
    return GatewayStatus(
        state=state.status,
        pid=stats.pid,
        uptime=stats.uptime_s,
        restarts=state.restarts,
        last_exit=_last_exit(state),
        ready=state.ready,
        draining=state.draining,
        repairing=state.repair,
        crashes=state.crashes,
        clean_exits=state.clean_exits,
        misconfigurations=state.misconfigurations,
        stuck=state.stuck,
        slow_starts=state.slow,
        work_cuts=state.cuts,
        parked=state.parked or None,
        blocked=state.blocked or None,
        rung=state.ladder.rung,
        last_end=None if state.goodbye is None else _goodbye(state.goodbye),
        config=_config(state),
    )


def describe_ladder(state: State, *, ok: bool | UnsetType = UNSET) -> LadderAnswer:
    """Return the progress of the recovery and its reason; `ok` answers an order."""
    ladder = state.ladder
    return LadderAnswer(
        ok=ok,
        rung=ladder.rung,
        reason=ladder.reason,
        failures=state.failures,
        held=ladder.held,
        repairing=state.repair,
        parked=state.parked or None,
        blocked=state.blocked or None,
        history=tuple(
            ClimbTold(
                rung=climb.rung,
                reason=climb.reason,
                at=time_text(climb.at_ms),
                done=climb.done,
                detail=climb.detail,
            )
            for climb in ladder.history
        ),
    )


def _last_exit(state: State) -> LastExit | None:
    last = state.last_exit
    if last is None:
        return None
    return LastExit(
        code=last.code,
        signal=last.signal,
        at=time_text(last.at_ms),
        requested=last.requested,
        cause=last.cause or None,
    )


def _goodbye(goodbye: Goodbye) -> LastEnd:
    return LastEnd(
        reason=goodbye.reason,
        work_cut=goodbye.cut,
        took_ms=goodbye.waited_ms,
        at=time_text(goodbye.at_ms),
    )


def _config(state: State) -> ConfigState:
    """Return the state of the configuration that was changed last."""
    if state.trial is not None:
        return ConfigState(state="trial", etag=state.trial.etag)
    if state.verdict is None:
        return ConfigState()
    word = state.verdict.word
    return ConfigState(state=word, etag=state.verdict.etag, reason=state.verdict.reason)


def _cut(context: Context, before: Goodbye | None) -> bool | None:
    goodbye = context.supervisor.state.goodbye
    return goodbye.cut if goodbye is not None and goodbye is not before else False


def _drain_ms(call: Call[None]) -> int | None:
    return call.number("drain_ms")


def _decode(content: bytes) -> dict[str, Any]:
    try:
        found = parsers.from_json(_ANY, content)
    except msgspec.DecodeError:
        return {"raw": content.decode("utf-8", "replace")}
    return found if isinstance(found, dict) else {"raw": found}
